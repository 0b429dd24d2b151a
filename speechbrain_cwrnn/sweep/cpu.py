"""The recurrence of a group as a loop over time that numba compiles for the
CPU.

In PyTorch, a step is up to ten calls, which take longer than what they compute
for most groups. The first call compiles, for some seconds; later ones, of other
processes too, load what was compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.cells import NONLINEARITIES
from speechbrain_cwrnn.sweep import cpu_kernels as kernels
from speechbrain_cwrnn.threads import count_threads, run_all

# Sequences that a product takes together; a thread has a multiple of these.
ROWS = 4


def forward(group, z):
    """Write h to the state of a group; see `sweep`."""
    _run(kernels.forward, group, group.weight.mT, (z, group.state))


def backward(group, z, dstate, dz):
    """Write dz, and dh0 to dstate; see `sweep`."""
    # Of a cell without gates, z is not looked at.
    kept = dz if z is None else z
    tensors = dstate, group.state, kept, dz
    _run(kernels.backward, group, group.weight, tensors)


def _run(kernel, group, weight, tensors):
    """Call a kernel, in several threads for some sequences each."""
    R, B, states, k = group.state.shape
    mask = group.mask
    # Contiguous, since numba compiles once for what is, and once for what not.
    mask = group.state.new_ones(R, B, k) if mask is None else mask.contiguous()
    arrays = [tensor.numpy() for tensor in (mask, *tensors)]
    weight = kernels.pad(weight.contiguous().numpy())
    options = NONLINEARITIES.index(group.cell.nonlinearity), group.cell.gated
    threads = count_threads(R * B * states * weight[0].size)
    size = max(1, -(-B // (threads * ROWS))) * ROWS

    def run(chunk):
        r, b = chunk
        rows = (array[r, b : b + size] for array in arrays)
        kernel(*rows, weight[r], options)

    chunks = [(r, b) for r in range(R) for b in range(0, B, size)]
    run_all(run, chunks, threads)
