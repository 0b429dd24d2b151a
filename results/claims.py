"""What the paper claims, beside what the studies measured.

Koutnik, Greff, Gomez, Schmidhuber: A Clockwork RNN, arXiv:1402.3511, with the
numbers of its Table 2.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from collections import defaultdict
from itertools import product

import numpy as np

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import read_table

REPRODUCED, NOT = "reproduced", "not reproduced"
NOT_HERE = "not testable here"
# As recipes/Memory says it: the share of right answers.
LEARNT = 0.9
NAMES = {"cwrnn": "CW-RNN", "lstm": "LSTM", "srn": "plain RNN"}
# What is read of each study.csv.
COLUMNS = {
    "generation": {
        **{"task": str, "variant": str, "model": str, "size": int},
        **{"nmse": float, "diverged": int},
    },
    "words": {
        **{"task": str, "protocol": str, "model": str, "size": int},
        **{"test_error": float, "diverged": int},
    },
    "memory": {
        **{"task": str, "layer": str, "delay": int, "rate": float},
        **{"valid": float, "test": float},
    },
}


def check_claims(folder):
    """Each claim of the paper, and a pair: what was found, and a verdict.

    Arguments
    ---------
    folder : pathlib.Path
        That of the studies.

    Yields
    ------
    tuple
        The claim; what was found and the verdict.
    """
    yield from check_generation(read(folder, "generation"))
    yield from check_words(read(folder, "words"))
    yield (
        "words: 16.8 % error, LSTM 34.2, plain RNN 66.8, on 25 words of TIMIT",
        ("the free sample of TIMIT does not have these words", NOT_HERE),
    )
    yield (
        "handwriting (IAM-OnDB, by CTC): the LSTM wins, at all sizes",
        ("the data are not free; for phonemes by CTC see below", NOT_HERE),
    )
    yield check_parameters()
    yield from check_memory(read(folder, "memory"))


def read(folder, study):
    """The rows of its study.csv."""
    return read_table(folder / study / "study.csv", COLUMNS[study])


def check_whole(study, groups, wanted):
    """Raise an error where a study lacks some of the networks."""
    for key in wanted:
        if key not in groups:
            raise InputError(
                f"{study}/study.csv: expected networks of each model and size, "
                f"and there is none of {', '.join(key)}."
            )


def group(rows, names, number):
    """What `number` gives for the rows that agree in some columns."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(number(row))
    return {key: np.array(values) for key, values in groups.items()}


def check_generation(rows):
    """Section 5.1."""
    rows = [r for r in rows if (r["task"], r["variant"]) == ("music", "paper")]
    errors = group(
        [row for row in rows if row["diverged"] == "0"],
        ["model", "size"],
        lambda row: float(row["nmse"]),
    )
    sizes = sorted({1000, *(int(row["size"]) for row in rows)})
    check_whole("generation", errors, product(NAMES, map(str, sizes)))
    ordered = [
        size
        for size in sizes
        if np.median(errors["cwrnn", str(size)])
        < np.median(errors["lstm", str(size)])
        < np.median(errors["srn", str(size)])
    ]
    yield (
        "waveforms: CW-RNN before LSTM before plain RNN, at all sizes",
        (
            f"by the median, so at {len(ordered)} of {len(sizes)} sizes",
            verdict(ordered == sizes),
        ),
    )
    for model, mean, sd in (
        *(("cwrnn", 0.007, 0.004), ("lstm", 0.04, 0.01)),
        ("srn", 0.46, 0.08),
    ):
        ours = errors[model, "1000"]
        died = sum(
            (row["model"], row["size"], row["diverged"]) == (model, "1000", "1")
            for row in rows
        )
        yield (
            f"waveforms, 1000 parameters: NMSE of the {NAMES[model]} "
            f"{mean} +- {sd}",
            (
                f"{ours.mean():.4f} +- {ours.std(ddof=1):.4f} "
                f"(median {np.median(ours):.4f}; {died} of "
                f"{died + len(ours)} diverged)",
                verdict(abs(ours.mean() - mean) <= sd and not died),
            ),
        )


def check_words(rows):
    """Section 5.2, on other words."""
    rows = [row for row in rows if row["diverged"] == "0"]
    tasks = {(row["task"], row["protocol"]): row for row in rows}
    for task, protocol in tasks:
        mine = [
            r for r in rows if (r["task"], r["protocol"]) == (task, protocol)
        ]
        errors = group(
            mine, ["size", "model"], lambda row: 100 * float(row["test_error"])
        )
        means = {key: values.mean() for key, values in errors.items()}
        sizes = sorted({int(row["size"]) for row in mine})
        check_whole("words", means, product(map(str, sizes), NAMES))
        best = [
            size
            for size in sizes
            if means[str(size), "cwrnn"]
            < min(means[str(size), "lstm"], means[str(size), "srn"])
        ]
        largest = str(sizes[-1])
        found = ", ".join(
            f"{NAMES[model]} {means[largest, model]:.1f}" for model in NAMES
        )
        yield (
            "words: CW-RNN before LSTM and plain RNN, at all sizes",
            (
                f"{task}, {protocol} protocol: so at {len(best)} of "
                f"{len(sizes)} sizes tried; at {largest}, {found} %",
                verdict(best == sizes),
            ),
        )


def check_parameters():
    """Section 3 and the appendix, counted."""
    layer = ClockworkRNN(512, input_size=1, periods=8)
    weights = layer.dense_weight_hh()
    count = sum(
        p.numel() for name, p in layer.named_parameters() if "weight_hh" in name
    )
    assert count == int((weights != 0).sum())
    groups = len(layer.periods)
    return (
        "(g + 1) / 2g of the recurrent weights of a plain RNN",
        (
            f"{count / weights.numel():.4f}, counted with 512 units in "
            f"{groups} groups",
            verdict(count / weights.numel() == (groups + 1) / (2 * groups)),
        ),
    )


def check_memory(rows):
    """That it remembers longer, on tasks of ours."""
    valid = group(
        rows,
        ["task", "layer", "delay", "rate"],
        lambda row: float(row["valid"]),
    )
    test = group(
        rows, ["task", "layer", "delay", "rate"], lambda row: float(row["test"])
    )
    longest = defaultdict(lambda: defaultdict(int))
    for task, layer, delay in dict.fromkeys(key[:3] for key in test):
        rates = [key for key in test if key[:3] == (task, layer, delay)]
        # All seeds are trained with the rate that the first ones chose.
        rate = max(rates, key=lambda key: (len(valid[key]), valid[key].mean()))
        if np.median(test[rate]) >= LEARNT:
            now = longest[task][layer]
            longest[task][layer] = max(now, int(delay))
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    check_whole("memory", [(layer,) for layer in layers], zip(NAMES.values()))
    for task in dict.fromkeys(row["task"] for row in rows):
        steps = {layer: longest[task][layer] for layer in layers}
        found = ", ".join(
            f"{layer} {n or 'none'}" for layer, n in steps.items()
        )
        ours = steps["CW-RNN"]
        yield (
            "it remembers for longer than LSTM and plain RNN",
            (
                f"{task}: the longest delay learnt, of those tried: {found}",
                verdict(ours > max(steps["LSTM"], steps["plain RNN"])),
            ),
        )


def verdict(holds):
    """What the table says."""
    return REPRODUCED if holds else NOT
