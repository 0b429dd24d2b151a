"""A layer in plain PyTorch: step by step, all groups at once.

It is for single steps, and for derivatives that the operation does not have:
PyTorch differentiates it by itself, forwards, backwards and again. For many
steps it is slow.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F


def unroll(x, weight_ih, weight_hh, bias, h0, groups):
    """The state after every step [B, T, H]; arguments as in `clockwork_rnn`.

    Groups that do not tick are computed too, and not used: every parameter
    has a gradient then, and the clocks need not be known on the host.
    """
    z = F.linear(x, weight_ih, bias)
    h, H = h0.to(z.dtype), h0.shape[1]
    f = getattr(torch, groups.nonlinearity)
    period = torch.cat(
        [
            torch.full((k,), period, device=x.device)
            for period, k in zip(groups.periods, groups.group_sizes)
        ]
    )
    clock = groups.clock
    if isinstance(clock, torch.Tensor):
        clock = clock.unsqueeze(-1)
    output = []
    for t, z_t in enumerate(z.unbind(1)):
        received = [F.linear(h[:, H - w.shape[1] :], w) for w in weight_hh]
        ticks = (clock + t) % period == 0
        h = torch.where(ticks, f(z_t + torch.cat(received, dim=-1)), h)
        output.append(h)
    return torch.stack(output, dim=1)
