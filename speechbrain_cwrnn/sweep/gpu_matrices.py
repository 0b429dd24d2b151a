"""The kernels of `gpu.py` for many sequences, by tensor cores.

A program computes a block of sequences [BB, BK] of one replica, step by step;
BK is the group size K padded to a power of two. The state, or its gradient,
never leaves the chip. It is kept in float32 and, as in any matrix product,
multiplied in the dtype of the tensors.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import triton
import triton.language as tl

from speechbrain_cwrnn.sweep.gpu_cells import df, f, read, sigmoid


# N and B change between calls, and are no reason to compile anew.
@triton.jit(do_not_specialize=["N", "B"])
def forward_kernel(
    state,
    z,
    weight,
    mask,
    N,
    B,
    pitch,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    GATED: tl.constexpr,
    STAGES: tl.constexpr,
):
    """h[n] = f(z[n] + h[n-1] @ weight^T), or what a gated cell makes of both

    The state is h[-1], then anything, and becomes h[-1], h[0], ...; where the
    cell is gated, z becomes f(...) and the gates.
    """
    C: tl.constexpr = 2 if GATED else 1
    replica = tl.program_id(0).to(tl.int64)
    b = (tl.program_id(1) * BB + tl.arange(0, BB)[:, None]).to(tl.int64)
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    inside = (b < B) & (i < K)
    state += (replica * B + b) * (1 + N) * K + i
    z += replica * pitch + b * N * (C * K) + i
    weight += replica * (C * K * K) + i * K + j

    square = (i < K) & (j < K)
    w = tl.load(weight, mask=square, other=0)
    if GATED:
        w_gate = tl.load(weight + K * K, mask=square, other=0)
        m = 1.0
        if mask is not None:
            m = read(mask + (replica * B + b) * K + i, inside)
    h = tl.load(state, mask=inside, other=0)
    held = h.to(tl.float32)
    # With stages, z is fetched from memory some steps ahead (if K is even).
    for _ in tl.range(0, N, num_stages=STAGES):
        state += K
        a = tl.dot(h, w, read(z, inside))
        new = f(a, NONLINEARITY)
        if GATED:
            a = read(z + K, inside)
            a = tl.dot(h, w_gate, a)
            u = sigmoid(a)
            tl.store(z, new.to(w.dtype), mask=inside)
            tl.store(z + K, u.to(w.dtype), mask=inside)
            # In this form, a gate of one holds the state exactly.
            new = u * held + (1 - u) * (m * new)
        if BK != K:
            # Infinity times the zeros around the weights is not zero.
            new = tl.where(i < K, new, 0)
        held = new
        h = new.to(w.dtype)
        tl.store(state, h, mask=inside)
        z += C * K


@triton.jit(do_not_specialize=["N", "B"])
def backward_kernel(
    state,
    z,
    dstate,
    dz,
    weight,
    mask,
    N,
    B,
    pitch,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    GATED: tl.constexpr,
    STAGES: tl.constexpr,
):
    """dz[n] = f'(h[n]) * (ds[n+1] + dz[n+1] @ weight), or that of a gated cell

    dstate is ds[0], ds[1], ..., whose first becomes dh0; dz becomes 0, dz[0],
    dz[1], ...
    """
    C: tl.constexpr = 2 if GATED else 1
    replica = tl.program_id(0).to(tl.int64)
    b = (tl.program_id(1) * BB + tl.arange(0, BB)[:, None]).to(tl.int64)
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    inside = (b < B) & (i < K)
    last = (replica * B + b) * (1 + N) + N
    state += last * K + i
    dstate += last * K + i
    dz += last * (C * K) + i
    weight += replica * (C * K * K) + j * K + i

    square = (i < K) & (j < K)
    w = tl.load(weight, mask=square, other=0)
    if GATED:
        w_gate = tl.load(weight + K * K, mask=square, other=0)
        z += replica * pitch + ((b + 1) * N - 1) * (C * K) + i
        m = 1.0
        if mask is not None:
            m = read(mask + (replica * B + b) * K + i, inside)
    dh = read(dstate, inside)
    for _ in tl.range(0, N, num_stages=STAGES):
        dstate -= K
        ds = read(dstate, inside)
        if GATED:
            c, u = read(z, inside), read(z + K, inside)
            z -= C * K
            before = read(state - K, inside)
            dc = df(dh * (1 - u) * m, c, NONLINEARITY).to(w.dtype)
            du = (dh * (before - m * c) * u * (1 - u)).to(w.dtype)
            tl.store(dz + K, du, mask=inside)
            ds = tl.dot(du, w_gate, ds + u * dh)
        else:
            dc = df(dh, read(state, inside), NONLINEARITY).to(w.dtype)
        tl.store(dz, dc, mask=inside)
        state -= K
        dz -= C * K
        dh = tl.dot(dc, w, ds)
        if BK != K:
            # Infinity times the zeros around the weights is not zero.
            dh = tl.where(i < K, dh, 0)
    tl.store(dstate, dh.to(w.dtype), mask=inside)
    # The initial state is no tick's.
    zero = tl.full((BB, BK), 0, w.dtype)
    for row in tl.static_range(C):
        tl.store(dz + row * K, zero, mask=inside)
