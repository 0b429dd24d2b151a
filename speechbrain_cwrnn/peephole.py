"""An LSTM with peepholes: the baseline of the paper, which PyTorch lacks.

Its loop over time is compiled by numba for the CPU (`peephole_cpu.py`), since
studies would spend most of their time there; there is one in PyTorch for other
devices and dtypes, without numba, and where something looks on.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
import sys
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_cwrnn.backend import compiles, suits_numba
from speechbrain_cwrnn.checks import (
    check_integer,
    check_number,
    check_sequences,
)
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.transforms import is_watched

# What is applied to the cell c on its way out, shift + scale tanh(rate c).
ACTIVATIONS = {
    "tanh": (0.0, 1.0, 1.0),
    "tanhx2": (0.0, 2.0, 1.0),
    "sigmoid": (0.5, 0.5, 0.5),
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
    Its gradients are by hand, and cannot be differentiated once more.

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
        H = self.hidden_size
        shape = (1, x.shape[0], H)
        if hx is None:
            hx = x.new_zeros(shape), x.new_zeros(shape)
        is_pair = isinstance(hx, (tuple, list))
        shapes = is_pair and [getattr(state, "shape", None) for state in hx]
        if shapes != [shape, shape]:
            raise InputError(f"hx: expected h and c, each of shape {shape}.")
        bias_i, bias_f, bias_co = self.bias.split([H, H, 2 * H])
        bias = torch.cat([bias_i, bias_f + self.forget_bias, bias_co])
        z = F.linear(x, self.weight_ih, bias)
        # A single replica; vmap brings more.
        others = self.weight_hh[None], self.peepholes[None], *hx
        h, c, _ = Recurrence.apply(
            z[None], *(tensor.to(z) for tensor in others), self.activation
        )
        return h.squeeze(0), (h[:, :, -1], c[:, :, -1])


class Recurrence(torch.autograd.Function):
    """The loop over time, for R replicas at once.

    z [R, B, T, 4 H], weight [R, 4 H, H], peepholes [R, 3, H], h0 and c0
    [R, B, H] -> h and c [R, B, T, H], and the gates [R, B, T, 4 H].
    """

    @staticmethod
    def forward(*inputs):
        """What `loop` returns, or the same by a compiled loop."""
        *tensors, activation = inputs
        run = _engine(*tensors).loop
        return run(*tensors, ACTIVATIONS[activation])

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keeps all but z."""
        ctx.mark_non_differentiable(output[2])
        # Of the gates, that would be as large as they are.
        ctx.set_materialize_grads(False)
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
        dh, dc = (h.new_zeros(h.shape) if d is None else d for d in (dh, dc))
        tensors = dh, dc, weight, peepholes, c0, c, gates
        run = _engine(*tensors).loop_backward
        dz, dpeepholes, dh0, dc0 = run(*tensors, ACTIVATIONS[ctx.activation])
        h_before = _before(h0, h)
        dweight = dz.flatten(1, 2).mT @ h_before.flatten(1, 2)
        return dz, dweight, dpeepholes, dh0, dc0, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        """Adds replicas."""
        *tensors, activation = inputs
        N = info.batch_size

        def join(tensor, dim):
            if dim is None:
                tensor, dim = tensor.expand(N, *tensor.shape), 0
            return tensor.movedim(dim, 0).flatten(0, 1)

        outputs = Recurrence.apply(*map(join, tensors, in_dims), activation)
        return tuple(y.unflatten(0, (N, -1)) for y in outputs), (0, 0, 0)


def _before(first, states):
    """The state before each step [R, B, T, H]."""
    return torch.cat([first.unsqueeze(2), states[:, :, :-1]], dim=2)


def _engine(*tensors):
    """The module whose loops run: this one where it is not a CPU that numba
    compiles for, or where something looks on."""
    if suits_numba(tensors[0]) and not is_watched(*tensors) and compiles():
        return import_module("speechbrain_cwrnn.peephole_cpu")
    return sys.modules[__name__]


def loop(z, weight, peepholes, h0, c0, activation):
    """h, c and the gates at all steps; see `Recurrence`."""
    H = h0.shape[-1]
    shift, scale, rate = activation
    p_if, p_o = peepholes[:, None, :2], peepholes[:, 2:]
    R, B, T, _ = z.shape
    # All numbers of a step are side by side.
    gates, h, c = (z.new_empty(T, R, B, n * H) for n in (4, 1, 1))
    h_before, c_before = h0, c0
    for z_t, gates_t, h_t, c_t in zip(z.unbind(2), gates, h, c):
        torch.baddbmm(z_t, h_before, weight.mT, out=gates_t)
        i_f, g, o = gates_t.split([2 * H, H, H], -1)
        i_f.unflatten(-1, (2, H)).addcmul_(p_if, c_before.unsqueeze(2))
        i, f = i_f.sigmoid_().chunk(2, -1)
        torch.mul(f, c_before, out=c_t).addcmul_(i, g.tanh_())
        o.addcmul_(p_o, c_t).sigmoid_()
        torch.mul(o, shift + scale * torch.tanh(rate * c_t), out=h_t)
        h_before, c_before = h_t, c_t
    return tuple(states.movedim(0, 2) for states in (h, c, gates))


def loop_backward(dh, dc, weight, peepholes, c0, c, gates, activation):
    """Gradients of z, the peepholes, h0 and c0.

    What does not need the neighbouring step is computed for all steps together,
    which autograd would not do.
    """
    H = c.shape[-1]
    shift, scale, rate = activation
    p_i, p_f, p_o = peepholes[:, :, None, None].unbind(1)
    i, f, g, o = gates.chunk(4, -1)
    c_before = _before(c0, c)
    y = torch.tanh(rate * c)
    # What the gradients of h and c at a step are multiplied by.
    o_by_h = (shift + scale * y) * o * (1 - o)
    c_by_h = o * scale * rate * (1 - y.square()) + p_o * o_by_h
    i_by_c = g * i * (1 - i)
    f_by_c = c_before * f * (1 - f)
    ifg_by_c = torch.stack([i_by_c, f_by_c, i * (1 - g.square())], dim=-2)
    c_by_c = f + p_i * i_by_c + p_f * f_by_c
    # Laid out as the gates are.
    dz = torch.empty_like(gates)
    # From the next step.
    dh0, dc0 = (torch.zeros_like(c[:, :, 0]) for _ in range(2))
    steps = dh, dc, c_by_h, ifg_by_c, o_by_h, c_by_c, dz
    for step in reversed([*zip(*(tensor.unbind(2) for tensor in steps))]):
        dh_t, dc_t, c_by_h_t, ifg_by_c_t, o_by_h_t, c_by_c_t, dz_t = step
        dh_t = dh0.add_(dh_t)
        dc_t = dc0.add_(dc_t).addcmul_(dh_t, c_by_h_t)
        dz_ifg, dz_o = dz_t.split([3 * H, H], -1)
        dz_ifg = dz_ifg.unflatten(-1, (3, H))
        torch.mul(dc_t.unsqueeze(2), ifg_by_c_t, out=dz_ifg)
        torch.mul(dh_t, o_by_h_t, out=dz_o)
        torch.bmm(dz_t, weight, out=dh0)
        dc0.mul_(c_by_c_t)
    dz_i, dz_f, _, dz_o = dz.chunk(4, -1)
    products = dz_i * c_before, dz_f * c_before, dz_o * c
    dpeepholes = torch.stack([p.sum((1, 2)) for p in products], dim=1)
    return dz, dpeepholes, dh0, dc0
