"""What a run says in one sentence, and what ends it.

Authors
 * The speechbrain_cwrnn developers 2026
"""


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
