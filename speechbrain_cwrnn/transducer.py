"""The layers under names that SpeechBrain's transducer searches know.

`speechbrain.decoders.transducer.TransducerBeamSearcher` gives a state to those
layers of a prediction network alone whose class is called RNN, LSTM, GRU, LiGRU
or LiGRU_Layer, and breaks on all others. (It would have to ask what a layer
returns, a tensor or a pair.) All else of the searches, greedy and beam, works:
they take the state for that of an LSTM, a pair.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.ligru import ClockworkLiGRU
from speechbrain_cwrnn.rnn import ClockworkRNN


class RNN(ClockworkRNN):
    """A `ClockworkRNN` for the prediction network of a transducer.

    It is the same but for its name; its state dict is that of a `ClockworkRNN`.

    Example
    -------
    >>> import torch
    >>> net = RNN(16, input_shape=[None, None, 34], periods=[1, 2])
    >>> output, hn = net(torch.rand(2, 1, 34))
    >>> output.shape
    torch.Size([2, 1, 16])
    """


class LiGRU(ClockworkLiGRU):
    """A `ClockworkLiGRU` for the prediction network of a transducer.

    It is the same but for its name; its state dict is that of a
    `ClockworkLiGRU`.

    Example
    -------
    >>> import torch
    >>> net = LiGRU(16, input_shape=[None, None, 34])
    >>> output, hn = net(torch.rand(2, 1, 34))
    >>> output.shape
    torch.Size([2, 1, 16])
    """
