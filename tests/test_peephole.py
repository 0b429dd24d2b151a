"""The paper's LSTM, against PyTorch's and against numbers by hand."""

import math

import pytest
import torch

from speechbrain_cwrnn.peephole import PeepholeLSTM


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
