"""The recurrence of one group, in the engine that runs anywhere."""

import pytest
import torch
from helpers import assert_equal, random_group, run_engine, run_plain

from speechbrain_cwrnn.cells import NONLINEARITIES, Cell
from speechbrain_cwrnn.sweep import Group, eager


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("R, N", [(1, 9), (4, 9), (2, 1)])
def test_equals_plain_loop(nonlinearity, gated, R, N):
    """States and gradients, with and without replicas."""
    cell = Cell(nonlinearity, gated)
    args = *random_group(R, N=N, columns=cell.columns), cell
    dh = torch.randn_like(args[0][..., :3])
    assert_equal(run_engine(eager, *args, dh), run_plain(*args, dh))
    if gated:
        mask = torch.randint(3, (R, 2, 3)).double()
        assert_equal(
            run_engine(eager, *args, dh, mask), run_plain(*args, dh, mask)
        )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_blocks(gated, steps, monkeypatch):
    """Steps that are run in blocks, the last one shorter, are the same."""
    cell = Cell(gated=gated)
    args = *random_group(N=9, columns=cell.columns), cell
    monkeypatch.setattr(eager, "BLOCK", steps * args[0][:, :, 0].numel())
    dh = torch.randn_like(args[0][..., :3])
    assert_equal(run_engine(eager, *args, dh), run_plain(*args, dh))


@pytest.mark.parametrize("gated", [False, True])
def test_first_gradient(gated):
    """What is known of that of the initial state is added to."""
    cell = Cell(gated=gated)
    z, weight, h0 = random_group(columns=cell.columns)
    state = torch.cat([h0.unsqueeze(2), z[..., :3]], dim=2)
    group = Group(state, weight, None, cell)
    dz = torch.zeros_like(torch.cat([z[:, :, :1], z], dim=2))
    dstate = torch.randn_like(state)
    expected = dstate.clone()
    expected[:, :, 0] = 0
    eager.backward(group, z, expected, dz)
    expected[:, :, 0] += dstate[:, :, 0]
    eager.backward(group, z, dstate, dz)
    first = {"dh0": expected[:, :, 0]}
    assert_equal({"dh0": dstate[:, :, 0]}, first)


@pytest.mark.parametrize("gated", [False, True])
def test_no_ticks(gated):
    """A group that does not tick is left as it is."""
    cell = Cell(gated=gated)
    z, weight, h0 = random_group(N=0, columns=cell.columns)
    state, dstate = h0[:, :, None].clone(), torch.randn_like(h0)[:, :, None]
    group = Group(state, weight, None, cell)
    dz = torch.full((*h0.shape[:2], 1, weight.shape[1]), torch.nan).double()
    before = dstate.clone()
    eager.forward(group, z)
    eager.backward(group, z, dstate, dz)
    assert torch.equal(state[:, :, 0], h0)
    assert torch.equal(dstate, before)
    assert (dz == 0).all()
