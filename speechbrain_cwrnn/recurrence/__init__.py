"""The one sequential operation of the layer, and its engines.

All that is sequential in a group of a Clockwork RNN is a small plain RNN over
the group's own ticks; everything around it is dense linear algebra. The
engines:

- eager: a loop in PyTorch, for one group at a time, on any device;
- cpu: compiled by numba, for all groups of a small network at once;
- triton: fused on the GPU, for one group at a time.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import warnings
from functools import cache
from importlib import import_module
from typing import Optional

import torch

from speechbrain_cwrnn.recurrence import gpu

# Each engine's module.
ENGINES = {"eager": "eager", "cpu": "cpu", "triton": "gpu"}
NONLINEARITIES = ("tanh", "relu")


def recurrence(
    z,
    weight,
    h0,
    nonlinearity="tanh",
    engine="eager",
    clock=None,
    periods=(1,),
    group_sizes=None,
):
    """Run the recurrence of a group, or of several with periods of their own.

        h[n] = f(z[n] + weight @ h[n-1])   for the units that tick at step n,
        h[n] = h[n-1]                      for others,        h[-1] = h0

    With several groups, weight is block-upper-triangular: what stands below
    the blocks is not looked at.

    The arithmetic is done in the dtype of z. The gradient is computed by hand,
    with no graph over time: one pass backwards for those of z and h0, from
    which that of weight follows in a matrix product. It cannot be
    differentiated twice, nor by `torch.func.grad`.

    Leading dimensions, if any, are independent replicas with weights of their
    own; `torch.func.vmap` over the arguments does the same.

    Arguments
    ---------
    z : torch.Tensor
        What drives each step [..., N, B, k]. Time comes before the batch: what
        a step reads and writes is one block of memory then.
    weight : torch.Tensor
        Recurrent weights [..., k, k].
    h0 : torch.Tensor
        State before the first step [..., B, k].
    nonlinearity : str
        f, "tanh" or "relu".
    engine : str
        Name of the engine; only "cpu" runs several groups.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence
        [..., B]. By default 0; where all tick at each step, it is not needed.
    periods : sequence of int
        Period of each group.
    group_sizes : sequence of int
        Units of each group; by default, all are in one.

    Returns
    -------
    torch.Tensor
        The state after each step [..., N, B, k].

    Example
    -------
    >>> h = recurrence(torch.rand(5, 2, 3), torch.eye(3), torch.zeros(2, 3))
    >>> h.shape
    torch.Size([5, 2, 3])
    """
    if clock is not None:
        clock = torch.as_tensor(clock, device=z.device).expand(h0.shape[:-1])
    return _recurrence(
        z,
        weight.to(z.dtype),
        h0.to(z.dtype),
        clock,
        list(periods),
        list(group_sizes or h0.shape[-1:]),
        nonlinearity,
        engine,
    )


def choose_engine(backend="auto", x=None, periods=(), group_sizes=()):
    """The name of the engine that a backend stands for: the only such place.

    Arguments
    ---------
    backend : str
        Name of an engine, or "auto" for the fastest.
    x : torch.Tensor
        Input of the layer [B, ...]. Without it, only the name is checked.
    periods : sequence of int
        Period of each group.
    group_sizes : sequence of int
        Units of each group.

    Returns
    -------
    str
        Name of the engine.

    Example
    -------
    >>> choose_engine("auto", torch.rand(1, 2, 3), [1, 2], [256, 256])
    'eager'
    """
    if backend not in ("auto", *ENGINES):
        names = ", ".join(repr(name) for name in ("auto", *ENGINES))
        raise ValueError(f"backend={backend!r}: expected one of {names}.")
    if x is None or backend == "eager":
        return backend
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    runs = x.device.type == "cpu" and dtype in (torch.float32, torch.float64)
    if backend == "cpu":
        if not runs:
            raise ValueError(
                f"backend='cpu' with {dtype} on {x.device}: expected float32 "
                f"or float64 on the CPU."
            )
        return "cpu"
    largest = max(group_sizes)
    if backend == "triton":
        gpu.require(x.device, dtype, largest)
        return "triton"
    if x.is_cuda and gpu.supports(x.device, dtype, largest):
        return "triton"
    small = runs and _is_small(x.shape[0], periods, group_sizes)
    return "cpu" if small else "eager"


def _is_small(batch_size, periods, group_sizes):
    """Whether compiled loops were measured to be faster than products of
    matrices: up to 900 multiplications a step (64 units in 8 groups), or up
    to 8000 per group for all sequences (512 units and one sequence, or 128
    units and 16)."""
    senders, cost = sum(group_sizes), 0
    for period, k in zip(periods, group_sizes):
        cost += k * senders / period
        senders -= k
    small = cost <= 900
    # What is compiled must not depend on the size of a batch.
    if not torch.compiler.is_compiling():
        small = small or cost * batch_size / len(group_sizes) <= 8000
    return small and _compiles()


@cache
@torch.compiler.assume_constant_result
def _compiles():
    """Whether there is a numba that works; if not, says so once."""
    try:
        _engine("cpu")
    except (ImportError, RuntimeError) as error:
        warnings.warn(
            f"Small Clockwork RNNs run uncompiled, several times slower, since "
            f"numba does not work here: {error}",
            stacklevel=2,
        )
        return False
    return True


@torch.library.custom_op("speechbrain_cwrnn::recurrence", mutates_args=())
def _recurrence(
    z: torch.Tensor,
    weight: torch.Tensor,
    h0: torch.Tensor,
    clock: Optional[torch.Tensor],  # noqa: UP045, for PyTorch to read
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    engine: str,
) -> torch.Tensor:
    N, B, k = z.shape[-3:]
    R = weight.shape[:-2].numel()
    h = _engine(engine).forward(
        z.reshape(R, N, B, k),
        weight.reshape(R, k, k),
        h0.reshape(R, B, k),
        nonlinearity,
        clock if clock is None else clock.reshape(R, B),
        periods,
        group_sizes,
    )
    return h.view(z.shape)


@torch.library.custom_op(
    "speechbrain_cwrnn::recurrence_backward", mutates_args=()
)
def _recurrence_backward(
    dh: torch.Tensor,
    h: torch.Tensor,
    weight: torch.Tensor,
    clock: Optional[torch.Tensor],  # noqa: UP045, for PyTorch to read
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    engine: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    N, B, k = h.shape[-3:]
    R = weight.shape[:-2].numel()
    dz, dh0 = _engine(engine).backward(
        dh.reshape(R, N, B, k),
        h.reshape(R, N, B, k),
        weight.reshape(R, k, k),
        nonlinearity,
        clock if clock is None else clock.reshape(R, B),
        periods,
        group_sizes,
    )
    return dz.view(h.shape), dh0.view(*h.shape[:-3], B, k)


def _engine(name):
    return import_module(f"{__name__}.{ENGINES[name]}")


@_recurrence.register_fake
def _fake(z, *others):
    return torch.empty_like(z, memory_format=torch.contiguous_format)


@_recurrence_backward.register_fake
def _fake_backward(dh, h, *others):
    dz = torch.empty_like(h, memory_format=torch.contiguous_format)
    return dz, h.new_empty(h.shape[:-3] + h.shape[-2:])


def _setup_context(ctx, inputs, output):
    _, weight, h0, clock, *ctx.options = inputs
    ctx.save_for_backward(weight, h0, clock, output)


def _gradients(ctx, dh):
    weight, h0, clock, h = ctx.saved_tensors
    dz, dh0 = _recurrence_backward(dh, h, weight, clock, *ctx.options)
    # The states before the steps are h0, and then h itself: nothing is copied.
    first = dz[..., :1, :, :].flatten(-3, -2)
    dweight = first.mT @ h0[..., : first.shape[-2], :]
    others = dz[..., 1:, :, :].flatten(-3, -2)
    dweight = dweight + others.mT @ h[..., :-1, :, :].flatten(-3, -2)
    return dz, dweight, dh0, None, None, None, None, None


_recurrence.register_autograd(_gradients, setup_context=_setup_context)


def _vmap(op):
    """vmap's rule for op: the mapped dimension becomes the leading one."""

    def rule(info, in_dims, *args):
        args = [
            x
            if not isinstance(x, torch.Tensor)
            else x.expand(info.batch_size, *x.shape)
            if dim is None
            else x.movedim(dim, 0)
            for x, dim in zip(args, in_dims)
        ]
        out = op(*args)
        return out, 0 if isinstance(out, torch.Tensor) else (0,) * len(out)

    return rule


_recurrence.register_vmap(_vmap(_recurrence))
_recurrence_backward.register_vmap(_vmap(_recurrence_backward))
