"""A recurrent network without input that produces a waveform.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from torch import nn


class Generator(nn.Module):
    """A recurrent layer that gets no input, and a linear output.

    What it produces is up to its weights alone: it starts from zero, and all
    networks have the same "input". All weights and biases start out normal
    (section 5.1 of the Clockwork RNN paper).

    Arguments
    ---------
    rnn_class : callable
        Makes the recurrent layer, when called with input_size=0.
    init_std : float
        Standard deviation of the initial weights and biases.

    Example
    -------
    >>> import torch
    >>> from functools import partial
    >>> from speechbrain_cwrnn import ClockworkRNN
    >>> net = Generator(partial(ClockworkRNN, 40, periods=9))
    >>> net(torch.empty(1, 320, 0)).shape
    torch.Size([1, 320])
    """

    def __init__(self, rnn_class, init_std=0.1):
        super().__init__()
        self.rnn = rnn_class(input_size=0)
        self.linear = nn.Linear(self.rnn.hidden_size, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=init_std)

    def forward(self, x):
        """x [B, T, 0], which only tells how long, -> waveforms [B, T]."""
        return self.linear(self.rnn(x)[0]).squeeze(-1)
