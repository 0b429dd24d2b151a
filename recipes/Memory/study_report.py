"""Tables and the picture of the study.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import io
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from layers import LAYERS, PERIODS
from outcomes import choose, write_results
from tasks import SYMBOLS, TASKS

from speechbrain_cwrnn.report import (
    print_provenance,
    print_table,
    save_figure,
    whole_file,
)

# The share of the symbols that a network that has learnt answers correctly,
# and the share of the networks that have learnt where a layer has.
LEARNT, ENOUGH = 0.9, 0.5
STYLES = dict(zip(LAYERS, ("C2s-", "C1^-", "C0o-", "C3v-")))


def write_study(folder, results, command):
    """Write study.csv, study.md and study.png.

    Arguments
    ---------
    folder : pathlib.Path
        Where to.
    results : list of Result
        Of which there may be few, where the study was interrupted.
    command : list of str
        What was called.
    """
    if not results:
        return
    results.sort()
    write_results(folder, results)
    cells = find_cells(results)
    text = io.StringIO()
    with redirect_stdout(text):
        print_provenance(command)
        minutes = sum(result.seconds for result in results) / 60
        print(f"\nThe networks took {minutes:.0f} minutes of one core.\n")
        print_longest(cells)
        for task in TASKS:
            print(f"\n## {task}\n")
            print_task(cells, task)
        print("\n![Accuracy against delay](study.png)")
    with whole_file(folder / "study.md") as path:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    draw(folder / "study.png", cells)
    print(text.getvalue())


def find_cells(results):
    """Results of the best learning rate, by task, delay and layer."""
    cells = {}
    for result in results:
        cells.setdefault(result.run[:3], []).append(result)
    return {cell: choose(of_cell) for cell, of_cell in cells.items()}


def find_delays(cells, task, layer):
    """The delays of a curve, the shortest first."""
    return sorted(d for t, d, name in cells if (t, name) == (task, layer))


def count_learnt(results):
    """How many networks have learnt."""
    return sum(result.test >= LEARNT for result in results)


def find_longest(cells, task, layer):
    """The longest delay up to which a layer learns, as text; "-" where none
    was tried."""
    delays = find_delays(cells, task, layer)
    longest = "none" if delays else "-"
    for delay in delays:
        of_cell = cells[task, delay, layer]
        if count_learnt(of_cell) < ENOUGH * len(of_cell):
            break
        longest = str(delay)
    return longest


def print_longest(cells):
    """Print up to which delay each layer learns each task."""
    sizes = {cell[2]: results[0].parameters for cell, results in cells.items()}
    rows = [
        [
            layer,
            str(LAYERS[layer][1]),
            str(sizes[layer]),
            *(find_longest(cells, task, layer) for task in TASKS),
        ]
        for layer in LAYERS
        if layer in sizes
    ]
    print(
        f"The longest delay up to which a layer learns, of those tried: at "
        f"least half of its\nnetworks answer {LEARNT:.0%} of the symbols of "
        f"fresh sequences correctly (by chance, {1 / SYMBOLS:.0%}).\nPeriods "
        f"of the clockwork layers, for all tasks and delays: "
        f"{', '.join(map(str, PERIODS))}.\n"
    )
    print_table(["layer", "units", "parameters", *TASKS], rows)


def print_task(cells, task):
    """Print a row for each layer and delay of a task."""
    rows = []
    for layer in LAYERS:
        for delay in find_delays(cells, task, layer):
            results = cells[task, delay, layer]
            accuracies = 100 * np.array([result.test for result in results])
            rows.append(
                [
                    f"{layer}, {delay}",
                    f"{results[0].run.rate:g}",
                    str(len(results)),
                    str(count_learnt(results)),
                    f"{np.median(accuracies):.1f}",
                    f"{accuracies.min():.1f}",
                    f"{accuracies.max():.1f}",
                    f"{np.median([result.updates for result in results]):g}",
                ]
            )
    print("Symbols of the test that are answered correctly, in percent:\n")
    columns = ["layer, delay", "rate", "networks", "learnt"]
    print_table([*columns, "median", "lowest", "highest", "updates"], rows)


def draw(path, cells):
    """Accuracy against delay: medians, and from the worst to the best."""
    figure, panels = plt.subplots(
        1, len(TASKS), sharey=True, figsize=(4.6 * len(TASKS), 4.4)
    )
    for axes, task in zip(panels, TASKS):
        for number, (layer, style) in enumerate(STYLES.items()):
            delays = find_delays(cells, task, layer)
            if not delays:
                continue
            accuracies = [
                [100 * result.test for result in cells[task, delay, layer]]
                for delay in delays
            ]
            low, median, high = zip(
                *(np.quantile(values, [0, 0.5, 1]) for values in accuracies)
            )
            # Side by side, where they are equal.
            places = np.array(delays) * 1.05 ** (number - 1.5)
            (line,) = axes.plot(places, median, style, label=layer)
            colour = line.get_color()
            axes.fill_between(places, low, high, color=colour, alpha=0.15)
        axes.axhline(100 / SYMBOLS, color="black", linestyle=":")
        axes.axhline(100 * LEARNT, color="grey", linewidth=0.8)
        axes.set_xscale("log")
        delays = sorted({delay for _, delay, _ in cells})
        axes.set_xticks(delays, [str(delay) for delay in delays])
        axes.minorticks_off()
        axes.set_title(task)
        axes.set_xlabel("delay in steps")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("correct answers in %\n(dotted: chance)")
    panels[0].set_ylim(0, 103)
    panels[0].legend(loc="lower left")
    save_figure(figure, path)
