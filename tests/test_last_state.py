"""The last output of a recurrent layer as an embedding."""

from functools import partial

import pytest
import torch

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN
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


@pytest.mark.parametrize("rnn_class", [ClockworkRNN, PeepholeLSTM])
def test_anything_in_the_padding(rnn_class):
    """NaN there reaches no embedding and no gradient."""
    net = LastState(partial(rnn_class, 6), input_size=3)
    x = torch.rand(2, 10, 3)
    lengths = torch.tensor([0.5, 1.0])
    expected = net(x, lengths)
    x[0, 5:] = torch.nan
    x.requires_grad_()
    embeddings = net(x, lengths)
    assert torch.equal(embeddings, expected)
    embeddings.sum().backward()
    assert not x.grad[0, 5:].any()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_statistics_without_padding():
    """A normalisation counts what is inside of the sequences."""
    net = LastState(partial(ClockworkLiGRU, 6, periods=[1]), input_size=3)
    x = torch.rand(2, 10, 3)
    net(x, torch.tensor([0.5, 1.0]))
    inside = torch.cat([x[0, :5], x[1]]) @ net.rnn.weight_ih_l0.detach().mT
    (norm,) = net.rnn.norm_l0
    expected = norm.momentum * inside.mean(0)
    torch.testing.assert_close(norm.running_mean, expected)


X = torch.rand(2, 10, 3)


@pytest.mark.parametrize(
    "x, lengths, message",
    [
        (X, torch.tensor([10, 5]), "lengths in torch.int64: expected relative"),
        (X, torch.tensor([10.0, 5.0]), r"lengths=\[10.0, 5.0\]: expected rel"),
        (X, torch.ones(3), r"lengths of shape \(3,\): expected one"),
        (X[0], torch.ones(10), r"x of shape \(10, 3\): expected \[batch, time"),
        (X.tolist(), None, "x of type list: expected a tensor"),
    ],
)
def test_bad_input(x, lengths, message):
    """One sentence, as the layer has."""
    with pytest.raises(ValueError, match=message):
        LastState(partial(ClockworkRNN, 6), input_size=3)(x, lengths)


@pytest.mark.parametrize(
    "rnn_class, message",
    [
        (partial(ClockworkRNN, 6, bidirectional=True), "a bidirectional layer"),
        (
            partial(
                torch.nn.LSTM, hidden_size=6, batch_first=True, bidirectional=1
            ),
            "rnn_class makes a bidirectional layer",
        ),
        (partial(torch.nn.LSTM, hidden_size=6), "a layer with batch_first=F"),
        (ClockworkRNN(6, input_size=3), "rnn_class of type ClockworkRNN: exp"),
        ("lstm", "rnn_class of type str: expected what makes a layer"),
        (torch.relu, "^rnn_class: expected what works .*TypeError: "),
        (dict, "rnn_class makes a dict: expected a recurrent layer"),
        (
            lambda input_size: torch.nn.Linear(input_size, 6),
            "rnn_class makes a Linear: expected a recurrent layer, which",
        ),
    ],
)
def test_bad_layers(rnn_class, message):
    """Those whose last output is not the last state of a sequence."""
    with pytest.raises(ValueError, match=message):
        LastState(rnn_class, input_size=3)(X)
