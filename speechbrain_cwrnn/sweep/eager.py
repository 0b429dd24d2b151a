"""The recurrence of a group as a loop over time in PyTorch: any device, any
dtype.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch

_IN_PLACE = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "leaky_relu": torch.nn.functional.leaky_relu_,
}


def forward(group, z):
    """Write h to the state of a group; see `sweep`."""
    f_ = _IN_PLACE[group.cell.nonlinearity]
    weight = group.weight.mT.contiguous()
    h = group.state[:, :, 0].contiguous()
    steps = _copy_time_first(z)
    if not group.cell.gated:
        for step in steps.unbind(0):
            h = f_(step.baddbmm_(h, weight))
        group.state[:, :, 1:] = steps.movedim(0, 2)
        return
    states = steps.new_empty(*steps.shape[:3], h.shape[2])
    for step, state in zip(steps.unbind(0), states.unbind(0)):
        c, u = step.baddbmm_(h, weight).chunk(2, -1)
        f_(c)
        if group.mask is not None:
            c = c * group.mask
        h = torch.lerp(c, h, u.sigmoid_(), out=state)
    group.state[:, :, 1:] = states.movedim(0, 2)
    z.copy_(steps.movedim(0, 2))


def backward(group, z, dstate, dz):
    """Write dz, and dh0 to dstate; see `sweep`."""
    weight, gated = group.weight.contiguous(), group.cell.gated
    slopes = _slope(group, z)
    dsteps = _copy_time_first(dstate)
    dz_steps = slopes.new_empty(slopes.shape)
    before, dh = dsteps[:-1].unbind(0), dsteps[1:].unsqueeze(3).unbind(0)
    rows = dz_steps.flatten(3).unbind(0)
    gates = _copy_time_first(z).chunk(2, -1)[1].unbind(0) if gated else rows
    for n, slope in reversed(list(enumerate(slopes.unbind(0)))):
        torch.mul(dh[n], slope, out=dz_steps[n])
        if gated:
            before[n].addcmul_(gates[n], dh[n].squeeze(2))
        before[n].baddbmm_(rows[n], weight)
    dstate[:, :, 0] = dsteps[0]
    dz[:, :, 0] = 0
    dz[:, :, 1:] = dz_steps.flatten(3).movedim(0, 2)


def _slope(group, z):
    """The gradient of z where that of h is one [N, R, B, C, k]."""
    if not group.cell.gated:
        h = _copy_time_first(group.state[:, :, 1:])
        return _derivative(h, group.cell.nonlinearity).unsqueeze(3)
    c, u = _copy_time_first(z).chunk(2, -1)
    m = 1 if group.mask is None else group.mask
    before = _copy_time_first(group.state[:, :, :-1])
    slope_c = (1 - u) * m * _derivative(c, group.cell.nonlinearity)
    slope_u = (before - m * c) * u * (1 - u)
    return torch.stack([slope_c, slope_u], dim=3)


def _derivative(y, nonlinearity):
    """f'(a), by y = f(a)."""
    if nonlinearity == "tanh":
        return 1 - y * y
    slope = 0.01 if nonlinearity == "leaky_relu" else 0
    return torch.ones_like(y).masked_fill_(y <= 0, slope)


def _copy_time_first(x):
    """A copy of x [R, B, N, k] in which each step is one block of memory."""
    return x.movedim(2, 0).clone(memory_format=torch.contiguous_format)
