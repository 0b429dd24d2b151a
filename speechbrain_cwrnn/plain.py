"""A layer in plain PyTorch: step by step, all groups at once.

It is for a few steps, where calls cost more than what they compute, and for
derivatives that the operation does not have: PyTorch differentiates it by
itself, forwards, backwards and again. For many steps it is slow.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F


def unroll(z, weight_hh, h0, groups, mask=None, steps=None):
    """The state after every step [B, T, H].

    Groups that do not tick are not computed where the clock is known and no
    gradient is wanted. Elsewhere they are, and not used: every parameter has a
    gradient then.

    Arguments
    ---------
    z : torch.Tensor
        What the groups see of the input [B, T, C H], at all steps.
    weight_hh : list of torch.Tensor
        Block rows of the recurrent weights, as in `clockwork_rnn`.
    h0 : torch.Tensor
        State before the first step [B, H].
    groups : Groups
        Which unit ticks when.
    mask : torch.Tensor or None
        What the candidates of a gated cell are multiplied with [B, H].
    steps : torch.Tensor or None
        Number of steps of each sequence [B], past which its state is zero.
    """
    rows = list(zip(groups.units, groups.rows, weight_hh))
    skips = isinstance(groups.clock, int) and not torch.is_grad_enabled()
    if not skips:
        ticks = _ticks(z, groups)
    h, output = h0.to(z.dtype), []
    for t, z_t in enumerate(z.unbind(1)):
        due = [
            not skips or (groups.clock + t) % period == 0
            for period in groups.periods
        ]
        received = [
            torch.addmm(z_t[:, row], h[:, units.start :], w.mT)
            for (units, row, w), is_due in zip(rows, due)
            if is_due
        ]
        if skips:
            h = _update_some(received, h, groups, mask, due)
        else:
            new = _update(received, h, groups.cell, mask)
            h = torch.where(ticks[t], new, h)
        if steps is not None:
            h = torch.where(t < steps.unsqueeze(-1), h, 0)
        output.append(h)
    return torch.stack(output, dim=1)


def _ticks(z, groups):
    """Which units tick at each step [T, H], or [T, B, H]."""
    period = torch.cat(
        [
            torch.full((k,), period, device=z.device)
            for period, k in zip(groups.periods, groups.group_sizes)
        ]
    )
    clock = groups.clock
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    return [(clock + t) % period == 0 for t in range(z.shape[1])]


def _update_some(received, h, groups, mask, due):
    """The states where only some groups are due, of which a = z + W h is
    given."""
    states, received = list(h.split(groups.group_sizes, dim=-1)), iter(received)
    masks = [None] * len(due)
    if mask is not None:
        masks = mask.split(groups.group_sizes, dim=-1)
    for i, m in enumerate(masks):
        if due[i]:
            states[i] = _update([next(received)], states[i], groups.cell, m)
    return torch.cat(states, dim=-1)


def _update(received, h, cell, mask):
    """What the units of some groups make of their a = z + W h."""
    f = getattr(F, cell.nonlinearity)
    if not cell.gated:
        return f(_join(received))
    blocks = [block for a in received for block in a.chunk(2, dim=-1)]
    c, u = f(_join(blocks[::2])), _join(blocks[1::2]).sigmoid()
    c = c if mask is None else c * mask
    return u * h + (1 - u) * c


def _join(parts):
    """Some units and others, side by side."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
