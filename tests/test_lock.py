"""One run in an output folder at a time."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from speechbrain_cwrnn.checkpoints import WholeCheckpointer
from speechbrain_cwrnn.errors import InputError, StoppedError
from speechbrain_cwrnn.lock import sole_run

# A run, with a worker as a DataLoader has, which outlives it for a while.
RUN = """
import os, sys, time
from speechbrain_cwrnn.checkpoints import WholeCheckpointer
from speechbrain_cwrnn.lock import sole_run
folder = sys.argv[1]
with sole_run(folder, WholeCheckpointer(folder + "/save")):
    worker = os.fork()
    if not worker:
        time.sleep(20)
    print(worker, flush=True)
    time.sleep(20)
"""


def enter(folder):
    """Another run in the folder."""
    return sole_run(folder, WholeCheckpointer(folder / "save"))


def test_another_run(tmp_path):
    """It is refused while the first one lives, however that one ends."""
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        worker = int(run.stdout.readline())
        before = set(tmp_path.iterdir())
        with pytest.raises(InputError, match=f"^{tmp_path}: expected no other"):
            with enter(tmp_path):
                pass
        assert set(tmp_path.iterdir()) == before
        run.kill()
    try:
        with enter(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_nothing_is_left(tmp_path):
    """Of a run that wrote nothing; what was there stays."""
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "old"):
        with pytest.raises(ZeroDivisionError), enter(folder):
            assert list(folder.iterdir())
            raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]
    with enter(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "results.csv").touch()
    assert [p.name for p in (tmp_path / "a").rglob("*.csv")] == ["results.csv"]


def test_without_locks(tmp_path, monkeypatch, caplog):
    """A file system that has none, as some of networks: it is said."""

    def acquire(lock):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with enter(tmp_path):
        pass
    assert "cannot be locked (No locks available)" in caplog.text


def test_folder_that_cannot_be_made(tmp_path):
    """It is the user's to choose another one."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="^output_folder: expected a folder"):
        with enter(tmp_path / "file" / "x"):
            pass


class TestStopped:
    """What is kept is said."""

    @pytest.mark.parametrize("saved", [False, True])
    def test_by_the_user(self, tmp_path, saved):
        """The newest checkpoint, if there is any."""
        checkpointer = WholeCheckpointer(tmp_path / "save")
        kept = "nothing is saved yet"
        with pytest.raises(KeyboardInterrupt) as interrupt:
            with sole_run(tmp_path, checkpointer):
                if saved:
                    kept = f"{checkpointer.save_checkpoint().path} is kept"
                raise KeyboardInterrupt
        assert str(interrupt.value) == f"{kept}, and the same command goes on"

    def test_by_a_full_disk(self, tmp_path):
        """Any other error of the system is a fault, and stays what it is."""
        with pytest.raises(StoppedError, match=f"^{tmp_path}: expected room"):
            with enter(tmp_path):
                raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(PermissionError):
            with enter(tmp_path):
                raise PermissionError(errno.EPERM, "Operation not permitted")
