"""What a user has named, and how it fails."""

import pytest

from speechbrain_cwrnn.errors import InputError, StoppedError, tried
from speechbrain_cwrnn.lengths import last_step


def fail(error):
    """As a class of a user's does, somewhere."""
    raise error


@pytest.mark.parametrize(
    "error, said",
    [
        (RuntimeError("no room\nat all"), "RuntimeError: no room"),
        (AttributeError("no forward"), "AttributeError: no forward"),
        # As HyperPyYAML changes it.
        (TypeError("Invalid argument to X", "no y"), "TypeError: no y"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_sentence(error, said):
    """It has what was raised, in a line, which is its cause, too."""
    for what in ("lr", lambda error: "lr"):
        with pytest.raises(InputError) as caught, tried(what):
            fail(error)
        assert str(caught.value) == (
            f"lr: expected what works as this recipe uses it ({said})."
        )
        assert caught.value.__cause__ is error


def test_call_that_cannot_be_made():
    """It is raised where the call stands, and a matter of what is called."""
    with pytest.raises(InputError, match="^lr: .*TypeError: "), tried("lr"):
        len(3)


def test_fault_of_our_own():
    """What this package raises is no matter of the user's."""
    with pytest.raises(TypeError), tried("lr"):
        last_step(None, None)
    for kind in (InputError, StoppedError):
        with pytest.raises(kind, match="^itself$"), tried("lr"):
            fail(kind("itself"))
