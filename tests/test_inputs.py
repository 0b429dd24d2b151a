"""What each group sees of the input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.inputs import (
    add_at_ticks,
    project,
    project_backward,
    take_ticks,
)
from speechbrain_cwrnn.linear import Layer


@given(st.data())
def test_project(data):
    """z at each tick, and all gradients, as by automatic differentiation."""
    draw = data.draw
    periods = draw(st.sets(st.integers(1, 12), min_size=1, max_size=4))
    groups = Groups(
        tuple(sorted(periods)),
        tuple(draw(st.integers(1, 3)) for _ in periods),
        draw(st.integers(0, 20) | st.just(torch.tensor([[3, 0], [7, 12]]))),
    )
    R, B, T, F, H = 2, 2, draw(st.integers(1, 15)), 3, sum(groups.group_sizes)
    x, weight_ih, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((R, B, T, F), (R, H, F), (R, H))
    )
    layer = Layer(x, weight_ih, None, bias, None)
    dense = torch.einsum("rbtf,rhf->rbth", x, weight_ih)
    dense = dense + bias[:, None, None]
    clock = torch.as_tensor(groups.clock).expand(R, B)
    with torch.no_grad():
        z, dz = project(layer, groups), project(layer, groups)
    expected = 0
    for part, dpart, period, units in zip(
        z.parts, dz.parts, groups.periods, groups.units
    ):
        dpart.normal_()
        for r in range(R):
            for b in range(B):
                now = int(clock[r, b])
                ticks = [t for t in range(T) if (now + t) % period == 0]
                values = dense[r, b, ticks, units]
                assert (part[r, b, : len(ticks)] - values).abs().sum() < 1e-12
                # Of ticks past the end there is no gradient.
                dpart[r, b, len(ticks) :] = 0
                dvalues = dpart[r, b, : len(ticks)].clone()
                expected = expected + (values * dvalues).sum()
    with torch.no_grad():
        actual = project_backward(dz, layer, needs_dx=True)
        assert project_backward(dz, layer, needs_dx=False)[0] is None
    gradients = torch.autograd.grad(expected, (x, weight_ih, bias))
    for a, e in zip(actual, gradients):
        assert a.shape == e.shape
        assert (a - e).abs().max() < 1e-12


@pytest.mark.parametrize("clock", [2, torch.tensor([[0, 3]])])
def test_ticks(clock):
    """Adding at the ticks is the transpose of taking what is there."""
    x = torch.randn(1, 2, 7, 3, dtype=torch.float64)
    taken = take_ticks(x, clock, 4)
    values = torch.randn_like(taken)
    into = torch.zeros_like(x)
    if not isinstance(clock, int):
        steps = torch.tensor([[0, 4], [1, 5]])[None, :, :, None]
        assert torch.equal(taken, x.take_along_dim(steps, 2))
    add_at_ticks(into, values, clock, 4)
    assert ((taken * values).sum() - (x * into).sum()).abs() < 1e-12
