"""What the study measures, and which learning rate it chooses by that.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import write_csv

STUDY = "study.csv"
# So many seeds choose the rate of all.
CHOOSING_SEEDS = 1


class Run(NamedTuple):
    """The training of one network."""

    task: str
    delay: int
    layer: str
    rate: float
    seed: int


class Result(NamedTuple):
    """What came of it: accuracies from 0 to 1, and the time of one core."""

    run: Run
    parameters: int
    updates: int
    valid: float
    test: float
    seconds: float


COLUMNS = {**Run.__annotations__, **Result.__annotations__}
del COLUMNS["run"]


def write_results(folder, results):
    """Write study.csv, which has a row for each network."""
    rows = [
        [*run, *sizes, round(valid, 6), round(test, 6), round(seconds, 1)]
        for run, *sizes, valid, test, seconds in results
    ]
    write_csv(Path(folder) / STUDY, list(COLUMNS), rows)


def read_results(folder):
    """What study.csv has; nothing, where there is none."""
    path = Path(folder) / STUDY
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            columns, *rows = csv.reader(file)
        if columns != list(COLUMNS):
            raise ValueError(f"it has the columns {', '.join(columns)}")
        results = []
        for row in rows:
            values = [
                kind(text)
                for kind, text in zip(COLUMNS.values(), row, strict=True)
            ]
            numbers = [v for v in values if not isinstance(v, str)]
            if not np.isfinite(numbers).all():
                raise ValueError(f"it has the row {', '.join(row)}")
            number = len(Run._fields)
            results.append(Result(Run(*values[:number]), *values[number:]))
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: expected what this study writes, with the columns "
            f"{', '.join(COLUMNS)} ({error})."
        ) from error
    return results


def choose(results):
    """Those of the best learning rate, of one layer, task and delay.

    It is the rate of the highest accuracy in percent on the validation
    sequences, of the first seeds; of equals, that of the fewest updates.

    Arguments
    ---------
    results : list of Result
        Of some rates and seeds.

    Returns
    -------
    list of Result
        Of one rate, by seed.
    """
    by_rate = {}
    for result in sorted(results, key=lambda result: result.run.seed):
        by_rate.setdefault(result.run.rate, []).append(result)

    def rank(rate):
        first = [r for r in by_rate[rate] if r.run.seed < CHOOSING_SEEDS]
        valid = np.mean([r.valid for r in first])
        return -round(100 * valid), np.mean([r.updates for r in first]), rate

    return by_rate[min(by_rate, key=rank)]
