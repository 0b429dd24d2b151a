"""What is loaded of a model that was written, and what is no such model."""

import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.processing.features import InputNormalization

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.pretrainer import WholePretrainer


def make():
    """What is loaded, by its names."""
    return {
        "model": ClockworkRNN(4, input_size=3, periods=(1, 2)),
        "normalize": InputNormalization(),
        "labels": CategoricalEncoder(),
    }


@pytest.fixture
def written(tmp_path):
    """What was saved, and the folder."""
    made = make()
    torch.save(made["model"].state_dict(), tmp_path / "model.ckpt")
    made["normalize"](torch.randn(2, 9, 3), torch.ones(2))
    made["normalize"]._save(tmp_path / "normalize.ckpt")
    made["labels"].update_from_iterable(["no", "yes"], sequence_input=False)
    made["labels"].save(tmp_path / "labels.ckpt")
    return made, tmp_path


def load(folder, loadables, **kwargs):
    """As `from_hparams` does."""
    pretrainer = WholePretrainer(loadables=loadables, **kwargs)
    pretrainer.collect_files(default_source=str(folder))
    pretrainer.load_collected()


def test_whole(written):
    """All is as it was; a file that is a user's own is left to a hook."""
    made, folder = written
    (folder / "own.ckpt").write_text("any")
    loaded, seen = {**make(), "own": torch.nn.Linear(1, 1)}, []
    hooks = {"own": lambda obj, path: seen.append(path)}
    load(folder, loaded, custom_hooks=hooks)
    x = torch.randn(2, 5, 3)
    assert torch.equal(loaded["model"](x)[0], made["model"](x)[0])
    mean = loaded["normalize"].glob_mean
    assert torch.equal(mean, made["normalize"].glob_mean)
    assert loaded["labels"].lab2ind == {"no": 0, "yes": 1}
    assert seen == [str(folder / "own.ckpt")]


@pytest.mark.parametrize("name", make())
@pytest.mark.parametrize("kept", [0, 0.5, 0.9, None])
def test_damaged(written, name, kept):
    """What is cut off, or missing, is named."""
    _, folder = written
    path = folder / f"{name}.ckpt"
    content = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=f"^{path}: expected"):
        load(folder, make())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: [1, 2], "expected a file as it was written .Attribute"),
        (lambda state: state | {"bias_l0": 1}, "expected the weights of this"),
        (lambda state: state | {"b": torch.ones(1)}, "expected the weights of"),
        (lambda state: state | {"bias_l0": torch.ones(5)}, r".*(\n.*)*bias_l0"),
        (lambda state: {**state, "bias_l0": None}, "expected the weights of"),
        (lambda state: {}, "expected the weights of"),
    ],
)
def test_another_model(written, change, message):
    """Of which SpeechBrain would load a part, with a warning."""
    made, folder = written
    path = folder / "model.ckpt"
    torch.save(change(dict(made["model"].state_dict())), path)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        load(folder, make())


def test_other_periods(written):
    """Which weights do not tell."""
    _, folder = written
    other = ClockworkRNN(4, input_size=3, periods=(1, 3))
    with pytest.raises(InputError, match="^.*model.ckpt: .*periods"):
        load(folder, {"model": other})


def test_on_a_condition(written):
    """What is not wanted need not be there; it still is to be loaded where it
    is wanted, also after a failure."""
    made, folder = written
    (folder / "labels.ckpt").unlink()
    loaded = make()
    pretrainer = WholePretrainer(loadables=loaded, conditions={"labels": False})
    pretrainer.collect_files(default_source=str(folder))
    pretrainer.load_collected()
    mean = loaded["normalize"].glob_mean
    assert torch.equal(mean, made["normalize"].glob_mean)
    pretrainer.conditions["labels"] = True
    with pytest.raises(InputError, match="^labels: expected .*ValueError"):
        pretrainer.load_collected()
    assert pretrainer.loadables == loaded
