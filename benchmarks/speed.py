#!/usr/bin/env python3
r"""Time a Clockwork RNN beside the layers that it takes the place of.

> python benchmarks/speed.py
> python benchmarks/speed.py --batch 1 32 --hidden 256 512 --csv speed.csv
> python benchmarks/speed.py --cell gated --batch 8 32 --time 300
> python benchmarks/speed.py --chunks 100 --batch 1 --time 1 4
> python benchmarks/speed.py --device cuda --dtype bfloat16 --time 1000 \
      --batch 16 64 --backend auto eager per-group loop --csv speed.csv
> python benchmarks/speed.py --device cuda --replay

Prints a table and, with --csv, adds its rows to a file, which report.py makes
a page of. All engines run in one process, in turns, so that what else the
machine does hits all of them. Beside each time stands the error against the
same computation in float64: the paper's equations as a loop for the Clockwork
RNN, the layer itself for the others. A Clockwork RNN that is less exact than
it should be is refused. Errors are those of the first steps (their number is a
column): on a GPU, the loop launches hundreds of kernels a step. float32 is
float32 for all; by default, cuDNN rounds it to TF32. Numbers too small for a
normalised float count as zero, on the CPU. With --replay, the layers are timed
once more as recorded CUDA graphs, with which the host has nothing to do. It
needs torch alone, and times SpeechBrain's Li-GRU, beside the gated layers,
where SpeechBrain is installed.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import copy
import csv
import importlib.util
import itertools
import platform
import sys
import time
from functools import partial
from pathlib import Path

import torch
from arguments import check_units, count, device, dtype, groups, new_file

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN, reference
from speechbrain_cwrnn.backend import ENGINES
from speechbrain_cwrnn.clock import ticks_before


class InexactError(Exception):
    """A Clockwork RNN is less exact than it should be."""


def make_layers(shape, H, args):
    """The layers to compare, by name, as the arguments say.

    Each is called with x [B, T, F] and returns the output [B, T, H] first.
    """
    B, T, F = shape
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    torch.manual_seed(0)
    layers = {}
    for backend in args.backend:
        for name, net in make_nets(F, H, args).items():
            if backend == "loop":
                layers[f"{name}, step by step"] = Equations(net)
            elif backend == "per-group":
                layers["per-group nn.RNN"] = PerGroup(net)
            else:
                net.backend = backend
                engine = net.to(device, dtype).engine(B, T)
                # On whatever steps errors are measured, they are those of it.
                net.backend = engine
                layers[f"{name} ({engine})"] = net
    layers |= make_peers(B, F, H, args.cell)
    return {name: layer.to(device, dtype) for name, layer in layers.items()}


def make_nets(F, H, args):
    """Those of this package, by name."""
    groups = {"periods": args.groups}
    if args.cell == "plain":
        return {"ClockworkRNN": ClockworkRNN(H, input_size=F, **groups)}
    variants = {"": groups, " of two groups": {}}
    variants[" of one group"] = {"periods": 1}
    return {
        f"ClockworkLiGRU{name}": ClockworkLiGRU(H, input_size=F, **options)
        for name, options in variants.items()
    }


def make_peers(B, F, H, cell):
    """Those that they take the place of, by name."""
    peers = {"nn.LSTM": torch.nn.LSTM(F, H, batch_first=True)}
    if cell == "plain":
        return {"nn.RNN": torch.nn.RNN(F, H, batch_first=True), **peers}
    peers["nn.GRU"] = torch.nn.GRU(F, H, batch_first=True)
    if importlib.util.find_spec("speechbrain"):
        from speechbrain.nnet.RNN import LiGRU

        peers["speechbrain LiGRU"] = LiGRU(H, (B, None, F), "tanh")
    return peers


class Equations(torch.nn.Module):
    """The reference as a layer, with parameters as those of one of ours."""

    def __init__(self, layer):
        super().__init__()
        self.layer = copy.deepcopy(layer)

    def forward(self, x):
        """x [B, T, F] -> output [B, T, H] and the last state."""
        weight_ih, *weights = self.layer.parameters()
        weight_hh = weights[: len(self.layer.periods)]
        options = {"periods": self.layer.periods}
        if isinstance(self.layer, ClockworkLiGRU):
            # Those of the reference get the ticks of all sequences as rows.
            options["norms"] = [
                lambda z, norm=norm: norm(z.unsqueeze(0)).squeeze(0)
                for norm in self.layer.norm_l0
            ]
            return reference.clockwork_ligru(x, weight_ih, weight_hh, **options)
        *_, bias = weights
        return reference.clockwork_rnn(x, weight_ih, weight_hh, bias, **options)


class PerGroup(torch.nn.Module):
    """The sweep as one could write it without this package: a torch.nn.RNN
    per group, whose input holds the states of all slower groups."""

    def __init__(self, layer):
        super().__init__()
        self.periods = layer.periods
        start, rnns = 0, []
        for k in layer.group_sizes:
            slower = layer.hidden_size - start - k
            rnns.append(torch.nn.RNN(layer.input_size + slower, k))
            start += k
        self.rnns = torch.nn.ModuleList(rnns)

    def forward(self, x):
        """x [B, T, F] -> output [B, T, H] and nothing."""
        x = x.transpose(0, 1)
        steps = torch.arange(len(x), device=x.device)
        signals = []
        for rnn, period in zip(reversed(self.rnns), reversed(self.periods)):
            inputs = [x[::period]]
            for other, signal in signals:
                before = ticks_before(steps[::period], 0, other)
                inputs.append(read(signal, before))
            h, _ = rnn(torch.cat(inputs, dim=-1))
            signal = torch.cat([torch.zeros_like(h[:1]), h])
            signals.insert(0, (period, signal))
        held = [read(signal, 1 + steps // period) for period, signal in signals]
        return torch.cat(held, dim=-1).transpose(0, 1), None


def read(signal, index):
    """Some of the values [M, B, k] of a signal.

    The gradient of an embedding is summed several times faster than that of
    an index.
    """
    rows = torch.nn.functional.embedding(index, signal.flatten(1))
    return rows.unflatten(1, signal.shape[1:])


def measure_errors(layers, x, cotangent):
    """Largest error of the output, and of it and all gradients, by layer.

    Each tensor's error is relative to the tensor's largest magnitude. A
    Clockwork RNN is allowed twice the error of plain PyTorch in the same
    dtype, that is of its peers and of the equations as a loop.
    """

    def run(module, dtype):
        inputs = x.detach().to(dtype).requires_grad_()
        output = module(inputs)[0]
        wrt = [inputs, *module.parameters()]
        gradients = torch.autograd.grad(output, wrt, cotangent.to(output))
        return [output.detach().double(), *(g.double() for g in gradients)]

    def errors(layer, exact):
        found = [
            float((a - e).abs().max() / e.abs().max().clamp(min=1e-30))
            for a, e in zip(run(layer, x.dtype), exact)
        ]
        return found[0], max(found)

    measured, plain = {}, []
    for name, layer in layers.items():
        ours = isinstance(layer, ClockworkRNN)
        oracle = Equations(layer) if ours else layer
        exact = run(copy.deepcopy(oracle).double(), torch.float64)
        measured[name] = errors(layer, exact)
        plain.append(errors(oracle, exact) if ours else measured[name])
    for name in layers:
        for error, limits in zip(measured[name], zip(*plain)):
            if not error <= 2 * max(limits):
                raise InexactError(
                    f"{name} refused: error {error:.1e}, of plain PyTorch at "
                    f"most {max(limits):.1e}"
                )
    return measured


def measure_times(layers, x, cotangent, args):
    """Seconds of each run, by name of layer and direction; where chunks are
    fed, of one of them."""
    x = x.detach().requires_grad_()

    def forward(layer):
        with torch.no_grad():
            layer(x)

    def forward_backward(layer):
        wrt = [x, *layer.parameters()]
        torch.autograd.grad(layer(x)[0], wrt, cotangent)

    def streaming(layer):
        state = None
        with torch.no_grad():
            for _ in range(args.chunks):
                _, state = layer(x, state)

    functions = (streaming,) if args.chunks else (forward, forward_backward)
    runs = {
        (name, function.__name__): partial(function, layer)
        for name, layer in layers.items()
        for function in functions
    }
    if args.replay:
        runs |= {
            (name, f"{direction}_replayed"): record(run)
            for (name, direction), run in runs.items()
            # To record SpeechBrain's loop would take longer than all else.
            if name != "speechbrain LiGRU"
        }
    times = {}
    # The first round warms up, and does not count.
    for repeat in range(args.repeats + 1):
        for name, run in runs.items():
            synchronize(x.device)
            start = time.perf_counter()
            run()
            synchronize(x.device)
            elapsed = time.perf_counter() - start
            found = times.setdefault(name, [])
            if repeat:
                found.append(elapsed / (args.chunks or 1))
    return times


def record(function):
    """What does on a GPU the same as a function, with no work for the host."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def synchronize(device):
    """Wait until a GPU has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device):
    """What the numbers were measured on, as it calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def benchmark(B, T, F, H, args):
    """Rows of the table for one shape."""
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    layers = make_layers((B, T, F), H, args)
    x = torch.randn(B, T, F, device=device).to(dtype)
    cotangent = torch.randn(B, T, H, device=device).to(dtype)
    steps = args.error_steps
    errors = measure_errors(layers, x[:, :steps], cotangent[:, :steps])
    times = measure_times(layers, x, cotangent, args)
    rows = []
    for (name, direction), runs in times.items():
        runs = 1000 * torch.tensor(runs)
        lstm = 1000 * torch.tensor(times["nn.LSTM", direction])
        rows.append(
            {
                "engine": name,
                "direction": direction,
                "batch": B,
                "time": T,
                "input": F,
                "hidden": H,
                "groups": args.groups,
                "dtype": args.dtype,
                "runs": len(runs),
                "q25_ms": f"{runs.quantile(0.25):.4g}",
                "median_ms": f"{runs.median():.4g}",
                "q75_ms": f"{runs.quantile(0.75):.4g}",
                "vs_lstm": f"{lstm.median() / runs.median():.2f}",
                "max_error": f"{errors[name]['backward' in direction]:.1e}",
                "error_steps": min(T, steps),
                "machine": machine(device),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "python": platform.python_version(),
            }
        )
    return rows


# Of the table that --csv names.
COLUMNS = """
    engine direction batch time input hidden groups dtype runs q25_ms median_ms
    q75_ms vs_lstm max_error error_steps machine threads torch python
""".split()


def check_table(path):
    """Stop where rows cannot be added to a table, before they are measured."""
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), None)
        if columns != COLUMNS:
            sys.exit(f"--csv={path}: expected the columns {', '.join(COLUMNS)}")


def add_rows(path, rows):
    """Add rows to a table, which need not be there."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        if new:
            writer.writeheader()
        writer.writerows(rows)


def parse_arguments():
    """What the user wants to know."""
    parser = argparse.ArgumentParser(
        description="Time a Clockwork RNN beside what it takes the place of.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--batch", type=count, nargs="+", default=[16], help="sequences")
    add("--time", type=count, nargs="+", default=[500], help="steps")
    add("--hidden", type=count, nargs="+", default=[512], help="units")
    add("--input", type=count, help="features (default: as many as units)")
    add(
        "--cell",
        default="plain",
        choices=["plain", "gated"],
        help="that of a ClockworkRNN, or of a ClockworkLiGRU",
    )
    add("--groups", type=groups, default=8, help="of exponential periods")
    add(
        "--dtype",
        type=dtype,
        default="float32",
        help="such as float32 or bfloat16",
    )
    add("--device", type=device, default="cpu", help="such as cpu or cuda")
    add(
        "--backend",
        nargs="+",
        default=["auto"],
        choices=["auto", *ENGINES, "per-group", "loop"],
        help="engines of the ClockworkRNN; a torch.nn.RNN per group; the "
        "paper's equations step by step",
    )
    add("--threads", type=count, default=1, help="of PyTorch, on the CPU")
    add(
        "--chunks",
        type=count,
        help="that are fed one after another, forwards alone, each of --time "
        "steps and with the state of the one before, or else whole sequences",
    )
    add("--repeats", type=count, default=7, help="timed runs of each")
    add(
        "--error_steps",
        type=count,
        default=256,
        help="first ones, on which errors are measured",
    )
    add(
        "--replay",
        action="store_true",
        help="also as recorded CUDA graphs, without the host's share",
    )
    add("--csv", type=new_file, help="file that the rows are added to")
    args = parser.parse_args()
    check_units(parser, args, min(args.hidden))
    if args.chunks and not {"loop", "per-group"}.isdisjoint(args.backend):
        parser.error("--chunks: expected a --backend that carries a state.")
    if args.replay and (args.device == "cpu" or args.chunks):
        parser.error("--replay: expected --device cuda, and no --chunks.")
    if args.cell == "gated" and "per-group" in args.backend:
        parser.error("--backend per-group: expected --cell plain.")
    return args


def main():
    """Measure, print and save; true if a layer was refused."""
    args = parse_arguments()
    if args.csv:
        check_table(args.csv)
    refused = False
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    if args.cell == "gated" and importlib.util.find_spec("speechbrain"):
        # Not after what follows, since it allows TF32 when it is imported.
        importlib.import_module("speechbrain")
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    shown = ["engine", "direction", "batch", "time", "input", "hidden"]
    shown += ["q25_ms", "median_ms", "q75_ms", "vs_lstm", "max_error"]
    print(
        f"{machine(torch.device(args.device))}, {args.threads} thread(s), "
        f"torch {torch.__version__}, {args.dtype}, {args.groups} groups\n"
    )
    print(f"| {' | '.join(shown)} |\n|{' --- |' * len(shown)}")
    for B, T, H in itertools.product(args.batch, args.time, args.hidden):
        features = H if args.input is None else args.input
        shape = f"batch {B}, {T} steps, {H} units"
        try:
            rows = benchmark(B, T, features, H, args)
        except torch.OutOfMemoryError:
            # Above all, the equations in float64 keep each step.
            print(f"{shape}: out of memory, left out")
            continue
        except InexactError as error:
            print(f"{shape}: {error}", file=sys.stderr)
            refused = True
            continue
        for row in rows:
            print(f"| {' | '.join(str(row[key]) for key in shown)} |")
        if args.csv:
            add_rows(args.csv, rows)
    return refused


if __name__ == "__main__":
    sys.exit(main())
