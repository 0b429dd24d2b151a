#!/usr/bin/env python3
"""How long do four kinds of recurrent layer remember, at equal parameters?

Each learns to answer, after a delay, what an early symbol was; see tasks.py.
All get the same sequences, at most the same number of updates, and the same
learning rates, of which each gets its best, by task and delay, on sequences
that are neither learnt nor in the test.

> python study.py --output_folder results/memory

It writes study.csv, study.md and study.png, and goes on where it stopped.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from layers import LAYERS, Network
from outcomes import (
    CHOOSING_SEEDS,
    Result,
    Run,
    choose,
    read_results,
    write_results,
)
from study_report import write_study
from tasks import FEATURES, SYMBOLS, TASKS
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from speechbrain_cwrnn.checks import check_integer
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.study import workers

DELAYS = [10, 30, 100, 300, 1000]
RATES = [0.003, 0.01]
BATCH_SIZE = 16
MAX_GRAD_NORM = 1.0
# A network that is as good as this, in a check, has learnt; one that is no
# better than by chance (1 / SYMBOLS) after so many updates is given up.
UPDATES, CHECK_EVERY, LEARNT = 1000, 100, 0.99
HOPELESS_UPDATES, HOPELESS = 500, 0.3
# Numbers of sequences, and seeds that no network has.
VALID, TEST = (256, 1_000_000), (1000, 2_000_000)


def train(run):
    """Train a network.

    Arguments
    ---------
    run : Run
        Which one.

    Returns
    -------
    Result
    """
    start = time.process_time()
    torch.manual_seed(run.seed)
    network = Network(run.layer, FEATURES, SYMBOLS)
    optimizer = torch.optim.Adam(network.parameters(), lr=run.rate)
    # Whatever the layer and the rate, the same sequences.
    generator = torch.Generator().manual_seed(run.seed)
    for update in range(1, UPDATES + 1):
        x, symbols, steps = TASKS[run.task].draw(
            BATCH_SIZE, run.delay, generator
        )
        logits = network(x, steps)
        loss = F.cross_entropy(logits.flatten(0, 1), symbols.flatten())
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        if update % CHECK_EVERY == 0 or update == UPDATES:
            valid = accuracy(network, run, *VALID)
            is_hopeless = update == HOPELESS_UPDATES and valid < HOPELESS
            if valid >= LEARNT or is_hopeless:
                break
    parameters = sum(p.numel() for p in network.parameters())
    test = accuracy(network, run, *TEST)
    seconds = time.process_time() - start
    return Result(run, parameters, update, valid, test, seconds)


@torch.no_grad()
def accuracy(network, run, num_sequences, seed):
    """The share of the symbols that a network answers correctly."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    correct = []
    # Not all at once, for the sake of memory.
    for start in range(0, num_sequences, 100):
        size = min(100, num_sequences - start)
        x, symbols, steps = TASKS[run.task].draw(size, run.delay, generator)
        correct.append(network(x, steps).argmax(-1) == symbols)
    network.train()
    return torch.cat(correct).float().mean().item()


def set_up():
    """Prepare a worker."""
    # What fades away takes three times as long else.
    torch.set_flush_denormal(True)


def train_all(args, results, pool):
    """Train what is asked for and not among the results, and write each as it
    comes, the shortest delays first."""
    done = {result.run for result in results}
    seeds = range(args.num_seeds)
    choosing, others = seeds[:CHOOSING_SEEDS], seeds[CHOOSING_SEEDS:]
    total = len(choosing) * len(RATES) + len(others)
    total *= len(args.delays) * len(TASKS) * len(LAYERS)
    progress = tqdm(None, "study", total, unit="network", smoothing=0)

    def train_missing(runs):
        missing = [run for run in runs if run not in done]
        progress.update(len(runs) - len(missing))
        for result in pool.map(train, missing):
            results.append(result)
            write_results(args.output_folder, results)
            progress.update()

    for delay in args.delays:
        cells = list(product(TASKS, [delay], LAYERS))
        rounds = product(choosing, RATES, cells)
        train_missing([Run(*cell, rate, s) for s, rate, cell in rounds])
        rate = {
            cell: choose([r for r in results if r.run[:3] == cell])[0].run.rate
            for cell in cells
        }
        rounds = product(others, cells)
        train_missing([Run(*cell, rate[cell], s) for s, cell in rounds])


def parse(arguments):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Compare memories; see the top of this file."
    )
    parser.add_argument("--output_folder", default="results/memory")
    parser.add_argument("--delays", nargs="+", type=int, default=DELAYS)
    parser.add_argument("--num_seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    args = parser.parse_args(arguments)
    # As many as there are symbols to be heard before the first answer.
    least = max(task.num_symbols for task in TASKS.values())
    for delay in args.delays:
        check_integer("--delays", delay, least)
    for name in ("num_seeds", "jobs"):
        check_integer(f"--{name}", getattr(args, name), 1)
    args.delays = sorted(set(args.delays))
    return args


def main(arguments):
    """Train what is not trained yet, and write what came of all."""
    args = parse(arguments)
    check_writes(args.output_folder, ["study.csv", "study.md", "study.png"])
    folder = Path(args.output_folder)
    with sole_run(folder):
        results = read_results(folder)
        try:
            with workers(args.jobs, set_up) as pool:
                train_all(args, results, pool)
        finally:
            # Also of a part, where it is interrupted.
            write_study(folder, results, ["study.py", *arguments])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")
