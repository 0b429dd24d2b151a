#!/usr/bin/env python3
"""Which recurrent layer recognises phonemes best, at equal parameters?

All get the same epochs, seeds and learning rates, and of these each gets the
one of its lowest error on the development set.

> python study.py --data_folder /path/to/TIMIT --output_folder results/study
> python study.py --data_folder nltk_data --folds 0 1 2 3

With all folds of NLTK's sample each of its speakers is in a test, and layers
are compared by pairs, fold by fold. What train.py takes may follow, and holds
for all. A study that was interrupted goes on with the same command. It writes
study.csv (a row for each training) and study.md (the tables).

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import io
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from datetime import datetime
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from options import CTCOptions
from timit_prepare import find_corpus
from tqdm import tqdm

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.paired import (
    difference_rows,
    mean_by_split,
    print_differences,
)
from speechbrain_cwrnn.program import parse_arguments
from speechbrain_cwrnn.report import (
    RESULTS,
    print_provenance,
    print_table,
    read_results,
    summarize,
    whole_file,
    write_csv,
)
from speechbrain_cwrnn.study import begin_study

FOLDER = Path(__file__).parent
GATED = ["clockwork_ligru", "--rnn_class"]
LAYERS = {
    "LSTM": ["lstm"],
    "GRU": ["gru"],
    "Li-GRU": ["ligru"],
    "Clockwork RNN": ["cwrnn"],
    # With relu, as SpeechBrain's Li-GRU has it.
    "clockwork Li-GRU, relu": ["clockwork_ligru"],
    "1 group, relu": [*GATED, "{periods: 1}"],
    "clockwork Li-GRU": [*GATED, "{nonlinearity: tanh}"],
    "the same, 1 group": [*GATED, "{nonlinearity: tanh, periods: 1}"],
    "the same, 4 groups": [*GATED, "{nonlinearity: tanh, periods: 4}"],
}
MEASURED = ["valid", "test", "s/epoch"]
COLUMNS = [
    *("layer", "units", "parameters", "rate", "runs", "failed"),
    *("valid", "test", "sd", "s/epoch"),
]


class Run(NamedTuple):
    """One training: of a layer of `LAYERS`, with some units."""

    layer: str
    units: int
    rate: float
    fold: int
    seed: int

    def folder(self, args):
        """Where it writes."""
        name = re.sub(r"\W+", "_", self.layer).lower()
        place = Path(args.output_folder, name, f"{self.rate:g}")
        if self.fold:
            place /= f"fold_{self.fold}"
        return place / f"{self.seed}"

    def command(self, args):
        """The arguments of train.py."""
        name, *options = LAYERS[self.layer]
        return [
            *(str(FOLDER / "hparams" / f"{name}.yaml"), *options),
            *("--rnn_neurons", str(self.units), "--lr", f"{self.rate}"),
            *("--fold", f"{self.fold}", "--seed", f"{self.seed}"),
            *(*args.options, "--noprogressbar"),
            *("--output_folder", str(self.folder(args))),
        ]

    def train(self, args):
        """Run train.py, unless it is complete."""
        folder = self.folder(args)
        if (folder / RESULTS).is_file():
            return
        shown = self.shown(args)
        shown.parent.mkdir(parents=True, exist_ok=True)
        with open(shown, "w", encoding="utf-8") as file:
            result = subprocess.run(
                [sys.executable, FOLDER / "train.py", *self.command(args)],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        if result.returncode:
            tqdm.write(f"Failed, see {shown}", file=sys.stderr)

    def shown(self, args):
        """The file of what it shows."""
        folder = self.folder(args)
        return folder.with_name(f"{folder.name}.out")


def load(layer, units, args):
    """What train.py has of one of the runs."""
    run = Run(layer, units, args.rates[0], max(args.folds), args.seeds[0])
    file, _, overrides = parse_arguments(run.command(args))
    return load_hparams(file, overrides, CTCOptions)


def find_units(layer, args):
    """Units, a multiple of four, for about as many parameters as wanted; and
    how many that are."""
    counts = {}

    def count(fours):
        model = load(layer, 4 * fours, args)["model"]
        counts[4 * fours] = sum(p.numel() for p in model.parameters())
        return counts[4 * fours]

    low, high = 0, 1
    while count(high) < args.num_params:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count(middle) < args.num_params:
            low = middle
        else:
            high = middle
    units, size = min(
        counts.items(), key=lambda item: abs(item[1] - args.num_params)
    )
    if abs(size - args.num_params) > 0.1 * args.num_params:
        raise InputError(
            f"--num_params {args.num_params}: expected what the model can have "
            f"(with {units} units of {layer}, it has {size})."
        )
    return units, size


def seconds_an_epoch(folder):
    """The median over the epochs, with their validation, as logged."""
    lines = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    starts = [
        datetime.strptime(line.split(" - ")[0], "%Y-%m-%d %H:%M:%S,%f")
        for line in lines
        if "Going into epoch" in line
    ]
    seconds = [(b - a).total_seconds() for a, b in pairwise(starts)]
    return np.median(seconds) if seconds else np.nan


def measure(run, args):
    """The errors and the seconds; NaN where it failed."""
    folder = run.folder(args)
    if not (folder / RESULTS).is_file():
        return [np.nan] * 3
    (row,) = read_results(folder, {"valid": float, "test": float})
    return float(row["valid"]), float(row["test"]), seconds_an_epoch(folder)


def choose(runs, measured):
    """Those of the rate that is best on the development set, of the runs of a
    layer on one fold. One that fails now and then is worse than one that does
    not."""
    rates = {}
    for run in runs:
        rates.setdefault(run.rate, []).append(run)

    def judge(rate):
        valid = [measured[run][0] for run in rates[rate]]
        failed = int(np.isnan(valid).sum())
        return failed, np.inf if failed == len(valid) else np.nanmean(valid)

    return rates[min(rates, key=judge)]


def summarize_layer(runs, size, measured):
    """The row of a layer, of the runs that were chosen."""
    valid, test, seconds = np.transpose([measured[run] for run in runs])
    number, failed, mean, sd, *_ = summarize(test, decimals=2)
    valid, seconds = (summarize(n, decimals=2)[2] for n in (valid, seconds))
    rates = ", ".join(f"{rate:g}" for rate in sorted({r.rate for r in runs}))
    return [
        *(runs[0].layer, str(runs[0].units), str(size), rates),
        *(number, failed, valid, mean, sd, seconds),
    ]


def main():
    """Train all, and show the table."""
    parser = argparse.ArgumentParser(
        description="Compare recurrent layers at equal parameters."
    )
    parser.add_argument("--output_folder", default="results/study")
    parser.add_argument(
        "--layers",
        nargs="+",
        choices=LAYERS,
        default=list(LAYERS),
        metavar="LAYER",
        help=", ".join(LAYERS),
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        choices=range(4),
        default=[0],
        metavar="FOLD",
        help="of NLTK's sample of TIMIT, 0 to 3",
    )
    parser.add_argument("--num_params", type=int, default=170_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.001, 0.003]
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    args, args.options = parser.parse_known_args()
    args.folds = sorted(set(args.folds))
    try:
        if args.jobs < 1:
            raise InputError(f"--jobs {args.jobs}: expected at least 1.")
        check_writes(args.output_folder, ["study.csv", "study.md"])
        with sole_run(args.output_folder):
            write_study(*compare(args), args)
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")


def compare(args):
    """A row for each layer, at the best rate for each fold by its development
    set; and the errors of the layer by the fold."""
    if max(args.folds):
        # Few corpora have more than one.
        data_folder = load(args.layers[0], 4, args)["data_folder"]
        find_corpus(data_folder, max(args.folds))
    found = {layer: find_units(layer, args) for layer in args.layers}
    runs = [
        Run(layer, found[layer][0], rate, fold, seed)
        for seed, rate, fold, layer in product(
            args.seeds, args.rates, args.folds, args.layers
        )
    ]
    for run in runs:
        shown = run.shown(args)
        check_writes(shown.parent, [shown.name])
    begin_study(
        args.output_folder,
        {
            "options": shlex.join(args.options),
            "num_params": str(args.num_params),
        },
    )
    with ThreadPoolExecutor(args.jobs) as pool:
        trained = pool.map(lambda run: run.train(args), runs)
        list(tqdm(trained, "training", len(runs), unit="run"))
    measured = {run: measure(run, args) for run in runs}
    write_csv(
        Path(args.output_folder) / "study.csv",
        ["layer", "units", "parameters", *Run._fields[2:], *MEASURED],
        [
            [run.layer, run.units, found[run.layer][1], *run[2:], *numbers]
            for run, numbers in measured.items()
        ],
    )
    rows, errors = [], {}
    for layer in args.layers:
        mine = [run for run in runs if run.layer == layer]
        best = []
        for fold in args.folds:
            best += choose([r for r in mine if r.fold == fold], measured)
        rows.append(summarize_layer(best, found[layer][1], measured))
        tests = [measured[run][1] for run in best]
        errors[layer] = mean_by_split([run.fold for run in best], tests)
    return rows, errors


def name_folds(folds):
    """What the title says of them."""
    if folds == [0]:
        return ""
    return f"folds {', '.join(map(str, folds))} of the speakers, "


def write_study(rows, errors, args):
    """Show the tables, and write them with what they were made by."""
    corpora = {
        # Of each fold it has the number.
        row["corpus"].partition(", fold")[0]
        for path in Path(args.output_folder).rglob(RESULTS)
        for row in read_results(path.parent, {})
    }
    text = io.StringIO()
    with redirect_stdout(text):
        print_provenance(["study.py", *sys.argv[1:]])
        print(
            f"\nPhonemes by CTC, {', '.join(sorted(corpora))}: error rates in "
            f"percent, {name_folds(args.folds)}seeds "
            f"{', '.join(map(str, args.seeds))}, of the rates "
            f"{', '.join(f'{rate:g}' for rate in args.rates)} the best on the "
            f"development set\n"
        )
        print_table(COLUMNS, rows)
        if len(args.folds) > 1:
            print()
            rows = difference_rows(errors)
            print_differences(rows, "fold", "speakers to learn from")
    with whole_file(Path(args.output_folder) / "study.md") as path:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    print(text.getvalue(), end="")


if __name__ == "__main__":
    main()
