"""The AudioGen recipe: its targets, its training, and what it writes."""

import doctest
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import speechbrain as sb
import torch
from helpers import RECIPES, killed_at, read_csv, recipe_modules, run_recipe

import speechbrain_cwrnn
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams

RECIPE = RECIPES / "AudioGen"
MODULES = ("audiogen_prepare", "generator", "report", "train")


@pytest.fixture
def recipe():
    """The modules of the recipe."""
    with recipe_modules("AudioGen", *MODULES) as modules:
        yield modules


@pytest.fixture
def sines(tmp_path):
    """A CSV file with two targets of 40 samples."""
    t = np.arange(40)
    path = tmp_path / "sines.csv"
    rows = zip(np.sin(t / 5), 3 + np.cos(t / 3))
    lines = ["slow,fast", *(f"{a},{b}" for a, b in rows)]
    path.write_text("\n".join(lines))
    return path


def run(recipe, hparams, *options):
    """Run train.py as from the command line."""
    run_recipe(recipe, RECIPE / "hparams" / hparams, *options)


def results(folder):
    """The rows of results.csv."""
    return read_csv(folder / "results.csv")


@pytest.mark.slow
def test_docstrings(recipe):
    """Their examples run."""
    tried = 0
    for module in vars(recipe).values():
        failures, attempted = doctest.testmod(module)
        assert not failures, module
        tried += attempted
    assert tried >= 2


def test_best_epoch(recipe):
    """The lowest of all, whatever comes later."""
    lowest = recipe.train.LowestErrors(3)
    for errors in ([0.5, 0.5, 0.5], [0.4, np.nan, 0.6], [0.7, np.inf, 0.3]):
        lowest.update(torch.tensor(errors))
    assert lowest.nmse.tolist() == pytest.approx([0.4, 0.5, 0.3])


@pytest.mark.slow
class TestTraining:
    """From the command line to the results."""

    @pytest.mark.parametrize(
        "model, allowed", [("cwrnn", 0.05), ("srn", 0.46), ("lstm", 0.3)]
    )
    def test_learns(self, recipe, sines, tmp_path, capsys, model, allowed):
        """Each model fits short waves as well as it can, which is not at all
        well without slow groups, and writes all that it should."""
        folder = tmp_path / "out"
        options = ["--targets", sines, "--output_folder", folder]
        options += ["--hidden_size", 12, "--num_seeds", 2, "--lr", 0.002]
        run(recipe, f"{model}.yaml", *options, "--number_of_epochs", 250)
        rows = results(folder)
        assert [row["target"] for row in rows] == ["slow", "fast"] * 2
        assert [int(row["seed"]) for row in rows] == [1234, 1235, 1236, 1237]
        assert all(row["diverged"] == "0" for row in rows)
        # A hidden size of 12 is none of the paper's.
        params = {"cwrnn": 106, "srn": 169, "lstm": 673}[model]
        assert list(rows[0].items())[:5] == [
            ("model", model),
            ("size", str(params)),
            ("seed", "1234"),
            ("corpus", "sines.csv"),
            ("version", speechbrain_cwrnn.__version__),
        ]
        assert all(float(r["best_nmse"]) <= float(r["nmse"]) for r in rows)
        # Predicting the mean gives 0.5.
        assert min(float(row["nmse"]) for row in rows) < allowed

        for name in ("slow", "fast"):
            target, rate = soundfile.read(folder / f"target_{name}.wav")
            generated, _ = soundfile.read(folder / f"generated_{name}.wav")
            assert rate == 44100 and len(target) == len(generated) == 40
            assert (target.min(), target.max()) == pytest.approx(
                (-1, 1), abs=1e-3
            )
            error = np.square(generated - target)
            nmse = error.sum() / np.square(target - target.mean()).sum() / 2
            of_target = [row for row in rows if row["target"] == name]
            best = min(of_target, key=lambda row: float(row["nmse"]))
            # The WAV files have 16 bits; what exceeds [-1, 1] is clipped, and
            # a little closer to the target for it.
            for measured, column in ((nmse, "nmse"), (error.mean(), "mse")):
                exact = float(best[column])
                assert 0.6 * exact - 1e-4 < measured < 1.02 * exact + 1e-4
        for picture in ("generated.png", "nmse.png"):
            assert (folder / picture).read_bytes().startswith(b"\x89PNG")
        assert not list(folder.rglob(".partial*"))
        printed = capsys.readouterr().out
        engine = "PyTorch" if model == "lstm" else "stepwise"
        assert "4 networks of" in printed and f"engine: {engine}" in printed
        assert "| slow   |        2 |        0 |" in printed

    @pytest.mark.parametrize("model", ["cwrnn", "srn", "lstm"])
    def test_defaults(self, recipe, tmp_path, monkeypatch, model):
        """Without any option, but for the time that it takes."""
        monkeypatch.chdir(tmp_path)
        run(recipe, f"{model}.yaml", "--number_of_epochs", 2)
        rows = results(tmp_path / "results" / f"{model}_1000x5" / "1234")
        targets = [f"target{n}" for n in range(1, 6)]
        assert [row["target"] for row in rows] == 5 * targets
        assert {row["size"] for row in rows} == {"1000"}
        assert {row["corpus"] for row in rows} == {"tune"}

    def test_debugging(self, recipe, tmp_path, sines):
        """It leaves no results, and disturbs none."""
        options = ["--targets", sines, "--output_folder", tmp_path, "--debug"]
        run(recipe, "cwrnn.yaml", *options)
        assert not (tmp_path / "results.csv").exists()

    @pytest.mark.parametrize("model", ["cwrnn", "lstm"])
    def test_run_options(self, recipe, sines, tmp_path, model):
        """Mixed precision and clipping have an effect, if a small one."""
        errors = []
        for number, flags in enumerate(
            [
                [],
                ["--precision", "bf16"],
                ["--eval_precision", "bf16"],
                ["--max_grad_norm", 0.5],
            ]
        ):
            folder = tmp_path / str(number)
            options = ["--targets", sines, "--output_folder", folder, *flags]
            run(recipe, f"{model}.yaml", *options, "--number_of_epochs", 9)
            errors.append(float(results(folder)[0]["nmse"]))
        assert len(set(errors)) == 4
        assert errors == pytest.approx([errors[0]] * 4, abs=0.1)

    @pytest.mark.parametrize("model", ["cwrnn", "lstm", "srn"])
    @pytest.mark.parametrize(
        ("flags", "norm"),
        [
            ([], 30.0),
            (["--protocol", "paper"], -1),
            (["--protocol", "paper", "--max_grad_norm", 0.5], 0.5),
        ],
    )
    def test_protocol(
        self, recipe, sines, tmp_path, monkeypatch, model, flags, norm
    ):
        """Gradients are clipped unless it is the paper's; or as is said."""

        def fit(brain, *args, **options):
            raise InputError(f"clipped at {brain.max_grad_norm}")

        monkeypatch.setattr(recipe.train.GeneratorBrain, "fit", fit)
        options = ["--targets", sines, "--output_folder", tmp_path, *flags]
        with pytest.raises(InputError, match=f"^clipped at {norm}$"):
            run(recipe, f"{model}.yaml", *options)

    def test_all_diverge(self, recipe, sines, tmp_path):
        """Then there is nothing left to train."""
        options = ["--targets", sines, "--output_folder", tmp_path]
        options += ["--diverged_mse", 0, "--number_of_epochs", 9]
        run(recipe, "cwrnn.yaml", *options)
        assert {row["diverged"] for row in results(tmp_path)} == {"1"}
        # Nor is anything left to do for the same command.
        for _ in range(2):
            log = (tmp_path / "train_log.txt").read_text()
            assert [line.split()[1] for line in log.splitlines()] == ["1"]
            run(recipe, "cwrnn.yaml", *options)

    def test_resumes(self, recipe, sines, tmp_path):
        """A run that was interrupted gives what one without a break gives."""
        options = ["--targets", sines, "--hidden_size", 9]
        options += ["--checkpoint_interval", 10]
        options += ["--number_of_epochs", 30]
        for folder, kills in (("whole", []), ("broken", [0, 4, 4])):
            arguments = [*options, "--output_folder", tmp_path / folder]
            for call in kills:
                with killed_at(torch, "save", call):
                    run(recipe, "cwrnn.yaml", *arguments)
            run(recipe, "cwrnn.yaml", *arguments)
        assert results(tmp_path / "whole") == results(tmp_path / "broken")
        log = (tmp_path / "broken" / "train_log.txt").read_text()
        assert [line.split()[1] for line in log.splitlines()] == [
            "10",
            "20",
            "30",
        ]

    def test_seeds(self, recipe, sines, tmp_path):
        """A network depends on its own seed and target, and on no other."""

        def train(seed, num_seeds):
            folder = tmp_path / f"{seed}x{num_seeds}"
            options = ["--targets", sines, "--output_folder", folder]
            options += ["--hidden_size", 9, "--number_of_epochs", 5]
            options += ["--seed", seed, "--num_seeds", num_seeds]
            run(recipe, "cwrnn.yaml", *options)
            return results(folder)

        many = train(7, num_seeds=3)
        assert len({row["nmse"] for row in many}) == len(many) == 6
        for start in (0, 2):
            for a, b in zip(train(7 + start, num_seeds=1), many[start:]):
                assert (a["seed"], a["target"]) == (b["seed"], b["target"])
                assert float(a["nmse"]) == pytest.approx(
                    float(b["nmse"]), rel=1e-5
                )

    @pytest.mark.parametrize("size", [1e3, 1e30])
    def test_diverged_networks_disturb_no_other(self, recipe, size):
        """They stand still, keep no momentum, and are counted."""
        from functools import partial

        from speechbrain_cwrnn import ClockworkRNN, Ensemble

        def make_brain():
            rnn = partial(ClockworkRNN, 9)
            net = Ensemble(partial(recipe.generator.Generator, rnn), 3, seed=0)
            sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
            brain = recipe.train.GeneratorBrain(
                {"model": net}, sgd, {"diverged_mse": 100}
            )
            brain.init_optimizers()
            return brain

        target = torch.sin(torch.arange(30) / 4).expand(1, -1)
        batch = SimpleNamespace(target=SimpleNamespace(data=target))
        alone, brain = make_brain(), make_brain()
        for step in range(8):
            alone.fit_batch(batch)
            if step == 4:
                with torch.no_grad():
                    brain.modules.model.module.linear.weight[1] = size
                frozen = brain.modules.model.extract(1).state_dict()
            brain.fit_batch(batch)
        assert brain.through().tolist() == [False, True, False]
        for n in (0, 2):
            actual = brain.modules.model.extract(n).state_dict()
            expected = alone.modules.model.extract(n).state_dict()
            for name, value in expected.items():
                assert torch.equal(actual[name], value), name
        still = brain.modules.model.extract(1).state_dict()
        for name, value in frozen.items():
            assert torch.equal(still[name], value), name

    def test_report_of_diverged_networks(self, recipe, tmp_path, capsys):
        """They are left out of the statistics, and of the pictures."""
        folder = tmp_path
        waves = np.random.rand(4, 5)

        def write(diverged):
            networks = {
                "seed": range(7, 11),
                "target": ["a", "b c", "a", "b c"],
                "nmse": np.array([0.1, np.nan, 0.3, 1e5]),
                "mse": np.zeros(4),
                "diverged": diverged,
            }
            run = {"model": "lstm", "size": 250, "corpus": "made up"}
            items = dict.fromkeys(["a", "b c"], {"sample_rate": 8000})
            recipe.report.write_report(
                folder, run, items, networks, waves, waves
            )
            return capsys.readouterr().out

        printed = write([0, 1, 0, 1])
        assert [row["diverged"] for row in results(folder)] == list("0101")
        assert (folder / "generated_a.wav").exists()
        assert (folder / "target_b c.wav").exists()
        assert not (folder / "generated_b c.wav").exists()
        assert "| a      |        2 |        0 | 0.2000 | 0.1414 |" in printed
        assert "| b c    |        2 |        2 |      - |" in printed
        assert "| all    |        4 |        2 | 0.2000 |" in printed
        assert "results.csv, generated.png, nmse.png and waveforms" in printed
        assert "| all    |        4 |        4 |    - |" in write([1, 1, 1, 1])
        write([0, 1, 0, 1])
        recipe.report.print_runs([folder])
        (row,) = capsys.readouterr().out.splitlines()[3:]
        assert row.startswith(f"| {folder} | lstm 250 | made up |        4 | ")
        assert row.endswith("| 0.0495 [0.036, 0.066] |")

    def test_protocol_of_the_paper(self, recipe):
        """The defaults are those of section 5.1 and Table 1."""
        from hyperpyyaml import load_hyperpyyaml

        sizes = {
            "cwrnn": {100: 11, 250: 19, 500: 27, 1000: 40},
            "srn": {100: 9, 250: 15, 500: 22, 1000: 31},
            "lstm": {100: 4, 250: 7, 500: 10, 1000: 15},
        }
        for model, table in sizes.items():
            for params, size in table.items():
                with open(RECIPE / "hparams" / f"{model}.yaml") as file:
                    hparams = load_hyperpyyaml(file, {"num_params": params})
                assert hparams["hidden_size"] == size
                net = hparams["model"]()
                count = sum(p.numel() for p in net.parameters())
                periods = size if model == "cwrnn" else 0
                assert abs(count + periods - params) < 0.06 * params
                values = torch.cat([p.flatten() for p in net.parameters()])
                assert 0.08 < values.std() < 0.12
            optimizer = hparams["opt_class"](net.parameters())
            (group,) = optimizer.param_groups
            assert group["lr"] == (3e-5 if model == "lstm" else 3e-4)
            assert group["momentum"] == 0.95 and group["nesterov"]
            assert hparams["number_of_epochs"] == 2000
            if model == "lstm":
                assert net.rnn.forget_bias == 5
            else:
                exponential = tuple(2**i for i in range(9))
                expected = exponential if model == "cwrnn" else (1,)
                assert net.rnn.periods == expected

    def test_loss_is_half_the_sum(self, recipe):
        """Not the mean: the learning rates of the paper are for the sum."""
        brain = recipe.train.GeneratorBrain({"model": torch.nn.Module()})
        batch = SimpleNamespace(
            target=SimpleNamespace(data=torch.tensor([[1.0, -1.0, 0.0]]))
        )
        outputs = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]])
        loss = brain.compute_objectives(outputs, batch, sb.Stage.TRAIN)
        assert loss.tolist() == [1, 2]
        nmse, mse = brain.errors()
        # A constant mean has half; pylstm's error is half of the usual one.
        assert nmse.tolist() == [0.5, 1.0]
        assert mse.tolist() == pytest.approx([2 / 3, 4 / 3])


def test_engine(recipe):
    """It is told for networks with a sequence each, in which that is another
    one than with all sequences in a single network."""
    network = speechbrain_cwrnn.ClockworkRNN(31, input_size=0, periods=[1])
    assert recipe.train.find_engine(network, 999, 999) == "stepwise"
    assert network.engine(999, 999) == "cpu"


@pytest.mark.parametrize(
    "last, title, top",
    [
        (0.02, "6 networks, 1 diverged", 0.1),
        (30, "6 networks, 1 diverged, 1 not shown (above 1)", 1),
    ],
)
def test_boxes(recipe, tmp_path, monkeypatch, last, title, top):
    """One that is far off does not hide the others, and is counted."""
    drawn = {}
    monkeypatch.setattr(
        recipe.report,
        "save_figure",
        lambda figure, path: drawn.update(axes=figure.axes[0]),
    )
    nmse = np.array([0.01, 0.01, 0.03, 0.02, np.nan, last])
    names = np.array(["a", "b"] * 3)
    items = dict.fromkeys(["a", "b"])
    recipe.report.draw_errors(tmp_path / "nmse.png", items, names, nmse)
    assert drawn["axes"].get_title() == title
    assert drawn["axes"].get_ylim()[1] <= top


class TestTargets:
    """What the networks are to learn."""

    def excerpts(self, recipe, tmp_path, **options):
        """The targets of the data set, by name."""
        manifest = tmp_path / "save" / "manifest.json"
        prepare = recipe.audiogen_prepare.prepare_audiogen
        prepare(manifest, manifest.parent, **options)
        targets = recipe.audiogen_prepare.read_targets(manifest)
        dataset = recipe.train.dataio_prep(targets)
        return {item["id"]: item["target"] for item in dataset}

    def test_tune(self, recipe, tmp_path):
        """Several partials, attack and decay; five excerpts of 320 samples."""
        targets = self.excerpts(recipe, tmp_path)
        assert list(targets) == [f"target{n}" for n in range(1, 6)]
        for target in targets.values():
            assert target.shape == (320,)
            assert (target.min(), target.max()) == (-1, 1)
        samples, rate = recipe.audiogen_prepare.tune()
        assert rate == 44100 and np.abs(samples).max() == 1
        spectrum = np.abs(np.fft.rfft(samples[: rate // 4])) ** 2
        assert np.sort(spectrum)[-50:].sum() < 0.99 * spectrum.sum()
        first = np.abs(samples[: rate // 4])
        assert first[:20].max() < 0.2 * first.max()
        assert first[-2000:].max() < 0.6 * first.max()

    @pytest.mark.parametrize(
        "name, rate", [("a.wav", 8000), ("b.flac", 22050), ("c.ogg", 48000)]
    )
    def test_recording(self, recipe, tmp_path, name, rate):
        """Formats, rates and channels; excerpts spread after the offset."""
        path = tmp_path / name
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (rate, 2))
        soundfile.write(path, samples, rate)
        stored, _ = soundfile.read(path)
        options = {"num_excerpts": 3, "excerpt_seconds": 0.01, "offset": 0.4}
        targets = self.excerpts(recipe, tmp_path, audio=str(path), **options)
        length = round(rate * 0.01)
        for n, target in enumerate(targets.values()):
            start = round(0.4 * rate) + n * ((rate - round(0.4 * rate)) // 3)
            expected = stored[start : start + length].mean(1)
            expected = 2 * (expected - expected.min()) / np.ptp(expected) - 1
            np.testing.assert_allclose(target, expected, atol=2e-3)

    def test_csv(self, recipe, tmp_path, sines):
        """Columns, by their names, scaled."""
        targets = self.excerpts(recipe, tmp_path, targets=str(sines))
        assert list(targets) == ["slow", "fast"]
        wave = np.cos(np.arange(40) / 3)
        expected = 2 * (wave - wave.min()) / np.ptp(wave) - 1
        np.testing.assert_allclose(targets["fast"], expected, atol=1e-5)

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfa,b\n1,2\n-0.5,4\n",
            b"a,b\r\n\r\n1,2\r\n-0.5,4\r\n,\r\n",
            b"a;b\n1,0;2\n-0,5;4e0\n",
            b" a\tb \n 1\t 2 \n-.5\t4",
            b'"a","b"\n"1","2"\n"-5e-1","4"\n',
        ],
    )
    def test_kinds_of_csv(self, recipe, tmp_path, content):
        """As spreadsheets write them."""
        path = tmp_path / "a.csv"
        path.write_bytes(content)
        sequences = recipe.audiogen_prepare.read_sequences(path)
        assert list(sequences) == ["a", "b"]
        assert sequences["a"].tolist() == [1, -0.5]
        assert sequences["b"].tolist() == [2, 4]
        assert sequences["b"].dtype == np.float32

    @pytest.mark.parametrize(
        "name", ["br{ace}.wav", "{data_root}.wav", "take #2: a.wav", "-é'.mp3"]
    )
    def test_excerpts_are_kept(self, recipe, tmp_path, capsys, name):
        """What was cut is trained on, and the recording needed no more."""
        path = tmp_path / name
        kind = {} if name.endswith("3") else {"subtype": "GSM610"}
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
        soundfile.write(path, noise, 8000, **kind)
        first = self.excerpts(recipe, tmp_path, audio=str(path))
        wavs = sorted((tmp_path / "save" / "targets").iterdir())
        assert [wav.name for wav in wavs] == [
            f"target{n}.wav" for n in range(1, 6)
        ]
        assert {soundfile.info(wav).subtype for wav in wavs} == {"FLOAT"}
        path.unlink()
        options = {"audio": str(path), "in_use": True}
        again = self.excerpts(recipe, tmp_path, **options)
        assert all(torch.equal(again[name], first[name]) for name in first)
        assert f"{path} is gone: training goes on" in capsys.readouterr().out
        for other in ({"in_use": False}, {"audio": "other.wav"}):
            with pytest.raises(ValueError, match=r"audio=.*: expected a file"):
                self.excerpts(recipe, tmp_path, **{**options, **other})

    @pytest.mark.slow
    def test_goes_on_without_the_recording(self, recipe, tmp_path):
        """A run that has begun with it does."""
        path = tmp_path / "a.wav"
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
        soundfile.write(path, noise, 8000)
        options = ["--audio", path, "--output_folder", tmp_path / "out"]
        options += ["--num_seeds", 1, "--num_params", 100]
        for epochs in (1, 2):
            run(recipe, "cwrnn.yaml", *options, "--number_of_epochs", epochs)
            path.unlink(missing_ok=True)
        log = (tmp_path / "out" / "train_log.txt").read_text()
        assert [line.split()[1] for line in log.splitlines()] == ["1", "2"]


class TestOwnData:
    """A manifest that the user has written."""

    @pytest.fixture
    def write(self, tmp_path):
        """Writes one, of recordings in two channels with a silent start."""

        def write(**entries):
            for name in entries:
                samples = np.random.default_rng(0).uniform(-0.5, 0.5, (90, 2))
                samples[:10] = 0
                soundfile.write(tmp_path / f"{name}.wav", samples, 8000)
                entries[name] = {
                    "wav": str(tmp_path / f"{name}.wav"),
                    **entries[name],
                }
            path = tmp_path / "kitchen" / "mine.json"
            path.parent.mkdir()
            path.write_text(json.dumps(entries))
            return path

        return write

    def test_trained(self, recipe, tmp_path, write):
        """It is what the networks learn, is kept, and is called by its name."""
        path = write(a={"start": 0, "stop": 90}, b={})
        before = path.read_bytes()
        options = ["--train_annotation", path, "--skip_prep", True]
        options += ["--output_folder", tmp_path / "out", "--num_seeds", 1]
        run(recipe, "cwrnn.yaml", *options, "--number_of_epochs", 1)
        rows = results(tmp_path / "out")
        assert [row["target"] for row in rows] == ["a", "b"]
        assert {row["corpus"] for row in rows} == {"kitchen/mine.json"}
        assert soundfile.info(tmp_path / "out" / "target_b.wav").frames == 90
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]
        assert not (tmp_path / "out" / "save" / "targets").exists()

    def test_changed(self, recipe, tmp_path, write):
        """What was learnt is not what an entry of the same name has later."""
        path = write(a={"stop": 50}, b={"stop": 50})
        options = ["--train_annotation", path, "--skip_prep", True]
        options += ["--output_folder", tmp_path / "out", "--num_seeds", 1]
        run(recipe, "cwrnn.yaml", *options, "--number_of_epochs", 1)
        entries = json.loads(path.read_text())
        entries["b"] |= {"start": 40, "stop": 90}
        path.write_text(json.dumps(entries))
        with pytest.raises(ValueError, match="holds a run with other data"):
            run(recipe, "cwrnn.yaml", *options, "--number_of_epochs", 2)

    def test_kept(self, recipe, tmp_path, write):
        """Even where the recipe is asked to prepare data."""
        path = write(a={})
        before = path.read_bytes()
        options = ["--train_annotation", path]
        options += ["--output_folder", tmp_path / "out"]
        with pytest.raises(ValueError, match=f"^{path} describes other tar"):
            run(recipe, "cwrnn.yaml", *options)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "entry, message",
        [
            ({"stop": 89}, "b, start=0, stop=89: expected as many samples as"),
            ({"start": 5, "stop": 91}, "b, start=5, stop=91: expected samples"),
            ({"wav": "none.wav"}, "b, wav=none.wav: expected a file"),
        ],
    )
    def test_refused(self, recipe, write, entry, message):
        """Before training."""
        path = write(a={}, b=entry)
        with pytest.raises(ValueError, match=f"^{path}, entry {message}"):
            recipe.audiogen_prepare.read_targets(path)

    @pytest.mark.parametrize("name", ["../x", "/tmp/x", "a\nb", "", ".", "A"])
    def test_names(self, recipe, write, name):
        """Those that are no names of files, or of one on some systems."""
        path = write(a={})
        entries = json.loads(path.read_text())
        path.write_text(json.dumps(entries | {name: entries["a"]}))
        with pytest.raises(ValueError, match=f"^{path}, entry '.*': expected"):
            recipe.audiogen_prepare.read_targets(path)

    def test_not_finite(self, recipe, write):
        """What is not finite is named."""
        path = write(a={})
        wav = json.loads(path.read_text())["a"]["wav"]
        soundfile.write(wav, [0, np.nan, 1], 8000, subtype="FLOAT")
        with pytest.raises(ValueError, match=f"a, wav={wav}: .* got nan at"):
            recipe.audiogen_prepare.read_targets(path)

    def test_silence(self, recipe, write):
        """No error relative to it is defined."""
        path = write(a={"stop": 10})
        with pytest.raises(ValueError, match=f"^{path}, entry a: expected sou"):
            recipe.audiogen_prepare.read_targets(path)


class TestBadInput:
    """One clear sentence, and nothing half-written."""

    @pytest.fixture
    def refused(self, recipe, tmp_path):
        """Checks that options are refused, and leaves nothing behind."""

        def check(message, **options):
            folder = tmp_path / "out" / "save"
            with pytest.raises(ValueError, match=message):
                recipe.audiogen_prepare.prepare_audiogen(
                    folder / "manifest.json", folder, **options
                )
            assert not folder.parent.exists()

        return check

    def test_audio(self, refused, tmp_path):
        """Files that are not what they should be."""
        missing = str(tmp_path / "missing.wav")
        refused(
            "missing.wav: expected a file, and there is none", audio=missing
        )
        text = tmp_path / "text.wav"
        text.write_text("not audio")
        refused("text.wav: expected audio that", audio=str(text))
        nothing = tmp_path / "nothing.wav"
        nothing.touch()
        refused("nothing.wav: expected audio", audio=str(nothing))
        empty = tmp_path / "empty.wav"
        soundfile.write(empty, np.zeros(0), 8000)
        refused("empty.wav: .* it is empty", audio=str(empty))
        silent = tmp_path / "silent.wav"
        soundfile.write(silent, np.zeros(8000), 8000)
        refused("from 0 to 0.00725 s .*: expected sound", audio=str(silent))
        short = tmp_path / "short.wav"
        soundfile.write(short, np.random.rand(100), 8000)
        refused("short.wav is 0.0125 s long: .*_excerpts=5", audio=str(short))
        refused("expected one of them at most", audio="a", targets="b")

    @pytest.mark.parametrize(
        "options",
        [{"num_excerpts": 0}, {"excerpt_seconds": 0.0}, {"offset": -1.0}],
    )
    def test_excerpts(self, refused, options):
        """Numbers out of range, and offsets past the end."""
        ((name, value),) = options.items()
        refused(f"{name}={value}.*: expected at least one excerpt", **options)
        refused("the tune is 2.5 s long", offset=3.0)

    @pytest.mark.parametrize(
        "text, message",
        [
            (
                "a,b\n1,2\n3,x\n",
                "line 3, column b: .*a finite number, .*got 'x'",
            ),
            ("a,b\n1,2\nnan,4\n", "line 3, column a: .*got 'nan'"),
            ("a,b\n1,2\n,4\n", "line 3, column a: .*got ''"),
            ("a,b\n1,2\n3\n", "line 3: expected 2 numbers, got 1"),
            ("a,b\n1,2\n1e39,4\n", "line 3, column a: .*got '1e39'"),
            ("a,b\n1e9,2\n1000000001,4\n", "column a: .* it is constant"),
            ("a,a\n1,2\n3,4\n", "expected different names"),
            ("a,A\n1,2\n3,4\n", "column 'A': expected another name"),
            ("a,\n1,2\n3,4\n", "column '': expected a name that"),
            ("a,../x\n1,2\n3,4\n", "column '../x': expected a name that"),
            ("1,2\n3,4\n5,6\n7,8\n", "expected names in the first row"),
            ("a,b\n0,5,0,7\n0,5,1,0\n", "line 2: expected 2 numbers, got 4"),
            ("a,b\n1,2\n1,4\n", "column a: expected sound, it is constant"),
            ("a,b\n", "expected a row of names and at least two"),
            ("", "expected a row of names and at least two"),
        ],
    )
    def test_csv(self, refused, tmp_path, text, message):
        """Text, NaN, holes, and columns that are constant."""
        path = tmp_path / "bad.csv"
        path.write_text(text)
        refused(message, targets=str(path))

    def test_missing_csv(self, refused, tmp_path):
        """No file, or not text."""
        refused("none.csv: expected a CSV", targets=str(tmp_path / "none.csv"))
        binary = tmp_path / "binary.csv"
        for content in (b"\xff\xfe\x00\x81", "a,b\n1,2".encode("utf-16")):
            binary.write_bytes(content)
            refused("binary.csv: expected a CSV file, in UTF-8", targets=binary)

    def test_output_folder(self, recipe, tmp_path):
        """A folder that cannot be made, since a file is in the way."""
        (tmp_path / "file").touch()
        folder = tmp_path / "file" / "out"
        with pytest.raises(ValueError, match=f"output_folder={folder}: exp"):
            recipe.audiogen_prepare.prepare_audiogen(
                folder / "manifest.json", folder / "save"
            )
        with pytest.raises(ValueError, match="^output_folder=.*: expected a f"):
            run(recipe, "cwrnn.yaml", "--output_folder", folder)

    @pytest.mark.parametrize("text", ["{}", "not JSON"])
    def test_other_targets(self, recipe, tmp_path, sines, text):
        """A manifest of other targets is kept, whoever has written it."""
        prepare = recipe.audiogen_prepare.prepare_audiogen
        manifest = tmp_path / "save" / "manifest.json"
        assert prepare(manifest, tmp_path / "save") == "tune"
        before = manifest.read_bytes()
        with pytest.raises(ValueError, match="other targets, and is kept"):
            prepare(manifest, tmp_path / "save", targets=str(sines))
        assert manifest.read_bytes() == before
        assert prepare(manifest, tmp_path / "save") == "tune"
        manifest.write_text(text)
        with pytest.raises(ValueError, match="other targets, and is kept"):
            prepare(manifest, tmp_path / "save")
        assert manifest.read_text() == text

    def test_same_names(self, recipe, tmp_path):
        """Other targets of the same names and lengths are others."""
        prepare = recipe.audiogen_prepare.prepare_audiogen
        paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
        for path, value in zip(paths, (1, 2)):
            path.write_text(f"x\n0\n{value}\n-1\n")
        options = tmp_path / "save.json", tmp_path / "save"
        prepare(*options, targets=str(paths[0]))
        wav = tmp_path / "save" / "targets" / "x.wav"
        before = wav.read_bytes()
        with pytest.raises(ValueError, match="other targets, and is kept"):
            prepare(*options, targets=str(paths[1]))
        assert wav.read_bytes() == before
        assert prepare(*options, targets=str(paths[0])) == "a.csv"

    @pytest.mark.parametrize("option", ["hidden_size", "num_seeds", "seed"])
    def test_other_options(self, recipe, tmp_path, sines, option):
        """Nor with other options."""
        options = ["--targets", sines, "--output_folder", tmp_path / "out"]
        options += ["--number_of_epochs", 1, f"--{option}"]
        run(recipe, "cwrnn.yaml", *options, 11)
        with pytest.raises(ValueError, match=f"a run with another {option} "):
            run(recipe, "cwrnn.yaml", *options, 12)

    @pytest.mark.parametrize(
        "options, message",
        [
            (["--num_params", 42], "num_params=42: expected one of .100, 250"),
            (["--num_params", "[1]"], "num_params=.1.: expected an integer"),
            (["--num_seeds", 0], "num_seeds=0: expected an integer from 1"),
            (["--num_seed", 2], "--num_seed: expected num_seeds"),
            (["--hidden_size", "x"], "hidden_size=x: expected an integer from"),
            (["--hidden_size", 4], "hidden_size=4: expected at least one unit"),
            (["--backend", "gpu"], "backend='gpu': expected one of"),
            (["--backend", "triton"], "backend='triton': expected"),
            (["--lr", "nan"], "lr=nan: expected a positive number"),
            (["--lr", "1e400"], "lr=inf: expected a positive number"),
            (["--excerpt_seconds", -1], "excerpt_seconds=-1: expected a numbe"),
            (
                ["--offset", "1e308"],
                "offset=1e[+]308: expected a number of sec",
            ),
            (["--checkpoint_interval", 0], "checkpoint_interval=0: expected"),
            (["--protocol", "its"], "protocol=its: expected .*'paper'"),
            (["--max_grad_norm", "inf"], "max_grad_norm=inf: expected a fini"),
            (["--max_grad_norms", "1"], "max_grad_norms=1: expected a norm"),
            (["--number_of_epochs", -1], "number_of_epochs=-1: expected an in"),
            (["--model_name", "a/b"], "model_name=a/b: expected a name that"),
            (["--train_log", "/dev"], "train_log=/dev: expected a file that"),
            (["--output_folder", RECIPE], "output_folder=.*: expected another"),
            (
                ["--rnn_class", "!name:x.Y"],
                "rnn_class=!name:x.Y: expected a",
            ),
            (["--rnn_class", "{a: 1}"], "rnn_class=!name:spe.* argument 'a'"),
            (["--epoch_counter", "null"], "epoch_counter=None: expected a sp"),
            (
                ["--epoch_counter", "!new:collections.Counter"],
                "epoch_counter=!new:collections.Counter: expected a speech",
            ),
            (
                ["--train_logger", "!new:collections.Counter"],
                "train_logger=!new:collections.Counter: expected a speech",
            ),
            (
                ["--opt_class", "!name:torch.nn.Identity"],
                "opt_class=!name:torch.nn.Identity: expected a torch.optim.",
            ),
            (["--opt_class", "{weight_decay: -1}"], "opt_class: .*ValueError:"),
            (["--opt_class", "{momentum: 0}"], "opt_class: .* Nesterov moment"),
            (
                ["--opt_class", "!name:torch.optim.LBFGS"],
                "opt_class: expected what works .*TypeError: .*'closure'",
            ),
            (
                ["--opt_class", "!name:torch.optim.SparseAdam"],
                "opt_class: expected what works .*dense gradients",
            ),
            (
                ["--rnn_class", "!name:torch.nn.LSTM"],
                "model: expected what works .*TypeError: .*'hidden_size'",
            ),
            (
                ["--rnn_class", "!new:torch.nn.RNN"],
                "rnn_class=!new:torch.nn.RNN: expected what works .*TypeError",
            ),
            (
                ["--model", "!name:torch.nn.Linear [0, 1]"],
                "model: expected waveforms .batch, time. .* shape .1, 3, 1. ",
            ),
            (
                ["--model", "!name:torch.nn.Linear"],
                "model: expected what works .*TypeError: .*'in_features'",
            ),
            (["--num_seeds", 10**5], "num_seeds=100000: expected an integer f"),
            (
                ["--num_seeds", 16384, "--hidden_size", 2000],
                "num_seeds=16384: expected as many networks as fit in",
            ),
            (["--device", "nope"], "device=nope: expected one that"),
        ],
    )
    def test_options(self, recipe, tmp_path, monkeypatch, options, message):
        """Those of train.py itself, before anything is written."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=f"^{message}"):
            run(recipe, "cwrnn.yaml", *options)
        assert not list(tmp_path.iterdir())

    def test_backend_elsewhere(self, recipe, tmp_path, monkeypatch):
        """It is asked for where the networks are going to be."""
        hparams = load_hparams(
            RECIPE / "hparams" / "cwrnn.yaml",
            f"output_folder: {tmp_path}\nbackend: triton",
            recipe.train.AudioGenOptions,
        )
        train, elsewhere = recipe.train, torch.device("meta")
        with pytest.raises(InputError, match="^backend='triton': expected"):
            train.check(hparams, None)
        monkeypatch.setattr(train, "refuse_run_options", lambda *_: elsewhere)
        train.check(hparams, None)

    @pytest.mark.parametrize(
        "name, is_folder, message",
        [
            ("results.csv", True, "results.csv is a folder: expected a file"),
            ("hyperparams.yaml", True, "hyperparams.yaml is a folder: exp"),
            ("log.txt", True, "log.txt is a folder: expected a file"),
            ("generated.png", True, "generated.png is a folder: expected a f"),
            ("save/begun_with.json", True, "begun_with.json is a folder: exp"),
            ("save/manifest.json", True, "train_annotation=.*: expected the n"),
            ("train_log.txt", False, "train_log=.*: .* nothing but a log of"),
        ],
    )
    def test_in_the_way(self, recipe, tmp_path, name, is_folder, message):
        """What is where something is to be written, which is kept."""
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if is_folder else path.write_text("a user's\n")
        before = list(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match=message):
            run(recipe, "cwrnn.yaml", "--output_folder", tmp_path)

        assert list(tmp_path.rglob("*")) == before

    def test_sound_in_the_way(self, recipe, tmp_path):
        """What is called after targets is refused before the training."""
        (tmp_path / "generated_target2.wav").mkdir()
        with pytest.raises(ValueError, match="_target2.wav is a folder: exp"):
            run(recipe, "cwrnn.yaml", "--output_folder", tmp_path)
        assert not (tmp_path / "hyperparams.yaml").exists()

    def test_run_options(self, recipe, tmp_path):
        """Those of SpeechBrain, before anything is written."""
        options = ["--output_folder", tmp_path / "out", "--compile"]
        with pytest.raises(ValueError, match="compile=True: expected False"):
            run(recipe, "cwrnn.yaml", *options)
        assert not list(tmp_path.rglob("*.json"))
