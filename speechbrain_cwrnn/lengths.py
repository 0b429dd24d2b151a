"""Padded batches: how long each sequence is, and where it ends.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch

from speechbrain_cwrnn.checks import has_known_values, to_tensor
from speechbrain_cwrnn.clock import count_ticks, first_tick
from speechbrain_cwrnn.errors import InputError


def count_steps(lengths, x):
    """The number of steps of each sequence, from what SpeechBrain hands on.

    Arguments
    ---------
    lengths : torch.Tensor
        Relative length of each sequence [B], in (0, 1]. It is rounded to whole
        steps, at least one.
    x : torch.Tensor
        The padded sequences [B, T, F].

    Returns
    -------
    torch.Tensor
        Numbers from 1 to T [B].

    Example
    -------
    >>> count_steps(torch.tensor([1.0, 0.52]), torch.rand(2, 10, 3))
    tensor([10,  5])
    """
    B, T = x.shape[:2]
    lengths = to_tensor("lengths", lengths, "relative lengths, in (0, 1]")
    if lengths.shape != (B,):
        raise InputError(
            f"lengths of shape {tuple(lengths.shape)}: expected one per "
            f"sequence, ({B},)."
        )
    if not lengths.is_floating_point():
        raise InputError(
            f"lengths in {lengths.dtype}: expected relative lengths, floats in "
            f"(0, 1]."
        )
    if has_known_values(lengths):
        low, high = lengths.aminmax()
        # Half precision and padding may take a full length just past 1.
        if not (low > 0 and high < 1.01):
            raise InputError(
                f"lengths={lengths.tolist()}: expected relative lengths, in "
                f"(0, 1]."
            )
    # In half precision, the product would be rounded to other steps.
    steps = (lengths.to(x.device, torch.float32) * T).round().long()
    return steps.clamp(1, T)


def zero_padding(x, steps):
    """x [..., B, T, F] with zeros past the steps [..., B] of each sequence.

    Whatever stood there, NaN too, reaches neither a result nor a gradient.
    """
    return torch.where(_inside(x, steps), x, 0)


def zero_padding_(x, steps):
    """The same in place."""
    return x.masked_fill_(~_inside(x, steps), 0)


def _inside(x, steps):
    """Which steps of x [..., B, T, F] are inside of each sequence [..., B, T,
    1]."""
    time = torch.arange(x.shape[-2], device=x.device)
    return (time < steps.unsqueeze(-1)).unsqueeze(-1)


def ticks_inside(T, clock, period, steps):
    """Which ticks of a group are inside of each sequence [..., B, N]: of T
    steps, or of steps [..., B] of these."""
    first = first_tick(clock, period)
    if isinstance(clock, torch.Tensor):
        first = first.unsqueeze(-1)
    device = (clock if steps is None else steps).device
    N = count_ticks(T, clock, period)
    ticks = first + period * torch.arange(N, device=device)
    return ticks < (T if steps is None else steps.unsqueeze(-1))


def reverse(x, steps):
    """x [B, T, F] with each sequence reversed inside its steps [B]; without
    them, the whole."""
    if steps is None:
        return x.flip(1)
    time = torch.arange(x.shape[1], device=x.device)
    steps = steps.unsqueeze(1)
    index = torch.where(time < steps, steps - 1 - time, time)
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def last_step(x, steps):
    """x [B, F] at the last one of the steps [B] of each sequence; without them,
    at the last of all."""
    if steps is None:
        return x[:, -1]
    index = (steps - 1).reshape(-1, 1, 1)
    return x.gather(1, index.expand(-1, 1, x.shape[2])).squeeze(1)
