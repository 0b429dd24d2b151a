"""One way to run a layer: group by group, from the slowest to the fastest.

The slowest group depends on nothing but itself and the input. So it is run
first, over its own ticks only; then the next one, which reads the states of
the slower ones; and so on. For group i of period P_i, at its n-th tick, with a
clock that starts at 0,

    z_i[n] = V_i x[n P_i] + b_i                                      (`inputs`)
    c_i[n] = sum_{j > i} W_ij s_j[ceil(n P_i / P_j)]                  (context)
    h_i[n] = f(z_i[n] + c_i[n] + W_ii h_i[n-1])

where s_j holds the distinct states of group j: the initial one, then one per
tick. Only the last line is sequential. Each distinct state is multiplied once,
however long it is held, and the paper's model results exactly, for any
periods. The backward pass goes from the fastest group to the slowest:

    ds_i[n] = sum of doutput_i[t] over the steps t that hold s_i[n]
              + sum_{j < i} W_ji^T d_ji[n]
    d_ji[n] = sum of dz_j[m] over the ticks m of group j that read s_i[n]
    dz_i[n] = f'(h_i[n]) (dh_i[n] + W_ii^T dz_i[n+1]),   dh_i[n] = ds_i[n+1]
    dW_ii   = sum_n dz_i[n] h_i[n-1]^T
    dW_ji   = sum_n d_ji[n] s_i[n]^T
    dh0_i   = ds_i[0] + W_ii^T dz_i[0]

A group's two sequential lines, those of h and dz, are run by an engine, a
module with two functions that change their first argument:

    forward(state, weight, nonlinearity)
        state is h[-1], z[0], z[1], ... and becomes h[-1], h[0], h[1], ...
    backward(dstate, state, weight, nonlinearity)
        dstate is ds[0], ds[1], ... and becomes dh0, dz[0], dz[1], ...

Both are contiguous [R, B, 1 + N, k]; as in any product of matrices, sums are
formed in float32 at least. The engines are `eager` (PyTorch, on any device) and
`gpu` (fused, in Triton).

What the slower groups send to faster ones is carried along as one signal, that
may change when any of them ticks: for periods that divide each other, simply
when the fastest of them does.

Glossary
--------
R, B, T   replicas with weights of their own, sequences, steps
F, H      features of the input, hidden units
k, N      units of a group, its ticks in T steps
M         places where a signal is read: the steps, or the ticks of a group
tick      a step at which a group computes; at others it holds its state
clock     steps since the state was zero, at the first of the T steps
state     s [R, B, 1 + N, k]: what a group held before its first tick, then h
signal    what changes at the ticks of one period only, as a state does
context   c for all faster groups, [R, B, 1 + N, units of these]: a signal
common    period of the context: of all that may tick in this group or slower
coarse    the same of the slower groups only
sent      W_ji s_i, what a group adds to the context
d...      gradient of the loss with respect to ...

Authors
 * The speechbrain_cwrnn developers 2026
"""

from itertools import accumulate
from math import gcd

import torch

from speechbrain_cwrnn.clock import count_ticks
from speechbrain_cwrnn.inputs import empty_inputs, take_ticks
from speechbrain_cwrnn.linear import add_linear, linear, outer, outer_before
from speechbrain_cwrnn.sweep.holding import read_at


def input_groups(layer, groups):
    """How the input is to be seen: by each group on its own."""
    return groups


def forward(layer, z, groups, engine):
    """Run a layer over all steps.

    Arguments
    ---------
    layer : Layer
        Of it, the recurrent weights and the initial state.
    z : Inputs
        What each group sees of the input.
    groups : Groups
        Which unit ticks when.
    engine : module
        What runs the recurrence of a group.

    Returns
    -------
    torch.Tensor
        The state after every step [R, B, T, H].
    """
    weight, h0, clock = layer.weight, layer.h0, groups.clock
    T = layer.x.shape[2]
    output = h0.new_empty(*layer.x.shape[:3], h0.shape[-1])
    commons = _common_periods(groups.periods)
    context, coarse = None, None
    for part, period, units, common in reversed(
        list(zip(z.parts, groups.periods, groups.units, commons))
    ):
        # The initial state and z, which the engine replaces by the others.
        state = torch.cat([h0[:, :, None, units], part], dim=2)
        if context is not None:
            # At a tick, a group reads what the slower ones held just before.
            reading = read_at(clock, coarse, period, before=True)
            reading.add(context[..., units], state[:, :, 1:])
        engine.forward(state, weight[:, units, units], groups.nonlinearity)
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


def backward(doutput, output, layer, groups, engine):
    """The gradients from that of the output.

    Arguments
    ---------
    doutput : torch.Tensor
        Gradient of the output [R, B, T, H].
    output : torch.Tensor
        What `forward` returned.
    layer, groups, engine
        As in `forward`.

    Returns
    -------
    dz : Inputs
        Gradient of z.
    dweight, dh0 : torch.Tensor
        Gradients of the recurrent weights and of the initial state.
    """
    weight, h0, clock = layer.weight, layer.h0, groups.clock
    T = layer.x.shape[2]
    dz = empty_inputs(layer.x, groups)
    dweight = weight.new_zeros(weight.shape)
    dh0 = h0.new_empty(h0.shape)
    dcontext = None
    commons = _common_periods(groups.periods)
    for i, (part, period, units) in enumerate(
        zip(dz.parts, groups.periods, groups.units)
    ):
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
        engine.backward(
            dstate, state, weight[:, units, units], groups.nonlinearity
        )
        dh0[..., units] = dstate[:, :, 0]
        dstate[:, :, 0] = 0
        outer_before(dstate, state, out=dweight[:, units, units])
        part.copy_(dstate[:, :, 1:])

        if i + 1 < len(commons):
            coarse = commons[i + 1]
            places = 1 + count_ticks(T, clock, coarse)
            finer = dcontext
            dcontext = part.new_empty(*part.shape[:2], places, units.stop)
            reading = read_at(clock, coarse, period, before=True)
            reading.collect(part, dcontext[..., units])
            if finer is not None:
                reading = read_at(clock, coarse, common, initial=True)
                reading.collect(finer, dcontext[..., faster])
    return dz, dweight, dh0


def _common_periods(periods):
    """For each group, the period at which it or any slower one may tick."""
    return list(accumulate(reversed(periods), gcd))[::-1]
