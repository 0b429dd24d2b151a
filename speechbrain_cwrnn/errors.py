"""What a run says in one sentence, and what ends it.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import traceback
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).parent


class InputError(ValueError):
    """What was given is not what is expected, and both are said.

    All that this package checks, it says with this error, in one sentence.
    That is before anything is computed or written, wherever it can be known
    then: audio is also checked where it is read, in training. Whatever else is
    raised, but for a StoppedError, is a fault of the package, and deserves its
    traceback.

    Example
    -------
    >>> raise InputError("periods=0: expected a positive integer.")
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: periods=0: expected a positive integer.
    """


class StoppedError(RuntimeError):
    """A run that cannot go on, for a reason that no one gave it.

    A full disk, or a model whose loss is no number. It is said in one sentence,
    with what is kept, and is no fault of the package either.

    Example
    -------
    >>> raise StoppedError("epoch 3: the loss is not finite.")
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.StoppedError: epoch 3: the loss is not finite.
    """


@contextmanager
def tried(what, expected="what works as this recipe uses it"):
    """Say what a user has named, where that fails when it is tried.

    Whatever a class of anyone's raises is a matter of that class, and is said
    with an InputError. What is raised in this package stays what it is.

    Arguments
    ---------
    what : str or callable
        What is tried; or finds it out, given what was raised.
    expected : str
        What it should be.

    Example
    -------
    >>> import torch
    >>> with tried("activation"):
    ...     torch.relu()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: activation: expected what works as ...
    """
    try:
        yield
    except Exception as error:
        # Behind the frames of this function, and of what calls the class.
        _, _, *frames = traceback.walk_tb(error.__traceback__)
        files = [Path(frame.f_code.co_filename) for frame, _ in frames[-1:]]
        is_ours = any(file.is_relative_to(PACKAGE) for file in files)
        if is_ours or isinstance(error, (InputError, StoppedError)):
            raise
        what = what(error) if callable(what) else what
        # HyperPyYAML puts words of its own before those of a TypeError.
        is_type = isinstance(error, TypeError) and error.args
        reason = str(error.args[-1] if is_type else error).strip()
        raise InputError(
            f"{what}: expected {expected} "
            f"({': '.join([type(error).__name__, *reason.splitlines()[:1]])})."
        ) from error
