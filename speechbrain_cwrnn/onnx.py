"""Export to ONNX, in operators that every runtime has.

Each group is one recurrent operator over its ticks, slow to fast as in `sweep`:
ONNX's RNN for plain units, and for gated ones its GRU, whose reset gate is held
open. Every sequence has a clock of its own.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
from pathlib import Path

import torch
from onnxscript import opset18 as op
from torch import nn
from torch.export import Dim

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups, first_tick
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.outputs import is_writable
from speechbrain_cwrnn.rnn import ClockworkRNN

ACTIVATIONS = {
    **{"tanh": "Tanh", "relu": "Relu", "leaky_relu": "LeakyRelu"},
    "sigmoid": "Sigmoid",
}
# The sigmoid of this is 1.
OPEN = 100.0
# A slice may stop past the end.
END = 2**31 - 1


def export_onnx(net, path):
    """Write a network as an ONNX file, with its states as inputs and outputs.

    The inputs are x [batch, time, features], and for each recurrent layer h
    and clock, zero at first; the outputs are the output and, in the same order,
    the states to go on from. Batch and time may be of any size.

    Arguments
    ---------
    net : ClockworkRNN, ClockworkLiGRU or StreamingClockworkEncoder
        The network; what it does in evaluation is written, in float32.
    path : str or pathlib.Path
        The file.

    Example
    -------
    >>> import onnxruntime
    >>> path = getfixture("tmp_path") / "net.onnx"
    >>> export_onnx(ClockworkRNN(8, input_size=4, periods=[1, 2]), path)
    >>> session = onnxruntime.InferenceSession(path)
    >>> names = [entry.name for entry in session.get_inputs()]
    >>> names
    ['x', 'h', 'clock']
    >>> state = [torch.zeros(1, 2, 8), torch.zeros(1, 2, 1).long()]
    >>> state = [tensor.numpy() for tensor in state]
    >>> for chunk in torch.rand(2, 9, 4).split(4, dim=1):
    ...     values = dict(zip(names, [chunk.numpy(), *state]))
    ...     output, *state = session.run(None, values)
    """
    if not is_writable(path):
        raise InputError(f"path={path}: expected a file that can be written.")
    stateful = _Stateful(net).eval()
    x, states = stateful.example()
    names = [
        f"{layer}.{part}".removeprefix(".")
        for layer in stateful.layers
        for part in ("h", "clock")
    ]
    program = torch.onnx.export(
        stateful,
        (x, states),
        dynamo=True,
        verbose=False,
        input_names=["x", *names],
        output_names=["output", *(f"next_{name}" for name in names)],
        dynamic_shapes=(
            {0: "batch", 1: "time"},
            [({1: Dim.AUTO}, {1: Dim.AUTO}) for _ in states],
        ),
        custom_translation_table=translations(),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    program.save(path)


def translations():
    """What `torch.onnx.export` has to know of the layers' operations.

    Returns
    -------
    dict
        For its `custom_translation_table`.
    """
    operations = torch.ops.speechbrain_cwrnn
    return {
        operations.clockwork_rnn.default: _clockwork_rnn,
        operations.project.default: _project,
        operations.recur.default: _recur,
    }


class _Stateful(nn.Module):
    """A network in evaluation, as a function of x and its layers' states."""

    def __init__(self, net):
        super().__init__()
        self.is_layer = isinstance(net, ClockworkRNN)
        if not self.is_layer and not hasattr(net, "recurrent_layers"):
            raise InputError(
                f"net of type {type(net).__name__}: expected a ClockworkRNN, a "
                f"ClockworkLiGRU or a StreamingClockworkEncoder."
            )
        self.net = net = copy.deepcopy(net).float()
        self.layers = {"": net} if self.is_layer else net.recurrent_layers()
        for name, layer in self.layers.items():
            if not isinstance(layer, ClockworkRNN) or layer.input_size == 0:
                raise InputError(
                    f"layer {name or layer}: expected a ClockworkRNN or "
                    f"ClockworkLiGRU, with one input feature at least."
                )

    def example(self):
        """An input and the states before it; their sizes stand for any."""
        B, T, states = 3, 7, []
        shape = (
            [self.net.input_size] if self.is_layer else self.net.input_shape[2:]
        )
        for layer in self.layers.values():
            weight = layer.weight_ih_l0
            rows = layer.num_layers * (1 + layer.bidirectional)
            h = weight.new_zeros(rows, B, layer.hidden_size)
            states.append((h, torch.zeros_like(h[..., :1]).long()))
        return h.new_zeros(B, T, *shape), states

    def forward(self, x, states):
        """The output, and the states after the last step."""
        if self.is_layer:
            output, hx = self.net(x, states[0])
            return output, [hx]
        output, states = self.net.step(x, dict(zip(self.layers, states)))
        return output, list(states.values())


def _clockwork_rnn(x, weight_ih, weight, bias, h0, steps, clocks, *options):
    """The operation of `op` as a graph."""
    clock, *sizes, nonlinearity, _ = options
    groups = Groups(*map(tuple, sizes), cell=Cell(nonlinearity))
    ticks = _Ticks(h0, _size(x, 1), clocks, clock)
    inputs = [
        (
            ticks.take(x, period),
            _cut(weight_ih, rows, axis=0),
            None if bias is None else _cut(bias, rows, axis=0),
        )
        for period, rows in zip(groups.periods, groups.rows)
    ]
    return ticks.cut(_sweep(inputs, weight, h0, ticks, groups), steps)


def _project(x, weight_ih, bias, clocks, clock, *options):
    """The first operation of `apart` as a graph."""
    *sizes, nonlinearity, gated = options
    groups = Groups(*map(tuple, sizes), cell=Cell(nonlinearity, gated))
    ticks = _Ticks(x, _size(x, 1), clocks, clock)
    parts = []
    for period, rows in zip(groups.periods, groups.rows):
        weight = _cut(weight_ih, rows, axis=0)
        z = op.MatMul(ticks.take(x, period), op.Transpose(weight, perm=[1, 0]))
        z = z if bias is None else op.Add(z, _cut(bias, rows, axis=0))
        parts.append(op.Reshape(z, _ints(-1)))
    return op.Concat(*parts, axis=0)


def _recur(z, weight, h0, mask, steps, clocks, clock, *options):
    """The second operation of `apart` as a graph; nobody reads what that keeps
    for a backward pass."""
    *sizes, nonlinearity, gated, T, _ = options
    if mask is not None:
        raise InputError("dropout: expected a network in evaluation.")
    groups = Groups(*map(tuple, sizes), cell=Cell(nonlinearity, gated))
    T = op.Constant(value_int=T) if isinstance(T, int) else T
    ticks = _Ticks(h0, T, clocks, clock)
    inputs = []
    for part, rows in zip(z, groups.rows):
        n = rows.stop - rows.start
        eye = op.EyeLike(op.ConstantOfShape(_ints(n, n)))
        inputs.append((part, op.CastLike(eye, h0), None))
    kept = op.Reshape(z[0], _ints(-1))
    return ticks.cut(_sweep(inputs, weight, h0, ticks, groups), steps), kept


def _sweep(inputs, weight, h0, ticks, groups):
    """The states after every step [B, T, H], slow to fast.

    Arguments
    ---------
    inputs : list of tuple
        For each group what it sees at its ticks [B, N, F], with which weights
        [C k, F] and which bias [C k] or None.
    weight : value of the graph
        Recurrent weights [C H, H].
    h0 : value of the graph
        State before the first step [B, H].
    ticks : _Ticks
        Which step is a tick.
    groups : Groups
        Which units these are.
    """
    before, after = [], []
    table = list(zip(groups.periods, groups.units, groups.rows, inputs))
    for period, units, rows, (x, w_in, bias) in reversed(table):
        row = _cut(weight, rows, axis=0)
        if before:
            slower = op.Concat(*before, axis=2)
            x = op.Concat(x, ticks.take(slower, period), axis=2)
            columns = slice(units.stop, sum(groups.group_sizes))
            w_in = op.Concat(w_in, _cut(row, columns), axis=1)
        h = _cut(h0, units)
        run, k = (
            _gated if groups.cell.gated else _plain,
            units.stop - units.start,
        )
        h_ticks = run(
            x, w_in, _cut(row, units), bias, h, k, groups.cell.nonlinearity
        )
        states = op.Concat(op.Unsqueeze(h, _ints(1)), h_ticks, axis=1)
        states = ticks.hold(states, period)
        before.insert(0, _cut(states, slice(0, -1)))
        after.insert(0, _cut(states, slice(1, END)))
    return op.Concat(*after, axis=2)


def _plain(x, w_in, w, bias, h0, k, nonlinearity):
    """The states of plain units at their ticks [B, N, k]."""
    if bias is not None:
        # Those of the input and of the state are two.
        bias = _lead(op.Concat(bias, op.Sub(bias, bias), axis=0))
    h, _ = op.RNN(
        op.Transpose(x, perm=[1, 0, 2]),
        _lead(w_in),
        _lead(w),
        bias,
        None,
        _lead(h0),
        **_attributes(k, nonlinearity),
    )
    return _batch_first(h)


def _gated(x, w_in, w, bias, h0, k, nonlinearity):
    """The states of gated units at their ticks [B, N, k]; they have no bias."""
    gates = [_gru_rows(rows, k) for rows in (w_in, w)]
    zeros = [0.0] * k
    bias = op.Constant(value_floats=zeros + [OPEN] * k + 4 * zeros)
    h, _ = op.GRU(
        op.Transpose(x, perm=[1, 0, 2]),
        *map(_lead, gates),
        _lead(op.CastLike(bias, h0)),
        None,
        _lead(h0),
        **_attributes(k, "sigmoid", nonlinearity),
    )
    return _batch_first(h)


def _gru_rows(rows, k):
    """Rows of candidates and gates [2 k, n] as those of a GRU: update, reset
    and candidate."""
    candidates, gates = (
        _cut(rows, slice(0, k), 0),
        _cut(rows, slice(k, 2 * k), 0),
    )
    return op.Concat(gates, op.Sub(gates, gates), candidates, axis=0)


class _Ticks:
    """At which steps of each sequence a group ticks.

    Arguments
    ---------
    h0 : value of the graph
        What has the size of the batch, first.
    T : value of the graph
        Number of steps.
    clocks : value of the graph or None
        Steps since the state was zero, of each sequence [B].
    clock : int
        The same for all, where there are no clocks.
    """

    def __init__(self, h0, T, clocks, clock):
        self.T, self.clock = T, clock if clocks is None else None
        if clocks is None:
            clocks = op.Expand(_ints(clock), op.Shape(h0, start=0, end=1))
        self.clocks = op.Unsqueeze(clocks, _ints(1))

    def take(self, x, period):
        """x [B, T, F] at the ticks of a group [B, N, F]; past the end, what is
        last, which nobody reads."""
        if period == 1:
            return x
        P, one = _int(period), _int(1)
        # As `count_ticks` does.
        first = 0 if self.clock is None else first_tick(self.clock, period)
        N = op.Div(op.Add(self.T, _int(period - 1 - first)), P)
        n = op.Mul(op.Range(_int(0), N, one), P)
        t = op.Add(op.Mod(op.Neg(self.clocks), P), n)
        t = op.Min(t, op.Sub(self.T, one))
        return op.GatherND(x, op.Unsqueeze(t, _ints(2)), batch_dims=1)

    def hold(self, states, period):
        """States before the first tick and after each one [B, N + 1, k], at
        all times: before each step, and after the last one [B, T + 1, k]."""
        if period == 1:
            return states
        P, up = _int(period), _int(period - 1)
        steps = op.Range(_int(0), op.Add(self.T, _int(1)), _int(1))
        ticks = op.Div(op.Add(op.Add(self.clocks, steps), up), P)
        n = op.Sub(ticks, op.Div(op.Add(self.clocks, up), P))
        return op.GatherND(states, op.Unsqueeze(n, _ints(2)), batch_dims=1)

    def cut(self, states, steps):
        """States [B, T, H] with zeros past the steps [B] of each sequence."""
        if steps is None:
            return states
        time = op.Range(_int(0), self.T, _int(1))
        inside = op.Less(time, op.Unsqueeze(steps, _ints(1)))
        zero = op.CastLike(_int(0), states)
        return op.Where(op.Unsqueeze(inside, _ints(2)), states, zero)


def _attributes(k, *names):
    """Those of a recurrent operator of k units with some activations."""
    activations = [ACTIVATIONS[name] for name in names]
    attributes = {"hidden_size": k, "activations": activations}
    if "leaky_relu" in names:
        attributes["activation_alpha"] = [0.01]
    return attributes


def _cut(x, part, axis=1):
    """x[part] along an axis."""
    return op.Slice(x, _ints(part.start), _ints(part.stop), _ints(axis))


def _lead(x):
    """x with a first dimension, for the one direction of an operator."""
    return op.Unsqueeze(x, _ints(0))


def _batch_first(h):
    """What a recurrent operator puts out [N, 1, B, k], as [B, N, k]."""
    return op.Transpose(op.Squeeze(h, _ints(1)), perm=[1, 0, 2])


def _size(x, axis):
    """The size of x along an axis, as a number."""
    return op.Squeeze(op.Shape(x, start=axis, end=axis + 1))


def _int(number):
    return op.Constant(value_int=number)


def _ints(*numbers):
    return op.Constant(value_ints=numbers)
