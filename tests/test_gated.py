"""A gated layer in one direction, against its equations."""

import pytest
import torch
from helpers import (
    CPU_ENGINES,
    all_tensors,
    assert_as_exact,
    assert_equal,
    cast,
    random_layer,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim, export

from speechbrain_cwrnn import reference
from speechbrain_cwrnn.cells import NONLINEARITIES
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.functional import clockwork_ligru
from speechbrain_cwrnn.norm import BatchNorm

PERIODS = [(1, 2, 4, 8), (1, 3, 5, 7), (2, 3, 4, 11), (1, 2, 3), (1,), (5,)]


def batchnorms(sizes, dtype=torch.float64):
    """Ours, for places in time, and the same for ticks as rows."""
    ours = [BatchNorm(2 * k).to(dtype) for k in sizes]
    theirs = [nn.BatchNorm1d(2 * k, momentum=0.05).to(dtype) for k in sizes]
    for pair in zip(ours, theirs):
        for norm in pair:
            with torch.no_grad():
                torch.manual_seed(len(norm.weight))
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_()
    return ours, theirs


@pytest.mark.parametrize("engine", CPU_ENGINES)
@given(st.data())
def test_equals_reference(engine, data):
    """Output, final state, gradients and statistics, for any shapes."""
    draw = data.draw
    any_periods = st.lists(st.integers(1, 40), min_size=1, max_size=5)
    periods = draw(
        st.sampled_from(PERIODS)
        | any_periods.map(lambda p: tuple(sorted(set(p))))
    )
    sizes = [draw(st.integers(1, 3)) for _ in periods]
    B = draw(st.integers(1, 3))
    clocks = st.integers(0, 100)
    clock = draw(
        clocks | st.lists(clocks, min_size=B, max_size=B).map(torch.tensor)
    )
    torch.manual_seed(draw(st.integers(0, 1000)))
    layer = random_layer(
        sizes,
        B,
        T=draw(st.integers(1, 30)),
        F=draw(st.integers(0, 2)),
        bias=draw(st.booleans()),
        h0=draw(st.booleans()),
        columns=2,
    )
    options = {
        "periods": periods,
        "clock": clock,
        "nonlinearity": draw(st.sampled_from(NONLINEARITIES)),
    }
    if draw(st.booleans()):
        options["mask"] = torch.randint(3, (B, sum(sizes))).double()
    expected = all_tensors(reference.clockwork_ligru, layer, **options)
    actual = all_tensors(clockwork_ligru, layer, **options, backend=engine)
    assert_equal(actual, expected)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_ticks_past_the_end(engine):
    """Where no sequence ticks, there is no gradient; nor is there one of what
    memory held before."""
    layer = random_layer([2], B=2, T=3, F=2, columns=2)
    options = {"periods": (6,), "clock": torch.tensor([1, 2])}
    # New memory is filled with NaN then.
    torch.use_deterministic_algorithms(True)
    try:
        actual = all_tensors(clockwork_ligru, layer, **options, backend=engine)
    finally:
        torch.use_deterministic_algorithms(False)
    expected = all_tensors(reference.clockwork_ligru, layer, **options)
    assert_equal(actual, expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("clock", [0, 3, torch.tensor([0, 3, 8])])
@pytest.mark.parametrize("T", [1, 20])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 3, 5)])
def test_normalized(periods, T, clock, training):
    """What a group sees is normalised over its ticks, and over no others."""
    sizes = [3, 2, 2]
    layer = random_layer(sizes, B=3, T=T, F=3, columns=2, bias=False)
    ours, theirs = batchnorms(sizes)
    for norm in (*ours, *theirs):
        norm.train(training)
    options = {"periods": periods, "clock": clock}

    def rows(norm):
        # Theirs refuses a single row, and one makes nothing of none.
        return lambda z: norm(z) if len(z) > 1 else ours_again(z, norm)

    def ours_again(z, norm):
        one = BatchNorm(len(norm.weight)).double().train(training)
        one.load_state_dict(norm.state_dict())
        y = one(z.unsqueeze(0)).squeeze(0)
        norm.load_state_dict(one.state_dict())
        return y

    expected = all_tensors(
        reference.clockwork_ligru,
        layer,
        **options,
        norms=[rows(norm) for norm in theirs],
    )
    actual = all_tensors(clockwork_ligru, layer, **options, norms=ours)
    assert_equal(actual, expected, rtol=1e-10)
    for one, other in zip(ours, theirs):
        for name, buffer in other.named_buffers():
            torch.testing.assert_close(one.get_buffer(name), buffer)


@pytest.mark.parametrize("clock", [2, torch.tensor([0, 3])])
def test_padding_is_not_normalized(clock):
    """As if each sequence had ended where it ends."""
    sizes, steps = [3, 2], torch.tensor([9, 4])
    layer = random_layer(sizes, B=2, T=9, F=3, columns=2)
    other = {**layer, "x": layer["x"].detach().clone()}
    other["x"][1, 4:] = 77
    ours, _ = batchnorms(sizes)
    again, _ = batchnorms(sizes)
    options = {"periods": (1, 3), "clock": clock, "steps": steps}
    expected, _ = clockwork_ligru(**layer, **options, norms=ours)
    actual, _ = clockwork_ligru(**other, **options, norms=again)
    for b, n in enumerate(steps):
        torch.testing.assert_close(actual[b, :n], expected[b, :n])
    for one, two in zip(ours, again):
        for name, buffer in one.named_buffers():
            torch.testing.assert_close(two.get_buffer(name), buffer)


@pytest.mark.parametrize("periods", PERIODS)
@pytest.mark.parametrize("clock", [0, torch.tensor([0, 3])])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_float32(engine, periods, clock):
    """At most twice the error of plain PyTorch in float32."""
    exact = random_layer([6] * len(periods), B=2, T=60, F=5, columns=2)
    layer = cast(exact, torch.float32)
    exact = cast(layer, torch.float64)
    options = {"periods": periods, "clock": clock}
    function = reference.clockwork_ligru
    assert_as_exact(
        all_tensors(clockwork_ligru, layer, **options, backend=engine),
        plain=all_tensors(function, layer, **options),
        exact=all_tensors(function, exact, **options),
    )


def leaves_and_function(layer, **options):
    """The tensors of a layer, and the layer as a function of these."""
    names = list(layer)
    rows = len(layer["weight_hh"])
    leaves = [layer[n] for n in names if n != "weight_hh"]
    names.remove("weight_hh")

    def function(*args):
        tensors = dict(zip(names, args[: len(names)]))
        rows_given = list(args[len(names) :])
        assert len(rows_given) == rows
        return clockwork_ligru(**tensors, weight_hh=rows_given, **options)[0]

    return [*leaves, *layer["weight_hh"]], function


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_gradcheck(engine):
    """Gradients against finite differences, with a normalisation."""
    layer = random_layer([2, 2], B=2, T=7, F=2, columns=2)
    norms, _ = batchnorms([2, 2])
    leaves, function = leaves_and_function(
        layer, periods=(1, 3), norms=norms, backend=engine
    )
    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("clock", [1, torch.tensor([1, 2])])
def test_transforms(clock):
    """Those of torch.func go through, forwards and twice."""
    layer = random_layer([2, 1], B=2, T=5, F=2, columns=2)
    norms, _ = batchnorms([2, 1])
    for norm in norms:
        norm.eval()
    leaves, function = leaves_and_function(
        layer, periods=(1, 3), clock=clock, norms=norms
    )
    x, *others = (leaf.detach() for leaf in leaves)
    dx = torch.randn_like(x)

    def loss(x):
        return function(x, *others).square().sum()

    wanted = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(wanted), wanted)
    torch.testing.assert_close(torch.func.grad(loss)(x), gradient)
    _, slope = torch.func.jvp(loss, (x,), (dx,))
    torch.testing.assert_close(slope, (gradient * dx).sum())
    hessian = torch.func.hessian(loss)(x)
    (after,) = torch.autograd.grad(
        loss(step := (x + 1e-6 * dx).requires_grad_()), step
    )
    change = torch.tensordot(hessian, dx, 3)
    torch.testing.assert_close(
        change, (after - gradient) / 1e-6, rtol=1e-4, atol=1e-4
    )


def test_second_derivative():
    """One sentence tells how it is to be had."""
    layer = random_layer([2, 1], B=2, T=5, F=2, columns=2)
    leaves, function = leaves_and_function(layer, periods=(1, 3))
    output = function(*leaves).sum()
    with pytest.raises(RuntimeError, match="expected it by torch.func"):
        torch.autograd.grad(output, leaves[0], create_graph=True)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_vmap(engine):
    """vmap over layers equals a loop over them, gradients included."""
    layers = [random_layer([2, 3], B=2, T=9, F=2, columns=2) for _ in range(3)]
    options = {"periods": (1, 3), "backend": engine}
    options["mask"] = torch.tensor([1.0, 0, 2, 2, 0]).double().expand(2, 5)
    pairs = [leaves_and_function(layer, **options) for layer in layers]
    leaves = [leaf for leaves, _ in pairs for leaf in leaves]
    expected = torch.stack([function(*leaves) for leaves, function in pairs])
    stacked = [torch.stack(tensors) for tensors in zip(*(p[0] for p in pairs))]
    actual = torch.vmap(pairs[0][1])(*stacked)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(expected)
    for a, e in zip(
        torch.autograd.grad(actual, leaves, cotangent),
        torch.autograd.grad(expected, leaves, cotangent),
    ):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-12)


# To a compiler all engines are the same node; one that is fixed will do.
@pytest.mark.parametrize("engine", ["eager", "auto"])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 2, 3)])
def test_compile_and_export(engine, periods):
    """One graph, whole, for all lengths and batch sizes."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            layer = cast(random_layer([2, 3, 2], 2, 9, 3, columns=2), DTYPE)
            layer.pop("x"), layer.pop("h0")
            self.rows = nn.ParameterList(layer.pop("weight_hh"))
            self.weight_ih = nn.Parameter(layer["weight_ih"])
            self.bias = nn.Parameter(layer["bias"])
            self.norms = nn.ModuleList(BatchNorm(2 * k) for k in (2, 3, 2))

        def forward(self, x, steps):
            return clockwork_ligru(
                x,
                self.weight_ih,
                [self.rows[i] for i in range(3)],
                self.bias,
                periods=periods,
                norms=self.norms,
                steps=steps,
                backend=engine,
            )[0]

    net = Layer()
    torch._dynamo.reset()
    compiled = torch.compile(
        net, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for B, T in [(2, 31), (3, 9)]:
        x, steps = torch.randn(B, T, 3), torch.randint(1, T, (B,))
        results = []
        for layer in (net, compiled):
            output = layer(x, steps)
            wrt = list(net.parameters())
            torch.manual_seed(1)
            gradients = torch.autograd.grad(
                output, wrt, torch.randn_like(output)
            )
            results.append((output, *gradients))
        torch.testing.assert_close(*results)
    net.eval()
    B, T = Dim("B", min=2, max=64), Dim("T", min=9, max=999)
    exported = export(
        net,
        (torch.randn(2, 20, 3), torch.tensor([20, 7])),
        dynamic_shapes={"x": {0: B, 1: T}, "steps": {0: B}},
    )
    torch.testing.assert_close(exported.module()(x, steps), net(x, steps))


DTYPE = torch.float32


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_changed_in_place(engine, T):
    """What is returned may be changed, and gradients are of what it was."""
    layer = random_layer([2, 3], B=2, T=T, F=3, columns=2)
    results = []
    for in_place in (True, False):
        output, hn = clockwork_ligru(**layer, periods=(1, 3), backend=engine)
        total = 2 * output.sum() + hn.sum()
        y = output.mul_(3) if in_place else output * 3
        wrt = [layer["x"], layer["h0"], *layer["weight_hh"]]
        loss = total + y.square().sum()
        results.append(torch.autograd.grad(loss, wrt))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_autocast():
    """States in half precision, gradients as the parameters."""
    layer = cast(random_layer([8, 4], 3, 20, 5, columns=2), torch.float32)
    norms, _ = batchnorms([8, 4], torch.float32)
    expected, _ = clockwork_ligru(**layer, periods=(1, 2), norms=norms)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = clockwork_ligru(**layer, periods=(1, 2), norms=norms)
    assert output.dtype == torch.bfloat16
    assert (output - expected).abs().max() < 0.05
    wrt = [layer["x"], layer["weight_ih"], *layer["weight_hh"]]
    for gradient in torch.autograd.grad(output.float().sum(), wrt):
        assert gradient.dtype == torch.float32 and gradient.isfinite().all()


@pytest.mark.parametrize("number", [1, 3])
def test_other_norms(number):
    """Each group has one."""
    layer = random_layer([2, 3], B=2, T=5, F=3, columns=2)
    norms, _ = batchnorms([2] * number)
    with pytest.raises(InputError, match=f"^{number} norms: expected .* 2 gro"):
        clockwork_ligru(**layer, periods=(1, 2), norms=norms)


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight_ih": (5, 3)}, r"weight_ih of shape \(5, 3\): .* \(10, 3\)"),
        ({"bias": (5,)}, r"bias of shape \(5,\): expected \(10,\)"),
        ({"h0": (2, 10)}, r"h0 of shape \(2, 10\): expected \(2, 5\)"),
        ({"mask": (5,)}, r"mask of shape \(5,\): expected \(2, 5\)"),
    ],
)
def test_shapes_that_do_not_fit(change, message, T):
    """Two rows for each unit, in input and recurrent weights."""
    layer = random_layer([2, 3], B=2, T=T, F=3, columns=2)
    ((name, shape),) = change.items()
    layer[name] = torch.randn(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        clockwork_ligru(**layer, periods=(1, 2))
