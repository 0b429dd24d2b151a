"""Folders for the Hugging Face hub.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch
from helpers import RECIPES, recipe_modules
from hyperpyyaml import load_hyperpyyaml

from speechbrain_cwrnn import hub
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import save_options
from speechbrain_cwrnn.pretrained import save_pretrained
from speechbrain_cwrnn.report import write_results
from speechbrain_cwrnn.swap import replace_rnns

ROOT = Path(__file__).parent.parent
CTC = RECIPES / "TIMIT" / "ASR" / "CTC"
SMALL = """\
rnn_layers: 1
rnn_neurons: 8
dnn_neurons: 8
data_folder: {folder}
output_folder: {folder}
"""
MANIFEST = (
    '{{"b": {{"wav": "{{data_root}}/b.wav"}}, '
    '"a": {{"wav": "{{data_root}}/b.wav", "start": 8000, "stop": {stop}}}}}'
)


@pytest.fixture
def make_run(tmp_path):
    """Makes a folder as a run of the CTC recipe leaves it, untrained."""

    def make(name="cwrnn", corpus="synthetic speech"):
        folder = tmp_path / "run"
        (folder / "save").mkdir(parents=True)
        torch.manual_seed(0)
        noise = torch.randn(24000).numpy() / 10
        soundfile.write(folder / "b.wav", noise, 16000)
        manifest = MANIFEST.format(stop=20000)
        (folder / "save" / "test.json").write_text(manifest)
        yaml = CTC / "hparams" / f"{name}.yaml"
        overrides = SMALL.format(folder=folder)
        if name == "finetune":
            overrides += "source_folder: null"
        save_options(yaml, overrides, folder)
        with open(yaml) as file:
            hparams = load_hyperpyyaml(file, overrides)
        if "layer" in hparams:
            replace_rnns(hparams["model"], hparams["layer"])
        # What is normalised globally needs a mean.
        hparams["normalize"](torch.randn(2, 50, 40), torch.ones(2))
        save_pretrained(
            folder / "pretrained",
            CTC / "hparams" / hparams["inference_file"],
            folder,
            {
                "normalize": hparams["normalize"]._save,
                "model": partial(torch.save, hparams["model"].state_dict()),
            },
        )
        write_results(
            folder,
            {"model": name, "size": 123, "corpus": corpus, "error": "PER"},
            {"seed": [7], "valid": ["41.50"], "test": ["42.25"]},
        )
        return folder

    return make


@pytest.fixture
def publish():
    """What publish.py of the CTC recipe does."""
    with recipe_modules("TIMIT/ASR/CTC", "publish") as modules:
        module = modules.publish
        yield partial(
            hub.write_hub_folder,
            columns=module.MEASURED,
            measure=module.measure,
        )


@pytest.fixture
def untried(monkeypatch):
    """Folders are not loaded, which takes a process each time."""
    monkeypatch.setattr(hub, "try_out", lambda *_: "sil\nah")


def read_card(folder):
    """The metadata of a card, and its Python."""
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    (code,) = re.findall("```python\n(.*?)```", card.text, re.DOTALL)
    return card, code


def run_alone(code, cwd):
    """Python that finds SpeechBrain and this package, but no recipe."""
    isolated = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    run = subprocess.run(
        [sys.executable, "-I", "-c", isolated],
        cwd=cwd,
        env={"HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


# Which folders of this repository modules are from, but for an environment that
# may be in it.
SHOW = f"""
from pathlib import Path
files = [vars(m).get("__file__") for m in list(sys.modules.values())]
files = [Path(f) for f in files if f and Path(f).is_relative_to({str(ROOT)!r})]
files = [f for f in files if "site-packages" not in f.parts]
print(*{{f.relative_to({str(ROOT)!r}).parts[0] for f in files}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cwrnn", "streaming", "finetune"])
def test_loads_elsewhere(make_run, publish, tmp_path, name):
    """Moved, without the run and the recipe, it does what its card says."""
    run = make_run(name)
    (tmp_path / "a").mkdir()
    publish(run, tmp_path / "a" / "net", license="mit", language="en")
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["net"]
    shutil.rmtree(run)
    (tmp_path / "a").rename(tmp_path / "b")
    folder = tmp_path / "b" / "net"
    assert {f.name for f in folder.iterdir()} == {
        *("README.md", "hyperparams.yaml", "example.wav"),
        *("model.ckpt", "normalize.ckpt"),
    }
    card, code = read_card(folder)
    heard, used = run_alone(code + SHOW, tmp_path / "b").rsplit("\n", 1)
    assert used == "speechbrain_cwrnn"
    assert heard and "\n" not in heard
    assert f"prints\n\n    {heard}\n" in card.text


CHATTY = """\
class Model:
    @classmethod
    def from_hparams(cls, source):
        print("| layer | was |")
        return cls()

    def hear(self, path):
        return f"of {path}\\nsil ah"
"""


def test_heard(tmp_path):
    """What the example prints, and nothing of what loading does."""
    (tmp_path / "chatty.py").write_text(CHATTY)
    use = "print(model.hear({wav!r}))"
    interface = hub.Interface("chatty.Model", "", use)
    (tmp_path / "net").mkdir()
    assert hub.try_out(tmp_path / "net", interface, "") == ""
    (tmp_path / "net" / "example.wav").touch()
    heard = hub.try_out(tmp_path / "net", interface, "")
    assert heard == "of net/example.wav\nsil ah"


def test_card(make_run, publish, untried, tmp_path):
    """Its numbers are those of results.csv."""
    publish(make_run(), tmp_path / "net", license="mit", language="en")
    card, _ = read_card(tmp_path / "net")
    data = card.data
    assert (data.library_name, data.language) == ("speechbrain", "en")
    assert (data.license, data.metrics) == ("mit", ["per"])
    assert data.pipeline_tag == "automatic-speech-recognition"
    assert [
        (r.dataset_name, r.dataset_split, r.metric_type, r.metric_value)
        for r in data.eval_results
    ] == [
        ("synthetic speech", "validation", "per", 41.5),
        ("synthetic speech", "test", "per", 42.25),
    ]
    assert "trained and tested on: synthetic speech" in card.text
    assert re.search(r"\| PER +\| +test \| 42.25 \|", card.text)
    assert "prints\n\n    sil\n    ah\n\n(" in card.text
    assert "`cwrnn`, of the size 123" in card.text and "Seed 7," in card.text
    samples, rate = soundfile.read(tmp_path / "net" / "example.wav")
    expected, _ = soundfile.read(tmp_path / "run" / "b.wav")
    assert rate == 16000 and np.array_equal(samples, expected[8000:20000])


def test_words(tmp_path):
    """Of several networks, the one that train.py has saved."""
    rows = [
        {"train_loss": loss, "test_error": error, "diverged": diverged}
        for loss, error, diverged in [
            ("nan", "0.1", "1"),
            ("0.5", "0.25", "0"),
            ("0.125", "0.375", "0"),
            ("0.25", "0.125", "0"),
        ]
    ]
    with recipe_modules("TIMIT/WordClassification", "publish") as modules:
        row, scores = modules.publish.measure(rows)
    assert row is rows[2] and scores == [("error rate", "test", 37.5)]


def test_program(make_run, untried, tmp_path, capsys, monkeypatch):
    """The options of the command line, and an error as a sentence."""
    make_run()
    monkeypatch.chdir(tmp_path)
    command = "publish.py run --to net --license mit --language en".split()
    monkeypatch.setattr(sys, "argv", command)
    with recipe_modules("TIMIT/ASR/CTC", "publish"):
        runpy.run_path(CTC / "publish.py", run_name="__main__")
        card, _ = read_card(tmp_path / "net")
        assert (card.data.license, card.data.language) == ("mit", "en")
        with pytest.raises(SystemExit, match="^Error: .*net: expected nothing"):
            runpy.run_path(CTC / "publish.py", run_name="__main__")


class TestExample:
    """Of a licensed corpus, none is given away."""

    def test_none(self, make_run, publish, untried, tmp_path):
        """The card shows a name that stands for any file."""
        publish(make_run(corpus="TIMIT"), tmp_path / "net")
        assert not (tmp_path / "net" / "example.wav").exists()
        card, code = read_card(tmp_path / "net")
        assert "'speech.wav'" in code
        assert "license" not in card.data.to_dict()

    def test_given(self, make_run, publish, untried, tmp_path):
        """One that the user gives."""
        own = tmp_path / "own.flac"
        soundfile.write(own, np.full(9000, 0.25), 8000)
        publish(make_run(corpus="TIMIT"), tmp_path / "net", example=own)
        samples, rate = soundfile.read(tmp_path / "net" / "example.wav")
        assert rate == 8000 and (samples == 0.25).all()


class TestRefused:
    """In a sentence, and nothing is written."""

    @pytest.fixture(autouse=True)
    def unchanged(self, tmp_path):
        """Nothing but the run is there in the end."""
        yield
        assert {f.name for f in tmp_path.iterdir()} <= {"run", "old", "off"}

    def test_what_is_there(self, make_run, publish, tmp_path):
        """It stays as it is, whatever it is."""
        (tmp_path / "old").mkdir()
        (tmp_path / "off").symlink_to("nowhere")
        for name in ("old", "off"):
            with pytest.raises(InputError, match=f"{name}: expected nothing"):
                publish(make_run() if name == "old" else "", tmp_path / name)
        assert not list((tmp_path / "old").iterdir())

    def test_no_place(self, publish, tmp_path):
        """A folder is not made for it."""
        with pytest.raises(InputError, match="net: expected a folder to write"):
            publish("run", tmp_path / "none" / "net")

    def test_into_itself(self, make_run, publish, tmp_path):
        """What is copied, by whatever name it is called."""
        source = make_run() / "pretrained"
        (tmp_path / "off").symlink_to(source)
        before = sorted(source.iterdir()), source.stat().st_mtime_ns
        for folder in (source / "net", tmp_path / "off" / "net"):
            with pytest.raises(InputError, match="outside of .*pretrained, of"):
                publish(tmp_path / "run", folder)
        assert before == (sorted(source.iterdir()), source.stat().st_mtime_ns)

    def test_incomplete(self, make_run, publish, tmp_path):
        """A run without results, or those of one model, or without that."""
        run = make_run()
        results = run / "results.csv"
        lines = results.read_text().splitlines()
        results.write_text("\n".join([*lines[:2], lines[1]]))
        with pytest.raises(InputError, match="results.csv: expected the resul"):
            publish(run, tmp_path / "net")
        diverged = re.sub(r"[\d.]+$", "nan", lines[1])
        results.write_text("\n".join([lines[0], diverged]))
        with pytest.raises(InputError, match="test=nan: expected a finite num"):
            publish(run, tmp_path / "net")
        results.write_text("\n".join(lines))
        (run / "pretrained" / "hyperparams.yaml").unlink()
        with pytest.raises(InputError, match="pretrained: expected the model"):
            publish(run, tmp_path / "net")
        (run / "results.csv").unlink()
        with pytest.raises(InputError, match="run: expected the output folder"):
            publish(run, tmp_path / "net")

    def test_foreign(self, make_run, publish, tmp_path):
        """A class that not everyone has."""
        run = make_run()
        options = run / "pretrained" / "hyperparams.yaml"
        text = options.read_text().replace("torch.nn.Leaky", "helpers.Leaky")
        options.write_text(text)
        with pytest.raises(InputError, match="expected .*, got some of helper"):
            publish(run, tmp_path / "net")

    @pytest.mark.parametrize("modules", ["{a: 1}", "encoder", "null"])
    def test_other_interface(self, make_run, publish, tmp_path, modules):
        """One that is not known."""
        path = make_run() / "pretrained" / "hyperparams.yaml"
        path.write_text(f"modules: {modules}")
        with pytest.raises(InputError, match="expected modules with one of"):
            publish(tmp_path / "run", tmp_path / "net")

    @pytest.mark.parametrize("text", ["{", "", "data_folder: a"])
    def test_options(self, make_run, publish, tmp_path, text):
        """Those of the run, damaged."""
        path = make_run() / "hyperparams.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=f"{path}: expected"):
            publish(tmp_path / "run", tmp_path / "net")

    @pytest.mark.slow
    def test_damaged(self, make_run, publish, tmp_path):
        """Weights that do not load: the folder never gets its name."""
        run = make_run()
        (run / "pretrained" / "model.ckpt").write_text("")
        message = (
            rf"^{run}/pretrained: expected a model that can be loaded and used "
            rf"\(net/model.ckpt: expected a file as"
        )
        with pytest.raises(InputError, match=message):
            publish(run, tmp_path / "net")

    def test_no_example(self, make_run, publish, tmp_path):
        """One that is given and not there."""
        with pytest.raises(InputError, match="example=a.wav: expected a file"):
            publish(make_run(), tmp_path / "net", example="a.wav")
