"""SpeechBrain's attentional decoder, with clockwork units.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain.nnet import RNN
from torch import nn

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.ligru import ClockworkLiGRU
from speechbrain_cwrnn.rnn import ClockworkRNN

RNN_TYPES = ("clockwork", "clockwork_ligru", "rnn", "gru", "lstm")


class ClockworkCell(nn.Module):
    """A layer that is fed one step at a time, as SpeechBrain's `LSTMCell`.

    Arguments
    ---------
    layer : ClockworkRNN
        The layer, or a `ClockworkLiGRU`, in one direction.

    Example
    -------
    >>> import torch
    >>> cell = ClockworkCell(ClockworkRNN(5, input_size=20))
    >>> output, hidden = cell(torch.rand(4, 20))
    >>> output, hidden = cell(torch.rand(4, 20), hidden)
    >>> output.shape
    torch.Size([4, 5])
    """

    def __init__(self, layer):
        super().__init__()
        if layer.bidirectional:
            raise InputError(
                "bidirectional=True: expected a layer in one direction, as "
                "the steps to come are not known."
            )
        self.layer = layer

    def forward(self, x, hx=None):
        """Run one step.

        Arguments
        ---------
        x : torch.Tensor
            Input of this step [B, F].
        hx : tuple of torch.Tensor
            What the call for the step before returned as hidden; by default,
            the state is zero.

        Returns
        -------
        output : torch.Tensor
            State of the last layer [B, H].
        hidden : tuple of torch.Tensor
            State of all layers [L, B, H], and their clocks [L, B, 1].
        """
        output, hidden = self.layer(x.unsqueeze(1), hx)
        return output.squeeze(1), hidden


class AttentionalRNNDecoder(RNN.AttentionalRNNDecoder):
    """`speechbrain.nnet.RNN.AttentionalRNNDecoder`, with two more rnn_types.

    The clock of each hypothesis is a part of its state, so SpeechBrain's greedy
    and beam searches run it as they are.

    Arguments
    ---------
    rnn_type : str
        "clockwork", units of a `ClockworkRNN`; "clockwork_ligru", those of a
        `ClockworkLiGRU`; or SpeechBrain's own "rnn", "gru" and "lstm".
    attn_type : str
        "content", "location" or "keyvalue".
    hidden_size : int
        Number of hidden units in each layer.
    attn_dim : int
        Size of the attention and of the context.
    num_layers : int
        Number of recurrent layers.
    enc_dim : int
        Number of features of the encoder.
    input_size : int
        Number of input features.
    nonlinearity : str
        That of a `ClockworkRNN` or `ClockworkLiGRU`, by default "tanh"; or of
        SpeechBrain's "rnn", by default "relu".
    re_init : bool
        Whether recurrent weights start out orthogonal.
    normalization : str or None
        That of a `ClockworkLiGRU`: "layernorm", or None for a bias.
    scaling : float
        What scores are multiplied with, to sharpen the attention.
    channels : int
        Channels of a location-aware attention.
    kernel_size : int
        Its kernel size.
    bias : bool
        Whether units have a bias.
    dropout : float
        Probability of dropping an input, and an output of any layer but the
        last; of several layers of a `ClockworkLiGRU`, a candidate instead,
        drawn anew at each step.
    periods : sequence of int or int
        Periods of the clockwork groups, in steps of the decoder, as in
        `ClockworkRNN` and `ClockworkLiGRU`.
    group_sizes : sequence of int
        Number of units in each group, as there.

    Example
    -------
    >>> import torch
    >>> net = AttentionalRNNDecoder(
    ...     rnn_type="clockwork",
    ...     attn_type="content",
    ...     hidden_size=7,
    ...     attn_dim=5,
    ...     num_layers=1,
    ...     enc_dim=20,
    ...     input_size=6,
    ...     periods=[1, 2, 4],
    ... )
    >>> enc_states, wav_len = torch.rand(4, 10, 20), torch.ones(4)
    >>> output, attention = net(torch.rand(4, 5, 6), enc_states, wav_len)
    >>> output.shape
    torch.Size([4, 5, 7])
    """

    def __init__(
        self,
        rnn_type,
        attn_type,
        hidden_size,
        attn_dim,
        num_layers,
        enc_dim,
        input_size,
        nonlinearity=None,
        re_init=True,
        normalization="layernorm",
        scaling=1.0,
        channels=None,
        kernel_size=None,
        bias=True,
        dropout=0.0,
        *,
        periods=None,
        group_sizes=None,
    ):
        kind = rnn_type.lower() if isinstance(rnn_type, str) else rnn_type
        if kind not in RNN_TYPES:
            raise InputError(
                f"rnn_type={rnn_type!r}: expected one of {RNN_TYPES}."
            )
        is_clockwork = kind.startswith("clockwork")
        is_plain = periods is None and group_sizes is None
        if not is_clockwork and not is_plain:
            raise InputError(
                f"periods={periods}, group_sizes={group_sizes}: expected none "
                f"for rnn_type={rnn_type!r}, whose units all run at each step."
            )
        if kind == "clockwork_ligru" and normalization == "batchnorm":
            raise InputError(
                "normalization='batchnorm': expected 'layernorm' or None (a "
                "decoder sees one step of the batch at a time, whose "
                "statistics are not those of another)."
            )
        if nonlinearity is None:
            nonlinearity = "tanh" if is_clockwork else "relu"
        super().__init__(
            # Upstream would need to look the cell up by a name that others
            # can add to: so this one is replaced.
            "gru" if is_clockwork else rnn_type,
            attn_type,
            hidden_size,
            attn_dim,
            num_layers,
            enc_dim,
            input_size,
            nonlinearity,
            re_init,
            normalization,
            scaling,
            channels,
            kernel_size,
            bias,
            dropout,
        )
        self.rnn_type = kind
        if not is_clockwork:
            return
        options = {
            "hidden_size": hidden_size,
            "input_size": input_size + attn_dim,
            "nonlinearity": nonlinearity,
            "num_layers": num_layers,
            "bias": bias,
            # As in SpeechBrain.
            "dropout": dropout if num_layers > 1 else 0.0,
            "re_init": re_init,
            "periods": periods,
            "group_sizes": group_sizes,
        }
        if kind == "clockwork":
            layer = ClockworkRNN(**options)
        else:
            layer = ClockworkLiGRU(**options, normalization=normalization)
        self.rnn = ClockworkCell(layer)
