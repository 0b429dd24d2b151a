"""Errors of several models on the same splits of data, compared by pairs.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from itertools import combinations

import numpy as np
from scipy import stats

from speechbrain_cwrnn.report import print_table

CONFIDENCE = 0.95


def mean_by_split(splits, errors):
    """The mean error of each split of the data.

    Arguments
    ---------
    splits : list
        That of each network.
    errors : list of float
        That of each network; those of diverged ones are not finite, and left
        out.

    Returns
    -------
    dict
        The means, of splits that have one.

    Example
    -------
    >>> mean_by_split([0, 0, 1, 1, 2], [1.0, 3.0, 5.0, np.nan, np.nan])
    {0: 2.0, 1: 5.0}
    """
    of_split = {}
    for split, error in zip(splits, errors):
        if np.isfinite(error):
            of_split.setdefault(split, []).append(error)
    return {split: float(np.mean(errors)) for split, errors in of_split.items()}


def interval(values):
    """Half the width of the confidence interval of a mean, by Student's t.

    Arguments
    ---------
    values : list of float
        Of which at least two are needed for one.

    Returns
    -------
    float

    Example
    -------
    >>> round(interval([1.0, 2.0, 3.0]), 3)
    2.484
    """
    if len(values) < 2:
        return np.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * stats.sem(values))


def difference_rows(errors, note=""):
    """How models differ, paired by the split of the data.

    Arguments
    ---------
    errors : dict
        By the model, its mean error by the split; splits that only one of two
        models has do not count.
    note : str
        What is added to the name of a pair.

    Returns
    -------
    list
        For each pair that shares splits: its name, how many splits, the mean
        difference, half of its 95 % interval, and who wins, all as text.

    Example
    -------
    >>> errors = {"a": {0: 30.0, 1: 40.0}, "b": {0: 20.0, 1: 29.5, 2: 9.0}}
    >>> difference_rows(errors)
    [['b - a', '2', '-10.2', '3.2', 'b wins, a loses']]
    """
    rows = []
    for one, other in combinations(errors, 2):
        a, b = errors[other], errors[one]
        differences = [a[split] - b[split] for split in a if split in b]
        if not differences:
            continue
        mean, half = np.mean(differences), interval(differences)
        if np.isnan(half) or abs(mean) <= half:
            verdict = "not told apart"
        else:
            winner, loser = (other, one) if mean < 0 else (one, other)
            verdict = f"{winner} wins, {loser} loses"
        rows.append(
            [
                f"{other} - {one}{note}",
                str(len(differences)),
                f"{mean:+.1f}",
                format_percent(half),
                verdict,
            ]
        )
    return rows


def print_differences(rows, split, shared):
    """Print what `difference_rows` returned.

    Arguments
    ---------
    rows : list
        Its rows.
    split : str
        What the data are split by, as "fold".
    shared : str
        What splits share, so that the intervals are too narrow.
    """
    print(
        f"Differences of the mean error, paired by {split}, with 95 % "
        f"intervals (of Student's t,\nnot corrected for their number; {split}s "
        f"share {shared}, so they are too narrow):\n"
    )
    print_table(["difference", f"{split}s", "mean", "95 % +-", ""], rows)


def format_percent(number):
    """A number in percent, or a dash where there is none."""
    return "-" if np.isnan(number) else f"{number:.1f}"
