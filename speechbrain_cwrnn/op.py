"""A layer in one direction, as one operation of PyTorch.

It is two steps, what the groups see of the input and the recurrence, and each
brings its own gradient, with no graph over time. As operations of their own the
two would cost networks of 32 to 128 units 12 to 34 % more time (one thread of a
CPU), for what PyTorch does around each operation.

An operation has no derivatives but this one. Where others are wanted, second
ones, those in forward mode or by the transforms of torch.func, the layer is run
in plain PyTorch instead.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Optional

import torch
import torch.nn.functional as F

from speechbrain_cwrnn.backend import choose
from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.inputs import project, project_backward
from speechbrain_cwrnn.lengths import zero_padding, zero_padding_
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.plain import unroll
from speechbrain_cwrnn.transforms import is_transformed


@torch.library.custom_op("speechbrain_cwrnn::clockwork_rnn", mutates_args=())
def clockwork_rnn_op(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],  # noqa: UP045, for PyTorch to read
    h0: torch.Tensor,
    steps: Optional[torch.Tensor],  # noqa: UP045
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    backend: str,
) -> torch.Tensor:
    """The output [..., B, T, H], zero past the steps [..., B] of each sequence;
    clocks [..., B], or else one clock for all.

    The state goes on past the end, and may overflow there. What the backward
    pass multiplies by a gradient of zero must not be infinite.
    """
    layer = _layer(x, weight_ih, weight, bias, h0)
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity)
    way, engine = choose(backend, x, groups)
    z = project(layer, way.input_groups(layer, groups))
    output = way.forward(layer, z, groups, engine)
    # As its data, since what is a view could not be changed in place.
    output = output.view(*x.shape[:-3], *output.shape[1:]).data
    return output if steps is None else zero_padding_(output, steps)


@torch.library.custom_op(
    "speechbrain_cwrnn::clockwork_rnn_backward", mutates_args=()
)
def clockwork_rnn_backward(
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
    layer = _layer(x, weight_ih, weight, None, h0)
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity)
    way, engine = choose(backend, x, groups)
    output = one_leading(output, 3)
    # A cell without gates needs no z any more.
    dz, dweight, dh0 = way.backward(
        one_leading(doutput, 3), output, None, layer, groups, engine
    )
    dx, dweight_ih, dbias = project_backward(dz, layer, needs_dx)
    if dx is None:
        dx = x.new_empty(len(layer.x), 0)
    gradients = dx, dweight_ih, dweight, dbias, dh0
    return tuple(g.view(*x.shape[:-3], *g.shape[1:]) for g in gradients)


def _layer(x, weight_ih, weight, bias, h0):
    """The tensors with a single dimension of replicas."""
    return Layer(
        one_leading(x, 3),
        one_leading(weight_ih, 2),
        one_leading(weight, 2),
        None if bias is None else one_leading(bias, 1),
        one_leading(h0, 2),
    )


def _groups(clocks, clock, periods, group_sizes, nonlinearity):
    """The groups, with one clock for all where the host can know that."""
    if clocks is not None:
        clock = simplify(one_leading(clocks, 1))
    cell = Cell(nonlinearity)
    return Groups(tuple(periods), tuple(group_sizes), clock, cell)


def one_leading(x, dims):
    """x with all dimensions but the last ones as a single one."""
    return x.flatten(0, -dims - 1) if x.dim() > dims else x.unsqueeze(0)


def simplify(clocks):
    """One clock for all, where that is so and no device need be asked."""
    if clocks.device.type == "cpu" and clocks.numel():
        low, high = clocks.aminmax()
        if low == high:
            return low.item()
    return clocks


@clockwork_rnn_op.register_fake
def _fake(x, weight_ih, *others):
    return x.new_empty(*x.shape[:-1], weight_ih.shape[-2])


@clockwork_rnn_backward.register_fake
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
    *tensors, _, _, _, _, _ = inputs
    ctx.options = inputs[len(tensors) :]
    # The output may be changed in place later on, and is then computed again.
    # So what is saved is its memory, with no version that would be an error
    # then; and what has its version, with no memory, tells whether that was so.
    ctx.version_of = output.detach()
    ctx.version_of.data = output.new_empty(0)
    ctx.version = ctx.version_of._version
    ctx.save_for_backward(output.data, *tensors)


def _gradients(ctx, doutput):
    output, *tensors = ctx.saved_tensors
    x, weight_ih, weight, bias, h0, steps, clocks = tensors
    if steps is not None:
        doutput = zero_padding(doutput, steps)
    needs_dx = ctx.needs_input_grad[0]
    if torch.is_grad_enabled():
        gradients = _gradients_plain(doutput, tensors, ctx.options)
    else:
        if ctx.version_of._version != ctx.version:
            output = clockwork_rnn_op(*tensors, *ctx.options)
        gradients = clockwork_rnn_backward(
            doutput,
            output,
            x,
            weight_ih,
            weight,
            h0,
            clocks,
            *ctx.options,
            needs_dx,
        )
    dx, dweight_ih, dweight, dbias, dh0 = gradients
    return (
        dx if needs_dx else None,
        dweight_ih,
        dweight,
        None if bias is None else dbias,
        dh0,
        *[None] * (2 + len(ctx.options)),
    )


def _gradients_plain(doutput, tensors, options):
    """The gradients as results that have gradients themselves."""
    x, weight_ih, weight, bias, h0, *others = tensors
    if bias is None:
        bias = weight_ih.new_zeros(weight_ih.shape[:-1])

    def function(*leaves):
        return _run_plain(*leaves, *others, *options)

    _, pull_back = torch.func.vjp(function, x, weight_ih, weight, bias, h0)
    return pull_back(doutput)


clockwork_rnn_op.register_autograd(_gradients, setup_context=_setup_context)


def register_vmap(op):
    """Give op a rule for vmap: the mapped dimension becomes the leading one."""

    def lead(x, dim, size):
        if isinstance(x, (list, tuple)) and isinstance(dim, (list, tuple)):
            return [lead(*pair, size) for pair in zip(x, dim)]
        if not isinstance(x, torch.Tensor):
            return x
        return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)

    def rule(info, in_dims, *args):
        out = op(*lead(args, in_dims, info.batch_size))
        return out, 0 if isinstance(out, torch.Tensor) else (0,) * len(out)

    op.register_vmap(rule)


register_vmap(clockwork_rnn_op)
register_vmap(clockwork_rnn_backward)


def run(*args):
    """The output, by the operation or, where derivatives are wanted that it
    does not have, without it; the arguments are those of the operation."""
    return _run_plain(*args) if is_transformed() else clockwork_rnn_op(*args)


def _run_plain(x, weight_ih, weight, bias, h0, steps, clocks, *options):
    """The output by plain PyTorch."""
    tensors = x, weight_ih, weight, bias, h0, steps, clocks
    if x.dim() > 3:
        in_dims = tuple(None if t is None else 0 for t in tensors)
        return torch.vmap(
            lambda *tensors: _run_plain(*tensors, *options), in_dims
        )(*tensors)
    clock, periods, group_sizes, nonlinearity, _ = options
    clock = clock if clocks is None else clocks
    cell = Cell(nonlinearity)
    groups = Groups(tuple(periods), tuple(group_sizes), clock, cell)
    rows = [weight[units, units.start :] for units in groups.units]
    z = F.linear(x, weight_ih, bias)
    return unroll(z, rows, h0, groups, steps=steps)
