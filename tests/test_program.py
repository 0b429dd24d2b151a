"""What a recipe does when it is run as a program."""

import pytest

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.program import run_program


def run(monkeypatch, main):
    """Run it with a YAML file alone."""
    monkeypatch.setattr("sys.argv", ["train.py", "train.yaml"])
    run_program(main)


def test_input_error_is_one_sentence(monkeypatch):
    """Without a traceback."""

    def main(*args):
        raise InputError("lr=-1: expected a positive number.")

    with pytest.raises(SystemExit, match="^Error: lr=-1: expected a positive"):
        run(monkeypatch, main)


def test_fault_of_our_own_shows_its_traceback(monkeypatch):
    """Any other ValueError is no matter of the input."""

    def main(*args):
        int("three")

    with pytest.raises(ValueError, match="invalid literal"):
        run(monkeypatch, main)
