"""Another way to run a layer: step by step, all groups at once.

For what is so little that the sweep over the groups would be more calls than
arithmetic. The loop over time is compiled, by an engine, a module with two
functions:

    forward(output, z, layer, groups)
        writes the states [R, B, T, H] to output, which may be the memory of z:
        nothing is written to a step before its z is read; where the cell is
        gated, its candidates and gates take the place of their z
    backward(doutput, output, z, dz, layer, groups)
        writes the gradient of z to dz, that is zero where a unit does not
        tick, and returns that of h0; z is what `forward` left there

The equations are those of the paper; the glossary stands in `sweep`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import replace
from functools import lru_cache
from math import gcd

import torch

from speechbrain_cwrnn.clock import first_tick
from speechbrain_cwrnn.inputs import empty_inputs, take_ticks
from speechbrain_cwrnn.linear import outer, outer_before

# What another product with the input costs, as multiplications: so many for
# the call (and its three in the backward pass), and as if it were for so many
# units more, since narrow products are slow.
CALL, UNITS = 4_000_000, 64


def input_groups(layer, groups):
    """How the input is to be seen: by groups that are merged with faster ones
    where products of their own, at their own ticks, would spare less than
    calling them costs. So small networks have a single product."""
    if isinstance(groups.clock, torch.Tensor):
        merged = (1,), (sum(groups.group_sizes),)
    else:
        merged = _merge(
            groups.periods, groups.group_sizes, layer.x.numel(), CALL, UNITS
        )
    return replace(groups, periods=merged[0], group_sizes=merged[1])


@lru_cache
def _merge(periods, group_sizes, features, call, units):
    """Periods and sizes of merged groups, for so many features in all."""
    merged, starts = [periods[0]], [0]
    start, H = 0, sum(group_sizes)
    for period, k in zip(periods, group_sizes):
        # All slower ones are seen as rarely, too.
        rest = H - start
        spared = features * (rest / merged[-1] - (rest + units) / period)
        if spared > call:
            merged.append(period)
            starts.append(start)
        else:
            merged[-1] = gcd(merged[-1], period)
        start += k
    sizes = (end - start for start, end in zip(starts, [*starts[1:], H]))
    return tuple(merged), tuple(sizes)


def forward(layer, z, groups, engine):
    """Run a layer over all steps; as in `sweep`, but z may be lost."""
    R, B, H = layer.h0.shape
    output = z.parts[0]
    if groups.cell.gated or output.shape != (R, B, z.T, H):
        # Else each h takes the place of its z, which is still in the cache.
        output = output.new_empty(R, B, z.T, H)
    engine.forward(output, z, layer, groups)
    return output


def backward(doutput, output, z, layer, groups, engine):
    """The gradients from that of the output; as in `sweep`."""
    seen = z.groups if groups.cell.gated else input_groups(layer, groups)
    dz = empty_inputs(output, seen)
    dh0 = engine.backward(doutput, output, z, dz, layer, groups)
    return dz, _weight_gradient(dz, output, layer), dh0


def _weight_gradient(dz, output, layer):
    """Sum of dz times the states just before, transposed [R, H, H]; below the
    blocks, anything."""
    dweight = layer.weight.new_zeros(layer.weight.shape)
    groups = dz.groups
    for part, period, rows, units in zip(
        dz.parts, groups.periods, groups.rows, groups.units
    ):
        senders = slice(units.start, None)
        sums = dweight[:, rows, senders]
        first = 0
        if isinstance(groups.clock, int):
            first = first_tick(groups.clock, period)
        elif period > 1:
            # Each sequence ticks at steps of its own.
            before = [layer.h0.unsqueeze(2), output[:, :, :-1]]
            before = torch.cat(before, dim=2)[..., senders]
            outer(part, take_ticks(before, groups.clock, period), out=sums)
            continue
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
