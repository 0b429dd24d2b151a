"""The last output of a recurrent layer, as the embedding of a sequence.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from torch import nn

from speechbrain_cwrnn.checks import check_integer, check_sequences
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.lengths import count_steps, last_step, zero_padding
from speechbrain_cwrnn.ligru import ClockworkLiGRU


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
        if isinstance(rnn_class, nn.Module) or not callable(rnn_class):
            raise InputError(
                f"rnn_class of type {type(rnn_class).__name__}: expected what "
                f"makes a layer when it is called."
            )
        self.input_size = check_integer("input_size", input_size, least=0)
        with tried("rnn_class"):
            self.rnn = rnn_class(input_size=input_size)
        if not isinstance(self.rnn, nn.Module):
            raise InputError(
                f"rnn_class makes a {type(self.rnn).__name__}: expected a "
                f"recurrent layer."
            )
        # SpeechBrain's layers have PyTorch's inside.
        for module in self.rnn.modules():
            if getattr(module, "bidirectional", False):
                raise InputError(
                    "rnn_class makes a bidirectional layer: expected one whose "
                    "output does not depend on later steps."
                )
            if not getattr(module, "batch_first", True):
                raise InputError(
                    "rnn_class makes a layer with batch_first=False: expected "
                    "one for [batch, time, features]."
                )

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
        check_sequences(x, self.input_size)
        steps = None
        if lengths is not None:
            steps = count_steps(lengths, x)
            x = zero_padding(x, steps)
        if isinstance(self.rnn, ClockworkLiGRU):
            # It normalises over what is inside of the sequences alone.
            result = self.rnn(x, lengths=lengths)
        else:
            result = self.rnn(x)
        if not isinstance(result, tuple):
            # A tensor would be taken apart by its batch.
            raise InputError(
                f"rnn_class makes a {type(self.rnn).__name__}: expected a "
                f"recurrent layer, which returns its output and its state."
            )
        return last_step(result[0], steps).unsqueeze(1)
