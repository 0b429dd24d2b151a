#!/usr/bin/env python3
"""Write a folder that is ready for the Hugging Face hub.

> python publish.py results/cwrnn/1986 --to cwrnn-timit --language en

Authors
 * The speechbrain_cwrnn developers 2026
"""

from report import MEASURED

from speechbrain_cwrnn.hub import Score, hub_program


def measure(rows):
    """The row of the model, and its error rates."""
    (row,) = rows
    return row, [
        Score(row["error"], "validation", float(row["valid"])),
        Score(row["error"], "test", float(row["test"])),
    ]


if __name__ == "__main__":
    hub_program(MEASURED, measure)
