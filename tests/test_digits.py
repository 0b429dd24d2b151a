"""The study of strings of spoken digits."""

import doctest

import numpy as np
import pytest
import soundfile
import torch
from helpers import read_csv, recipe_modules, work_here

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import write_results

NAMES = ("digits_prepare", "tasks", "study")
STRINGS = "digit strings of an unseen speaker"
FIRST = "the first of four digits"


@pytest.fixture(scope="module")
def recipe():
    """The modules of the recipe."""
    with recipe_modules("Digits", *NAMES) as modules:
        yield modules


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Of two speakers, who hum the digits."""
    folder = tmp_path_factory.mktemp("recordings")
    for speaker, pitch in (("ann", 200), ("bob", 100)):
        for number in range(20):
            digit = number % 10
            steps = np.arange(800 + 40 * number)
            hum = np.sin(2 * np.pi * (1 + digit) * pitch / 8000 * steps)
            path = folder / f"{digit}_{speaker}_{number}.wav"
            soundfile.write(path, 0.5 * hum, 8000)
    return folder


class TestPrepare:
    """Strings are made of recordings."""

    @pytest.fixture
    def takes(self, recipe):
        """Of three speakers, each of a number of its own, in all samples."""
        return [
            recipe.digits_prepare.Take(
                number, "abc"[number // 20], np.full(100, 1.0 + number)
            )
            for number in range(60)
        ]

    @pytest.fixture
    def samples_as_features(self, recipe, monkeypatch):
        """Leaves signals as they are."""
        monkeypatch.setattr(
            recipe.digits_prepare, "Fbank", lambda **_: lambda x: x[..., None]
        )
        monkeypatch.setattr(recipe.digits_prepare, "halve", lambda x: x)

    def test_no_recording_twice(self, recipe, takes, samples_as_features):
        """Each speaker's are apart, and each is as often in strings."""
        splits = recipe.digits_prepare.make_strings(takes, "b")
        counts = [
            np.bincount(sum((s.digits for s in split), []), minlength=60)
            for split in splits
        ]
        assert set(counts[2]) == {0, 1} and not counts[2][:20].any()
        assert counts[2][20:40].all() and not counts[2][40:].any()
        repeats = recipe.digits_prepare.REPEATS
        for speaker in (slice(0, 20), slice(40, 60)):
            learnt, valid = counts[0][speaker], counts[1][speaker]
            assert sorted(learnt) == [0] * 4 + [repeats] * 16
            assert (valid == (learnt == 0)).all()
        assert not counts[0][20:40].any() and not counts[1][20:40].any()
        same = recipe.digits_prepare.make_strings(takes, "b")
        for one, other in zip(sum(splits, []), sum(same, [])):
            assert torch.equal(one.features, other.features)

    def test_order(self, recipe, takes, samples_as_features):
        """A string says its digits, with pauses around them."""
        rng = np.random.default_rng(1)
        strings = recipe.digits_prepare.join(takes[:9], 2, rng)
        assert len(strings) == 4
        for string in strings:
            heard = string.features[:, 0]
            # The first recording is a 1.
            loud = heard > 0.5
            edges = (loud[1:] != loud[:-1]).nonzero().flatten().tolist()
            assert len(edges) == 8
            for digit, start, stop in zip(
                string.digits, edges[::2], edges[1::2]
            ):
                assert stop - start == 100
                assert (heard[start + 1 : stop + 1] == 1 + digit).all()
            pauses = np.diff([-1, *edges, len(heard) - 1])[::2]
            assert (pauses >= 200).all() and (pauses < 1200).all()
            assert 0 < heard[~loud].std() < 2e-3

    def test_normalised(self, recipe, recordings):
        """By what is learnt alone; a frame for each 20 ms."""
        takes = recipe.digits_prepare.read_takes(recordings)
        learnt, valid, test = recipe.digits_prepare.make_strings(takes, "bob")
        features = torch.cat([string.features for string in learnt])
        torch.testing.assert_close(
            features.std(0), torch.ones(recipe.digits_prepare.N_MELS)
        )
        others = torch.cat([string.features for string in test])
        assert (others.std(0) - 1).abs().max() > 0.01
        for string in (learnt[0], valid[0], test[0]):
            torch.testing.assert_close(
                string.features.mean(0), torch.zeros(40), atol=1e-5, rtol=0
            )
        frames = torch.arange(10.0).reshape(5, 2)
        halves = recipe.digits_prepare.halve(frames)
        assert halves.tolist() == [[-2, -2], [2, 2]]

    def test_reads(self, recipe, recordings):
        """What the names say."""
        takes = recipe.digits_prepare.read_takes(recordings)
        assert len(takes) == 40
        assert {take.speaker for take in takes} == {"ann", "bob"}
        longest = [take for take in takes if len(take.samples) == 1560]
        assert [take.digit for take in longest] == [9, 9]

    @pytest.mark.parametrize(
        "keep, name, rate, message",
        [
            ("*", "seven.wav", 8000, "seven.wav: expected a name as 7_theo_1"),
            ("*", "7_a_1.wav", 16000, "7_a_1.wav: expected 8000 Hz, got 1600"),
            ("*", "7_.._1.wav", 8000, "speaker '..': expected a name that a "),
            ("*", "7_Bob_1.wav", 8000, "'bob': expected another name .*'Bob'"),
            ("*_bob_*", None, 0, "of two speakers or more, found bob[.]$"),
            ("nothing", None, 0, "of two speakers or more, found none[.]$"),
            (
                "*",
                "7_eve_1.wav",
                8000,
                "expected 20 .* or more, found 1 of eve",
            ),
        ],
    )
    def test_refused(
        self, recipe, recordings, tmp_path, keep, name, rate, message
    ):
        """In one sentence."""
        for path in recordings.glob(keep):
            (tmp_path / path.name).symlink_to(path)
        if name:
            soundfile.write(tmp_path / name, np.ones(900), rate)
        with pytest.raises(InputError, match=message):
            recipe.digits_prepare.read_takes(tmp_path)

    def test_short(self, recipe, recordings, tmp_path):
        """In which there is no digit."""
        for path in recordings.glob("*"):
            (tmp_path / path.name).symlink_to(path)
        path = tmp_path / "7_bob_99.wav"
        soundfile.write(path, np.ones(399), 8000)
        with pytest.raises(InputError, match=f"^{path}: expected 400 sampl"):
            recipe.digits_prepare.read_takes(tmp_path)

    @pytest.mark.parametrize("name", ["file", "nothing"])
    def test_no_folder(self, recipe, tmp_path, name):
        """It is asked for."""
        (tmp_path / "file").touch()
        with pytest.raises(
            InputError, match=f"{name}: expected a folder of re"
        ):
            recipe.digits_prepare.read_takes(tmp_path / name)


class TestTasks:
    """What is asked, and how answers are judged."""

    @pytest.fixture
    def logits(self):
        """Of two sequences, of 7 and 5 valid steps."""
        heard = [[3, 3, 10, 3, 1, 10, 2], [4, 10, 4, 10, 5, 9, 9]]
        return 20 * torch.eye(11)[torch.tensor(heard)]

    def test_recognises(self, recipe, logits):
        """By the edits to what is heard: 3 3 1 2, and 4 4 5."""
        task = recipe.tasks.Recognise()
        lengths = torch.tensor([7, 5])
        right = torch.tensor([[3, 3, 1, 2], [4, 4, 5, 9]])
        assert task.errors(logits, lengths, right) == (1, 8)
        other = torch.tensor([[3, 1, 2, 2], [0, 0, 0, 0]])
        assert task.errors(logits, lengths, other) == (2 + 4, 8)
        loss = task.loss(logits, lengths, torch.tensor([[3, 3, 1, 2]] * 2))
        alone = [
            task.loss(logits[:1], lengths[:1], torch.tensor([[3, 3, 1, 2]])),
            task.loss(
                logits[1:, :5], lengths[1:], torch.tensor([[3, 3, 1, 2]])
            ),
        ]
        assert alone[0] < 1e-3 < alone[1]
        torch.testing.assert_close(loss, sum(alone) / 2)

    def test_remembers(self, recipe, logits):
        """By the last valid step: 2, and 5."""
        task = recipe.tasks.Remember()
        logits, lengths = logits[..., :10], torch.tensor([7, 5])
        for first, errors in (((2, 5), 0), ((2, 9), 1), ((3, 4), 2)):
            digits = torch.tensor([[d, 8, 8, 8] for d in first])
            assert task.errors(logits, lengths, digits) == (errors, 2)
            loss = task.loss(logits, lengths, digits)
            assert loss.item() == pytest.approx(10 * errors, abs=1e-3)

    @pytest.mark.parametrize("name", [STRINGS, FIRST])
    def test_equal_parameters(self, recipe, name):
        """Within 3 %; where the name says so, twice as many."""
        task = recipe.tasks.TASKS[name]
        for layer in task.layers:
            units = recipe.tasks.find_units(task, layer)
            network = recipe.tasks.Network(task, layer, units)
            size = sum(p.numel() for p in network.parameters())
            wanted = 48_000 if name == STRINGS else 20_000
            if layer == "LSTM, twice the size":
                wanted *= 2
            assert size == pytest.approx(wanted, rel=0.03)
            output = network(torch.rand(2, 9, 40))
            assert output.shape == (2, 9, task.num_outputs)

    def test_docstrings(self, recipe):
        """Their examples run."""
        failures, attempted = doctest.testmod(recipe.tasks)
        assert attempted >= 1 and not failures


@pytest.mark.slow
class TestStudy:
    """From the command line to the files."""

    @pytest.fixture
    def study(self, recipe, recordings, tmp_path, monkeypatch):
        """Runs a small study in this process, and returns its folder."""
        work_here(monkeypatch)
        monkeypatch.setattr(recipe.digits_prepare, "REPEATS", 1)
        for task in recipe.tasks.TASKS.values():
            names = ("LSTM", "CW-RNN")
            layers = {name: (task.layers[name][0], 4000) for name in names}
            monkeypatch.setattr(task, "layers", layers, raising=False)
            monkeypatch.setattr(task, "epochs", 1, raising=False)

        def run(*options):
            folder = tmp_path / "study"
            places = ["--output_folder", folder, "--data_folder", recordings]
            recipe.study.main([str(text) for text in [*places, *options]])
            return folder

        return run

    def test_whole(self, study, capsys):
        """Each speaker is in a test of each network."""
        folder = study("--num_seeds", 1)
        rows = read_csv(folder / "study.csv")
        kinds = {
            tuple(row[name] for name in ("task", "layer", "speaker", "rate"))
            for row in rows
        }
        assert len(kinds) == len(rows) == 2 * 2 * 2 * 2
        for row in rows:
            assert 0 < float(row["test"]) and 0 < float(row["seconds"])
        text = (folder / "study.md").read_text()
        assert text == capsys.readouterr().out
        assert text.startswith("    python study.py --output_folder ")
        assert "\nThe networks took 0 minutes of one core.\n" in text
        for title in (f"## Digit{STRINGS[5:]}\n", f"## The{FIRST[3:]}\n"):
            assert title in text
        assert text.count("the speakers of the tests are ann, bob:") == 2
        assert text.count("| CW-RNN - LSTM |     2 |") == 2

    def test_resumes(self, study, recipe, monkeypatch, tmp_path):
        """Without training any network again; what there is, is shown."""
        calls, fit = [], recipe.study.fit

        def interrupted(*args):
            calls.append(args)
            if len(calls) == 4:
                raise KeyboardInterrupt
            fit(*args)

        monkeypatch.setattr(recipe.study, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study("--num_seeds", 1)
        rows = read_csv(tmp_path / "study" / "study.csv")
        assert len(rows) == 3
        text = (tmp_path / "study" / "study.md").read_text()
        assert "\n\nOf 16 networks, 3 are trained.\n" in text
        folder = study("--num_seeds", 1)
        assert " are trained" not in (folder / "study.md").read_text()
        assert len(calls) == 1 + 16
        assert read_csv(folder / "study.csv")[:3] == rows
        study("--num_seeds", 1)
        assert len(calls) == 1 + 16

    def test_set_up(self, study, recipe, monkeypatch):
        """Workers are, and no process besides."""
        calls = []
        monkeypatch.setattr(
            recipe.study, "run_cells", lambda *args: calls.append(args)
        )
        study("--jobs", 3)
        ((_, *options),) = calls
        assert options == [3, recipe.study.set_up]

    def test_same_weights(self, study, recipe, monkeypatch):
        """The seed is all that they hang on."""
        drawn = []

        def fit(network, task, strings, rate):
            drawn.append((task, rate, next(network.parameters()).sum().item()))

        monkeypatch.setattr(recipe.study, "fit", fit)
        study("--num_seeds", 2)
        by_kind = {}
        for task, _, weights in drawn:
            by_kind.setdefault(task, []).append(weights)
        for weights in by_kind.values():
            # Two layers and two seeds, at two rates for two speakers.
            assert len(weights) == 16 and len(set(weights)) == 4

    def test_other_recordings(self, study, recordings, tmp_path):
        """They are another study."""
        folder = study("--num_seeds", 1)
        other = tmp_path / "other"
        other.mkdir()
        for path in recordings.glob("*.wav"):
            (other / path.name).symlink_to(path)
        study("--num_seeds", 1, "--data_folder", other)
        path = max(other.glob("*.wav"))
        path.unlink()
        # As long, and the same sum.
        samples, _ = soundfile.read(recordings / path.name)
        soundfile.write(path, samples[::-1], 8000)
        before = (folder / "study.md").read_text()
        with pytest.raises(InputError, match="with other recordings: expect"):
            study("--num_seeds", 1, "--data_folder", other)
        assert (folder / "study.md").read_text() == before

    def test_best_rate(self, recipe, tmp_path, capsys):
        """For each test by its development set, where diverging counts."""
        cells = [
            recipe.study.Cell(FIRST, layer, 5, speaker, rate, 0, "", tmp_path)
            for layer in ("LSTM", "GRU")
            for rate in (0.1, 0.2)
            for speaker in ("ann", "bob")
        ]
        nan = float("nan")
        errors = [(30, 1), (30, 1), (20, 50), (25, 70)]
        errors += [(9, 60), (nan, nan), (50, 40), (99, 45)]
        for cell, (valid, test) in zip(cells, errors):
            cell.folder.mkdir(parents=True)
            write_results(
                cell.folder,
                {"model": cell.layer, "size": 9, "corpus": "made up"},
                {
                    "seed": [0],
                    "valid": [valid],
                    "test": [test],
                    "diverged": [int(np.isnan(test))],
                    "seconds": [1.5],
                },
            )
        results = {cell: cell.result() for cell in cells}
        best = recipe.study.find_best(FIRST, results)
        assert not recipe.study.find_best(STRINGS, results)
        rates = {layer: [c.rate for c in of] for layer, of in best.items()}
        assert rates == {"LSTM": [0.2, 0.2], "GRU": [0.1, 0.2]}
        recipe.study.print_task(FIRST, best)
        lines = capsys.readouterr().out.splitlines()
        rows = [
            " ".join(cell.strip() for cell in line.split("|")[1:-1])
            for line in lines
            if "0.2" in line or "GRU - LSTM" in line
        ]
        assert rows == [
            "LSTM 5 9 0.2 2 0 22.5 60.0 14.1 1.50",
            "GRU 5 9 0.1, 0.2 2 0 54.0 52.5 10.6 1.50",
            "GRU - LSTM 2 -7.5 222.4 not told apart",
        ]

    def test_diverged(self, recipe, recordings):
        """A network whose answers are not finite has no error."""
        strings = recipe.digits_prepare.join(
            recipe.digits_prepare.read_takes(recordings)[:4],
            1,
            np.random.default_rng(0),
        )
        task = recipe.tasks.TASKS[FIRST]
        network = recipe.tasks.Network(task, "LSTM", 5)
        assert recipe.study.error_rate(network, task, strings) in (0, 100)
        assert not network.training
        torch.nn.init.constant_(network.readout.bias, float("nan"))
        assert np.isnan(recipe.study.error_rate(network, task, strings))

    def test_learns(self, recipe, recordings, monkeypatch):
        """Hummed digits are easy."""
        monkeypatch.setattr(recipe.digits_prepare, "REPEATS", 8)
        takes = recipe.digits_prepare.read_takes(recordings)
        learnt, *_ = recipe.digits_prepare.make_strings(takes, "bob")
        task = recipe.tasks.TASKS[STRINGS]
        monkeypatch.setattr(task, "epochs", 100, raising=False)
        torch.manual_seed(0)
        network = recipe.tasks.Network(task, "clockwork Li-GRU", 32)
        recipe.study.fit(network, task, learnt, 0.01)
        assert recipe.study.error_rate(network, task, learnt) < 50

    @pytest.mark.parametrize(
        "option, message",
        [("--num_seeds", "--num_seeds.*expected"), ("--jobs", "--jobs.*expec")],
    )
    def test_refused(self, study, tmp_path, option, message):
        """Before anything is written."""
        with pytest.raises(InputError, match=message):
            study(option, 0)
        with pytest.raises(InputError, match="two speakers or more"):
            study("--data_folder", tmp_path)
        assert not list(tmp_path.iterdir())
