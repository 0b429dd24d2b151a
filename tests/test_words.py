"""The recipe that tells spoken words apart, on synthetic speech."""

import doctest
import json
import re
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from helpers import RECIPES, killed_at, read_csv, recipe_modules, run_recipe
from hyperpyyaml import load_hyperpyyaml

from speechbrain_cwrnn import ClockworkRNN, Ensemble, __version__
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.hub import write_hub_folder
from speechbrain_cwrnn.peephole import PeepholeLSTM

RECIPE = RECIPES / "TIMIT" / "WordClassification"
MODELS = ("cwrnn", "srn", "lstm")
ALL_MODELS = (*MODELS, "clockwork_ligru", "gru", "ligru")
WORDS = "[[making, walking], [subway, freeway]]"
# With frequencies up to -3 Hz.
FBANK = (
    "!new:speechbrain.lobes.features.Fbank "
    "[false, false, false, 16000, 0, -3, 400, 13]"
)


@pytest.fixture
def recipe():
    """The modules of the recipe."""
    names = ("train", "report", "classifier", "early_stopping")
    with recipe_modules("TIMIT/WordClassification", *names) as modules:
        yield modules


@pytest.fixture
def run(recipe, synthetic_timit):
    """Runs the recipe on four words."""

    def run(folder, *flags, model="cwrnn", **options):
        defaults = {
            "output_folder": folder,
            "data_folder": synthetic_timit,
            "words": WORDS,
            "num_params": 1000,
            "lr": 0.003,
        }
        flags = list(flags)
        for name, value in {**defaults, **options}.items():
            flags += [f"--{name}", value]
        run_recipe(recipe, RECIPE / "hparams" / f"{model}.yaml", *flags)
        return read_csv(folder / "results.csv")

    return run


def test_docstrings(recipe):
    """Their examples run."""
    tried = [doctest.testmod(module) for module in vars(recipe).values()]
    assert not any(failures for failures, _ in tried)
    assert sum(attempted for _, attempted in tried) >= 8


@pytest.mark.slow
class TestTraining:
    """From the command line to the results."""

    @pytest.mark.parametrize("model", MODELS)
    def test_learns_by_heart(self, run, tmp_path, capsys, model):
        """Each model learns the words, and all is written that should be."""
        options = {"noise_std": 0.1, "num_seeds": 2, "num_params": 2500}
        rows = run(tmp_path, model=model, lr=0.002, **options)
        assert [int(row["seed"]) for row in rows] == [1234, 1235]
        for row in rows:
            assert float(row["train_error"]) <= 0.15
            assert row["diverged"] == "0"
            assert (row["model"], row["words"]) == (model, "4")
            assert row["corpus"] == "synthetic speech"
            assert (row["num_train"], row["num_test"]) == ("5", "2")
            assert (row["size"], row["version"]) == ("2500", __version__)
        # Eight examples each are in the test.
        wrong = sum(8 * float(row["test_error"]) for row in rows)
        confusions = read_csv(tmp_path / "confusions.csv")
        assert sum(int(row["times"]) for row in confusions) == round(wrong)
        assert all(row["of"] == "4" for row in confusions)
        for picture in ("confusions.png", "errors.png"):
            assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        assert not list(tmp_path.rglob(".partial*"))
        printed = capsys.readouterr().out
        assert "20 words to learn from, 8 for the test" in printed
        assert "synthetic speech" in printed
        assert "| making, walking |" in printed

    def test_pretrained(self, run, tmp_path):
        """The best network classifies files as it did in the recipe."""
        from speechbrain.inference import EncoderClassifier

        folder = tmp_path / "out"
        rows = run(folder, num_seeds=2)
        classifier = EncoderClassifier.from_hparams(
            str(folder / "pretrained"), savedir=str(tmp_path / "saved")
        )
        wrong, loss = 0, 0
        entries = json.loads((folder / "save" / "train.json").read_text())
        for entry in entries.values():
            samples, rate = soundfile.read(
                entry["wav"], start=entry["start"], stop=entry["stop"]
            )
            path = str(tmp_path / "word.wav")
            soundfile.write(path, samples, rate, subtype="FLOAT")
            log_probs, _, _, (word,) = classifier.classify_file(path)
            (number,) = classifier.hparams.label_encoder.encode_label_torch(
                entry["word"]
            )
            wrong += word != entry["word"]
            loss -= float(log_probs[0, number]) / len(entries)
        best = min(rows, key=lambda row: float(row["train_loss"]))
        assert loss == pytest.approx(float(best["train_loss"]), rel=1e-4)
        assert wrong == round(20 * float(best["train_error"]))

    def test_published(self, run, tmp_path):
        """Its folder for the hub hears the first word of the test."""
        rows = run(tmp_path / "out", num_seeds=2)
        with recipe_modules("TIMIT/WordClassification", "publish") as modules:
            columns = {**modules.publish.MEASURED, "train_loss": float}
            measure = modules.publish.measure
            write_hub_folder(
                tmp_path / "out", tmp_path / "words", columns, measure
            )
        card = (tmp_path / "words" / "README.md").read_text()
        (heard,) = re.findall(r"prints\n\n    (\w+)\n", card)
        assert heard in WORDS
        best = min(rows, key=lambda row: float(row["train_loss"]))
        assert f"| {100 * float(best['test_error']):.2f} |" in card

    def test_without_data(self, run, tmp_path, capsys):
        """Speech is synthesised, once, and called so everywhere."""
        options = {"data_folder": "null", "num_speakers": 35}
        rows = run(tmp_path, **options, number_of_epochs=1)
        marker = tmp_path / "synthetic_TIMIT" / "SYNTHETIC.txt"
        before = marker.stat().st_mtime_ns
        assert rows[0]["corpus"] == "synthetic speech"
        assert "the speech is synthetic" in capsys.readouterr().out
        run(tmp_path, **options, number_of_epochs=2)
        assert marker.stat().st_mtime_ns == before

    @pytest.mark.parametrize("model", ALL_MODELS)
    def test_defaults(self, recipe, synthetic_timit, tmp_path, model):
        """The 25 words, for the time that an epoch takes."""
        options = ["--data_folder", synthetic_timit, "--number_of_epochs", 1]
        options += ["--output_folder", tmp_path, "--num_params", 500]
        run_recipe(recipe, RECIPE / "hparams" / f"{model}.yaml", *options)
        (row,) = read_csv(tmp_path / "results.csv")
        assert (row["words"], row["epochs"]) == ("25", "1")

    def test_resumes(self, run, tmp_path):
        """A run that was interrupted gives what one without a break gives."""
        whole = run(tmp_path / "whole", number_of_epochs=5, num_seeds=2)
        for call in (7, 6):
            with killed_at(torch, "save", call):
                run(tmp_path / "broken", number_of_epochs=5, num_seeds=2)
        broken = run(tmp_path / "broken", number_of_epochs=5, num_seeds=2)
        assert whole == broken
        log = (tmp_path / "broken" / "train_log.txt").read_text()
        epochs = [line.split()[1] for line in log.splitlines()]
        assert epochs == ["1", "2", "3", "4", "5"]
        # One that is complete is not trained any further.
        complete = {"patience": 1, "num_seeds": 2, "number_of_epochs": 30}
        first = run(tmp_path / "complete", **complete)
        log = tmp_path / "complete" / "train_log.txt"
        before = log.read_text()
        assert run(tmp_path / "complete", **complete) == first
        assert log.read_text() == before

    def test_hidden_size(self, run, tmp_path):
        """A size that is not the paper's has its own number of parameters."""
        (row,) = run(tmp_path, model="srn", hidden_size=7, number_of_epochs=1)
        # 7 x (13 + 7 + 1) in the layer, (7 + 1) x 4 in the output.
        assert row["size"] == "179"

    def test_seeds(self, run, tmp_path):
        """A network depends on its own seed, and stops by its own error."""
        options = {"patience": 2, "noise_std": 1, "number_of_epochs": 8}
        many = run(tmp_path / "many", **options, seed=7, num_seeds=3)
        assert len({row["train_loss"] for row in many}) == 3
        assert len({row["epochs"] for row in many}) > 1
        for n in (0, 2):
            (one,) = run(tmp_path / str(n), **options, seed=7 + n)
            assert one["epochs"] == many[n]["epochs"]
            assert one["seed"] == many[n]["seed"]
            for column in ("train_loss", "train_error", "test_error"):
                assert float(one[column]) == pytest.approx(
                    float(many[n][column]), rel=1e-4
                )

    def test_debugging(self, run, tmp_path):
        """It leaves what came of the training, and can be done before it."""
        run(tmp_path, number_of_epochs=1, num_seeds=2)
        before = (tmp_path / "results.csv").read_bytes()
        rows = run(tmp_path, "--debug", number_of_epochs=1, num_seeds=2)
        assert len(rows) == 2
        assert (tmp_path / "results.csv").read_bytes() == before

    def test_test_only(self, run, tmp_path):
        """The networks as they were saved, without further training."""
        before = run(tmp_path, number_of_epochs=1)
        assert run(tmp_path, "--test_only", number_of_epochs=3) == before

    def test_run_options(self, run, tmp_path):
        """Mixed precision and clipping have an effect, if a small one."""
        losses = []
        for number, flags in enumerate(
            [
                [],
                ["--precision", "bf16"],
                ["--eval_precision", "bf16"],
                ["--max_grad_norm", 0.5],
            ]
        ):
            (row,) = run(tmp_path / str(number), *flags, number_of_epochs=1)
            losses.append(float(row["train_loss"]))
        assert len(set(losses)) == 4
        assert losses == pytest.approx([losses[0]] * 4, abs=0.2)

    def test_divergence(self, run, tmp_path, capsys):
        """It is counted, and leaves a table and an empty box plot."""
        rows = run(tmp_path, lr=1e38, num_seeds=2, number_of_epochs=12)
        assert [row["diverged"] for row in rows] == ["1", "1"]
        # None has ever got better, so training stops when patience is over.
        assert [row["epochs"] for row in rows] == ["5", "5"]
        log = (tmp_path / "train_log.txt").read_text()
        assert len(log.splitlines()) == 5
        assert (tmp_path / "errors.png").exists()
        # And no network that answers nothing but NaN.
        assert not (tmp_path / "pretrained").exists()
        printed = capsys.readouterr().out
        assert "|        2 |        2 |    - |" in printed


class TestOwnData:
    """Manifests that the user has written."""

    @pytest.fixture
    def write(self, tmp_path):
        """Writes one, of sounds of a quarter of a second each."""

        def write(split, *entries, rate=16000):
            folder = tmp_path / "kitchen"
            folder.mkdir(exist_ok=True)
            manifest = {}
            for n, entry in enumerate(entries):
                wav = f"{split}{n}.wav"
                samples = np.random.default_rng(n).normal(size=rate // 4)
                soundfile.write(folder / wav, samples / 10, rate)
                manifest[str(n)] = {"wav": f"{{data_root}}/{wav}", **entry}
            path = folder / f"{split}.json"
            path.write_text(json.dumps(manifest))
            return path

        return write

    @pytest.fixture
    def run_own(self, run, tmp_path, write):
        """Runs the recipe on manifests of some words."""

        def run_own(train, test, rate=16000, **options):
            paths = [
                write("train", *train, rate=rate),
                write("test", *test, rate=rate),
            ]
            before = [path.read_bytes() for path in paths]
            files = sorted(paths[0].parent.iterdir())
            try:
                return run(
                    tmp_path / "out",
                    data_folder=paths[0].parent,
                    train_annotation=paths[0],
                    test_annotation=paths[1],
                    skip_prep=True,
                    number_of_epochs=1,
                    **options,
                )
            finally:
                assert [path.read_bytes() for path in paths] == before
                assert sorted(paths[0].parent.iterdir()) == files

        return run_own

    TRAIN = (
        {"word": "Salt"},
        {"word": "tea", "start": 1000},
        {"word": "Salt", "start": 0, "stop": 1900},
    )

    def test_trained(self, run_own, tmp_path, capsys):
        """Its words are learnt, and it is called by its own name."""
        from speechbrain.inference import EncoderClassifier

        (row,) = run_own(self.TRAIN, [{"word": "tea", "stop": 900}])
        assert (row["corpus"], row["words"]) == ("kitchen/train.json", "2")
        assert (row["num_train"], row["num_test"]) == ("1.5", "0.5")
        assert "| Salt, tea |" in capsys.readouterr().out
        classifier = EncoderClassifier.from_hparams(
            str(tmp_path / "out" / "pretrained"),
            savedir=str(tmp_path / "saved"),
        )
        wav = tmp_path / "kitchen" / "train0.wav"
        *_, (word,) = classifier.classify_file(str(wav))
        assert word in ("Salt", "tea")

    def test_groups(self, recipe, write):
        """They are those of `words`, where the words are the same."""
        hparams = {
            "train_annotation": write("train", {"word": "b"}, {"word": "a"}),
            "test_annotation": write("test", {"word": "b"}),
            "words": [["b"], ["a"]],
            "sample_rate": 16000,
        }
        hparams["data_folder"] = hparams["train_annotation"].parent
        train, test, groups = recipe.train.read_words(hparams)
        assert groups == [["b"], ["a"]]
        assert (train["0"]["start"], train["0"]["stop"]) == (0, 4000)
        hparams["words"] = [["b", "c"], ["a"]]
        assert recipe.train.read_words(hparams)[2] == [["a", "b"]]

    def test_sample_rate(self, run_own, tmp_path):
        """That of the features is that of the audio."""
        run_own(self.TRAIN, [{"word": "tea"}], rate=8000, sample_rate=8000)
        written = tmp_path / "out" / "pretrained" / "hyperparams.yaml"
        assert "sample_rate: 8000" in written.read_text().splitlines()

    @pytest.mark.parametrize(
        "train, test, options, message",
        [
            ([{}], TRAIN, {}, "train.json, entry 0: expected the key word"),
            (TRAIN, [{"word": "oil"}], {}, "test.json, entry 0, word=oil: exp"),
            (TRAIN[:1], TRAIN, {}, "train.json: expected at least two words"),
            (TRAIN, TRAIN, {"rate": 8000}, "expected one channel at 16000 Hz"),
        ],
    )
    def test_refused(self, run_own, tmp_path, train, test, options, message):
        """Before training, in one sentence."""
        with pytest.raises(ValueError, match=message):
            run_own(train, test, **options)
        assert not (tmp_path / "out" / "train_log.txt").exists()

    @pytest.mark.parametrize(
        "word", ["", " ", "a\nb", "a => b", None, True, 1.5, ["yes"], {}]
    )
    def test_no_word(self, recipe, write, word):
        """What is none, or what the encoder cannot keep."""
        hparams = {
            "train_annotation": write("train", *self.TRAIN),
            "test_annotation": write("test", {"word": word}),
            "sample_rate": 16000,
        }
        hparams["data_folder"] = hparams["test_annotation"].parent
        with pytest.raises(ValueError, match=r"test.json, entry 0, word=.*: e"):
            recipe.train.read_words(hparams)

    def test_damaged(self, run_own, tmp_path):
        """What is not in the file is missed before anything is trained."""
        wav = tmp_path / "cut.flac"
        soundfile.write(wav, np.random.default_rng(0).normal(size=9000), 16000)
        wav.write_bytes(wav.read_bytes()[:9000])
        with pytest.raises(
            ValueError, match=f"^/.*json, entry 0, wav={wav}: ex"
        ):
            run_own(self.TRAIN, [{"word": "tea", "wav": str(wav)}])
        assert not list(tmp_path.rglob("begun_with.json"))

    def test_missing(self, run, tmp_path):
        """With --skip_prep alone, there is nothing to learn from."""
        path = tmp_path / "save" / "train.json"
        with pytest.raises(ValueError, match=f"^{path}: expected a manifest"):
            run(tmp_path, skip_prep=True)
        assert not (tmp_path / "synthetic_TIMIT").exists()


class TestProtocol:
    """What section 5.2 of the paper says."""

    def load(self, model, **overrides):
        """Hyperparameters."""
        with open(RECIPE / "hparams" / f"{model}.yaml") as file:
            return load_hyperpyyaml(file, overrides)

    @pytest.fixture(autouse=True)
    def elsewhere(self, recipe, tmp_path, monkeypatch):
        """The YAML files make folders where they are loaded."""
        monkeypatch.chdir(tmp_path)

    # The numbers of parameters are those that paper.md derives, without one
    # for the period of each neuron.
    @pytest.mark.parametrize(
        "model, sizes",
        [
            ("cwrnn", {10: 473, 19: 973, 40: 2500, 65: 4975, 102: 9949}),
            ("srn", {10: 515, 18: 1051, 34: 2507, 54: 5047, 84: 10357}),
            ("lstm", {5: 545, 8: 953, 17: 2609, 26: 4913, 41: 10193}),
            (
                "clockwork_ligru",
                {7: 472, 14: 1041, 28: 2545, 45: 5032, 70: 10001},
            ),
            ("gru", {5: 450, 10: 1025, 19: 2438, 31: 5078, 47: 9942}),
            ("ligru", {7: 508, 12: 973, 24: 2497, 38: 5003, 58: 9943}),
        ],
    )
    def test_sizes(self, model, sizes):
        """Hidden units, and the parameters that come of them."""
        for params, (hidden, count) in zip(
            (500, 1000, 2500, 5000, 10000), sizes.items()
        ):
            hparams = self.load(model, num_params=params)
            assert hparams["hidden_size"] == hidden
            net = hparams["model"](num_words=25)
            assert sum(p.numel() for p in net.parameters()) == count

    @pytest.mark.parametrize("model", MODELS)
    def test_hyperparameters(self, recipe, model):
        """Learning rate, momentum, initial weights, noise, words."""
        hparams = self.load(model)
        net = hparams["model"](num_words=25)
        for name, value in net.named_parameters():
            if value.numel() > 500:
                assert value.detach().std() == pytest.approx(0.1, rel=0.1), name
        assert {*map(type, net.embedding_model.children())} <= {
            ClockworkRNN,
            PeepholeLSTM,
        }
        if model == "lstm":
            assert net.embedding_model.rnn.forget_bias == 5
        else:
            periods = {"cwrnn": (1, 2, 4, 8, 16, 32, 64), "srn": (1,)}
            assert tuple(net.embedding_model.rnn.periods) == periods[model]
        options = hparams["opt_class"](net.parameters()).defaults
        assert (options["lr"], options["momentum"]) == (3e-4, 0.9)
        assert options["nesterov"]
        assert (hparams["noise_std"], hparams["patience"]) == (0.6, 5)
        assert (hparams["num_train"], hparams["num_test"]) == (5, 2)
        assert hparams["batch_size"] == 1
        assert [len(group) for group in hparams["words"]] == [5] * 5

    def test_models_differ_in_a_few_lines(self):
        """Which are the sizes, and the recurrent layer."""
        lines = {
            model: set((RECIPE / "hparams" / f"{model}.yaml").open())
            for model in ALL_MODELS
        }
        for model in ALL_MODELS[1:]:
            assert len(lines[model] - lines["cwrnn"]) <= 8

    def test_normalisation(self):
        """It starts out as one, and all else as the paper has it."""
        net = self.load("clockwork_ligru")["model"](num_words=25)
        for name, value in net.named_parameters():
            if "norm" in name:
                assert (value == float(name.endswith("weight"))).all()
            elif value.numel() > 500:
                assert value.detach().std() == pytest.approx(0.1, rel=0.1), name

    def test_features(self, recipe, run, tmp_path):
        """They are standardised over the training set, by its statistics."""
        run(tmp_path, number_of_epochs=1)
        hparams = self.load("cwrnn", output_folder=str(tmp_path), words=WORDS)
        hparams["words"] = [["making", "walking"], ["subway", "freeway"]]
        *manifests, groups = recipe.train.read_words(hparams)
        words = sum(groups, [])
        train, test = recipe.train.dataio_prep(hparams, *manifests, words)
        frames = torch.cat([item["feats"] for item in train])
        assert frames.shape[1] == 13
        assert frames.mean(0).abs().max() < 1e-4
        assert frames.std(0, correction=0) == pytest.approx(1, abs=1e-4)
        frames = torch.cat([item["feats"] for item in test])
        assert frames.mean(0).abs().max() > 1e-2


class TestBrain:
    """One step of training."""

    def make(self, recipe, num_networks=3, noise_std=0.6):
        """A brain, and a batch of two words."""
        net = partial(
            recipe.classifier.WordClassifier,
            partial(ClockworkRNN, 9),
            input_size=2,
            hidden_size=9,
            num_words=4,
        )
        networks = Ensemble(net, num_networks, seed=0)
        sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)
        brain = recipe.train.WordBrain(
            {"model": networks}, sgd, {"noise_std": noise_std}
        )
        brain.init_optimizers()
        brain.seeds = range(num_networks)
        brain.stopping = recipe.early_stopping.EarlyStopping(num_networks, 1)
        from speechbrain.dataio.batch import PaddedBatch

        items = [
            {"feats": torch.rand(T, 2), "label": torch.tensor([word])}
            for T, word in ((9, 3), (5, 1))
        ]
        return brain, PaddedBatch(items)

    def test_noise(self, recipe):
        """It is added in training only, and is another for each network."""
        brain, batch = self.make(recipe, num_networks=2)
        stage = recipe.train.sb.Stage
        seen = []
        brain.modules.model.forward = lambda feats, *args, **options: (
            seen.append(feats) or feats
        )
        for epoch, when in ((1, stage.TRAIN), (2, stage.TRAIN)) * 2:
            brain.on_stage_start(when, epoch)
            brain.compute_forward(batch, when)
        noise = torch.stack(seen) - batch.feats.data
        assert noise.std() == pytest.approx(0.6, rel=0.2)
        assert torch.equal(noise[0], noise[2])
        for other in (noise[1, 0], noise[0, 1]):
            assert (noise[0, 0] - other).abs().min() > 0
        for when in (stage.VALID, stage.TEST):
            brain.on_stage_start(when)
            brain.compute_forward(batch, when)
            assert torch.equal(seen[-1], batch.feats.data)

    def test_loss_is_of_the_last_frame(self, recipe):
        """The mean cross entropy over the words, at each one's own end."""
        brain, batch = self.make(recipe)
        stage = recipe.train.sb.Stage.VALID
        predictions = brain.compute_forward(batch, stage)
        losses = brain.compute_objectives(predictions, batch, stage)
        for n in range(3):
            net = brain.modules.model.extract(n)
            expected = 0
            for index, (T, word) in enumerate(((9, 3), (5, 1))):
                x = batch.feats.data[index : index + 1, :T]
                output, _ = net.embedding_model.rnn(x)
                logits = net.classifier[0](output[0, -1])
                expected -= logits.log_softmax(0)[word] / 2
            assert losses[n].item() == pytest.approx(expected.item(), rel=1e-4)
        assert torch.equal(brain.losses, losses)
        wrong = brain.predicted != torch.tensor([3, 1])
        assert torch.equal(brain.errors, wrong.float().mean(1))

    def test_through_networks_stand_still(self, recipe):
        """Those that have stopped keep their state, and the others do not."""
        brain, batch = self.make(recipe)
        brain.on_stage_start(recipe.train.sb.Stage.TRAIN, 1)
        brain.fit_batch(batch)
        brain.stopping.update(torch.tensor([0.5, 0.5, 0.5]), 1)
        brain.stopping.update(torch.tensor([0.4, 0.5, 0.4]), 2)
        before = [p.clone() for p in brain.modules.parameters()]
        brain.fit_batch(batch)
        changed = [
            (old != new).flatten(1).any(1)
            for old, new in zip(before, brain.modules.parameters())
        ]
        assert torch.stack(changed).any(0).tolist() == [True, False, True]


class TestEarlyStopping:
    """When networks are through."""

    def epochs(self, recipe, errors, patience):
        """The epochs that each network is trained, by errors [epochs][N]."""
        stopping = recipe.early_stopping.EarlyStopping(len(errors[0]), patience)
        for epoch, values in enumerate(errors, start=1):
            stopping.update(torch.tensor(values), epoch)
        return stopping.last_epoch.tolist()

    def test_patience(self, recipe):
        """A lower error counts, the same or none does not, and none later."""
        nan = float("nan")
        errors = [
            [0.9, 0.9, 0.9, nan],
            [0.8, 0.9, 1.0, nan],
            [0.7, 0.9, 0.8, nan],
            [0.6, 0.1, 0.9, nan],
            [0.5, 0.1, 0.9, nan],
            [0.4, 0.1, 0.7, nan],
        ]
        assert self.epochs(recipe, errors, 2) == [6, 3, 5, 2]
        assert self.epochs(recipe, errors, 3) == [6, 6, 6, 3]


class TestReport:
    """Tables and pictures of several runs."""

    def write(self, recipe, folder, model, size, errors, words=25, num_test=2):
        """Results of a run with some errors, in twentieths.

        What is no number has diverged.
        """
        diverged = np.isnan(errors)
        errors = np.nan_to_num(errors, nan=20).astype(int)
        folder.mkdir()
        groups = np.array_split([f"w{n}" for n in range(words)], 5)
        predicted = np.zeros((len(errors), 20), dtype=int)
        for network, wrong in zip(predicted, errors):
            # One for a word of another group, one for another of its own.
            network[:wrong] = [words - 1, 2, *[1] * (wrong - 2)]
        recipe.report.write_report(
            folder,
            {
                "model": model,
                "size": size,
                "corpus": "made up",
                "words": words,
                "num_train": 5,
                "num_test": num_test,
            },
            {
                "seed": range(len(errors)),
                "epochs": np.where(diverged, 100, 9),
                "train_loss": np.where(diverged, np.nan, 0.5),
                "train_error": np.where(diverged, 1, 0.25),
                "test_error": errors / 20,
                "diverged": diverged.astype(int),
            },
            word_groups=[list(map(str, group)) for group in groups],
            heard=[0] * 20,
            predicted=predicted,
        )
        return folder

    def test_table(self, recipe, tmp_path, capsys):
        """One row per run, with the paper's numbers for its 25 words."""
        nan = np.nan
        errors = [4, 6, 8, nan, nan, nan, nan]
        runs = [
            self.write(recipe, tmp_path / "a", "lstm", 2500, errors),
            self.write(recipe, tmp_path / "b", "cwrnn", 2500, [5]),
            self.write(recipe, tmp_path / "c", "srn", 500, [5], words=15),
            self.write(recipe, tmp_path / "d", "cwrnn", 2500, [7]),
            self.write(recipe, tmp_path / "e", "cwrnn", 2500, [8], num_test=3),
            self.write(recipe, tmp_path / "f", "srn", 1000, [nan]),
        ]
        printed = capsys.readouterr().out
        assert " | w0 for w1 (12); w0 for w2 (3) |" in printed
        assert "| w0, w1, w2, w3, w4      |      25.0 |        5.0 |" in printed
        recipe.report.print_runs(runs)
        table = capsys.readouterr().out.splitlines()[3:]
        cells = [[c.strip() for c in line.split("|")[1:-1]] for line in table]
        # Of the statistics only the number, the diverged and the mean.
        assert [", ".join([*row[1:7], *row[11:]]) for row in cells] == [
            "srn 500, made up, 15 x (5 + 2), 1, 0, 25.0, 25.0, 9, -",
            "srn 1000, made up, 25 x (5 + 2), 1, 1, -, -, -, 74 [70, 78]",
            "cwrnn 2500, made up, 25 x (5 + 2), 1, 0, 25.0, 25.0, 9, "
            "28 [24, 30]",
            "cwrnn 2500, made up, 25 x (5 + 2), 1, 0, 35.0, 25.0, 9, "
            "28 [24, 30]",
            "cwrnn 2500, made up, 25 x (5 + 3), 1, 0, 40.0, 25.0, 9, -",
            "lstm 2500, made up, 25 x (5 + 2), 7, 4, 30.0, 25.0, 9, "
            "43 [38, 48.5]",
        ]
        folders = [str(tmp_path / name) for name in "cfbdea"]
        assert [row[0] for row in cells] == folders
        assert cells[5][6:11] == ["30.0", "10.0", "30.0", "25.0", "35.0"]

    def test_boxes(self, recipe, tmp_path, monkeypatch):
        """Ours and the paper's, side by side."""
        runs = [
            self.write(recipe, tmp_path / "a", "lstm", 2500, [4, 6, 8]),
            self.write(recipe, tmp_path / "b", "cwrnn", 500, [5], words=10),
            self.write(recipe, tmp_path / "c", "srn", 500, [np.nan], words=10),
        ]
        drawn = {}
        monkeypatch.setattr(
            recipe.report,
            "save_figure",
            lambda figure, path: drawn.update(axes=figure.axes[0], path=path),
        )
        recipe.report.draw_errors("errors.png", runs)
        labels = [text.get_text() for text in drawn["axes"].get_xticklabels()]
        lost = "srn\n500\nn = 0\n1 diverged"
        ours = ["cwrnn\n500\nn = 1", lost, "lstm\n2500\nn = 3"]
        assert labels == [*ours, "paper:\nquartiles\nalone"]
        assert drawn["axes"].get_title() == "made up"
        medians = [
            line.get_ydata()[0]
            for line in drawn["axes"].lines
            if line.get_color() == "C1"
        ]
        assert medians == pytest.approx([25, np.nan, 30, 43], nan_ok=True)


class TestBadInput:
    """One sentence each."""

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"num_params": 7}, "num_params=7: expected one of"),
            ({"patience": 0}, "patience=0: expected an integer from 1"),
            ({"noise_std": -1}, "noise_std=-1: expected a number from 0"),
            ({"words": "[a, a]"}, "words: expected each word once"),
            (
                {"words": "x"},
                "words=x: expected a list of words, lists of them, or sa",
            ),
            ({"input_size": 14}, "input_size=14: expected the 13 features"),
            ({"input_size": 12}, "input_size=12: expected the 13 features"),
            ({"hidden_size": 3}, "hidden_size=3: expected at least one unit"),
            ({"rnn_class": "{hidden_size: 7}"}, "^model: expected what works"),
            ({"rnn_class": "!name:torch.nn.RNN"}, "^rnn_class: .*TypeError: "),
            (
                {"normalize": "!new:torch.nn.Identity"},
                "^normalize=!new:torch.nn.Identity: expected a speechbrain.",
            ),
            (
                {"normalize": "{norm_type: nope}"},
                "^normalize=.*InputNormalization: .*ValueError: norm_type mus",
            ),
            ({"normalize": "{epsilon: x}"}, "^normalize: .*TypeError"),
            ({"label_encoder": "!new:torch.nn.Identity"}, "^label_encoder=!ne"),
            (
                {"compute_features": FBANK},
                "^compute_features: .* 13 of 13 do n",
            ),
            (
                {"compute_features": "!new:torch.nn.Identity"},
                "^compute_features: expected what works",
            ),
            ({"opt_class": "!name:torch.optim.LBFGS"}, "^opt_class: .*closur"),
            (
                {"opt_class": "!name:torch.optim.SparseAdam"},
                "^opt_class: .*dense gradients",
            ),
            ({"num_seeds": 16384, "hidden_size": 1500}, "^num_seeds=16384: "),
            (
                {"sample_rate": 1},
                "sample_rate=1: expected an integer from",
            ),
            ({"words": "[making, xylophone]"}, "found xylophone 0"),
            ({"data_folder": "/nowhere"}, "data_folder=/nowhere: expected"),
            ({"output_folder": "/dev/null/x"}, "output_folder=.*: expected"),
        ],
    )
    def test_options(self, run, tmp_path, options, message):
        """What was given, and what was expected."""
        with pytest.raises(ValueError, match=message):
            run(tmp_path, **options)
        assert not list(tmp_path.rglob("*.json"))

    @pytest.mark.parametrize(
        "model, message",
        [
            ("!name:torch.nn.RNN", "TypeError: .*'num_words'"),
            ("!name:torch.nn.Linear", "TypeError: .*'num_words'"),
            ("!name:torch.nn.Identity", "ValueError: "),
            ("{hidden_size: 3}", "RuntimeError: "),
        ],
    )
    def test_model(self, run, tmp_path, model, message):
        """It is tried before anything is written."""
        with pytest.raises(ValueError, match=f"^model: .*{message}"):
            run(tmp_path, "--model", model)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "more, message",
        [(1, r"shape \[1, 3\] for one word of two"), (0, "NoneType")],
    )
    def test_call(self, recipe, tmp_path, more, message):
        """There is an output for each word; a single word has no lengths."""

        class Model(torch.nn.Linear):
            def __init__(self, num_words):
                super().__init__(13, num_words + more)

            def forward(self, feats, lengths):
                output = super().forward(feats).mean(1)
                return output if more else output * lengths.view(-1, 1)

        hparams = load_hparams(
            RECIPE / "hparams" / "cwrnn.yaml",
            f"output_folder: {tmp_path}",
            recipe.train.WordOptions,
        )
        with pytest.raises(InputError, match=f"^model: .*{message}"):
            recipe.train.check({**hparams, "model": Model}, None)

    def test_normalized_to_nan(self, run, tmp_path, monkeypatch):
        """It would be called diverged networks."""
        monkeypatch.setattr(
            "speechbrain.processing.features.InputNormalization.forward",
            lambda self, x: x * float("nan"),
        )
        with pytest.raises(ValueError, match="^normalize: expected finite nu"):
            run(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_run_options(self, run, tmp_path):
        """Those of SpeechBrain, before anything is written."""
        with pytest.raises(ValueError, match="jit=True: expected False"):
            run(tmp_path, "--jit")
        assert not list(tmp_path.rglob("*.json"))

    def test_other_options_in_the_folder(self, run, tmp_path):
        """What is there is not overwritten, nor reported as something else."""
        run(tmp_path, number_of_epochs=1)
        before = (tmp_path / "results.csv").read_bytes()
        for option, value in {
            "num_params": 500,
            "seed": 7,
            "patience": 9,
            "data_seed": 1,
            "words": "[making, walking]",
        }.items():
            with pytest.raises(
                ValueError, match=f"a run with another {option}"
            ):
                run(tmp_path, **{option: value})
        assert (tmp_path / "results.csv").read_bytes() == before

    def test_other_data_in_the_folder(self, run, synthetic_timit, tmp_path):
        """Nor does training go on with them."""
        run(tmp_path, number_of_epochs=1)
        before = (tmp_path / "save" / "train.json").read_bytes()
        with pytest.raises(ValueError, match="trained with other data"):
            run(tmp_path, data_folder=synthetic_timit.parent)
        assert (tmp_path / "save" / "train.json").read_bytes() == before
