"""The equations of the paper as a loop over time: the oracle, not for speed.

Tests and benchmarks compare everything else with this function.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch


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
):
    """A Clockwork RNN layer, step by step and group by group.

    At step t, group i of period P_i computes, if it ticks,

        h_i[t] = f(V_i x[t] + b_i + sum_{j >= i} W_ij h_j[t-1])

    if (clock + t) % P_i == 0, and holds h_i[t] = h_i[t-1] otherwise
    (Koutnik et al., arXiv:1402.3511, equations 1, 3 and 4).

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F].
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
        Period of each group, in steps.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    nonlinearity : str
        "tanh" or "relu".

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H].
    hn : torch.Tensor
        The state after the last step [B, H].

    Example
    -------
    >>> x = torch.rand(2, 6, 3)
    >>> weight_hh = [torch.eye(1, 2), torch.eye(1)]
    >>> output, hn = clockwork_rnn(
    ...     x, torch.ones(2, 3), weight_hh, periods=(1, 4)
    ... )
    >>> bool((output[:, 1:4, 1] == output[:, :1, 1]).all())
    True
    """
    B, T, _ = x.shape
    f = getattr(torch, nonlinearity)
    H = len(weight_ih)
    h = x.new_zeros(B, H) if h0 is None else h0
    clock = torch.as_tensor(clock, device=x.device).expand(B)
    output = []
    for t in range(T):
        groups = []
        start = 0
        for period, weight in zip(periods, weight_hh):
            rows = slice(start, start + len(weight))
            z = x[:, t] @ weight_ih[rows].T + h[:, start:] @ weight.T
            if bias is not None:
                z = z + bias[rows]
            ticks = (clock + t) % period == 0
            groups.append(torch.where(ticks[:, None], f(z), h[:, rows]))
            start = rows.stop
        h = torch.cat(groups, dim=1)
        output.append(h)
    return torch.stack(output, dim=1), h
