"""A layer in one direction, as a function that checks what it is given.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F
from torch.nn import ParameterList

from speechbrain_cwrnn.backend import check_backend, check_nonlinearity
from speechbrain_cwrnn.clock import Groups, check_clock, check_periods
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.op import run
from speechbrain_cwrnn.plain import unroll

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
        "tanh" or "relu".
    backend : str
        Engine of the recurrence; see `speechbrain_cwrnn.backend`.

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H].
    hn : torch.Tensor
        The state after the last step [B, H].

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
    check_nonlinearity(nonlinearity)
    check_backend(backend)
    periods = check_periods(periods, given=periods)
    clock = check_clock(clock)
    at_host = not isinstance(clock, torch.Tensor)
    _check_kinds(x, weight_ih, weight_hh, bias, h0)
    group_sizes = tuple(w.shape[:1].numel() for w in weight_hh)
    if h0 is None:
        h0 = x.new_zeros(x.shape[0], sum(group_sizes))
    if not at_host:
        clock = clock.to(x.device)
    groups = Groups(periods, group_sizes, clock, nonlinearity)
    _check_shapes(x, weight_ih, weight_hh, bias, h0, groups)
    if x.shape[1] == 1:
        output = unroll(x, weight_ih, weight_hh, bias, h0, groups)
    else:
        x, weight_ih, weight, bias = _autocast(
            x, weight_ih, dense_weight(weight_hh), bias
        )
        output = run(
            x,
            weight_ih,
            weight,
            bias,
            h0.to(x.dtype),
            None if at_host else clock,
            clock if at_host else 0,
            periods,
            group_sizes,
            nonlinearity,
            backend,
        )
    # A copy: either may be changed in place.
    return output, output[:, -1].clone()


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


def _check_kinds(x, weight_ih, weight_hh, bias, h0):
    """Raise an error if something is not a tensor of numbers, where x is."""
    # A tuple, as torch.compile of PyTorch 2.7 knows no unions of types.
    if not isinstance(weight_hh, (list, tuple, ParameterList)):
        raise InputError(
            f"weight_hh of type {type(weight_hh).__name__}: expected a list "
            f"of tensors."
        )
    tensors = {"x": x, "weight_ih": weight_ih}
    for i, w in enumerate(weight_hh):
        tensors[f"weight_hh[{i}]"] = w
    if bias is not None:
        tensors["bias"] = bias
    if h0 is not None:
        tensors["h0"] = h0
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


def _check_shapes(x, weight_ih, weight_hh, bias, h0, groups):
    """Raise an error that says what does not fit, which no engine would."""
    group_sizes = groups.group_sizes
    if len(groups.periods) != len(group_sizes):
        raise InputError(
            f"periods={groups.periods}: expected one for each of the "
            f"{len(group_sizes)} block rows of weight_hh."
        )
    B, _, features = x.shape
    H = sum(group_sizes)
    expected = {"weight_ih": (weight_ih, (H, features)), "h0": (h0, (B, H))}
    for i, (w, k) in enumerate(zip(weight_hh, group_sizes)):
        expected[f"weight_hh[{i}]"] = w, (k, sum(group_sizes[i:]))
    if bias is not None:
        expected["bias"] = bias, (H,)
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
        if tensor.dtype != x.dtype and name not in ("h0", "clock") and not cast:
            raise InputError(
                f"{name} in {tensor.dtype}: expected {x.dtype}, as of x."
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
