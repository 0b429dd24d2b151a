"""Many trainings, one on each core, as the recipes' studies do them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import functools
import hashlib
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import speechbrain as sb
import torch
from tqdm import tqdm

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.report import whole_file

# What a training shows.
SHOWN = "shown.txt"
# The time that it took of one core, written in the end.
SECONDS = "seconds.txt"
# What all have in common.
NOTE = "begun_with.json"


def workers(jobs, initializer=None):
    """Processes with a thread each, to be used as a context.

    Arguments
    ---------
    jobs : int
        How many.
    initializer : callable
        What each one calls first.

    Returns
    -------
    concurrent.futures.ProcessPoolExecutor
    """
    return ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_set_up,
        initargs=(initializer,),
    )


def _set_up(initializer):
    torch.set_num_threads(1)
    # Each run would list all packages again, for seconds.
    sb.utils.logger.get_environment_description = functools.cache(
        sb.utils.logger.get_environment_description
    )
    if initializer is not None:
        initializer()


def begin_study(folder, facts):
    """Note what all trainings of a study have in common, before any is begun.

    Those that are done are not done again, so that with other options the
    study would report what came of both as one. Raises an error there.

    Arguments
    ---------
    folder : str or pathlib.Path
        The output folder of the study.
    facts : dict
        The options, as text; data as bytes, by which it is told from other
        data. What is named for the first time is noted beside the others.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> begin_study(folder, {"options": "--lr 0.1"})
    >>> begin_study(folder, {"options": "--lr 0.1", "music": b"data"})
    >>> begin_study(folder, {"options": ""})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: ... with other options ('--lr 0.1', ...
    """
    path = Path(folder) / NOTE
    try:
        known = json.loads(path.read_text()) if path.exists() else {}
        known = dict(known)
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected what the study was begun with, as it was "
            f"written then ({error}); begin in another --output_folder."
        ) from error
    now = {
        key: fact if isinstance(fact, str) else hashlib.sha256(fact).hexdigest()
        for key, fact in facts.items()
    }
    for key, fact in now.items():
        before = known.get(key, fact)
        if before != fact:
            is_text = isinstance(facts[key], str)
            both = f" ({before!r}, now {fact!r})" if is_text else ""
            raise InputError(
                f"{folder} holds a study with other {key}{both}: expected the "
                f"same, or another --output_folder."
            )
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps({**known, **now}, indent=2))


def check_cells(cells):
    """Raise an error where a training could not begin, before any does.

    Arguments
    ---------
    cells : list
        As for `run_cells`.
    """
    for cell in cells:
        check_writes(cell.folder, [SHOWN, SECONDS])


def run_cells(cells, jobs, initializer=None):
    """Run what is not done yet, and show the progress.

    Arguments
    ---------
    cells : list
        Each has a `folder`, is_done(), which tells whether its results are
        there, and run(), which trains it; what that shows goes to shown.txt,
        then the time that it took of one core to seconds.txt.
    jobs : int
        How many at a time.
    initializer : callable
        What each process calls first.
    """
    with workers(jobs, initializer) as pool:
        runs = pool.map(_run_cell, cells)
        list(tqdm(runs, "study", len(cells), unit="run", smoothing=0))


def _run_cell(cell):
    if cell.is_done():
        return
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (
        open(cell.folder / SHOWN, "a", encoding="utf-8") as shown,
        redirect_stdout(shown),
        redirect_stderr(shown),
    ):
        start = time.process_time()
        cell.run()
        seconds = time.process_time() - start
    with whole_file(cell.folder / SECONDS) as path:
        Path(path).write_text(f"{seconds:.0f}\n")


def print_time(cells):
    """Print how long the trainings took, if all have noted it; of one that was
    interrupted, what it took to the end from there.

    Arguments
    ---------
    cells : list
        As for `run_cells`, those that are done.
    """
    paths = [cell.folder / SECONDS for cell in cells]
    if not all(path.exists() for path in paths):
        return
    seconds = [int(path.read_text()) for path in paths]
    print(f"\nThe networks took {sum(seconds) / 60:.0f} minutes of one core.")
