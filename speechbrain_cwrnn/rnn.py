"""The Clockwork RNN as a layer that stands where an LSTM stands.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_cwrnn.backend import (
    check_backend,
    check_nonlinearity,
    choose_name,
)
from speechbrain_cwrnn.clock import (
    Groups,
    resolve_group_sizes,
    resolve_periods,
)
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.functional import clockwork_rnn, dense_weight


class ClockworkRNN(nn.Module):
    """A Clockwork RNN, with the interface of `speechbrain.nnet.RNN.LSTM`.

    The hidden units are split in groups, fastest first. Group i ticks when
    the clock, the number of steps since the state was zero, is a multiple of
    its period P_i; otherwise it holds its state:

        h_i[t] = f(V_i x[t] + b_i + sum_{j >= i} W_ij h_j[t-1])  on a tick,
        h_i[t] = h_i[t-1]                                        otherwise.

    Slower groups feed faster ones, never the reverse (Koutnik et al., "A
    Clockwork RNN", arXiv:1402.3511). W is stored without its zeros.

    Arguments
    ---------
    hidden_size : int
        Number of hidden units in each direction, over all groups.
    input_shape : tuple
        Expected shape of the input, such as (None, None, 40): batch, time and
        features. Give this or input_size.
    input_size : int
        Number of input features. It may be 0: a network without input.
    num_layers : int
        Number of layers, each reading the output of the one below.
    bias : bool
        Whether the groups have a bias.
    dropout : float
        Probability of dropping an output of a layer, the last excepted, in
        training.
    re_init : bool
        Whether each group's own recurrent weights W_ii start out orthogonal.
        All else starts out uniform in +-1/sqrt(hidden_size), as in PyTorch.
    bidirectional : bool
        Whether a second network reads each sequence from its end; its clock
        starts there.
    periods : sequence of int or int
        Strictly increasing periods of the groups, in steps; or the number g
        of groups, for the periods 1, 2, 4, ..., 2^(g-1). By default, 8 groups
        (fewer if hidden_size < 8).
    group_sizes : sequence of int
        Number of units in each group. By default equal, the remainder going
        to the faster groups.
    nonlinearity : str
        f, "tanh" or "relu".
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.backend`.

    Example
    -------
    >>> x = torch.rand(4, 10, 20)
    >>> net = ClockworkRNN(16, input_shape=x.shape, periods=[1, 2, 4, 8])
    >>> output, hn = net(x)
    >>> output.shape
    torch.Size([4, 10, 16])
    """

    def __init__(
        self,
        hidden_size,
        input_shape=None,
        input_size=None,
        num_layers=1,
        bias=True,
        dropout=0.0,
        re_init=True,
        bidirectional=False,
        *,
        periods=None,
        group_sizes=None,
        nonlinearity="tanh",
        backend="auto",
    ):
        super().__init__()
        if (input_shape is None) == (input_size is None):
            raise InputError(
                f"input_shape={input_shape}, input_size={input_size}: "
                f"expected exactly one of them."
            )
        if hidden_size < 1 or num_layers < 1:
            raise InputError(
                f"hidden_size={hidden_size}, num_layers={num_layers}: "
                f"expected positive integers."
            )
        if not 0 <= dropout <= 1:
            raise InputError(
                f"dropout={dropout}: expected a probability in [0, 1]."
            )
        check_nonlinearity(nonlinearity)
        check_backend(backend)
        # As in SpeechBrain, (batch, time, a, b) becomes (batch, time, a * b).
        self.reshape = input_shape is not None and len(input_shape) > 3
        if input_size is None:
            input_size = math.prod(input_shape[2:])
        self.input_size = int(input_size)
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.periods = resolve_periods(periods, hidden_size)
        self.group_sizes = resolve_group_sizes(
            group_sizes, hidden_size, len(self.periods)
        )
        self.nonlinearity = nonlinearity
        self.backend = backend

        size = self.input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                self._add_parameters(suffix, size)
            size = hidden_size * self._num_directions
        self.reset_parameters(re_init)

    def forward(self, x, hx=None, lengths=None):
        """Run the layers over a batch of sequences, or over a chunk of it.

        Arguments
        ---------
        x : torch.Tensor
            Input [B, T, F].
        hx : tuple of torch.Tensor, or torch.Tensor
            What an earlier call returned as hn: h [L*D, B, H] and clock
            [L*D, B, 1], for L layers of D directions; or h alone, for clocks
            at 0. By default, h is zero.
        lengths : torch.Tensor
            Relative length of each sequence [B], in (0, 1]. It is rounded to
            whole steps, at least one.

        Returns
        -------
        output : torch.Tensor
            State of the last layer after every step [B, T, D*H]; zero past the
            end of a sequence.
        hn : tuple of torch.Tensor
            State of each layer and direction after the last step of each
            sequence (for the reverse direction, that is its first) [L*D, B,
            H], and the clock then, the number of steps since the state was
            zero [L*D, B, 1].
        """
        x = self._check_input(x)
        steps = self._check_lengths(lengths, x)
        h0, clock = self._check_state(hx, x)

        h, index = [], 0
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                reverse = suffix.endswith("_reverse")
                output, hn = clockwork_rnn(
                    _reverse(x, steps) if reverse else x,
                    *self._get_parameters(suffix),
                    None if h0 is None else h0[index],
                    periods=self.periods,
                    clock=0 if clock is None else clock[index, :, 0],
                    nonlinearity=self.nonlinearity,
                    backend=self.backend,
                )
                if steps is not None:
                    last = (steps - 1).reshape(-1, 1, 1)
                    hn = output.take_along_dim(last, dim=1).squeeze(1)
                h.append(hn)
                outputs.append(_reverse(output, steps) if reverse else output)
                index += 1
            x = torch.cat(outputs, dim=-1) if self.bidirectional else output
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)

        B, T = x.shape[:2]
        h = torch.stack(h)
        if clock is None:
            clock = torch.zeros(len(h), B, 1, dtype=torch.long, device=x.device)
        if steps is None:
            return x, (h, clock + T)
        inside = torch.arange(T, device=x.device) < steps.unsqueeze(1)
        x = torch.where(inside.unsqueeze(-1), x, x.new_zeros(()))
        return x, (h, clock + steps.unsqueeze(1))

    def dense_weight_hh(self, layer=0, reverse=False):
        """The recurrent weights as a matrix with its zeros, to look at.

        Arguments
        ---------
        layer : int
            Number of the layer, from 0.
        reverse : bool
            Whether the reverse direction is meant.

        Returns
        -------
        torch.Tensor
            W [H, H], block-upper-triangular; rows receive, columns send.

        Example
        -------
        >>> net = ClockworkRNN(4, input_size=1, periods=[1, 2])
        >>> (net.dense_weight_hh() != 0).int()
        tensor([[1, 1, 1, 1],
                [1, 1, 1, 1],
                [0, 0, 1, 1],
                [0, 0, 1, 1]], dtype=torch.int32)
        """
        suffix = f"l{layer}" + "_reverse" * reverse
        _, weight_hh, _ = self._get_parameters(suffix)
        return dense_weight(weight_hh)

    def engine(self, batch_size=1):
        """The engine that the layer runs on, where it is and in its dtype.

        Arguments
        ---------
        batch_size : int
            Number of sequences, over all copies in an `Ensemble`.

        Returns
        -------
        str
            Its name, as of a backend.

        Example
        -------
        >>> ClockworkRNN(512, input_size=40).engine(batch_size=16)
        'eager'
        """
        x = self.weight_ih_l0.new_empty(batch_size, 1, self.input_size)
        groups = Groups(self.periods, self.group_sizes)
        return choose_name(self.backend, x, groups)

    def reset_parameters(self, re_init=True):
        """Draw all parameters anew.

        Arguments
        ---------
        re_init : bool
            Whether each group's own recurrent weights are orthogonal.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            nn.init.uniform_(parameter, -bound, bound)
            if re_init and name.startswith("weight_hh"):
                with torch.no_grad():
                    nn.init.orthogonal_(parameter[:, : len(parameter)])

    def extra_repr(self):
        """What `print` shows between the brackets."""
        return (
            f"{self.input_size}, {self.hidden_size}, "
            f"periods={self.periods}, group_sizes={self.group_sizes}, "
            f"num_layers={self.num_layers}, bias={self.bias}, "
            f"dropout={self.dropout}, bidirectional={self.bidirectional}, "
            f"nonlinearity={self.nonlinearity!r}, backend={self.backend!r}"
        )

    @property
    def _num_directions(self):
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer):
        """The ends of the parameters' names, one per direction of a layer."""
        return [f"l{layer}", f"l{layer}_reverse"][: self._num_directions]

    def _add_parameters(self, suffix, input_size):
        H = self.hidden_size
        shapes = {f"weight_ih_{suffix}": (H, input_size)}
        senders = H
        for name, k in zip(self._row_names(suffix), self.group_sizes):
            shapes[name] = (k, senders)
            senders -= k
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        bias = nn.Parameter(torch.empty(H)) if self.bias else None
        self.register_parameter(f"bias_{suffix}", bias)

    def _get_parameters(self, suffix):
        """weight_ih, weight_hh and bias of a layer and direction."""
        weight_hh = [getattr(self, name) for name in self._row_names(suffix)]
        return (
            getattr(self, f"weight_ih_{suffix}"),
            weight_hh,
            getattr(self, f"bias_{suffix}"),
        )

    def _row_names(self, suffix):
        """weight_hh_l0_g0, ..., or weight_hh_l0_g0_reverse, ..."""
        layer, *reverse = suffix.split("_")
        return [
            "_".join(["weight_hh", layer, f"g{i}", *reverse])
            for i in range(len(self.group_sizes))
        ]

    def _check_input(self, x):
        if self.reshape and x.dim() == 4:
            x = x.flatten(2)
        if x.dim() != 3 or x.shape[2] != self.input_size or x.shape[1] < 1:
            raise InputError(
                f"x of shape {tuple(x.shape)}: expected [batch, time, "
                f"{self.input_size}], with at least one step."
            )
        return x

    def _check_lengths(self, lengths, x):
        """The number of steps of each sequence [B], or None for all."""
        if lengths is None:
            return None
        B, T = x.shape[:2]
        if lengths.shape != (B,):
            raise InputError(
                f"lengths of shape {tuple(lengths.shape)}: expected one per "
                f"sequence, ({B},)."
            )
        # Looking at values would make a GPU wait for the host, or its
        # compiler break the graph; what is out of range is clamped there.
        if lengths.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = lengths.aminmax()
            # Half precision and padding may take a full length just past 1.
            if not (low > 0 and high < 1.01):
                raise InputError(
                    f"lengths={lengths.tolist()}: expected relative lengths, "
                    f"in (0, 1]."
                )
        steps = (lengths.to(x.device) * T).round().long()
        return steps.clamp(1, T)

    def _check_state(self, hx, x):
        """h0 [L*D, B, H] and clock [L*D, B, 1], or None for zero."""
        if hx is None:
            return None, None
        h0, clock = (hx, None) if isinstance(hx, torch.Tensor) else hx
        size = self.num_layers * self._num_directions
        expected = (size, x.shape[0], self.hidden_size)
        if h0.shape != expected:
            raise InputError(
                f"hx: h of shape {tuple(h0.shape)}: expected [layers * "
                f"directions, batch, hidden_size], {expected}."
            )
        if clock is None:
            return h0, None
        if clock.shape != (*expected[:2], 1):
            raise InputError(
                f"hx: clock of shape {tuple(clock.shape)}: expected [layers * "
                f"directions, batch, 1], {(*expected[:2], 1)}."
            )
        return h0, clock.long()


def _reverse(x, steps):
    """x [B, T, F] with each sequence reversed inside its steps [B]."""
    if steps is None:
        return x.flip(1)
    time = torch.arange(x.shape[1], device=x.device)
    steps = steps.unsqueeze(1)
    index = torch.where(time < steps, steps - 1 - time, time)
    return x.take_along_dim(index.unsqueeze(-1), dim=1)
