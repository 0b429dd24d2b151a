"""The recurrence of a group as a loop over time in PyTorch: any device, any
dtype.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch

from speechbrain_cwrnn.sweep import holding

read_at = holding.read_at

_IN_PLACE = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "leaky_relu": torch.nn.functional.leaky_relu_,
}

# Numbers that stay in the cache of a CPU.
BLOCK = 2**17


def forward(group, z):
    """Write h to the state of a group; see `sweep`."""
    f_ = _IN_PLACE[group.cell.nonlinearity]
    weight = group.weight.mT.contiguous()
    h = group.state[:, :, 0].contiguous()
    for block in _blocks(z):
        steps = _copy_time_first(z[:, :, block])
        states = steps
        if not group.cell.gated:
            for step in steps.unbind(0):
                h = f_(step.baddbmm_(h, weight))
        else:
            states = steps.new_empty(*steps.shape[:3], h.shape[2])
            candidates, gates = steps.chunk(2, -1)
            for step, c, u, state in zip(steps, candidates, gates, states):
                step.baddbmm_(h, weight)
                f_(c)
                if group.mask is not None:
                    c = c * group.mask
                h = torch.lerp(c, h, u.sigmoid_(), out=state)
            z[:, :, block] = steps.movedim(0, 2)
        group.state[:, :, 1:][:, :, block] = states.movedim(0, 2)


def backward(group, z, dstate, dz):
    """Write dz, and dh0 to dstate; see `sweep`."""
    weight = group.weight.contiguous()
    dh = dstate[:, :, -1].contiguous()
    dz[:, :, 0] = 0
    dz = dz[:, :, 1:]
    for block in reversed(_blocks(dz)):
        slopes, *gates = _slopes(group, z, block)
        dsteps = torch.empty_like(slopes)
        before = _copy_time_first(dstate[:, :, block])
        steps = zip(slopes, dsteps, dsteps.flatten(3), before, *gates)
        for slope, step, row, dh_before, *u in reversed(list(steps)):
            torch.mul(dh.unsqueeze(2), slope, out=step)
            if u:
                dh_before.addcmul_(*u, dh)
            dh = dh_before.baddbmm_(row, weight)
        dz[:, :, block] = dsteps.flatten(3).movedim(0, 2)
    dstate[:, :, 0] = dh


def _blocks(z):
    """Slices of the steps of z [R, B, N, C k]: on a CPU, of as many numbers
    each as stay in its cache."""
    N, size = z.shape[2], z.shape[2]
    if z.device.type == "cpu":
        size = BLOCK * N // max(1, z.numel())
    size = max(1, size)
    return [slice(n, min(n + size, N)) for n in range(0, N, size)]


def _slopes(group, z, block):
    """For the steps of a block, the gradient of z where that of h is one
    [n, R, B, C, k]; and, of a gated cell, the gates."""
    f = group.cell.nonlinearity
    if not group.cell.gated:
        h = _copy_time_first(group.state[:, :, 1:][:, :, block])
        return (_derivative(h, f).unsqueeze(3),)
    c, u = _copy_time_first(z[:, :, block]).chunk(2, -1)
    m = 1 if group.mask is None else group.mask
    before = _copy_time_first(group.state[:, :, block])
    slope_c = (1 - u) * m * _derivative(c, f)
    slope_u = (before - m * c) * u * (1 - u)
    return torch.stack([slope_c, slope_u], dim=3), u


def _derivative(y, nonlinearity):
    """f'(a), by y = f(a)."""
    if nonlinearity == "tanh":
        return 1 - y * y
    slope = 0.01 if nonlinearity == "leaky_relu" else 0
    return torch.ones_like(y).masked_fill_(y <= 0, slope)


def _copy_time_first(x):
    """A copy of x [R, B, N, k] in which each step is one block of memory."""
    return x.movedim(2, 0).clone(memory_format=torch.contiguous_format)
