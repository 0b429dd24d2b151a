"""What a recipe does when it is run as a program."""

import errno
import logging
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import speechbrain as sb
from helpers import RECIPES, recipe_modules
from torch._utils import ExceptionWrapper

from speechbrain_cwrnn.checkpoints import WholeCheckpointer
from speechbrain_cwrnn.errors import InputError, StoppedError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.program import (
    CHATTY,
    PATH_OPTION,
    parse_arguments,
    run_program,
    stoppable,
)
from speechbrain_cwrnn.schema import (
    Checked,
    FileName,
    Folder,
    Log,
    NewFile,
    OptionalFile,
)


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


def test_input_error_of_a_worker(monkeypatch):
    """Its traceback, which PyTorch puts before it, is no part of it."""

    def main(*args):
        try:
            raise InputError("entry a, wav=a.wav: expected a file.")
        except InputError:
            ExceptionWrapper(where="in worker 0").reraise()

    with pytest.raises(SystemExit, match="^Error: entry a, wav=a.wav: expec"):
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
    return load_hparams(path, overrides, Checked)


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


@pytest.mark.parametrize(
    "recipe, name",
    [
        ("AudioGen", "AudioGenOptions"),
        ("TIMIT/WordClassification", "WordOptions"),
        ("TIMIT/ASR/CTC", "CTCOptions"),
    ],
)
def test_paths_are_known(recipe, name):
    """Each option of a recipe that is a path is taken as it stands."""
    with recipe_modules(recipe, "options") as modules:
        options = getattr(modules.options, name)
    kinds = (FileName, OptionalFile, Folder, NewFile, Log)
    # What each says is its first annotation.
    texts = [kind.__metadata__[0].description for kind in kinds]
    paths = [
        key
        for key, field in options.model_fields.items()
        if field.description in texts
    ]
    assert {"output_folder", "train_annotation", "train_log"} < set(paths)
    for key in paths:
        assert PATH_OPTION.fullmatch(f"--{key}"), key


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


@pytest.mark.parametrize(
    "options, message",
    [
        (["--lr", "1", "--lr", "2"], "--lr: expected once"),
        (["--device=cpu", "--device", "cpu"], "--device: expected once"),
        (["--max_grad", "1"], "--max_grad: expected --max_grad_norm"),
        (["--test"], "--test: expected --test_only"),
        (["--", "--lr", "1"], "--: expected the name of an option"),
    ],
)
def test_no_option_is_ignored(options, message):
    """As argparse, and SpeechBrain, would."""
    with pytest.raises(InputError, match=f"^{message}\\.$"):
        parse_arguments(["train.yaml", *options])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--precision", "fp8"], "argument --precision: invalid choice: 'fp8'"),
        (["--device"], "argument --device: expected one argument"),
        (["--max_grad_norm", "x"], "argument --max_grad_norm: invalid float"),
    ],
)
def test_refused_by_speechbrain(options, message, capsys):
    """Without the usage, which is a screen long."""
    with pytest.raises(InputError, match=f"^{message}.*\\.$"):
        parse_arguments(["train.yaml", *options])
    assert not capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    assert "--device" in capsys.readouterr().out


def test_step_limit():
    """It is a number, and whatever else is refused later."""
    for text, value in (("5", 5), ("x", "x")):
        line = ["train.yaml", "--optimizer_step_limit", text]
        _, run_opts, _ = parse_arguments(line)
        assert run_opts.optimizer_step_limit == value
        assert run_opts.overridden_args == {"optimizer_step_limit"}


def test_interrupt(monkeypatch, capsys):
    """It is said how to go on, in a line, and the shell is told."""

    def main(*args):
        raise KeyboardInterrupt("CKPT is kept")

    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, main)
    assert stop.value.code == 130
    shown = capsys.readouterr().err
    assert shown == "Interrupted: CKPT is kept.\n"


def test_interrupt_while_modules_are_loaded(monkeypatch):
    """It is left to the system, and to Python again thereafter."""
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler, after in (
            (signal.SIG_DFL, signal.default_int_handler),
            # As a shell script's jobs in the background.
            (signal.SIG_IGN, signal.SIG_IGN),
        ):
            signal.signal(signal.SIGINT, handler)
            run(monkeypatch, lambda *args: None)
            assert signal.getsignal(signal.SIGINT) is after
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "recipe", ["AudioGen", "TIMIT/WordClassification", "TIMIT/ASR/CTC"]
)
def test_interrupt_of_imports(recipe, tmp_path):
    """It ends a recipe without a traceback."""
    (tmp_path / "speechbrain.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)"
    )
    command = [sys.executable, str(RECIPES / recipe / "train.py")]
    result = subprocess.run(
        command,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        # Where the tests run in the background, it is ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert result.returncode == -signal.SIGINT
    assert not result.stderr


class TestStopped:
    """It is said what is kept, and what the same command does."""

    @pytest.fixture
    def checkpointer(self, tmp_path):
        """One of a run."""
        return WholeCheckpointer(tmp_path / "save")

    def stop(self, checkpointer):
        """What a user is told who stops a run."""
        with pytest.raises(KeyboardInterrupt) as interrupt:
            with stoppable(checkpointer):
                raise KeyboardInterrupt
        return str(interrupt.value)

    def test_by_the_user(self, checkpointer):
        """Before the first checkpoint, and after."""
        anew = "nothing is saved yet, and the same command begins anew"
        assert self.stop(checkpointer) == anew
        path = checkpointer.save_checkpoint().path
        on = f"{path} is kept, and the same command goes on"
        assert self.stop(checkpointer) == on

    @pytest.mark.parametrize("persistently", [False, True])
    def test_debugging(self, checkpointer, tmp_path, persistently):
        """What it saves is gone with the program, unless asked for."""
        options = {"debug": True, "debug_persistently": persistently}
        sb.Brain(run_opts=options, checkpointer=checkpointer)
        path = checkpointer.save_checkpoint().path
        kept = f"{path} is kept, and the same command goes on"
        if not persistently:
            kept = "debugging keeps nothing, and the same command begins anew"
        assert self.stop(checkpointer) == kept

    def test_by_a_full_disk(self, checkpointer, tmp_path):
        """Any other error of the system is a fault, and stays what it is."""
        for place in ((), (str(tmp_path / "log.txt"),)):
            where = place[0] if place else checkpointer.checkpoints_dir
            full = OSError(errno.ENOSPC, "No space left", *place)
            with pytest.raises(
                StoppedError,
                match=f"^{where}: expected room .*No space left.; nothing is s",
            ):
                with stoppable(checkpointer):
                    raise full
        with pytest.raises(PermissionError), stoppable(checkpointer):
            raise PermissionError(errno.EPERM, "Operation not permitted")


def test_libraries_are_quiet(monkeypatch):
    """Their debugging is nothing for a log of the training."""
    for name in CHATTY:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)

    def main(*args):
        for name in ("numba.core.ssa", "matplotlib.font_manager"):
            assert not logging.getLogger(name).isEnabledFor(logging.INFO)
            assert logging.getLogger(name).isEnabledFor(logging.WARNING)

    run(monkeypatch, main)
