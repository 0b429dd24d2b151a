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
    clock : int
        Where a clockwork layer's clock starts. By default all groups tick at
        the first step; by 1 the fastest alone does, and each of the others
        first at its period, as if steps were counted from 1.

    Example
    -------
    >>> import torch
    >>> from functools import partial
    >>> from speechbrain_cwrnn import ClockworkRNN
    >>> net = Generator(partial(ClockworkRNN, 40, periods=9))
    >>> net(torch.empty(1, 320, 0)).shape
    torch.Size([1, 320])
    """

    def __init__(self, rnn_class, init_std=0.1, clock=0):
        super().__init__()
        self.clock = clock
        self.rnn = rnn_class(input_size=0)
        self.linear = nn.Linear(self.rnn.hidden_size, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=init_std)

    def forward(self, x):
        """x [B, T, 0], which only tells how long, -> waveforms [B, T]."""
        B, H = len(x), self.rnn.hidden_size
        hx = None
        if self.clock:
            hx = x.new_zeros(1, B, H), x.new_full((1, B, 1), self.clock)
        return self.linear(self.rnn(x, hx)[0]).squeeze(-1)
