"""The loops of `peephole.py`, compiled by numba for the CPU.

A step of PyTorch's is a dozen calls, which take longer than what they compute
for networks of the sizes of the paper. Here the numbers of a sequence are a
row, in which each gate has whole vectors of units.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import numpy as np
import torch.nn.functional as F

from speechbrain_cwrnn.activations import sigmoid_row, tanh_row
from speechbrain_cwrnn.threads import ROWS, count_threads, run_all, split
from speechbrain_cwrnn.vectors import VECTOR, add_product, jit_ordered


def loop(z, weight, peepholes, h0, c0, activation):
    """h, c and the gates at all steps; see `Recurrence`."""
    h, c = (z.new_empty(*z.shape[:3], h0.shape[-1]) for _ in range(2))
    gates = z.new_empty(z.shape)
    weights = _pad_units(weight.mT, 4), _pad_units(peepholes)
    _run(_loop, weights, (z, h0, c0, h, c, gates), activation)
    return h, c, gates


def loop_backward(dh, dc, weight, peepholes, c0, c, gates, activation):
    """Gradients of z, the peepholes, h0 and c0."""
    dz = gates.new_empty(gates.shape)
    dh0, dc0 = (c.new_empty(c0.shape) for _ in range(2))
    # Of each sequence, whose replica's others may be another thread's.
    dpeepholes = c.new_empty(*c.shape[:2], *peepholes.shape[1:])
    weights = _pad_units(_pad_units(weight).mT, 4).mT, _pad_units(peepholes)
    tensors = dh, dc, c0, c, gates, dz, dpeepholes, dh0, dc0
    _run(_loop_backward, weights, tensors, activation)
    return dz, dpeepholes.sum(1), dh0, dc0


def _pad_units(tensor, parts=1):
    """The last dimension, in which so many parts have a number for each unit,
    with zeros up to whole vectors in each."""
    units = tensor.unflatten(-1, (parts, -1))
    return F.pad(units, (0, -units.shape[-1] % VECTOR)).flatten(-2)


def _run(kernel, weights, tensors, activation):
    """Call a kernel, in several threads for some sequences each."""
    # What it writes is contiguous, so that it is written there, to no copy.
    weight, peepholes, *arrays = (
        tensor.contiguous().numpy() for tensor in (*weights, *tensors)
    )
    R, B, T, _ = arrays[0].shape
    # As numbers of its dtype, for float32 not to become float64.
    activation = tuple(map(weight.dtype.type, activation))
    threads = count_threads(B * T * weight.size)

    def run(chunk):
        kernel(weight, peepholes, *arrays, chunk, activation)

    run_all(run, split(R, B, threads, ROWS), threads)


@jit_ordered
def _loop(weight, peepholes, z, h0, c0, h, c, gates, chunk, activation):
    """Write h, c and the gates of some sequences of a replica."""
    r, first, end = chunk
    shift, scale, rate = activation
    B, k, P = end - first, h0.shape[2], peepholes.shape[2]
    new = np.zeros((B, 4 * P), z.dtype)
    state, cell = np.zeros((B, P), z.dtype), np.zeros((B, P), z.dtype)
    p = peepholes[r]
    state[:, :k] = h0[r, first:end]
    cell[:, :k] = c0[r, first:end]
    for t in range(z.shape[2]):
        for b in range(B):
            for gate in range(4):
                for u in range(k):
                    new[b, gate * P + u] = z[r, first + b, t, gate * k + u]
        add_product(new, state, weight[r], 0, B, 0, k)
        for b in range(B):
            # In loops that LLVM makes vectors of.
            for u in range(P):
                new[b, u] += p[0, u] * cell[b, u]
                new[b, P + u] += p[1, u] * cell[b, u]
            sigmoid_row(new, b, 0, 2 * P)
            tanh_row(new, b, 2 * P, 3 * P)
            for u in range(P):
                cell[b, u] *= new[b, P + u]
                cell[b, u] += new[b, u] * new[b, 2 * P + u]
                new[b, 3 * P + u] += p[2, u] * cell[b, u]
            sigmoid_row(new, b, 3 * P, 4 * P)
            for u in range(P):
                state[b, u] = rate * cell[b, u]
            tanh_row(state, b, 0, P)
            for u in range(P):
                y = shift + scale * state[b, u]
                state[b, u] = new[b, 3 * P + u] * y
            for u in range(k):
                h[r, first + b, t, u] = state[b, u]
                c[r, first + b, t, u] = cell[b, u]
            for gate in range(4):
                for u in range(k):
                    gates[r, first + b, t, gate * k + u] = new[b, gate * P + u]


@jit_ordered
def _loop_backward(
    weight,
    peepholes,
    dh,
    dc,
    c0,
    c,
    gates,
    dz,
    dpeepholes,
    dh0,
    dc0,
    chunk,
    activation,
):
    """Write the gradients of some sequences of a replica."""
    r, first, end = chunk
    shift, scale, rate = activation
    # Of its dtype: an integer would make float64 of float32.
    one = scale / scale
    B, k, P = end - first, dh.shape[3], peepholes.shape[2]
    new, out = np.zeros((B, 4 * P), dh.dtype), np.zeros((B, P), dh.dtype)
    # From the next step.
    dstate, dcell = np.zeros((B, P), dh.dtype), np.zeros((B, P), dh.dtype)
    p, dp = peepholes[r], dpeepholes[r, first:end]
    dp[:] = 0
    for t in range(dh.shape[2] - 1, -1, -1):
        for b in range(B):
            s = first + b
            for u in range(k):
                out[b, u] = rate * c[r, s, t, u]
            tanh_row(out, b, 0, P)
            c_before = c0[r, s] if t == 0 else c[r, s, t - 1]
            for u in range(k):
                i, f = gates[r, s, t, u], gates[r, s, t, k + u]
                g, o = gates[r, s, t, 2 * k + u], gates[r, s, t, 3 * k + u]
                y = out[b, u]
                of_h = dh[r, s, t, u] + dstate[b, u]
                of_o = of_h * (shift + scale * y) * o * (one - o)
                of_c = dc[r, s, t, u] + dcell[b, u] + of_o * p[2, u]
                of_c += of_h * o * scale * rate * (one - y * y)
                of_i = of_c * g * i * (one - i)
                of_f = of_c * c_before[u] * f * (one - f)
                new[b, u] = of_i
                new[b, P + u] = of_f
                new[b, 2 * P + u] = of_c * i * (one - g * g)
                new[b, 3 * P + u] = of_o
                dcell[b, u] = of_c * f + of_i * p[0, u] + of_f * p[1, u]
                dp[b, 0, u] += of_i * c_before[u]
                dp[b, 1, u] += of_f * c_before[u]
                dp[b, 2, u] += of_o * c[r, s, t, u]
            for gate in range(4):
                for u in range(k):
                    dz[r, s, t, gate * k + u] = new[b, gate * P + u]
        dstate[:] = 0
        add_product(dstate, new, weight[r], 0, B, 0, 4 * P)
    dh0[r, first:end] = dstate[:, :k]
    dc0[r, first:end] = dcell[:, :k]
