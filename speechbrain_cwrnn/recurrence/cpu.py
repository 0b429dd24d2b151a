"""The recurrence of all groups at once, compiled for the CPU by numba.

It is for small networks, where PyTorch spends more time on calling things
than on arithmetic. Up to LANES sequences, the *lanes*, go through the loop over
time side by side, so that each operation is one of vectors; a sequence on its
own makes vectors of its sums. The first call compiles, for some seconds; later
ones, of other processes too, load what was compiled from numba's cache.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

LANES = 32
# Processors have vectors of up to so many numbers.
VECTOR = 8
# So many sequences take less time one by one.
FEW = 4
# Below so many multiplications, starting threads takes longer than they save.
WORTH_THREADS = 2_000_000


def forward(z, weight, h0, clock, periods, group_sizes, nonlinearity):
    """Replace z by h in z [R, B, T, H], contiguous.

        h[t] = f(z[t] + weight @ h[t-1])   for the units that tick at step t,
        h[t] = h[t-1]                      for others,        h[-1] = h0

    weight is [R, H, H], h0 [R, B, H], clock a number or [R, B].
    """
    _run(
        (_forward_lanes, _forward_one),
        (h0, z),
        (weight, weight),
        (clock, periods, group_sizes, nonlinearity),
    )


def backward(dh, h, weight, clock, periods, group_sizes, nonlinearity):
    """The gradients dz [R, B, T, H] and dh0 [R, B, H] from that of h.

    Where a unit does not tick, that of its z is zero.
    """
    dz = h.new_empty(h.shape)
    dh0 = h.new_empty(*h.shape[:2], h.shape[3])
    _run(
        (_backward_lanes, _backward_one),
        (dh, h, dz, dh0),
        (weight.mT, weight),
        (clock, periods, group_sizes, nonlinearity),
    )
    return dz, dh0


def _run(kernels, tensors, weights, options):
    """Call a kernel for all sequences, in as many threads as torch has."""
    of_many, of_one = kernels
    weight, weight_of_one = (w.contiguous().numpy() for w in weights)
    clock, periods, group_sizes, nonlinearity = options
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    clock = np.broadcast_to(np.asarray(clock), arrays[0].shape[:2])
    groups = np.array(periods), np.cumsum([0, *group_sizes])
    relu = nonlinearity == "relu"

    def run(chunk):
        now, replicas, sequences = chunk
        n = len(replicas)
        if n <= FEW:
            for r, b in zip(replicas, sequences):
                of_one(*arrays, weight_of_one[r], r, b, now, *groups, relu)
            return
        lanes = (n + VECTOR - 1) // VECTOR * VECTOR
        weights = weight[replicas[0]]
        if (replicas != replicas[0]).any():
            weights = np.zeros((*weights.shape, lanes), weight.dtype)
            weights[:, :, :n] = weight[replicas].transpose(1, 2, 0)
        where = replicas, sequences, now
        of_many(*arrays, weights, *where, *groups, relu, lanes)

    chunks = list(_chunks(clock))
    threads = min(torch.get_num_threads(), len(chunks))
    if threads == 1 or arrays[1].size * weight.shape[-1] < WORTH_THREADS:
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
    for now in np.unique(clock).tolist():
        replicas, sequences = np.nonzero(clock == now)
        edges = np.arange(LANES, len(replicas), LANES)
        if len(replicas) >= len(clock) * VECTOR:
            edges = np.flatnonzero(np.diff(replicas)) + 1
        for r, b in zip(np.split(replicas, edges), np.split(sequences, edges)):
            for lane in range(0, len(r), LANES):
                lanes = slice(lane, lane + LANES)
                yield now, *map(np.ascontiguousarray, (r[lanes], b[lanes]))


# Where lanes make the vectors, the order of sums is kept, as LLVM would
# otherwise make them of the sums. Numba's own error model would look for
# divisions by zero one by one.
_jit = partial(numba.njit, cache=True, nogil=True, error_model="numpy")
_jit_lanes = _jit(fastmath={"contract"})
_jit_one = _jit(fastmath={"contract", "reassoc"})


@_jit_lanes
def _forward_lanes(
    h0, h, weight, replicas, sequences, clock, periods, starts, relu, lanes
):
    T, k, n = h.shape[2], h.shape[3], len(replicas)
    state = np.zeros((k, lanes), h.dtype)
    new = np.zeros((k, lanes), h.dtype)
    for lane in range(n):
        for u in range(k):
            state[u, lane] = h0[replicas[lane], sequences[lane], u]
    for t in range(T):
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                first, end = starts[g], starts[g + 1]
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    for u in range(first, end):
                        new[u, lane] = h[r, b, t, u]
                _add_product(new, weight, state, first, end, first, k)
                for u in range(first, end):
                    for lane in range(lanes):
                        x = new[u, lane]
                        if relu:
                            new[u, lane] = 0 if x < 0 else x
                        else:
                            new[u, lane] = _tanh(x)
        # What is held is copied as rows, and what ticks written over it.
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            previous = h0[r, b] if t == 0 else h[r, b, t - 1]
            for u in range(k):
                h[r, b, t, u] = previous[u]
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                group = slice(starts[g], starts[g + 1])
                state[group] = new[group]
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    for u in range(starts[g], starts[g + 1]):
                        h[r, b, t, u] = new[u, lane]


@_jit_lanes
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
    lanes,
):
    T, k, n = dh.shape[2], dh.shape[3], len(replicas)
    # What has come in for the state of a unit since it is held: from outside,
    # as rows, and from units that tick. It is added up first, as many small
    # numbers, one by one, would be rounded to what has been held for long.
    outer = np.zeros((n, k), dh.dtype)
    inner = np.zeros((k, lanes), dh.dtype)
    ticked = np.zeros((k, lanes), dh.dtype)
    for t in range(T - 1, -1, -1):
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            for u in range(k):
                outer[lane, u] += dh[r, b, t, u]
                dz[r, b, t, u] = 0
        last = 0
        for g in range(len(periods)):
            ticked[starts[g] : starts[g + 1]] = 0
            if (clock + t) % periods[g] == 0:
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    for u in range(starts[g], starts[g + 1]):
                        y = h[r, b, t, u]
                        slope = (y > 0) if relu else 1 - y * y
                        gradient = (inner[u, lane] + outer[lane, u]) * slope
                        ticked[u, lane] = gradient
                        dz[r, b, t, u] = gradient
                        outer[lane, u] = 0
                inner[starts[g] : starts[g + 1]] = 0
                last = starts[g + 1]
        for g in range(len(periods)):
            # Its units send to those of this group and of faster ones.
            first, end = starts[g], starts[g + 1]
            to = min(end, last)
            _add_product(inner, weight_t, ticked, first, end, 0, to)
    for lane in range(n):
        r, b = replicas[lane], sequences[lane]
        for u in range(k):
            dh0[r, b, u] = inner[u, lane] + outer[lane, u]


@_jit_one
def _forward_one(h0, h, weight, r, b, clock, periods, starts, relu):
    for t in range(h.shape[2]):
        previous = h0[r, b] if t == 0 else h[r, b, t - 1]
        for g in range(len(periods)):
            first, end = starts[g], starts[g + 1]
            if (clock + t) % periods[g] != 0:
                h[r, b, t, first:end] = previous[first:end]
                continue
            senders = previous[first:]
            for u in range(first, end):
                row = weight[u, first:]
                total = h[r, b, t, u]
                for c in range(len(row)):
                    total += row[c] * senders[c]
                h[r, b, t, u] = total
            for u in range(first, end):
                x = h[r, b, t, u]
                if relu:
                    h[r, b, t, u] = 0 if x < 0 else x
                else:
                    h[r, b, t, u] = _tanh(x)


@_jit_one
def _backward_one(dh, h, dz, dh0, weight, r, b, clock, periods, starts, relu):
    T, k = dh.shape[2], dh.shape[3]
    state = np.zeros(k, dh.dtype)
    passed = np.zeros(k, dh.dtype)
    for t in range(T - 1, -1, -1):
        for u in range(k):
            state[u] += dh[r, b, t, u] + passed[u]
            passed[u] = 0
            dz[r, b, t, u] = 0
        for g in range(len(periods)):
            if (clock + t) % periods[g] == 0:
                to = passed[starts[g] :]
                for u in range(starts[g], starts[g + 1]):
                    y = h[r, b, t, u]
                    slope = (y > 0) if relu else 1 - y * y
                    gradient = state[u] * slope
                    dz[r, b, t, u] = gradient
                    state[u] = 0
                    row = weight[u, starts[g] :]
                    for c in range(len(row)):
                        to[c] += row[c] * gradient
    for u in range(k):
        dh0[r, b, u] = state[u] + passed[u]


@_jit_lanes
def _add_product(totals, weights, values, first, end, start, stop):
    """totals[u] += sum over start <= c < stop of weights[u, c] * values[c]

    for the units first <= u < end, of as many lanes as there are. Each sum is
    formed before it is added.
    """
    u = first
    while u < end:
        for lane in range(0, totals.shape[1], VECTOR):
            # Each value serves four sums, which need not wait for each other.
            if u + 4 <= end:
                _add_block_of_4(totals, weights, values, u, start, stop, lane)
            else:
                _add_block_of_1(totals, weights, values, u, start, stop, lane)
        u += 4 if u + 4 <= end else 1


def _adder(units):
    """What adds a product to so many units, for VECTOR lanes.

    It is written in LLVM's own vectors, since LLVM makes none of such a loop.
    """

    @intrinsic
    def add(typing_context, totals, weights, values, unit, start, stop, lane):
        def generate(context, builder, signature, arguments):
            arrays = [
                context.make_array(kind)(context, builder, array)
                for kind, array in zip(signature.args, arguments[:3])
            ]
            unit, start, stop, lane = arguments[3:]
            number = context.get_value_type(totals.dtype)
            vector = ir.VectorType(number, VECTOR)
            nothing = ir.Constant(vector, ir.Undefined)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), VECTOR), None)
            # Of a number: rows begin anywhere.
            align = context.get_abi_sizeof(number)

            def at(i, *place):
                return cgutils.get_item_pointer(
                    context, builder, signature.args[i], arrays[i], place
                )

            def vector_at(i, *place):
                return builder.bitcast(at(i, *place), vector.as_pointer())

            def weight(u, c):
                if weights.ndim == 3:
                    return builder.load(vector_at(1, u, c, lane), align=align)
                one = builder.insert_element(
                    nothing, builder.load(at(1, u, c)), ir.IntType(32)(0)
                )
                return builder.shuffle_vector(one, nothing, zeros)

            sums = {
                builder.add(unit, unit.type(i)): cgutils.alloca_once_value(
                    builder, ir.Constant(vector, None)
                )
                for i in range(units)
            }
            one = stop.type(1)
            with cgutils.for_range_slice(builder, start, stop, one) as (c, _):
                value = builder.load(vector_at(2, c, lane), align=align)
                for u, total in sums.items():
                    product = builder.fmul(
                        weight(u, c), value, flags=["contract"]
                    )
                    builder.store(
                        builder.fadd(
                            builder.load(total), product, flags=["contract"]
                        ),
                        total,
                    )
            for u, total in sums.items():
                pointer = vector_at(0, u, lane)
                before = builder.load(pointer, align=align)
                after = builder.fadd(before, builder.load(total))
                builder.store(after, pointer, align=align)
            return context.get_dummy_value()

        arguments = totals, weights, values, unit, start, stop, lane
        return types.none(*arguments), generate

    return add


_add_block_of_4, _add_block_of_1 = _adder(4), _adder(1)


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
