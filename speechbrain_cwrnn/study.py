"""Many trainings, one on each core, as the recipes' studies do them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout

import speechbrain as sb
import torch
from tqdm import tqdm


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


def run_cells(cells, jobs):
    """Run what is not done yet, and show the progress.

    Arguments
    ---------
    cells : list
        Each has a `folder`, is_done(), which tells whether its results are
        there, and run(), which trains it; what that shows goes to shown.txt.
    jobs : int
        How many at a time.
    """
    with workers(jobs) as pool:
        runs = pool.map(_run_cell, cells)
        list(tqdm(runs, "study", len(cells), unit="run", smoothing=0))


def _run_cell(cell):
    if cell.is_done():
        return
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (
        open(cell.folder / "shown.txt", "a", encoding="utf-8") as shown,
        redirect_stdout(shown),
        redirect_stderr(shown),
    ):
        cell.run()
