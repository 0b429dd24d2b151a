"""Tables and pictures of the study.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib
import numpy as np
from report import PAPER, plt
from scipy import stats

from speechbrain_cwrnn.report import (
    print_provenance,
    print_table,
    read_results,
    save_figure,
    summarize,
    whole_file,
    write_csv,
)
from speechbrain_cwrnn.study import SECONDS, print_time

# Those of a cell's results.csv that are read again, and of study.csv.
MEASURED = {"target": str, "nmse": float, "best_nmse": float, "diverged": int}
COLUMNS = ["task", "variant", "model", "size", "target", "seed"]
COLUMNS += ["nmse", "best_nmse", "diverged"]
COLOURS = {"srn": "C2", "lstm": "C1", "cwrnn": "C0"}
CONFIDENCE = 0.95


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
    cells = [cell for cell in cells if (cell.folder / SECONDS).exists()]
    rows = []
    for cell in cells:
        for row in read_results(cell.folder, MEASURED):
            row |= {"task": cell.task, "variant": cell.variant}
            for name in ("nmse", "best_nmse"):
                row[name] = f"{float(row[name]):.4g}"
            rows.append({name: row[name] for name in COLUMNS})
    write_csv(folder / "study.csv", COLUMNS, [row.values() for row in rows])
    text = io.StringIO()
    with redirect_stdout(text):
        print_provenance(command)
        print_time(cells)
        print_study(rows)
    with whole_file(folder / "study.md") as path:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    print(text.getvalue())
    for task, of_task in group(rows, "task").items():
        kinds = find_kinds(of_task)
        if kinds:
            draw(folder / f"{task}.png", kinds, task)


def group(rows, name):
    """The rows by what they have in a column, in their own order."""
    groups = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def find_kinds(rows, variant="paper"):
    """The rows of a variant by size and model, sorted."""
    kinds = {}
    for row in rows:
        if row["variant"] == variant:
            kind = int(row["size"]), row["model"]
            kinds.setdefault(kind, []).append(row)
    return dict(sorted(kinds.items()))


def print_study(rows):
    """Print all tables.

    Arguments
    ---------
    rows : list of dict
        Those of study.csv, as text.
    """
    for task, of_task in group(rows, "task").items():
        print(f"\n## {task}\n")
        kinds = find_kinds(of_task)
        if kinds:
            print_errors(kinds, task)
            print_targets(kinds)
            print(f"\n![NMSE by size]({task}.png)")
        if group(of_task, "variant").keys() - {"paper"}:
            print_variants(of_task)


def errors(networks):
    """The NMSE of networks [N], NaN where they diverged."""
    return np.array(
        [
            np.nan if row["diverged"] == "1" else float(row["nmse"])
            for row in networks
        ]
    )


def best_errors(networks):
    """The lowest NMSE of networks [N] in all epochs."""
    return np.array([float(row["best_nmse"]) for row in networks])


def summarize_best(networks):
    """Mean, median and quartiles of those, as text."""
    lowest = best_errors(networks)
    return [summarize(lowest)[2], quartiles(lowest)]


def quartiles(values):
    """Median and quartiles of numbers, as text like the paper's.

    Example
    -------
    >>> quartiles(np.array([1.0, 2, 3, 4, np.nan]))
    '2.5000 [1.7500, 3.2500]'
    """
    if np.isnan(values).all():
        return "-"
    q25, median, q75 = np.nanquantile(values, [0.25, 0.5, 0.75])
    return f"{median:.4f} [{q25:.4f}, {q75:.4f}]"


def interval(values):
    """The confidence interval of a median, by order statistics, as text.

    Example
    -------
    >>> interval(np.arange(1, 101) / 100)
    '0.4000 to 0.6100'
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    test = stats.quantile_test(values, q=np.median(values), p=0.5)
    low, high = test.confidence_interval(CONFIDENCE)
    # Of a few, there is none.
    return "-" if np.isnan(low + high) else f"{low:.4f} to {high:.4f}"


def print_errors(kinds, task):
    """Print a row for each size and model, and how two of them compare."""
    is_paper = task == "music"
    table, ratios = [], []
    for (size, model), networks in kinds.items():
        table.append(
            [
                f"{model} {size}",
                *summarize(errors(networks)),
                interval(errors(networks)),
                *summarize_best(networks),
                *([PAPER[model, size]] if is_paper else []),
            ]
        )
        if model == "lstm" and (size, "cwrnn") in kinds:
            lstm, cwrnn = errors(networks), errors(kinds[size, "cwrnn"])
            ratio = [np.nanmedian(lstm) / np.nanmedian(cwrnn)]
            ratio += [np.nanmean(lstm) / np.nanmean(cwrnn)]
            if is_paper:
                of_lstm, of_cwrnn = (
                    read_paper(m, size) for m in (model, "cwrnn")
                )
                ratio.append(of_lstm[0] / of_cwrnn[0])
            ratios.append([str(size), *(f"{number:.1f}" for number in ratio)])
    columns = ["network", "networks", "diverged", "mean", "sd", "median"]
    columns += ["q25", "q75", "95 % of the median"]
    columns += ["mean of the best", "best epoch"]
    print(
        "NMSE after the last epoch, without diverged networks; in the best "
        "epoch, of all:\n"
    )
    print_table([*columns, *(["paper"] if is_paper else [])], table)
    if ratios:
        columns = ["lstm / cwrnn", "medians", "means"]
        columns += ["the paper's medians"] if is_paper else []
        print()
        print_table(columns, ratios)


def print_targets(kinds):
    """Print the medians by target, of the largest networks."""
    largest = max(size for size, _ in kinds)
    models = [model for model in COLOURS if (largest, model) in kinds]
    by_target = [group(kinds[largest, model], "target") for model in models]
    print(f"\nBy target, of the networks of {largest} parameters:\n")
    print_table(
        ["target", *models],
        [
            [target, *(quartiles(errors(of[target])) for of in by_target)]
            for target in by_target[0]
        ],
    )


def print_variants(rows):
    """Print what comes of each variant, and of the same seeds by the paper's
    protocol."""
    variants = group(rows, "variant")
    kinds = {variant: find_kinds(rows, variant) for variant in variants}
    table = []
    for model in COLOURS:
        for size in sorted({size for of in kinds.values() for size, _ in of}):
            tried = {
                variant: of[size, model]
                for variant, of in kinds.items()
                if (size, model) in of
            }
            of_paper = tried.pop("paper", [])
            if not tried:
                continue
            seeds = {row["seed"] for of in tried.values() for row in of}
            same = [row for row in of_paper if row["seed"] in seeds]
            for variant, networks in {"paper": same, **tried}.items():
                table.append(
                    [
                        f"{model} {size}, {variant}",
                        *summarize(errors(networks))[:3],
                        quartiles(errors(networks)),
                        *summarize_best(networks),
                        PAPER[model, size],
                    ]
                )
    columns = ["network, variant", "networks", "diverged", "mean"]
    columns += ["last epoch", "mean of the best", "best epoch", "the paper"]
    print("\nVariants of the protocol, and the same seeds by the paper's:\n")
    print_table(columns, table)


def read_paper(model, size):
    """Median and quartiles in the paper, as numbers."""
    return [float(text) for text in re.findall(r"[\d.]+", PAPER[model, size])]


def draw(path, kinds, task):
    """Box plots by size; for the paper's targets beside the paper's own, of
    which the quartiles are known."""
    sizes = sorted({size for size, _ in kinds})
    models = [m for m in COLOURS if any(m == model for _, model in kinds)]
    sides = {"last epoch": errors, "best epoch": best_errors}
    if task == "music":
        sides = {"the paper: quartiles": None, **sides}
    figure, panels = plt.subplots(
        1, len(sides), sharey=True, figsize=(5 * len(sides), 4.8)
    )
    for axes, (side, measure) in zip(panels, sides.items()):
        for number, model in enumerate(models):
            boxes, places = [], []
            for place, size in enumerate(sizes):
                if measure is None:
                    med, q1, q3 = read_paper(model, size)
                    box = {"q1": q1, "med": med, "q3": q3, "fliers": []}
                    box |= {"whislo": q1, "whishi": q3}
                else:
                    values = measure(kinds.get((size, model), []))
                    values = values[~np.isnan(values)]
                    if not len(values):
                        continue
                    (box,) = matplotlib.cbook.boxplot_stats(values)
                boxes.append(box)
                places.append(place + (number - (len(models) - 1) / 2) * 0.25)
            if not boxes:
                continue
            artists = axes.bxp(
                boxes,
                positions=places,
                widths=0.2,
                patch_artist=True,
                medianprops={"color": "black"},
                flierprops={"markersize": 2},
            )
            for patch in artists["boxes"]:
                patch.set_facecolor(COLOURS[model])
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlabel("parameters")
        axes.set_yscale("log")
        axes.grid(axis="y", alpha=0.4)
        axes.set_title(side)
    # Plain numbers; what is worse than any constant leaves no room.
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_ylim(top=1)
    panels[0].set_ylabel("NMSE")
    axes.legend(
        handles=[
            matplotlib.patches.Patch(color=COLOURS[model], label=model)
            for model in models
        ],
        loc="lower left",
    )
    save_figure(figure, path)
