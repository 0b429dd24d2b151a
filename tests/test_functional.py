"""A layer in one direction, against the equations of the paper."""

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
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from speechbrain_cwrnn import ClockworkRNN, reference
from speechbrain_cwrnn.backend import choose
from speechbrain_cwrnn.clock import MAX_CLOCK, MAX_PERIOD, Groups
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.functional import clockwork_rnn, dense_weight
from speechbrain_cwrnn.inputs import project, project_backward
from speechbrain_cwrnn.linear import Layer

PERIODS = [(1, 2, 4, 8), (1, 3, 5, 7), (2, 3, 4, 11), (1, 2, 3), (1,), (5,)]


@pytest.mark.parametrize("engine", CPU_ENGINES)
@given(st.data())
def test_equals_reference(engine, data):
    """Output, final state and all gradients in float64, for any shapes."""
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
    )
    options = {
        "periods": periods,
        "clock": clock,
        "nonlinearity": draw(st.sampled_from(["tanh", "relu"])),
    }
    expected = all_tensors(reference.clockwork_rnn, layer, **options)
    actual = all_tensors(clockwork_rnn, layer, **options, backend=engine)
    assert_equal(actual, expected)


FAR_CLOCKS = [MAX_CLOCK, MAX_PERIOD - 1, torch.tensor([MAX_CLOCK - 3, 5])]
LONG_PERIODS = [(1, 2, MAX_PERIOD), (3, 2**20, 2**30 + 1), (MAX_PERIOD,)]


@pytest.mark.parametrize("T", [1, 9])
@pytest.mark.parametrize("clock", FAR_CLOCKS)
@pytest.mark.parametrize("periods", LONG_PERIODS)
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_far_clocks_and_long_periods(engine, periods, clock, T):
    """Up to the largest that there are, no engine counts wrongly."""
    layer = random_layer([2] * len(periods), B=2, T=T, F=2)
    options = {"periods": periods, "clock": clock}
    expected = all_tensors(reference.clockwork_rnn, layer, **options)
    actual = all_tensors(clockwork_rnn, layer, **options, backend=engine)
    assert_equal(actual, expected)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        """Run an operation, and look at its result."""
        result = op(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.numel())
        return result


@pytest.mark.parametrize("clock", [*FAR_CLOCKS, 0, torch.tensor([0, 40])])
@pytest.mark.parametrize("periods", [*LONG_PERIODS, (1, 49), (7, 20), (1, 2)])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_memory_follows_steps(engine, periods, clock):
    """No tensor is much larger than the output, whatever the periods."""
    T, sizes = 50, (2,) * len(periods)
    clock = clock if isinstance(clock, int) else clock.unsqueeze(0)
    groups = Groups(periods, sizes, clock)
    layer = random_layer(sizes, B=2, T=T, F=sum(sizes))
    layer["weight"] = dense_weight(layer.pop("weight_hh"))
    layer = Layer(**{name: t.detach()[None] for name, t in layer.items()})
    way, engine = choose(engine, layer.x, groups)
    with Largest() as largest:
        z = project(layer, way.input_groups(layer, groups))
        output = way.forward(layer, z, groups, engine)
        # A cell without gates needs no z any more.
        dz, *_ = way.backward(output, output, None, layer, groups, engine)
        project_backward(dz, layer, needs_dx=True)
    assert output.numel() <= largest.numel <= 2 * output.numel()


@pytest.mark.parametrize("periods", PERIODS)
@pytest.mark.parametrize("clock", [0, 3, torch.tensor([0, 3])])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_float32(engine, periods, clock):
    """At most twice the error of plain PyTorch in float32."""
    exact_layer = random_layer([6] * len(periods), B=2, T=60, F=5)
    layer = cast(exact_layer, torch.float32)
    exact_layer = cast(layer, torch.float64)
    options = {"periods": periods, "clock": clock}
    assert_as_exact(
        all_tensors(clockwork_rnn, layer, **options, backend=engine),
        plain=all_tensors(reference.clockwork_rnn, layer, **options),
        exact=all_tensors(reference.clockwork_rnn, exact_layer, **options),
    )


def leaves_and_function(layer, function=clockwork_rnn, **options):
    """The tensors of a layer, and what computes it from these alone."""
    names = [name for name in layer if name != "weight_hh"]
    leaves = *[layer[name] for name in names], *layer["weight_hh"]

    def call(*leaves):
        return function(
            **dict(zip(names, leaves)),
            weight_hh=leaves[len(names) :],
            **options,
        )

    return leaves, call


@pytest.mark.parametrize("T", [1, 2, 7])
@pytest.mark.parametrize("periods", [(1, 2, 4), (2, 3, 5)])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_gradcheck(engine, periods, T):
    """Derivatives against finite differences, backwards and forwards."""
    layer = random_layer([2, 1, 2], B=2, T=T, F=2)
    leaves, function = leaves_and_function(
        layer, periods=periods, backend=engine
    )
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradcheck(
        function, leaves, check_forward_ad=True, fast_mode=True
    )


@pytest.mark.parametrize("clock", [1, torch.tensor([0, 3])])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_second_derivatives(engine, bias, clock):
    """Against finite differences; of many layers at once, too. The first ones
    are what they are elsewhere."""
    layer = random_layer([2, 1, 2], B=2, T=4, F=2, bias=bias)
    if not bias:
        del layer["bias"]
    leaves, function = leaves_and_function(
        layer, periods=(1, 2, 3), clock=clock, backend=engine
    )
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)
    loss = function(*leaves)[0].square().sum()
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    expected = torch.autograd.grad(loss, leaves)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-12)
    stacked = [
        torch.stack([leaf, -leaf]).detach().requires_grad_() for leaf in leaves
    ]
    assert torch.autograd.gradgradcheck(
        torch.vmap(function), stacked, fast_mode=True
    )


def transformed(layer, function, **options):
    """What transforms of torch.func make of a layer."""
    leaves, call = leaves_and_function(layer, function, **options)
    leaves = [leaf.detach() for leaf in leaves]
    x, *others = leaves

    def loss(*leaves):
        return call(*leaves)[0].square().sum()

    def sample_loss(x):
        return loss(x.expand(2, -1, -1), *others)

    every = tuple(range(len(leaves)))
    return {
        "jvp": torch.func.jvp(call, tuple(leaves), tuple(leaves)),
        "jacfwd": torch.func.jacfwd(call, every)(*leaves),
        "jacrev": torch.func.jacrev(call, every)(*leaves),
        "grad": torch.func.grad(loss, every)(*leaves),
        "hessian": torch.func.hessian(loss, 2)(*leaves),
        "per sample": torch.vmap(torch.func.grad(sample_loss))(x),
        "of a vmap": torch.func.grad(
            lambda x: torch.vmap(sample_loss)(x).square().sum()
        )(x),
        "jvp of a vmap": torch.func.jvp(torch.vmap(sample_loss), (x,), (x,)),
    }


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_transforms(engine):
    """Those of torch.func give what they give of the equations."""
    layer = random_layer([2, 1, 2], B=2, T=5, F=2)
    options = {"periods": (1, 2, 3), "clock": 1}
    expected = transformed(layer, reference.clockwork_rnn, **options)
    actual = transformed(layer, clockwork_rnn, **options, backend=engine)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)


def test_transforms_compiled():
    """The same inside torch.compile, in one graph."""
    layer = random_layer([2, 3], B=2, T=4, F=2)
    leaves, function = leaves_and_function(layer, periods=(1, 3))
    x, *others = [leaf.detach() for leaf in leaves]

    def derivatives(x):
        def loss(x):
            return function(x, *others)[0].square().sum()

        return torch.func.grad(loss)(x), torch.func.jvp(loss, (x,), (x,))

    compiled = torch.compile(derivatives, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), derivatives(x))


CHANGES = {
    "relu": lambda y: torch.nn.ReLU(inplace=True)(y),
    "product": lambda y: y.mul_(torch.arange(y.numel()).reshape(y.shape)),
    "index": lambda y: y.index_fill_(1, torch.tensor([0]), 2.0),
    "without gradient": lambda y: y.detach().zero_(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_changed_in_place(engine, T, change):
    """What is returned may be changed, and gradients are of what it was."""
    layer = random_layer([2, 3], B=2, T=T, F=3)
    leaves, function = leaves_and_function(
        layer, periods=(1, 3), backend=engine
    )
    for of in (0, 1):
        results = function(*leaves)
        copies = [y.clone() for y in results]
        loss = results[0].mul(3).sum()
        expected = loss + (CHANGES[change](copies[of]) ** 2).sum()
        expected = torch.autograd.grad(expected, leaves, retain_graph=True)
        changed = CHANGES[change](results[of])
        assert torch.equal(results[1 - of], copies[1 - of])
        actual = torch.autograd.grad(loss + (changed**2).sum(), leaves)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_saved_by_hooks_alone():
    """What checkpointing and the like put away is not kept elsewhere."""
    layer = random_layer([2, 3], B=2, T=5, F=3)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t.numel(), int)
    with hooks:
        output, _ = clockwork_rnn(**layer, periods=(1, 2))
        loss = output.sum()
    memory = StorageWeakRef(output.untyped_storage())
    del output
    assert loss.requires_grad and memory.expired()


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_vmap(engine):
    """vmap over layers equals a loop over them, gradients included."""
    layers = [random_layer([2, 3], B=2, T=9, F=2) for _ in range(3)]
    leaves = [layer[name] for layer in layers for name in ("x", "bias", "h0")]
    leaves += [row for layer in layers for row in layer["weight_hh"]]
    stacked = {
        name: torch.stack([layer[name] for layer in layers])
        for name in ("x", "weight_ih", "bias", "h0")
    }
    stacked["weight_hh"] = [
        torch.stack(rows) for rows in zip(*(w["weight_hh"] for w in layers))
    ]

    def function(layer):
        return clockwork_rnn(**layer, periods=(1, 3), backend=engine)

    output, hn = torch.vmap(function)(stacked)
    outputs, hns = zip(*map(function, layers))
    outputs, hns = torch.stack(outputs), torch.stack(hns)
    torch.testing.assert_close(output, outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(hn, hns, rtol=0, atol=1e-12)

    cotangent = torch.randn_like(output)
    actual = torch.autograd.grad(output, leaves, cotangent)
    expected = torch.autograd.grad(outputs, leaves, cotangent)
    for a, e in zip(actual, expected):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_vmap_over_inputs(engine):
    """vmap over the input alone, with the same weights for all."""
    layer = random_layer([2, 3], B=2, T=9, F=2)
    x = torch.randn(3, *layer.pop("x").shape, dtype=torch.float64)

    def function(x):
        return clockwork_rnn(x, **layer, periods=(1, 3), backend=engine)[0]

    expected = torch.stack([function(x_n) for x_n in x])
    for dim in range(3):
        actual = torch.vmap(function, in_dims=dim)(x.movedim(0, dim))
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", [*CPU_ENGINES, "auto"])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 2, 3)])
def test_compile_and_export(engine, periods):
    """One graph, whole, for all lengths and batch sizes."""
    # Of this size, the shortest and the longest have different engines.
    net = ClockworkRNN(255, input_size=3, periods=periods, backend=engine)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=counter)
    sizes = {"x": {0: Dim("B", min=2, max=64), 1: Dim("T", min=9, max=999)}}
    exported = export(net, (torch.randn(2, 20, 3),), dynamic_shapes=sizes)
    compiled(torch.randn(2, 20, 3))
    frames = counter.frame_count
    for B, T in [(2, 31), (3, 9), (5, 57)]:
        x = torch.randn(B, T, 3)
        expected = net(x)[0]
        torch.testing.assert_close(compiled(x)[0], expected)
        torch.testing.assert_close(exported.module()(x)[0], expected)
    assert counter.frame_count == frames > 0
    assert engine != "auto" or net.engine(2, 31) != net.engine(5, 57)


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight_ih": (4, 3)}, r"weight_ih of shape \(4, 3\): .* \(5, 3\)"),
        ({"weight_ih": (5, 2)}, r"weight_ih of shape \(5, 2\): .* \(5, 3\)"),
        ({"h0": (1, 5)}, r"h0 of shape \(1, 5\): expected \(2, 5\)"),
        ({"h0": (2, 4)}, r"h0 of shape \(2, 4\): expected \(2, 5\)"),
        ({"bias": (1,)}, r"bias of shape \(1,\): expected \(5,\)"),
        ({"clock": (1,)}, r"clock of shape \(1,\): expected \(2,\)"),
        ({"row": (3, 4)}, r"weight_hh\[1\] of shape \(3, 4\): .* \(3, 3\)"),
    ],
)
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_shapes_that_do_not_fit(engine, change, message, T):
    """An error: compiled loops would read and write what is not theirs."""
    layer = random_layer([2, 3], B=2, T=T, F=3)
    ((name, shape),) = change.items()
    if name == "row":
        layer["weight_hh"][1] = torch.randn(shape, dtype=torch.float64)
    elif name == "clock":
        layer["clock"] = torch.zeros(shape, dtype=torch.long)
    else:
        layer[name] = torch.randn(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        clockwork_rnn(**layer, periods=(1, 2), backend=engine)


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("name", ["x", "weight_ih", "weight_hh", "bias"])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_dtypes_that_differ(engine, name, T):
    """An error, as of PyTorch's own layers, and no number in either."""
    layer = random_layer([2, 3], B=2, T=T, F=3)
    single = cast(layer, torch.float32)
    if name == "weight_hh":
        layer["weight_hh"][1] = single["weight_hh"][1]
    else:
        layer[name] = single[name]
    with pytest.raises(ValueError, match="in torch.float.*: expected torch.fl"):
        clockwork_rnn(**layer, periods=(1, 2), backend=engine)


def test_other_options():
    """Any integer is a clock, and not any function a nonlinearity."""
    layer = random_layer([2, 3], B=2, T=5, F=3)
    expected, _ = clockwork_rnn(**layer, periods=(1, 2), clock=3)
    clock = torch.tensor(3).numpy()[()]
    output, _ = clockwork_rnn(**layer, periods=(1, 2), clock=clock)
    assert torch.equal(output, expected)
    with pytest.raises(ValueError, match="nonlinearity='selu': expected one"):
        clockwork_rnn(**layer, periods=(1, 2), nonlinearity="selu")


BAD = {
    "a list": ({"x": [[[0.0]]]}, "x of type list: expected a dense"),
    "two dimensions": ({"x": torch.rand(5, 3)}, r"\(5, 3\): expected \[batch"),
    "no steps": ({"x": torch.rand(2, 0, 3)}, "with at least one step"),
    "integers": ({"x": torch.ones(2, 5, 3).long()}, "x in torch.int64: expect"),
    "complex": ({"h0": torch.ones(2, 5) * 1j}, "h0 in torch.complex64: exp"),
    "sparse": (
        {"weight_ih": torch.rand(5, 3).to_sparse()},
        "weight_ih, torch.sparse_coo: expected a dense",
    ),
    "nested": (
        {
            "x": torch.nested.nested_tensor(
                [torch.rand(5, 3)] * 2, layout=torch.jagged
            )
        },
        "x, nested: expected a dense",
    ),
    "elsewhere": (
        {"bias": torch.empty(5, device="meta")},
        "bias on meta: expected cpu",
    ),
    "not an array": ({"h0": 0.0}, "h0 of type float: expected a dense"),
    "nothing": ({"weight_ih": None}, "weight_ih of type NoneType: expected"),
    "no rows": ({"weight_hh": []}, "one for each of the 0 block rows"),
    "a matrix": ({"weight_hh": torch.rand(5, 5)}, "expected a list of tensors"),
    "numbers": ({"weight_hh": [torch.tensor(1.0)] * 2}, "weight_ih of shape"),
    "falling periods": ({"periods": (2, 1)}, "periods=.2, 1.: expected stri"),
    "clock": ({"clock": -1}, "clock=-1: expected"),
    "clocks": ({"clock": torch.tensor([0.0, 0.5])}, "clock in torch.float32"),
    "backend": ({"backend": "gpu"}, "backend='gpu': expected one of"),
    "a list of steps": ({"steps": [1, 1]}, "steps of type list: expected a"),
    "other steps": (
        {"steps": torch.ones(3).long()},
        r"steps of shape \(3,\) in torch.int64: expected .* each of 2",
    ),
    "lengths": ({"steps": torch.ones(2)}, r"in torch.float32: expected .* in"),
    "no step": (
        {"steps": torch.tensor([1, 0])},
        r"steps=\[1, 0\]: expected from 1 to [15], as many as x has",
    ),
    "more steps": ({"steps": torch.tensor([1, 6])}, r"steps=\[1, 6\]: expect"),
}


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, T):
    """One sentence, for a single step as for many."""
    change, message = BAD[case]
    layer = cast(random_layer([2, 3], B=2, T=T, F=3), torch.float32)
    with pytest.raises(InputError, match=message):
        clockwork_rnn(**{**layer, "periods": (1, 2), **change})


@pytest.mark.parametrize("T", [1, 300])
@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_odd_input(engine, T):
    """Any strides, memory that is shared, and clocks in a byte."""
    x = torch.rand(3, T, 1, dtype=torch.float64).permute(2, 1, 0)
    weight = torch.rand(5, 5, dtype=torch.float64) / 5
    layer = {
        "x": x.expand(2, -1, -1),
        "weight_ih": weight.T[:, 1:4],
        "weight_hh": torch.nn.ParameterList([weight[:2], weight[2:, 2:]]),
        "bias": weight[0, :1].expand(5),
        "clock": torch.tensor([250, 255], dtype=torch.uint8),
        "periods": (2, 7),
    }
    expected, _ = reference.clockwork_rnn(
        **{**layer, "clock": torch.tensor([250, 255])}
    )
    output, _ = clockwork_rnn(**layer, backend=engine)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    with torch.inference_mode():
        output, _ = clockwork_rnn(**layer, backend=engine)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("B", [0, 2])
def test_empty(B):
    """No sequences, or no input features, are what they are elsewhere."""
    layer = random_layer([2, 3], B=B, T=4, F=0)
    options = {"periods": (1, 3), "clock": torch.zeros(B, dtype=torch.long)}
    assert_equal(
        all_tensors(clockwork_rnn, layer, **options),
        all_tensors(reference.clockwork_rnn, layer, **options),
    )


def test_number_of_periods():
    """One period per block row."""
    layer = random_layer([2, 3], B=1, T=2, F=1)
    with pytest.raises(ValueError, match=r"periods=\(1,\): .* 2 block rows"):
        clockwork_rnn(**layer, periods=(1,))


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("clocks", [None, torch.tensor([[0, 1], [2, 3]])])
def test_opcheck(engine, clocks):
    """What torch.compile and torch.export assume of an operator holds."""
    layers = [random_layer([2, 3], B=2, T=4, F=3) for _ in range(2)]
    for layer in layers:
        layer["weight"] = dense_weight(layer.pop("weight_hh"))
    names = ("x", "weight_ih", "weight", "bias", "h0")
    x, weight_ih, weight, bias, h0 = (
        torch.stack([layer[name] for layer in layers]).detach().requires_grad_()
        for name in names
    )
    options = clocks, 0, [1, 3], [2, 3], "tanh", engine
    steps = torch.tensor([[4, 1], [2, 3]])
    op = torch.ops.speechbrain_cwrnn.clockwork_rnn
    tensors = x, weight_ih, weight, bias, h0
    torch.library.opcheck(
        op,
        (*tensors, steps, *options),
        test_utils=(
            "test_autograd_registration",
            "test_faketensor",
            "test_aot_dispatch_dynamic",
        ),
    )
    # Of what is saved for the gradient there is no schema.
    detached = (tensor.detach() for tensor in tensors)
    arguments = *detached, steps, *options
    torch.library.opcheck(op, arguments, test_utils="test_schema")
    output = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    for needs_dx in (False, True):
        torch.library.opcheck(
            torch.ops.speechbrain_cwrnn.clockwork_rnn_backward,
            (output, output, x, weight_ih, weight, h0, *options, needs_dx),
            test_utils=("test_schema", "test_faketensor"),
        )


@pytest.mark.parametrize("T", [1, 5])
def test_autocast(T):
    """Half precision for what autocast makes so: not for float64."""
    layer = random_layer([2, 3], B=2, T=T, F=3)
    expected, _ = clockwork_rnn(**layer, periods=(1, 2))
    single = cast(layer, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output, hn = clockwork_rnn(**layer, periods=(1, 2))
        half, half_hn = clockwork_rnn(**single, periods=(1, 2))
    assert output.dtype == hn.dtype == torch.float64
    assert torch.equal(output, expected)
    assert half.dtype == half_hn.dtype == torch.bfloat16
    assert (half - expected).abs().max() < 0.05
    half.sum().backward()
    assert single["x"].grad.dtype == torch.float32
    # The input may be what another layer made.
    single["x"] = single["x"].detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        again, _ = clockwork_rnn(**single, periods=(1, 2))
    assert torch.equal(again, half)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_extreme_values(engine):
    """Large z saturates exactly; NaN and infinity go their way."""
    x = torch.tensor([1e4, -1e4, torch.inf, torch.nan, 0]).reshape(5, 1, 1)
    x = torch.cat([x, x], dim=1)
    one = torch.ones(1, 1)
    h, _ = clockwork_rnn(x, one, [0 * one], periods=[1], backend=engine)
    assert h[:3, 0].flatten().tolist() == [1, -1, 1]
    assert h[3].isnan().all() and not h[4].any()
