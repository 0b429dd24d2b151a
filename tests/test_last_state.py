"""The last output of a recurrent layer as an embedding."""

from functools import partial

import pytest
import torch

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.last_state import LastState
from speechbrain_cwrnn.peephole import PeepholeLSTM


@pytest.mark.parametrize("rnn_class", [ClockworkRNN, PeepholeLSTM])
def test_padding_changes_nothing(rnn_class):
    """Each sequence has the embedding that it has by itself."""
    net = LastState(partial(rnn_class, 6), input_size=3)
    x = torch.rand(4, 20, 3)
    steps = [20, 13, 1, 7]
    embeddings = net(x, torch.tensor(steps) / 20)
    assert embeddings.shape == (4, 1, 6)
    for n, number in enumerate(steps):
        alone = net(x[n : n + 1, :number])
        assert torch.allclose(embeddings[n], alone[0], atol=1e-6)
        output, _ = net.rnn(x[n : n + 1, :number])
        assert torch.equal(alone[:, 0], output[:, -1])


def test_extreme_lengths():
    """They are rounded and clamped, as everywhere in this package."""
    net = LastState(partial(ClockworkRNN, 6), input_size=3)
    x = torch.rand(4, 20, 3)
    embeddings = net(x, torch.tensor([0.0, 0.01, 0.634, 1.2]))
    for n, number in enumerate([1, 1, 13, 20]):
        alone = net(x[n : n + 1, :number])
        assert torch.allclose(embeddings[n], alone[0], atol=1e-6)
