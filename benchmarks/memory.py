#!/usr/bin/env python3
"""Peak memory of a forward and backward pass on the CPU, beside nn.LSTM's.

> python benchmarks/memory.py --time 4000

Each layer runs in a process of its own; what is shown is how far its memory
rises from where the layer and its input are made and it has run on two steps,
so that code that is loaded or compiled once does not count. On Linux.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import torch
from arguments import count

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


def peak(name, B, T, F, H):
    """What the memory of this process, in MiB, rises to from where a layer is
    made and has run on two steps, when it runs on all."""
    layer = LAYERS[name](F, H)
    x = torch.randn(B, T, F, requires_grad=True)
    layer(x[:, :2])[0].sum().backward()
    # Linux forgets the peak of before, which imports have.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    layer(x)[0].sum().backward()
    return _peak() - before


def _peak():
    """The most that was resident of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Peak memory of forward and backward, beside nn.LSTM's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--batch", type=count, default=16, help="sequences")
    add("--time", type=count, nargs="+", default=[1000, 4000], help="steps")
    add("--hidden", type=count, default=512, help="units")
    add("--input", type=count, default=512, help="features")
    add("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        (T,) = args.time
        print(peak(args.one, args.batch, T, args.input, args.hidden))
        return
    print("| layer | time | peak in MiB |\n| --- | --- | --- |")
    for T in args.time:
        for name in LAYERS:
            options = [sys.executable, __file__, "--time", str(T)]
            for option in ("batch", "hidden", "input"):
                options += [f"--{option}", str(getattr(args, option))]
            # Each in a process of its own, whose memory nothing else has held.
            rise = subprocess.check_output([*options, "--one", name])
            print(f"| {name} | {T} | {float(rise):.0f} |")


if __name__ == "__main__":
    main()
