"""The error of whoever gave something else than was expected.

Authors
 * The speechbrain_cwrnn developers 2026
"""


class InputError(ValueError):
    """What was given is not what is expected, and both are said.

    All that this package checks, it says with this error, in one sentence,
    before it computes or writes anything. So whatever else is raised is a
    fault of the package, and deserves its traceback.

    Example
    -------
    >>> raise InputError("periods=0: expected a positive integer.")
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: periods=0: expected a positive integer.
    """
