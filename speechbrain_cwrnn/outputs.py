"""Where a run writes, which is looked at before anything is computed.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
import re
from pathlib import Path

from speechbrain_cwrnn.errors import InputError


def can_be_called(path):
    """Whether a path is as short as systems want it, with some letters of ours
    behind each name."""
    parts = [os.fsencode(part) for part in Path(path).absolute().parts]
    return max(map(len, parts)) <= 240 and sum(map(len, parts)) <= 3500


def is_room(path):
    """Whether a folder is there, or can be made, and written to."""
    if not can_be_called(path):
        return False
    path = Path(path).absolute()
    for place in (path, *path.parents):
        # Also a link that leads nowhere is in the way.
        if os.path.lexists(place):
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    # A drive that is not there.
    return False


def is_writable(path):
    """Whether a file can be written, which need not be there."""
    return can_be_called(path) and is_free(path) and is_room(Path(path).parent)


def is_free(path):
    """Whether nothing is there, or an ordinary file, which may be replaced: no
    folder, and no device, as /dev/null, which root could replace, too."""
    return not os.path.exists(path) or os.path.isfile(path)


def is_log(path):
    """Whether a file can be written, in which there is nothing but what
    SpeechBrain logs of a training."""
    if not is_writable(path):
        return False
    path = Path(path)
    log = rb"(epoch[^\n]*\n)*(epoch[^\n]*)?"
    return not path.is_file() or re.fullmatch(log, path.read_bytes())


def check_writes(folder, names=()):
    """Raise an error for a folder, or a file in it, that cannot be written.

    What is written last is looked at first, since a training that cannot tell
    what came of it is lost.

    Arguments
    ---------
    folder : str or pathlib.Path
        The output folder, which need not be there.
    names : list of str
        The files, by their paths in it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "study.md").mkdir()
    >>> check_writes(folder, ["study.csv"])
    >>> check_writes(folder, ["study.csv", "study.md"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: .../study.md is a folder: expected ...
    """
    if not folder or not is_room(folder):
        raise InputError(
            f"output_folder={str(folder)!r}: expected a folder that can be "
            f"written, or made where it is not."
        )
    for path in (Path(folder, name) for name in names):
        if path.is_dir():
            raise InputError(
                f"{path} is a folder: expected a file, or another "
                f"--output_folder."
            )
        if not is_writable(path):
            raise InputError(
                f"{path}: expected a file that can be written, or another "
                f"--output_folder."
            )
