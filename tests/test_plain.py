"""A few steps in plain PyTorch, where groups that do not tick cost nothing."""

from functools import partial

import pytest
import torch
from helpers import assert_equal, random_layer
from torch.utils._python_dispatch import TorchDispatchMode

from speechbrain_cwrnn import reference
from speechbrain_cwrnn.functional import (
    SHORT,
    clockwork_ligru,
    clockwork_rnn,
)


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
    """Those of the equations, by one product for each tick."""
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
