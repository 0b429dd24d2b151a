"""The options of a recipe."""

from collections import deque
from functools import partial

import pytest
from hyperpyyaml import resolve_references
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_cwrnn.hparams import (
    begin,
    check_num_seeds,
    load_hparams,
    look_up,
    resumes,
)


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
            ({"overrides": "lr: 0.01", "may_differ": ["epochs"]}, "lr"),
            ({"before": "seed: 5"}, "seed"),
            ({"overrides": "periods: [1, 2, 8]"}, "periods"),
            ({"train": TRAIN.replace("RNN", "LSTM")}, "layer"),
            ({"train": TRAIN.replace("_size: 4", "_size: 5")}, "layer"),
            ({"train": TRAIN.replace("seed: 1", "")}, "seed"),
            ({"train": TRAIN + "added: 1"}, "added"),
        ],
    )
    def test_other(self, check, tmp_path, options, key):
        """The sentence names the folder and the first that is another."""
        with pytest.raises(
            ValueError, match=f"^{tmp_path} holds a run with another {key} "
        ):
            check(**options)

    def test_lost(self, tmp_path):
        """Without the old options, nobody knows; without a run, they are."""
        checkpointer = Checkpointer(tmp_path / "save")
        hparams = {"output_folder": tmp_path, "checkpointer": checkpointer}
        assert not resumes(tmp_path / "train.yaml", "", hparams, [])
        checkpointer.save_checkpoint()
        with pytest.raises(ValueError, match=f"^{tmp_path} .* without its hyp"):
            resumes(tmp_path / "train.yaml", "", hparams, [])


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
        return partial(load_hparams, path)

    def test_taken(self, load):
        """Values, and arguments of the same class or another without any."""
        assert load("")["counter"] == {"a": 1}
        assert load("counter: !new:collections.Counter {a: 2}") == {
            "lr": 0.1,
            "counter": {"a": 2},
            "words": ["a", "b"],
        }
        assert load("{words: [c], lr: 1}")["words"] == ["c"]
        assert type(load("counter: !new:collections.deque")["counter"]) is deque

    @pytest.mark.parametrize(
        "overrides, message",
        [
            ("countr: 1", "--countr: expected counter\\.$"),
            ("seeds: 1", "--seeds: expected lr or counter or words\\.$"),
            ("counter: !new:dict {a: 2}", "--counter: expected other values"),
            ("lr: {a: 2}", "--lr: expected other values for what is there"),
        ],
    )
    def test_refused(self, load, overrides, message):
        """An unknown one, and another class, whose arguments would merge."""
        with pytest.raises(ValueError, match=message):
            load(overrides)


def test_unknown_size():
    """It names the sizes that there are."""
    with pytest.raises(ValueError, match=r"num_params=7: .* \[100, 250\]"):
        look_up({250: 19, 100: 11}, 7)


@pytest.mark.parametrize("number", [0, -1, 1.5, "two", None])
def test_no_number_of_seeds(number):
    """It names what was given."""
    check_num_seeds(1)
    with pytest.raises(ValueError, match=f"^num_seeds={number}: expected at "):
        check_num_seeds(number)


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
            ({"max_grad_norm": 1.0}, "other max_grad_norm"),
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

    def test_without_note(self, begin):
        """A run that nothing is known of is another one."""
        with pytest.raises(ValueError, match="a run with other data"):
            begin(True)

    def test_only_tested(self, begin, tmp_path):
        """There must be something to test, and nothing is written."""
        with pytest.raises(ValueError, match=f"expected a run in {tmp_path}"):
            begin(False, {"test_only": True})
        assert not list(tmp_path.iterdir())
        begin(False)
        begin(True, {"test_only": True})
