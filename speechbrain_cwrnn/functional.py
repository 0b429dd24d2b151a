"""A layer in one direction, as functions that check what they are given.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.nn import ParameterList

from speechbrain_cwrnn.apart import group_options, project_op, recur_op
from speechbrain_cwrnn.backend import check_backend
from speechbrain_cwrnn.cells import Cell, check_nonlinearity
from speechbrain_cwrnn.checks import has_known_values
from speechbrain_cwrnn.clock import Groups, check_clock, check_periods
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.inputs import split_inputs
from speechbrain_cwrnn.lengths import last_step, ticks_inside
from speechbrain_cwrnn.linear import Layer
from speechbrain_cwrnn.op import run, simplify
from speechbrain_cwrnn.plain import unroll
from speechbrain_cwrnn.transforms import is_transformed

# Up to so many steps, plain PyTorch takes less time than an operation does.
SHORT = 4

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
    layer, groups = _prepare(layer, periods, clock, Cell(nonlinearity))
    _check_steps(steps, x)
    check_backend(backend)
    if _is_short(x.shape[1], groups.clock):
        z = F.linear(x, weight_ih, bias)
        output = unroll(z, weight_hh, layer.h0, groups, steps=steps)
    else:
        x, weight_ih, weight, bias = _autocast(
            x, weight_ih, dense_weight(weight_hh), bias
        )
        at_host = isinstance(groups.clock, int)
        output = run(
            x,
            weight_ih,
            weight,
            bias,
            layer.h0.to(x.dtype),
            steps,
            None if at_host else groups.clock,
            groups.clock if at_host else 0,
            groups.periods,
            groups.group_sizes,
            nonlinearity,
            backend,
        )
    return output, _last(output, steps)


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
        of the sequences [B, N]; or None where all are.
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
    cell = Cell(nonlinearity, gated=True)
    layer, groups = _prepare(layer, periods, clock, cell)
    _check_steps(steps, x)
    check_backend(backend)
    B, T, _ = x.shape
    h0, clock = layer.h0, groups.clock
    if _is_short(T, clock) or is_transformed():
        z = F.linear(x, weight_ih, bias)
        if norms is not None:
            parts = z.split([2 * k for k in groups.group_sizes], dim=-1)
            parts = [
                norm(part, _ticks(x, period, clock, steps))
                for norm, part, period in zip(norms, parts, groups.periods)
            ]
            z = torch.cat(parts, dim=-1)
        output = unroll(z, weight_hh, h0, groups, mask, steps)
    else:
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
        output, _ = recur_op(
            parts, weight, h0, mask, steps, *options, T, backend
        )
        if torch.is_grad_enabled():
            # The operation needs its own for the gradient.
            output = output.clone()
    return output, _last(output, steps)


def _last(output, steps):
    """The state after the last step of each sequence [B, H], as a copy: it or
    the output may be changed in place."""
    h = last_step(output, steps).squeeze(1)
    return h.clone() if steps is None else h


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
    return torch.cat([F.pad(w, (H - w.shape[1], 0)) for w in weight_hh])


def _prepare(layer, periods, clock, cell):
    """The layer, with an initial state, and its groups, or an error that says
    what does not fit; weight is the list of block rows."""
    check_nonlinearity(cell.nonlinearity)
    periods = check_periods(periods, given=periods)
    clock = check_clock(clock)
    _check_kinds(layer)
    x, rows = layer.x, layer.weight
    group_sizes = tuple(w.shape[:1].numel() // cell.columns for w in rows)
    if layer.h0 is None:
        h0 = x.new_zeros(x.shape[0], sum(group_sizes))
        # Without _replace, which torch.compile of PyTorch 2.7 does not trace.
        layer = Layer(x, layer.weight_ih, rows, layer.bias, h0, layer.mask)
    if isinstance(clock, torch.Tensor):
        clock = clock.to(x.device)
    groups = Groups(periods, group_sizes, clock, cell)
    _check_shapes(layer, groups)
    if isinstance(clock, torch.Tensor) and has_known_values(clock):
        groups = replace(groups, clock=simplify(clock))
    return layer, groups


def _is_short(T, clock):
    """Whether calls cost more than what they compute: at a single step, and at
    a few where groups that do not tick need not be computed."""
    if T == 1 or torch.compiler.is_compiling():
        return T == 1
    known = isinstance(clock, int) and not torch.is_grad_enabled()
    return known and T <= SHORT


def _check_kinds(layer):
    """Raise an error if something is not a tensor of numbers, where x is."""
    x, weight_hh = layer.x, layer.weight
    # A tuple, as torch.compile of PyTorch 2.7 knows no unions of types.
    if not isinstance(weight_hh, (list, tuple, ParameterList)):
        raise InputError(
            f"weight_hh of type {type(weight_hh).__name__}: expected a list "
            f"of tensors."
        )
    tensors = {"x": x, "weight_ih": layer.weight_ih}
    for i, w in enumerate(weight_hh):
        tensors[f"weight_hh[{i}]"] = w
    for name in ("bias", "h0", "mask"):
        if getattr(layer, name) is not None:
            tensors[name] = getattr(layer, name)
    device = getattr(x, "device", None)
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise InputError(
                f"{name} of type {type(tensor).__name__}: expected a tensor."
            )
        if tensor.layout != torch.strided or tensor.is_nested:
            layout = "nested" if tensor.is_nested else tensor.layout
            raise InputError(f"{name}, {layout}: expected a dense tensor.")
        if tensor.dtype not in DTYPES:
            raise InputError(
                f"{name} in {tensor.dtype}: expected one of {DTYPES}."
            )
        if tensor.device != device:
            raise InputError(
                f"{name} on {tensor.device}: expected {device}, as x."
            )
    if x.dim() != 3 or x.shape[1] < 1:
        raise InputError(
            f"x of shape {tuple(x.shape)}: expected [batch, time, features], "
            f"with at least one step."
        )


def _inside(x, period, clock, steps):
    """Which ticks of a group are inside of each sequence [B, N], or None where
    all are: x [B, T, F]."""
    if steps is None and isinstance(clock, int):
        return None
    return ticks_inside(x.shape[1], clock, period, steps)


def _ticks(x, period, clock, steps):
    """At which steps of each sequence a group ticks [B, T]."""
    B, T, _ = x.shape
    time = torch.arange(T, device=x.device)
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    ticks = (clock + time) % period == 0
    if steps is not None:
        ticks = ticks & (time < steps.unsqueeze(-1))
    return ticks.expand(B, T)


def _check_shapes(layer, groups):
    """Raise an error that says what does not fit, which no engine would."""
    x, group_sizes = layer.x, groups.group_sizes
    if len(groups.periods) != len(group_sizes):
        raise InputError(
            f"periods={groups.periods}: expected one for each of the "
            f"{len(group_sizes)} block rows of weight_hh."
        )
    B, _, features = x.shape
    H, C = sum(group_sizes), groups.cell.columns
    expected = {
        "weight_ih": (layer.weight_ih, (C * H, features)),
        "h0": (layer.h0, (B, H)),
    }
    for i, (w, k) in enumerate(zip(layer.weight, group_sizes)):
        expected[f"weight_hh[{i}]"] = w, (C * k, sum(group_sizes[i:]))
    if layer.bias is not None:
        expected["bias"] = layer.bias, (C * H,)
    if layer.mask is not None:
        expected["mask"] = layer.mask, (B, H)
    if isinstance(groups.clock, torch.Tensor):
        expected["clock"] = groups.clock, (B,)
    cast = _is_autocast(x)
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise InputError(
                f"{name} of shape {tuple(tensor.shape)}: expected {shape}, for "
                f"x of shape {tuple(x.shape)} and {H} units in groups of "
                f"{list(group_sizes)}."
            )
        # States are cast, whatever they are.
        same = tensor.dtype == x.dtype or cast
        if not same and name not in ("h0", "mask", "clock"):
            raise InputError(
                f"{name} in {tensor.dtype}: expected {x.dtype}, as of x."
            )


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
