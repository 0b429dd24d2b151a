"""What a recipe does when it is run as a program."""

import pytest

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.program import parse_arguments, run_program


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


def load(tmp_path, *options):
    """What a recipe gets from its command line."""
    train = tmp_path / "train.yaml"
    train.write_text(
        "output_folder: out\nsave_folder: !ref <output_folder>/save\n"
        "audio: null\nperiods: null\nrnn_class: null"
    )
    path, _, overrides = parse_arguments([str(train), *options])
    return load_hparams(path, overrides)


@pytest.mark.parametrize("with_equals", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        *("my: file", "take #2", "br{ace}", "[list]", "a=b", "true", "123"),
        *("~", "-x", "--lr", "!x", "&a", "*a", "@a", "%", "`", "|", " lead"),
        *("trail ", "q'uo\"te", "back\\slash", "a, b", "> x", "- x", "é😀"),
        *("1e5", ""),
    ],
)
def test_paths_as_they_stand(tmp_path, path, with_equals):
    """Nothing in them is syntax, neither to YAML nor to the command line."""
    for key in ("output_folder", "audio"):
        option = [f"--{key}={path}"] if with_equals else [f"--{key}", path]
        hparams = load(tmp_path, *option, "--periods", "[1, 2]")
        assert hparams[key] == path
        assert hparams["periods"] == [1, 2]
    assert load(tmp_path, "--output_folder", path)["save_folder"] == (
        f"{path}/save"
    )


def test_other_options_are_yaml(tmp_path):
    """As everywhere in SpeechBrain, and none as a path, too."""
    options = ["--rnn_class", "!name:collections.Counter", "--audio", "null"]
    hparams = load(tmp_path, *options, "--periods=[1, 2]")
    assert hparams["rnn_class"].__name__ == "Counter"
    assert hparams["audio"] is None
    assert hparams["periods"] == [1, 2]


@pytest.mark.parametrize("path", ["a\nb", "a\x85", "\udcff", "<output_folder>"])
def test_paths_that_yaml_cannot_hold(tmp_path, path):
    """They are refused."""
    with pytest.raises(InputError, match="^--audio=.*: expected a path in UTF"):
        load(tmp_path, "--audio", path)
