"""What a unit computes, for the kernels of `gpu.py`.

These files are apart because they need triton to be defined.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """With every digit of a float32."""
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


@triton.jit
def sigmoid(x):
    """With every digit that x has."""
    # This form does not overflow.
    e = tl.exp2(-1.4426950408889634 * tl.abs(x))
    return tl.where(x < 0, e, 1) / (1 + e)


@triton.jit
def f(x, NONLINEARITY: tl.constexpr):
    """The nonlinearity."""
    if NONLINEARITY == "tanh":
        return tanh(x)
    return tl.where(x < 0, (0.01 * x) if NONLINEARITY == "leaky_relu" else 0, x)


@triton.jit
def df(dy, y, NONLINEARITY: tl.constexpr):
    """f'(x) dy, by y = f(x)."""
    if NONLINEARITY == "tanh":
        return (1 - y * y) * dy
    return tl.where(
        y <= 0, (0.01 * dy) if NONLINEARITY == "leaky_relu" else 0, dy
    )


@triton.jit
def read(pointer, inside):
    """In float32; zero outside."""
    return tl.load(pointer, mask=inside, other=0).to(tl.float32)
