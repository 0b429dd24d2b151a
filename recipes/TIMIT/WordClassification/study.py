#!/usr/bin/env python3
"""The second experiment of the Clockwork RNN paper as a study.

Models in the five sizes of the paper tell words apart, learnt by several splits
of the speakers, by two protocols. One is the paper's. By the other one
each model has the same chance: Adam, with the learning rate and the length of
training that err least on the last of the speakers to learn from, which are
learnt without it.

To run it on what there is, for two hours (it goes on where it stopped):
> python study.py --sample nltk_data --synthetic synthetic --digits fsdd

It writes study.csv, study.md and a picture for each corpus and protocol.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import functools
import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
import train
from early_stopping import EarlyStopping
from options import WordOptions
from speechbrain.dataio.sampler import ReproducibleRandomSampler
from study_report import write_study
from synthesize import find_data, synthesize_timit
from words_prepare import prepare_words

from speechbrain_cwrnn import Ensemble
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.manifest import without_places
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.program import parse_arguments
from speechbrain_cwrnn.report import RESULTS, write_csv, write_results
from speechbrain_cwrnn.schema import MOST
from speechbrain_cwrnn.study import begin_study, check_cells, run_cells

MODELS = ["srn", "lstm", "cwrnn", "clockwork_ligru"]
# Those which are trained if they are asked for.
MORE_MODELS = ["gru", "ligru"]
SIZES = [500, 1000, 2500, 5000, 10000]
PROTOCOLS = ["paper", "equal"]
# What each corpus is asked for.
DIGITS = "zero, one, two, three, four, five, six, seven, eight, nine"
TASKS = {
    "sample": ["--words", "sa", "--num_test", "11"],
    "synthetic": [],
    "digits": ["--words", f"[{DIGITS}]", "--num_test", "50"],
}
# The choice that each model has by the protocol of equal chances.
RATES = [0.001, 0.003, 0.01]
LENGTHS = [20, 40, 80]
BATCH_SIZE = 25
CHOOSING_SEEDS = 4


@dataclass(frozen=True)
class Cell:
    """Networks of one kind, trained at once on one split."""

    task: str
    data_folder: str
    protocol: str
    size: int
    model: str
    split: int
    num_seeds: int
    study_folder: str

    @property
    def folder(self):
        """Where its results are written."""
        name = f"{self.model}_{self.size}"
        place = Path(self.study_folder, self.task, self.protocol, name)
        return place / f"{self.split}x{self.num_seeds}"

    def arguments(self, *options):
        """The command line of train.py."""
        return [
            str(Path(__file__).parent / "hparams" / f"{self.model}.yaml"),
            *("--data_folder", self.data_folder),
            *TASKS[self.task],
            *("--num_params", str(self.size)),
            *("--num_seeds", str(self.num_seeds)),
            *("--data_seed", str(self.split)),
            *("--output_folder", str(self.folder), "--noprogressbar"),
            *options,
        ]

    def check(self):
        """Raise an error where the corpus has not what is asked for; return
        what tells it from others."""
        hparams_file, _, overrides = parse_arguments(self.arguments())
        hparams = load_hparams(hparams_file, overrides, WordOptions)
        with tempfile.TemporaryDirectory() as folder:
            paths = {
                f"{split}_annotation": Path(folder, f"{split}.json")
                for split in ("train", "test")
            }
            train.prepare({**hparams, **paths}, in_use=False)
            return without_places(
                *(json.loads(path.read_text()) for path in paths.values())
            )

    def is_done(self):
        """Whether its results are there."""
        return (self.folder / RESULTS).exists()

    def run(self):
        """Train the networks."""
        if self.protocol == "paper":
            train.main(*parse_arguments(self.arguments()))
        else:
            run_equal(self)


def run_equal(cell):
    """Choose the rate and length on training speakers, and train with them."""
    hparams_file, _, overrides = parse_arguments(cell.arguments())
    hparams = load_hparams(hparams_file, overrides, WordOptions)
    num_train = hparams["num_train"]
    learn, valid, words = prepare(cell, hparams, "choosing", num_train - 1, 1)
    rows = []
    for rate in RATES:
        brain = make_brain(hparams, rate, CHOOSING_SEEDS, words)
        for epochs in fit(brain, learn, LENGTHS, cell.split):
            _, errors, _ = brain.test(valid)
            # Rounded, for equals to be equal.
            rows.append([round(float(errors.mean()), 6), epochs, rate])
    write_csv(cell.folder / "choosing.csv", ["error", "epochs", "lr"], rows)
    # Of equals, the shortest.
    _, length, rate = min(rows)
    hparams = load_hparams(hparams_file, overrides, WordOptions)
    learn, test, words = prepare(
        cell, hparams, "final", num_train, hparams["num_test"]
    )
    brain = make_brain(hparams, rate, cell.num_seeds, words)
    for _ in fit(brain, learn, [length], cell.split):
        pass
    train_losses, train_errors, _ = brain.test(learn)
    _, test_errors, _ = brain.test(test)
    _, corpus = find_data(cell.data_folder, None, None)
    write_results(
        cell.folder,
        {
            "model": cell.model,
            "size": cell.size,
            "corpus": corpus,
            "words": len(words),
            "num_train": num_train,
            "num_test": hparams["num_test"],
            "lr": rate,
            "epochs": length,
        },
        {
            "seed": brain.seeds,
            "train_loss": train_losses,
            "train_error": train_errors,
            "test_error": test_errors,
            "diverged": (~np.isfinite(train_losses)).astype(int),
        },
    )


def prepare(cell, hparams, name, num_train, num_test):
    """Datasets to learn from and to test, and the words."""
    manifests = [str(cell.folder / f"{name}_{s}.json") for s in ("a", "b")]
    prepare_words(
        cell.data_folder,
        *manifests,
        hparams["words"],
        num_train=num_train,
        num_test=num_test,
        seed=cell.split,
    )
    paths = dict(zip(("train_annotation", "test_annotation"), manifests))
    entries = train.read_words({**hparams, **paths})
    words = [word for group in entries[2] for word in group]
    return *train.dataio_prep(hparams, *entries[:2], words), words


def make_brain(hparams, rate, num_seeds, words):
    """A brain that trains new networks by Adam."""
    networks = Ensemble(
        functools.partial(hparams["model"], num_words=len(words)),
        num_copies=num_seeds,
        seed=hparams["seed"],
    )
    brain = train.WordBrain(
        modules={"model": networks},
        opt_class=functools.partial(torch.optim.Adam, lr=rate),
        hparams=hparams,
        run_opts={"noprogressbar": True},
    )
    # All are trained to the end.
    brain.stopping = EarlyStopping(num_seeds, 1 + max(LENGTHS))
    brain.stopping.to(brain.device)
    brain.seeds = range(hparams["seed"], hparams["seed"] + num_seeds)
    brain.init_optimizers()
    return brain


def fit(brain, dataset, lengths, seed):
    """Train for a while; yields at each of some numbers of epochs."""
    sampler = ReproducibleRandomSampler(dataset, seed=seed)
    loader = brain.make_dataloader(
        dataset, sb.Stage.TRAIN, batch_size=BATCH_SIZE, sampler=sampler
    )
    for epoch in range(1, max(lengths) + 1):
        sampler.set_epoch(epoch)
        brain.modules.train()
        brain.on_stage_start(sb.Stage.TRAIN, epoch)
        for batch in loader:
            brain.fit_batch(batch)
        if epoch in lengths:
            yield epoch


def find_corpora(args):
    """The folders of the corpora that were given, by the task."""
    if args.synthetic is not None:
        synthesize_timit(args.synthetic)
    given = {task: getattr(args, task) for task in TASKS}
    if not any(given.values()):
        raise InputError(
            "expected a corpus: --sample, --synthetic or --digits."
        )
    return {
        task: str(Path(folder).absolute())
        for task, folder in given.items()
        if folder is not None
    }


def find_cells(args):
    """All that is asked for, the most important first."""
    corpora = find_corpora(args)
    return [
        Cell(
            task,
            corpora[task],
            protocol,
            size,
            model,
            split,
            # As many networks over all splits at the largest size.
            max(1, args.networks // args.splits // (1 if size == 10000 else 5)),
            args.output_folder,
        )
        for size, task, protocol, split, model in itertools.product(
            sorted(args.sizes, reverse=True),
            corpora,
            args.protocols,
            range(args.splits),
            args.models,
        )
    ]


def parse(arguments):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Compare models on words; see the top of this file."
    )
    parser.add_argument("--sample", help="folder of NLTK's sample of TIMIT")
    parser.add_argument(
        "--synthetic", help="folder of synthetic speech, made if need be"
    )
    parser.add_argument("--digits", help="folder of spoken digits, as TIMIT")
    parser.add_argument("--output_folder", default="results/study")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=[*MODELS, *MORE_MODELS],
        default=MODELS,
        metavar="MODEL",
        help=f"of {', '.join(MODELS)} (the default), {', '.join(MORE_MODELS)}",
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        choices=SIZES,
        default=SIZES,
        metavar="SIZE",
    )
    parser.add_argument(
        "--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS
    )
    parser.add_argument("--splits", type=int, default=5, help="of the speakers")
    parser.add_argument(
        "--networks",
        type=int,
        default=100,
        help="of each kind at the largest size, a fifth at the others",
    )
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    args = parser.parse_args(arguments)
    for name in ("splits", "networks", "jobs"):
        if not 1 <= getattr(args, name) <= MOST:
            raise InputError(
                f"--{name} {getattr(args, name)}: expected an integer from 1 "
                f"to {MOST}."
            )
    return args


def main(arguments):
    """Train what is not trained yet, and write what came of all."""
    args = parse(arguments)
    names = [f"{t}_{p}.png" for t in TASKS for p in args.protocols]
    # Before speech is synthesised.
    check_writes(args.output_folder, ["study.csv", "study.md", *names])
    cells = find_cells(args)
    check_cells(cells)
    folder = Path(args.output_folder)
    with sole_run(folder):
        # Of each corpus, whatever else there is.
        kinds = {cell.task: cell for cell in cells if cell.split == 0}
        begin_study(
            folder, {task: cell.check() for task, cell in kinds.items()}
        )
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
