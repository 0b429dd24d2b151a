"""The clockwork Li-GRU: gated units that tick in groups.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.checks import check_bool, check_integer
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.functional import run_ligru
from speechbrain_cwrnn.lengths import last_step, reverse
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.norm import BatchNorm, LayerNorm
from speechbrain_cwrnn.rnn import ClockworkRNN

NORMALIZATIONS = ("batchnorm", "layernorm", None)


class ClockworkLiGRU(ClockworkRNN):
    """A clockwork Li-GRU, with the interface of `speechbrain.nnet.RNN.LiGRU`.

    It is the Li-GRU of Ravanelli et al., "Light Gated Recurrent Units for
    Speech Recognition", arXiv:1803.10225, whose units are split in groups, as
    those of a `ClockworkRNN`. At a tick of group i,

        c = f(norm(V_i x[t]) + sum_{j >= i} W_ij h_j[t-1])
        u = sigmoid(norm(Vu_i x[t]) + sum_{j >= i} U_ij h_j[t-1])
        h_i[t] = u h_i[t-1] + (1 - u) m c,

    and h_i[t] = h_i[t-1] at other steps. m is the mask of the dropout, the same
    at all steps. With the single period 1, it is SpeechBrain's Li-GRU.

    Arguments
    ---------
    hidden_size : int
        Number of hidden units in each direction, over all groups.
    input_shape : tuple
        Expected shape of the input, such as (None, None, 40): batch, time and
        features. Give this or input_size.
    nonlinearity : str
        f: "tanh", "relu" or "leaky_relu". Of these, relu has diverged on speech
        now and then, as SpeechBrain's own Li-GRU does with it; with gradients
        clipped at 1, as in the CTC recipe, it errs less than tanh.
    normalization : str or None
        norm: "batchnorm", over all ticks of a group in the batch (and inside
        of the sequences, where lengths are given); "layernorm", over the units
        of a group at each tick; or None, for a bias.
    num_layers : int
        Number of layers, each reading the output of the one below.
    bias : bool
        Whether the normalisation has a bias that is learnt; without one,
        whether the groups have.
    dropout : float
        Probability of dropping the candidate of a unit, in training: for a
        sequence as a whole.
    re_init : bool
        Whether each group's own recurrent weights start out orthogonal. All
        else starts out uniform, as in PyTorch.
    bidirectional : bool
        Whether each sequence is read from its end, too; the clock starts there
        then. As in SpeechBrain, the directions share their weights.
    input_size : int
        Number of input features.
    periods : sequence of int or int
        Strictly increasing periods of the groups, in steps; or the number g
        of groups, for the periods 1, 2, 4, ..., 2^(g-1). By default (1, 2),
        the first with three quarters of the units: for frames of 10 ms, of
        which longer periods miss too much (RESULTS.md, phonemes).
    group_sizes : sequence of int
        Number of units in each group. By default equal, where periods are
        given.
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.backend`.

    Example
    -------
    >>> x = torch.rand(4, 10, 20)
    >>> net = ClockworkLiGRU(16, input_shape=x.shape)
    >>> output, hn = net(x)
    >>> output.shape, net.group_sizes
    (torch.Size([4, 10, 16]), (12, 4))
    """

    def __init__(
        self,
        hidden_size,
        input_shape=None,
        nonlinearity="tanh",
        normalization="batchnorm",
        num_layers=1,
        bias=True,
        dropout=0.0,
        re_init=True,
        bidirectional=False,
        *,
        input_size=None,
        periods=None,
        group_sizes=None,
        backend="auto",
    ):
        if normalization not in NORMALIZATIONS:
            raise InputError(
                f"normalization={normalization!r}: expected one of "
                f"{NORMALIZATIONS}."
            )
        hidden_size = check_integer("hidden_size", hidden_size, least=1)
        if periods is None and group_sizes is None:
            periods, group_sizes = _default_groups(hidden_size)
        super().__init__(
            hidden_size,
            input_shape,
            input_size,
            num_layers,
            # That of a normalisation is its own.
            check_bool("bias", bias) and normalization is None,
            dropout,
            re_init,
            bidirectional,
            periods=periods,
            group_sizes=group_sizes,
            nonlinearity=nonlinearity,
            backend=backend,
        )
        self.bias = bias
        self.normalization = normalization
        for layer in range(self.num_layers if normalization else 0):
            norms = nn.ModuleList(self._make_norm(k) for k in self.group_sizes)
            for norm in norms:
                norm.bias.requires_grad_(bias)
            self.add_module(f"norm_l{layer}", norms)

    def reset_parameters(self, re_init=True):
        """Draw all weights anew.

        Arguments
        ---------
        re_init : bool
            Whether each group's own recurrent weights are orthogonal.
        """
        super().reset_parameters(re_init)
        for name, parameter in self.named_parameters():
            if name.startswith("weight_ih"):
                # As in SpeechBrain's, where it is one of torch.nn.Linear.
                bound = 1 / math.sqrt(max(1, parameter.shape[1]))
                nn.init.uniform_(parameter, -bound, bound)
            elif name.startswith("norm"):
                nn.init.constant_(parameter, float(name.endswith("weight")))

    @classmethod
    def from_speechbrain(cls, ligru, backend="auto"):
        """The same network as one of SpeechBrain's.

        Arguments
        ---------
        ligru : speechbrain.nnet.RNN.LiGRU
            The network whose weights are taken over.
        backend : str
            Engine of the recurrence; see `speechbrain_cwrnn.backend`.

        Returns
        -------
        ClockworkLiGRU
            With the single period 1, in the same dtype, on the same device, and
            in the same mode.

        Example
        -------
        >>> from speechbrain.nnet.RNN import LiGRU
        >>> x = torch.rand(2, 9, 4)
        >>> ligru = LiGRU(5, input_shape=x.shape).eval()
        >>> net = ClockworkLiGRU.from_speechbrain(ligru)
        >>> torch.allclose(net(x)[0], ligru(x)[0], atol=1e-6)
        True
        """
        net = cls(**arguments_of(ligru), periods=[1], backend=backend)
        net.reshape = ligru.reshape
        weight = ligru.rnn[0].w.weight
        net.to(weight.device, weight.dtype).train(ligru.training)
        net.take_over(ligru)
        return net

    def take_over(self, ligru):
        """Take over the weights of one of SpeechBrain's, as far as there is
        room for them: what faster units would send to slower ones is left out.

        Arguments
        ---------
        ligru : speechbrain.nnet.RNN.LiGRU
            A network of the same sizes.
        """
        self._check_sizes(arguments_of(ligru))
        for own, theirs in self._pair_tensors(ligru):
            own.copy_(theirs)

    def to_speechbrain(self):
        """The same network as SpeechBrain's; the way back.

        Returns
        -------
        speechbrain.nnet.RNN.LiGRU
            With weights of its own.
        """
        if self.periods != (1,) or self.normalization is None:
            raise InputError(
                f"periods={self.periods}, normalization="
                f"{self.normalization!r}: expected the single period 1 and a "
                f"normalisation, as SpeechBrain's Li-GRU has."
            )
        # The layer itself needs no SpeechBrain.
        from speechbrain.nnet.RNN import LiGRU

        ligru = LiGRU(
            self.hidden_size,
            (1, None, self.input_size, *[1] * self.reshape),
            self.nonlinearity,
            self.normalization,
            self.num_layers,
            self.bias,
            self.dropout,
            bidirectional=self.bidirectional,
        )
        weight = self.weight_ih_l0
        ligru.to(weight.device, weight.dtype).train(self.training)
        for own, theirs in self._pair_tensors(ligru):
            theirs.copy_(own)
        return ligru

    def _pair_tensors(self, ligru):
        """Each part of a tensor that is kept, and its counterpart in
        SpeechBrain's, where all candidates come before all gates."""
        groups = Groups(self.periods, self.group_sizes, 0, self._cell)
        has_norm = arguments_of(ligru)["normalization"] == self.normalization
        for layer, theirs in enumerate(ligru.rnn):
            weight_ih, weight_hh, _ = self._get_parameters(f"l{layer}")
            for i, (units, rows) in enumerate(zip(groups.units, groups.rows)):
                pairs = [
                    (weight_ih[rows], theirs.w.weight),
                    (weight_hh[i], theirs.u.weight[:, units.start :]),
                ]
                if has_norm:
                    norm = self.get_submodule(f"norm_l{layer}.{i}").state_dict()
                    other = theirs.norm.state_dict()
                    pairs += [(norm[name], other[name]) for name in norm]
                for own, their in pairs:
                    if own.dim():
                        own = own.unflatten(0, (2, -1))
                        their = their.unflatten(0, (2, -1))[:, units]
                    yield own.detach(), their.detach()

    @property
    def _cell(self):
        return Cell(self.nonlinearity, gated=True)

    def _suffixes(self, layer):
        # The directions share their weights.
        return [f"l{layer}"]

    def _make_norm(self, k):
        """That of a group of k units."""
        if self.normalization == "batchnorm":
            return BatchNorm(2 * k)
        return LayerNorm(2 * k)

    def _run_layer(self, layer, x, h0, clock, steps):
        all_steps, norms, mask = steps, None, None
        if self.bidirectional:
            # Side by side, so that both are normalised together.
            x = torch.cat([x, reverse(x, steps)])
            all_steps = None if steps is None else steps.repeat(2)
        if self.normalization is not None:
            norms = self.get_submodule(f"norm_l{layer}")
        if self.dropout and self.training:
            ones = x.new_ones(len(x), self.hidden_size)
            mask = F.dropout(ones, self.dropout)
        h0 = None if h0 is None else torch.cat(h0)
        clock = clock if isinstance(clock, int) else clock.flatten()
        output = run_ligru(
            Layer(x, *self._get_parameters(f"l{layer}"), h0, mask),
            Groups(self.periods, self.group_sizes, clock, self._cell),
            norms,
            all_steps,
            self.backend,
        )
        hn = last_step(output, all_steps)
        if self.bidirectional:
            output, other = output.unflatten(0, (2, -1))
            output = torch.cat([output, reverse(other, steps)], dim=-1)
        return output, hn.unflatten(0, (self._num_directions, -1))


def arguments_of(ligru):
    """Those of a `ClockworkLiGRU` of the same sizes as one of SpeechBrain's."""
    # The layer itself needs no SpeechBrain.
    from speechbrain.nnet.RNN import LiGRU

    if not isinstance(ligru, LiGRU):
        raise InputError(
            f"a {type(ligru).__name__}: expected a LiGRU of SpeechBrain, whose "
            f"weights can be taken over."
        )
    normalization = ligru.normalization
    if normalization not in ("batchnorm", "layernorm"):
        # Whatever else is given, SpeechBrain takes for this.
        normalization = "layernorm"
    return {
        "hidden_size": ligru.hidden_size,
        "input_size": int(ligru.fea_dim),
        "nonlinearity": ligru.nonlinearity,
        "normalization": normalization,
        "num_layers": ligru.num_layers,
        "bias": ligru.bias,
        "dropout": ligru.dropout,
        "bidirectional": ligru.bidirectional,
    }


def _default_groups(hidden_size):
    """Periods and sizes: three quarters of the units at each step."""
    slow = hidden_size // 4
    return ((1, 2), (hidden_size - slow, slow)) if slow else ((1,), None)
