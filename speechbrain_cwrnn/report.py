"""What recipes write and show: whole files, tables and figures.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np

STATISTICS = ["networks", "diverged", "mean", "sd", "median", "q25", "q75"]


@contextmanager
def whole_file(path):
    """A temporary path whose file takes the place of `path` when complete.

    Arguments
    ---------
    path : str or pathlib.Path
        The file to write; its folder must exist.

    Yields
    ------
    str
        Where to write it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> with whole_file(folder / "a.txt") as temporary:
    ...     _ = Path(temporary).write_text("complete")
    ...     (folder / "a.txt").exists()
    False
    >>> (folder / "a.txt").read_text()
    'complete'
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{path.name}")
    try:
        yield str(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def summarize(errors, decimals=4):
    """Statistics of the errors of networks, as text.

    Arguments
    ---------
    errors : numpy.ndarray
        One for each network, NaN where it diverged.
    decimals : int
        Digits behind the point.

    Returns
    -------
    list of str
        What `STATISTICS` names; "-" where it is not defined. The diverged
        networks are counted, and left out of the others.

    Example
    -------
    >>> summarize(np.array([1.0, np.nan, 3.0]), decimals=2)
    ['3', '1', '2.00', '1.41', '2.00', '1.50', '2.50']
    """
    alive = errors[~np.isnan(errors)]
    counts = [str(len(errors)), str(len(errors) - len(alive))]
    if not len(alive):
        return [*counts, *["-"] * 5]
    deviation = alive.std(ddof=1) if len(alive) > 1 else np.nan
    q25, median, q75 = np.quantile(alive, [0.25, 0.5, 0.75])
    numbers = [alive.mean(), deviation, median, q25, q75]
    cells = ("-" if np.isnan(n) else f"{n:.{decimals}f}" for n in numbers)
    return [*counts, *cells]


def print_table(columns, rows):
    """Print rows of text as a table in Markdown, which reads well as it is.

    Arguments
    ---------
    columns : list of str
        Their names.
    rows : list of list of str
        The cells.

    Example
    -------
    >>> print_table(["run", "error"], [["a", "7"], ["longer", "12"]])
    | run    | error |
    | ------ | ----- |
    | a      |     7 |
    | longer |    12 |
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    lines = [columns, ["-" * width for width in widths], *rows]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        print(f"| {' | '.join(cells)} |")


def save_figure(figure, path):
    """Write a figure as PNG, whole, and forget it.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        The figure.
    path : str or pathlib.Path
        The file to write.
    """
    import matplotlib.pyplot as plt

    figure.tight_layout()
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
