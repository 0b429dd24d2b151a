"""The loop over time of all groups at once, compiled for the CPU by numba.

It is for little to compute, where PyTorch spends more time on calling things
than on arithmetic. Up to LANES sequences, the *lanes*, go through the loop over
time side by side, so that each operation is one of vectors; a sequence on its
own makes vectors of its sums. The first call compiles, for some seconds; later
ones, of other processes too, load what was compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch

from speechbrain_cwrnn.cells import NONLINEARITIES
from speechbrain_cwrnn.lengths import zero_padding_
from speechbrain_cwrnn.stepwise import cpu_kernels as kernels
from speechbrain_cwrnn.threads import count_threads, run_all
from speechbrain_cwrnn.vectors import VECTOR, empty_array

LANES = 32
# So many sequences take less time one by one.
FEW = 4


def forward(output, z, layer, groups):
    """Write h to output [R, B, T, H], contiguous.

    h[t] = f(z[t] + weight @ h[t-1])   for the units that tick at step t,
    h[t] = h[t-1]                      for others,        h[-1] = h0

    or what a gated cell makes of both.
    """
    _run(
        (kernels.forward_lanes, kernels.forward_one),
        (layer.h0, _mask(layer), z.values, output),
        (layer.weight, layer.weight),
        (groups, z.groups),
    )


def backward(doutput, output, z, dz, layer, groups):
    """Write the gradient of z to dz; return that of h0 [R, B, H].

    Where a unit does not tick, that of its z is zero.
    """
    own = dz.groups.periods == groups.periods
    if not own or isinstance(groups.clock, torch.Tensor):
        dz.values.zero_()
    dh0 = torch.empty_like(layer.h0, memory_format=torch.contiguous_format)
    _run(
        (kernels.backward_lanes, kernels.backward_one),
        (
            doutput,
            output,
            layer.h0,
            _mask(layer),
            z.values if groups.cell.gated else dz.values,
            dz.values,
            dh0,
        ),
        (layer.weight.mT, layer.weight),
        (groups, dz.groups),
    )
    return dh0


def _mask(layer):
    """The mask of the candidates [R, B, H]."""
    return torch.ones_like(layer.h0) if layer.mask is None else layer.mask


def _run(kernels, tensors, weights, groups):
    """Call a kernel for all sequences, in as many threads as torch has.

    kernels and weights are those for many sequences and for one; groups are
    those that tick, and those that see the input together.
    """
    of_many, of_one = kernels
    weight, weight_of_one = (w.contiguous() for w in weights)
    blocks = _blocks(
        weight_of_one.shape,
        weight_of_one.element_size(),
        groups[0].group_sizes,
        groups[0].cell,
    )
    blocks, weight = blocks + [weight_of_one.data_ptr(), 0], weight.numpy()
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    groups, seen = groups
    R, B, T = next(array.shape[:3] for array in arrays if array.ndim == 4)
    options = _options(
        (groups.periods, groups.group_sizes),
        (seen.periods, seen.group_sizes, tuple(seen.count_ticks(T))),
        B,
        groups.cell,
    )

    def run(chunk):
        now, replicas, sequences = chunk
        n = len(replicas)
        if n <= FEW:
            for r, b in zip(replicas, sequences):
                of_one(*arrays, blocks[r], (r, b, now), options)
            return
        lanes = (n + VECTOR - 1) // VECTOR * VECTOR
        weights = weight[replicas[0]]
        if (replicas != replicas[0]).any():
            weights = np.zeros((*weights.shape, lanes), weight.dtype)
            weights[:, :, :n] = weight[replicas].transpose(1, 2, 0)
        of_many(*arrays, weights, (replicas, sequences, now, lanes), options)

    if isinstance(groups.clock, int):
        chunks = _chunks_of_one_clock(groups.clock, R, B)
    else:
        chunks = list(_chunks(groups.clock.numpy()))
    run_all(run, chunks, count_threads(R * B * T * weight.shape[-1] ** 2))


def project_rows(x, weight_ih, bias, groups):
    """What the groups see of the input [B, T, C H], of few steps, at their
    ticks; at others, it is not looked at.

    Arguments
    ---------
    x, weight_ih, bias, groups
        As in `clockwork_rnn`; the clock is an int.
    """
    B, T, features = x.shape
    z = x.new_empty(B, T, len(weight_ih))
    if bias is None:
        bias = x.new_zeros(len(weight_ih))
    tensors = [tensor.contiguous() for tensor in (x, weight_ih, bias)]
    kernels.project_rows(
        *(tensor.data_ptr() for tensor in (*tensors, z)),
        (B, T, features, len(weight_ih)),
        groups.clock,
        _ticks(groups.periods, groups.group_sizes, groups.cell.columns),
        empty_array(z.dtype),
    )
    return z


def forward_rows(z, weight_hh, h0, groups, mask=None, steps=None):
    """The state after every step [B, T, H], of few sequences and steps.

    The weights are read where they are, with no matrix made of them.

    Arguments
    ---------
    z : torch.Tensor
        What the groups see of the input [B, T, C H], at all steps; lost.
    weight_hh, h0, groups, mask, steps
        As in `plain.unroll`; the clock is an int.
    """
    B, T, _ = z.shape
    if mask is None:
        mask = torch.ones_like(h0) if groups.cell.gated else h0
    h = z.new_empty(B, T, h0.shape[1])
    # They are kept here, as long as their addresses are in use.
    tensors = [
        tensor
        if tensor.dtype == z.dtype and tensor.is_contiguous()
        else tensor.to(z.dtype).contiguous()
        for tensor in (h0, mask, z, h, *weight_hh)
    ]
    options = _options(
        (groups.periods, groups.group_sizes),
        ((1,), (h0.shape[1],), (T,)),
        B,
        groups.cell,
    )
    addresses = np.array([tensor.data_ptr() for tensor in tensors])
    kernels.forward_rows(
        addresses, (B, T), groups.clock, options, empty_array(z.dtype)
    )
    return h if steps is None else zero_padding_(h, steps)


# What follows from sizes alone is computed once, not for each batch.
@lru_cache
def _blocks(shape, element_size, group_sizes, cell):
    """Where the block rows are in matrices [R, C H, H]: the bytes to each one,
    and from row to row [R, G, 2]."""
    R, rows, H = shape
    replicas = np.arange(R)[:, None] * rows * H
    first = np.array([0, *accumulate(group_sizes)][:-1])
    first = replicas + first * (cell.columns * H + 1)
    blocks = np.stack([first, np.full_like(first, H)], axis=-1)
    return blocks * element_size


@lru_cache
def _options(groups, seen, B, cell):
    """Period and first unit of each group, where its z is among those of all
    groups, and what its units do; see `cpu_kernels`.

    groups are periods and sizes; seen those of groups that see the input
    together, and how often they do.
    """
    periods, sizes = groups
    columns = cell.columns
    seen_periods, seen_sizes, counts = seen
    starts, seen_starts = (
        [0, *accumulate(sizes)] for sizes in (sizes, seen_sizes)
    )
    numbers = [B * N * columns * k for N, k in zip(counts, seen_sizes)]
    places = [0, *accumulate(numbers)]
    layout = []
    for start in starts[:-1]:
        i = bisect_right(seen_starts, start) - 1
        place = places[i] + columns * (start - seen_starts[i])
        row = columns * seen_sizes[i]
        layout.append([place, counts[i] * row, row, seen_periods[i]])
    tables = np.array(periods), np.array(starts), np.array(layout)
    return *tables, NONLINEARITIES.index(cell.nonlinearity), cell.gated


@lru_cache
def _ticks(periods, group_sizes, columns):
    """Period and first row of each group, and the number of all rows."""
    starts = [columns * start for start in (0, *accumulate(group_sizes))]
    return np.array(periods), np.array(starts)


@lru_cache
def _chunks_of_one_clock(clock, R, B):
    """The chunks of sequences that share a clock."""
    return list(_chunks(np.broadcast_to(clock, (R, B))))


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
