#!/usr/bin/env python3
"""What came of the training: a table, pictures and sound.

As a program, it prints the results of several runs as one table, in Markdown,
with the paper's on its own targets beside them:
> python report.py results/*/*

Authors
 * The speechbrain_cwrnn developers 2026
"""

from pathlib import Path

import matplotlib
import numpy as np
import soundfile

from speechbrain_cwrnn.report import (
    STATISTICS,
    print_results,
    print_table,
    read_runs,
    report_program,
    save_figure,
    summarize,
    whole_file,
    write_results,
)

matplotlib.use("Agg")
# Names are no formulas.
matplotlib.rcParams["text.parse_math"] = False
import matplotlib.pyplot as plt  # noqa: E402

# The columns of results.csv that are read again.
MEASURED = {"nmse": float, "diverged": int}
# What is written as sound, of each target.
KINDS = ("target", "generated")
# Median and quartiles in Figure 3 of the paper, read off its vector graphics.
PAPER = {
    ("srn", 100): "0.474 [0.407, 0.500]",
    ("srn", 250): "0.472 [0.390, 0.492]",
    ("srn", 500): "0.472 [0.386, 0.497]",
    ("srn", 1000): "0.472 [0.423, 0.497]",
    ("lstm", 100): "0.069 [0.050, 0.088]",
    ("lstm", 250): "0.0495 [0.036, 0.066]",
    ("lstm", 500): "0.043 [0.032, 0.058]",
    ("lstm", 1000): "0.034 [0.029, 0.046]",
    ("cwrnn", 100): "0.0388 [0.0308, 0.0520]",
    ("cwrnn", 250): "0.0166 [0.0121, 0.0194]",
    ("cwrnn", 500): "0.0103 [0.0076, 0.0142]",
    ("cwrnn", 1000): "0.0064 [0.0041, 0.0105]",
}


def wave_files(names):
    """What `write_report` calls the sound of targets, by their names."""
    return [f"{kind}_{name}.wav" for name in names for kind in KINDS]


def write_report(folder, run, items, networks, targets, outputs):
    """Write and show the results of N networks.

    results.csv has a row per network; generated.png, target_*.wav and
    generated_*.wav show the best network of each target, and nmse.png, where
    there are several, how the errors of all are distributed.

    Arguments
    ---------
    folder : str
        Where to write.
    run : dict
        The model, size and corpus.
    items : dict
        The manifest of the targets.
    networks : dict
        The seed, target, nmse, mse, and whether it diverged, of each network
        [N]. Those that did are left out of statistics and pictures.
    targets : numpy.ndarray
        What each network was to generate [N, T].
    outputs : numpy.ndarray
        What it generates [N, T].
    """
    folder = Path(folder)
    write_results(folder, run, networks)
    names = np.array(networks["target"])
    diverged = np.array(networks["diverged"], dtype=bool)
    nmse = np.where(diverged, np.nan, networks["nmse"])
    waves, titles = {}, {}
    for name, item in items.items():
        (of_target,) = np.nonzero(names == name)
        alive = of_target[~diverged[of_target]]
        waves[name] = {"target": targets[of_target[0]]}
        titles[name] = f"{name}: all networks diverged"
        if len(alive):
            best = alive[nmse[alive].argmin()]
            waves[name]["generated"] = outputs[best]
            titles[name] = (
                f"{name}: NMSE {nmse[best]:.4f}, best of {len(of_target)}"
            )
        for kind, wave in waves[name].items():
            with whole_file(folder / f"{kind}_{name}.wav") as path:
                wave = wave.clip(-1, 1)
                soundfile.write(path, wave, item["sample_rate"], format="WAV")
    draw_waves(folder / "generated.png", items, waves, titles)
    written = "results.csv, generated.png"
    if len(nmse) > len(items) and not diverged.all():
        draw_errors(folder / "nmse.png", items, names, nmse)
        written += ", nmse.png"

    rows = [[name, *summarize(nmse[names == name])] for name in items]
    rows.append(["all", *summarize(nmse)])
    print_table(["target", *STATISTICS], rows)
    print(f"Written to {folder}: {written} and waveforms.")


def draw_waves(path, items, waves, titles):
    """One panel per target: dotted, and what the best network makes of it."""
    figure, panels = plt.subplots(
        len(items), figsize=(8, 1 + 1.5 * len(items)), squeeze=False
    )
    for panel, (name, item) in zip(panels[:, 0], items.items()):
        styles = {
            "target": {"color": "k", "linestyle": ":", "linewidth": 1.5},
            "generated": {"color": "C0", "linewidth": 1},
        }
        for kind, wave in waves[name].items():
            time = 1000 * np.arange(len(wave)) / item["sample_rate"]
            panel.plot(time, wave, label=kind, **styles[kind])
        panel.set_title(titles[name], fontsize="medium", loc="left")
        panel.set_xlim(time[0], time[-1])
    panels[0, 0].legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False
    )
    panels[-1, 0].set_xlabel("time in ms")
    save_figure(figure, path)


def draw_errors(path, items, names, nmse):
    """A box plot of the errors of the networks that did not diverge.

    Those that are worse than all others by far are counted, and not drawn:
    they would leave no room for the others.
    """
    alive = ~np.isnan(nmse)
    groups = {name: nmse[alive & (names == name)] for name in items}
    groups["all"] = nmse[alive]
    groups = {name: values for name, values in groups.items() if len(values)}
    figure, axes = plt.subplots(figsize=(1.5 + len(groups), 4))
    axes.boxplot(list(groups.values()), tick_labels=list(groups))
    axes.set_yscale("log")
    # Plain numbers.
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_ylabel("NMSE")
    title = f"{len(nmse)} networks, {(~alive).sum()} diverged"
    # A constant has 0.5.
    top = max(1, 2 * np.quantile(groups["all"], 0.75))
    shown = groups["all"][groups["all"] <= top]
    above = len(groups["all"]) - len(shown)
    if above:
        axes.set_ylim(top=1.3 * shown.max())
        title += f", {above} not shown (above {top:.2g})"
    axes.set_title(title, fontsize="medium")
    if max(map(len, groups)) > 10:
        axes.tick_params("x", rotation=30)
        plt.setp(axes.get_xticklabels(), ha="right", rotation_mode="anchor")
    save_figure(figure, path)


def print_runs(folders):
    """Print the results of several runs as one table, the paper's beside,
    which are medians and quartiles on targets that are not free."""

    def measured(rows):
        nmse = [
            float("nan" if row["diverged"] == "1" else row["nmse"])
            for row in rows
        ]
        paper = PAPER.get((rows[0]["model"], int(rows[0]["size"])), "-")
        return [*summarize(np.array(nmse)), paper]

    columns = [*STATISTICS, "paper, on its targets"]
    runs = read_runs(folders, MEASURED)
    print_results("NMSE of the networks:", runs, columns, measured)


if __name__ == "__main__":
    report_program(print_runs)
