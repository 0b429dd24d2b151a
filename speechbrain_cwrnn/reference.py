"""The equations of both cells as loops over time: the oracle, not for speed.

Tests and benchmarks compare everything else with these functions.

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
        "tanh", "relu" or "leaky_relu".

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
    f = getattr(torch.nn.functional, nonlinearity)
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
):
    """A clockwork Li-GRU layer, step by step and group by group.

    It is the Li-GRU of Ravanelli et al., "Light Gated Recurrent Units for
    Speech Recognition", arXiv:1803.10225, whose units tick in groups. At step
    t, group i of period P_i computes, if it ticks,

        c = f(norm(V_i x[t] + b_i) + sum_{j >= i} W_ij h_j[t-1])
        u = sigmoid(norm(Vu_i x[t] + bu_i) + sum_{j >= i} U_ij h_j[t-1])
        h_i[t] = u h_i[t-1] + (1 - u) m c

    if (clock + t) % P_i == 0, and holds h_i[t] = h_i[t-1] otherwise.

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F].
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
        Period of each group, in steps.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    nonlinearity : str
        f: "tanh", "relu" or "leaky_relu".
    norms : list of callable or None
        For each group, what normalises V x at all its ticks [ticks, 2 k_i].
    mask : torch.Tensor or None
        m, of the recurrent dropout [B, H]; None for one.

    Returns
    -------
    output : torch.Tensor
        The state after every step [B, T, H].
    hn : torch.Tensor
        The state after the last step [B, H].

    Example
    -------
    >>> x = torch.rand(2, 6, 3)
    >>> weight_hh = [torch.rand(2, 2), torch.rand(2, 1)]
    >>> output, hn = clockwork_ligru(
    ...     x, torch.ones(4, 3), weight_hh, periods=(1, 4)
    ... )
    >>> bool((output[:, 1:4, 1] == output[:, :1, 1]).all())
    True
    """
    B, T, _ = x.shape
    f = getattr(torch.nn.functional, nonlinearity)
    group_sizes = [len(weight) // 2 for weight in weight_hh]
    H = sum(group_sizes)
    h = x.new_zeros(B, H) if h0 is None else h0
    m = x.new_ones(B, H) if mask is None else mask
    clock = torch.as_tensor(clock, device=x.device).expand(B)
    time = torch.arange(T, device=x.device)
    ticks = [(clock[:, None] + time) % period == 0 for period in periods]

    z, rows = [], 0
    for i, k in enumerate(group_sizes):
        group = slice(rows, rows + 2 * k)
        z_i = x @ weight_ih[group].T
        if bias is not None:
            z_i = z_i + bias[group]
        if norms is not None:
            z_i = z_i.masked_scatter(
                ticks[i][..., None], norms[i](z_i[ticks[i]])
            )
        z.append(z_i)
        rows = group.stop

    output = []
    for t in range(T):
        groups = []
        start = 0
        for i, k in enumerate(group_sizes):
            units = slice(start, start + k)
            a = z[i][:, t] + h[:, start:] @ weight_hh[i].T
            c, u = f(a[:, :k]) * m[:, units], torch.sigmoid(a[:, k:])
            new = u * h[:, units] + (1 - u) * c
            groups.append(torch.where(ticks[i][:, t, None], new, h[:, units]))
            start = units.stop
        h = torch.cat(groups, dim=1)
        output.append(h)
    return torch.stack(output, dim=1), h
