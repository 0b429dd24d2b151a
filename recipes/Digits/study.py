#!/usr/bin/env python3
"""Which recurrent layer hears the digits of speakers it does not know, and
remembers the first of them, at equal parameters?

Each speaker is in a test, of networks that learn from the others. All layers
get the same strings, epochs and learning rates, and of these each gets, for
each test, the one of its lowest error on other recordings of the speakers that
it learns from.

> python study.py --data_folder free-spoken-digit-dataset/recordings

It writes study.csv and study.md, and goes on where it stopped.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import functools
import io
import re
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from digits_prepare import make_strings, read_takes
from tasks import TASKS, Network, find_units, to_batch
from torch.nn.utils import clip_grad_norm_

from speechbrain_cwrnn.checks import check_integer
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.paired import (
    difference_rows,
    mean_by_split,
    print_differences,
)
from speechbrain_cwrnn.report import (
    RESULTS,
    print_provenance,
    print_table,
    read_results,
    summarize,
    whole_file,
    write_csv,
    write_results,
)
from speechbrain_cwrnn.study import (
    begin_study,
    check_cells,
    print_time,
    run_cells,
)

RATES = [0.003, 0.01]
BATCH_SIZE = 16
# Added to features, whose variance is 1.
NOISE = 0.3
MAX_GRAD_NORM = 1.0
MEASURED = {"valid": float, "test": float, "seconds": float}


@dataclass(frozen=True)
class Cell:
    """The training of a network, with a speaker in the test."""

    task: str
    layer: str
    units: int
    speaker: str
    rate: float
    seed: int
    data_folder: str
    study_folder: str

    @property
    def folder(self):
        """Where its results are written."""
        names = [re.sub(r"\W+", "_", name) for name in (self.task, self.layer)]
        return (
            Path(self.study_folder, *names)
            / f"{self.rate:g}"
            / self.speaker
            / f"{self.seed}"
        )

    def is_done(self):
        """Whether its results are there."""
        return (self.folder / RESULTS).exists()

    def run(self):
        """Train the network, and write its errors in percent."""
        train, valid, test = read_strings(self.data_folder, self.speaker)
        task = TASKS[self.task]
        torch.manual_seed(self.seed)
        network = Network(task, self.layer, self.units)
        start = time.process_time()
        fit(network, task, train, self.rate)
        seconds = time.process_time() - start
        errors = [error_rate(network, task, s) for s in (valid, test)]
        write_results(
            self.folder,
            {
                "model": self.layer,
                "size": sum(p.numel() for p in network.parameters()),
                "corpus": "spoken digits",
            },
            {
                "seed": [self.seed],
                "valid": errors[:1],
                "test": errors[1:],
                "diverged": [int(np.isnan(errors).any())],
                "seconds": [round(seconds / task.epochs, 3)],
            },
        )

    def result(self):
        """Errors in percent, seconds an epoch, parameters."""
        (row,) = read_results(self.folder, MEASURED)
        return [*(float(row[name]) for name in MEASURED), int(row["size"])]


def set_up():
    """Prepare a worker."""
    # What fades away takes three times as long else.
    torch.set_flush_denormal(True)


@functools.lru_cache(maxsize=3)
def read_strings(data_folder, speaker):
    """To learn from, for development and for the test: few times for all
    cells, and not those of all speakers at once, who may be many."""
    return make_strings(read_takes(data_folder), speaker)


def fit(network, task, strings, rate):
    """Train by Adam; the rate falls to 0 by a cosine."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    steps = task.epochs * -(-len(strings) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for _ in range(task.epochs):
        for indices in torch.randperm(len(strings)).split(BATCH_SIZE):
            x, *target = to_batch([strings[i] for i in indices])
            loss = task.loss(network(x + NOISE * torch.randn_like(x)), *target)
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def error_rate(network, task, strings):
    """In percent; NaN of a network that has diverged."""
    network.eval()
    x, *target = to_batch(strings)
    logits = network(x)
    if not logits.isfinite().all():
        return np.nan
    wrong, number = task.errors(logits, *target)
    return round(100 * wrong / number, 3)


def find_cells(args, speakers):
    """All that is asked for; what one seed gives first."""
    units = {
        (task, layer): find_units(TASKS[task], layer)
        for task in TASKS
        for layer in TASKS[task].layers
    }
    return [
        Cell(
            *(task, layer, units[task, layer], speaker, rate, seed),
            *(args.data_folder, args.output_folder),
        )
        for seed, (task, layer), rate, speaker in product(
            range(args.num_seeds), units, RATES, speakers
        )
    ]


def write_study(folder, cells, command):
    """Write study.csv and study.md, of what is done."""
    results = {cell: cell.result() for cell in cells if cell.is_done()}
    columns = ["task", "layer", "units", "speaker", "rate", "seed"]
    rows = [
        [*(getattr(cell, name) for name in columns), *result]
        for cell, result in results.items()
    ]
    columns += [*MEASURED, "parameters"]
    write_csv(folder / "study.csv", columns, rows)
    text = io.StringIO()
    with redirect_stdout(text):
        print_provenance(command)
        if len(results) < len(cells):
            print(f"\nOf {len(cells)} networks, {len(results)} are trained.")
        print_time(results)
        for task in TASKS:
            best = find_best(task, results)
            if best:
                print_task(task, best)
    with whole_file(folder / "study.md") as path:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    print(text.getvalue(), end="")


def find_best(task, results):
    """The cells of each layer, for each test at the rate of its lowest error in
    development; a network that diverged counts as if all were wrong."""
    tests = {}
    for cell in results:
        if cell.task == task:
            rates = tests.setdefault((cell.layer, cell.speaker), {})
            rates.setdefault(cell.rate, []).append(cell)

    def judge(cells):
        valid = [results[cell][0] for cell in cells]
        return np.nan_to_num(valid, nan=100.0).mean()

    best = {}
    for (layer, _), rates in tests.items():
        cells = min(rates.values(), key=judge)
        best.setdefault(layer, {}).update({c: results[c] for c in cells})
    return best


def print_task(task, best):
    """Print the errors of each layer, and how layers differ."""
    rows = [row_of(layer, results) for layer, results in best.items()]
    speakers = sorted(
        {cell.speaker for cells in best.values() for cell in cells}
    )
    print(
        f"\n## {task[0].upper()}{task[1:]}\n\nErrors in percent; the speakers "
        f"of the tests are {', '.join(speakers)}:\n"
    )
    columns = ["layer", "units", "parameters", "rates", "networks", "diverged"]
    print_table([*columns, "valid", "test", "sd", "s/epoch"], rows)
    print()
    errors = {
        layer: mean_by_split(
            [cell.speaker for cell in results],
            [test for _, test, *_ in results.values()],
        )
        for layer, results in best.items()
    }
    print_differences(difference_rows(errors), "test", "speakers to learn from")


def row_of(layer, results):
    """That of a layer in the table."""
    valid, test, seconds, sizes = np.transpose([*results.values()])
    number, diverged, mean, sd, *_ = summarize(test, decimals=1)
    rates = sorted({cell.rate for cell in results})
    return [
        *(layer, str(next(iter(results)).units), f"{sizes[0]:.0f}"),
        *(", ".join(f"{rate:g}" for rate in rates), number, diverged),
        *(summarize(valid, decimals=1)[2], mean, sd),
        f"{np.median(seconds):.2f}",
    ]


def parse(arguments):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Compare layers on digits; see the top of this file."
    )
    parser.add_argument("--data_folder", required=True, help="recordings")
    parser.add_argument("--output_folder", default="results/study")
    parser.add_argument("--num_seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    args = parser.parse_args(arguments)
    for name in ("num_seeds", "jobs"):
        check_integer(f"--{name}", getattr(args, name), 1)
    return args


def main(arguments):
    """Train what is not trained yet, and write what came of all."""
    args = parse(arguments)
    check_writes(args.output_folder, ["study.csv", "study.md"])
    takes = read_takes(args.data_folder)
    cells = find_cells(args, sorted({take.speaker for take in takes}))
    check_cells(cells)
    folder = Path(args.output_folder)
    with sole_run(folder):
        recordings = [
            f"{take.digit} {take.speaker}".encode() + take.samples.tobytes()
            for take in takes
        ]
        begin_study(folder, {"recordings": b"".join(recordings)})
        try:
            run_cells(cells, args.jobs, set_up)
        finally:
            # Also of a part, where it is interrupted.
            write_study(folder, cells, ["study.py", *arguments])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")
