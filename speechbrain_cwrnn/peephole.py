"""An LSTM with peepholes: the baseline of the paper, which PyTorch lacks.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_cwrnn.checks import (
    check_integer,
    check_number,
    check_sequences,
)
from speechbrain_cwrnn.errors import InputError


class PeepholeLSTM(nn.Module):
    """A layer of LSTM whose gates see the cell (Gers et al., 2002).

        i[t] = sigmoid(V_i x[t] + W_i h[t-1] + p_i * c[t-1] + b_i)
        f[t] = sigmoid(V_f x[t] + W_f h[t-1] + p_f * c[t-1] + b_f + forget_bias)
        c[t] = f[t] * c[t-1] + i[t] * tanh(V_c x[t] + W_c h[t-1] + b_c)
        o[t] = sigmoid(V_o x[t] + W_o h[t-1] + p_o * c[t] + b_o)
        h[t] = o[t] * tanh(c[t])

    It is for comparisons at the parameter counts of the paper, which the
    three vectors p fit best, with networks that `Ensemble` trains at once.
    It loops over time; where peepholes do not matter, `torch.nn.LSTM` is
    faster.

    Arguments
    ---------
    hidden_size : int
        Number of cells.
    input_size : int
        Number of input features; may be 0.
    forget_bias : float
        Added to the bias of the forget gate.

    Example
    -------
    >>> output, (h, c) = PeepholeLSTM(5, input_size=3)(torch.rand(2, 10, 3))
    >>> output.shape, h.shape, c.shape
    (torch.Size([2, 10, 5]), torch.Size([1, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(self, hidden_size, input_size, forget_bias=0.0):
        super().__init__()
        self.hidden_size = H = check_integer("hidden_size", hidden_size, 1)
        self.input_size = check_integer("input_size", input_size, 0)
        self.forget_bias = check_number("forget_bias", forget_bias)
        # The gates' rows are in the order of torch.nn.LSTM: i, f, c, o.
        self.weight_ih = nn.Parameter(torch.empty(4 * H, self.input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * H, H))
        self.bias = nn.Parameter(torch.empty(4 * H))
        self.peepholes = nn.Parameter(torch.empty(3, H))
        bound = 1 / math.sqrt(H)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x, hx=None):
        """Run over a batch of sequences.

        Arguments
        ---------
        x : torch.Tensor
            Input [B, T, F].
        hx : tuple of torch.Tensor
            h and c before the first step [1, B, H]; by default zero.

        Returns
        -------
        output : torch.Tensor
            h at every step [B, T, H].
        hn : tuple of torch.Tensor
            h and c after the last step [1, B, H].
        """
        check_sequences(x, self.input_size)
        shape = (1, x.shape[0], self.hidden_size)
        if hx is None:
            hx = x.new_zeros(shape), x.new_zeros(shape)
        is_pair = isinstance(hx, (tuple, list))
        shapes = is_pair and [getattr(state, "shape", None) for state in hx]
        if shapes != [shape, shape]:
            raise InputError(f"hx: expected h and c, each of shape {shape}.")
        h, c = hx[0][0], hx[1][0]
        p_i, p_f, p_o = self.peepholes
        inputs = F.linear(x, self.weight_ih, self.bias)
        output = []
        for z in inputs.unbind(1):
            z_i, z_f, z_c, z_o = (z + F.linear(h, self.weight_hh)).chunk(4, -1)
            i = torch.sigmoid(z_i + p_i * c)
            f = torch.sigmoid(z_f + p_f * c + self.forget_bias)
            c = f * c + i * torch.tanh(z_c)
            h = torch.sigmoid(z_o + p_o * c) * torch.tanh(c)
            output.append(h)
        return torch.stack(output, dim=1), (h[None], c[None])
