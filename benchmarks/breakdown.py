#!/usr/bin/env python3
r"""Where the time of a Clockwork RNN goes.

> python benchmarks/breakdown.py
> python benchmarks/breakdown.py --cell gated --groups 1 --batch 8 --time 300
> python benchmarks/breakdown.py --device cuda --dtype bfloat16 --time 1000

Prints, for the forward and the backward pass of a layer, the median time of
the steps that are sequential, of the products of matrices around them, of
reading and holding what changes at ticks only, and of all the rest: autograd,
new memory, Python, the normalisation of a gated layer. On a GPU, where each
part includes the gaps between its launches, the last row is what remains if all
is recorded and replayed, without such gaps. It needs torch alone.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import time
from functools import partial

import torch
from arguments import check_units, count, device, dtype, groups
from speed import machine, record, synchronize

from speechbrain_cwrnn import (
    ClockworkLiGRU,
    ClockworkRNN,
    inputs,
    stepwise,
    sweep,
)
from speechbrain_cwrnn.backend import ENGINES, choose
from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.sweep import holding

STEPS, PRODUCTS = "sequential steps", "products of matrices"
HOLDING, REST, ALL = "reading and holding", "rest", "all"
REPLAYED = "all, replayed without gaps"
LAYERS = {"plain": ClockworkRNN, "gated": ClockworkLiGRU}


class Stopwatch:
    """Takes the time of parts, on the CPU or in the order of a GPU's work."""

    def __init__(self, device):
        self.device = torch.device(device)
        self.spans = []
        self.inside = False

    def now(self):
        """This moment."""
        if self.device.type == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed(self, start, end):
        """Milliseconds between two moments."""
        if self.device.type == "cpu":
            return 1000 * (end - start)
        synchronize(self.device)
        return start.elapsed_time(end)

    def watch(self, owner, name, part):
        """Take the time of a function whenever it is called."""
        function = getattr(owner, name)

        def timed(*args, **options):
            if self.inside:
                return function(*args, **options)
            self.inside, start = True, self.now()
            result = function(*args, **options)
            self.inside = False
            self.spans.append((part, start, self.now()))
            return result

        setattr(owner, name, timed)

    def run(self, function):
        """What a function returns, and the milliseconds of its parts."""
        self.spans, start = [], self.now()
        result = function()
        end = self.now()
        parts = dict.fromkeys((STEPS, PRODUCTS, HOLDING), 0.0)
        for part, *span in self.spans:
            parts[part] += self.elapsed(*span)
        total = self.elapsed(start, end)
        return result, {**parts, REST: total - sum(parts.values()), ALL: total}


def watch_layer(watch, net, x):
    """Take the time of all that a layer is made of."""
    cell = Cell(net.nonlinearity, isinstance(net, ClockworkLiGRU))
    groups = Groups(net.periods, net.group_sizes, 0, cell)
    _, engine = choose(net.backend, x, groups)
    for name in ("forward", "backward"):
        watch.watch(engine, name, STEPS)
    read_at = getattr(engine, "read_at", holding.read_at)
    for reading in {holding.Runs, holding.Gather, type(read_at(0, 1))}:
        for name in {"read", "write", "add", "collect"} & vars(reading).keys():
            watch.watch(reading, name, HOLDING)
    functions = {"add_at_ticks": HOLDING}
    for name in ("linear", "add_linear", "outer", "outer_before"):
        functions[name] = PRODUCTS
    for module in (inputs, stepwise, sweep):
        for name, part in functions.items():
            if hasattr(module, name):
                watch.watch(module, name, part)


def measure(net, x, watch, repeats):
    """Milliseconds by direction and part: a list of runs for each."""
    cotangent = torch.randn(*x.shape[:2], net.hidden_size).to(x)
    runs = {}
    # The first round warms up, and does not count.
    for repeat in range(repeats + 1):
        output, forward = watch.run(lambda: net(x)[0])
        _, backward = watch.run(partial(output.backward, cotangent))
        for direction, parts in (("forward", forward), ("backward", backward)):
            for part, milliseconds in parts.items():
                if repeat:
                    runs.setdefault((direction, part), []).append(milliseconds)
    return runs


def measure_replayed(net, x, repeats):
    """The same of CUDA graphs: forward, and forward and backward."""
    wrt = [x, *net.parameters()]
    cotangent = torch.randn(*x.shape[:2], net.hidden_size).to(x)

    def forward():
        with torch.no_grad():
            net(x)

    def both():
        torch.autograd.grad(net(x)[0], wrt, cotangent)

    runs = {}
    for name, function in (("forward", forward), ("both", both)):
        watch, replay = Stopwatch("cuda"), record(function)
        runs[name] = [watch.run(replay)[1][ALL] for _ in range(repeats)]
    backward = [b - f for b, f in zip(runs["both"], runs["forward"])]
    return {
        ("forward", REPLAYED): runs["forward"],
        ("backward", REPLAYED): backward,
    }


def parse_arguments():
    """What the user wants to know."""
    parser = argparse.ArgumentParser(
        description="Where the time of a Clockwork RNN goes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--batch", type=count, default=16, help="sequences")
    add("--time", type=count, default=500, help="steps")
    add("--hidden", type=count, default=512, help="units")
    add("--input", type=count, help="features (default: as many as units)")
    add("--cell", default="plain", choices=LAYERS, help="of the layer")
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
        default="auto",
        choices=["auto", *ENGINES],
        help="engine of the ClockworkRNN",
    )
    add("--threads", type=count, default=1, help="of PyTorch, on the CPU")
    add("--repeats", type=count, default=20, help="timed runs")
    args = parser.parse_args()
    check_units(parser, args, args.hidden)
    return args


def main():
    """Measure and print."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    if device.index is not None:
        torch.cuda.set_device(device)
    features = args.hidden if args.input is None else args.input
    net = LAYERS[args.cell](
        args.hidden,
        input_size=features,
        periods=args.groups,
        backend=args.backend,
    ).to(device, dtype)
    x = torch.randn(args.batch, args.time, features).to(device, dtype)
    x.requires_grad_()
    engine = net.engine(args.batch, args.time)
    runs = {}
    if device.type == "cuda":
        runs = measure_replayed(net, x, args.repeats)
    watch = Stopwatch(device)
    watch_layer(watch, net, x)
    runs = {**measure(net, x, watch, args.repeats), **runs}
    print(
        f"{machine(device)}, {args.threads} thread(s), torch "
        f"{torch.__version__}, {args.dtype}, engine {engine}, batch "
        f"{args.batch}, {args.time} steps, {features} features, {args.hidden} "
        f"{args.cell} units in {args.groups} groups; median of {args.repeats} "
        f"runs\n"
    )
    print("| part | forward, ms | backward, ms |\n| --- | --- | --- |")
    for part in dict.fromkeys(part for _, part in runs):
        medians = [
            torch.tensor(runs[direction, part]).median()
            for direction in ("forward", "backward")
        ]
        print(f"| {part} | {medians[0]:.2f} | {medians[1]:.2f} |")


if __name__ == "__main__":
    main()
