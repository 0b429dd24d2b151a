"""The options of a recipe."""

import os
import re
from collections import Counter, deque
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import resolve_references
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import (
    begin,
    load_hparams,
    resumes,
    save_options,
)
from speechbrain_cwrnn.schema import Checked, Positive


class TestOtherOptions:
    """A folder goes on with the options that it was begun with."""

    TRAIN = """
seed: 1
lr: 0.001  # a comment
periods: [1, 2, 4]
epochs: 2
output_folder: out
layer: !name:torch.nn.RNN
    hidden_size: 4
opt_class: !name:torch.optim.SGD
    lr: !ref <lr>
counter: !new:collections.Counter
    limit: !ref <epochs>
log: !ref <output_folder>/log.txt
"""

    @pytest.fixture
    def check(self, tmp_path):
        """Whether a YAML file and options are taken after others."""

        checkpointer = Checkpointer(tmp_path / "save")
        checkpointer.save_checkpoint()
        hparams = {"output_folder": tmp_path, "checkpointer": checkpointer}

        def check(overrides="", train=self.TRAIN, before="", may_differ=()):
            path = tmp_path / "train.yaml"
            path.write_text(self.TRAIN)
            with open(path) as file:
                resolved = resolve_references(file, before).getvalue()
            (tmp_path / "hyperparams.yaml").write_text(f"# made\n{resolved}")
            path.write_text(train)
            assert resumes(path, overrides, hparams, may_differ)

        return check

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"overrides": "lr: 1e-3"},
            {"overrides": "epochs: 2.0"},
            {"overrides": "lr: 0.5", "before": "{lr: 0.5, output_folder: in}"},
            {"overrides": "output_folder: elsewhere"},
            {"overrides": "epochs: 9", "may_differ": ["epochs", "backend"]},
            {"train": TRAIN.replace("a comment", "another")},
        ],
    )
    def test_same(self, check, options):
        """However it is written, and wherever the folder is."""
        check(**options)

    @pytest.mark.parametrize(
        "options, key",
        [
            (
                {"overrides": "lr: 0.01", "may_differ": ["epochs"]},
                "lr (0.001, now 0.01;",
            ),
            ({"before": "seed: 5"}, "seed (5, now 1;"),
            (
                {"overrides": "periods: [1, 2, 8]"},
                "periods ([1, 2, 4], now [1, 2, 8];",
            ),
            (
                {"train": TRAIN.replace("RNN\n", "LSTM\n    bias: no\n")},
                "layer (!name:torch.nn.RNN, now !name:torch.nn.LSTM;",
            ),
            (
                {"train": TRAIN.replace("_size: 4", "_size: 5")},
                "layer.hidden_size (4, now 5;",
            ),
            (
                {"train": TRAIN.replace("seed: 1", "")},
                "seed (1, now not there;",
            ),
            ({"train": TRAIN + "added: 1"}, "added (not there, now 1;"),
        ],
    )
    def test_other(self, check, tmp_path, options, key):
        """The sentence names the folder, the first that is another, and both
        values."""
        message = f"{tmp_path} holds a run with another {key}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            check(**options)

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_fewer_epochs(self, tmp_path, limit):
        """What came of more is not reported as what came of fewer."""
        path = tmp_path / "train.yaml"
        path.write_text("epochs: 2")
        (tmp_path / "hyperparams.yaml").write_text("epochs: 2")
        counter = EpochCounter(2)
        saved = Checkpointer(tmp_path / "save", {"epoch_counter": counter})
        for _ in counter:
            saved.save_checkpoint()
        hparams = {"checkpointer": saved, "output_folder": tmp_path}
        hparams["epoch_counter"] = EpochCounter(limit)
        arguments = path, f"epochs: {limit}", hparams, ["epochs"]
        if limit >= 2:
            assert resumes(*arguments)
            return
        message = f"number_of_epochs=1: expected 2 at least, .* {tmp_path} has"
        with pytest.raises(InputError, match=message):
            resumes(*arguments)

    def test_lost(self, tmp_path):
        """Without the old options, nobody knows; without a run, they are."""
        checkpointer = Checkpointer(tmp_path / "save")
        hparams = {"output_folder": tmp_path, "checkpointer": checkpointer}
        assert not resumes(tmp_path / "train.yaml", "", hparams, [])
        checkpointer.save_checkpoint()
        with pytest.raises(ValueError, match=f"^{tmp_path} .* without its hyp"):
            resumes(tmp_path / "train.yaml", "", hparams, [])

    def test_results_without_checkpoints(self, tmp_path):
        """Nothing is begun over what came of a run."""
        (tmp_path / "results.csv").touch()
        checkpointer = Checkpointer(tmp_path / "save")
        hparams = {"output_folder": tmp_path, "checkpointer": checkpointer}
        with pytest.raises(InputError, match="results.csv of a run without"):
            resumes(tmp_path / "train.yaml", "", hparams, [])

    @pytest.mark.parametrize("content", [b"", b"{a: ", b"\xff\0", b"- 1"])
    def test_damaged(self, check, tmp_path, monkeypatch, content):
        """Options that cannot be read are none."""
        read = Path.read_text

        def read_damaged(path, **kwargs):
            if path.name == "hyperparams.yaml":
                path.write_bytes(content)
            return read(path, **kwargs)

        monkeypatch.setattr(Path, "read_text", read_damaged)
        with pytest.raises(InputError, match="hyperparams.yaml is damaged: ex"):
            check()

    def test_saved(self, tmp_path):
        """They are what a run goes on with."""
        train = tmp_path / "train.yaml"
        train.write_text(self.TRAIN)
        save_options(train, "lr: 0.5", tmp_path)
        checkpointer = Checkpointer(tmp_path / "save")
        checkpointer.save_checkpoint()
        hparams = {"output_folder": tmp_path, "checkpointer": checkpointer}
        assert resumes(train, "lr: 0.5", hparams, [])
        with pytest.raises(InputError, match="another lr"):
            resumes(train, "", hparams, [])


class TestOverrides:
    """Options that HyperPyYAML would not tell from a bug, or not notice."""

    TRAIN = """
lr: 0.1
counter: !new:collections.Counter
    a: 1
words: [a, b]
"""

    @pytest.fixture
    def load(self, tmp_path):
        """Loads with options."""
        path = tmp_path / "train.yaml"
        path.write_text(self.TRAIN)
        return partial(load_hparams, path, options=Checked)

    def test_taken(self, load):
        """Values, and arguments of the same class or another without any."""
        assert load("")["counter"] == {"a": 1}
        assert load("counter: !new:collections.Counter {a: 2}") == {
            "lr": 0.1,
            "counter": {"a": 2},
            "words": ["a", "b"],
        }
        assert load("{words: [c], lr: 1}")["words"] == ["c"]
        assert load("counter: {a: 3}")["counter"] == Counter({"a": 3})
        assert type(load("counter: !new:collections.deque")["counter"]) is deque

    @pytest.mark.parametrize(
        "overrides, message",
        [
            ("countr: 1", "--countr: expected counter\\.$"),
            ("seeds: 1", "--seeds: expected a key of .*train.yaml, or an opt"),
            ("max_grad_nrm: 1", "--max_grad_nrm: expected max_grad_norm\\.$"),
            ("7: 1", "--7: expected a key of"),
            ("foo", "options: expected keys with values, in YAML, got 'foo'"),
            ("lr: [", "options: expected YAML .*line 1: 'lr: .'"),
            ("a: 1\nlr: 2 foo: 3", "options: .*, line 2: 'lr: 2 foo: 3'.\\.$"),
            ("counter: !new:dict {a: 2}", "--counter: expected other values"),
            ("lr: {a: 2}", "lr={'a': 2}: expected a value without keys"),
            ("words: [{a: 'b  c'}]", "'b  c': expected no two spaces in a row"),
        ],
    )
    def test_refused(self, load, overrides, message):
        """An unknown one, and another class, whose arguments would merge."""
        with pytest.raises(ValueError, match=message):
            load(overrides)


class TestFile:
    """The YAML file itself, before anything is made of it."""

    def test_pipe(self, tmp_path):
        """It would be waited for."""
        os.mkfifo(tmp_path / "train.yaml")
        with pytest.raises(InputError, match="train.yaml: expected an ordinar"):
            load_hparams(tmp_path / "train.yaml", "", Checked)

    @pytest.mark.parametrize(
        "text, message",
        [
            ("lr: [1", "expected YAML .*, line 1"),
            ("a: 1\na: 2", "expected YAML .found duplicate key.*, line 2"),
            ("lr: \x00", "expected YAML"),
            ("[1, 2]", "expected keys with values, in YAML"),
            ("3: 4", "expected text as a key, got 3"),
            ("", "expected keys with values"),
            ("lr: !nwe:list", "expected YAML .*tag '!nwe:list'"),
            ("lr: !ref <nope>", 'expected ref.*The reference "nope" is not'),
            ("lr: !ref <a>\na: !ref <lr>", "expected "),
            ("a: 1\nlr: !ref <a> / 0", "expected ref.*division by zero"),
            ("lr: !include:nope.yaml", "expected ref.*No such file"),
            ("lr: !PLACEHOLDER", "expected ref.*PLACEHOLDER"),
        ],
    )
    def test_faults(self, tmp_path, text, message):
        """One sentence with the name of the file."""
        path = tmp_path / "train.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=f"^{path}: {message}"):
            load_hparams(path, "", Checked)

    @pytest.mark.parametrize(
        "text, message",
        [
            (
                "a: !new:torch.nn.Linear [1, 1]\nb: !new:torch.nn.RNN",
                "b=!new:torch.nn.RNN: .* .TypeError: .* missing 2 req",
            ),
            (
                "b: [!apply:torch.zeros [-1]]",
                "b=!apply:torch.zeros: .*RuntimeError: .*negative",
            ),
            (
                "b: !name:torch.nn.RNN {a: !apply:int [x]}",
                "b=!apply:int: expected a function that",
            ),
            ("b: !ref <output>/x\noutput: a  b", "'a  b': expected no two"),
            ("b: !new:nn.RNN # a  b", "b=!new:nn.RNN: expected a class"),
        ],
    )
    def test_made(self, tmp_path, text, message):
        """What cannot be made is named with its key."""
        path = tmp_path / "train.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=f"^{message}"):
            load_hparams(path, "", Checked)

    def test_no_file(self, tmp_path):
        """None, a folder, or one that is no text."""
        binary = tmp_path / "binary.yaml"
        binary.write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path / "none.yaml", tmp_path, binary):
            with pytest.raises(InputError, match=f"^{path}: expected a YAML f"):
                load_hparams(path, "", Checked)

    def test_checked_before_anything_is_made(self, tmp_path):
        """Nothing is, where a value is wrong."""

        class Few(Checked):
            lr: Positive

        path = tmp_path / "train.yaml"
        path.write_text(f"made: !apply:os.mkdir [{tmp_path}/made]\nlr: 1")
        with pytest.raises(InputError, match="^lr=x: expected a positive num"):
            load_hparams(path, "lr: x", Few)
        assert not (tmp_path / "made").exists()
        load_hparams(path, "lr: 2", Few)
        assert (tmp_path / "made").exists()


class TestBegin:
    """A run goes on with the data and run options that it was begun with."""

    @pytest.fixture
    def begin(self, tmp_path):
        """Begins or goes on, in the same folder."""
        folders = {"output_folder": tmp_path, "save_folder": tmp_path / "save"}

        def call(in_use, run_opts=None, data=b"a", **hparams):
            begin({**folders, **hparams}, run_opts, in_use, data)

        return call

    def test_same(self, begin):
        """On the command line or in the YAML file."""
        begin(False, {"precision": "bf16", "max_grad_norm": 1.0})
        begin(True, {"precision": "bf16"}, max_grad_norm=1)

    @pytest.mark.parametrize(
        "other, message",
        [
            ({"data": b"b"}, "other data: expected the same, or another --o"),
            ({"run_opts": {"precision": "bf16"}}, "other precision"),
            ({"run_opts": {"eval_precision": "bf16"}}, "other eval_precision"),
            ({"run_opts": {"max_grad_norm": 1.0}}, "other max_grad_norm"),
            (
                {"max_grad_norm": 1.0},
                "other max_grad_norm",
            ),
            ({"max_grad_norm": 5.0}, "other max_grad_norm"),
            ({"run_opts": {"bfloat16_mix_prec": True}}, "other precision"),
            ({"run_opts": {"auto_mix_prec": True}}, "other precision"),
            ({"run_opts": {"compile": True}}, "other compile"),
            (
                {"run_opts": {"debug": True, "debug_persistently": True}},
                "other debug_persistently",
            ),
            ({"grad_accumulation_factor": 2}, "other grad_accumulation_fac"),
            ({"skip_nonfinite_grads": True}, "other skip_nonfinite_grads"),
            ({"nonfinite_patience": 9}, "other nonfinite_patience"),
        ],
    )
    def test_other(self, begin, tmp_path, other, message):
        """Refused where something is trained, and taken where nothing is."""
        begin(False)
        with pytest.raises(ValueError, match=f"^{tmp_path} holds .* {message}"):
            begin(True, **other)
        begin(True)
        begin(False, **other)
        begin(True, **other)
        with pytest.raises(ValueError, match=f"^{tmp_path} holds .* {message}"):
            begin(True)

    def test_folder_of_a_model(self, begin, tmp_path):
        """Its options are not overwritten; those of a run without a checkpoint
        are."""
        options = tmp_path / "hyperparams.yaml"
        options.write_text("of a model")
        message = f"^{tmp_path} holds the hyperparams.yaml of something else"
        with pytest.raises(InputError, match=message):
            begin(False)
        assert options.read_text() == "of a model"
        options.unlink()
        begin(False)
        options.write_text("of this run")
        begin(False)

    def test_both_values(self, begin):
        """The sentence has them."""
        begin(False, {"precision": "bf16"}, max_grad_norm=2.0)
        message = "other precision \\(bf16, now the default\\): expected the"
        with pytest.raises(InputError, match=message):
            begin(True, max_grad_norm=2.0)
        message = "other max_grad_norm \\(2.0, now 1.0\\): expected the"
        with pytest.raises(InputError, match=message):
            begin(True, {"precision": "bf16"}, max_grad_norm=1.0)

    def test_what_changes_nothing(self, begin):
        """It may be another one in each call."""
        begin(False, {"bfloat16_mix_prec": True, "device": "cpu"})
        begin(True, {"precision": "bf16", "debug": True, "debug_batches": 9})
        begin(True, {"precision": "bf16", "eval_precision": "fp32"})
        begin(True, ckpt_interval_steps=3, precision="bf16")

    def test_other_number_of_processes(self, begin, monkeypatch):
        """Each has a share of the batches, and random numbers of its own."""
        begin(False)
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        with pytest.raises(InputError, match="a run with other world_size"):
            begin(True)

    @pytest.mark.parametrize("content", [None, "", "{", "3"])
    def test_lost_note(self, begin, tmp_path, content):
        """The sentence names the file."""
        begin(False)
        path = tmp_path / "save" / "begun_with.json"
        path.unlink()
        if content is not None:
            path.write_text(content)
        with pytest.raises(InputError, match=f"^{path}: expected what the ru"):
            begin(True)

    def test_only_tested(self, begin, tmp_path):
        """There must be something to test, and nothing is written."""
        with pytest.raises(ValueError, match=f"expected a run in {tmp_path}"):
            begin(False, {"test_only": True})
        assert not list(tmp_path.iterdir())
        begin(False)
        begin(True, {"test_only": True})
