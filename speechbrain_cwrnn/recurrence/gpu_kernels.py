"""The kernels of `gpu.py`, apart because they need triton to be defined.

A program computes a block of sequences [BB, BK] of one replica, step by step;
BK is the group size K padded to a power of two. The state, or its gradient,
never leaves the chip. It is kept in float32 and, as in any matrix product,
multiplied in the dtype of the tensors.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import triton
import triton.language as tl


@triton.jit
def _tanh(x):
    # The usual forms overflow, or lose the digits of a small x.
    magnitude = tl.abs(x)
    e = tl.exp2(-2.8853900817779268 * magnitude)
    large = 1 - 2 * (e / (1 + e))
    # The polynomial of least relative error up to 1/2.
    square = x * x
    small = 0.017256979 * square - 0.053052943
    small = small * square + 0.13325988
    small = small * square - 0.3333315
    small = small * square * x + x
    # A NaN takes the second value of both.
    large = tl.where(x < 0, -large, large)
    return tl.where(magnitude < 0.5, small, large)


# N and B change between calls, and are no reason to compile anew.
@triton.jit(do_not_specialize=["N", "B"])
def forward_kernel(
    z,
    weight,
    h0,
    h,
    N,
    B,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """h[n] = f(z[n] + h[n-1] @ weight^T)"""
    replica = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None]
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    block = b * K + i
    mask = (b < B) & (i < K)
    step = B * K
    z += replica * N * step
    h += replica * N * step

    w = tl.load(
        weight + replica * K * K + i * K + j,
        mask=(i < K) & (j < K),
        other=0,
    )
    state = tl.load(h0 + replica * step + block, mask=mask, other=0)
    # With stages, z is fetched from memory some steps ahead.
    for _ in tl.range(0, N, num_stages=3):
        new = tl.load(z + block, mask=mask, other=0).to(tl.float32)
        new = tl.dot(state, w, new, input_precision=PRECISION)
        if NONLINEARITY == "tanh":
            new = _tanh(new)
        else:
            new = tl.where(new < 0, 0, new)
        if BK != K:
            # Infinity times the zeros around the weights is not zero.
            new = tl.where(i < K, new, 0)
        state = new.to(w.dtype)
        tl.store(h + block, state, mask=mask)
        z += step
        h += step


@triton.jit(do_not_specialize=["N", "B"])
def backward_kernel(
    dh,
    h,
    weight,
    dz,
    N,
    B,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """dz[n] = f'(h[n]) * (dh[n] + dz[n+1] @ weight)"""
    replica = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None]
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    block = b * K + i
    mask = (b < B) & (i < K)
    step = B * K
    last = (replica * N + N - 1) * step
    dh += last
    h += last
    dz += last

    w = tl.load(
        weight + replica * K * K + j * K + i,
        mask=(i < K) & (j < K),
        other=0,
    )
    gradient = tl.full((BB, BK), 0, w.dtype)
    for _ in tl.range(0, N, num_stages=3):
        new = tl.load(dh + block, mask=mask, other=0).to(tl.float32)
        state = tl.load(h + block, mask=mask, other=0).to(tl.float32)
        new = tl.dot(gradient, w, new, input_precision=PRECISION)
        if NONLINEARITY == "tanh":
            new *= 1 - state * state
        else:
            new = tl.where(state <= 0, 0, new)
        if BK != K:
            new = tl.where(i < K, new, 0)
        gradient = new.to(w.dtype)
        tl.store(dz + block, gradient, mask=mask)
        dh -= step
        h -= step
        dz -= step
