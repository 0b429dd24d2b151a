"""Layers of this package in the place of the RNNs of a model.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import warnings
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

import torch
from speechbrain.nnet.RNN import GRU, LSTM, RNN, LiGRU, SLiGRU
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
)

from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.ligru import ClockworkLiGRU, arguments_of
from speechbrain_cwrnn.rnn import ClockworkRNN
from speechbrain_cwrnn.tables import format_table

TORCH = (nn.RNN, nn.LSTM, nn.GRU)
# These hold one of PyTorch's.
WRAPPERS = (RNN, LSTM, GRU)
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
# What a layer has of the one whose place it takes.
SIZES = (
    "hidden_size",
    "input_size",
    "num_layers",
    "bias",
    "dropout",
    "bidirectional",
)


def swap_rnns(module, to=ClockworkRNN, where=None):
    """Put layers of this package in the place of the RNNs of a model.

    These are each RNN, LSTM and GRU of PyTorch, hence also those of
    SpeechBrain, which hold one of PyTorch's, and each LiGRU and SLiGRU of
    SpeechBrain. A layer that takes the place of one has its sizes, directions,
    dtype, device and mode, and is called as it was. All else stays as it is;
    so do cells, which run a single step.

    The new layers start out random and can be trained; but a `ClockworkRNN`
    takes over what it has room for of a plain RNN of the same nonlinearity, and
    a `ClockworkLiGRU` of a LiGRU. An optimizer has to be made after that, since
    it holds the parameters.

    Arguments
    ---------
    module : torch.nn.Module
        The model, fresh or trained. It is changed in place, if nothing is wrong
        with any of its RNNs.
    to : type or functools.partial
        ClockworkRNN, ClockworkLiGRU, or one of them with arguments of its own,
        such as periods.
    where : str or list of str
        Names of the RNNs that are meant, as of `module.named_modules()`; `*` in
        them stands for any text. By default, all.

    Returns
    -------
    SwapReport
        What was replaced, with parameters and multiply-adds before and after.
        It is printed, too, as a table.

    Example
    -------
    >>> from speechbrain.nnet.RNN import LSTM
    >>> model = nn.Sequential(LSTM(64, input_size=40), nn.Linear(64, 9))
    >>> report = swap_rnns(model, partial(ClockworkRNN, periods=[1, 2, 4, 8]))
    | layer |  was |           is |    parameters | multiply-adds a frame |
    | ----- | ---- | ------------ | ------------- | --------------------- |
    | 0.rnn | LSTM | ClockworkRNN | 27136 -> 5184 |         26624 -> 2768 |
    >>> import torch
    >>> output, (h, c) = model[0](torch.rand(2, 9, 40))
    >>> output.shape, h.shape
    (torch.Size([2, 9, 64]), torch.Size([1, 2, 64]))
    """
    report = replace_rnns(module, to, where)
    print(report)
    return report


def replace_rnns(module, to=ClockworkRNN, where=None):
    """As `swap_rnns`, but without the table, for what is loaded often.

    Arguments
    ---------
    module, to, where
        As there.

    Returns
    -------
    SwapReport
        As there.

    Example
    -------
    >>> model = nn.Sequential(nn.LSTM(40, 64), nn.Linear(64, 9))
    >>> [swap.name for swap in replace_rnns(model)]
    ['0']
    """
    check_layer("to", to)
    rnns = _find_rnns(module, where)
    wrapped = {m.rnn for m in module.modules() if isinstance(m, WRAPPERS)}
    new = {}
    for name, rnn in rnns.items():
        _check_kind(name, rnn)
        new[rnn] = _make_layer(rnn, to)
    report = SwapReport(
        _compare(name, rnn, new[rnn]) for name, rnn in rnns.items()
    )
    for rnn in rnns.values():
        if isinstance(rnn, nn.RNNBase):
            # Whoever calls SpeechBrain's takes a pair from any of them.
            has_pair = isinstance(rnn, nn.LSTM) or rnn in wrapped
            new[rnn] = AsTorch(new[rnn], rnn.batch_first, has_pair)
    # An RNN may be in several places.
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    return report


def check_layer(name, layer):
    """Raise an error for what makes no layer of this package.

    Example
    -------
    >>> check_layer("to", nn.LSTM)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: to=<class 'torch...LSTM'>: expected ...
    """
    made, given = layer, {}
    if isinstance(layer, partial) and not layer.args:
        made, given = layer.func, layer.keywords
    if not (isinstance(made, type) and issubclass(made, ClockworkRNN)):
        raise InputError(
            f"{name}={layer!r}: expected ClockworkRNN or ClockworkLiGRU, maybe "
            f"with arguments by name (functools.partial, or !name: in YAML)."
        )
    for size in (*SIZES, "input_shape"):
        if size in given:
            raise InputError(
                f"{name}: {size}={given[size]!r}: expected none, since it is "
                f"known from where the layer is put."
            )


class AsTorch(nn.Module):
    """A layer of this package that is called as one of PyTorch is.

    Arguments
    ---------
    layer : ClockworkRNN
        The layer.
    batch_first : bool
        Whether input and output are [B, T, F], and not [T, B, F].
    has_pair : bool
        Whether the state is a pair, h and the clock, as of an LSTM. Else it is
        h alone, as of a GRU; since a tensor has no room for the clock, each
        call begins at 0.

    Example
    -------
    >>> import torch
    >>> net = AsTorch(ClockworkRNN(4, input_size=3), False, True)
    >>> output, (h, clock) = net(torch.rand(9, 2, 3))
    >>> output.shape, h.shape, clock.shape
    (torch.Size([9, 2, 4]), torch.Size([1, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, layer, batch_first, has_pair):
        super().__init__()
        self.layer = layer
        self.batch_first = batch_first
        self.has_pair = has_pair
        # SpeechBrain's dual-path model asks for it.
        self.hidden_size = layer.hidden_size

    def forward(self, input, hx=None):
        """Run the layer over sequences, padded or packed, or a single one; hx
        and what is returned are as in PyTorch, a clock for each unit in the
        place of c."""
        x = input
        if isinstance(x, torch.Tensor) and x.dim() == 2:
            batch = 0 if self.batch_first else 1
            hx = _map_state(lambda h: h.unsqueeze(1), hx)
            output, hn = self(x.unsqueeze(batch), hx)
            return output.squeeze(batch), _map_state(lambda h: h[:, 0], hn)
        packed, lengths = isinstance(x, PackedSequence), None
        if packed:
            order = x
            x, steps = pad_packed_sequence(order, batch_first=True)
            lengths = steps / x.shape[1]
        elif not self.batch_first:
            x = x.transpose(0, 1)
        if isinstance(hx, (tuple, list)) and len(hx) == 2:
            h, clock = hx
            if isinstance(clock, torch.Tensor):
                hx = h, clock[..., :1]
        elif hx is not None and not self.has_pair:
            warnings.warn(
                "The state of what was a GRU or RNN has no clock: taken to be "
                "0, as where a sequence begins.",
                stacklevel=2,
            )
        output, (h, clock) = self.layer(x, hx, lengths)
        if packed:
            output = _pack(output, steps, order)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        if not self.has_pair:
            return output, h
        return output, (h, clock.repeat(1, 1, self.hidden_size))

    def flatten_parameters(self):
        """Nothing: only cuDNN, whose weights are to be one piece, asks it."""


def _map_state(function, hx):
    """A state, whose tensors a function changes; what is none stays."""
    if isinstance(hx, (tuple, list)):
        return tuple(_map_state(function, h) for h in hx)
    return function(hx) if isinstance(hx, torch.Tensor) else hx


def _pack(x, steps, order):
    """x [B, T, F], of so many steps [B], packed as another input is."""
    if order.sorted_indices is not None:
        x = x[order.sorted_indices]
        steps = steps[order.sorted_indices.cpu()]
    data = pack_padded_sequence(x, steps, batch_first=True).data
    return order._replace(data=data)


class Swap(NamedTuple):
    """A layer that was replaced: its name; and, before and after that, the
    class, the number of parameters, and the multiply-adds a frame, on average
    over the ticks."""

    name: str
    classes: tuple
    parameters: tuple
    multiply_adds: tuple


class SwapReport(list):
    """Each `Swap`; as text, a table."""

    def __str__(self):
        """The table, with the sums below."""
        rows = [[swap.name, *swap.classes, *swap[2:]] for swap in self]
        if len(rows) > 1:
            sums = [
                tuple(map(sum, zip(*(swap[i] for swap in self))))
                for i in (2, 3)
            ]
            rows.append(["all", "", "", *sums])
        cells = [
            [*row[:3], *(f"{old} -> {new:.0f}" for old, new in row[3:])]
            for row in rows
        ]
        return format_table(
            ["layer", "was", "is", "parameters", "multiply-adds a frame"],
            cells,
        )


def _find_rnns(module, where):
    """Name and layer of the RNNs that are meant, of any kind."""
    kind = f"module of type {type(module).__name__}"
    if not isinstance(module, nn.Module):
        raise InputError(f"{kind}: expected a torch.nn.Module.")
    rnns = {
        name: child
        for name, child in module.named_modules()
        if isinstance(child, (nn.RNNBase, LiGRU, SLiGRU))
    }
    if not rnns:
        raise InputError(
            f"{kind}: expected an RNN, LSTM, GRU or LiGRU of PyTorch or "
            f"SpeechBrain in it, and there is none (a cell, which runs a "
            f"single step, is not swapped)."
        )
    if "" in rnns:
        raise InputError(
            f"{kind}: expected a model that holds it, since a layer cannot "
            f"itself become another."
        )
    if where is None:
        return rnns
    patterns = where if isinstance(where, (list, tuple)) else [where]
    # One that is in several places may be called by any of its names.
    named = {
        child
        for name, child in module.named_modules(remove_duplicate=False)
        if any(fnmatchcase(name, str(pattern)) for pattern in patterns)
    }
    meant = {name: rnn for name, rnn in rnns.items() if rnn in named}
    if not meant:
        raise InputError(
            f"where={where!r}: expected names of RNNs of the model, which are "
            f"{', '.join(rnns)}."
        )
    return meant


def _check_kind(name, rnn):
    """Raise an error for an RNN in whose place no layer can be put."""
    if type(rnn) not in (*TORCH, LiGRU, SLiGRU):
        expected = "one of PyTorch or SpeechBrain itself"
    elif getattr(rnn, "proj_size", 0):
        expected = "none with projections"
    elif any(getattr(rnn, hooks) for hooks in HOOKS):
        # One may look on, or make the weights, as torch.nn.utils.weight_norm.
        expected = "none with hooks, which would be lost"
    else:
        return
    raise InputError(
        f"{name} of type {type(rnn).__name__}: expected {expected} (where= can "
        f"leave it out)."
    )


def _make_layer(rnn, to):
    """A layer for the place of an RNN, with what fits of its weights."""
    base, given = to, {}
    if isinstance(to, partial):
        base, given = to.func, to.keywords
    is_gated = issubclass(base, ClockworkLiGRU)
    fitting = LiGRU if is_gated else nn.RNN
    if type(rnn) is LiGRU and is_gated:
        arguments = arguments_of(rnn)
    else:
        arguments = _sizes(rnn)
    if type(rnn) is nn.RNN and not is_gated:
        arguments["nonlinearity"] = rnn.nonlinearity
    layer = base(**{**arguments, **given})
    weight = next(rnn.parameters())
    layer.to(weight.device, weight.dtype).train(rnn.training)
    layer.reshape = getattr(rnn, "reshape", False)
    if type(rnn) is fitting and rnn.nonlinearity == layer.nonlinearity:
        layer.take_over(rnn)
    return layer


def _sizes(rnn):
    """The arguments that say how large it is."""
    sizes = {name: getattr(rnn, name, None) for name in SIZES}
    if isinstance(rnn, (LiGRU, SLiGRU)):
        sizes["input_size"] = int(rnn.fea_dim)
    return sizes


def _compare(name, old, new):
    """An RNN, and the layer in its place."""
    pair = old, new
    return Swap(
        name,
        tuple(type(net).__name__ for net in pair),
        tuple(sum(p.numel() for p in net.parameters()) for net in pair),
        tuple(_count_multiply_adds(net) for net in pair),
    )


def _count_multiply_adds(net):
    """Those of a frame, on average, with weights; what is elementwise is not
    counted."""
    sizes = _sizes(net)
    H = sizes["hidden_size"]
    if isinstance(net, ClockworkRNN):
        groups = Groups(net.periods, net.group_sizes, 0, net._cell)
        products = [
            ((rows.stop - rows.start) / period, H - units.start)
            for rows, units, period in zip(
                groups.rows, groups.units, groups.periods
            )
        ]
    else:
        gates = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}.get(type(net), 2)
        products = [(gates * H, H)]
    D = 2 if sizes["bidirectional"] else 1
    total, features = 0, sizes["input_size"]
    for _ in range(sizes["num_layers"]):
        total += D * sum(n * (features + senders) for n, senders in products)
        features = D * H
    return total
