"""A layer in one direction, as one operation of PyTorch.

Its gradient is computed by hand, with no graph over time. It cannot be
differentiated twice, nor by `torch.func.grad`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Optional

import torch
import torch.nn.functional as F

from speechbrain_cwrnn import stepwise, sweep
from speechbrain_cwrnn.recurrence import (
    check_nonlinearity,
    choose_engine,
    load_engine,
)


def clockwork_rnn(
    x,
    weight_ih,
    weight_hh,
    bias=None,
    h0=None,
    *,
    periods,
    clock=0,
    nonlinearity="tanh",
    backend="auto",
):
    """Functional version of a `ClockworkRNN` of one layer and direction.

        h_i[t] = f(V_i x[t] + b_i + sum_{j >= i} W_ij h_j[t-1])

    if (clock + t) % P_i == 0, and h_i[t] = h_i[t-1] otherwise, for the groups
    i = 1, ..., G of rising period P_i (Koutnik et al., arXiv:1402.3511).

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F]; F may be 0.
    weight_ih : torch.Tensor
        Input weights V [H, F], fastest group first.
    weight_hh : list of torch.Tensor
        Block rows of the recurrent weights: the i-th, of the i-th fastest
        group, is [k_i, k_i + ... + k_G].
    bias : torch.Tensor or None
        Bias [H].
    h0 : torch.Tensor or None
        State before the first step [B, H]; None for zero.
    periods : sequence of int
        Period of each group in steps, strictly increasing.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    nonlinearity : str
        "tanh" or "relu".
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.recurrence`.

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H].
    hn : torch.Tensor
        The state after the last step [B, H].

    Example
    -------
    >>> x = torch.rand(2, 10, 3)
    >>> weight_hh = [torch.rand(4, 6), torch.rand(2, 2)]
    >>> output, hn = clockwork_rnn(
    ...     x, torch.rand(6, 3), weight_hh, periods=(1, 4)
    ... )
    >>> output.shape, hn.shape
    (torch.Size([2, 10, 6]), torch.Size([2, 6]))
    """
    if h0 is None:
        h0 = x.new_zeros(x.shape[0], len(weight_ih))
    at_host = not isinstance(clock, torch.Tensor)
    if not at_host:
        clock = clock.to(x.device)
    _check(x, weight_ih, weight_hh, bias, h0, periods, clock, nonlinearity)
    if x.shape[1] == 1:
        h = _step(
            x[:, 0],
            weight_ih,
            weight_hh,
            bias,
            h0,
            periods,
            clock,
            nonlinearity,
        )
        return h.unsqueeze(1), h

    x, weight_ih, weight, bias = _autocast(
        x, weight_ih, dense_weight(weight_hh), bias
    )
    output = _clockwork_rnn(
        x,
        weight_ih,
        weight,
        bias,
        h0.to(x.dtype),
        None if at_host else clock,
        int(clock) if at_host else 0,
        list(periods),
        [len(w) for w in weight_hh],
        nonlinearity,
        backend,
    )
    return output, output[:, -1]


def dense_weight(weight_hh):
    """The recurrent weights as a matrix with its zeros.

    Arguments
    ---------
    weight_hh : list of torch.Tensor
        Block rows, as in `clockwork_rnn`.

    Returns
    -------
    torch.Tensor
        W [H, H], block-upper-triangular; rows receive, columns send.

    Example
    -------
    >>> dense_weight([torch.ones(1, 3), torch.ones(2, 2)])
    tensor([[1., 1., 1.],
            [0., 1., 1.],
            [0., 1., 1.]])
    """
    H = weight_hh[0].shape[1]
    return torch.cat([F.pad(w, (H - w.shape[1], 0)) for w in weight_hh])


def _check(x, weight_ih, weight_hh, bias, h0, periods, clock, nonlinearity):
    """Raise an error that says what does not fit, which no engine would."""
    if len(periods) != len(weight_hh):
        raise ValueError(
            f"periods={periods}: expected one for each of the "
            f"{len(weight_hh)} block rows of weight_hh."
        )
    check_nonlinearity(nonlinearity)
    B, _, features = x.shape
    sizes = [len(w) for w in weight_hh]
    H = sum(sizes)
    expected = {"weight_ih": (weight_ih, (H, features)), "h0": (h0, (B, H))}
    for i, (w, k) in enumerate(zip(weight_hh, sizes)):
        expected[f"weight_hh[{i}]"] = w, (k, sum(sizes[i:]))
    if bias is not None:
        expected["bias"] = bias, (H,)
    if isinstance(clock, torch.Tensor):
        expected["clock"] = clock, (B,)
    cast = _is_autocast(x)
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)}: expected {shape}, for "
                f"x of shape {tuple(x.shape)} and {H} units in groups of "
                f"{sizes}."
            )
        # States are cast, whatever they are.
        if tensor.dtype != x.dtype and name not in ("h0", "clock") and not cast:
            raise ValueError(
                f"{name} in {tensor.dtype}: expected {x.dtype}, as of x."
            )


def _is_autocast(x):
    """Whether autocast makes another dtype of the layer's tensors."""
    # A tensor without data has none, and asking is an error.
    device = x.device.type
    enabled = device != "meta" and torch.is_autocast_enabled(device)
    return enabled and x.dtype != torch.float64


def _autocast(x, *weights):
    """What autocast, if it is on, makes of a layer's input and weights."""
    if not _is_autocast(x):
        return x, *weights
    dtype = torch.get_autocast_dtype(x.device.type)
    return [t if t is None else t.to(dtype) for t in (x, *weights)]


def _step(x, weight_ih, weight_hh, bias, h0, periods, clock, nonlinearity):
    """A single step, all groups at once: x [B, F], h0 [B, H] -> h [B, H].

    Groups that do not tick are computed too, and not used: every parameter
    has a gradient then, and the clocks need not be known on the host.
    """
    H = h0.shape[1]
    z = F.linear(x, weight_ih, bias)
    h0 = h0.to(z.dtype)
    z = z + torch.cat(
        [F.linear(h0[:, H - w.shape[1] :], w) for w in weight_hh], dim=-1
    )
    period = torch.cat(
        [
            torch.full((len(w),), p, device=x.device)
            for p, w in zip(periods, weight_hh)
        ]
    )
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    return torch.where(clock % period == 0, getattr(torch, nonlinearity)(z), h0)


@torch.library.custom_op("speechbrain_cwrnn::clockwork_rnn", mutates_args=())
def _clockwork_rnn(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],  # noqa: UP045, for PyTorch to read
    h0: torch.Tensor,
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    backend: str,
) -> torch.Tensor:
    """The output [..., B, T, H]; clocks [..., B], or else one clock for all."""
    run, engine = _choose(backend, x, periods, group_sizes)
    replicas = x.shape[:-3]
    output = run.forward(
        _one_leading(x, 3),
        _one_leading(weight_ih, 2),
        None if bias is None else _one_leading(bias, 1),
        _one_leading(weight, 2),
        _one_leading(h0, 2),
        clock if clocks is None else _simplify(_one_leading(clocks, 1)),
        periods,
        group_sizes,
        nonlinearity,
        engine,
    )
    return output.view(*replicas, *output.shape[1:])


@torch.library.custom_op(
    "speechbrain_cwrnn::clockwork_rnn_backward", mutates_args=()
)
def _clockwork_rnn_backward(
    doutput: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight: torch.Tensor,
    h0: torch.Tensor,
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    backend: str,
    needs_dx: bool,
) -> tuple[
    torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor
]:
    """Gradients of x (empty if it is not needed), weight_ih, weight (below the
    blocks, anything), bias and h0."""
    run, engine = _choose(backend, x, periods, group_sizes)
    replicas = x.shape[:-3]
    dx, *gradients = run.backward(
        _one_leading(doutput, 3),
        _one_leading(output, 3),
        _one_leading(x, 3),
        _one_leading(weight_ih, 2),
        _one_leading(weight, 2),
        _one_leading(h0, 2),
        clock if clocks is None else _simplify(_one_leading(clocks, 1)),
        periods,
        group_sizes,
        nonlinearity,
        engine,
        needs_dx,
    )
    if dx is None:
        dx = x.new_empty(x.shape[:-3].numel(), 0)
    return tuple(g.view(*replicas, *g.shape[1:]) for g in (dx, *gradients))


def _choose(backend, x, periods, group_sizes):
    """What runs a layer, and its engine."""
    name = choose_engine(backend, x, periods, group_sizes)
    return stepwise if name == "cpu" else sweep, load_engine(name)


def _one_leading(x, dims):
    """x with all dimensions but the last ones as a single one."""
    return x.flatten(0, -dims - 1) if x.dim() > dims else x.unsqueeze(0)


def _simplify(clocks):
    """One clock for all, where that is so and no device need be asked."""
    if clocks.device.type == "cpu" and clocks.numel():
        low, high = clocks.aminmax()
        if low == high:
            return low.item()
    return clocks


@_clockwork_rnn.register_fake
def _fake(x, weight_ih, *others):
    return x.new_empty(*x.shape[:-1], weight_ih.shape[-2])


@_clockwork_rnn_backward.register_fake
def _fake_backward(doutput, output, x, weight_ih, weight, h0, *others):
    *_, needs_dx = others
    *replicas, H, _ = weight_ih.shape
    return (
        x.new_empty(x.shape if needs_dx else (*replicas, 0)),
        x.new_empty(weight_ih.shape),
        x.new_empty(weight.shape),
        x.new_empty(*replicas, H),
        x.new_empty(h0.shape),
    )


def _setup_context(ctx, inputs, output):
    x, weight_ih, weight, bias, h0, clocks, *ctx.options = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(output, x, weight_ih, weight, h0, clocks)


def _gradients(ctx, doutput):
    needs_dx = ctx.needs_input_grad[0]
    dx, dweight_ih, dweight, dbias, dh0 = _clockwork_rnn_backward(
        doutput, *ctx.saved_tensors, *ctx.options, needs_dx
    )
    return (
        dx if needs_dx else None,
        dweight_ih,
        dweight,
        dbias if ctx.has_bias else None,
        dh0,
        *[None] * (1 + len(ctx.options)),
    )


_clockwork_rnn.register_autograd(_gradients, setup_context=_setup_context)


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


_clockwork_rnn.register_vmap(_vmap(_clockwork_rnn))
_clockwork_rnn_backward.register_vmap(_vmap(_clockwork_rnn_backward))
