"""Another way to run a layer: step by step, all groups at once.

For networks so small that the sweep over the groups would be more calls than
arithmetic. The loop over time is compiled, by an engine, a module with two
functions:

    forward(output, z, layer, groups)
        writes the states [R, B, T, H], from z, to output
    backward(doutput, output, dz, layer, groups)
        writes the gradient of z to dz, and returns that of h0

The equations are those of the paper; the glossary stands in `sweep`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import replace
from math import gcd

import torch

from speechbrain_cwrnn.clock import first_tick
from speechbrain_cwrnn.inputs import empty_inputs
from speechbrain_cwrnn.linear import outer, outer_before

# A product less of the input is worth so many multiplications more.
WORTH_A_CALL = 1_500_000


def input_groups(layer, groups):
    """How the input is to be seen: by groups that are merged with faster ones
    where products of their own, at their own ticks, would spare less than
    calling them costs. So small networks have a single product."""
    if isinstance(groups.clock, torch.Tensor):
        sizes = (sum(groups.group_sizes),)
        return replace(groups, periods=(1,), group_sizes=sizes)
    seen, (*_, H) = layer.x.numel(), layer.h0.shape
    periods, starts = [groups.periods[0]], [0]
    for period, units in zip(groups.periods, groups.units):
        # All slower ones are seen as rarely, too.
        spared = seen * (H - units.start) * (1 / periods[-1] - 1 / period)
        if spared > WORTH_A_CALL:
            periods.append(period)
            starts.append(units.start)
        else:
            periods[-1] = gcd(periods[-1], period)
    sizes = tuple(end - start for start, end in zip(starts, [*starts[1:], H]))
    return replace(groups, periods=tuple(periods), group_sizes=sizes)


def forward(layer, z, groups, engine):
    """Run a layer over all steps; as in `sweep`."""
    output = layer.h0.new_empty(*layer.x.shape[:3], layer.h0.shape[-1])
    engine.forward(output, z, layer, groups)
    return output


def backward(doutput, output, layer, groups, engine):
    """The gradients from that of the output; as in `sweep`."""
    dz = empty_inputs(layer.x, input_groups(layer, groups))
    dh0 = engine.backward(doutput, output, dz, layer, groups)
    return dz, _weight_gradient(dz, output, layer), dh0


def _weight_gradient(dz, output, layer):
    """Sum of dz times the states just before, transposed [R, H, H]; below the
    blocks, anything."""
    dweight = layer.weight.new_zeros(layer.weight.shape)
    groups = dz.groups
    for part, period, units in zip(dz.parts, groups.periods, groups.units):
        senders = slice(units.start, None)
        sums = dweight[:, units, senders]
        first = 0
        if isinstance(groups.clock, int):
            first = first_tick(groups.clock, period)
        if first > 0:
            before = output[:, :, first - 1 :: period, senders]
            outer(part, before[:, :, : part.shape[2]], out=sums)
            continue
        start = part[:, :, 0].clone()
        if period == 1:
            part[:, :, 0] = 0
            outer_before(part, output[..., senders], out=sums)
            part[:, :, 0] = start
        else:
            before = output[:, :, period - 1 :: period, senders]
            before = before[:, :, : part.shape[2] - 1]
            outer(part[:, :, 1:], before, out=sums)
        sums += start.mT @ layer.h0[..., senders]
    return dweight
