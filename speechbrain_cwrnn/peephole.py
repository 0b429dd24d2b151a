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

# What is applied to the cell on its way out, and the slope by its value.
ACTIVATIONS = {
    "tanh": (torch.tanh, lambda y: 1 - y.square()),
    "tanhx2": (lambda c: 2 * c.tanh(), lambda y: 2 - y.square() / 2),
    "sigmoid": (torch.sigmoid, lambda y: y * (1 - y)),
}


class PeepholeLSTM(nn.Module):
    """A layer of LSTM whose gates see the cell (Gers et al., 2002).

        i[t] = sigmoid(V_i x[t] + W_i h[t-1] + p_i * c[t-1] + b_i)
        f[t] = sigmoid(V_f x[t] + W_f h[t-1] + p_f * c[t-1] + b_f + forget_bias)
        c[t] = f[t] * c[t-1] + i[t] * tanh(V_c x[t] + W_c h[t-1] + b_c)
        o[t] = sigmoid(V_o x[t] + W_o h[t-1] + p_o * c[t] + b_o)
        h[t] = o[t] * tanh(c[t])

    It is for comparisons at the parameter counts of the paper, which the
    three vectors p fit best, with networks that `Ensemble` trains at once.
    It loops over time, with gradients by hand, which cannot be differentiated
    once more; where peepholes do not matter, `torch.nn.LSTM` is faster.

    Arguments
    ---------
    hidden_size : int
        Number of cells.
    input_size : int
        Number of input features; may be 0.
    forget_bias : float
        Added to the bias of the forget gate.
    activation : {"tanh", "tanhx2", "sigmoid"}
        What is in the place of the tanh of c[t]; "tanhx2" is its double.

    Example
    -------
    >>> output, (h, c) = PeepholeLSTM(5, input_size=3)(torch.rand(2, 10, 3))
    >>> output.shape, h.shape, c.shape
    (torch.Size([2, 10, 5]), torch.Size([1, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self, hidden_size, input_size, forget_bias=0.0, activation="tanh"
    ):
        super().__init__()
        if activation not in tuple(ACTIVATIONS):
            raise InputError(
                f"activation={activation!r}: expected one of "
                f"{', '.join(ACTIVATIONS)}."
            )
        self.activation = activation
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
        z_i, z_f, z_c, z_o = F.linear(x, self.weight_ih, self.bias).chunk(4, -1)
        z = torch.cat([z_i, z_f + self.forget_bias, z_c, z_o], -1)
        # A single replica; vmap brings more.
        others = self.weight_hh[None], self.peepholes[None], *hx
        h, c, _ = Recurrence.apply(
            z.movedim(1, 0)[:, None],
            *(tensor.to(z) for tensor in others),
            self.activation,
        )
        return h.squeeze(1).movedim(0, 1), (h[-1], c[-1])


class Recurrence(torch.autograd.Function):
    """The loop over time, for R replicas at once.

    In both directions, what does not need the neighbouring step is computed
    for all steps together, which autograd would not do.
    """

    @staticmethod
    def forward(z, weight, peepholes, h0, c0, activation):
        """z [T, R, B, 4 H], weight [R, 4 H, H], peepholes [R, 3, H], h0 and c0
        [R, B, H] -> h and c [T, R, B, H], and the gates [T, R, B, 4 H]."""
        H = h0.shape[-1]
        activate, _ = ACTIVATIONS[activation]
        p_if, p_o = peepholes[:, None, :2], peepholes[:, 2:]
        weight, gates = weight.mT, z.new_empty(z.shape)
        h, c = (z.new_empty(len(z), *h0.shape) for _ in range(2))
        h_before, c_before = h0, c0
        for z_t, gates_t, h_t, c_t in zip(z, gates, h, c):
            torch.baddbmm(z_t, h_before, weight, out=gates_t)
            i_f, g, o = gates_t.split([2 * H, H, H], -1)
            i_f.unflatten(-1, (2, H)).addcmul_(p_if, c_before.unsqueeze(2))
            i, f = i_f.sigmoid_().chunk(2, -1)
            torch.mul(f, c_before, out=c_t).addcmul_(i, g.tanh_())
            o.addcmul_(p_o, c_t).sigmoid_()
            torch.mul(o, activate(c_t), out=h_t)
            h_before, c_before = h_t, c_t
        return h, c, gates

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keeps all but z."""
        ctx.mark_non_differentiable(output[2])
        *tensors, ctx.activation = inputs[1:]
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx, dh, dc, _):
        """Gradients of what `forward` gets."""
        if torch.is_grad_enabled():
            # PyTorch's once_differentiable overlooks what was saved.
            raise NotImplementedError(
                "create_graph=True: expected False (PeepholeLSTM has no second "
                "derivatives)."
            )
        weight, peepholes, h0, c0, h, c, gates = ctx.saved_tensors
        H = h0.shape[-1]
        activate, slope = ACTIVATIONS[ctx.activation]
        p_i, p_f, p_o = peepholes.unsqueeze(2).unbind(1)
        i, f, g, o = gates.chunk(4, -1)
        h_before = torch.cat([h0[None], h[:-1]])
        c_before = torch.cat([c0[None], c[:-1]])
        y = activate(c)
        # What the gradients of h and c at a step are multiplied by.
        o_by_h = y * o * (1 - o)
        c_by_h = o * slope(y) + p_o * o_by_h
        i_by_c = g * i * (1 - i)
        f_by_c = c_before * f * (1 - f)
        ifg_by_c = torch.stack([i_by_c, f_by_c, i * (1 - g.square())], dim=-2)
        c_by_c = f + p_i * i_by_c + p_f * f_by_c
        dz = torch.empty_like(gates)
        # From the next step.
        dh0, dc0 = torch.zeros_like(h0), torch.zeros_like(c0)
        for t in reversed(range(len(gates))):
            dh_t = dh0.add_(dh[t])
            dc_t = dc0.add_(dc[t]).addcmul_(dh_t, c_by_h[t])
            dz_ifg = dz[t, ..., : 3 * H].unflatten(-1, (3, H))
            torch.mul(dc_t.unsqueeze(2), ifg_by_c[t], out=dz_ifg)
            torch.mul(dh_t, o_by_h[t], out=dz[t, ..., 3 * H :])
            torch.bmm(dz[t], weight, out=dh0)
            dc0.mul_(c_by_c[t])
        dz_i, dz_f, _, dz_o = dz.chunk(4, -1)
        products = dz_i * c_before, dz_f * c_before, dz_o * c
        dpeepholes = torch.stack([p.sum((0, 2)) for p in products], dim=1)
        dz_rows, h_rows = (
            tensor.movedim(0, 1).flatten(1, 2) for tensor in (dz, h_before)
        )
        return dz, dz_rows.mT @ h_rows, dpeepholes, dh0, dc0, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        """Adds replicas, which stand behind time in z alone."""
        *tensors, activation = inputs
        N = info.batch_size

        def join(tensor, dim, place):
            if dim is None:
                tensor, dim = tensor.expand(N, *tensor.shape), 0
            return tensor.movedim(dim, place).flatten(place, place + 1)

        outputs = Recurrence.apply(
            *map(join, tensors, in_dims, (1, 0, 0, 0, 0)), activation
        )
        return tuple(y.unflatten(1, (N, -1)) for y in outputs), (1, 1, 1)
