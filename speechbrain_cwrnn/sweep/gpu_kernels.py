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
    state,
    weight,
    N,
    B,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """h[n] = f(z[n] + h[n-1] @ weight^T), where state is h[-1], z[0], ..."""
    replica = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None]
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    mask = (b < B) & (i < K)
    state += (replica * B + b) * (1 + N) * K + i

    w = tl.load(
        weight + replica * K * K + i * K + j,
        mask=(i < K) & (j < K),
        other=0,
    )
    h = tl.load(state, mask=mask, other=0)
    # With stages, z is fetched from memory some steps ahead (if K is even).
    for _ in tl.range(0, N, num_stages=STAGES):
        state += K
        new = tl.load(state, mask=mask, other=0).to(tl.float32)
        new = tl.dot(h, w, new, input_precision=PRECISION)
        if NONLINEARITY == "tanh":
            new = _tanh(new)
        else:
            new = tl.where(new < 0, 0, new)
        if BK != K:
            # Infinity times the zeros around the weights is not zero.
            new = tl.where(i < K, new, 0)
        h = new.to(w.dtype)
        tl.store(state, h, mask=mask)


@triton.jit(do_not_specialize=["N", "B"])
def backward_kernel(
    dstate,
    state,
    weight,
    N,
    B,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """dz[n] = f'(h[n]) * (dh[n] + dz[n+1] @ weight)

    where dstate is ds[0], ds[1], ...; the slope of the first of them is 1.
    """
    replica = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None]
    i = tl.arange(0, BK)[None, :]
    j = tl.arange(0, BK)[:, None]
    mask = (b < B) & (i < K)
    end = (replica * B + b + 1) * (1 + N) * K + i
    dstate += end
    state += end

    w = tl.load(
        weight + replica * K * K + j * K + i,
        mask=(i < K) & (j < K),
        other=0,
    )
    dz = tl.full((BB, BK), 0, w.dtype)
    for n in tl.range(0, N + 1, num_stages=STAGES):
        dstate -= K
        state -= K
        new = tl.load(dstate, mask=mask, other=0).to(tl.float32)
        # In place of the initial state, what f has the slope 1 at.
        h = tl.load(
            state,
            mask=mask & (n < N),
            other=1 if NONLINEARITY == "relu" else 0,
        ).to(tl.float32)
        new = tl.dot(dz, w, new, input_precision=PRECISION)
        if NONLINEARITY == "tanh":
            new *= 1 - h * h
        else:
            new = tl.where(h <= 0, 0, new)
        if BK != K:
            new = tl.where(i < K, new, 0)
        dz = new.to(w.dtype)
        tl.store(dstate, dz, mask=mask)
