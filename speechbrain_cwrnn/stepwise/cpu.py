"""The loop over time of all groups at once, compiled for the CPU by numba.

It is for small networks, where PyTorch spends more time on calling things
than on arithmetic. Up to LANES sequences, the *lanes*, go through the loop over
time side by side, so that each operation is one of vectors; a sequence on its
own makes vectors of its sums. The first call compiles, for some seconds; later
ones, of other processes too, load what was compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np
import torch

from speechbrain_cwrnn.stepwise import cpu_kernels as kernels
from speechbrain_cwrnn.stepwise.vectors import VECTOR

LANES = 32
# So many sequences take less time one by one.
FEW = 4
# Below so many multiplications, starting threads takes longer than they save.
WORTH_THREADS = 2_000_000


def forward(output, z, layer, groups):
    """Write h to output [R, B, T, H], contiguous.

    h[t] = f(z[t] + weight @ h[t-1])   for the units that tick at step t,
    h[t] = h[t-1]                      for others,        h[-1] = h0
    """
    _run(
        (kernels.forward_lanes, kernels.forward_one),
        (layer.h0, z.values, output),
        (layer.weight, layer.weight),
        (groups, z.groups),
    )


def backward(doutput, output, dz, layer, groups):
    """Write the gradient of z to dz; return that of h0 [R, B, H].

    Where a unit does not tick, that of its z is zero.
    """
    dh0 = torch.empty_like(layer.h0, memory_format=torch.contiguous_format)
    _run(
        (kernels.backward_lanes, kernels.backward_one),
        (doutput, output, dz.values, dh0),
        (layer.weight.mT, layer.weight),
        (groups, dz.groups),
    )
    return dh0


def _run(kernels, tensors, weights, groups):
    """Call a kernel for all sequences, in as many threads as torch has.

    kernels and weights are those for many sequences and for one; groups are
    those that tick, and those that see the input together.
    """
    of_many, of_one = kernels
    weight, weight_of_one = (w.contiguous().numpy() for w in weights)
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    groups, seen = groups
    T = max(array.shape[2] for array in arrays if array.ndim == 4)
    shape = arrays[0].shape[:2]
    clock = np.broadcast_to(np.asarray(groups.clock), shape)
    sizes = np.cumsum([0, *groups.group_sizes])
    layout = np.array(list(_layout(groups, seen, shape, T)))
    relu = groups.nonlinearity == "relu"
    options = np.array(groups.periods), sizes, layout, relu

    def run(chunk):
        now, replicas, sequences = chunk
        n = len(replicas)
        if n <= FEW:
            for r, b in zip(replicas, sequences):
                of_one(*arrays, weight_of_one[r], (r, b, now), options)
            return
        lanes = (n + VECTOR - 1) // VECTOR * VECTOR
        weights = weight[replicas[0]]
        if (replicas != replicas[0]).any():
            weights = np.zeros((*weights.shape, lanes), weight.dtype)
            weights[:, :, :n] = weight[replicas].transpose(1, 2, 0)
        of_many(*arrays, weights, (replicas, sequences, now, lanes), options)

    chunks = list(_chunks(clock))
    threads = min(torch.get_num_threads(), len(chunks))
    work = clock.size * T * weight.shape[-1] ** 2
    if threads == 1 or work < WORTH_THREADS:
        for chunk in chunks:
            run(chunk)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, chunks))


def _layout(groups, seen, shape, T):
    """Where the z of each group are among those of all; see `cpu_kernels`."""
    R, B = shape
    counts = seen.count_ticks(T)
    numbers = [R * B * N * k for N, k in zip(counts, seen.group_sizes)]
    places = [0, *accumulate(numbers)]
    for units in groups.units:
        i = max(i for i, s in enumerate(seen.units) if s.start <= units.start)
        column = units.start - seen.units[i].start
        yield (
            places[i] + column,
            counts[i],
            seen.group_sizes[i],
            seen.periods[i],
        )


def _chunks(clock):
    """Clock, replicas and sequences of up to LANES lanes in step.

    clock is [R, B]. The lanes of a chunk share their weights, unless replicas
    have so few sequences each that most lanes would be empty.
    """
    for now in np.unique(clock).tolist():
        replicas, sequences = np.nonzero(clock == now)
        edges = np.arange(LANES, len(replicas), LANES)
        if len(replicas) >= len(clock) * VECTOR:
            edges = np.flatnonzero(np.diff(replicas)) + 1
        for r, b in zip(np.split(replicas, edges), np.split(sequences, edges)):
            for lane in range(0, len(r), LANES):
                lanes = slice(lane, lane + LANES)
                yield now, *map(np.ascontiguousarray, (r[lanes], b[lanes]))
