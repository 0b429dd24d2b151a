"""A layer in plain PyTorch: step by step, all groups at once.

It is for single steps, and for derivatives that the operation does not have:
PyTorch differentiates it by itself, forwards, backwards and again. For many
steps it is slow.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F


def unroll(z, weight_hh, h0, groups, mask=None):
    """The state after every step [B, T, H].

    Groups that do not tick are computed too, and not used: every parameter
    has a gradient then, and the clocks need not be known on the host.

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
    """
    h, H = h0.to(z.dtype), h0.shape[1]
    period = torch.cat(
        [
            torch.full((k,), period, device=z.device)
            for period, k in zip(groups.periods, groups.group_sizes)
        ]
    )
    clock = groups.clock
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    output = []
    for t, z_t in enumerate(z.unbind(1)):
        received = [F.linear(h[:, H - w.shape[1] :], w) for w in weight_hh]
        new = _update(z_t + torch.cat(received, dim=-1), h, groups, mask)
        h = torch.where((clock + t) % period == 0, new, h)
        output.append(h)
    return torch.stack(output, dim=1)


def _update(a, h, groups, mask):
    """What the units make of a = z + W h."""
    f = getattr(F, groups.cell.nonlinearity)
    if not groups.cell.gated:
        return f(a)
    blocks = a.split([k for k in groups.group_sizes for _ in range(2)], dim=-1)
    c, u = f(torch.cat(blocks[::2], -1)), torch.cat(blocks[1::2], -1).sigmoid()
    c = c if mask is None else c * mask
    return u * h + (1 - u) * c
