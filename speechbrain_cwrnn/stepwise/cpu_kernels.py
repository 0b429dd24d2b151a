"""The kernels of `cpu.py`, apart because they need numba to be compiled.

They go through time, for some sequences b of replicas r side by side, as so
many lanes that each operation is one of vectors, or for a single sequence.
Those are h0 and mask [R, B, H], h [R, B, T, H], weight [C H, H] or [C H, H,
lanes] (or its transpose), and z [R, B S], one number after the other: the place
of the first one of group g, the distance of its sequences and of its rows, and
the steps from one row to the next are layout[g]. Where the cell is gated, each
row has first the candidates of a group, then its gates. For a single sequence,
blocks[g] are the address of the block row of group g and the bytes from row to
row. Divisions are slow, so ticks are counted down.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import numpy as np

from speechbrain_cwrnn.activations import (
    RELU,
    TANH,
    activate,
    sigmoid,
    sigmoid_row,
    slope,
    tanh,
)
from speechbrain_cwrnn.vectors import (
    add_product,
    array_at,
    jit_any_order,
    jit_ordered,
)


@jit_any_order
def _first_ticks(clock, periods, layout):
    """For each group, the steps to its first tick, the place of its z then,
    in the first sequence, and the distance to that at the next tick."""
    wait = -clock % periods
    row, seen = layout[:, 2], layout[:, 3]
    place = layout[:, 0] + (wait - -clock % seen) // seen * row
    return wait, place, periods // seen * row


@jit_any_order
def _last_ticks(T, clock, periods, layout):
    """The same backwards, from the last of T steps."""
    wait, place, distance = _first_ticks(clock, periods, layout)
    further = (T - 1 - wait + periods) // periods - 1
    wait = T - 1 - wait - further * periods
    return wait, place + further * distance, distance


@jit_ordered
def forward_lanes(h0, mask, z, h, weight, where, groups):
    """Write h, for the sequences of some lanes."""
    replicas, sequences, clock, lanes = where
    periods, starts, layout, f, gated = groups
    _, _, T, k = h.shape
    n, C = len(replicas), 2 if gated else 1
    state = np.zeros((k, lanes), h.dtype)
    m = np.zeros((k if gated else 0, lanes), h.dtype)
    new = np.zeros((C * k, lanes), h.dtype)
    for lane in range(n):
        r, b = replicas[lane], sequences[lane]
        for u in range(k):
            state[u, lane] = h0[r, b, u]
        for u in range(len(m)):
            m[u, lane] = mask[r, b, u]
    wait, place, distance = _first_ticks(clock, periods, layout)
    for t in range(T):
        for g in range(len(periods)):
            if wait[g] == 0:
                first, end = starts[g], starts[g + 1]
                top, size = C * first, end - first
                for lane in range(n):
                    row = place[g] + sequences[lane] * layout[g, 1]
                    # Of what is cut out, all indices are positive.
                    seen = z[replicas[lane], row : row + C * size]
                    for u in range(C * size):
                        new[top + u, lane] = seen[u]
                add_product(new, weight, state, top, C * end, first, k)
                activate(new, top, top + size, lanes, f)
                if gated:
                    for u in range(top + size, C * end):
                        sigmoid_row(new, u, 0, lanes)
                    for lane in range(n):
                        row = place[g] + sequences[lane] * layout[g, 1]
                        for u in range(C * size):
                            z[replicas[lane], row + u] = new[top + u, lane]
                    for u in range(size):
                        for lane in range(lanes):
                            c = new[top + u, lane] * m[first + u, lane]
                            held = state[first + u, lane] - c
                            c += new[top + size + u, lane] * held
                            new[top + u, lane] = c
        # What is held is copied as rows, and what ticks written over it.
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            previous = h0[r, b] if t == 0 else h[r, b, t - 1]
            for u in range(k):
                h[r, b, t, u] = previous[u]
        for g in range(len(periods)):
            if wait[g] == 0:
                first, end = starts[g], starts[g + 1]
                top = C * first
                state[first:end] = new[top : top + end - first]
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    own = h[r, b, t, first:end]
                    for u in range(end - first):
                        own[u] = new[top + u, lane]
                place[g] += distance[g]
                wait[g] = periods[g]
            wait[g] -= 1


@jit_ordered
def backward_lanes(dh, h, h0, mask, z, dz, dh0, weight_t, where, groups):
    """Write dz and dh0, for the sequences of some lanes."""
    replicas, sequences, clock, lanes = where
    periods, starts, layout, f, gated = groups
    _, _, T, k = h.shape
    n, C = len(replicas), 2 if gated else 1
    # What has come in for the state of a unit since it is held: from outside,
    # as rows, and from units that tick. It is added up first, as many small
    # numbers, one by one, would be rounded to what has been held for long.
    outer = np.zeros((n, k), dh.dtype)
    inner = np.zeros((k, lanes), dh.dtype)
    ticked = np.zeros((C * k, lanes), dh.dtype)
    wait, place, distance = _last_ticks(T, clock, periods, layout)
    for t in range(T - 1, -1, -1):
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            for u in range(k):
                outer[lane, u] += dh[r, b, t, u]
        last = 0
        for g in range(len(periods)):
            first, end = starts[g], starts[g + 1]
            top, size = C * first, end - first
            ticked[top : C * end] = 0
            if wait[g] == 0:
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    row = place[g] + b * layout[g, 1]
                    before = h0[r, b] if t == 0 else h[r, b, t - 1]
                    for u in range(size):
                        total = inner[first + u, lane] + outer[lane, first + u]
                        outer[lane, first + u] = 0
                        if gated:
                            c, keep = z[r, row + u], z[r, row + size + u]
                            inner[first + u, lane] = total * keep
                            total *= 1 - keep
                            m = mask[r, b, first + u]
                            gradient = total * m * slope(c, f)
                            total *= keep * (before[first + u] - m * c)
                            ticked[top + size + u, lane] = total
                            dz[r, row + size + u] = total
                        else:
                            inner[first + u, lane] = 0
                            gradient = total * slope(h[r, b, t, first + u], f)
                        ticked[top + u, lane] = gradient
                        dz[r, row + u] = gradient
                last = C * end
                place[g] -= distance[g]
                wait[g] = periods[g]
            wait[g] -= 1
        for g in range(len(periods)):
            # Its units send to those of this group and of faster ones.
            first, end = starts[g], starts[g + 1]
            to = min(C * end, last)
            add_product(inner, weight_t, ticked, first, end, 0, to)
    for lane in range(n):
        r, b = replicas[lane], sequences[lane]
        for u in range(k):
            dh0[r, b, u] = inner[u, lane] + outer[lane, u]


@jit_any_order
def _row(block, u, length, array):
    """Row u of a group's weights, in the dtype of an array."""
    return array_at(block[0] + u * block[1], length, array)


@jit_any_order
def project_rows(x, weight, bias, z, sizes, clock, ticks, array):
    """Write weight @ x + bias to z, in the rows of groups that tick; all are
    addresses, in the dtype of an array."""
    B, T, F, rows = sizes
    periods, starts = ticks
    x = array_at(x, (B, T, F), array)
    weight = array_at(weight, (rows, F), array)
    bias = array_at(bias, rows, array)
    z = array_at(z, (B, T, rows), array)
    for b in range(B):
        for t in range(T):
            for g in range(len(periods)):
                if (clock + t) % periods[g]:
                    continue
                for u in range(starts[g], starts[g + 1]):
                    total = bias[u]
                    for c in range(F):
                        total += weight[u, c] * x[b, t, c]
                    z[b, t, u] = total


@jit_any_order
def forward_rows(addresses, sizes, clock, groups, array):
    """Write h, for few sequences that are seen at all steps, as `forward_one`.

    addresses are those of h0, mask, z, h and each block row, in the dtype of an
    array; to make arrays of them here takes less time than in Python.
    """
    B, T = sizes
    periods, starts, _, _, gated = groups
    H, C = starts[-1], 2 if gated else 1
    h0 = array_at(addresses[0], (1, B, H), array)
    mask = array_at(addresses[1], (1, B, H), array)
    z = array_at(addresses[2], (1, B * T * C * H), array)
    h = array_at(addresses[3], (1, B, T, H), array)
    blocks = np.empty((len(periods), 2), np.int64)
    for g in range(len(periods)):
        blocks[g, 0] = addresses[4 + g]
        blocks[g, 1] = (H - starts[g]) * array.itemsize
    for b in range(B):
        forward_one(h0, mask, z, h, blocks, (0, b, clock), groups)


@jit_any_order
def forward_one(h0, mask, z, h, blocks, where, groups):
    """Write h, for one sequence."""
    r, b, clock = where
    periods, starts, layout, f, gated = groups
    wait, place, distance = _first_ticks(clock, periods, layout)
    place += b * layout[:, 1]
    C = 2 if gated else 1
    for t in range(h.shape[2]):
        previous = h0[r, b] if t == 0 else h[r, b, t - 1]
        for g in range(len(periods)):
            first, end = starts[g], starts[g + 1]
            wait[g] -= 1
            if wait[g] >= 0:
                h[r, b, t, first:end] = previous[first:end]
                continue
            row = z[r, place[g] :]
            place[g] += distance[g]
            wait[g] += periods[g]
            senders = previous[first:]
            size = end - first
            # Of a gated cell, what is kept for the backward pass.
            new = row if gated else h[r, b, t, first:]
            for u in range(C * size):
                weights = _row(blocks[g], u, len(senders), h)
                total = row[u]
                for c in range(len(weights)):
                    total += weights[c] * senders[c]
                new[u] = total
            for u in range(size):
                x = new[u]
                if f == TANH:
                    new[u] = tanh(x)
                elif f == RELU:
                    new[u] = 0 if x < 0 else x
                else:
                    new[u] = 0.01 * x if x < 0 else x
            if gated:
                for u in range(size):
                    new[size + u] = sigmoid(new[size + u])
                for u in range(size):
                    c = new[u] * mask[r, b, first + u]
                    held = senders[u] - c
                    h[r, b, t, first + u] = c + new[size + u] * held


@jit_any_order
def backward_one(dh, h, h0, mask, z, dz, dh0, blocks, where, groups):
    """Write dz and dh0, for one sequence."""
    r, b, clock = where
    periods, starts, layout, f, gated = groups
    T, k = h.shape[2:]
    state = np.zeros(k, dh.dtype)
    passed = np.zeros(k, dh.dtype)
    wait, place, distance = _last_ticks(T, clock, periods, layout)
    place += b * layout[:, 1]
    C = 2 if gated else 1
    for t in range(T - 1, -1, -1):
        before = h0[r, b] if t == 0 else h[r, b, t - 1]
        for u in range(k):
            state[u] += dh[r, b, t, u] + passed[u]
            passed[u] = 0
        for g in range(len(periods)):
            wait[g] -= 1
            if wait[g] >= 0:
                continue
            first, end = starts[g], starts[g + 1]
            row, kept = dz[r, place[g] :], z[r, place[g] :]
            place[g] -= distance[g]
            wait[g] += periods[g]
            size = end - first
            for u in range(size):
                total = state[first + u]
                if gated:
                    c, keep = kept[u], kept[size + u]
                    state[first + u] = total * keep
                    total *= 1 - keep
                    m = mask[r, b, first + u]
                    row[u] = total * m * slope(c, f)
                    row[size + u] = total * keep * (before[first + u] - m * c)
                else:
                    state[first + u] = 0
                    row[u] = total * slope(h[r, b, t, first + u], f)
            to = passed[first:]
            for u in range(C * size):
                gradient = row[u]
                weights = _row(blocks[g], u, len(to), h)
                for c in range(len(weights)):
                    to[c] += weights[c] * gradient
    for u in range(k):
        dh0[r, b, u] = state[u] + passed[u]
