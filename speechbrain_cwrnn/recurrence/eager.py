"""The recurrence as a loop over time in PyTorch: any device, any dtype.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch


def forward(z, weight, h0, nonlinearity, *one_group):
    """The states h [R, N, B, k] of z [R, N, B, k]; see the package."""
    h = _copy_time_first(z)
    f_ = {"tanh": torch.tanh_, "relu": torch.relu_}[nonlinearity]
    weight = weight.mT.contiguous()
    previous = h0
    for state in h.unbind(0):
        previous = f_(state.baddbmm_(previous, weight))
    return h.transpose(0, 1).contiguous()


def backward(dh, h, weight, nonlinearity, *one_group):
    """The gradients dz [R, N, B, k] and dh0 [R, B, k] from that of h."""
    dz = _copy_time_first(dh)
    slope = _copy_time_first(h)
    if nonlinearity == "tanh":
        slope.square_().neg_().add_(1)
    else:
        slope.sign_()
    following = None
    for gradient, f_slope in zip(
        reversed(dz.unbind(0)), reversed(slope.unbind(0))
    ):
        if following is not None:
            gradient.baddbmm_(following, weight)
        following = gradient.mul_(f_slope)
    # h0 acts through the first step; with no step, on nothing.
    dh0 = dz[:1].sum(0) @ weight
    return dz.transpose(0, 1).contiguous(), dh0


def _copy_time_first(x):
    """A copy of x [R, N, B, k] in which each step is one block of memory."""
    return x.transpose(0, 1).clone(memory_format=torch.contiguous_format)
