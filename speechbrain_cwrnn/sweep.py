"""One layer in one direction, computed from the slowest group to the fastest.

The slowest group depends on nothing but itself and the input. So it is run
first, over its own ticks only; then the next one, which reads the states of
the slower ones; and so on. For group i of period P_i, at its n-th tick,

    z_i[n] = V_i x[n P_i] + b_i + sum_{j > i} (W_ij s_j)[ceil(n P_i / P_j)]
    h_i[n] = f(z_i[n] + W_ii h_i[n-1])

where s_j holds the distinct states of group j: the initial one, then one per
tick. Only the second line is sequential. Each distinct state is multiplied
once, however long it is held, and the paper's model results exactly, for any
periods.

In this file, a *signal* is a tensor [1 + N, B, k] of values that change at the
ticks of a period only: the one before the first tick, then one per tick.
Tensors are time-first, since steps are gathered all the time.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from itertools import accumulate
from math import gcd

import torch
import torch.nn.functional as F

from speechbrain_cwrnn.clock import first_tick, ticks_before
from speechbrain_cwrnn.recurrence import choose_engine, recurrence


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
        Engine of the recurrence; see `speechbrain_cwrnn.recurrence`.

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
    if len(periods) != len(weight_hh):
        raise ValueError(
            f"periods={periods}: expected one for each of the "
            f"{len(weight_hh)} block rows of weight_hh."
        )
    B, T, _ = x.shape
    if h0 is None:
        h0 = x.new_zeros(B, len(weight_ih))
    if T == 1:
        h = _step(
            x[:, 0],
            weight_ih,
            weight_hh,
            bias,
            h0,
            periods,
            clock,
            nonlinearity,
        )
        return h.unsqueeze(1), h

    x = x.transpose(0, 1)
    sizes = [len(weight) for weight in weight_hh]
    engine = choose_engine(backend, x, sizes)
    if engine == "cpu":
        z = F.linear(x, weight_ih, bias)
        weight = dense_weight(weight_hh)
        output = recurrence(
            z, weight, h0, nonlinearity, engine, clock, periods, sizes
        ).transpose(0, 1)
        return output, output[:, -1]

    # A step's output is what the ticks until then, its own included, left.
    until = torch.arange(1, T + 1, device=x.device)
    if isinstance(clock, torch.Tensor):
        until = until.unsqueeze(1)
    starts = [0, *accumulate(sizes)]
    # blocks[i][j - i] is W_ij.
    blocks = [w.split(sizes[i:], dim=1) for i, w in enumerate(weight_hh)]
    seen = sample(x, clock, periods)
    outputs = []
    context, context_period = None, None
    for i in reversed(range(len(periods))):
        period = periods[i]
        rows = slice(starts[i], starts[i + 1])

        ticks = _ticks(T, clock, period, x.device)
        z = F.linear(
            seen[i], weight_ih[rows], None if bias is None else bias[rows]
        )
        if context is not None:
            # At a tick, a group reads what the slower ones held just before.
            before = ticks_before(ticks, clock, context_period)
            z = z + _take(context[..., rows], before)
        h = recurrence(z, blocks[i][0], h0[:, rows], nonlinearity, engine)
        state = torch.cat([h0[None, :, rows].to(h.dtype), h])
        outputs.append(_take(state, ticks_before(until, clock, period)))

        if i > 0:
            # The context is what the slower groups add to each faster one, as
            # a signal that changes when any of them may tick: for periods
            # that divide each other, simply when the fastest of them does.
            sent = torch.cat([blocks[r][i - r] for r in range(i)])
            sent = F.linear(state, sent)
            if context is None:
                context, context_period = sent, period
            else:
                common = gcd(context_period, period)
                context = _resample(
                    context[..., : starts[i]], clock, context_period, common, T
                ) + _resample(sent, clock, period, common, T)
                context_period = common
    output = torch.cat(outputs[::-1], dim=-1).transpose(0, 1)
    return output, output[:, -1]


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


def sample(x, clock, periods):
    """What each group sees of the input: the frames at its own ticks.

    Arguments
    ---------
    x : torch.Tensor
        Input, time first [T, B, F].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    periods : sequence of int
        Period of each group, in steps.

    Returns
    -------
    list of torch.Tensor
        For each group, the frames [N, B, F] at the steps of `_ticks`.

    Example
    -------
    >>> x = torch.arange(10).reshape(10, 1, 1)
    >>> [frames.flatten().tolist() for frames in sample(x, 1, (2, 4))]
    [[1, 3, 5, 7, 9], [3, 7]]
    """
    T = x.shape[0]
    seen = {}
    for period in periods:
        if isinstance(clock, torch.Tensor):
            seen[period] = _take(x, _ticks(T, clock, period, x.device))
            continue
        # Frames are taken from those of a faster group, where it has them: in
        # the backward pass, a slow group need not touch the whole input then.
        source, step, first = x, period, first_tick(clock, period)
        for faster in seen:
            if period % faster == 0:
                source, step = seen[faster], period // faster
                first = ticks_before(first_tick(clock, period), clock, faster)
        seen[period] = source[first::step] if step > 1 else source
    return list(seen.values())


def _ticks(T, clock, period, device):
    """The steps [N] below T at which a group ticks.

    [N, B] where each sequence has a clock of its own. One that ticks less
    often than another then has ticks past the end, which nothing reads: so
    no length depends on the values of the clocks, and no device is asked.
    """
    first = first_tick(clock, period)
    if isinstance(clock, int):
        # The length of a slice [first::period].
        N = (T - first + period - 1) // period
        return first + period * torch.arange(N, device=device)
    N = (T + period - 1) // period
    return first + period * torch.arange(N, device=device).unsqueeze(1)


def _take(signal, index):
    """Gather signal [M, B, k] in time by index [N], or [N, B]."""
    if index.dim() == 1:
        # An embedding, as its gradient is summed several times faster than
        # that of index_select.
        rows = F.embedding(index, signal.flatten(1))
        return rows.unflatten(1, signal.shape[1:])
    index = index.clamp(max=signal.shape[0] - 1).unsqueeze(-1)
    return signal.take_along_dim(index, dim=0)


def _resample(signal, clock, period, finer, T):
    """A signal of some period, as one of a finer period that divides it."""
    if period == finer:
        return signal
    ticks = _ticks(T, clock, finer, signal.device)
    after = ticks_before(ticks + 1, clock, period)
    return _take(signal, F.pad(after, (0, 0) * (after.dim() - 1) + (1, 0)))


def _step(x, weight_ih, weight_hh, bias, h0, periods, clock, nonlinearity):
    """A single step, all groups at once: x [B, F], h0 [B, H] -> h [B, H].

    Groups that do not tick are computed too, and not used: every parameter
    has a gradient then, and the clocks need not be known on the host.
    """
    H = h0.shape[1]
    z = F.linear(x, weight_ih, bias)
    h0 = h0.to(z.dtype)
    z = z + torch.cat(
        [F.linear(h0[:, H - w.shape[1] :], w) for w in weight_hh], dim=-1
    )
    period = torch.cat(
        [
            torch.full((len(w),), p, device=x.device)
            for p, w in zip(periods, weight_hh)
        ]
    )
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    return torch.where(clock % period == 0, getattr(torch, nonlinearity)(z), h0)
