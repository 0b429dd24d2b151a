"""Trainings on the cores of a machine."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.study import (
    begin_study,
    print_time,
    run_cells,
    workers,
)

SMALLEST = torch.finfo(torch.float32).smallest_normal


@dataclass(frozen=True)
class Cell:
    """What is no training."""

    folder: Path

    def is_done(self):
        """Whether it has run."""
        return (self.folder / "done.txt").exists()

    def run(self):
        """Says how many threads it has, and whether it was told to flush."""
        print(self.folder.name, torch.get_num_threads(), fade(SMALLEST))
        print("a warning", file=sys.stderr)
        start = time.process_time()
        while time.process_time() < start + 1.9:
            pass
        (self.folder / "done.txt").write_text("done")


@pytest.mark.slow
def test_runs_what_is_not_done(tmp_path, capfd):
    """Each in a process with one thread, which is told what to do first; what
    it shows goes to a file."""
    cells = [Cell(tmp_path / "study" / name) for name in ("a", "b", "c")]
    cells[1].folder.mkdir(parents=True)
    (cells[1].folder / "done.txt").write_text("before")
    run_cells(cells, jobs=2, initializer=flush)
    for cell in (cells[0], cells[2]):
        shown = (cell.folder / "shown.txt").read_text()
        assert shown == f"{cell.folder.name} 1 0.0\na warning\n"
        assert (cell.folder / "seconds.txt").read_text() == "2\n"
    assert [path.name for path in cells[1].folder.iterdir()] == ["done.txt"]
    assert (cells[1].folder / "done.txt").read_text() == "before"
    out, err = capfd.readouterr()
    assert not out and "warning" not in err and "3/3" in err


def test_time(tmp_path, capsys):
    """That of all trainings, of one core, or of none."""
    for name, seconds in (("a", "100\n"), ("b", "60\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seconds.txt").write_text(seconds)
    cells = [Cell(tmp_path / name) for name in ("a", "b", "c")]
    print_time(cells[:2])
    printed = capsys.readouterr().out
    assert printed == "\nThe networks took 3 minutes of one core.\n"
    print_time(cells)
    assert not capsys.readouterr().out


def flush():
    """What a worker may be told to do first."""
    torch.set_flush_denormal(True)


def fade(x):
    """A number that is nothing where it is flushed."""
    return (torch.tensor([x]) * 0.1).item()


@pytest.mark.slow
def test_initializer():
    """Each worker calls it first."""
    assert fade(SMALLEST) > 0
    with workers(1, flush) as pool:
        assert list(pool.map(fade, [SMALLEST])) == [0.0]
    with workers(1) as pool:
        assert list(pool.map(fade, [SMALLEST]))[0] > 0


class TestBegin:
    """A study goes on with what it was begun with."""

    def test_same(self, tmp_path):
        """And what else is asked for later is noted, too."""
        begin_study(tmp_path, {"options": "--lr 1", "music": b"a"})
        begin_study(tmp_path, {"options": "--lr 1", "voiced": b"b"})
        for _ in range(2):
            begin_study(tmp_path, {"options": "--lr 1"})
        with pytest.raises(InputError, match="with other music: expected the"):
            begin_study(tmp_path, {"options": "--lr 1", "music": b"c"})
        with pytest.raises(InputError, match="with other voiced: expected"):
            begin_study(tmp_path, {"voiced": b"c"})

    def test_other_options(self, tmp_path):
        """The sentence has both, and nothing is noted."""
        begin_study(tmp_path, {"options": "--lr 1"})
        before = (tmp_path / "begun_with.json").read_text()
        message = f"^{tmp_path} holds .* other options .'--lr 1', now '--lr 2'"
        with pytest.raises(InputError, match=message):
            begin_study(tmp_path, {"music": b"a", "options": "--lr 2"})
        assert (tmp_path / "begun_with.json").read_text() == before

    @pytest.mark.parametrize("content", ["", "{", "3"])
    def test_damaged(self, tmp_path, content):
        """The sentence names the file."""
        (tmp_path / "begun_with.json").write_text(content)
        with pytest.raises(InputError, match="^.*begun_with.json: expected wh"):
            begin_study(tmp_path, {"options": ""})
