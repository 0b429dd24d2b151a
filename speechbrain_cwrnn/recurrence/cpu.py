"""The recurrence of all groups at once, compiled for the CPU by numba.

It is for small networks, where PyTorch spends more time on calling things
than on arithmetic. Sixteen sequences, the *lanes*, go through the loop over
time side by side, so that each operation is one of vectors; if there are few,
they go one by one, and the sums are what is made of vectors. The first call
compiles, for some seconds; later ones, of other processes too, load what was
compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

LANES = 16
# So many take less time one by one.
FEW = 6
# Below so many multiplications, starting threads takes longer than they save.
WORTH_THREADS = 2_000_000


def forward(z, weight, h0, nonlinearity, clock, periods, group_sizes):
    """The states h [R, N, B, k] of z [R, N, B, k]; see the package."""
    h = torch.empty_like(z, memory_format=torch.contiguous_format)
    _run(
        _forward_lanes,
        (z, h0, h),
        weight,
        (clock, periods, group_sizes, nonlinearity),
    )
    return h


def backward(dh, h, weight, nonlinearity, clock, periods, group_sizes):
    """The gradients dz [R, N, B, k] and dh0 [R, B, k] from that of h."""
    dz = torch.zeros_like(dh, memory_format=torch.contiguous_format)
    dh0 = h.new_empty(h.shape[0], *h.shape[2:])
    _run(
        _backward_lanes,
        (dh, h, dz, dh0),
        weight.mT,
        (clock, periods, group_sizes, nonlinearity),
    )
    return dz, dh0


def _run(kernel, tensors, weight, options):
    """Call a kernel for every LANES sequences, in as many threads as torch."""
    clock, periods, group_sizes, nonlinearity = options
    if clock is None:
        clock = torch.zeros(len(weight), tensors[0].shape[2], dtype=torch.long)
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    weight = weight.detach().contiguous().numpy()
    periods = np.array(periods)
    starts = np.cumsum([0, *group_sizes])

    def run(chunk):
        now, replicas, sequences = chunk
        if len(replicas) <= FEW:
            for lane, r in enumerate(replicas):
                run_lanes(weight[r], chunk, slice(lane, lane + 1))
        elif (replicas == replicas[0]).all():
            run_lanes(weight[replicas[0]], chunk)
        else:
            k = weight.shape[-1]
            weights = np.zeros((k, k, LANES), weight.dtype)
            weights[:, :, : len(replicas)] = weight[replicas].transpose(1, 2, 0)
            run_lanes(weights, chunk)

    def run_lanes(weights, chunk, lanes=slice(LANES)):
        now, replicas, sequences = chunk
        replicas, sequences = replicas[lanes], sequences[lanes]
        # The length of a tuple is known when the kernel is compiled.
        width = (0,) * (lanes.stop - (lanes.start or 0))
        relu = nonlinearity == "relu"
        where = (replicas, sequences, now, periods, starts)
        kernel(*arrays, weights, *where, relu, width)

    chunks = list(_chunks(clock))
    threads = min(torch.get_num_threads(), len(chunks))
    if threads == 1 or arrays[0].size * weight.shape[-1] < WORTH_THREADS:
        for chunk in chunks:
            run(chunk)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, chunks))


def _chunks(clock):
    """Clock, replicas and sequences of up to LANES lanes in step.

    clock is [R, B]. The lanes of a chunk share their weights, unless replicas
    have so few sequences each that most lanes would be empty.
    """
    for now in clock.unique().tolist():
        replicas, sequences = (
            index.numpy() for index in (clock == now).nonzero(as_tuple=True)
        )
        edges = np.arange(LANES, len(replicas), LANES)
        if len(replicas) >= len(clock) * LANES // 2:
            edges = np.flatnonzero(np.diff(replicas)) + 1
        for r, b in zip(np.split(replicas, edges), np.split(sequences, edges)):
            for lane in range(0, len(r), LANES):
                lanes = slice(lane, lane + LANES)
                yield now, r[lanes], b[lanes]


# The order of sums is free, as in any product of matrices; nothing else is.
_jit = numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})


@_jit
def _forward_lanes(
    z, h0, h, weight, replicas, sequences, clock, periods, starts, relu, width
):
    N, k, n, lanes = z.shape[1], z.shape[3], len(replicas), len(width)
    state = np.zeros((k, lanes), z.dtype)
    new = np.zeros((k, lanes), z.dtype)
    total = numba.carray(_on_stack(z), lanes)
    for lane in range(n):
        for u in range(k):
            state[u, lane] = h0[replicas[lane], sequences[lane], u]
    for t in range(N):
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                for u in range(starts[g], starts[g + 1]):
                    for lane in range(lanes):
                        total[lane] = 0
                    for lane in range(n):
                        total[lane] = z[replicas[lane], t, sequences[lane], u]
                    for c in range(starts[g], k):
                        for lane in range(lanes):
                            w = _weight(weight, u, c, lane)
                            total[lane] += w * state[c, lane]
                    if relu:
                        for lane in range(lanes):
                            x = total[lane]
                            new[u, lane] = 0 if x < 0 else x
                    else:
                        for lane in range(lanes):
                            new[u, lane] = _tanh(total[lane])
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                for u in range(starts[g], starts[g + 1]):
                    for lane in range(lanes):
                        state[u, lane] = new[u, lane]
        for lane in range(n):
            for u in range(k):
                h[replicas[lane], t, sequences[lane], u] = state[u, lane]


@_jit
def _backward_lanes(
    dh,
    h,
    dz,
    dh0,
    weight_t,
    replicas,
    sequences,
    clock,
    periods,
    starts,
    relu,
    width,
):
    N, k, n, lanes = dh.shape[1], dh.shape[3], len(replicas), len(width)
    # The gradient of the state, what the step after adds to it, and that of z
    # where units tick. It is added up first, as many small numbers, one by
    # one, would be rounded to what has been held for long.
    state = np.zeros((k, lanes), dh.dtype)
    passed = np.zeros((k, lanes), dh.dtype)
    ticked = np.zeros((k, lanes), dh.dtype)
    total = numba.carray(_on_stack(dh), lanes)
    for t in range(N - 1, -1, -1):
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            for u in range(k):
                state[u, lane] += dh[r, t, b, u] + passed[u, lane]
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                for u in range(starts[g], starts[g + 1]):
                    for lane in range(n):
                        r, b = replicas[lane], sequences[lane]
                        y = h[r, t, b, u]
                        slope = (y > 0) if relu else 1 - y * y
                        ticked[u, lane] = state[u, lane] * slope
                        dz[r, t, b, u] = ticked[u, lane]
                        state[u, lane] = 0
        for c in range(k):
            for lane in range(lanes):
                total[lane] = 0
            for g in range(len(periods)):
                if starts[g] <= c and (clock + t) % periods[g] == 0:
                    for u in range(starts[g], starts[g + 1]):
                        for lane in range(lanes):
                            w = _weight(weight_t, c, u, lane)
                            total[lane] += w * ticked[u, lane]
            for lane in range(lanes):
                passed[c, lane] = total[lane]
    for lane in range(n):
        r, b = replicas[lane], sequences[lane]
        for u in range(k):
            dh0[r, b, u] = state[u, lane] + passed[u, lane]


@intrinsic
def _on_stack(typing_context, like):
    """A pointer to LANES numbers of an array's type, on the stack.

    What is not on the heap can overlap no array, so that LLVM keeps the
    numbers in registers.
    """

    def generate(context, builder, signature, arguments):
        dtype = context.get_value_type(like.dtype)
        return cgutils.alloca_once(builder, dtype, size=LANES)

    return types.CPointer(like.dtype)(like), generate


def _weight(weight, row, column, lane):
    """A weight [k, k] that all lanes share, or [k, k, LANES], one of each."""


@overload(_weight, inline="always")
def _overload_weight(weight, row, column, lane):
    if weight.ndim == 2:
        return lambda weight, row, column, lane: weight[row, column]
    return lambda weight, row, column, lane: weight[row, column, lane]


def _tanh(x):
    """tanh, in a form that LLVM makes vectors of."""


@overload(_tanh, inline="always")
def _overload_tanh(x):
    if x == types.float64:
        return lambda x: math.tanh(x)
    return _tanh_float32


def _tanh_float32(x):
    # In float64, so that it is as exact as PyTorch's, and in steps that LLVM
    # makes vectors of. tanh |x| = e / (e + 2) with e = exp(2 |x|) - 1, which
    # loses nothing for small x. exp is 2^n times a power series in the rest r.
    # From |x| = 10 on, all is 1.
    x2 = 2.0 * abs(np.float64(x))
    x2 = 20.0 if x2 > 20.0 else x2
    n = np.floor(x2 * 1.4426950408889634 + 0.5)
    r = x2 - n * 0.6931471805599453
    p = 1 / 40320 + r / 362880
    p = 1 / 720 + r * (1 / 5040 + r * p)
    p = 1 / 24 + r * (1 / 120 + r * p)
    p = 1 / 2 + r * (1 / 6 + r * p)
    power = _as_float64((np.int64(n) + 1023) << 52)
    e = power * (r + r * r * p) + (power - 1.0)
    y = np.float32(e / (e + 2.0))
    return y if x >= 0 else -y


@intrinsic
def _as_float64(typing_context, bits):
    """The number that 64 bits stand for."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate
