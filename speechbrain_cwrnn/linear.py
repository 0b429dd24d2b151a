"""The tensors of a layer, and products with the weights of all its replicas.

Values are [R, B, N, k]: replicas, batch, places in time, units.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import NamedTuple

import torch


class Layer(NamedTuple):
    """The tensors of a layer in one direction, or their gradients.

    Arguments
    ---------
    x : torch.Tensor
        Input [R, B, T, F].
    weight_ih : torch.Tensor
        Input weights V [R, C H, F], for cells of C columns.
    weight : torch.Tensor
        Recurrent weights W [R, C H, H]; what stands below the blocks is not
        looked at.
    bias : torch.Tensor or None
        Bias [R, C H].
    h0 : torch.Tensor
        State before the first step [R, B, H].
    mask : torch.Tensor or None
        What the candidates of a gated cell are multiplied with [R, B, H].
    """

    x: torch.Tensor
    weight_ih: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    h0: torch.Tensor
    mask: torch.Tensor | None = None


def linear(x, weight, bias=None, out=None):
    """weight [R, k, F] @ x [R, B, N, F] + bias [R, k] -> y [R, B, N, k]."""
    rows = x.flatten(1, 2)
    out = None if out is None else out.flatten(1, 2)
    if bias is None:
        y = torch.bmm(rows, weight.mT, out=out)
    else:
        y = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT, out=out)
    return y.unflatten(1, x.shape[1:3])


def add_linear(y, x, weight):
    """y [R, B, N, k], contiguous, += weight [R, k, F] @ x [R, B, N, F]."""
    y.flatten(1, 2).baddbmm_(x.flatten(1, 2), weight.mT)


def outer(dy, x, out=None):
    """Sum over places of dy [R, B, N, k] times x [R, B, N, F] transposed,
    [R, k, F]: the gradient of the weights of `linear`."""
    return torch.bmm(dy.flatten(1, 2).mT, x.flatten(1, 2), out=out)


def outer_before(dz, h, out=None):
    """Sum over n > 0 of dz[n] times h[n-1] transposed [R, k, k]: the gradient
    of recurrent weights, from dz [R, B, N, k], zero at the first place of each
    sequence, and states h [R, B, N, k]."""
    # The last state of a sequence stands before the first of the next one,
    # where dz is zero. So nothing is copied (but an infinite one gives NaN).
    dz, h = dz.flatten(1, 2)[:, 1:], h.flatten(1, 2)[:, :-1]
    return torch.bmm(dz.mT, h, out=out)
