#!/usr/bin/env python3
"""What came of the training: tables and pictures.

As a program, it prints the results of several runs as one table, in Markdown,
and draws all their errors, the paper's beside both:
> python report.py results/*/* --plot errors.png

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np

from speechbrain_cwrnn.report import (
    STATISTICS,
    print_table,
    save_figure,
    summarize,
    whole_file,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

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
PAPER_TASK = (25, 5, 2)


def write_report(
    folder,
    model,
    num_params,
    corpus,
    word_groups,
    num_train,
    num_test,
    seeds,
    epochs,
    train_losses,
    train_errors,
    test_errors,
    words_heard,
    words_predicted,
):
    """Write and show the results of N networks.

    results.csv has a row per network, confusions.csv one per pair of words
    that were taken for each other, confusions.png shows all pairs, and
    errors.png how the networks' test errors are distributed.

    Arguments
    ---------
    folder : str
        Where to write.
    model : str
        Name of the kind of network.
    num_params : int
        Their nominal number of parameters.
    corpus : str
        Where the words come from.
    word_groups : list
        Lists of words.
    num_train : int
        Examples of each word to learn from.
    num_test : int
        Examples of each word in the test.
    seeds : list
        Of each network [N].
    epochs : list
        How long each was trained [N].
    train_losses : numpy.ndarray
        Of the words for training; not finite where a network diverged [N].
    train_errors : numpy.ndarray
        Errors on these, between 0 and 1 [N].
    test_errors : numpy.ndarray
        Those on the words for the test [N].
    words_heard : list
        Number of the word of each example of the test [B].
    words_predicted : numpy.ndarray
        What each network took it for [N, B].
    """
    folder = Path(folder)
    words = [word for group in word_groups for word in group]
    diverged = ~np.isfinite(train_losses)
    columns = ["model", "num_params", "corpus", "words", "num_train"]
    columns += ["num_test", "seed", "epochs", "train_loss", "train_error"]
    columns += ["test_error", "diverged"]
    head = [model, num_params, corpus, len(words), num_train, num_test]
    write_csv(
        folder / "results.csv",
        columns,
        [
            [*head, *row]
            for row in zip(
                seeds,
                epochs,
                train_losses,
                train_errors,
                test_errors,
                diverged.astype(int),
            )
        ],
    )
    counts = np.zeros((len(words), len(words)), dtype=int)
    for predicted in words_predicted[~diverged]:
        np.add.at(counts, (words_heard, predicted), 1)
    confused = [
        (counts[i, j], words[i], words[j])
        for i, j in zip(*np.nonzero(counts))
        if i != j
    ]
    confused.sort(key=lambda row: (-row[0], row[1:]))
    write_csv(
        folder / "confusions.csv",
        ["word", "taken for", "times", "of"],
        [[a, b, n, counts[words.index(a)].sum()] for n, a, b in confused],
    )
    title = f"{model}, {num_params} parameters, {corpus}"
    draw_confusions(folder / "confusions.png", title, word_groups, counts)
    draw_errors(folder / "errors.png", [folder / "results.csv"])
    print_groups(word_groups, words, counts, confused)
    print_runs([folder / "results.csv"])
    print(
        f"Written to {folder}: results.csv, confusions.csv, confusions.png "
        f"and errors.png."
    )


def write_csv(path, columns, rows):
    """Write a table, whole."""
    with whole_file(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])


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


class Run(NamedTuple):
    """A folder of results; the rows are those of its results.csv."""

    num_params: int
    model: str
    corpus: str
    task: tuple
    folder: str
    rows: list

    @property
    def paper(self):
        """The quartiles that the paper has for this; None where it has not."""
        known = self.task == PAPER_TASK
        return PAPER.get((self.model, self.num_params)) if known else None


def read_runs(files):
    """Runs, from their results.csv, by number of parameters and model."""
    runs = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        first = rows[0]
        numbers = (first[name] for name in ("words", "num_train", "num_test"))
        runs.append(
            Run(
                int(first["num_params"]),
                first["model"],
                first["corpus"],
                tuple(map(int, numbers)),
                str(Path(path).parent),
                rows,
            )
        )
    return sorted(runs, key=lambda run: run[:5])


def percentages(rows, column):
    """Errors in percent [N], NaN where a network diverged."""
    return np.array(
        [
            np.nan if row["diverged"] == "1" else 100 * float(row[column])
            for row in rows
        ]
    )


def print_runs(files):
    """Print the test errors of several runs as one table."""
    table = []
    for run in read_runs(files):
        train = percentages(run.rows, "train_error")
        alive = ~np.isnan(train)
        epochs = np.array([int(row["epochs"]) for row in run.rows])[alive]
        learning = ["-", "-"]
        if alive.any():
            learning = [f"{train[alive].mean():.1f}", f"{np.median(epochs):g}"]
        paper = "{1} [{0}, {2}]".format(*run.paper) if run.paper else "-"
        table.append(
            [
                run.folder,
                f"{run.model} {run.num_params}",
                run.corpus,
                "{} x ({} + {})".format(*run.task),
                *summarize(percentages(run.rows, "test_error"), decimals=1),
                *learning,
                paper,
            ]
        )
    columns = ["run", "network", "corpus", "examples", *STATISTICS, "training"]
    columns += ["epochs", "the paper's median"]
    print(
        "Test error in percent (and the mean error on the words of training):"
    )
    print_table(columns, table)


def draw_errors(path, files):
    """A box plot of the test errors, like Figure 4 of the paper."""
    boxes, colours, ticks = [], [], []
    runs = read_runs(files)
    for run in runs:
        errors = percentages(run.rows, "test_error")
        errors = errors[~np.isnan(errors)]
        boxes += matplotlib.cbook.boxplot_stats(errors)
        colours.append("C0")
        note = "" if len(errors) else "\nall\ndiverged"
        ticks.append(f"{run.model}\n{run.num_params}{note}")
        if run.paper:
            quartiles = dict(zip(("q1", "med", "q3"), run.paper))
            ends = {"whislo": run.paper[0], "whishi": run.paper[2]}
            boxes.append({**quartiles, **ends, "fliers": []})
            colours.append("0.7")
            ticks.append("the\npaper")
    figure, axes = plt.subplots(figsize=(2 + 0.7 * len(boxes), 4.5))
    artists = axes.bxp(boxes, patch_artist=True, showfliers=True, widths=0.7)
    for patch, colour in zip(artists["boxes"], colours):
        patch.set_facecolor(colour)
    axes.set_xticks(range(1, len(ticks) + 1), ticks)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("test error in %")
    axes.grid(axis="y", alpha=0.4)
    axes.set_title(", ".join(sorted({run.corpus for run in runs})))
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


def main():
    """Print and draw the results of several runs."""
    parser = argparse.ArgumentParser(
        description="Print and draw the results of several runs."
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, help="output folders of the runs"
    )
    parser.add_argument("--plot", type=Path, help="picture to draw")
    args = parser.parse_args()
    files = [folder / "results.csv" for folder in args.folders]
    print_runs(files)
    if args.plot:
        draw_errors(args.plot, files)


if __name__ == "__main__":
    main()
