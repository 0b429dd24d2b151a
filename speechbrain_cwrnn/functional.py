"""A layer in one direction, as functions that check what they are given.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.nn import Parameter, ParameterList

from speechbrain_cwrnn import plain, stepwise
from speechbrain_cwrnn.apart import group_options, project_op, recur_op
from speechbrain_cwrnn.backend import check_backend, choose
from speechbrain_cwrnn.cells import Cell, check_nonlinearity
from speechbrain_cwrnn.checks import has_known_values
from speechbrain_cwrnn.clock import Groups, check_clock, check_periods
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.inputs import split_inputs
from speechbrain_cwrnn.lengths import last_step, ticks_inside
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.op import run
from speechbrain_cwrnn.transforms import is_transformed, is_watched

# Up to so many steps, plain PyTorch takes less time than an operation does.
SHORT = 4

# Up to so many sequences are run one by one, and so many for a few steps.
FEW, MANY = 4, 16

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def clockwork_rnn(
    x,
    weight_ih,
    weight_hh,
    bias=None,
    h0=None,
    *,
    periods,
    clock=0,
    nonlinearity="tanh",
    steps=None,
    backend="auto",
):
    """Functional version of a `ClockworkRNN` of one layer and direction.

        h_i[t] = f(V_i x[t] + b_i + sum_{j >= i} W_ij h_j[t-1])

    if (clock + t) % P_i == 0, and h_i[t] = h_i[t-1] otherwise, for the groups
    i = 1, ..., G of rising period P_i (Koutnik et al., arXiv:1402.3511).

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F]; F may be 0.
    weight_ih : torch.Tensor
        Input weights V [H, F], fastest group first.
    weight_hh : list of torch.Tensor
        Block rows of the recurrent weights: the i-th, of the i-th fastest
        group, is [k_i, k_i + ... + k_G].
    bias : torch.Tensor or None
        Bias [H].
    h0 : torch.Tensor or None
        State before the first step [B, H]; None for zero.
    periods : sequence of int
        Period of each group in steps, strictly increasing.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    nonlinearity : str
        "tanh", "relu" or "leaky_relu".
    steps : torch.Tensor or None
        Number of steps of each sequence [B]; None for all.
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.backend`.

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H]; zero past the end of a sequence.
    hn : torch.Tensor
        The state after the last step of each sequence [B, H].

    Example
    -------
    >>> x = torch.rand(2, 10, 3)
    >>> weight_hh = [torch.rand(4, 6), torch.rand(2, 2)]
    >>> output, hn = clockwork_rnn(
    ...     x, torch.rand(6, 3), weight_hh, periods=(1, 4)
    ... )
    >>> output.shape, hn.shape
    (torch.Size([2, 10, 6]), torch.Size([2, 6]))
    """
    layer = Layer(x, weight_ih, weight_hh, bias, h0)
    groups = _make_groups(layer, periods, clock, nonlinearity)
    check_backend(backend)
    output = run_rnn(layer, groups, steps, backend)
    return output, _last(output, steps)


def run_rnn(layer, groups, steps, backend):
    """The output of a layer, whose weight is a list of block rows, once it is
    found to fit together; steps as in `clockwork_rnn`."""
    layer, groups = _prepare(layer, groups, steps)
    x, weight_ih, weight_hh, bias, h0, _ = layer
    few = _choose_few(layer, groups, backend)
    if few:
        z = few.project(x, weight_ih, bias, groups)
        return few.unroll(z, weight_hh, h0, groups, steps=steps)
    x, weight_ih, weight, bias = _autocast(
        x, weight_ih, dense_weight(weight_hh), bias
    )
    at_host = isinstance(groups.clock, int)
    return run(
        x,
        weight_ih,
        weight,
        bias,
        h0.to(x.dtype),
        steps,
        None if at_host else groups.clock,
        groups.clock if at_host else 0,
        groups.periods,
        groups.group_sizes,
        groups.cell.nonlinearity,
        backend,
    )


def clockwork_ligru(
    x,
    weight_ih,
    weight_hh,
    bias=None,
    h0=None,
    *,
    periods,
    clock=0,
    nonlinearity="tanh",
    norms=None,
    mask=None,
    steps=None,
    backend="auto",
):
    """Functional version of a `ClockworkLiGRU` of one layer and direction.

        c = f(norm(V_i x[t] + b_i) + sum_{j >= i} W_ij h_j[t-1])
        u = sigmoid(norm(Vu_i x[t] + bu_i) + sum_{j >= i} U_ij h_j[t-1])
        h_i[t] = u h_i[t-1] + (1 - u) m c

    if (clock + t) % P_i == 0, and h_i[t] = h_i[t-1] otherwise, for the groups
    i = 1, ..., G of rising period P_i. With a single group of period 1, this
    is the Li-GRU of Ravanelli et al. (arXiv:1803.10225).

    It can be differentiated once; more often by `torch.func` alone.

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F]; F may be 0.
    weight_ih : torch.Tensor
        Input weights [2 H, F], fastest group first; of each group, those of
        the candidates V_i come before those of the gates Vu_i.
    weight_hh : list of torch.Tensor
        Block rows of the recurrent weights: the i-th, of the i-th fastest
        group, is [2 k_i, k_i + ... + k_G], W_i above U_i.
    bias : torch.Tensor or None
        Bias [2 H], in the order of weight_ih.
    h0 : torch.Tensor or None
        State before the first step [B, H]; None for zero.
    periods : sequence of int
        Period of each group in steps, strictly increasing.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    nonlinearity : str
        f: "tanh", "relu" or "leaky_relu".
    norms : sequence of callable or None
        What normalises z = V x + b, for each group. Each gets z [B, N, 2 k_i]
        at N places, its ticks among them, and which of these are ticks inside
        of the sequences [B, N]; or None where all are, or where it is a module
        in evaluation.
    mask : torch.Tensor or None
        m, of the recurrent dropout [B, H]; None for one. It has no gradient.
    steps : torch.Tensor or None
        Number of steps of each sequence [B]; None for all.
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.backend`.

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H]; zero past the end of a sequence.
    hn : torch.Tensor
        The state after the last step of each sequence [B, H].

    Example
    -------
    >>> x = torch.rand(2, 10, 3)
    >>> weight_hh = [torch.rand(8, 6), torch.rand(4, 2)]
    >>> output, hn = clockwork_ligru(
    ...     x, torch.rand(12, 3), weight_hh, periods=(1, 4)
    ... )
    >>> output.shape, hn.shape
    (torch.Size([2, 10, 6]), torch.Size([2, 6]))
    """
    layer = Layer(x, weight_ih, weight_hh, bias, h0, mask)
    groups = _make_groups(layer, periods, clock, nonlinearity, gated=True)
    if norms is not None and len(norms) != len(groups.periods):
        raise InputError(
            f"{len(norms)} norms: expected one for each of the "
            f"{len(groups.periods)} groups."
        )
    check_backend(backend)
    output = run_ligru(layer, groups, norms, steps, backend)
    return output, _last(output, steps)


def _last(output, steps):
    """The state after the last step of each sequence [B, H], as a copy: it or
    the output may be changed in place."""
    h = last_step(output, steps)
    return h.clone() if steps is None else h


def run_ligru(layer, groups, norms, steps, backend):
    """As `run_rnn`, for gated cells; norms and steps as in
    `clockwork_ligru`."""
    layer, groups = _prepare(layer, groups, steps)
    x, weight_ih, weight_hh, bias, h0, mask = layer
    B, T, _ = x.shape
    clock = groups.clock
    few = _choose_few(layer, groups, backend)
    if is_transformed() and not few:
        few = OF_PLAIN
    if few:
        if norms is None:
            z = few.project(x, weight_ih, bias, groups)
        else:
            # A norm may look at all that it gets.
            z = F.linear(x, weight_ih, bias)
            parts = z.split([2 * k for k in groups.group_sizes], dim=-1)
            parts = [
                norm(part, _ticks(norm, x, period, clock, steps))
                for norm, part, period in zip(norms, parts, groups.periods)
            ]
            z = torch.cat(parts, dim=-1)
        return few.unroll(z, weight_hh, h0, groups, mask, steps)
    x, weight_ih, weight, bias = _autocast(
        x, weight_ih, dense_weight(weight_hh), bias
    )
    options = group_options(groups)
    values = project_op(x, weight_ih, bias, *options)
    parts = split_inputs(values.unsqueeze(0), B, T, groups).parts
    parts = [part.squeeze(0) for part in parts]
    if norms is not None:
        parts = [
            norm(part, _inside(x, period, clock, steps))
            for norm, part, period in zip(norms, parts, groups.periods)
        ]
    h0, mask = (t if t is None else t.to(x.dtype) for t in (h0, mask))
    output, _ = recur_op(parts, weight, h0, mask, steps, *options, T, backend)
    # The operation needs its own for the gradient.
    return output.clone() if torch.is_grad_enabled() else output


def dense_weight(weight_hh):
    """The recurrent weights as a matrix with its zeros.

    Arguments
    ---------
    weight_hh : list of torch.Tensor
        Block rows, as in `clockwork_rnn`.

    Returns
    -------
    torch.Tensor
        W [H, H], block-upper-triangular; rows receive, columns send.

    Example
    -------
    >>> dense_weight([torch.ones(1, 3), torch.ones(2, 2)])
    tensor([[1., 1., 1.],
            [0., 1., 1.],
            [0., 1., 1.]])
    """
    H = weight_hh[0].shape[1]
    # Not by torch.cat with zeros, which would cost less: exported to ONNX, a
    # model with two layers then has a matrix of the wrong shape.
    return torch.cat([F.pad(w, (H - w.shape[1], 0)) for w in weight_hh])


def _make_groups(layer, periods, clock, nonlinearity, gated=False):
    """The groups of a layer, whose sizes its block rows have."""
    check_nonlinearity(nonlinearity)
    cell = Cell(nonlinearity, gated)
    # A tuple, as torch.compile of PyTorch 2.7 knows no unions of types.
    if not isinstance(layer.weight, (list, tuple, ParameterList)):
        raise InputError(
            f"weight_hh of type {type(layer.weight).__name__}: expected a list "
            f"of tensors."
        )
    group_sizes = tuple(
        getattr(w, "shape", torch.Size())[:1].numel() // cell.columns
        for w in layer.weight
    )
    return Groups(
        check_periods(periods, given=periods), group_sizes, clock, cell
    )


def _prepare(layer, groups, steps):
    """The layer, with an initial state, and its groups, with a clock that is
    checked; or an error that says what does not fit."""
    x, clock = layer.x, groups.clock
    is_known = not isinstance(clock, torch.Tensor)
    kinds = tuple(
        map(
            _look_at,
            (x, layer.weight_ih, layer.bias, layer.h0, layer.mask)
            + (None if is_known else clock, *layer.weight),
        )
    )
    check = _check_once
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        # Sizes are no numbers there.
        check = _check
    cast = isinstance(x, torch.Tensor) and _is_autocast(x)
    check(kinds, groups.periods, groups.group_sizes, groups.cell, cast)
    _check_steps(steps, x)
    clock = check_clock(clock)
    if isinstance(clock, torch.Tensor):
        clock = clock.to(x.device)
    if clock is not groups.clock:
        groups = replace(groups, clock=clock)
    if layer.h0 is None:
        h0 = x.new_zeros(x.shape[0], sum(groups.group_sizes))
        # Field by field: torch.compile of PyTorch 2.7 traces no _replace and no
        # slice of a named tuple.
        x, weight_ih, weight, bias, _, mask = layer
        layer = Layer(x, weight_ih, weight, bias, h0, mask)
    return layer, groups


class Few(NamedTuple):
    """What runs a layer from a single tensor of what all groups see of the
    input.

    Arguments
    ---------
    project : callable
        Gives that [B, T, C H], of each group at its ticks at least.
    unroll : callable
        Gives the states from it.
    """

    project: object
    unroll: object


def _project(x, weight_ih, bias, groups):
    """At all steps, by a single product."""
    return F.linear(x, weight_ih, bias)


OF_PLAIN = Few(_project, plain.unroll)


def _choose_few(layer, groups, backend):
    """What runs a layer where calls cost more than what they compute: the
    compiled loop, where nothing looks on; plain PyTorch at a single step, and
    at a few where groups that do not tick need not be computed; else None."""
    x, weight_ih, weight_hh, bias, h0, mask = layer
    B, T, _ = x.shape
    if torch.compiler.is_compiling():
        return OF_PLAIN if T == 1 else None
    is_known, is_short = isinstance(groups.clock, int), T <= SHORT
    if (
        is_known
        and B <= (MANY if is_short else FEW)
        and not is_watched(x, weight_ih, bias, h0, mask, *weight_hh)
        and not _is_autocast(x)
    ):
        way, engine = choose(backend, x, groups)
        if way is stepwise and is_short:
            # With more sequences, a product reads the weights less often.
            project = engine.project_rows if B == 1 else _project
            return Few(project, engine.forward_rows)
        # Of many steps, some are not worth to be seen by all groups.
        if way is stepwise and len(way.input_groups(layer, groups).periods) < 2:
            return Few(_project, engine.forward_rows)
    is_short = is_short and is_known and not torch.is_grad_enabled()
    return OF_PLAIN if is_short or T == 1 else None


def _look_at(tensor):
    """What there is to check of a tensor: its shape, dtype and device; of
    anything else, what it is, and None of None."""
    if tensor is None:
        return None
    # That of a stream looks at all its tensors at each step.
    if type(tensor) is not Parameter and not isinstance(tensor, torch.Tensor):
        return f" of type {type(tensor).__name__}"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f", {'nested' if tensor.is_nested else tensor.layout}"
    return tensor.shape, tensor.dtype, tensor.device


def _inside(x, period, clock, steps):
    """Which ticks of a group are inside of each sequence [B, N], or None where
    all are: x [B, T, F]."""
    if steps is None and isinstance(clock, int):
        return None
    return ticks_inside(x.shape[1], clock, period, steps)


def _ticks(norm, x, period, clock, steps):
    """At which steps of each sequence a group ticks [B, T], or None where the
    norm has no use for that: it has its statistics in evaluation."""
    if not getattr(norm, "training", True):
        return None
    B, T, _ = x.shape
    time = torch.arange(T, device=x.device)
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    ticks = (clock + time) % period == 0
    if steps is not None:
        ticks = ticks & (time < steps.unsqueeze(-1))
    return ticks.expand(B, T)


def _check(kinds, periods, group_sizes, cell, cast):
    """Raise an error that says what does not fit, which no engine would: from
    what `_look_at` says of x, weight_ih, bias, h0, mask, clocks, and the block
    rows. cast is whether autocast makes another dtype of them."""
    names = ["x", "weight_ih", "bias", "h0", "mask", "clock"]
    names += [f"weight_hh[{i}]" for i in range(len(group_sizes))]
    kinds = dict(zip(names, kinds))
    for name, kind in kinds.items():
        if kind is None and name in ("bias", "h0", "mask", "clock"):
            continue
        if not isinstance(kind, tuple):
            given = kind or " of type NoneType"
            raise InputError(f"{name}{given}: expected a dense tensor.")
        if name == "clock":
            continue
        _, dtype, device = kind
        if dtype not in DTYPES:
            raise InputError(f"{name} in {dtype}: expected one of {DTYPES}.")
        if device != kinds["x"][2]:
            raise InputError(
                f"{name} on {device}: expected {kinds['x'][2]}, as x."
            )
    shape, dtype, _ = kinds["x"]
    if len(shape) != 3 or shape[1] < 1:
        raise InputError(
            f"x of shape {tuple(shape)}: expected [batch, time, features], "
            f"with at least one step."
        )
    if len(periods) != len(group_sizes):
        raise InputError(
            f"periods={periods}: expected one for each of the "
            f"{len(group_sizes)} block rows of weight_hh."
        )
    B, _, features = shape
    H, C = sum(group_sizes), cell.columns
    expected = {
        "weight_ih": (C * H, features),
        "h0": (B, H),
        "bias": (C * H,),
        "mask": (B, H),
        "clock": (B,),
    }
    for i, k in enumerate(group_sizes):
        expected[f"weight_hh[{i}]"] = C * k, sum(group_sizes[i:])
    for name, own in expected.items():
        if kinds[name] is None:
            continue
        given, given_dtype, _ = kinds[name]
        if given != own:
            raise InputError(
                f"{name} of shape {tuple(given)}: expected {own}, for x of "
                f"shape {tuple(shape)} and {H} units in groups of "
                f"{list(group_sizes)}."
            )
        # States are cast, whatever they are.
        same = given_dtype == dtype or cast
        if not same and name not in ("h0", "mask", "clock"):
            raise InputError(
                f"{name} in {given_dtype}: expected {dtype}, as of x."
            )


# A layer is called with the same shapes again and again.
_check_once = lru_cache(_check)


def _check_steps(steps, x):
    """Raise an error for what is no number of steps for each sequence."""
    if steps is None:
        return
    if not isinstance(steps, torch.Tensor):
        raise InputError(
            f"steps of type {type(steps).__name__}: expected a tensor."
        )
    if steps.shape != x.shape[:1] or steps.dtype != torch.long:
        raise InputError(
            f"steps of shape {tuple(steps.shape)} in {steps.dtype}: expected "
            f"one number for each of {x.shape[0]} sequences, in torch.int64."
        )
    if has_known_values(steps):
        low, high = (value.item() for value in steps.aminmax())
        if low < 1 or high > x.shape[1]:
            raise InputError(
                f"steps={steps.tolist()}: expected from 1 to {x.shape[1]}, as "
                f"many as x has."
            )


def _is_autocast(x):
    """Whether autocast makes another dtype of the layer's tensors."""
    # A tensor without data has none, and asking is an error.
    device = x.device.type
    enabled = device != "meta" and torch.is_autocast_enabled(device)
    return enabled and x.dtype != torch.float64


def _autocast(x, *weights):
    """What autocast, if it is on, makes of a layer's input and weights."""
    if not _is_autocast(x):
        return x, *weights
    dtype = torch.get_autocast_dtype(x.device.type)
    return [t if t is None else t.to(dtype) for t in (x, *weights)]
