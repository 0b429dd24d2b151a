"""Clockwork layers in a CTC model that was trained with LSTMs."""

import re
from functools import partial

import pytest
import torch
from helpers import read_csv, recipe_modules, run_recipe
from tiny_ctc import RECIPE, flags
from torch import nn

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN, swap_rnns
from speechbrain_cwrnn.errors import InputError, StoppedError

pytest_plugins = "ctc_fixtures"
HPARAMS = RECIPE / "hparams" / "finetune.yaml"
PLAIN = {"cnn_blocks": 0, "time_pooling": False}


@pytest.fixture
def finetune():
    """The module of the recipe."""
    with recipe_modules("TIMIT/ASR/CTC", "finetune") as modules:
        yield modules.finetune


@pytest.fixture
def train_lstm(recipe, few, tmp_path):
    """Trains an LSTM model, and returns its folder."""

    def train_lstm(number_of_epochs):
        options = {**PLAIN, "number_of_epochs": number_of_epochs}
        hparams = RECIPE / "hparams" / "lstm.yaml"
        run_recipe(recipe, hparams, *flags(few, tmp_path / "lstm", **options))
        return tmp_path / "lstm" / "pretrained"

    return train_lstm


def test_pairs(finetune):
    """What the old layer gave, and the new one gives, for the same input: the
    same, where the new one has taken over all weights."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.below = nn.Linear(3, 4)
            self.rnn = nn.RNN(4, 5, batch_first=True)
            self.above = nn.Linear(5, 2)

        def forward(self, x):
            return self.above(self.rnn(torch.tanh(self.below(x)))[0])

    old, new = Model(), Model()
    new.load_state_dict(old.state_dict())
    swap_rnns(new, partial(ClockworkRNN, periods=[1]))
    with torch.no_grad():
        # It is not to be seen by the new layer.
        new.below.weight.zero_()
    swapped = finetune.Swapped(old, new, ["rnn"])
    x = torch.randn(2, 9, 3)
    ((own, wanted),) = swapped(x)
    expected, _ = old.rnn(torch.tanh(old.below(x)))
    torch.testing.assert_close(wanted, expected)
    torch.testing.assert_close(own, expected)
    assert own.requires_grad and not wanted.requires_grad
    names = {name for name, _ in swapped.named_parameters()}
    assert names == {f"layers.0.{n}" for n, _ in new.rnn.named_parameters()}
    assert not old.rnn._forward_hooks


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [(None, []), ("0.*", ["0.weight", "0.bias"]), (["*bias"], ["0.bias"])],
)
def test_freeze(finetune, patterns, frozen):
    """Parameters are chosen by name."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, bias=False))
    finetune.freeze(model, patterns)
    assert frozen == [
        name for name, p in model.named_parameters() if not p.requires_grad
    ]


def test_freezes_nothing(finetune):
    """What names no parameter is one sentence."""
    with pytest.raises(InputError, match=r"frozen=CNN\.\*: expected names .*0"):
        finetune.freeze(nn.Sequential(nn.Linear(2, 3)), ["0.*", "CNN.*"])


class TestFit:
    """The first phase has the options and rules of the training."""

    @pytest.fixture
    def fit(self, recipe, tmp_path):
        """Fits a layer in six steps, and returns what its weights change by."""

        class Brain(recipe.train.ASRBrain):
            def compute_features(self, batch, stage):
                return batch, torch.ones(len(batch))

        class Pairs(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 4)

            def forward(self, feats):
                return [(self.layer(feats), feats)]

        def fit(run_opts=None, **options):
            torch.manual_seed(0)
            hparams = {"number_of_fit_epochs": 1, "fit_lr": 0.01}
            hparams["train_log"] = tmp_path / "log.txt"
            brain = Brain(hparams={**hparams, **options}, run_opts=run_opts)
            data = torch.utils.data.DataLoader(torch.rand(6, 9, 4))
            pairs = Pairs()
            before = pairs.layer.weight.detach().clone()
            recipe.train.fit_layers(pairs, brain, run_opts, data)
            return pairs.layer.weight.detach() - before

        return fit

    def test_clipping(self, fit):
        """By the norm of the YAML file, of the command line, or by nothing."""
        free = fit({"max_grad_norm": 1e30})
        assert torch.equal(fit({"max_grad_norm": -1}), free)
        assert torch.equal(fit(max_grad_norm=-1), free)
        # Adam divides by the gradient, and 1e-8.
        clipped = fit(max_grad_norm=1e-12)
        assert clipped.norm() < 0.001 * free.norm()
        both = fit({"max_grad_norm": 1e30}, max_grad_norm=1e-12)
        assert torch.equal(both, free)

    def test_compiled(self, fit, monkeypatch):
        """It is not, whatever of the training is to be."""
        compiled = []
        monkeypatch.setattr(
            torch, "compile", lambda module, **_: compiled.append(1) or module
        )
        fit({"compile": True, "compile_module_keys": ["model"]})
        fit({"compile": True, "compile_using_fullgraph": True})
        assert not compiled

    def test_not_finite(self, fit):
        """A loss that is not is one sentence, with the rate of this phase."""
        message = "^fit epoch 1: expected a finite .* a lower --fit_lr in anoth"
        with pytest.raises(StoppedError, match=message):
            fit(fit_lr=1e30)


@pytest.mark.slow
def test_learns_by_heart(recipe, few, tmp_path, train_lstm):
    """Layers are fitted, then all is trained but for what is frozen; the result
    is a pipeline again. What is gone on with is not fitted again."""
    from speechbrain.inference import EncoderASR

    source, folder = train_lstm(50), tmp_path / "out"
    options = {
        **{"source_folder": source, "frozen": "output.*", "fit_lr": 0.01},
        **{"number_of_fit_epochs": 25, "layer": "{periods: [1, 3]}"},
        **PLAIN,
    }
    for number_of_epochs in (1, 60):
        options["number_of_epochs"] = number_of_epochs
        run_recipe(recipe, HPARAMS, *flags(few, folder, **options))
    log = (folder / "log.txt").read_text()
    apart = [float(n) for n in re.findall(r"fit epoch: .* (\S+)\n", log)]
    assert len(apart) == 25
    assert apart[-1] < 0.3 * apart[0]
    (row,) = read_csv(folder / "results.csv")
    assert float(row["test"]) < 10
    before, after = (
        torch.load(path / "model.ckpt")
        for path in (source, folder / "pretrained")
    )
    for name in ("output.w.weight", "output.w.bias"):
        assert torch.equal(before[name], after[name])
    name = "crdnn.DNN.block_0.linear.w.weight"
    assert not torch.equal(before[name], after[name])
    model = EncoderASR.from_hparams(
        str(folder / "pretrained"), savedir=str(tmp_path / "asr")
    )
    (layer,) = [m for m in model.modules() if isinstance(m, ClockworkLiGRU)]
    assert layer.periods == (1, 3)
    assert not any(isinstance(m, nn.LSTM) for m in model.modules())
    for name, value in model.mods.encoder.model.state_dict().items():
        assert torch.equal(value, after[name]), name


@pytest.mark.slow
def test_bad_source(recipe, few, tmp_path, train_lstm):
    """What is no such model is one sentence, before anything is written."""
    source, folder = train_lstm(1), tmp_path / "out"
    for options, message in (
        ({"source_folder": "no/model"}, "^source_folder=no/model: expected"),
        ({"source_folder": tmp_path}, "model.ckpt: expected a file as it was"),
        ({"rnn_neurons": 32}, r"(?s)with the same options.*weight_ih_l0"),
        ({"phn_set": 48}, "^phn_set=48: expected 39, as in .*hyperparams.yaml"),
        ({"sample_rate": 8000}, "^sample_rate=8000: expected 16000, as in"),
        ({"hop_length": 20}, "^hop_length=20: expected 10, as in"),
        ({"n_fft": 512}, "^n_fft=512: expected 400, as in"),
        ({"frozen": "CNN.*"}, r"frozen=CNN\.\*: expected names"),
        ({"frozen": 0}, "^frozen=0: expected names of parameters, as text"),
        (
            {"frozen": "[output.*, 3]"},
            "^frozen=.*: expected names of parameters",
        ),
        ({"frozen": "'*'"}, r"^frozen=\*: expected some parameters to be le"),
        ({"frozen": "'*RNN*'"}, "^frozen=.*: expected .* of the new layers"),
        ({"where": "DNN.*"}, r"where='DNN\.\*': expected names of RNNs"),
    ):
        options = {"source_folder": source, **PLAIN, **options}
        with pytest.raises(InputError, match=message):
            run_recipe(recipe, HPARAMS, *flags(few, folder, **options))
        assert not folder.exists()
