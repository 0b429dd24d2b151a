"""The two steps of a layer as operations of their own.

So there is room between them, for a normalisation of z that has a gradient and
statistics of its own.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Optional

import torch

from speechbrain_cwrnn.backend import choose
from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.inputs import (
    empty_inputs,
    project,
    project_backward,
    split_inputs,
)
from speechbrain_cwrnn.lengths import (
    ticks_inside,
    zero_padding,
    zero_padding_,
)
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.op import one_leading, register_vmap


def group_options(groups):
    """Groups as arguments of the operations: clocks, and the others."""
    clock, clocks = groups.clock, None
    if isinstance(clock, torch.Tensor):
        clock, clocks = 0, clock
    cell = groups.cell.nonlinearity, groups.cell.gated
    return clocks, clock, groups.periods, groups.group_sizes, *cell


def _groups(clocks, clock, periods, group_sizes, nonlinearity, gated):
    """The groups again."""
    if clocks is not None:
        clock = one_leading(clocks, 1)
    cell = Cell(nonlinearity, gated)
    return Groups(tuple(periods), tuple(group_sizes), clock, cell)


@torch.library.custom_op("speechbrain_cwrnn::project", mutates_args=())
def project_op(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    bias: Optional[torch.Tensor],  # noqa: UP045, for PyTorch to read
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    gated: bool,
) -> torch.Tensor:
    """z of all groups [..., B S], from x [..., B, T, F]; see `inputs`."""
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity, gated)
    bias = None if bias is None else one_leading(bias, 1)
    layer = Layer(
        one_leading(x, 3), one_leading(weight_ih, 2), None, bias, None
    )
    return project(layer, groups).values.view(*x.shape[:-3], -1)


@torch.library.custom_op("speechbrain_cwrnn::project_backward", mutates_args=())
def project_backward_op(
    dz: torch.Tensor,
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    gated: bool,
    needs_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of x (empty if it is not needed), weight_ih and bias."""
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity, gated)
    layer = Layer(
        one_leading(x, 3), one_leading(weight_ih, 2), None, None, None
    )
    dz = split_inputs(one_leading(dz, 1), *layer.x.shape[1:3], groups)
    dx, *others = project_backward(dz, layer, needs_dx)
    if dx is None:
        dx = x.new_empty(len(layer.x), 0)
    return tuple(g.view(*x.shape[:-3], *g.shape[1:]) for g in (dx, *others))


@project_op.register_fake
def _fake_project(x, weight_ih, bias, *options):
    z = empty_inputs(one_leading(x, 3), _groups(*options))
    return z.values.view(*x.shape[:-3], -1)


@project_backward_op.register_fake
def _fake_project_backward(dz, x, weight_ih, *options):
    *_, needs_dx = options
    return (
        x.new_empty(x.shape if needs_dx else (*x.shape[:-3], 0)),
        x.new_empty(weight_ih.shape),
        x.new_empty(weight_ih.shape[:-1]),
    )


def _save_project(ctx, inputs, output):
    x, weight_ih, bias, clocks, *ctx.options = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight_ih, clocks)


def _project_gradients(ctx, dz):
    needs_dx = ctx.needs_input_grad[0]
    dx, dweight_ih, dbias = project_backward_op(
        dz.contiguous(), *ctx.saved_tensors, *ctx.options, needs_dx
    )
    dx = dx if needs_dx else None
    dbias = dbias if ctx.has_bias else None
    return dx, dweight_ih, dbias, *[None] * (1 + len(ctx.options))


project_op.register_autograd(_project_gradients, setup_context=_save_project)


@torch.library.custom_op("speechbrain_cwrnn::recur", mutates_args=())
def recur_op(
    z: list[torch.Tensor],
    weight: torch.Tensor,
    h0: torch.Tensor,
    mask: Optional[torch.Tensor],  # noqa: UP045
    steps: Optional[torch.Tensor],  # noqa: UP045
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    gated: bool,
    T: int,
    backend: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [..., B, T, H], from the z of each group [..., B, N, C k];
    and what the backward pass needs. Both are zero past the steps [..., B] of
    each sequence, as in `op`."""
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity, gated)
    layer = _layer(weight, h0, mask)
    way, engine = choose(backend, _steps(h0, T), groups)
    values = torch.cat([part.flatten(-3) for part in z], dim=-1)
    kept = split_inputs(one_leading(values, 1), h0.shape[-2], T, groups)
    output = way.forward(layer, kept, groups, engine)
    if steps is not None:
        steps = one_leading(steps, 1)
        zero_padding_(output, steps)
        for part, period in zip(kept.parts, groups.periods):
            inside = ticks_inside(T, groups.clock, period, steps)
            part.masked_fill_(~inside.unsqueeze(-1), 0)
    return output.view(*h0.shape[:-2], *output.shape[1:]), values


@torch.library.custom_op("speechbrain_cwrnn::recur_backward", mutates_args=())
def recur_backward_op(
    doutput: torch.Tensor,
    output: torch.Tensor,
    kept: torch.Tensor,
    weight: torch.Tensor,
    h0: torch.Tensor,
    mask: Optional[torch.Tensor],  # noqa: UP045
    clocks: Optional[torch.Tensor],  # noqa: UP045
    clock: int,
    periods: list[int],
    group_sizes: list[int],
    nonlinearity: str,
    gated: bool,
    T: int,
    backend: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of z, as one tensor, of weight (below the blocks, anything),
    and of h0."""
    groups = _groups(clocks, clock, periods, group_sizes, nonlinearity, gated)
    layer = _layer(weight, h0, mask)
    way, engine = choose(backend, _steps(h0, T), groups)
    z = split_inputs(one_leading(kept, 1), h0.shape[-2], T, groups)
    dz, *others = way.backward(
        one_leading(doutput, 3),
        one_leading(output, 3),
        z,
        layer,
        groups,
        engine,
    )
    gradients = dz.values, *others
    return tuple(g.view(*h0.shape[:-2], *g.shape[1:]) for g in gradients)


def _steps(h0, T):
    """What the states of T steps look like."""
    return h0.unsqueeze(-2).expand(*h0.shape[:-1], T, -1)


def _layer(weight, h0, mask):
    """The tensors of the recurrence, with a single dimension of replicas."""
    mask = None if mask is None else one_leading(mask, 2)
    return Layer(
        None, None, one_leading(weight, 2), None, one_leading(h0, 2), mask
    )


@recur_op.register_fake
def _fake_recur(z, weight, h0, mask, *options):
    *replicas, B, H = h0.shape
    *_, T, _ = options
    size = sum(part.shape[-3] * part.shape[-2] * part.shape[-1] for part in z)
    return h0.new_empty(*replicas, B, T, H), h0.new_empty(*replicas, size)


@recur_backward_op.register_fake
def _fake_recur_backward(doutput, output, kept, weight, h0, *others):
    return (
        kept.new_empty(kept.shape),
        weight.new_empty(weight.shape),
        h0.new_empty(h0.shape),
    )


def _save_recur(ctx, inputs, output):
    z, weight, h0, mask, steps, clocks, *ctx.options = inputs
    output, kept = output
    # What is kept has no gradient, and gets no memory for one.
    ctx.set_materialize_grads(False)
    ctx.shapes = [part.shape for part in z]
    ctx.save_for_backward(steps, output, kept, weight, h0, mask, clocks)


def _recur_gradients(ctx, doutput, _):
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of the gradient of a gated layer: expected it by "
            "torch.func, by torch.func.hessian for example."
        )
    steps, *tensors = ctx.saved_tensors
    if doutput is None:
        return [None] * len(ctx.shapes), *[None] * (5 + len(ctx.options))
    if steps is not None:
        doutput = zero_padding(doutput, steps)
    dz, dweight, dh0 = recur_backward_op(doutput, *tensors, *ctx.options)
    parts = dz.split([shape[-3:].numel() for shape in ctx.shapes], dim=-1)
    dz = [part.view(shape) for part, shape in zip(parts, ctx.shapes)]
    return dz, dweight, dh0, *[None] * (3 + len(ctx.options))


recur_op.register_autograd(_recur_gradients, setup_context=_save_recur)

for _op in (project_op, project_backward_op, recur_op, recur_backward_op):
    register_vmap(_op)
