"""A GRU that networks trained at once can have.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F
from torch import nn


class UnrolledGRU(nn.GRU):
    """A `torch.nn.GRU` of one layer, step by step.

    It is for comparisons with networks that `Ensemble` trains at once, which
    PyTorch's own cannot be; for a single network, that one is faster. The
    parameters are the same.

    Arguments
    ---------
    hidden_size : int
        Number of units.
    input_size : int
        Number of input features.

    Example
    -------
    >>> output, h = UnrolledGRU(5, input_size=3)(torch.rand(2, 10, 3))
    >>> output.shape, h.shape
    (torch.Size([2, 10, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(self, hidden_size, input_size):
        super().__init__(input_size, hidden_size, batch_first=True)

    def forward(self, x):
        """x [B, T, F] -> output [B, T, H] and the last state [1, B, H]."""
        z = F.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        h, output = x.new_zeros(len(x), self.hidden_size), []
        for z_t in z.unbind(1):
            a = F.linear(h, self.weight_hh_l0, self.bias_hh_l0)
            z_r, z_u, z_n = z_t.chunk(3, dim=-1)
            a_r, a_u, a_n = a.chunk(3, dim=-1)
            u = (z_u + a_u).sigmoid()
            n = (z_n + (z_r + a_r).sigmoid() * a_n).tanh()
            h = u * h + (1 - u) * n
            output.append(h)
        return torch.stack(output, dim=1), h.unsqueeze(0)
