"""Fixtures of the tests of the CTC recipe.

A module takes them by `pytest_plugins = "ctc_fixtures"`.
"""

import shutil

import pytest
from helpers import recipe_modules

SENTENCES = 2


@pytest.fixture
def recipe():
    """The modules of the recipe."""
    names = ("train", "transcribe_live")
    with recipe_modules("TIMIT/ASR/CTC", *names) as modules:
        yield modules


@pytest.fixture(scope="session")
def few(synthetic_timit, tmp_path_factory):
    """A corpus of a few short sentences, by one speaker.

    They are the same for training, development and test, so that those show
    whether a model has learnt them by heart.
    """
    folder = tmp_path_factory.mktemp("few") / "TIMIT"
    reader = min(synthetic_timit.glob("TRAIN/DR2/*"))
    sentences = sorted(
        reader.glob("S[IX]*.WAV"), key=lambda path: path.stat().st_size
    )
    for speaker in ("TRAIN/DR2/MABC0", "TEST/DR1/FAKS0", "TEST/DR1/MDAB0"):
        (folder / speaker).mkdir(parents=True)
        for path in sentences[:SENTENCES]:
            for suffix in (".WAV", ".WRD", ".PHN", ".TXT"):
                shutil.copy(path.with_suffix(suffix), folder / speaker)
    shutil.copy(synthetic_timit / "SYNTHETIC.txt", folder)
    return folder
