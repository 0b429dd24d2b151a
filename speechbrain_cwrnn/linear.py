"""Products with the weights of all replicas at once.

Signals and sequences are [R, B, N, k]: replicas, batch, time, units.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch


def linear(x, weight, bias=None):
    """y = weight @ x + bias, for each replica and place.

    Arguments
    ---------
    x : torch.Tensor
        Values [R, B, N, F].
    weight : torch.Tensor
        Weights [R, k, F].
    bias : torch.Tensor or None
        Bias [R, k].

    Returns
    -------
    torch.Tensor
        y [R, B, N, k].

    Example
    -------
    >>> y = linear(torch.ones(1, 2, 3, 4), torch.ones(1, 5, 4))
    >>> y.shape, y[0, 0, 0, 0].item()
    (torch.Size([1, 2, 3, 5]), 4.0)
    """
    rows = x.flatten(1, 2)
    if bias is None:
        y = torch.bmm(rows, weight.mT)
    else:
        y = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
    return y.unflatten(1, x.shape[1:3])


def add_linear(y, x, weight):
    """y += weight @ x, for each replica and place.

    Arguments
    ---------
    y : torch.Tensor
        What is added to [R, B, N, k], contiguous.
    x : torch.Tensor
        Values [R, B, N, F].
    weight : torch.Tensor
        Weights [R, k, F].

    Example
    -------
    >>> y = torch.ones(1, 2, 3, 5)
    >>> add_linear(y, torch.ones(1, 2, 3, 4), torch.ones(1, 5, 4))
    >>> y[0, 0, 0, 0].item()
    5.0
    """
    y.flatten(1, 2).baddbmm_(x.flatten(1, 2), weight.mT)


def outer(dy, x, out=None):
    """The gradient of the weights of `linear`, from that of y.

    Arguments
    ---------
    dy : torch.Tensor
        Gradient of y [R, B, N, k].
    x : torch.Tensor
        Values [R, B, N, F].
    out : torch.Tensor or None
        Where to write it.

    Returns
    -------
    torch.Tensor
        Sum over places of dy times x transposed [R, k, F].

    Example
    -------
    >>> outer(torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 4))[0, 0, 0].item()
    6.0
    """
    return torch.bmm(dy.flatten(1, 2).mT, x.flatten(1, 2), out=out)


def outer_before(dz, h, out=None):
    """The gradient of recurrent weights, from that of z.

        sum over n > 0 of dz[n] times h[n-1] transposed

    Arguments
    ---------
    dz : torch.Tensor
        Gradient of z [R, B, N, k], which is zero at the first place.
    h : torch.Tensor
        States [R, B, N, k].
    out : torch.Tensor or None
        Where to write it.

    Returns
    -------
    torch.Tensor
        The sum over places [R, k, k].

    Example
    -------
    >>> dz = torch.tensor([0.0, 3.0, 4.0]).reshape(1, 1, 3, 1)
    >>> h = torch.tensor([1.0, 2.0, 5.0]).reshape(1, 1, 3, 1)
    >>> outer_before(dz, h).item()
    11.0
    """
    # The last state of a sequence stands before the first of the next one,
    # where dz is zero. So nothing is copied (but an infinite one gives NaN).
    dz, h = dz.flatten(1, 2)[:, 1:], h.flatten(1, 2)[:, :-1]
    return torch.bmm(dz.mT, h, out=out)
