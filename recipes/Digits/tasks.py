"""What is asked of strings of digits: which they are, and which was first.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from bisect import bisect_left
from functools import partial

import torch
import torch.nn.functional as F
from digits_prepare import N_MELS
from speechbrain.decoders import ctc_greedy_decode
from speechbrain.nnet.RNN import GRU, LSTM, LiGRU
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import edit_distance

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN

MOST_UNITS = 512
NUM_DIGITS = 10
BLANK = 10
DROPOUT = 0.2


def make_ligru(hidden_size, input_size, **options):
    """SpeechBrain's, whose input is given as a shape."""
    return LiGRU(hidden_size, input_shape=[1, 1, input_size], **options)


class Recognise:
    """All digits of a string, by CTC; the error is the number of edits, by the
    number of digits. The layer runs in both directions."""

    name, num_outputs = "digit strings of an unseen speaker", NUM_DIGITS + 1
    epochs = 10
    # What makes each, and about how many parameters the network has.
    layers = {
        "LSTM": (LSTM, 48_000),
        "LSTM, twice the size": (LSTM, 96_000),
        "GRU": (GRU, 48_000),
        "Li-GRU": (make_ligru, 48_000),
        "CW-RNN": (partial(ClockworkRNN, periods=(1, 2, 4, 8)), 48_000),
        "clockwork Li-GRU": (ClockworkLiGRU, 48_000),
        "clockwork Li-GRU, relu": (
            partial(ClockworkLiGRU, nonlinearity="relu"),
            48_000,
        ),
        "1 group, relu": (
            partial(ClockworkLiGRU, periods=(1,), nonlinearity="relu"),
            48_000,
        ),
    }
    options = {"bidirectional": True}

    def loss(self, logits, lengths, digits):
        """Of logits [B, T, 11] at lengths [B], for digits [B, 4]."""
        return F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            digits,
            lengths,
            torch.full_like(lengths, digits.shape[1]),
            blank=BLANK,
        )

    def errors(self, logits, lengths, digits):
        """How many there are, and of how many answers."""
        shares = lengths / logits.shape[1]
        heard = ctc_greedy_decode(logits.softmax(-1), shares, blank_id=BLANK)
        wrong = map(edit_distance, heard, digits.tolist())
        return sum(wrong), digits.numel()


class Remember:
    """The first digit of a string, from the last state; the error is the share
    of strings where it is wrong."""

    name, num_outputs = "the first of four digits", NUM_DIGITS
    epochs = 20
    periods = (1, 2, 4, 8, 16, 32, 64)
    layers = {
        "LSTM": (LSTM, 20_000),
        "GRU": (GRU, 20_000),
        "Li-GRU": (make_ligru, 20_000),
        "CW-RNN": (partial(ClockworkRNN, periods=periods), 20_000),
        "clockwork Li-GRU": (
            partial(ClockworkLiGRU, periods=periods),
            20_000,
        ),
        "1 group": (partial(ClockworkLiGRU, periods=(1,)), 20_000),
    }
    options = {}

    def last(self, logits, lengths):
        """Those of the last valid steps [B, 10]."""
        return logits[torch.arange(len(logits)), lengths - 1]

    def loss(self, logits, lengths, digits):
        """Of logits [B, T, 10] at lengths [B], for digits [B, 4]."""
        return F.cross_entropy(self.last(logits, lengths), digits[:, 0])

    def errors(self, logits, lengths, digits):
        """How many there are, and of how many answers."""
        wrong = self.last(logits, lengths).argmax(-1) != digits[:, 0]
        return int(wrong.sum()), len(digits)


TASKS = {task.name: task for task in (Recognise(), Remember())}


class Network(nn.Module):
    """A recurrent layer, and a linear one on its states.

    Arguments
    ---------
    task : Recognise or Remember
        What is asked.
    layer : str
        Which of its layers.
    units : int
        Of the layer, in each direction.

    Example
    -------
    >>> task = Recognise()
    >>> Network(task, "CW-RNN", 8)(torch.rand(2, 30, 40)).shape
    torch.Size([2, 30, 11])
    """

    def __init__(self, task, layer, units):
        super().__init__()
        make, _ = task.layers[layer]
        self.rnn = make(units, input_size=N_MELS, **task.options)
        directions = 2 if task.options.get("bidirectional") else 1
        self.dropout = nn.Dropout(DROPOUT)
        self.readout = nn.Linear(directions * units, task.num_outputs)

    def forward(self, x):
        """Features [B, T, F] -> logits [B, T, outputs]. As in SpeechBrain's
        CRDNN, the layer is not told of lengths."""
        output, _ = self.rnn(x)
        return self.readout(self.dropout(output))


def find_units(task, layer):
    """Of how many units a network has about as many parameters as it is to
    have."""
    _, wanted = task.layers[layer]

    def count(units):
        network = Network(task, layer, units)
        return sum(p.numel() for p in network.parameters())

    # The groups of a clockwork layer need a unit each.
    above = bisect_left(range(MOST_UNITS), wanted, lo=8, key=count)
    return min(above - 1, above, key=lambda units: abs(count(units) - wanted))


def to_batch(strings):
    """Features [B, T, F], lengths [B] and digits [B, 4] of strings."""
    return (
        pad_sequence([s.features for s in strings], batch_first=True),
        torch.tensor([len(s.features) for s in strings]),
        torch.tensor([s.digits for s in strings]),
    )
