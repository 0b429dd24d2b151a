"""The paper's LSTM, against PyTorch's and against numbers by hand."""

import math

import pytest
import torch
from helpers import assert_as_exact, assert_equal
from torch._subclasses import FakeTensorMode

from speechbrain_cwrnn import Ensemble, peephole, peephole_cpu, threads
from speechbrain_cwrnn.peephole import PeepholeLSTM


class Plain(PeepholeLSTM):
    """The equations as they stand in the docstring, which PyTorch
    differentiates."""

    def forward(self, x, hx):
        """The same as that of the layer."""
        (h,), (c,) = hx
        (V_i, V_f, V_c, V_o), (W_i, W_f, W_c, W_o), (b_i, b_f, b_c, b_o) = (
            tensor.chunk(4)
            for tensor in (self.weight_ih, self.weight_hh, self.bias)
        )
        p_i, p_f, p_o = self.peepholes
        output = []
        for x_t in x.unbind(1):
            i = torch.sigmoid(x_t @ V_i.T + h @ W_i.T + p_i * c + b_i)
            f = x_t @ V_f.T + h @ W_f.T + p_f * c + b_f
            f = torch.sigmoid(f + self.forget_bias)
            c = f * c + i * torch.tanh(x_t @ V_c.T + h @ W_c.T + b_c)
            o = torch.sigmoid(x_t @ V_o.T + h @ W_o.T + p_o * c + b_o)
            h = (
                o
                * {
                    "tanh": torch.tanh(c),
                    "tanhx2": 2 * torch.tanh(c),
                    "sigmoid": torch.sigmoid(c),
                }[self.activation]
            )
            output.append(h)
        return torch.stack(output, 1), (h[None], c[None])


def outputs_and_gradients(network, *tensors, **options):
    """By name, under cotangents that differ everywhere."""
    x, h0, c0 = (t.clone().requires_grad_() for t in tensors)
    output, (h, c) = network(x, (h0, c0), **options)
    named = {"output": output, "h": h, "c": c}
    loss = sum(
        (y * torch.linspace(0.5, 2, y.numel()).view(y.shape)).sum()
        for y in named.values()
    )
    leaves = {"x": x, "h0": h0, "c0": c0, **dict(network.named_parameters())}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {**named, **{f"d{n}": g for n, g in zip(leaves, gradients)}}


@pytest.fixture
def double():
    """float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=["compiled", "PyTorch"])
def loops(request, monkeypatch):
    """Those of a module run, and no others."""
    compiled = request.param == "compiled"
    monkeypatch.setattr(peephole, "compiles", lambda: compiled)
    other = peephole if compiled else peephole_cpu
    for name in ("loop", "loop_backward"):
        monkeypatch.setattr(other, name, None)


class TestGradients:
    """Those by hand, against PyTorch's of the equations."""

    @pytest.mark.parametrize("T", [1, 2, 9])
    @pytest.mark.parametrize("features", [0, 3])
    @pytest.mark.parametrize("activation", ["tanh", "tanhx2", "sigmoid"])
    def test_layer(self, double, loops, T, features, activation):
        """Of the input, the states and all weights."""
        ours, plain = (
            cls(5, features, forget_bias=2.0, activation=activation)
            for cls in (PeepholeLSTM, Plain)
        )
        plain.load_state_dict(ours.state_dict())
        tensors = (
            torch.randn(2, T, features),
            torch.randn(1, 2, 5),
            torch.randn(1, 2, 5),
        )
        assert_equal(
            outputs_and_gradients(ours, *tensors),
            outputs_and_gradients(plain, *tensors),
        )

    @pytest.mark.parametrize("used", ["output", "c"])
    def test_one_of_them(self, double, loops, used):
        """Where the loss is of the output alone, or of the last cell."""
        ours, plain = PeepholeLSTM(5, 3), Plain(5, 3)
        plain.load_state_dict(ours.state_dict())
        gradients = []
        for network in (ours, plain):
            torch.manual_seed(0)
            x, hx = torch.randn(2, 9, 3), torch.zeros(2, 1, 2, 5)
            output, (_, c) = network(x, tuple(hx))
            loss = {"output": output, "c": c}[used].square().sum()
            loss.backward()
            named = network.named_parameters()
            gradients.append({name: p.grad for name, p in named})
        assert_equal(*gradients)

    @pytest.mark.parametrize("number", [1, 3])
    @pytest.mark.parametrize("H", [1, 8, 21])
    def test_rounding(self, loops, monkeypatch, number, H):
        """Twice that of PyTorch at most, of any number of units, sequences
        and threads."""
        monkeypatch.setattr(threads, "WORTH", 0)
        monkeypatch.setattr(torch, "get_num_threads", lambda: number)
        layers = [cls(H, 3, forget_bias=1.0) for cls in (PeepholeLSTM, Plain)]
        layers[1].load_state_dict(layers[0].state_dict())
        tensors = (
            torch.randn(9, 40, 3),
            torch.randn(1, 9, H),
            torch.randn(1, 9, H),
        )
        ours, plain = (outputs_and_gradients(net, *tensors) for net in layers)
        exact = layers[1].double()
        exact = outputs_and_gradients(exact, *(t.double() for t in tensors))
        assert_as_exact(ours, plain, exact)

    def test_ensemble(self, double, loops):
        """Each copy as it is alone, also inside of another vmap."""
        networks = Ensemble(
            lambda: PeepholeLSTM(5, 3, activation="sigmoid"), 4, seed=0
        )
        x = torch.randn(4, 2, 9, 3)
        output, (_, c) = networks(x, in_dims=0)
        of_all, _ = torch.vmap(lambda x: networks(x, in_dims=None))(x)
        of_first, _ = networks(x[0], in_dims=None)
        torch.testing.assert_close(of_all[0], of_first)
        weight = torch.randn(output.shape)
        ((weight * output).sum() + c.square().sum()).backward()
        for n in range(4):
            one = networks.extract(n)
            alone, (_, own_c) = one(x[n])
            torch.testing.assert_close(output[n], alone)
            torch.testing.assert_close(c[n], own_c)
            ((weight[n] * alone).sum() + own_c.square().sum()).backward()
            for own, whole in zip(one.parameters(), networks.parameters()):
                torch.testing.assert_close(own.grad, whole.grad[n])

    def test_vmap(self, double, loops):
        """Along any dimension, or none."""
        layer = PeepholeLSTM(5, 3)
        x, h, c = (
            torch.randn(2, 4, 9, 3),
            torch.randn(1, 2, 5, 4),
            torch.randn(1, 2, 5),
        )
        outputs, _ = torch.vmap(layer, in_dims=(1, (3, None)))(x, (h, c))
        for n, output in enumerate(outputs):
            alone, _ = layer(x[:, n], (h[..., n], c))
            torch.testing.assert_close(output, alone)

    def test_without_numbers(self):
        """Tensors that have a shape alone, as where a model is exported."""
        with FakeTensorMode():
            output, (h, _) = PeepholeLSTM(5, 3)(torch.ones(2, 9, 3))
            output.sum().backward()
        assert output.shape == (2, 9, 5) and h.shape == (1, 2, 5)

    def test_second(self):
        """There are none, and that is told."""
        x = torch.randn(2, 9, 3, requires_grad=True)
        output, _ = PeepholeLSTM(5, 3)(x)
        with pytest.raises(
            NotImplementedError, match="^create_graph=True: exp"
        ):
            torch.autograd.grad(output.sum(), x, create_graph=True)

    def test_mixed_precision(self):
        """As autocast has it, the state is in 16 bits, the gradients not."""
        layer, x = PeepholeLSTM(5, 3), torch.randn(2, 9, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output, _ = layer(x)
        assert output.dtype == torch.bfloat16
        torch.testing.assert_close(
            output.float(), layer(x)[0], rtol=0, atol=0.03
        )
        output.float().sum().backward()
        assert {p.grad.dtype for p in layer.parameters()} == {torch.float32}


def test_without_peepholes():
    """With peepholes at zero it is torch.nn.LSTM."""
    ours = PeepholeLSTM(5, input_size=3, forget_bias=2.0)
    theirs = torch.nn.LSTM(3, 5, batch_first=True)
    with torch.no_grad():
        ours.peepholes.zero_()
        theirs.weight_ih_l0.copy_(ours.weight_ih)
        theirs.weight_hh_l0.copy_(ours.weight_hh)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
        theirs.bias_hh_l0[5:10] = 2.0
    x, state = (
        torch.randn(2, 9, 3),
        (torch.randn(1, 2, 5), torch.randn(1, 2, 5)),
    )
    for hx in (None, state):
        output, hn = ours(x, hx)
        expected, last = theirs(x, hx)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(hn, last)


def test_peepholes_by_hand():
    """One cell, whose gates see nothing but the cell, for one step.

    The input and forget gates see the old cell, the output gate the new one.
    """
    net = PeepholeLSTM(1, input_size=0)
    with torch.no_grad():
        net.weight_hh.zero_()
        net.bias.copy_(torch.tensor([0.0, 0.0, 0.5, 0.0]))
        net.peepholes.copy_(torch.tensor([[1.0], [-2.0], [3.0]]))
    state = (torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.7))
    _, (h, c) = net(torch.zeros(1, 1, 0), state)

    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    cell = sigmoid(-1.4) * 0.7 + sigmoid(0.7) * math.tanh(0.5)
    assert c.item() == pytest.approx(cell)
    assert h.item() == pytest.approx(sigmoid(3 * cell) * math.tanh(cell))


@pytest.mark.parametrize(
    "n, params", [(4, 97), (7, 253), (10, 481), (15, 1021)]
)
def test_number_of_parameters(n, params):
    """Those of the paper's generators, with a linear output."""
    count = sum(p.numel() for p in PeepholeLSTM(n, input_size=0).parameters())
    assert count + n + 1 == params


@pytest.mark.parametrize(
    "options, message",
    [
        ({"hidden_size": 0}, "hidden_size=0: expected an integer, 1 or more"),
        ({"hidden_size": 4.5}, "hidden_size=4.5: expected an integer"),
        ({"input_size": "3"}, "input_size='3': expected an integer, 0 or more"),
        ({"forget_bias": "1"}, "forget_bias='1': expected a number"),
        (
            {"activation": "relu"},
            "activation='relu': expected one of tanh, tanhx2, sigmoid",
        ),
        ({"forget_bias": float("nan")}, "forget_bias=nan: expected a number"),
    ],
)
def test_bad_options(options, message):
    """One sentence."""
    with pytest.raises(ValueError, match=message):
        PeepholeLSTM(**{"hidden_size": 4, "input_size": 3, **options})


@pytest.mark.parametrize(
    "shape", [(1, 1, 4), (1, 2, 1), (1, 3, 4), (2, 4), (2, 2, 4)]
)
def test_bad_state(shape):
    """None is broadcast, nor another one read."""
    h = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"hx: expected h and c.*\(1, 2, 4\)"):
        PeepholeLSTM(4, input_size=3)(torch.ones(2, 5, 3), (h, h))


@pytest.mark.parametrize("hx", [3, "state", torch.zeros(2, 1, 2, 4), (None,)])
def test_no_pair(hx):
    """Of h and c, as the layer returns it."""
    with pytest.raises(ValueError, match="hx: expected h and c, each of shape"):
        PeepholeLSTM(4, input_size=3)(torch.ones(2, 5, 3), hx)


def test_bad_input():
    """As the Clockwork RNN says it."""
    for x in (torch.ones(2, 5, 4), torch.ones(5, 3), torch.ones(2, 0, 3)):
        with pytest.raises(
            ValueError, match=r"x of shape .*\[batch, time, 3\]"
        ):
            PeepholeLSTM(4, input_size=3)(x)
