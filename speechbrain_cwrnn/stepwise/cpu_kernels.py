"""The kernels of `cpu.py`, apart because they need numba to be compiled.

They go through time, for some sequences b of replicas r side by side, as so
many lanes that each operation is one of vectors, or for a single sequence.
Those are h0 [R, B, H], h [R, B, T, H], weight [H, H] or [H, H, lanes] (or its
transpose), and z, one number after the other: the place of the first one of
group g, the distance of its sequences and of its rows, and the steps from one
row to the next are layout[g]. Divisions are slow, so ticks are counted down.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import numpy as np

from speechbrain_cwrnn.stepwise.vectors import (
    add_product,
    jit_lanes,
    jit_one,
    tanh,
)


@jit_one
def _first_ticks(clock, periods, layout):
    """For each group, the steps to its first tick, the place of its z then,
    in the first sequence, and the distance to that at the next tick."""
    wait = -clock % periods
    row, seen = layout[:, 2], layout[:, 3]
    place = layout[:, 0] + (wait - -clock % seen) // seen * row
    return wait, place, periods // seen * row


@jit_one
def _last_ticks(T, clock, periods, layout):
    """The same backwards, from the last of T steps."""
    wait, place, distance = _first_ticks(clock, periods, layout)
    further = (T - 1 - wait + periods) // periods - 1
    wait = T - 1 - wait - further * periods
    return wait, place + further * distance, distance


@jit_lanes
def forward_lanes(h0, z, h, weight, where, groups):
    """Write h, for the sequences of some lanes."""
    replicas, sequences, clock, lanes = where
    periods, starts, layout, relu = groups
    _, B, T, k = h.shape
    n = len(replicas)
    state = np.zeros((k, lanes), h.dtype)
    new = np.zeros((k, lanes), h.dtype)
    for lane in range(n):
        for u in range(k):
            state[u, lane] = h0[replicas[lane], sequences[lane], u]
    wait, place, distance = _first_ticks(clock, periods, layout)
    for t in range(T):
        for g in range(len(periods)):
            if wait[g] == 0:
                first, end = starts[g], starts[g + 1]
                for lane in range(n):
                    sequence = replicas[lane] * B + sequences[lane]
                    row = z[place[g] + sequence * layout[g, 1] :]
                    for u in range(end - first):
                        new[first + u, lane] = row[u]
                add_product(new, weight, state, first, end, first, k)
                for u in range(first, end):
                    for lane in range(lanes):
                        x = new[u, lane]
                        if relu:
                            new[u, lane] = 0 if x < 0 else x
                        else:
                            new[u, lane] = tanh(x)
        # What is held is copied as rows, and what ticks written over it.
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            previous = h0[r, b] if t == 0 else h[r, b, t - 1]
            for u in range(k):
                h[r, b, t, u] = previous[u]
        for g in range(len(periods)):
            if wait[g] == 0:
                group = slice(starts[g], starts[g + 1])
                state[group] = new[group]
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    for u in range(starts[g], starts[g + 1]):
                        h[r, b, t, u] = new[u, lane]
                place[g] += distance[g]
                wait[g] = periods[g]
            wait[g] -= 1


@jit_lanes
def backward_lanes(dh, h, dz, dh0, weight_t, where, groups):
    """Write dz and dh0, for the sequences of some lanes."""
    replicas, sequences, clock, lanes = where
    periods, starts, layout, relu = groups
    _, B, T, k = h.shape
    n = len(replicas)
    # What has come in for the state of a unit since it is held: from outside,
    # as rows, and from units that tick. It is added up first, as many small
    # numbers, one by one, would be rounded to what has been held for long.
    outer = np.zeros((n, k), dh.dtype)
    inner = np.zeros((k, lanes), dh.dtype)
    ticked = np.zeros((k, lanes), dh.dtype)
    wait, place, distance = _last_ticks(T, clock, periods, layout)
    for t in range(T - 1, -1, -1):
        for lane in range(n):
            r, b = replicas[lane], sequences[lane]
            for u in range(k):
                outer[lane, u] += dh[r, b, t, u]
        last = 0
        for g in range(len(periods)):
            first, end = starts[g], starts[g + 1]
            ticked[first:end] = 0
            if wait[g] == 0:
                for lane in range(n):
                    r, b = replicas[lane], sequences[lane]
                    row = dz[place[g] + (r * B + b) * layout[g, 1] :]
                    for u in range(end - first):
                        y = h[r, b, t, first + u]
                        slope = (y > 0) if relu else 1 - y * y
                        total = inner[first + u, lane] + outer[lane, first + u]
                        gradient = total * slope
                        ticked[first + u, lane] = gradient
                        row[u] = gradient
                        outer[lane, first + u] = 0
                inner[first:end] = 0
                last = end
                place[g] -= distance[g]
                wait[g] = periods[g]
            wait[g] -= 1
        for g in range(len(periods)):
            # Its units send to those of this group and of faster ones.
            first, end = starts[g], starts[g + 1]
            to = min(end, last)
            add_product(inner, weight_t, ticked, first, end, 0, to)
    for lane in range(n):
        r, b = replicas[lane], sequences[lane]
        for u in range(k):
            dh0[r, b, u] = inner[u, lane] + outer[lane, u]


@jit_one
def forward_one(h0, z, h, weight, where, groups):
    """Write h, for one sequence."""
    r, b, clock = where
    periods, starts, layout, relu = groups
    wait, place, distance = _first_ticks(clock, periods, layout)
    place += (r * h.shape[1] + b) * layout[:, 1]
    for t in range(h.shape[2]):
        previous = h0[r, b] if t == 0 else h[r, b, t - 1]
        for g in range(len(periods)):
            first, end = starts[g], starts[g + 1]
            wait[g] -= 1
            if wait[g] >= 0:
                h[r, b, t, first:end] = previous[first:end]
                continue
            row = z[place[g] :]
            place[g] += distance[g]
            wait[g] += periods[g]
            senders = previous[first:]
            for u in range(end - first):
                weights = weight[first + u, first:]
                total = row[u]
                for c in range(len(weights)):
                    total += weights[c] * senders[c]
                h[r, b, t, first + u] = total
            for u in range(first, end):
                x = h[r, b, t, u]
                if relu:
                    h[r, b, t, u] = 0 if x < 0 else x
                else:
                    h[r, b, t, u] = tanh(x)


@jit_one
def backward_one(dh, h, dz, dh0, weight, where, groups):
    """Write dz and dh0, for one sequence."""
    r, b, clock = where
    periods, starts, layout, relu = groups
    T, k = h.shape[2:]
    state = np.zeros(k, dh.dtype)
    passed = np.zeros(k, dh.dtype)
    wait, place, distance = _last_ticks(T, clock, periods, layout)
    place += (r * h.shape[1] + b) * layout[:, 1]
    for t in range(T - 1, -1, -1):
        for u in range(k):
            state[u] += dh[r, b, t, u] + passed[u]
            passed[u] = 0
        for g in range(len(periods)):
            wait[g] -= 1
            if wait[g] >= 0:
                continue
            first, end = starts[g], starts[g + 1]
            row = dz[place[g] :]
            place[g] -= distance[g]
            wait[g] += periods[g]
            to = passed[first:]
            for u in range(first, end):
                y = h[r, b, t, u]
                slope = (y > 0) if relu else 1 - y * y
                gradient = state[u] * slope
                row[u - first] = gradient
                state[u] = 0
                weights = weight[u, first:]
                for c in range(len(weights)):
                    to[c] += weights[c] * gradient
    for u in range(k):
        dh0[r, b, u] = state[u] + passed[u]
