"""One run in an output folder at a time."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest
from filelock import FileLock

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run

# A run, with a worker as a DataLoader has, which outlives it for a while.
RUN = """
import os, sys, time
from speechbrain_cwrnn.lock import sole_run
with sole_run(sys.argv[1]):
    worker = os.fork()
    if not worker:
        time.sleep(20)
    print(worker, flush=True)
    time.sleep(20)
"""


def test_another_run(tmp_path):
    """It is refused while the first one lives, however that one ends."""
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        worker = int(run.stdout.readline())
        before = set(tmp_path.iterdir())
        with pytest.raises(InputError, match=f"^{tmp_path}: expected no other"):
            with sole_run(tmp_path):
                pass
        assert set(tmp_path.iterdir()) == before
        run.kill()
    try:
        with sole_run(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_nothing_is_left(tmp_path):
    """Of a run that wrote nothing; what was there stays."""
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "old"):
        with pytest.raises(ZeroDivisionError), sole_run(folder):
            assert list(folder.iterdir())
            raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]
    with sole_run(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "results.csv").touch()
    assert [p.name for p in (tmp_path / "a").rglob("*.csv")] == ["results.csv"]


def test_removed_meanwhile(tmp_path):
    """What ends the run is said, and not that its folder is gone."""
    folder = tmp_path / "a" / "b"
    for kind in (ZeroDivisionError, None):
        with pytest.raises(kind) if kind else nullcontext(), sole_run(folder):
            shutil.rmtree(folder)
            if kind:
                raise kind
    assert not list(tmp_path.iterdir())


def test_without_locks(tmp_path, monkeypatch, caplog):
    """A file system that has none, as some of networks: it is said."""

    def acquire(lock):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with sole_run(tmp_path):
        pass
    assert "cannot be locked (No locks available)" in caplog.text


def test_folder_that_cannot_be_made(tmp_path):
    """It is the user's to choose another one."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="^output_folder: expected a folder"):
        with sole_run(tmp_path / "file" / "x"):
            pass
