"""The recurrence of a group as a loop over time that numba compiles for the
CPU.

In PyTorch, a step is up to ten calls, which take longer than what they compute
for most groups. The first call compiles, for some seconds; later ones, of other
processes too, load what was compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.cells import NONLINEARITIES
from speechbrain_cwrnn.panels import cut_panels
from speechbrain_cwrnn.sweep import cpu_kernels as kernels
from speechbrain_cwrnn.sweep import holding
from speechbrain_cwrnn.threads import ROWS, count_threads, run_all, split
from speechbrain_cwrnn.vectors import empty_array


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
    weight = cut_panels(weight.numpy(), B)
    options = NONLINEARITIES.index(group.cell.nonlinearity), group.cell.gated
    threads = count_threads(B * states * weight.size)

    def run(chunk):
        r, first, end = chunk
        rows = (array[r, first:end] for array in arrays)
        kernel(*rows, weight[r], options)

    run_all(run, split(R, B, threads, ROWS), threads)


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
        self._call(kernels.write, _with_rows(signal), places, False)

    def add(self, signal, places):
        """Add the values to what is at their places."""
        self._call(kernels.write, _with_rows(signal), places, True)

    def collect(self, places, signal):
        """Write sums over the places to the values: the transpose of `read`."""
        N = signal.shape[2]
        self._call(kernels.collect, signal, _with_rows(places), N)

    def _call(self, kernel, signal, places, option):
        """Call a kernel with tensors and sizes as numbers, which is faster than
        with arrays, of which each layout would be compiled."""
        R, B, M, k = places.shape
        pair = [
            (tensor.data_ptr(), *tensor.stride()[:3], k)
            for tensor in (signal, places)
        ]
        array = empty_array(signal.dtype)

        def run(chunk):
            runs = *chunk, M, self.lead, self.length
            kernel(*pair, runs, array, option)

        threads = count_threads(R * B * M * k)
        run_all(run, split(R, B, threads), threads)


def _with_rows(tensor):
    """A tensor whose rows are contiguous."""
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()
