"""A few steps in plain PyTorch, where groups that do not tick cost nothing."""

from functools import partial

import pytest
import torch
from helpers import assert_equal, random_layer
from torch.utils._python_dispatch import TorchDispatchMode

from speechbrain_cwrnn import (
    ClockworkLiGRU,
    ClockworkRNN,
    reference,
    stepwise,
)
from speechbrain_cwrnn.functional import (
    FEW,
    MANY,
    SHORT,
    clockwork_ligru,
    clockwork_rnn,
)
from speechbrain_cwrnn.stepwise import cpu


class Products(TorchDispatchMode):
    """Counts products with recurrent weights, which add to what is there."""

    count = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        """Run an operation, and count it."""
        self.count += op is torch.ops.aten.addmm.default
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("T", [1, 3, SHORT])
@pytest.mark.parametrize("clock", [0, 5, torch.tensor([5, 5])])
@pytest.mark.parametrize("gated", [False, True])
def test_few_steps(gated, clock, T):
    """Those of the equations, by one product for each tick, or by the compiled
    loop where nobody counts them."""
    layer = random_layer([2, 1, 3], B=2, T=T, F=3, columns=1 + gated)
    options = {"periods": (1, 2, 3), "clock": clock}
    function, equations = clockwork_rnn, reference.clockwork_rnn
    if gated:
        function, equations = clockwork_ligru, reference.clockwork_ligru
        options["mask"] = torch.tensor([[0.0, 2, 1, 2, 0, 2]] * 2).double()
    with torch.no_grad():
        bias = layer.pop("bias")
        with Products() as products:
            output, hn = function(**layer, **options)
        ticks = [
            t % period == 0
            for t in range(int(torch.as_tensor(clock).max()), 99)[:T]
            for period in (1, 2, 3)
        ]
        assert products.count == sum(ticks)
        run = partial(function, **layer, bias=bias, **options)
        expected = equations(**layer, bias=bias, **options)
        named = (dict(zip(("output", "hn"), y)) for y in (run(), expected))
        assert_equal(*named)


@pytest.mark.parametrize("gated", [False, True])
def test_past_the_end(gated):
    """The output is zero there, whatever becomes of the state, and so are the
    gradients that plain PyTorch finds."""
    layer = random_layer([2, 2], B=2, T=40, F=3, columns=1 + gated)
    layer["weight_hh"] = [1e30 * w.detach().abs() for w in layer["weight_hh"]]
    if gated:
        for w in layer["weight_hh"]:
            w[len(w) // 2 :].neg_()
    function = clockwork_ligru if gated else clockwork_rnn
    steps = torch.tensor([2, 1])

    def loss(weight_hh, T):
        inputs = {**layer, "x": layer["x"][:, :T], "weight_hh": weight_hh}
        output, hn = function(
            **inputs, periods=(1, 2), nonlinearity="relu", steps=steps
        )
        return output.sum() + hn.sum()

    gradients = torch.func.grad(loss)(layer["weight_hh"], 40)
    peers = torch.func.grad(loss)(layer["weight_hh"], 2)
    for actual, expected in zip(gradients, peers):
        assert expected.isfinite().all() and expected.any()
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("T", [1, 2])
def test_clocks_that_differ(T):
    """Each sequence ticks at its own; nobody is asked when."""
    layer = random_layer([2, 2], B=2, T=T, F=3)
    options = {"periods": (2, 3), "clock": torch.tensor([2, 3])}
    with torch.no_grad():
        output, _ = clockwork_rnn(**layer, **options)
        expected, _ = reference.clockwork_rnn(**layer, **options)
    assert_equal({"output": output}, {"output": expected})


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize(
    "B, T, is_few",
    [(1, 1, True), (MANY, SHORT, True), (MANY + 1, 2, False)]
    + [(FEW, SHORT + 1, True), (FEW + 1, SHORT + 1, False)],
)
@pytest.mark.parametrize("layer_class", [ClockworkRNN, ClockworkLiGRU])
def test_compiled(layer_class, B, T, is_few, nonlinearity, monkeypatch):
    """The loop reads weights where they are, whatever their strides, and gives
    what PyTorch does; where anything looks on, it is not called."""
    calls, seen = [], []

    def forward_rows(*args, **options):
        calls.append(args)
        return function(*args, **options)

    def project_rows(*args):
        seen.append(args)
        return project(*args)

    function, project = cpu.forward_rows, cpu.project_rows
    monkeypatch.setattr(cpu, "forward_rows", forward_rows)
    monkeypatch.setattr(cpu, "project_rows", project_rows)
    net = layer_class(
        7, input_size=3, periods=(1, 2, 3), nonlinearity=nonlinearity
    ).eval()
    row = net.weight_hh_l0_g1
    row.data = row.data.mT.contiguous().mT
    x = torch.randn(B, T, 3)
    expected, (h, clock) = net(x)
    more, _ = net(x, (h, clock))
    lengths = torch.linspace(0.4, 1.0, B)
    padded, last = net(x, lengths=lengths)
    assert not calls
    with torch.no_grad():
        output, (h, clock) = net(x)
        assert len(calls) == is_few
        # A norm may look at what stands between ticks.
        is_seen = layer_class is ClockworkRNN and T <= SHORT and B == 1
        assert len(seen) == is_seen
        again, _ = net(x, (h.double(), clock))
        assert len(calls) == 2 * is_few
        cut, end = net(x, lengths=lengths)
        assert len(calls) == 3 * is_few
        with Products():
            net(x)
        torch.vmap(net)(x.unsqueeze(0))
        # Autocast makes something else of them.
        with torch.autocast("cpu", torch.bfloat16):
            net(x)
        # Each product with the input would cost more than calling it.
        monkeypatch.setattr(stepwise, "CALL", -1)
        monkeypatch.setattr(stepwise, "UNITS", -7)
        net(x)
        assert len(calls) == (3 + (T <= SHORT)) * is_few
        net.backend = "eager"
        of_eager, _ = net(x)
        assert len(calls) == (3 + (T <= SHORT)) * is_few
    torch.testing.assert_close(of_eager, expected)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(again, more)
    torch.testing.assert_close((cut, end), (padded, last))
