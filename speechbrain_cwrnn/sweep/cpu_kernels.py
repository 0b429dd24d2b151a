"""The kernels of `cpu.py`, apart because they need numba to be compiled.

They go through time for some sequences, with the numbers of each one as a row:
z [B, N, C k], state [B, 1 + N, k], mask [B, k], and weights in panels, of as
many columns in all as what they are added to. What is held is read
at places [R, B, M, k] that need not be contiguous; of these, and of the signal,
they know the address, and the distances of replicas, sequences and rows.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import numpy as np

from speechbrain_cwrnn.activations import activate, sigmoid_row, slope
from speechbrain_cwrnn.panels import add_panels
from speechbrain_cwrnn.vectors import array_at, jit_ordered


@jit_ordered
def forward(mask, z, state, weight, options):
    """Write h to state and, of a gated cell, what is kept to z; see `sweep`."""
    f, gated = options
    B, N, columns = z.shape
    k = state.shape[2]
    new = np.zeros((B, weight.shape[0] * weight.shape[2]), z.dtype)
    h = state[:, 0].copy()
    for n in range(N):
        for b in range(B):
            for u in range(columns):
                new[b, u] = z[b, n, u]
        add_panels(new, h, weight, k)
        activate(new, 0, B, k, f)
        for b in range(B):
            if gated:
                sigmoid_row(new, b, k, 2 * k)
                for u in range(columns):
                    z[b, n, u] = new[b, u]
                for u in range(k):
                    c = new[b, u] * mask[b, u]
                    new[b, u] = c + new[b, k + u] * (h[b, u] - c)
            for u in range(k):
                h[b, u] = new[b, u]
                state[b, 1 + n, u] = new[b, u]


@jit_ordered
def backward(mask, dstate, state, z, dz, weight, options):
    """Write dz, and dh0 to dstate; see `sweep`."""
    f, gated = options
    B, places, k = state.shape
    columns = dz.shape[2]
    # What a state gets from the next one.
    dh = np.zeros((B, weight.shape[0] * weight.shape[2]), dz.dtype)
    new = np.empty((B, columns), dz.dtype)
    for n in range(places - 1, 0, -1):
        for b in range(B):
            for u in range(k):
                total = dstate[b, n, u] + dh[b, u]
                if gated:
                    c, keep = z[b, n - 1, u], z[b, n - 1, k + u]
                    dh[b, u] = total * keep
                    total *= 1 - keep
                    m = mask[b, u]
                    new[b, u] = total * m * slope(c, f)
                    new[b, k + u] = total * keep * (state[b, n - 1, u] - m * c)
                else:
                    dh[b, u] = 0
                    new[b, u] = total * slope(state[b, n, u], f)
            for u in range(columns):
                dz[b, n, u] = new[b, u]
        add_panels(dh, new, weight, columns)
    for b in range(B):
        for u in range(columns):
            dz[b, 0, u] = 0
        for u in range(k):
            dstate[b, 0, u] += dh[b, u]


@jit_ordered
def _row(tensor, r, b, n, array):
    """What follows from the first number of a row on."""
    address, replicas, sequences, rows, k = tensor
    first = r * replicas + b * sequences + n * rows
    return array_at(address + first * array.itemsize, k, array)


@jit_ordered
def write(signal, places, runs, array, adds):
    """Write the values of a signal to their places, or add them to what is
    there; see `holding.Runs`."""
    r, first, end, M, lead, length = runs
    for b in range(first, end):
        n, left = 0, lead
        for m in range(M):
            while left == 0:
                n, left = n + 1, length
            left -= 1
            value = _row(signal, r, b, n, array)
            place = _row(places, r, b, m, array)
            if adds:
                for u in range(len(value)):
                    place[u] += value[u]
            else:
                for u in range(len(value)):
                    place[u] = value[u]


@jit_ordered
def collect(signal, places, runs, array, N):
    """Write the sums over the places of each of N values."""
    r, first, end, M, lead, length = runs
    # In float64: many small numbers would be rounded to their sum, one by one.
    total = np.empty(signal[4])
    for b in range(first, end):
        m, stop = 0, lead
        for n in range(N):
            stop = min(stop, M)
            total[:] = 0
            while m < stop:
                place = _row(places, r, b, m, array)
                for u in range(len(place)):
                    total[u] += place[u]
                m += 1
            value = _row(signal, r, b, n, array)
            for u in range(len(value)):
                value[u] = total[u]
            stop += length
