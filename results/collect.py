#!/usr/bin/env python3
"""Write RESULTS.md from what the studies measured.

> python results/collect.py

Each folder beside this file has the study.csv, study.md and pictures that a
study of a recipe wrote. Nothing else goes into RESULTS.md but the words here.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import re
import sys
from pathlib import Path

from claims import check_claims

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import whole_file
from speechbrain_cwrnn.tables import format_table

FOLDER = Path(__file__).parent
STUDIES = [
    ("Generated waveforms", "AudioGen", ["generation"]),
    ("Spoken words", "TIMIT/WordClassification", ["words", "words-gates"]),
    (
        "Phonemes",
        "TIMIT/ASR/CTC",
        ["phonemes", "phonemes-relu", "phonemes-folds", "phonemes-synthetic"],
    ),
    ("Spoken digits", "Digits", ["digits"]),
    ("Long memory", "Memory", ["memory"]),
]
HEAD = """\
# Results

Written by `python results/collect.py`, from what the `study.py` of each recipe
wrote to [`results/`](results): a row for each network in `study.csv`, and the
tables below, each with its command, date, machine and versions. Speed is in
[benchmarks/](benchmarks), recipes of SpeechBrain are in
[docs/swap.md](docs/swap.md).

## What the paper claims

An error is reproduced if our mean is within the paper's standard deviation of
its own, and no network diverged; an order, if it holds at all sizes; a longer
memory, if the longest delay learnt is longer than those of both others.

"""


def main():
    """Write the file."""
    with whole_file(FOLDER.parent / "RESULTS.md") as path:
        Path(path).write_text(collect(), encoding="utf-8")


def collect():
    """Its text."""
    claims = [[claim, *found] for claim, found in check_claims(FOLDER)]
    parts = [HEAD, format_table(["the paper", "here", "verdict"], claims), "\n"]
    for title, recipe, names in STUDIES:
        parts.append(
            f"\n## {title}\n\nIn [recipes/{recipe}](recipes/{recipe}):\n"
        )
        for name in names:
            text = read(FOLDER / name / "study.md")
            parts.append("\n" + nest(text, f"results/{name}"))
    return "".join(parts)


def read(path):
    """What a study has written for people."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: expected text, in UTF-8 ({error})."
        ) from error
    if not text.startswith("    python study.py"):
        raise InputError(
            f"{path}: expected what study.py writes, got {text[:40]!r}."
        )
    return text


def nest(text, folder):
    """A study.md below a heading of its own, with its pictures found."""
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    return re.sub(r"(!\[[^]]*\]\()", rf"\1{folder}/", text).strip("\n") + "\n"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"Error: {error}")
