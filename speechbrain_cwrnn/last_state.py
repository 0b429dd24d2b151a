"""The last output of a recurrent layer, as the embedding of a sequence.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from torch import nn


class LastState(nn.Module):
    """What a recurrent layer puts out at the last step of each sequence.

    It stands where SpeechBrain's `EncoderClassifier` expects an embedding
    model.

    Arguments
    ---------
    rnn_class : callable
        Makes the recurrent layer, when called with `input_size`. It returns
        its output [B, T, H] first, which at each step must not depend on
        later ones (no bidirectional layer).
    input_size : int
        Number of input features.

    Example
    -------
    >>> import torch
    >>> from functools import partial
    >>> from speechbrain_cwrnn import ClockworkRNN
    >>> embedding_model = LastState(partial(ClockworkRNN, 40), input_size=13)
    >>> feats, lengths = torch.rand(2, 50, 13), torch.tensor([1.0, 0.5])
    >>> embedding_model(feats, lengths).shape
    torch.Size([2, 1, 40])
    """

    def __init__(self, rnn_class, input_size):
        super().__init__()
        self.rnn = rnn_class(input_size=input_size)

    def forward(self, x, lengths=None):
        """The embeddings of a batch.

        Arguments
        ---------
        x : torch.Tensor
            Input [B, T, F].
        lengths : torch.Tensor
            Length of each sequence relative to T [B]; by default 1.

        Returns
        -------
        torch.Tensor
            The output at the last step [B, 1, H].
        """
        output, _ = self.rnn(x)
        if lengths is None:
            return output[:, -1:]
        steps = (lengths * x.shape[1]).round().long().clamp(1, x.shape[1])
        last = (steps - 1)[:, None, None].expand(-1, 1, output.shape[-1])
        return output.gather(1, last)
