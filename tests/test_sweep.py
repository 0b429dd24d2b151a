"""The recurrence of one group, in PyTorch and compiled for the CPU."""

import pytest
import torch
from helpers import assert_equal, random_group, run_engine, run_plain

from speechbrain_cwrnn import threads
from speechbrain_cwrnn.cells import NONLINEARITIES, Cell
from speechbrain_cwrnn.sweep import Group, cpu, eager

engines = pytest.mark.parametrize("engine", [eager, cpu], ids=["eager", "cpu"])


@engines
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("R, N", [(1, 9), (4, 9), (2, 1)])
def test_equals_plain_loop(engine, nonlinearity, gated, R, N):
    """States and gradients, with and without replicas."""
    cell = Cell(nonlinearity, gated)
    args = *random_group(R, N=N, columns=cell.columns), cell
    dh = torch.randn_like(args[0][..., :3])
    assert_equal(run_engine(engine, *args, dh), run_plain(*args, dh))
    if gated:
        mask = torch.randint(3, (R, 2, 3)).double()
        assert_equal(
            run_engine(engine, *args, dh, mask), run_plain(*args, dh, mask)
        )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("B, k", [(1, 70), (3, 5), (4, 8), (9, 25), (17, 33)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_compiled(B, k, number, gated, monkeypatch):
    """Whole and partial blocks of sequences and units, in several threads."""
    monkeypatch.setattr(threads, "WORTH", 0)
    cell = Cell(gated=gated)
    args = *random_group(2, B, 5, k, cell.columns), cell
    args[1].div_(k**0.5)
    dh = torch.randn_like(args[0][..., :k])
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        actual = run_engine(cpu, *args, dh)
    finally:
        torch.set_num_threads(before)
    assert_equal(actual, run_plain(*args, dh))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_blocks(gated, steps, monkeypatch):
    """Steps that are run in blocks, the last one shorter, are the same."""
    cell = Cell(gated=gated)
    args = *random_group(N=9, columns=cell.columns), cell
    monkeypatch.setattr(eager, "BLOCK", steps * args[0][:, :, 0].numel())
    dh = torch.randn_like(args[0][..., :3])
    assert_equal(run_engine(eager, *args, dh), run_plain(*args, dh))


@engines
@pytest.mark.parametrize("gated", [False, True])
def test_first_gradient(engine, gated):
    """What is known of that of the initial state is added to."""
    cell = Cell(gated=gated)
    z, weight, h0 = random_group(columns=cell.columns)
    state = torch.cat([h0.unsqueeze(2), z[..., :3]], dim=2)
    group = Group(state, weight, None, cell)
    dz = torch.zeros_like(torch.cat([z[:, :, :1], z], dim=2))
    dstate = torch.randn_like(state)
    expected = dstate.clone()
    expected[:, :, 0] = 0
    engine.backward(group, z, expected, dz)
    expected[:, :, 0] += dstate[:, :, 0]
    engine.backward(group, z, dstate, dz)
    first = {"dh0": expected[:, :, 0]}
    assert_equal({"dh0": dstate[:, :, 0]}, first)


@engines
@pytest.mark.parametrize("gated", [False, True])
def test_no_ticks(engine, gated):
    """A group that does not tick is left as it is."""
    cell = Cell(gated=gated)
    z, weight, h0 = random_group(N=0, columns=cell.columns)
    state, dstate = h0[:, :, None].clone(), torch.randn_like(h0)[:, :, None]
    group = Group(state, weight, None, cell)
    dz = torch.full((*h0.shape[:2], 1, weight.shape[1]), torch.nan).double()
    before = dstate.clone()
    engine.forward(group, z)
    engine.backward(group, z, dstate, dz)
    assert torch.equal(state[:, :, 0], h0)
    assert torch.equal(dstate, before)
    assert (dz == 0).all()
