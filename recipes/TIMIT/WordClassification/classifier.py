"""A recurrent network that tells which word it heard.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from torch import nn

from speechbrain_cwrnn.last_state import LastState
from speechbrain_cwrnn.norm import BatchNorm, LayerNorm


class WordClassifier(nn.Module):
    """A recurrent layer, and a softmax layer on its last state.

    All weights and biases start out normal (section 5.2 of the Clockwork RNN
    paper), but for those of a normalisation.

    Arguments
    ---------
    rnn_class : callable
        Makes the recurrent layer, when called with `input_size`.
    input_size : int
        Number of features.
    hidden_size : int
        Number of units of the recurrent layer.
    num_words : int
        Number of words.
    init_std : float
        Standard deviation of the initial weights and biases.

    Example
    -------
    >>> import torch
    >>> from functools import partial
    >>> from speechbrain_cwrnn import ClockworkRNN
    >>> net = WordClassifier(partial(ClockworkRNN, 40), 13, 40, num_words=25)
    >>> net(torch.rand(2, 50, 13), torch.tensor([1.0, 0.5])).shape
    torch.Size([2, 25])
    """

    def __init__(
        self, rnn_class, input_size, hidden_size, num_words, init_std=0.1
    ):
        super().__init__()
        self.embedding_model = LastState(rnn_class, input_size)
        self.classifier = nn.Sequential(
            nn.Linear(hidden_size, num_words), nn.LogSoftmax(dim=-1)
        )
        for module in self.modules():
            # A normalisation starts out as one.
            if not isinstance(module, (BatchNorm, LayerNorm)):
                for parameter in module.parameters(recurse=False):
                    nn.init.normal_(parameter, std=init_std)

    def forward(self, feats, lengths):
        """Features [B, T, F] and relative lengths [B], or None where nothing
        is padded -> log p [B, words]."""
        return self.classifier(self.embedding_model(feats, lengths)).squeeze(1)
