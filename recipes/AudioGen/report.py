#!/usr/bin/env python3
"""What came of the training: a table, pictures and sound.

As a program, it prints the results of several runs as one table, in Markdown,
with the paper's beside those of folders like cwrnn_1000, after the model and
the number of parameters:
> python report.py results/*_*

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
import soundfile

from speechbrain_cwrnn.report import (
    STATISTICS,
    print_table,
    save_figure,
    summarize,
    whole_file,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Median and quartiles in Figure 3 of the paper, read off its vector graphics.
PAPER = {
    "srn_100": "0.474 [0.407, 0.500]",
    "srn_250": "0.472 [0.390, 0.492]",
    "srn_500": "0.472 [0.386, 0.497]",
    "srn_1000": "0.472 [0.423, 0.497]",
    "lstm_100": "0.069 [0.050, 0.088]",
    "lstm_250": "0.0495 [0.036, 0.066]",
    "lstm_500": "0.043 [0.032, 0.058]",
    "lstm_1000": "0.034 [0.029, 0.046]",
    "cwrnn_100": "0.0388 [0.0308, 0.0520]",
    "cwrnn_250": "0.0166 [0.0121, 0.0194]",
    "cwrnn_500": "0.0103 [0.0076, 0.0142]",
    "cwrnn_1000": "0.0064 [0.0041, 0.0105]",
}


def write_report(
    folder, manifest, first_seed, targets, outputs, nmse, mse, diverged
):
    """Write and show the results of N networks.

    results.csv has a row per network; generated.png, target_*.wav and
    generated_*.wav show the best network of each target, and nmse.png, where
    there are several, how the errors of all are distributed.

    Arguments
    ---------
    folder : str
        Where to write.
    manifest : str
        Path of the manifest of the targets.
    first_seed : int
        Seed of the first network; the others' follow.
    targets : numpy.ndarray
        What each network was to generate [N, T].
    outputs : numpy.ndarray
        What it generates [N, T].
    nmse : numpy.ndarray
        Normalised error of each network [N].
    mse : numpy.ndarray
        Mean squared error of each network [N].
    diverged : numpy.ndarray
        Whether it diverged [N], and so is left out of statistics and pictures.
    """
    folder = Path(folder)
    with open(manifest, encoding="utf-8") as file:
        items = json.load(file)
    names = np.resize(list(items), len(nmse))
    with whole_file(folder / "results.csv") as path:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["seed", "target", "nmse", "mse", "diverged"])
            for n, name in enumerate(names):
                row = [first_seed + n, name, nmse[n], mse[n]]
                writer.writerow([*row, int(diverged[n])])

    nmse = np.where(diverged, np.nan, nmse)
    best = {}
    for name, item in items.items():
        of_target = np.flatnonzero((names == name) & ~diverged)
        n = np.flatnonzero(names == name)[0]
        waves = {"target": targets[n]}
        if len(of_target):
            n = best[name] = of_target[nmse[of_target].argmin()]
            waves["generated"] = outputs[n]
        for kind, wave in waves.items():
            with whole_file(folder / f"{kind}_{name}.wav") as path:
                wave = wave.clip(-1, 1)
                soundfile.write(path, wave, item["sample_rate"], format="WAV")
    draw_waves(
        folder / "generated.png", items, names, targets, outputs, best, nmse
    )
    if len(nmse) > len(items) and not diverged.all():
        draw_errors(folder / "nmse.png", items, names, nmse)

    rows = [[name, *summarize(nmse[names == name])] for name in items]
    rows.append(["all", *summarize(nmse)])
    print_table(["target", *STATISTICS], rows)
    print(f"Written to {folder}: results.csv, generated.png and waveforms.")


def draw_waves(path, items, names, targets, outputs, best, nmse):
    """One panel per target: dotted, and what the best network makes of it."""
    figure, panels = plt.subplots(
        len(items), figsize=(8, 1 + 1.5 * len(items)), squeeze=False
    )
    for panel, (name, item) in zip(panels[:, 0], items.items()):
        n = best.get(name, np.flatnonzero(names == name)[0])
        time = 1000 * np.arange(targets.shape[1]) / item["sample_rate"]
        panel.plot(time, targets[n], "k:", linewidth=1.5, label="target")
        title = f"{name}: all networks diverged"
        if name in best:
            panel.plot(time, outputs[n], "C0", linewidth=1, label="generated")
            title = (
                f"{name}: NMSE {nmse[n]:.4f}, best of {(names == name).sum()}"
            )
        panel.set_title(title, fontsize="medium", loc="left")
        panel.set_xlim(time[0], time[-1])
    panels[0, 0].legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False
    )
    panels[-1, 0].set_xlabel("time in ms")
    save_figure(figure, path)


def draw_errors(path, items, names, nmse):
    """A box plot of the errors of the networks that did not diverge."""
    alive = ~np.isnan(nmse)
    groups = {name: nmse[alive & (names == name)] for name in items}
    groups["all"] = nmse[alive]
    groups = {name: values for name, values in groups.items() if len(values)}
    figure, axes = plt.subplots(figsize=(1.5 + len(groups), 4))
    axes.boxplot(list(groups.values()), tick_labels=list(groups))
    axes.set_yscale("log")
    axes.set_ylabel("NMSE")
    axes.set_title(f"{len(nmse)} networks, {(~alive).sum()} diverged")
    save_figure(figure, path)


def print_runs(folders):
    """Print the results of several runs as one table, the paper's beside."""
    rows = []
    for folder in map(Path, folders):
        with open(folder / "results.csv", encoding="utf-8") as file:
            nmse = [
                float("nan" if row["diverged"] == "1" else row["nmse"])
                for row in csv.DictReader(file)
            ]
        paper = PAPER.get(folder.name, "-")
        rows.append([folder.name, *summarize(np.array(nmse)), paper])
    print_table(["run", *STATISTICS, "the paper's median"], rows)


if __name__ == "__main__":
    print_runs(sys.argv[1:])
