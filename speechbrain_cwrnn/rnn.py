"""The Clockwork RNN as a layer that stands where an LSTM stands.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_cwrnn.backend import (
    check_backend,
    choose_name,
)
from speechbrain_cwrnn.cells import NONLINEARITIES, Cell, check_nonlinearity
from speechbrain_cwrnn.checks import (
    check_bool,
    check_integer,
    check_number,
    check_sequences,
    has_known_values,
)
from speechbrain_cwrnn.clock import (
    Groups,
    check_clock,
    resolve_group_sizes,
    resolve_periods,
)
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.functional import dense_weight, run_rnn
from speechbrain_cwrnn.lengths import (
    count_steps,
    last_step,
    reverse,
    zero_padding,
)
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.state_dicts import format_misfits, list_misfits


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
        f, "tanh", "relu" or "leaky_relu".
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
        self.hidden_size = check_integer("hidden_size", hidden_size, least=1)
        self.num_layers = check_integer("num_layers", num_layers, least=1)
        self.bias = check_bool("bias", bias)
        self.dropout = check_number("dropout", dropout, 0, 1)
        self.bidirectional = check_bool("bidirectional", bidirectional)
        check_nonlinearity(nonlinearity)
        check_backend(backend)
        # As in SpeechBrain, (batch, time, a, b) becomes (batch, time, a * b).
        self.reshape = False
        if input_size is None:
            features = _check_input_shape(input_shape)
            self.reshape = len(features) > 1
            input_size = math.prod(features)
        self.input_size = check_integer("input_size", input_size, least=0)
        self.periods = resolve_periods(periods, self.hidden_size)
        self.group_sizes = resolve_group_sizes(
            group_sizes, self.hidden_size, len(self.periods)
        )
        self.nonlinearity = nonlinearity
        self.backend = backend

        size, self._row_names = self.input_size, {}
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                self._add_parameters(suffix, size)
            size = self.hidden_size * self._num_directions
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
        h0, clock = self._check_state(hx, x)
        now = 0 if clock is None else check_clock(clock)
        steps = None
        if lengths is not None:
            steps = count_steps(lengths, x)
            x = zero_padding(x, steps)

        h, D = [], self._num_directions
        h0 = None if h0 is None else h0.unbind()
        for layer in range(self.num_layers):
            own = slice(layer * D, (layer + 1) * D)
            x, hn = self._run_layer(
                layer,
                x,
                None if h0 is None else h0[own],
                now if isinstance(now, int) else now[own, :, 0],
                steps,
            )
            h.extend(hn)

        B, T = x.shape[:2]
        h = torch.stack(h)
        if clock is None:
            clock = torch.zeros(len(h), B, 1, dtype=torch.long, device=x.device)
        return x, (h, clock + (T if steps is None else steps.unsqueeze(1)))

    def __prepare_scriptable__(self):
        """Raises an error, where torch.jit.script would raise another later."""
        raise InputError(
            f"{type(self).__name__}: expected a model without it for "
            f"torch.jit.script, as by SpeechBrain's --jit, which does not read "
            f"this layer (torch.jit.trace and torch.export do)."
        )

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
        layer = check_integer("layer", layer)
        known = [s for n in range(self.num_layers) for s in self._suffixes(n)]
        suffix = f"l{layer}" + "_reverse" * check_bool("reverse", reverse)
        if suffix not in known:
            raise InputError(
                f"layer={layer}, reverse={reverse}: expected a layer and "
                f"direction of num_layers={self.num_layers}, counted from 0, "
                f"and bidirectional={self.bidirectional}."
            )
        _, weight_hh, _ = self._get_parameters(suffix)
        return dense_weight(weight_hh)

    def engine(self, batch_size=1, steps=100, num_copies=1):
        """The engine that the layer runs on, where it is and in its dtype.

        Arguments
        ---------
        batch_size : int
            Number of sequences.
        steps : int
            Number of their steps.
        num_copies : int
            Number of copies in an `Ensemble`, each with so many sequences.

        Returns
        -------
        str
            Its name, as of a backend.

        Example
        -------
        >>> ClockworkRNN(512, input_size=40).engine(batch_size=16, steps=500)
        'cpu'
        """
        batch_size = check_integer("batch_size", batch_size, least=0)
        steps = check_integer("steps", steps, least=1)
        num_copies = check_integer("num_copies", num_copies, least=1)
        x = self.weight_ih_l0.new_empty(())
        x = x.expand(num_copies, batch_size, steps, self.input_size)
        groups = Groups(self.periods, self.group_sizes, 0, self._cell)
        return choose_name(self.backend, x, groups)

    def reset_parameters(self, re_init=True):
        """Draw all parameters anew.

        Arguments
        ---------
        re_init : bool
            Whether each group's own recurrent weights are orthogonal.
        """
        check_bool("re_init", re_init)
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            nn.init.uniform_(parameter, -bound, bound)
            if re_init and name.startswith("weight_hh"):
                k = len(parameter) // self._cell.columns
                with torch.no_grad():
                    nn.init.orthogonal_(parameter[:, :k])

    @torch.no_grad()
    def take_over(self, rnn):
        """Take over the weights of a dense network, as far as there is room for
        them: what faster units would send to slower ones is left out.

        Arguments
        ---------
        rnn : torch.nn.RNN
            A network of the same sizes.

        Example
        -------
        >>> rnn = nn.RNN(3, 4, batch_first=True)
        >>> net = ClockworkRNN(4, input_size=3, periods=[1])
        >>> net.take_over(rnn)
        >>> x = torch.rand(2, 9, 3)
        >>> torch.allclose(net(x)[0], rnn(x)[0], atol=1e-6)
        True
        """
        if not isinstance(rnn, nn.RNN):
            raise InputError(
                f"a {type(rnn).__name__}: expected a torch.nn.RNN, whose "
                f"weights can be taken over."
            )
        self._check_sizes(vars(rnn), "bias", "bidirectional")
        units = Groups(self.periods, self.group_sizes).units
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                weight_ih, weight_hh, bias = self._get_parameters(suffix)
                weight_ih.copy_(getattr(rnn, f"weight_ih_{suffix}"))
                dense = getattr(rnn, f"weight_hh_{suffix}")
                for row, own in zip(weight_hh, units):
                    row.copy_(dense[own, own.start :])
                if bias is not None:
                    # PyTorch's has two, for the sake of another library.
                    two = (f"bias_{name}_{suffix}" for name in ("ih", "hh"))
                    bias.copy_(sum(getattr(rnn, name) for name in two))

    def get_extra_state(self):
        """What a state dict has besides parameters: the period, the units and
        the nonlinearity, by its number, of each group [G, 3].

        The same weights are another network with other periods. Integers in a
        tensor survive what is done to state dicts: weights_only, safetensors,
        averages over checkpoints. A buffer would also be sent from process to
        process, and be one of the tensors that an `Ensemble` has N of.
        """
        number = NONLINEARITIES.index(self.nonlinearity)
        return torch.tensor(
            [[p, k, number] for p, k in zip(self.periods, self.group_sizes)],
            device="cpu",
        )

    def set_extra_state(self, state):
        """Raise an error for the state dict of another network."""
        own = self.get_extra_state()
        # It is a float, after an average over checkpoints.
        is_same = _is_extra_state(state) and torch.equal(
            state.cpu().round(), own
        )
        if not is_same:
            raise InputError(
                f"a state dict of {_describe(state)}: expected "
                f"{_describe(own)}, as the layer has."
            )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # Before a parameter is overwritten, unlike what PyTorch does.
        key = f"{prefix}_extra_state"
        if key in state_dict:
            self.set_extra_state(state_dict[key])
        own = {prefix + name: t for name, t in self.state_dict().items()}
        found = {n: t for n, t in state_dict.items() if n.startswith(prefix)}
        misfits = list_misfits(own, found)
        # PyTorch knows whether more than that is an error.
        if any(name in own for name in misfits):
            name = f"the {type(self).__name__} {prefix[:-1]}".strip()
            raise InputError(
                f"a state dict that does not fit {name}: expected all its "
                f"weights, which would stay random (to load the rest: "
                f"speechbrain_cwrnn.transfer_rest).\n"
                f"{format_misfits(misfits, own, found)}"
            )
        if key not in state_dict:
            warnings.warn(
                f"A state dict that does not say its periods, as those of "
                f"version 0.1: taken to be {self.periods}, as the layer's.",
                stacklevel=2,
            )
            state_dict[key] = self.get_extra_state()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self):
        """What `print` shows between the brackets."""
        return (
            f"{self.input_size}, {self.hidden_size}, "
            f"periods={self.periods}, group_sizes={self.group_sizes}, "
            f"num_layers={self.num_layers}, bias={self.bias}, "
            f"dropout={self.dropout}, bidirectional={self.bidirectional}, "
            f"nonlinearity={self.nonlinearity!r}, backend={self.backend!r}"
        )

    def _run_layer(self, layer, x, h0, clock, steps):
        """The output [B, T, D*H] of a layer, and for each direction the state
        after the last step [B, H]; h0 is D of these or None, clock [D, B] or
        0."""
        if layer and self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        outputs, h = [], []
        for i, suffix in enumerate(self._suffixes(layer)):
            is_reverse = suffix.endswith("_reverse")
            now = clock if isinstance(clock, int) else clock[i]
            output = run_rnn(
                Layer(
                    reverse(x, steps) if is_reverse else x,
                    *self._get_parameters(suffix),
                    None if h0 is None else h0[i],
                ),
                Groups(self.periods, self.group_sizes, now, self._cell),
                steps,
                self.backend,
            )
            h.append(last_step(output, steps))
            outputs.append(reverse(output, steps) if is_reverse else output)
        return torch.cat(outputs, dim=-1) if self.bidirectional else output, h

    def _check_sizes(self, sizes, *names):
        """Raise an error for those of a network whose weights this one cannot
        have."""
        names = "hidden_size", "input_size", "num_layers", *names
        for name in (*names, "nonlinearity"):
            own = getattr(self, name)
            if sizes[name] != own:
                raise InputError(
                    f"a network of {name}={sizes[name]!r}: expected {own!r}, "
                    f"as the layer has that takes its weights over."
                )

    @property
    def rnn(self):
        """The layer itself. SpeechBrain's have PyTorch's by this name, and its
        dual-path model asks that for its size."""
        return self

    @property
    def _cell(self):
        return Cell(self.nonlinearity)

    @property
    def _num_directions(self):
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer):
        """The ends of the parameters' names, one per direction of a layer."""
        return [f"l{layer}", f"l{layer}_reverse"][: self._num_directions]

    def _add_parameters(self, suffix, input_size):
        H, C = self.hidden_size, self._cell.columns
        shapes = {f"weight_ih_{suffix}": (C * H, input_size)}
        senders = H
        # weight_hh_l0_g0, ..., or weight_hh_l0_g0_reverse, ...
        layer, *reverse = suffix.split("_")
        self._row_names[suffix] = [
            "_".join(["weight_hh", layer, f"g{i}", *reverse])
            for i in range(len(self.group_sizes))
        ]
        for name, k in zip(self._row_names[suffix], self.group_sizes):
            shapes[name] = (C * k, senders)
            senders -= k
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        bias = nn.Parameter(torch.empty(C * H)) if self.bias else None
        self.register_parameter(f"bias_{suffix}", bias)

    def _get_parameters(self, suffix):
        """weight_ih, weight_hh and bias of a layer and direction."""
        names = [f"weight_ih_{suffix}", f"bias_{suffix}"]
        # Where they are, unless something else makes them of others.
        own = self._parameters
        weight_ih, bias, *weight_hh = (
            own[name] if name in own else getattr(self, name)
            for name in names + self._row_names[suffix]
        )
        return weight_ih, weight_hh, bias

    def _check_input(self, x):
        if self.reshape and isinstance(x, torch.Tensor) and x.dim() == 4:
            x = x.flatten(2)
        check_sequences(x, self.input_size)
        device = self.weight_ih_l0.device
        if x.device != device:
            raise InputError(
                f"x on {x.device}: expected {device}, where the weights are."
            )
        return x

    def _check_state(self, hx, x):
        """h0 [L*D, B, H] and clock [L*D, B, 1], or None for zero."""
        if hx is None:
            return None, None
        h0, clock = (hx, None) if isinstance(hx, torch.Tensor) else _pair(hx)
        size = self.num_layers * self._num_directions
        expected = (size, x.shape[0], self.hidden_size)
        if h0.shape != expected or h0.device != x.device:
            raise InputError(
                f"hx: h of shape {tuple(h0.shape)} on {h0.device}: expected "
                f"[layers * directions, batch, hidden_size], {expected}, on "
                f"{x.device}."
            )
        if clock is None:
            return h0, None
        if clock.shape != (*expected[:2], 1):
            raise InputError(
                f"hx: clock of shape {tuple(clock.shape)}: expected [layers * "
                f"directions, batch, 1], {(*expected[:2], 1)}."
            )
        whole = clock.long()
        floats = clock.is_floating_point() and has_known_values(clock)
        if floats and (whole != clock).any():
            raise InputError(
                f"hx: clock={clock.flatten().tolist()}: expected whole numbers "
                f"of steps."
            )
        return h0, whole.to(x.device)


def _describe(state):
    """What an extra state says, in words; it may be some other module's."""
    if not _is_extra_state(state):
        return "something else than a ClockworkRNN"
    periods, group_sizes, (number, *_) = state.long().T.tolist()
    # A later version may have more of them.
    name = dict(enumerate(NONLINEARITIES)).get(number, number)
    return (
        f"periods {periods}, group_sizes {group_sizes} and nonlinearity "
        f"{name!r}"
    )


def _is_extra_state(state):
    """Whether it has the form of a layer's, [G, 3]."""
    is_filled = isinstance(state, torch.Tensor) and state.numel() > 0
    return is_filled and state.shape[1:] == (3,)


def _pair(hx):
    """h and clock, or an error if hx is something else."""
    # torch.compile of PyTorch 2.7 knows no unions of types.
    pair = tuple(hx) if isinstance(hx, (tuple, list)) else ()
    if len(pair) != 2 or any(not isinstance(t, torch.Tensor) for t in pair):
        raise InputError(
            f"hx of type {type(hx).__name__}: expected a tensor h, or the pair "
            f"(h, clock) that an earlier call returned."
        )
    return pair


def _check_input_shape(input_shape):
    """The features of an input (batch, time, features), of which there may be
    several dimensions."""
    try:
        features = [
            check_integer("features", n, least=0) for n in input_shape[2:]
        ]
    except (TypeError, InputError):
        features = []
    if not features:
        raise InputError(
            f"input_shape={input_shape!r}: expected (batch, time, features), "
            f"the features an integer."
        )
    return features
