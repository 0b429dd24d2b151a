"""The one sequential operation of the layer, and its engines.

All that is sequential in a group of a Clockwork RNN is a small plain RNN over
the group's own ticks. Everything around it is dense linear algebra.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch

from speechbrain_cwrnn.recurrence import eager

ENGINES = {"eager": eager}
NONLINEARITIES = ("tanh", "relu")


def recurrence(z, weight, h0, nonlinearity="tanh", backend="auto"):
    """Run a plain recurrence over the ticks of one group.

        h[n] = f(z[n] + weight @ h[n-1]),    h[-1] = h0

    The arithmetic is done in the dtype of z. The gradient is computed by hand,
    with no graph over time: one pass backwards for that of z, from which those
    of weight and h0 follow in a matrix product each. It cannot be
    differentiated twice, nor by `torch.func.grad`.

    Leading dimensions, if any, are independent replicas with weights of their
    own; `torch.func.vmap` over the arguments does the same.

    Arguments
    ---------
    z : torch.Tensor
        What drives each tick [..., N, B, k]. Time comes before the batch: what
        a step reads and writes is one block of memory then.
    weight : torch.Tensor
        Recurrent weights [..., k, k].
    h0 : torch.Tensor
        State before the first tick [..., B, k].
    nonlinearity : str
        f, "tanh" or "relu".
    backend : str
        Name of the engine, or "auto" for the fastest for the device of z.

    Returns
    -------
    torch.Tensor
        The state after each tick [..., N, B, k].

    Example
    -------
    >>> h = recurrence(torch.rand(5, 2, 3), torch.eye(3), torch.zeros(2, 3))
    >>> h.shape
    torch.Size([5, 2, 3])
    """
    return _recurrence(
        z,
        weight.to(z.dtype),
        h0.to(z.dtype),
        nonlinearity,
        choose_engine(backend),
    )


def choose_engine(backend="auto"):
    """The name of the engine that a backend stands for.

    Arguments
    ---------
    backend : str
        Name of an engine, or "auto".

    Returns
    -------
    str
        Name of the engine.

    Example
    -------
    >>> choose_engine("auto")
    'eager'
    """
    if backend == "auto":
        return "eager"
    if backend not in ENGINES:
        names = ", ".join(repr(name) for name in ("auto", *ENGINES))
        raise ValueError(f"backend={backend!r}: expected one of {names}.")
    return backend


@torch.library.custom_op("speechbrain_cwrnn::recurrence", mutates_args=())
def _recurrence(
    z: torch.Tensor,
    weight: torch.Tensor,
    h0: torch.Tensor,
    nonlinearity: str,
    engine: str,
) -> torch.Tensor:
    (N, B, k), R = z.shape[-3:], weight.shape[:-2].numel()
    h = ENGINES[engine].forward(
        z.reshape(R, N, B, k),
        weight.reshape(R, k, k),
        h0.reshape(R, B, k),
        nonlinearity,
    )
    return h.view(z.shape)


@torch.library.custom_op(
    "speechbrain_cwrnn::recurrence_backward", mutates_args=()
)
def _recurrence_backward(
    dh: torch.Tensor,
    h: torch.Tensor,
    weight: torch.Tensor,
    nonlinearity: str,
    engine: str,
) -> torch.Tensor:
    (N, B, k), R = h.shape[-3:], weight.shape[:-2].numel()
    dz = ENGINES[engine].backward(
        dh.reshape(R, N, B, k),
        h.reshape(R, N, B, k),
        weight.reshape(R, k, k),
        nonlinearity,
    )
    return dz.view(h.shape)


@_recurrence.register_fake
@_recurrence_backward.register_fake
def _like_first(first, *others):
    return torch.empty_like(first, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    _, weight, h0, ctx.nonlinearity, ctx.engine = inputs
    ctx.save_for_backward(weight, h0, output)


def _gradients(ctx, dh):
    weight, h0, h = ctx.saved_tensors
    dz = _recurrence_backward(dh, h, weight, ctx.nonlinearity, ctx.engine)
    previous = torch.cat([h0.unsqueeze(-3), h], dim=-3)[..., :-1, :, :]
    dweight = dz.flatten(-3, -2).mT @ previous.flatten(-3, -2)
    # h0 acts through the first tick; a group that does not tick has none.
    dh0 = (dz[..., :1, :, :] @ weight.unsqueeze(-3)).sum(-3)
    return dz, dweight, dh0, None, None


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
        return op(*args), 0

    return rule


_recurrence.register_vmap(_vmap(_recurrence))
_recurrence_backward.register_vmap(_vmap(_recurrence_backward))
