"""One run in an output folder at a time.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import errno
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from speechbrain.utils.checkpoints import logger
from speechbrain.utils.distributed import main_process_only

from speechbrain_cwrnn.errors import InputError

LOCK = ".lock"
# What a file system answers that has no locks.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def sole_run(folder):
    """Hold an output folder for a run, all of whose processes learn of it where
    the first one cannot.

    The lock is the operating system's, which takes it back from a process that
    is killed. A folder that is still empty in the end is removed.

    Arguments
    ---------
    folder : str or pathlib.Path
        The output folder.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "results"
    >>> with sole_run(folder):
    ...     with sole_run(folder):
    ...         pass  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: ...results: expected no other run ...
    """
    folder = Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    refusal = _acquire(lock, folder)
    if refusal is not None:
        raise InputError(refusal)
    try:
        yield
    finally:
        if lock.is_locked:
            # Before it is released: who takes a file that is gone notices, and
            # takes the next one. Windows does not remove what is open.
            with suppress(PermissionError):
                (folder / LOCK).unlink(missing_ok=True)
            lock.release()
            for path in new:
                # Unless there is something in it, or it was removed meanwhile.
                with suppress(OSError):
                    path.rmdir()


@main_process_only
def _acquire(lock, folder):
    """Take a lock, or return why not."""
    try:
        lock.acquire()
    except Timeout:
        return (
            f"{folder}: expected no other run in it, and one is at work there "
            f"(wait for its end, or give another --output_folder)."
        )
    except OSError as error:
        if error.errno not in NO_LOCKS:
            return (
                f"output_folder: expected a folder that can be written "
                f"({error})."
            )
        logger.warning(
            f"{folder} cannot be locked ({error.strerror}): see to it that no "
            f"other run is there."
        )
