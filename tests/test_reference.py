"""The oracle, against what is not ours."""

import pytest
import torch
from helpers import random_layer

from speechbrain_cwrnn.reference import clockwork_rnn


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
