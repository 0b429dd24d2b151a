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
from speechbrain_cwrnn.sweep import holding
from speechbrain_cwrnn.threads import count_threads, run_all
from speechbrain_cwrnn.vectors import empty_array

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


def read_at(*args, **options):
    """As in `holding`."""
    reading = holding.read_at(*args, **options)
    if isinstance(reading, holding.Runs):
        return CompiledRuns(reading.lead, reading.length)
    return reading


class CompiledRuns(holding.Runs):
    """The same in compiled loops, with no views of runs."""

    def write(self, signal, places):
        """Write the values to their places."""
        self._call(kernels.write, signal, places)

    def add(self, signal, places):
        """Add the values to what is at their places."""
        self._call(kernels.add, signal, places)

    def collect(self, places, signal):
        """Write sums over the places to the values: the transpose of `read`."""
        self._call(kernels.collect, signal, places, signal.shape[2])

    def _call(self, kernel, signal, places, *values):
        """Call a kernel with tensors and sizes as numbers, which is faster than
        with arrays, of which each layout would be compiled."""
        # These stay here, as long as their addresses are in use.
        pair = [_with_rows(tensor) for tensor in (signal, places)]
        runs = *places.shape[:3], self.lead, self.length, *values
        kernel(*map(_look_at, pair), runs, empty_array(signal.dtype))


def _with_rows(tensor):
    """A tensor whose rows are contiguous. What is written to has such ones."""
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()


def _look_at(tensor):
    """Where a tensor is, the distances in it, and the length of its rows."""
    return tensor.data_ptr(), *tensor.stride()[:3], tensor.shape[3]
