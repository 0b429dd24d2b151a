"""Checkpoints are whole or not there, whatever happens to a run."""

import errno
import hashlib
import logging
import shutil
import tempfile

import pytest
import torch
from helpers import killed_at
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_cwrnn.checkpoints import (
    SUMS,
    WholeCheckpointer,
    _digest,
    keep_epochs,
)
from speechbrain_cwrnn.errors import InputError

FILES = ["CKPT.yaml", SUMS, "first.ckpt", "random.ckpt", "second.ckpt"]


@pytest.fixture
def warnings():
    """What is said to the user, one entry a line."""
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger = logging.getLogger("speechbrain.utils.checkpoints")
    handler = Handler(logging.WARNING)
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def make(tmp_path):
    """Checkpointers of a folder, as each run makes one anew."""

    def make(cls=WholeCheckpointer):
        layers = {"first": torch.nn.Linear(2, 2), "second": torch.nn.PReLU()}
        return cls(tmp_path / "save", layers)

    return make


def names(checkpointer):
    """Those of its checkpoints, from the oldest."""
    found = checkpointer.find_checkpoints()
    return [checkpoint.path.name for checkpoint in reversed(found)]


def damage(path, how):
    """Loses a file, the end of it, or a bit."""
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_digest(tmp_path):
    """As of the file in one piece."""
    (tmp_path / "file").write_bytes(content := bytes(2**20) + b"end")
    assert _digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "owner, name, call",
    [
        (torch, "save", 0),
        (torch, "save", 2),
        (shutil, "rmtree", 0),
        (WholeCheckpointer, "_complete", 0),
    ],
)
def test_killed(make, tmp_path, warnings, owner, name, call):
    """Nowhere is anything half there, and the next run cleans up."""
    checkpointer = make()
    for _ in range(2):
        checkpointer.save_and_keep_only(num_to_keep=2)
    before = names(checkpointer)
    with killed_at(owner, name, call):
        checkpointer.save_and_keep_only(num_to_keep=2)
    after = make()
    kept = names(after)
    assert kept == before if name != "rmtree" else kept[0] == before[1]
    after.open()
    (line,) = warnings
    assert line.startswith("Removed what an interrupted run had not")
    visible = {path.name for path in (tmp_path / "save").iterdir()}
    assert visible == set(kept)
    assert after.recover_if_possible().path.name == kept[-1]


class TestDamage:
    """Files that are not what was saved."""

    @pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
    @pytest.mark.parametrize("name", FILES)
    def test_older_one_is_used(self, make, warnings, name, how):
        """And one line says so."""
        checkpointer = make()
        for _ in range(2):
            checkpointer.save_and_keep_only(num_to_keep=2)
        older, newer = names(checkpointer)
        damage(checkpointer.checkpoints_dir / newer / name, how)
        after = make()
        after.open()
        if (name, how) == (SUMS, "missing"):
            # All else is there, and loads.
            assert names(after) == [older, newer] and not warnings
            return
        assert after.recover_if_possible().path.name == older
        (line,) = warnings
        assert newer in line and (name in line or name == SUMS)
        assert line.endswith(f"checkpoint is {older}.")

    @pytest.mark.parametrize("name", ["CKPT.yaml", "second.ckpt"])
    def test_no_other_one(self, make, name):
        """Nothing is begun anew over it."""
        checkpointer = make()
        checkpointer.save_checkpoint()
        (only,) = names(checkpointer)
        damage(checkpointer.checkpoints_dir / only / name, "missing")
        with pytest.raises(InputError, match=f".*: expected .*{name} is m"):
            make().open()

    def test_it_is_left_where_it_is(self, make):
        """For whoever wants to rescue something from it."""
        checkpointer = make()
        for _ in range(2):
            checkpointer.save_and_keep_only(num_to_keep=2)
        older, newer = names(checkpointer)
        folder = checkpointer.checkpoints_dir / newer
        damage(folder / "first.ckpt", "altered")
        for _ in range(3):
            make().save_and_keep_only(num_to_keep=1)
        assert (folder / "first.ckpt").exists()


def test_those_of_speechbrain(make):
    """They load, as far as they go."""
    old = make(Checkpointer)
    old.save_checkpoint()
    new = make()
    new.open()
    with pytest.warns(UserWarning, match="load path for random"):
        new.recover_if_possible()
    for name, layer in old.recoverables.items():
        for a, b in zip(
            layer.parameters(), new.recoverables[name].parameters()
        ):
            assert torch.equal(a, b)


def test_named_twice(make):
    """The first one stays as it is, and nothing is written."""
    checkpointer = make()
    saved = checkpointer.save_checkpoint({"epoch": 1}, name="mine")
    assert saved.paramfiles["first"].is_file()
    with pytest.raises(InputError, match="^name=mine: expected one that no c"):
        checkpointer.save_checkpoint({"epoch": 2}, name="mine")
    (path,) = checkpointer.checkpoints_dir.iterdir()
    assert path.name == "CKPT+mine"
    assert make().find_checkpoint().meta["epoch"] == 1


def test_another_speechbrain(make, monkeypatch):
    """One that names checkpoints by other methods is noticed at once."""
    monkeypatch.delattr(WholeCheckpointer, "_new_checkpoint_dirpath")
    with pytest.raises(
        RuntimeError, match=r"a name that begins with \.partial"
    ):
        make().save_checkpoint()


def test_best_ones_are_kept(make):
    """As many as asked for, of each order."""
    checkpointer = make()
    for error in (3.0, 1.0, 2.0, 9.0, 8.0, 7.0):
        checkpointer.save_and_keep_only({"error": error}, min_keys=["error"])
    kept = checkpointer.find_checkpoints()
    assert [c.meta["error"] for c in kept] == [7.0, 1.0]


def test_clock(make, monkeypatch):
    """One that is set back makes no new checkpoint an old one."""
    checkpointer = make()
    checkpointer.save_and_keep_only({"epoch": 1})
    monkeypatch.setattr("time.time", lambda: 1.0)
    checkpointer.save_and_keep_only({"epoch": 2})
    (kept,) = checkpointer.list_checkpoints()
    assert kept.meta["epoch"] == 2


def test_saving_takes_no_longer_each_time(make, monkeypatch):
    """SpeechBrain's own default grows with each call."""
    checkpointer, calls = make(), []
    find = checkpointer.find_checkpoints
    monkeypatch.setattr(
        checkpointer,
        "find_checkpoints",
        lambda **kwargs: calls.append(1) or find(**kwargs),
    )
    numbers = []
    for _ in range(3):
        calls.clear()
        checkpointer.save_and_keep_only()
        numbers.append(len(calls))
    assert len(set(numbers)) == 1


def test_full_disk(make, monkeypatch):
    """PyTorch's error does not say that it is one."""

    def save(*args):
        raise RuntimeError("unexpected pos")

    checkpointer = make()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(RuntimeError, match="unexpected pos"):
            checkpointer.save_checkpoint()

        def full(**kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(OSError, match="No space left"):
            checkpointer.save_checkpoint()
    assert checkpointer.kept().startswith("nothing is saved yet")


def test_folder_is_made_for_the_first_one(make, tmp_path):
    """A run that is refused leaves none."""
    checkpointer = make()
    checkpointer.open()
    assert not list(tmp_path.iterdir())
    checkpointer.save_checkpoint()


def test_log(tmp_path):
    """It has each epoch that is saved once, and no test."""
    log = tmp_path / "train_log.txt"
    keep_epochs(log, last=11)
    assert not log.exists()
    lines = ["epoch: 9, loss: 1", "epoch: 10 - loss: 2", "epoch loaded: 9 - x"]
    lines += ["epoch: 9, debug", "epoch: 11, loss: 3", "epoch: 1"]
    log.write_text("\n".join(lines))
    keep_epochs(log, last=11)
    assert log.read_text().splitlines() == [lines[n] for n in (0, 1, 4)]
    keep_epochs(log, last=10)
    assert log.read_text().splitlines() == lines[:2]
