"""The recurrence of a group as a loop over time in PyTorch: any device, any
dtype.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch


def forward(state, weight, nonlinearity):
    """Replace z by h in state [R, B, 1 + N, k]; see `sweep`."""
    f_ = {"tanh": torch.tanh_, "relu": torch.relu_}[nonlinearity]
    weight = weight.mT.contiguous()
    steps = _copy_time_first(state)
    previous, *others = steps.unbind(0)
    for step in others:
        previous = f_(step.baddbmm_(previous, weight))
    state.copy_(steps.movedim(0, 2))


def backward(dstate, state, weight, nonlinearity):
    """Replace ds by dz in dstate [R, B, 1 + N, k]; see `sweep`."""
    weight = weight.contiguous()
    slope = _copy_time_first(state)
    if nonlinearity == "tanh":
        slope.square_().neg_().add_(1)
    else:
        slope.sign_()
    # The initial state is no value of f.
    slope[0] = 1
    steps = _copy_time_first(dstate)
    following = None
    for step, step_slope in zip(
        reversed(steps.unbind(0)), reversed(slope.unbind(0))
    ):
        if following is not None:
            step.baddbmm_(following, weight)
        following = step.mul_(step_slope)
    dstate.copy_(steps.movedim(0, 2))


def _copy_time_first(x):
    """A copy of x [R, B, N, k] in which each step is one block of memory."""
    return x.movedim(2, 0).clone(memory_format=torch.contiguous_format)
