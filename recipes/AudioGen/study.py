#!/usr/bin/env python3
"""The first experiment of the Clockwork RNN paper as a study.

The three models of the paper in its four sizes learn to generate waveforms, by
its protocol: its own targets, excerpts of recordings, and voiced and unvoiced
stretches of TIMIT's sentences. On the paper's targets the largest networks are
trained by variants of the protocol, too, which tell why things do not come out
as there.

To run it on what there is (it goes on where it stopped):
> python study.py --targets koutnik2014.csv --sample nltk_data

It writes study.csv, study.md and a picture for each of these. Options that are
not its own go to train.py.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import functools
import itertools
import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import train
from options import AudioGenOptions
from stretches import PHONES, choose_stretches
from study_report import write_study

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.manifest import without_places
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.program import parse_arguments
from speechbrain_cwrnn.report import whole_file
from speechbrain_cwrnn.schema import MOST
from speechbrain_cwrnn.study import (
    SECONDS,
    begin_study,
    check_cells,
    run_cells,
)

# The slowest first, for all processes to end at about the same time.
MODELS = ["lstm", "srn", "cwrnn"]
# The most important first.
SIZES = [1000, 100, 250, 500]
MUSIC = "music"
PAPER = "paper"
# More seeds come in rounds, after all else: what there is can be reported at
# any time, and extended. Many networks at once take less time each.
FIRST_ROUND, ROUND = 20, 80
NO_CLIPPING = ["--protocol", "paper"]
# What pylstm, the library of the paper's authors, has for the cell of an LSTM
# where the paper's day has it: the one in C++, the other one in Python.
CELL = (
    "!name:speechbrain_cwrnn.peephole.PeepholeLSTM "
    "{{hidden_size: !ref <hidden_size>, forget_bias: 5.0, activation: {}}}"
)
ONE_BASED = (
    "!name:generator.Generator "
    "{rnn_class: !ref <rnn_class>, init_std: 0.1, clock: 1}"
)
# What differs from the paper's protocol, and the models that it is tried on.
VARIANTS = {
    "clip 30": (MODELS, ["--max_grad_norm", "30"]),
    "clip 1": (MODELS, ["--max_grad_norm", "1"]),
    **{
        f"{name} cell": (
            ["lstm"],
            [*NO_CLIPPING, "--rnn_class", CELL.format(name)],
        )
        for name in ("tanhx2", "sigmoid")
    },
    "1-based clock": (["cwrnn"], [*NO_CLIPPING, "--model", ONE_BASED]),
}


@dataclass(frozen=True)
class Cell:
    """Networks of one kind, trained at once on some targets."""

    task: str
    variant: str
    model: str
    size: int
    first: int
    num_seeds: int
    options: tuple
    study_folder: str

    @property
    def folder(self):
        """Where its results are written."""
        variant = self.variant.replace(" ", "_")
        place = Path(self.study_folder, self.task, variant)
        seeds = f"{self.first}x{self.num_seeds}"
        return place / f"{self.model}_{self.size}" / seeds

    def arguments(self):
        """The command line of train.py."""
        return [
            str(Path(__file__).parent / "hparams" / f"{self.model}.yaml"),
            *("--num_params", str(self.size)),
            # Those of its targets are counted on from there.
            *("--seed", str(1234 + 1000 * self.first)),
            *("--num_seeds", str(self.num_seeds)),
            *("--output_folder", str(self.folder), "--noprogressbar"),
            *self.options,
        ]

    def check(self):
        """Raise an error for what is wrong with options, or with the targets
        that they name; return what tells these from others."""
        hparams_file, run_opts, overrides = parse_arguments(self.arguments())
        load = functools.partial(load_hparams, hparams_file, overrides)
        train.check(load(AudioGenOptions), run_opts)
        hparams = load(AudioGenOptions)
        if hparams["skip_prep"]:
            return None
        with tempfile.TemporaryDirectory() as folder:
            places = {
                "save_folder": folder,
                "train_annotation": str(Path(folder, "manifest.json")),
            }
            train.prepare({**hparams, **places})
            manifest = Path(places["train_annotation"]).read_text()
            return without_places(json.loads(manifest))

    def is_done(self):
        """Whether its results are there."""
        # What is written last.
        return (self.folder / SECONDS).exists()

    def run(self):
        """Train the networks."""
        train.main(*parse_arguments(self.arguments()))


def find_tasks(args):
    """What train.py is told of the targets, by the task."""
    tasks = {}
    if args.targets is not None:
        tasks[MUSIC] = ["--targets", str(Path(args.targets).absolute())]
    for path in args.audio:
        task = Path(path).stem
        if task in tasks or task == MUSIC or task in PHONES:
            raise InputError(
                f"--audio {path}: expected files of different names, none of "
                f"them {', '.join([MUSIC, *PHONES])}."
            )
        tasks[task] = ["--audio", str(Path(path).absolute())]
    if args.sample is not None:
        for kind in PHONES:
            manifest = Path(args.output_folder, f"{kind}.json").absolute()
            tasks[kind] = ["--skip_prep", "True"]
            tasks[kind] += ["--train_annotation", str(manifest)]
    if not tasks:
        raise InputError("expected --targets, --audio or --sample.")
    return tasks


def find_cells(args):
    """All that is asked for, the most important first."""
    tasks = find_tasks(args)
    cells = []

    def add(task, variant, models, sizes, options, first=0):
        most = ROUND if first else FIRST_ROUND
        cells.extend(
            Cell(
                task,
                variant,
                model,
                size,
                first,
                min(most, args.num_seeds - first),
                (*tasks[task], *options, *args.options),
                args.output_folder,
            )
            for size, model in itertools.product(sizes, models)
        )

    if MUSIC in tasks:
        add(MUSIC, PAPER, MODELS, SIZES[:2], NO_CLIPPING)
        for variant, (models, options) in VARIANTS.items():
            add(MUSIC, variant, models, SIZES[:1], options)
        add(MUSIC, PAPER, MODELS, SIZES[2:], NO_CLIPPING)
    for sizes in (SIZES[:2], SIZES[2:]):
        for task in [task for task in tasks if task != MUSIC]:
            add(task, PAPER, MODELS, sizes, NO_CLIPPING)
    for first in range(FIRST_ROUND, args.num_seeds, ROUND):
        for task in tasks:
            add(task, PAPER, MODELS, SIZES, NO_CLIPPING, first)
    return cells


def parse(arguments):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Compare models that generate; see the top of this file."
    )
    parser.add_argument("--targets", help="CSV file of the paper's targets")
    parser.add_argument(
        "--audio", nargs="+", default=[], help="recordings, for excerpts"
    )
    parser.add_argument("--sample", help="folder of NLTK's sample of TIMIT")
    parser.add_argument("--output_folder", default="results/study")
    parser.add_argument(
        "--num_seeds",
        type=int,
        default=100,
        help="networks of each kind for each target, at most "
        f"{FIRST_ROUND} for variants; it can be raised later",
    )
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    args, args.options = parser.parse_known_args(arguments)
    for name in ("num_seeds", "jobs"):
        if not 1 <= getattr(args, name) <= MOST:
            raise InputError(
                f"--{name} {getattr(args, name)}: expected an integer from 1 "
                f"to {MOST}."
            )
    return args


def main(arguments):
    """Train what is not trained yet, and write what came of all."""
    args = parse(arguments)
    cells = find_cells(args)
    kinds = PHONES if args.sample is not None else ()
    stretches = {kind: choose_stretches(args.sample, kind) for kind in kinds}
    pictures = {f"{cell.task}.png" for cell in cells}
    manifests = [f"{kind}.json" for kind in kinds]
    check_writes(
        args.output_folder, ["study.csv", "study.md", *pictures, *manifests]
    )
    check_cells(cells)
    folder = Path(args.output_folder)
    with sole_run(folder):
        facts = {k: without_places(m) for k, m in stretches.items()}
        for cell in cells:
            # All sizes are of one kind.
            if cell.size == SIZES[0] and not cell.first:
                if (data := cell.check()) is not None:
                    facts[cell.task] = data
        begin_study(folder, {"options": shlex.join(args.options), **facts})
        for kind, manifest in stretches.items():
            with whole_file(folder / f"{kind}.json") as path:
                Path(path).write_text(json.dumps(manifest, indent=2))
        try:
            run_cells(cells, args.jobs)
        finally:
            # Also of a part, where it is interrupted.
            write_study(folder, cells, ["study.py", *arguments])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")
