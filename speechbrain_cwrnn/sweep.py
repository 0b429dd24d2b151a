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

Networks so small that this would be more calls than arithmetic are run by the
compiled engine, all groups at once, step by step.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from itertools import accumulate
from math import gcd

import torch
import torch.nn.functional as F

from speechbrain_cwrnn.recurrence import choose_engine, recurrence
from speechbrain_cwrnn.signals import before_ticks, hold, project, resample


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

    sizes = [len(weight) for weight in weight_hh]
    engine = choose_engine(backend, x, periods, sizes)
    if engine == "cpu":
        output = recurrence(
            F.linear(x.transpose(0, 1), weight_ih, bias),
            dense_weight(weight_hh),
            h0,
            nonlinearity,
            engine,
            clock,
            periods,
            sizes,
        ).transpose(0, 1)
        return output, output[:, -1]

    starts = [0, *accumulate(sizes)]
    initial = h0.split(sizes, dim=1)
    # blocks[i][j - i] is W_ij.
    blocks = [w.split(sizes[i:], dim=1) for i, w in enumerate(weight_hh)]
    drives = project(x, weight_ih, bias, clock, periods, sizes)
    states = []
    context, context_period = None, None
    for i in reversed(range(len(periods))):
        z, period = drives[i], periods[i]
        if context is not None:
            # At a tick, a group reads what the slower ones held just before.
            context, received = context.split([starts[i], sizes[i]], dim=-1)
            z = z + before_ticks(received, clock, context_period, period, T)
        h = recurrence(z, blocks[i][0], initial[i], nonlinearity, engine)
        state = torch.cat([initial[i][None].to(h.dtype), h])
        states.append(state)
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
                context = resample(
                    context, clock, context_period, common, T
                ) + resample(sent, clock, period, common, T)
                context_period = common
    output = hold(states[::-1], clock, periods, T)
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
