"""Networks of about as many parameters each, whose layers remember.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from functools import partial

import torch
from speechbrain.nnet.RNN import LSTM
from torch import nn

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN

# Of the clockwork layers, whatever the task and its delay.
PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)


def make_lstm(hidden_size, input_size):
    """An LSTM that starts out remembering, with 5 added to the bias of its
    forget gates, as in the first experiment of the Clockwork RNN paper."""
    lstm = LSTM(hidden_size, input_size=input_size)
    with torch.no_grad():
        lstm.rnn.bias_ih_l0[hidden_size : 2 * hidden_size] += 5
    return lstm


# What makes each, and how many units have about as many parameters.
LAYERS = {
    "plain RNN": (partial(ClockworkRNN, periods=(1,)), 41),
    "LSTM": (make_lstm, 19),
    "CW-RNN": (partial(ClockworkRNN, periods=PERIODS), 53),
    "clockwork Li-GRU": (partial(ClockworkLiGRU, periods=PERIODS), 36),
}


class Network(nn.Module):
    """A recurrent layer, and a linear one on its states when it is asked.

    Arguments
    ---------
    layer : str
        Which of `LAYERS`.
    num_features : int
        Number of inputs.
    num_symbols : int
        Number of answers.

    Example
    -------
    >>> x, steps = torch.zeros(2, 9, 6), torch.tensor([[3], [8]])
    >>> Network("CW-RNN", 6, 4)(x, steps).shape
    torch.Size([2, 1, 4])
    """

    def __init__(self, layer, num_features, num_symbols):
        super().__init__()
        make, units = LAYERS[layer]
        self.rnn = make(units, input_size=num_features)
        self.readout = nn.Linear(units, num_symbols)

    def forward(self, x, steps):
        """Inputs [B, T, F] and some steps of each [B, K] -> logits [B, K,
        symbols]."""
        output, _ = self.rnn(x)
        index = steps.unsqueeze(-1).expand(-1, -1, output.shape[-1])
        return self.readout(output.gather(1, index))
