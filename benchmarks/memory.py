#!/usr/bin/env python3
"""Peak memory of a forward and backward pass on the CPU, beside nn.LSTM's.

> python benchmarks/memory.py --time 4000

Each layer runs in a process of its own; what is shown is how far its peak is
above that of a process that only made the layer and its input, and ran it on
two steps, so that code that is loaded or compiled once does not count.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import importlib.util
import resource
import subprocess
import sys

import torch

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN


def speechbrain_ligru(F, H):
    """SpeechBrain's layer, which takes a second to import."""
    from speechbrain.nnet.RNN import LiGRU

    return LiGRU(H, (None, None, F), "tanh")


LAYERS = {
    "ClockworkRNN": lambda F, H: ClockworkRNN(H, input_size=F),
    "ClockworkLiGRU": lambda F, H: ClockworkLiGRU(H, input_size=F),
    "nn.RNN": lambda F, H: torch.nn.RNN(F, H, batch_first=True),
    "nn.LSTM": lambda F, H: torch.nn.LSTM(F, H, batch_first=True),
    "nn.GRU": lambda F, H: torch.nn.GRU(F, H, batch_first=True),
}
if importlib.util.find_spec("speechbrain"):
    LAYERS["speechbrain LiGRU"] = speechbrain_ligru


def peak(name, B, T, F, H, train):
    """Peak memory of this process so far, in MiB, after making a layer, running
    it on two steps, and, where train is set, on all."""
    layer = LAYERS[name](F, H)
    x = torch.randn(B, T, F, requires_grad=True)
    layer(x[:, :2])[0].sum().backward()
    if train:
        layer(x)[0].sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Peak memory of forward and backward, beside nn.LSTM's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--batch", type=int, default=16, help="sequences")
    add("--time", type=int, nargs="+", default=[1000, 4000], help="steps")
    add("--hidden", type=int, default=512, help="units")
    add("--input", type=int, default=512, help="features")
    add("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, train = args.one
        (T,) = args.time
        print(peak(name, args.batch, T, args.input, args.hidden, train == "1"))
        return
    for name in LAYERS:
        # What is compiled here, the other processes only load.
        peak(name, args.batch, 2, args.input, args.hidden, False)
    print("| layer | time | peak in MiB |\n| --- | --- | --- |")
    for T in args.time:
        for name in LAYERS:
            options = [sys.executable, __file__, "--time", str(T)]
            for option in ("batch", "hidden", "input"):
                options += [f"--{option}", str(getattr(args, option))]
            without, with_run = (
                float(subprocess.check_output([*options, "--one", name, train]))
                for train in ("0", "1")
            )
            print(f"| {name} | {T} | {with_run - without:.0f} |")


if __name__ == "__main__":
    main()
