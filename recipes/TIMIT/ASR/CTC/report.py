#!/usr/bin/env python3
"""The error rates of a run; as a program, those of several as one table.

> python report.py results/*/*

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.report import (
    print_results,
    read_runs,
    report_program,
)

# The columns of results.csv that are read again.
MEASURED = {"error": str, "valid": float, "test": float}


def print_runs(folders):
    """Print the error rates of several runs, in percent."""
    print_results(
        "Error rates in percent:",
        read_runs(folders, MEASURED),
        list(MEASURED),
        lambda rows: [rows[0][name] for name in MEASURED],
    )


if __name__ == "__main__":
    report_program(print_runs)
