"""Where runs write, which is looked at before anything is computed."""

import os

import pytest
from helpers import RECIPES, recipe_modules

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.study import check_cells

# The classes of their options.
CLASSES = {
    "AudioGen": "AudioGenOptions",
    "TIMIT/WordClassification": "WordOptions",
    "TIMIT/ASR/CTC": "CTCOptions",
}


@pytest.mark.parametrize(
    "folder", ["file", "file/a/b", "nowhere", "nowhere/a", "", "a" * 241]
)
def test_no_room(tmp_path, folder):
    """A file or a link that leads nowhere is in the way, or there is no
    name."""
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "gone")
    folder = str(tmp_path / folder) if folder else folder
    with pytest.raises(InputError, match="output_folder='.*': expected a fold"):
        check_writes(folder)


def test_room(tmp_path):
    """It need not be there, nor what is above; files may be replaced."""
    (tmp_path / "study.csv").touch()
    check_writes(tmp_path, ["study.csv", "new/study.md"])
    check_writes(str(tmp_path / "a" / "b"), ["study.csv"])


@pytest.mark.parametrize("name", ["study.md", "a/study.md", "file/study.md"])
def test_in_the_way(tmp_path, name):
    """A folder in the place of a file, or a file in that of a folder."""
    (tmp_path / "file").touch()
    if not name.startswith("file"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"{name}.*: expected a file.* or ano"):
        check_writes(tmp_path, ["study.csv", name])


def test_device(tmp_path):
    """What is no ordinary file, as /dev/null, is not replaced."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: expected a file that can be"):
        check_writes(tmp_path, ["pipe"])


@pytest.mark.parametrize("recipe", CLASSES)
def test_each_file_of_a_recipe(recipe, tmp_path):
    """Whatever is in its place, it is said before anything is made."""
    path, number = RECIPES / recipe / "hparams" / "cwrnn.yaml", 0
    with recipe_modules(recipe, "options") as modules:
        options = getattr(modules.options, CLASSES[recipe])
        for name in [*options.writes, "save/begun_with.json"]:
            folder = tmp_path / str(number)
            (folder / name).mkdir(parents=True)
            with pytest.raises(InputError, match=f"{name} is a folder: expec"):
                load_hparams(path, f"output_folder: {folder}", options)
            number += 1
    assert number > 5


def test_cells(tmp_path):
    """Each training of a study can show what it does."""

    class Cell:
        folder = tmp_path / "a" / "b"

    check_cells([Cell])
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="a/b'?: expected a folder"):
        check_cells([Cell])
