#!/usr/bin/env python3
"""The error rates of a run; as a program, those of several as one table.

> python report.py results/*

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
import sys
from pathlib import Path

from speechbrain_cwrnn.report import print_table, whole_file

COLUMNS = ["model", "parameters", "corpus", "error", "valid", "test"]


def write_report(folder, **results):
    """Write results.csv in a folder, and show it.

    Arguments
    ---------
    folder : str
        Where to write.
    **results : dict
        What `COLUMNS` names, with the errors in percent.
    """
    path = Path(folder) / "results.csv"
    with whole_file(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerow(results)
    print_runs([folder])


def print_runs(folders):
    """Print the error rates of several runs, in percent."""
    rows = []
    for folder in folders:
        with open(Path(folder) / "results.csv", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    print("Error rates in percent:")
    print_table(COLUMNS, [list(row.values()) for row in rows])


if __name__ == "__main__":
    print_runs(sys.argv[1:])
