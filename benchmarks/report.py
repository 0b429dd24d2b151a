#!/usr/bin/env python3
"""Make a table and a plot of what speed.py measured.

> python benchmarks/report.py benchmarks/results/cpu.csv --plot cpu.png

Prints a Markdown table, and draws how much faster than nn.LSTM of the same
size the clockwork layers are, against the hidden size, a line per batch size.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import csv
import math
from pathlib import Path

import matplotlib
from arguments import new_file

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SHAPE = ("dtype", "batch", "time", "input", "hidden")
DIRECTIONS = {
    "forward": "forward",
    "forward_backward": "forward + backward",
    "streaming": "forward, chunk by chunk",
    "forward_replayed": "forward, replayed",
    "forward_backward_replayed": "forward + backward, replayed",
}


def by_shape(rows):
    """For each shape and direction, the row of each layer by its name."""
    table = {}
    for row in rows:
        key = tuple(row[name] for name in (*SHAPE, "direction"))
        name = row["engine"].partition(" (")[0]
        # Of several engines, the first one stands for the layer.
        table.setdefault(key, {}).setdefault(name, row)
    return table


def is_ours(name):
    """Whether a layer is one of this package."""
    return name.startswith("Clockwork")


def print_table(rows):
    """One row per shape, direction and layer of ours, the others beside it."""
    names = {row["engine"].partition(" (")[0]: None for row in rows}
    peers = [name for name in names if not is_ours(name)]
    columns = [*SHAPE, "direction", "layer", "ms", "engine", "error"]
    columns += [f"{peer}, ms" for peer in peers]
    columns += [f"x {peer}" for peer in peers]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for key, layers in by_shape(rows).items():
        # What was left out, for lack of memory, has no time.
        times = {name: float(row["median_ms"]) for name, row in layers.items()}
        theirs = [times.get(peer, math.nan) for peer in peers]
        for name in filter(is_ours, layers):
            ours, median = layers[name], times[name]
            cells = [*key[:-1], DIRECTIONS[key[-1]], name, f"{median:.4g}"]
            cells += [ours["engine"].partition("(")[2].rstrip(")")]
            cells += [ours["max_error"], *(f"{time:.4g}" for time in theirs)]
            cells += [f"{time / median:.1f}" for time in theirs]
            print(f"| {' | '.join(cells)} |")


def draw(rows, path):
    """Speed-up over nn.LSTM against hidden size, a panel per direction."""
    figure, panels = plt.subplots(
        1, 2, figsize=(9, 5), sharey=True, layout="constrained"
    )
    ours = [
        (name, row)
        for layers in by_shape(rows).values()
        for name, row in layers.items()
        if is_ours(name)
    ]
    longest = max(int(row["time"]) for _, row in ours)
    for panel, (direction, title) in zip(panels, DIRECTIONS.items()):
        lines = {}
        for name, row in ours:
            if row["direction"] == direction and int(row["time"]) == longest:
                key = name, row["dtype"], int(row["batch"])
                points = lines.setdefault(key, [])
                points.append((int(row["hidden"]), float(row["vs_lstm"])))
        for (name, dtype, batch), points in sorted(lines.items()):
            hidden, speedup = zip(*sorted(points))
            label = f"{name}, {dtype}, batch {batch}"
            panel.plot(hidden, speedup, "o-", label=label)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_xticks(hidden, map(str, hidden))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_title(f"{title}, {longest} steps")
        panel.set_xlabel("hidden units")
    panels[0].set_ylabel("times faster than nn.LSTM")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
    )
    figure.savefig(path, dpi=120)


def main():
    """Read, print and draw."""
    parser = argparse.ArgumentParser(
        description="Make a table and a plot of what speed.py measured."
    )
    parser.add_argument("csv", type=Path, help="rows of speed.py")
    parser.add_argument("--plot", type=new_file, help="picture to draw")
    args = parser.parse_args()
    try:
        with open(args.csv, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{args.csv}: expected rows of speed.py ({error}).")
    if not rows or not {*SHAPE, "engine", "median_ms"} <= rows[0].keys():
        parser.error(f"{args.csv}: expected rows of speed.py.")
    print_table(rows)
    names = ("machine", "threads", "torch", "python", "groups")
    for values in sorted({tuple(row[n] for n in names) for row in rows}):
        described = (f"{n}: {v}" for n, v in zip(names, values))
        print(f"\n({', '.join(described)})")
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()
