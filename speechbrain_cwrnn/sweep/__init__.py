"""One way to run a layer: group by group, from the slowest to the fastest.

The slowest group depends on nothing but itself and the input. So it is run
first, over its own ticks only; then the next one, which reads the states of
the slower ones; and so on. For group i of period P_i, at its n-th tick, with a
clock that starts at 0,

    z_i[n] = V_i x[n P_i] + b_i                                      (`inputs`)
    c_i[n] = sum_{j > i} W_ij s_j[ceil(n P_i / P_j)]                  (context)
    a_i[n] = z_i[n] + c_i[n] + W_ii h_i[n-1]
    h_i[n] = f(a_i[n])                                          (or a gate's)

where s_j holds the distinct states of group j: the initial one, then one per
tick. Only the last two lines are sequential. Each distinct state is multiplied
once, however long it is held, and the paper's model results exactly, for any
periods. The backward pass goes from the fastest group to the slowest:

    ds_i[n] = sum of doutput_i[t] over the steps t that hold s_i[n]
              + sum_{j < i} W_ji^T d_ji[n]
    d_ji[n] = sum of dz_j[m] over the ticks m of group j that read s_i[n]
    dh_i[n] = ds_i[n+1] + W_ii^T dz_i[n+1]
    dz_i[n] = f'(a_i[n]) dh_i[n]                                (or a gate's)
    dW_ii   = sum_n dz_i[n] h_i[n-1]^T
    dW_ji   = sum_n d_ji[n] s_i[n]^T
    dh0_i   = ds_i[0] + W_ii^T dz_i[0]

The new state h of a gated cell (`cells`) has a candidate and a gate, so that
z, c, a and W have two rows for each unit:

    h = u h[n-1] + (1 - u) m f(a),   u = sigmoid(a')
    da = dh (1 - u) m f'(a),  da' = dh (h[n-1] - m f(a)) u (1 - u)

and h[n-1] gets u dh besides.

A group's sequential lines are run by an engine, a module with these functions:

    forward(group, z)
        z [R, B, N, C k] is z[0] + c[0], ...; where the cell is gated, f(a) and
        u take its place. group.state is h[-1], then anything, and becomes
        h[-1], h[0], h[1], ...
    backward(group, z, dstate, dz)
        z is what `forward` left there; dstate is ds[0], ds[1], ..., whose first
        becomes dh0, and the others anything; dz [R, B, 1 + N, C k] becomes 0,
        dz[0], dz[1], ...
    read_at(clock, period, ...)
        as in `holding`, how what is held is read

dz, dstate and group.state [R, B, 1 + N, k] are contiguous; as in any product of
matrices, sums are formed in float32 at least. The engines are `eager` (PyTorch,
on any device), `cpu` (compiled by numba) and `gpu` (fused, in Triton).

What the slower groups send to faster ones is carried along as one signal, that
may change when any of them ticks: for periods that divide each other, simply
when the fastest of them does.

Glossary
--------
R, B, T   replicas with weights of their own, sequences, steps
F, H      features of the input, hidden units
k, N      units of a group, its ticks in T steps
C         rows of z and W for each unit, 1 or 2
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
from typing import NamedTuple

import torch

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import count_ticks
from speechbrain_cwrnn.inputs import empty_inputs, take_ticks
from speechbrain_cwrnn.linear import add_linear, linear, outer, outer_before


class Group(NamedTuple):
    """What an engine knows of a group.

    Arguments
    ---------
    state : torch.Tensor
        What it holds [R, B, 1 + N, k].
    weight : torch.Tensor
        Its own recurrent weights [R, C k, k].
    mask : torch.Tensor or None
        That of the candidates [R, B, k].
    cell : Cell
        What its units do.
    """

    state: torch.Tensor
    weight: torch.Tensor
    mask: torch.Tensor | None
    cell: Cell


def input_groups(layer, groups):
    """How the input is to be seen: by each group on its own."""
    return groups


def forward(layer, z, groups, engine):
    """Run a layer over all steps.

    Arguments
    ---------
    layer : Layer
        Of it, the recurrent weights, the initial state and the mask.
    z : Inputs
        What each group sees of the input. What the backward pass of a gated
        cell needs takes its place.
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
    output = h0.new_empty(*h0.shape[:2], z.T, h0.shape[-1])
    commons = _common_periods(groups.periods)
    all_units, all_rows = groups.units, groups.rows
    context, coarse = None, None
    for i in reversed(range(len(commons))):
        part, period, common = z.parts[i], groups.periods[i], commons[i]
        units, rows = all_units[i], all_rows[i]
        if context is not None:
            # At a tick, a group reads what the slower ones held just before.
            reading = engine.read_at(clock, coarse, period, before=True)
            reading.add(context[..., rows], part)
        group = _group(layer, part.shape[2], units, rows, groups.cell)
        engine.forward(group, part)
        engine.read_at(clock, period).write(group.state, output[..., units])
        if i == 0:
            break
        faster = slice(rows.start)
        sent = linear(group.state, weight[:, faster, units])
        if context is not None:
            places = 1 + count_ticks(z.T, clock, common)
            if period != common:
                reading = engine.read_at(clock, period, common, initial=True)
                sent = reading.read(sent, places)
            reading = engine.read_at(clock, coarse, common, initial=True)
            reading.add(context[..., faster], sent)
        context, coarse = sent, common
    return output


def backward(doutput, output, z, layer, groups, engine):
    """The gradients from that of the output.

    Arguments
    ---------
    doutput : torch.Tensor
        Gradient of the output [R, B, T, H].
    output : torch.Tensor
        What `forward` returned.
    z : Inputs
        What `forward` left there, if the cell is gated; else anything.
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
    T = output.shape[2]
    dz = empty_inputs(output, groups)
    dweight = weight.new_zeros(weight.shape)
    dh0 = h0.new_empty(h0.shape)
    dcontext = None
    commons = _common_periods(groups.periods)
    for i, (part, period, common, units, rows) in enumerate(
        zip(dz.parts, groups.periods, commons, groups.units, groups.rows)
    ):
        faster = slice(rows.start)
        group = _group(layer, part.shape[2], units, rows, groups.cell)
        state = group.state
        state[:, :, 1:] = take_ticks(output[..., units], clock, period)
        dstate = state.new_empty(state.shape)
        engine.read_at(clock, period).collect(doutput[..., units], dstate)
        if dcontext is not None:
            dsent = dcontext
            if period != common:
                dsent = state.new_empty(*state.shape[:3], rows.start)
                reading = engine.read_at(clock, period, common, initial=True)
                reading.collect(dcontext, dsent)
            outer(dsent, state, out=dweight[:, faster, units])
            add_linear(dstate, dsent, weight[:, faster, units].mT)
        dgroup = state.new_empty(*state.shape[:3], part.shape[3])
        engine.backward(group, z and z.parts[i], dstate, dgroup)
        dh0[..., units] = dstate[:, :, 0]
        outer_before(dgroup, state, out=dweight[:, rows, units])
        # Their memory is worth that of an output, and not needed any more.
        del group, state, dstate
        part.copy_(dgroup[:, :, 1:])
        del dgroup

        if i + 1 < len(commons):
            coarse = commons[i + 1]
            places = 1 + count_ticks(T, clock, coarse)
            finer = dcontext
            dcontext = part.new_empty(*part.shape[:2], places, rows.stop)
            reading = engine.read_at(clock, coarse, period, before=True)
            reading.collect(part, dcontext[..., rows])
            if finer is not None:
                reading = engine.read_at(clock, coarse, common, initial=True)
                reading.collect(finer, dcontext[..., faster])
    return dz, dweight, dh0


def _group(layer, N, units, rows, cell):
    """What an engine knows of a group, that holds its initial state."""
    h0 = layer.h0[..., units]
    state = h0.new_empty(*h0.shape[:2], 1 + N, h0.shape[2])
    state[:, :, 0] = h0
    weight = layer.weight[:, rows, units]
    mask = None if layer.mask is None else layer.mask[..., units]
    return Group(state, weight, mask, cell)


def _common_periods(periods):
    """For each group, the period at which it or any slower one may tick."""
    return list(accumulate(reversed(periods), gcd))[::-1]
