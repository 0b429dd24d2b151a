#!/usr/bin/env python3
"""What came of the training: tables and pictures.

As a program, it prints the results of several runs as one table, in Markdown,
and draws all their errors, the paper's beside both:
> python report.py results/*/* --plot errors.png

Authors
 * The speechbrain_cwrnn developers 2026
"""

from pathlib import Path

import matplotlib
import numpy as np

from speechbrain_cwrnn.report import (
    STATISTICS,
    print_results,
    print_table,
    read_runs,
    report_program,
    save_figure,
    summarize,
    write_csv,
    write_results,
)

matplotlib.use("Agg")
# Words are no formulas.
matplotlib.rcParams["text.parse_math"] = False
import matplotlib.pyplot as plt  # noqa: E402

# The columns of results.csv that are read again.
MEASURED = {
    **{"words": int, "num_train": float, "num_test": float, "epochs": int},
    **{"train_error": float, "test_error": float, "diverged": int},
}
# Lower quartile, median and upper quartile of the test error in Figure 4 of
# the paper, in percent, read off its vector graphics.
PAPER = {
    ("srn", 500): (76, 78, 84),
    ("srn", 1000): (70, 74, 78),
    ("srn", 2500): (66, 68, 72),
    ("srn", 5000): (62, 66, 70),
    ("srn", 10000): (64, 66, 70),
    ("lstm", 500): (66, 70, 74),
    ("lstm", 1000): (56, 60, 66),
    ("lstm", 2500): (38, 43, 48.5),
    ("lstm", 5000): (34, 38, 42),
    ("lstm", 10000): (30, 34, 38),
    ("cwrnn", 500): (56, 62, 66),
    ("cwrnn", 1000): (38, 42, 46),
    ("cwrnn", 2500): (24, 28, 30),
    ("cwrnn", 5000): (16, 18, 22),
    ("cwrnn", 10000): (14, 16, 20),
}
# It has them for 25 words, with 5 examples of each for training and 2 for test.
PAPER_TASK = ("25", "5", "2")


def write_report(folder, run, networks, word_groups, heard, predicted):
    """Write and show the results of N networks.

    results.csv has a row per network, confusions.csv one per pair of words
    that were taken for each other, confusions.png shows all pairs, and
    errors.png how the networks' test errors are distributed.

    Arguments
    ---------
    folder : str
        Where to write.
    run : dict
        The model, size and corpus, the number of words, and of examples of
        each to learn from (num_train) and for the test (num_test).
    networks : dict
        Of each network [N] the seed, the epochs of its training, train_loss,
        train_error and test_error (between 0 and 1), and whether it diverged.
    word_groups : list
        Lists of words.
    heard : list
        Number of the word of each example of the test [B].
    predicted : numpy.ndarray
        What each network took it for [N, B].
    """
    folder = Path(folder)
    write_results(folder, run, networks)
    words = [word for group in word_groups for word in group]
    counts = np.zeros((len(words), len(words)), dtype=int)
    for answers in predicted[np.array(networks["diverged"]) == 0]:
        np.add.at(counts, (heard, answers), 1)
    confused = [
        (counts[i, j], words[i], words[j])
        for i, j in zip(*np.nonzero(counts))
        if i != j
    ]
    confused.sort(key=lambda row: (-row[0], row[1:]))
    write_csv(
        folder / "confusions.csv",
        ["word", "taken for", "times", "of"],
        [(a, b, n, counts[words.index(a)].sum()) for n, a, b in confused],
    )
    title = f"{run['model']}, {run['size']} parameters, {run['corpus']}"
    draw_confusions(folder / "confusions.png", title, word_groups, counts)
    draw_errors(folder / "errors.png", [folder])
    print_groups(word_groups, words, counts, confused)
    print_runs([folder])
    print(
        f"Written to {folder}: results.csv, confusions.csv, confusions.png "
        f"and errors.png."
    )


def print_groups(word_groups, words, counts, confused):
    """Print how often words are taken for others of their group, and which."""
    rows = []
    for group in word_groups:
        own = [words.index(word) for word in group]
        heard = counts[own].sum()
        right = counts[own, own].sum()
        within = counts[np.ix_(own, own)].sum() - right
        pairs = [
            f"{a} for {b} ({n})"
            for n, a, b in confused
            if a in group and b in group
        ]
        rows.append(
            [
                ", ".join(group),
                *(
                    f"{100 * n / heard:.1f}" if heard else "-"
                    for n in (within, heard - right - within)
                ),
                "; ".join(pairs[:3]) or "-",
            ]
        )
    columns = ["words", "within, %", "outside, %", "most often within"]
    print("Words taken for others, within and outside of their group:")
    print_table(columns, rows)
    print()


def task(rows):
    """The numbers of words, and of examples of each to learn from and test."""
    return tuple(rows[0][key] for key in ("words", "num_train", "num_test"))


def paper(rows):
    """The quartiles that the paper has for a run; None where it has not."""
    if task(rows) != PAPER_TASK:
        return None
    return PAPER.get((rows[0]["model"], int(rows[0]["size"])))


def percentages(rows, column):
    """Errors in percent [N], NaN where a network diverged."""
    return np.array(
        [
            np.nan if row["diverged"] == "1" else 100 * float(row[column])
            for row in rows
        ]
    )


def print_runs(folders):
    """Print the test errors of several runs as one table."""

    def measured(rows):
        train = percentages(rows, "train_error")
        alive = ~np.isnan(train)
        epochs = np.array([int(row["epochs"]) for row in rows])[alive]
        learning = ["-", "-"]
        if alive.any():
            learning = [f"{train[alive].mean():.1f}", f"{np.median(epochs):g}"]
        quartiles = paper(rows)
        return [
            "{} x ({} + {})".format(*task(rows)),
            *summarize(percentages(rows, "test_error"), decimals=1),
            *learning,
            "{1} [{0}, {2}]".format(*quartiles) if quartiles else "-",
        ]

    print_results(
        "Test error in percent (and the mean error on the words of training):",
        read_runs(folders, MEASURED),
        ["examples", *STATISTICS, "training", "epochs", "the paper's median"],
        measured,
    )


def draw_errors(path, folders):
    """A box plot of the test errors, like Figure 4 of the paper."""
    boxes, colours, ticks = [], [], []
    runs = [rows for _, rows in read_runs(folders, MEASURED)]
    for rows in runs:
        errors = percentages(rows, "test_error")
        errors = errors[~np.isnan(errors)]
        boxes += matplotlib.cbook.boxplot_stats(errors)
        colours.append("C0")
        number = f"n = {len(errors)}"
        if len(errors) < len(rows):
            number += f"\n{len(rows) - len(errors)} diverged"
        ticks.append(f"{rows[0]['model']}\n{rows[0]['size']}\n{number}")
        if quartiles := paper(rows):
            box = dict(zip(("q1", "med", "q3"), quartiles))
            ends = {"whislo": quartiles[0], "whishi": quartiles[2]}
            boxes.append({**box, **ends, "fliers": []})
            colours.append("0.7")
            # All that could be read off its figure.
            ticks.append("paper:\nquartiles\nalone")
    figure, axes = plt.subplots(figsize=(2 + 0.8 * len(boxes), 4.5))
    artists = axes.bxp(boxes, patch_artist=True, showfliers=True, widths=0.7)
    for patch, colour in zip(artists["boxes"], colours):
        patch.set_facecolor(colour)
    axes.set_xticks(range(1, len(ticks) + 1), ticks)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("test error in %")
    axes.grid(axis="y", alpha=0.4)
    axes.set_title(", ".join(sorted({rows[0]["corpus"] for rows in runs})))
    save_figure(figure, path)


def draw_confusions(path, title, word_groups, counts):
    """How often each word was taken for each, with lines between groups."""
    words = [word for group in word_groups for word in group]
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    size = 3 + 0.22 * len(words)
    figure, axes = plt.subplots(figsize=(size + 1, size))
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, label="% of the word's examples", shrink=0.8)
    axes.set_xticks(range(len(words)), words, rotation=90)
    axes.set_yticks(range(len(words)), words)
    edges = np.cumsum([len(group) for group in word_groups])[:-1] - 0.5
    for edge in edges:
        axes.axhline(edge, color="0.5", linewidth=0.8)
        axes.axvline(edge, color="0.5", linewidth=0.8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("word")
    axes.set_title(title, fontsize="medium")
    save_figure(figure, path)


if __name__ == "__main__":
    report_program(print_runs, draw_errors)
