"""Tables and pictures of the study.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import io
import itertools
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib
import numpy as np
from report import MEASURED, PAPER, PAPER_TASK, percentages, plt, task

from speechbrain_cwrnn.paired import (
    difference_rows,
    format_percent,
    interval,
    mean_by_split,
    print_differences,
)
from speechbrain_cwrnn.report import (
    RESULTS,
    print_provenance,
    print_table,
    read_results,
    save_figure,
    summarize,
    whole_file,
    write_csv,
)
from speechbrain_cwrnn.study import print_time

COLOURS = {
    "srn": "C2",
    "lstm": "C1",
    "gru": "C4",
    "ligru": "C5",
    "cwrnn": "C0",
    "clockwork_ligru": "C3",
}


def write_study(folder, cells, command):
    """Write study.csv, study.md and the pictures.

    Arguments
    ---------
    folder : pathlib.Path
        Where to.
    cells : list
        Each a `study.Cell`, of which those without results are left out.
    command : list of str
        What was called.
    """
    groups = defaultdict(dict)
    rows = []
    cells = [cell for cell in cells if (cell.folder / RESULTS).exists()]
    for cell in cells:
        results = read_results(cell.folder, MEASURED)
        kind = cell.size, cell.model
        place = groups[cell.task, cell.protocol].setdefault(kind, {})
        place[cell.split] = results
        for row in results:
            where = [cell.task, cell.protocol, cell.split]
            keys = ("model", "size", "seed", "test_error", "diverged", "epochs")
            rows.append([*where, *(row[key] for key in keys)])
    columns = ["task", "protocol", "split", "model", "size", "seed"]
    columns += ["test_error", "diverged", "epochs"]
    write_csv(folder / "study.csv", columns, rows)
    text = io.StringIO()
    with redirect_stdout(text):
        print_provenance(command)
        print_time(cells)
        for (name, protocol), kinds in groups.items():
            picture = f"{name}_{protocol}.png"
            draw(folder / picture, kinds, protocol)
            first = next(iter(next(iter(kinds.values())).values()))
            words, learnt, tested = task(first)
            print(
                f"\n## {first[0]['corpus']}, {protocol} protocol: {words} "
                f"words, {learnt} + {tested} examples of each\n"
            )
            print_errors(kinds)
            print()
            print_differences(pair_models(kinds), "split", "speakers")
            print(f"\n![Test errors, beside the paper's]({picture})")
    with whole_file(folder / "study.md") as path:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    print(text.getvalue())


def split_means(splits):
    """The mean test error of each split in percent, without diverged
    networks."""
    names = [split for split, rows in splits.items() for _ in rows]
    rows = list(itertools.chain(*splits.values()))
    return mean_by_split(names, percentages(rows, "test_error"))


def pair_models(kinds):
    """How the models of each size differ, as rows."""
    rows = []
    for size in sorted({size for size, _ in kinds}):
        errors = {
            model: split_means(kinds[size, model])
            for model in COLOURS
            if (size, model) in kinds
        }
        rows += difference_rows(errors, f", {size}")
    return rows


def print_errors(kinds):
    """Print a row for each size and model."""
    table = []
    for (size, model), splits in sorted(kinds.items()):
        rows = list(itertools.chain(*splits.values()))
        means = list(split_means(splits).values())
        quartiles = PAPER.get((model, size))
        if task(rows) != PAPER_TASK:
            quartiles = None
        chosen = {(row["lr"], row["epochs"]) for row in rows if "lr" in row}
        table.append(
            [
                f"{model} {size}",
                str(len(splits)),
                *summarize(percentages(rows, "test_error"), decimals=1),
                format_percent(interval(means)),
                f"{np.mean(percentages(rows, 'train_error')):.1f}",
                f"{np.median([int(row['epochs']) for row in rows]):g}",
                ", ".join(sorted({lr for lr, _ in chosen})) or "0.0003",
                "{1} [{0}, {2}]".format(*quartiles) if quartiles else "-",
            ]
        )
    columns = ["network", "splits", "networks", "diverged", "mean", "sd"]
    columns += ["median", "q25", "q75", "95 % +-", "training", "epochs"]
    print("Test error in percent, of all networks and its mean over splits:\n")
    print_table([*columns, "rates", "the paper's median"], table)


def draw(path, kinds, protocol):
    """Figure 4 of the paper: box plots by size; at the left the paper's own,
    of which the quartiles are known."""
    sizes = sorted({size for size, _ in kinds})
    models = [m for m in COLOURS if any(m == model for _, model in kinds)]
    width = 0.8 / len(models)
    figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(12, 4.8))
    for axes, is_paper in ((left, True), (right, False)):
        for number, model in enumerate(models):
            boxes, places = [], []
            for place, size in enumerate(sizes):
                box = None
                if is_paper and (model, size) in PAPER:
                    q1, med, q3 = PAPER[model, size]
                    box = {"q1": q1, "med": med, "q3": q3}
                    box |= {"whislo": q1, "whishi": q3, "fliers": []}
                elif not is_paper and (size, model) in kinds:
                    rows = itertools.chain(*kinds[size, model].values())
                    errors = percentages(list(rows), "test_error")
                    errors = errors[~np.isnan(errors)]
                    (box,) = matplotlib.cbook.boxplot_stats(errors)
                if box is not None:
                    boxes.append(box)
                    places.append(
                        place + (number - (len(models) - 1) / 2) * width
                    )
            if boxes:
                artists = axes.bxp(
                    boxes,
                    positions=places,
                    widths=0.85 * width,
                    patch_artist=True,
                    medianprops={"color": "black"},
                )
                for patch in artists["boxes"]:
                    patch.set_facecolor(COLOURS[model])
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlabel("parameters")
        axes.grid(axis="y", alpha=0.4)
    first = next(iter(next(iter(kinds.values())).values()))
    left.set_title("the paper, 25 words of TIMIT: quartiles")
    right.set_title(f"{first[0]['corpus']}, {protocol} protocol")
    left.set_ylabel("test error in %")
    left.set_ylim(bottom=0)
    right.legend(
        handles=[
            matplotlib.patches.Patch(color=COLOURS[model], label=model)
            for model in models
        ]
    )
    save_figure(figure, path)
