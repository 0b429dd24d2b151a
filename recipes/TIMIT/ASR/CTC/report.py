#!/usr/bin/env python3
"""The error rates of a run; as a program, those of several as one table.

> python report.py results/*/*

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.report import print_results, report_program


def print_runs(folders):
    """Print the error rates of several runs, in percent."""
    columns = ["error", "valid", "test"]
    print_results(
        "Error rates in percent:",
        folders,
        columns,
        lambda rows: [rows[0][name] for name in columns],
    )


if __name__ == "__main__":
    report_program(print_runs)
