"""All groups at once, step by step, in the compiled engine."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import assert_equal, random_group
from hypothesis import given
from hypothesis import strategies as st
from numba.core import event

from speechbrain_cwrnn import (
    activations,
    reference,
    stepwise,
    threads,
    vectors,
)
from speechbrain_cwrnn.cells import NONLINEARITIES, Cell
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.inputs import project
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.stepwise import cpu


def run(layer, groups, doutput):
    """The output and the gradients of z, W and h0, by name."""
    z = project(layer, stepwise.input_groups(layer, groups))
    output = stepwise.forward(layer, z, groups, cpu)
    # A cell without gates needs no z any more.
    z = z if groups.cell.gated else None
    dz, dweight, dh0 = stepwise.backward(doutput, output, z, layer, groups, cpu)
    # The input is the identity: the gradient of its z is that of the input.
    dx = torch.zeros_like(layer.x)
    for part, period, rows in zip(dz.parts, dz.groups.periods, dz.groups.rows):
        first = 0
        if isinstance(groups.clock, int):
            first = -groups.clock % period
        dx[:, :, first::period, rows] = part
    return {"h": output, "dz": dx, "dweight": dweight, "dh0": dh0}


def run_reference(layer, groups, doutput):
    """The same by the equations of the paper, replica by replica."""
    results = []
    for r in range(len(layer.x)):
        leaves = [
            tensor[r].detach().requires_grad_()
            for tensor in (layer.x, layer.weight, layer.h0)
        ]
        x, weight, h0 = leaves
        clock, function, mask = groups.clock, reference.clockwork_rnn, {}
        if groups.cell.gated:
            function, mask = reference.clockwork_ligru, {"mask": layer.mask[r]}
        output, _ = function(
            x,
            layer.weight_ih[r],
            [
                weight[rows, units.start :]
                for rows, units in zip(groups.rows, groups.units)
            ],
            h0=h0,
            periods=groups.periods,
            clock=clock if isinstance(clock, int) else clock[r],
            nonlinearity=groups.cell.nonlinearity,
            **mask,
        )
        gradients = torch.autograd.grad(output, leaves, doutput[r])
        results.append((output.detach(), *gradients))
    named = zip(("h", "dz", "dweight", "dh0"), zip(*results))
    return {name: torch.stack(tensors) for name, tensors in named}


def upper_blocks(weight, groups):
    """weight [R, C H, H] without what stands below the blocks."""
    weight = weight.clone()
    for rows, units in zip(groups.rows, groups.units):
        weight[:, rows, : units.start] = 0
    return weight


def assert_right(layer, groups):
    """The engine agrees with the equations of the paper."""
    doutput = torch.randn(*layer.x.shape[:3], layer.h0.shape[2]).double()
    actual = run(layer, groups, doutput)
    actual["dweight"] = upper_blocks(actual["dweight"], groups)
    assert_equal(actual, run_reference(layer, groups, doutput))


def make_layer(R, B, T, H, columns=1):
    """A layer that sees its input as it is."""
    z, weight, h0 = random_group(R, B, T, H, columns)
    eye = torch.eye(columns * H, dtype=torch.float64).expand(R, -1, -1)
    mask = torch.randint(3, (R, B, H)).double()
    return Layer(z, eye, weight, None, h0, mask)


def any_cell(draw):
    """One that hypothesis draws."""
    return Cell(draw(st.sampled_from(NONLINEARITIES)), draw(st.booleans()))


@given(st.data())
def test_inputs_of_all_kinds(data):
    """Groups see the input together or apart, from any clock."""
    draw = data.draw
    periods = tuple(sorted(draw(st.sets(st.integers(1, 9), min_size=1))))
    sizes = tuple(draw(st.integers(1, 3)) for _ in periods)
    clock = draw(st.integers(0, 20) | st.just(torch.tensor([[3, 0]])))
    cell = any_cell(draw)
    groups = Groups(periods, sizes, clock, cell)
    T = draw(st.integers(2, 15))
    layer = make_layer(1, 2, T, sum(sizes), cell.columns)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(stepwise, "CALL", draw(st.sampled_from([0, 50])))
        monkeypatch.setattr(stepwise, "UNITS", draw(st.sampled_from([0, 9])))
        assert_right(layer, groups)


@pytest.mark.parametrize(
    "call, units, periods, group_sizes",
    [
        (1e9, 0, (1,), (13,)),
        (0, 0, (1, 2, 4, 6), (4, 4, 3, 2)),
        # Of 100 multiplications a step and unit, 9 units at every other step
        # spare 450, and then 5 at every 4th, 125; 2 at every 6th, 17. Steps
        # that are a multiple of 4 or 6 are even.
        (449, 0, (1, 2), (4, 9)),
        (451, 0, (1,), (13,)),
        (124, 0, (1, 2, 2), (4, 4, 5)),
        # With 3 units more, 300, and then 50.
        (299, 3, (1, 2), (4, 9)),
        (49, 3, (1, 2, 2), (4, 4, 5)),
        # With 4 units more, 250 at every other step, 275 at every 4th.
        (260, 4, (1, 2), (8, 5)),
    ],
)
def test_input_groups(monkeypatch, call, units, periods, group_sizes):
    """Merged with faster ones where that costs less than another product."""
    monkeypatch.setattr(stepwise, "CALL", call)
    monkeypatch.setattr(stepwise, "UNITS", units)
    layer = make_layer(1, 1, 10, 13)._replace(x=torch.zeros(1, 2, 10, 5))
    groups = Groups((1, 2, 4, 6), (4, 4, 3, 2), clock=3)
    merged = stepwise.input_groups(layer, groups)
    assert merged.group_sizes == group_sizes
    assert merged.periods == periods
    assert merged.clock == 3
    # Whatever the clocks, at every step something is seen.
    groups = Groups((2, 4), (8, 5), torch.tensor([[0, 1]]))
    merged = stepwise.input_groups(layer, groups)
    assert (merged.periods, merged.group_sizes) == ((1,), (13,))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("R, B", [(1, 1), (1, 99), (3, 30), (5, 4), (99, 1)])
@pytest.mark.parametrize("number", [1, 2])
def test_lanes(R, B, number, gated, nonlinearity, monkeypatch):
    """Full, partial and mixed vectors of lanes, at different clocks."""
    monkeypatch.setattr(threads, "WORTH", 0)
    cell = Cell(nonlinearity, gated)
    layer = make_layer(R, B, 7, 6, cell.columns)
    clock = torch.randint(3, (R, B))
    groups = Groups((1, 2, 3), (2, 1, 3), clock, cell)
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        assert_right(layer, groups)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("has_bias", [True, False])
def test_project_rows(has_bias, columns):
    """What is seen of the input where groups tick, whatever the strides."""
    x = torch.randn(4, 2, 3).double().transpose(0, 1)
    weight_ih = torch.randn(3, 6 * columns).double().mT
    bias = torch.randn(6 * columns).double() if has_bias else None
    cell = Cell(gated=columns == 2)
    groups = Groups((1, 2, 3), (2, 1, 3), 3, cell)
    z = cpu.project_rows(x, weight_ih, bias, groups)
    expected = torch.nn.functional.linear(x, weight_ih, bias)
    assert z.shape == expected.shape
    for period, rows in zip(groups.periods, groups.rows):
        ticks = slice(-3 % period, None, period)
        part = {"z": z[:, ticks, rows]}
        assert_equal(part, {"z": expected[:, ticks, rows]})


@pytest.mark.parametrize("shape", [(1, -1, 1, 1), (1, 1, -1, 1)])
def test_tanh(shape):
    """Rounded once, for any magnitude: of many sequences, and of one."""
    z = torch.cat([torch.logspace(-30, 2, 4001), torch.zeros(1)])
    z = torch.cat([z, -z]).reshape(shape)
    zero = torch.zeros(1, 1, 1)
    layer = Layer(z, zero + 1, zero, None, zero.expand(1, z.shape[1], 1))
    groups = Groups((1,), (1,))
    h = stepwise.forward(layer, project(layer, groups), groups, cpu)
    expected = z.double().tanh()
    error = (h.double() - expected).abs() / expected.abs()
    assert error.nan_to_num().max() < 2**-24
    assert h.abs().max() == 1
    # Not compiled, it is no other function.
    assert activations.tanh(0.5) == math.tanh(0.5)


@pytest.mark.parametrize("shape", [(1, -1, 1, 2), (1, 1, -1, 2)])
def test_sigmoid(shape):
    """Rounded once, where it is not far below the rounding of one."""
    z = torch.cat([torch.logspace(-30, 1, 4001), torch.zeros(1)])
    z = torch.cat([z, -z])
    # A state of one is held by the gate alone, and let go of by the mask.
    x = torch.stack([torch.zeros_like(z), z], -1).reshape(shape)
    one = torch.ones(1, x.shape[1], 1)
    layer = Layer(
        x, torch.eye(2)[None], torch.zeros(1, 2, 1), None, one, 0 * one
    )
    groups = Groups((1,), (1,), 0, Cell(gated=True))
    kept = project(layer, groups)
    stepwise.forward(layer, kept, groups, cpu)
    u, expected = kept.parts[0][..., 1].flatten(), z.double().sigmoid()
    error = (u.double() - expected).abs() / (expected + 2**-30)
    assert error.max() < 2**-23


def test_in_data_loader_workers(monkeypatch):
    """Works in a forked process after it worked, threaded, in this one."""
    from torch.utils.data import DataLoader

    layer, groups = make_layer(3, 40, 9, 3), Groups((1,), (3,))
    doutput = torch.randn_like(layer.x)
    monkeypatch.setattr(threads, "WORTH", 0)

    def collate(_):
        return run(layer, groups, doutput)["h"]

    expected = collate(None)
    loader = DataLoader([0, 1], num_workers=1, collate_fn=collate, timeout=60)
    for h in loader:
        assert torch.equal(h, expected)


def test_compiling_is_said(caplog, monkeypatch):
    """Once, and only what is ours."""
    monkeypatch.setattr(vectors.notice, "is_said", False)
    caplog.set_level("INFO")
    ours = cpu.kernels.__name__
    # A function that was made of a text has no module.
    for module in ("theirs", None, ours, ours):
        function = SimpleNamespace(__module__=module)
        data = {"dispatcher": SimpleNamespace(py_func=function)}
        with event.trigger_event("numba:compile", data=data):
            assert len(caplog.messages) == (module == ours)
    assert caplog.messages[0].startswith("Compiling for this CPU")
