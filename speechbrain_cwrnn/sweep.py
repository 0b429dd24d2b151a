"""One layer in one direction, computed from the slowest group to the fastest.

The slowest group depends on nothing but itself and the input. So it is run
first, over its own ticks only; then the next one, which reads the states of
the slower ones; and so on. For group i of period P_i, at its n-th tick,

    z_i[n] = V_i x[n P_i] + b_i + sum_{j > i} (W_ij s_j)[ceil(n P_i / P_j)]
    h_i[n] = f(z_i[n] + W_ii h_i[n-1])

where s_j holds the distinct states of group j: the initial one, then one per
tick. Only the second line is sequential. Each distinct state is multiplied
once, however long it is held, and the paper's model results exactly, for any
periods.

What the slower groups add to the faster ones is carried along as one signal,
the *context*, that may change when any of them ticks: for periods that divide
each other, simply when the fastest of them does. The backward pass goes the
other way, from the fastest group to the slowest, with the gradient of the
context.

Here all tensors have a leading dimension of independent replicas, R.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from itertools import accumulate
from math import gcd

import torch

from speechbrain_cwrnn.linear import (
    add_linear,
    linear,
    outer,
    outer_before,
)
from speechbrain_cwrnn.signals import (
    add_at_ticks,
    count_ticks,
    read_at,
    take_ticks,
)


def forward(
    x, weight_ih, bias, weight, h0, clock, periods, sizes, nonlinearity, engine
):
    """Run a layer over all steps.

    Arguments
    ---------
    x : torch.Tensor
        Input [R, B, T, F].
    weight_ih : torch.Tensor
        Input weights V [R, H, F].
    bias : torch.Tensor or None
        Bias [R, H].
    weight : torch.Tensor
        Recurrent weights W [R, H, H]; what stands below the blocks is not
        looked at.
    h0 : torch.Tensor
        State before the first step [R, B, H].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [R, B].
    periods : sequence of int
        Period of each group.
    sizes : sequence of int
        Units of each group.
    nonlinearity : str
        f, "tanh" or "relu".
    engine : module
        What runs the recurrence of a group.

    Returns
    -------
    torch.Tensor
        The state after every step [R, B, T, H].
    """
    T = x.shape[2]
    output = x.new_empty(*x.shape[:3], h0.shape[-1])
    groups = list(zip(periods, _slices(sizes), _common_periods(periods)))
    context, coarse = None, None
    for period, units, common in reversed(groups):
        z = linear(
            take_ticks(x, clock, period),
            weight_ih[:, units],
            None if bias is None else bias[:, units],
        )
        # The initial state and z, which the engine replaces by the others.
        state = torch.cat([h0[:, :, None, units], z], dim=2)
        if context is not None:
            # At a tick, a group reads what the slower ones held just before.
            reading = read_at(clock, coarse, period, before=True)
            reading.add(context[..., units], state[:, :, 1:])
        engine.forward(state, weight[:, units, units], nonlinearity)
        read_at(clock, period).write(state, output[..., units])
        faster = slice(units.start)
        if units.start == 0:
            break
        sent = linear(state, weight[:, faster, units])
        if context is not None:
            places = 1 + count_ticks(T, clock, common)
            if period != common:
                reading = read_at(clock, period, common, initial=True)
                sent = reading.read(sent, places)
            reading = read_at(clock, coarse, common, initial=True)
            reading.add(context[..., faster], sent)
        context, coarse = sent, common
    return output


def backward(
    doutput,
    output,
    x,
    weight_ih,
    weight,
    h0,
    clock,
    periods,
    sizes,
    nonlinearity,
    engine,
    needs_dx,
):
    """The gradients from that of the output.

    Arguments
    ---------
    doutput : torch.Tensor
        Gradient of the output [R, B, T, H].
    output : torch.Tensor
        What `forward` returned.
    x, weight_ih, weight, h0, clock, periods, sizes, nonlinearity, engine
        As in `forward`.
    needs_dx : bool
        Whether the gradient of x is wanted.

    Returns
    -------
    tuple of torch.Tensor
        Gradients of x (None if it is not wanted), weight_ih, weight, bias and
        h0, of their shapes.
    """
    T = x.shape[2]
    dx = None
    dweight_ih = weight_ih.new_empty(weight_ih.shape)
    dbias = h0.new_empty(h0.shape[0], h0.shape[2])
    dweight = weight.new_zeros(weight.shape)
    dh0 = h0.new_empty(h0.shape)
    dcontext = None
    commons = _common_periods(periods)
    for i, (period, units) in enumerate(zip(periods, _slices(sizes))):
        faster, common = slice(units.start), commons[i]
        states = take_ticks(output[..., units], clock, period)
        state = torch.cat([h0[:, :, None, units], states], dim=2)
        dstate = state.new_empty(state.shape)
        read_at(clock, period).collect(doutput[..., units], dstate)
        if dcontext is not None:
            dsent = dcontext
            if period != common:
                dsent = state.new_empty(*state.shape[:3], units.start)
                reading = read_at(clock, period, common, initial=True)
                reading.collect(dcontext, dsent)
            outer(dsent, state, out=dweight[:, faster, units])
            add_linear(dstate, dsent, weight[:, faster, units].mT)
        engine.backward(dstate, state, weight[:, units, units], nonlinearity)
        dh0[..., units] = dstate[:, :, 0]
        dstate[:, :, 0] = 0
        outer_before(dstate, state, out=dweight[:, units, units])

        dz = dstate[:, :, 1:].contiguous()
        seen = take_ticks(x, clock, period)
        outer(dz, seen, out=dweight_ih[:, units])
        torch.sum(dz, (1, 2), out=dbias[:, units])
        if needs_dx:
            dx_of_group = linear(dz, weight_ih[:, units].mT)
            if dx is None and dx_of_group.shape == x.shape:
                dx = dx_of_group
            else:
                dx = x.new_zeros(x.shape) if dx is None else dx
                add_at_ticks(dx, dx_of_group, clock, period)

        if i + 1 < len(sizes):
            coarse = commons[i + 1]
            places = 1 + count_ticks(T, clock, coarse)
            finer = dcontext
            dcontext = dz.new_empty(*dz.shape[:2], places, units.stop)
            reading = read_at(clock, coarse, period, before=True)
            reading.collect(dz, dcontext[..., units])
            if finer is not None:
                reading = read_at(clock, coarse, common, initial=True)
                reading.collect(finer, dcontext[..., faster])
    return dx, dweight_ih, dweight, dbias, dh0


def _slices(sizes):
    """Where the units of each group are."""
    ends = list(accumulate(sizes))
    return [slice(end - k, end) for end, k in zip(ends, sizes)]


def _common_periods(periods):
    """For each group, the period at which it or any slower one may tick."""
    return list(accumulate(reversed(periods), gcd))[::-1]
