"""The oracle, against what is not ours."""

from copy import deepcopy
from math import log

import pytest
import torch
from helpers import random_layer
from speechbrain.nnet.RNN import LiGRU

from speechbrain_cwrnn.reference import clockwork_ligru, clockwork_rnn


def test_by_hand():
    """Two units of periods 1 and 2, computed by hand.

    With V = (1, 1), W_11 = 1, W_12 = 2, W_22 = -1, relu and no bias,

        h_1[t] = relu(x[t] + h_1[t-1] + 2 h_2[t-1])
        h_2[t] = relu(x[t] - h_2[t-1])                at t = 0, 2, 4

    x    1   -2    3    1    1
    h_1  1    1    6   11   16
    h_2  1    1    2    2    0
    """
    output, hn = clockwork_rnn(
        torch.tensor([[[1.0], [-2.0], [3.0], [1.0], [1.0]]]),
        torch.ones(2, 1),
        [torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0]])],
        periods=(1, 2),
        nonlinearity="relu",
    )
    assert output[0, :, 0].tolist() == [1, 1, 6, 11, 16]
    assert output[0, :, 1].tolist() == [1, 1, 2, 2, 0]
    assert hn.tolist() == [[16, 0]]


def test_by_hand_with_a_clock():
    """The same, with the clock at 1: the slow unit ticks at t = 1, 3."""
    output, _ = clockwork_rnn(
        torch.tensor([[[1.0], [-2.0], [3.0], [1.0]]]),
        torch.ones(2, 1),
        [torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0]])],
        h0=torch.tensor([[0.0, 5.0]]),
        periods=(1, 2),
        clock=1,
        nonlinearity="relu",
    )
    assert output[0, :, 0].tolist() == [11, 19, 22, 23]
    assert output[0, :, 1].tolist() == [5, 0, 0, 1]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_one_period_is_a_plain_rnn(nonlinearity):
    """Periods (1,) give torch.nn.RNN with the same weights."""
    layer = random_layer([5], B=3, T=20, F=4)
    rnn = torch.nn.RNN(4, 5, nonlinearity=nonlinearity, batch_first=True)
    rnn = rnn.double()
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(layer["weight_ih"])
        rnn.weight_hh_l0.copy_(layer["weight_hh"][0])
        rnn.bias_ih_l0.copy_(layer["bias"])
        rnn.bias_hh_l0.zero_()
    expected, last = rnn(layer["x"], layer["h0"][None])
    output, hn = clockwork_rnn(**layer, periods=(1,), nonlinearity=nonlinearity)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(hn, last[0], rtol=0, atol=1e-12)


def test_gated_by_hand():
    """Two gated units of periods 1 and 2, computed by hand.

    With V = (1, 1), W_11 = 0, W_12 = 1, W_22 = 0, relu, and gates of

        u_1 = sigmoid(0) = 1/2,   u_2 = sigmoid(log 3 x[t]) = 3/4 for x = 1,

        h_1[t] = h_1[t-1] / 2 + relu(x[t] + h_2[t-1]) / 2
        h_2[t] = u_2 h_2[t-1] + (1 - u_2) relu(x[t])   at t = 0, 2

    x    1    -2       1
    h_1  1/2  1/4      1/8 + 5/8 = 3/4
    h_2  1/4  1/4      3/16 + 1/4 = 7/16
    """
    output, hn = clockwork_ligru(
        torch.tensor([[[1.0], [-2.0], [1.0]]]),
        torch.tensor([[1.0], [0.0], [1.0], [log(3)]]),
        [torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.zeros(2, 1)],
        periods=(1, 2),
        nonlinearity="relu",
    )
    assert output[0, :, 0].tolist() == pytest.approx([1 / 2, 1 / 4, 3 / 4])
    assert output[0, :, 1].tolist() == pytest.approx([1 / 4, 1 / 4, 7 / 16])
    assert hn[0].tolist() == pytest.approx([3 / 4, 7 / 16])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "leaky_relu"])
def test_one_period_is_speechbrains_ligru(
    training, normalization, nonlinearity
):
    """Outputs, gradients and running statistics, with its dropout mask."""
    torch.manual_seed(0)
    ligru = LiGRU(
        5, (3, 20, 4), nonlinearity, normalization, dropout=0.5 * training
    )
    ligru = ligru.double().train(training)
    (cell,) = ligru.rnn
    with torch.no_grad():
        cell.norm.bias.normal_()
    x, h0 = torch.randn(3, 20, 4).double(), torch.randn(3, 5).double()
    # A copy, as its running statistics change.
    norm = deepcopy(cell.norm)
    expected, _ = ligru(x, hx=h0[None])
    actual, _ = clockwork_ligru(
        x,
        cell.w.weight,
        [cell.u.weight],
        h0=h0,
        periods=(1,),
        nonlinearity=nonlinearity,
        norms=[norm],
        mask=cell.drop_masks[:3] if training else None,
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(expected)
    weights = [cell.w.weight, cell.u.weight]
    for a, e in zip(
        torch.autograd.grad(actual, [*weights, *norm.parameters()], cotangent),
        torch.autograd.grad(expected, cell.parameters(), cotangent),
    ):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-11)
    for name, buffer in norm.named_buffers():
        assert torch.equal(buffer, cell.norm.get_buffer(name)), name
    if normalization == "batchnorm":
        assert norm.num_batches_tracked == training
