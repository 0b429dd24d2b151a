"""What each group sees of the input: z = V x + b, at its ticks alone.

This is the step before the recurrence, whichever way that runs; between the
two there is room for what shall happen to z. All z are one tensor, group after
group, in which each group has its part [R, B, N, C k]. Where each sequence has
a clock of its own, one that ticks less often than others has ticks past the
end; there z is that of the last step, and its gradient zero.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from math import prod
from typing import NamedTuple

import torch

from speechbrain_cwrnn.clock import Groups, count_ticks, first_tick
from speechbrain_cwrnn.linear import linear, outer


class Inputs(NamedTuple):
    """z, or its gradient.

    Arguments
    ---------
    values : torch.Tensor
        The numbers of all groups [R, B S], one group after the other.
    parts : list of torch.Tensor
        Those of each group [R, B, N, C k], as views.
    groups : Groups
        Whose they are.
    T : int
        In how many steps.
    """

    values: torch.Tensor
    parts: list
    groups: Groups
    T: int


def empty_inputs(x, groups):
    """Room for the z of groups that see x [R, B, T, F]."""
    R, B, T, _ = x.shape
    size = sum(prod(shape) for shape in _shapes(groups, T))
    return split_inputs(x.new_empty(R, B * size), B, T, groups)


def split_inputs(values, B, T, groups):
    """The z of B sequences of T steps [R, B S], and its parts."""
    shapes = _shapes(groups, T)
    parts = values.split([B * prod(shape) for shape in shapes], dim=1)
    parts = [
        part.view(len(part), B, *shape) for part, shape in zip(parts, shapes)
    ]
    return Inputs(values, parts, groups, T)


def _shapes(groups, T):
    """Ticks and columns [N, C k] of each group."""
    C = groups.cell.columns
    return [
        (N, C * k) for N, k in zip(groups.count_ticks(T), groups.group_sizes)
    ]


def project(layer, groups):
    """What the groups see of the input.

    Arguments
    ---------
    layer : Layer
        Of it, the input, its weights and the bias.
    groups : Groups
        Which units see it when.

    Returns
    -------
    Inputs
        z_i[n] = V_i x[t] + b_i, where t is the n-th tick of group i.
    """
    z = empty_inputs(layer.x, groups)
    for part, period, rows in zip(z.parts, groups.periods, groups.rows):
        linear(
            take_ticks(layer.x, groups.clock, period),
            layer.weight_ih[:, rows],
            None if layer.bias is None else layer.bias[:, rows],
            out=part,
        )
    return z


def project_backward(dz, layer, needs_dx):
    """The gradients of what `project` reads.

        dV_i = sum_n dz_i[n] x[t]^T,    db_i = sum_n dz_i[n],
        dx[t] = sum of V_i^T dz_i[n] over the groups i that tick at t

    Arguments
    ---------
    dz : Inputs
        Gradient of z.
    layer : Layer
        As in `project`.
    needs_dx : bool
        Whether the gradient of x is wanted.

    Returns
    -------
    tuple of torch.Tensor
        Gradients of x (None if it is not wanted), weight_ih and bias.
    """
    x, weight_ih = layer.x, layer.weight_ih
    groups, dx = dz.groups, None
    dweight_ih = weight_ih.new_empty(weight_ih.shape)
    dbias = weight_ih.new_empty(weight_ih.shape[:2])
    for part, period, rows in zip(dz.parts, groups.periods, groups.rows):
        outer(
            part,
            take_ticks(x, groups.clock, period),
            out=dweight_ih[:, rows],
        )
        torch.sum(part, (1, 2), out=dbias[:, rows])
        if needs_dx:
            dx_of_group = linear(part, weight_ih[:, rows].mT)
            if dx is None and dx_of_group.shape == x.shape:
                dx = dx_of_group
            else:
                dx = x.new_zeros(x.shape) if dx is None else dx
                add_at_ticks(dx, dx_of_group, groups.clock, period)
    return dx, dweight_ih, dbias


def take_ticks(x, clock, period):
    """x [R, B, T, F] at the ticks of a group [R, B, N, F]."""
    if period == 1:
        return x
    if isinstance(clock, int):
        return x[:, :, first_tick(clock, period) :: period]
    return x.take_along_dim(_tick_index(x, clock, period), dim=2)


def add_at_ticks(x, values, clock, period):
    """Add values [R, B, N, F] to x [R, B, T, F]: the transpose of `take_ticks`.

    Those of ticks past the end must be zero.
    """
    if isinstance(clock, int):
        x[:, :, first_tick(clock, period) :: period] += values
    else:
        index = _tick_index(x, clock, period)
        x.scatter_add_(2, index.expand_as(values), values)


def _tick_index(x, clock, period):
    """The steps of a group's ticks [R, B, N, 1]; those past the end last."""
    T = x.shape[2]
    clock = clock.unsqueeze(-1)
    N = count_ticks(T, clock, period)
    steps = period * torch.arange(N, device=clock.device)
    steps = steps + first_tick(clock, period)
    return steps.clamp(max=T - 1).expand(*x.shape[:2], N).unsqueeze(-1)
