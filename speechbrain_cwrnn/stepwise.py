"""One layer in one direction, computed step by step, all groups at once.

For networks so small that the sweep over the groups would be more calls than
arithmetic. The loop over time is compiled; see `recurrence/cpu.py`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.linear import linear, outer, outer_before


def forward(
    x, weight_ih, bias, weight, h0, clock, periods, sizes, nonlinearity, engine
):
    """Run a layer over all steps; as in `sweep`."""
    output = linear(x, weight_ih, bias)
    engine.forward(output, weight, h0, clock, periods, sizes, nonlinearity)
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
    """The gradients from that of the output; as in `sweep`."""
    dz, dh0 = engine.backward(
        doutput, output, weight, clock, periods, sizes, nonlinearity
    )
    dx = linear(dz, weight_ih.mT) if needs_dx else None
    dweight_ih, dbias = outer(dz, x), dz.sum((1, 2))
    dweight = dz[:, :, 0].mT @ h0
    dz[:, :, 0] = 0
    dweight += outer_before(dz, output)
    return dx, dweight_ih, dweight, dbias, dh0
