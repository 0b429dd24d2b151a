"""What recipes write and show: whole files, results, tables and figures.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import csv
import os
import platform
import shlex
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from math import isfinite
from pathlib import Path

import numpy as np

from speechbrain_cwrnn import __version__
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.outputs import is_free, is_writable
from speechbrain_cwrnn.tables import format_table

RESULTS = "results.csv"
# Its first columns, and what makes a value of their text; what was measured
# follows.
COLUMNS = {
    "model": str,
    "size": int,
    "seed": int,
    "corpus": str,
    "version": str,
}
KINDS = {str: "text", int: "an integer", float: "a number"}
# What is the same in all rows, since they are of one run.
SAME = ("model", "size", "corpus")
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
    if not is_free(path):
        raise InputError(f"{path}: expected a file to replace, or none there.")
    temporary = path.with_name(f".partial-{path.name}")
    try:
        yield str(temporary)
        os.replace(temporary, path)
    except OSError as error:
        # One of a full disk does not name the file.
        error.filename = error.filename or str(path)
        raise
    except RuntimeError:
        check_room(path.parent)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_room(folder):
    """Raise the OSError of a folder that cannot be written to.

    PyTorch raises a RuntimeError then, which does not say why.

    Arguments
    ---------
    folder : pathlib.Path
        The folder.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(2**16))


def write_csv(path, columns, rows):
    """Write a CSV file, whole.

    Arguments
    ---------
    path : str or pathlib.Path
        The file to write.
    columns : list of str
        Their names.
    rows : list of list
        The cells.

    Example
    -------
    >>> path = getfixture("tmp_path") / "words.csv"
    >>> write_csv(path, ["word", "times"], [["yes", 3], ["no", 4]])
    >>> path.read_text().splitlines()
    ['word,times', 'yes,3', 'no,4']
    """
    with whole_file(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])


def write_results(folder, run, networks):
    """Write results.csv, which has a row for each network of a run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Where to write.
    run : dict
        What all networks have in common: model, size, corpus, and others.
    networks : dict
        What each has [N]: seed, and others.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> run = {"model": "cwrnn", "size": 1000, "corpus": "TIMIT"}
    >>> write_results(folder, run, {"seed": [7, 8], "error": [0.5, 0.25]})
    >>> [row["error"] for row in read_results(folder, {"error": float})]
    ['0.5', '0.25']
    """
    number = len(networks["seed"])
    same = {**run, "version": __version__}
    cells = {name: [value] * number for name, value in same.items()}
    cells.update(networks)
    columns = list(dict.fromkeys([*COLUMNS, *cells]))
    rows = zip(*(cells[name] for name in columns))
    write_csv(Path(folder) / RESULTS, columns, rows)


def read_results(folder, measured):
    """The rows of the results.csv in a folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        The output folder of a run.
    measured : dict
        The columns of what the recipe measures; for each, a type that its text
        must be one of.

    Returns
    -------
    list of dict
        Text, by the names of the columns.
    """
    path = Path(folder) / RESULTS
    if not path.is_file():
        raise InputError(
            f"{folder}: expected the output folder of a run that is complete, "
            f"and there is no {RESULTS}."
        )
    rows = read_table(path, {**COLUMNS, **measured})
    for number, row in enumerate(rows, start=1):
        for name in SAME:
            if row[name] != rows[0][name]:
                raise InputError(
                    f"{path}, row {number}, {name}={row[name]}: expected "
                    f"{rows[0][name]}, as in row 1."
                )
    return rows


def read_table(path, kinds):
    """The rows of a CSV file that a recipe has written.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    kinds : dict
        The columns that it has at least; for each, a type that its text must be
        one of. A float must be finite, unless the network has diverged.

    Returns
    -------
    list of dict
        Text, by the names of the columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected CSV, in UTF-8 ({error})."
        ) from error
    if not rows or not rows[0].keys() >= kinds.keys():
        raise InputError(
            f"{path}: expected results of this recipe, with the columns "
            f"{', '.join(kinds)}."
        )
    for number, row in enumerate(rows, start=1):
        for name, kind in kinds.items():
            value, expected = _read(kind, row[name]), KINDS[kind]
            is_one = value is not None
            if is_one and kind is float and row.get("diverged") != "1":
                is_one, expected = isfinite(value), "a finite number"
            if not is_one:
                raise InputError(
                    f"{path}, row {number}, {name}={row[name]}: expected "
                    f"{expected}."
                )
    return rows


def _read(kind, text):
    """The value of a cell; None where it is not there, or something else."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


def read_runs(folders, measured):
    """The results of several runs, by size and model.

    Those that have none, since they are not complete, are named on stderr.

    Arguments
    ---------
    folders : list of str or pathlib.Path
        Their output folders.
    measured : dict
        As that of `read_results`.

    Returns
    -------
    list of tuple
        The folder, and the rows of its results.csv.
    """
    complete = [f for f in folders if (Path(f) / RESULTS).is_file()]
    for folder in folders:
        if folder not in complete:
            print(f"{folder}: no {RESULTS}, left out.", file=sys.stderr)
    runs = [(str(f), read_results(f, measured)) for f in complete or folders]
    return sorted(
        runs,
        key=lambda run: (
            int(run[1][0]["size"]),
            run[1][0]["model"],
            run[1][0]["corpus"],
            run[0],
        ),
    )


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
    """Print what `tables.format_table` makes of the same arguments."""
    print(format_table(columns, rows))


def print_provenance(command):
    """Print where numbers come from: command, date, machine and versions.

    Arguments
    ---------
    command : list of str
        What was called, as `sys.argv`.

    Example
    -------
    >>> print_provenance(["study.py", "--jobs", "2"])
        python study.py --jobs 2
    <BLANKLINE>
    (20...; ... cores; Python ..., torch ..., speechbrain_cwrnn ...)
    """
    print(f"    python {shlex.join(command)}\n")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in ("torch", "speechbrain")]
    versions += [f"speechbrain_cwrnn {__version__}"]
    facts = [f"{datetime.now(timezone.utc):%Y-%m-%d}", name_machine()]
    print(f"({'; '.join([*facts, ', '.join(versions)])})")


def name_machine():
    """The processor and its number of cores."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    name = line.partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores"


def print_results(title, runs, columns, cells):
    """Print the results of several runs as one table, a run in each row.

    Arguments
    ---------
    title : str
        What stands above.
    runs : list of tuple
        What `read_runs` returned.
    columns : list of str
        The names of what was measured.
    cells : callable
        Makes its cells, a list of str, from the rows of a results.csv.

    Example
    -------
    >>> run = {"model": "cwrnn", "size": 1000, "corpus": "TIMIT"}
    >>> getfixture("monkeypatch").chdir(getfixture("tmp_path"))
    >>> write_results(".", run, {"seed": [7], "error": [0.5]})
    >>> runs = read_runs(["."], {"error": float})
    >>> print_results("Errors:", runs, ["error"], lambda r: [r[0]["error"]])
    Errors:
    | run |    network | corpus | error |
    | --- | ---------- | ------ | ----- |
    | .   | cwrnn 1000 |  TIMIT |   0.5 |
    """
    table = []
    for folder, rows in runs:
        network = f"{rows[0]['model']} {rows[0]['size']}"
        table.append([folder, network, rows[0]["corpus"], *cells(rows)])
    print(title)
    print_table(["run", "network", "corpus", *columns], table)


def report_program(print_runs, draw=None):
    """What a recipe's report.py does as a program.

    Arguments
    ---------
    print_runs : callable
        Prints the results of output folders.
    draw : callable
        Draws them, given the path of a picture and the folders.
    """
    parser = argparse.ArgumentParser(
        description="Show the results of several runs as one table."
    )
    parser.add_argument("folders", nargs="+", help="output folders of the runs")
    if draw is not None:
        parser.add_argument("--plot", metavar="FILE", help="picture to draw")
    args = parser.parse_args()
    plot = getattr(args, "plot", None)
    try:
        if plot is not None and not (plot and is_writable(plot)):
            raise InputError(f"--plot {plot}: expected a file to write.")
        print_runs(args.folders)
        if plot is not None:
            draw(plot, args.folders)
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")


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
