#!/usr/bin/env python3
"""Write a folder that is ready for the Hugging Face hub.

> python publish.py results/cwrnn_1000x1/1234 --to cwrnn-words --language en

Authors
 * The speechbrain_cwrnn developers 2026
"""

from report import MEASURED

from speechbrain_cwrnn.hub import Score, hub_program


def measure(rows):
    """The row of the network that was saved, and its error."""
    # As in train.py.
    trained = [row for row in rows if row["diverged"] == "0"]
    best = min(trained, key=lambda row: float(row["train_loss"]))
    return best, [Score("error rate", "test", 100 * float(best["test_error"]))]


if __name__ == "__main__":
    hub_program({**MEASURED, "train_loss": float}, measure)
