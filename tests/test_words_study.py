"""The study of the paper's second experiment."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import read_csv, recipe_modules, work_here

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import write_results

pytest_plugins = "timit_fixtures"


@pytest.fixture
def recipe():
    """The modules of the recipe."""
    names = ("study", "study_report", "train")
    with recipe_modules("TIMIT/WordClassification", *names) as modules:
        yield modules


@pytest.fixture
def study(recipe, tmp_path, timit_sample, monkeypatch):
    """Runs the study on the tiny sample, in this process."""
    work_here(monkeypatch)
    monkeypatch.setattr(recipe.study, "LENGTHS", [1, 2])
    monkeypatch.setattr(recipe.study, "RATES", [0.001, 0.01])
    options = ["--words", "sa", "--number_of_epochs", "2"]
    monkeypatch.setitem(recipe.study.TASKS, "sample", options)

    def run(*options):
        folder = tmp_path / "study"
        recipe.study.main(
            [
                *("--sample", str(timit_sample), "--sizes", "500"),
                *("--output_folder", str(folder), *map(str, options)),
            ]
        )
        return folder

    return run


@pytest.mark.slow
def test_whole(study, capsys):
    """Both protocols, on as many networks as were asked for."""
    folder = study("--splits", 2, "--networks", 20, "--models", "lstm", "cwrnn")
    rows = read_csv(folder / "study.csv")
    kinds = {(row["protocol"], row["model"], row["split"]) for row in rows}
    assert len(kinds) == 2 * 2 * 2
    assert len(rows) == 2 * len(kinds)
    text = (folder / "study.md").read_text()
    assert text.count("TIMIT sample, equal protocol: 5 words, 5 + 2 ex") == 1
    assert (
        "python study.py --sample" in text and text in capsys.readouterr().out
    )
    assert (folder / "sample_paper.png").read_bytes().startswith(b"\x89PNG")


class TestEqual:
    """The protocol of equal chances."""

    OPTIONS = ("--protocols", "equal", "--splits", 1, "--networks", 10)

    def test_chosen(self, study, recipe, monkeypatch):
        """By the errors on the last of the speakers that are learnt later."""
        asked = []
        test = recipe.train.WordBrain.test

        def record(brain, dataset):
            losses, errors, predicted = test(brain, dataset)
            rate = brain.optimizer.param_groups[0]["lr"]
            asked.append((len(dataset), rate))
            if len(dataset) == 5:
                # The last rate and length are best.
                errors = np.full(len(errors), 1 / len(asked))
            return losses, errors, predicted

        monkeypatch.setattr(recipe.train.WordBrain, "test", record)
        folder = study(*self.OPTIONS, "--models", "cwrnn")
        # One example of each of five words, then five, and two for the test.
        rates = [0.001, 0.001, 0.01, 0.01]
        assert asked == [(5, r) for r in rates] + [(25, 0.01), (10, 0.01)]
        (place,) = folder.glob("*/*/*/*/results.csv")
        rows = read_csv(place)
        assert [(r["lr"], r["epochs"]) for r in rows] == [("0.01", "2")] * 2
        chosen = read_csv(place.with_name("choosing.csv"))
        assert [float(row["lr"]) for row in chosen] == rates
        names = [f"{n}.json" for n in ("choosing_a", "choosing_b", "final_a")]
        learnt, valid, final = (
            set(recipe.train.read_manifest(place.with_name(n), ["word"]))
            for n in names
        )
        assert learnt | valid == final and not learnt & valid

    def test_resumes(self, study, recipe, monkeypatch):
        """Without training anything again."""
        options = (*self.OPTIONS, "--models", "clockwork_ligru", "lstm")
        calls = []
        run = recipe.study.run_equal

        def interrupt(cell):
            if len(calls) == 1:
                calls.append(None)
                raise KeyboardInterrupt
            calls.append(cell.model)
            run(cell)

        monkeypatch.setattr(recipe.study, "run_equal", interrupt)
        with pytest.raises(KeyboardInterrupt):
            study(*options)
        folder = study(*options)
        assert calls == ["clockwork_ligru", None, "lstm"]
        assert len(read_csv(folder / "study.csv")) == 4


class TestBeforeTraining:
    """What is said before any network is trained."""

    @pytest.fixture(autouse=True)
    def no_training(self, recipe, monkeypatch):
        """Nothing is trained here."""
        for name in ("run_cells", "write_study"):
            monkeypatch.setattr(recipe.study, name, lambda *_: None)

    def test_other_data(self, study, recipe, monkeypatch):
        """What is done with some is not reported as done with others."""
        study("--splits", 1)
        study("--splits", 3, "--models", "srn")
        options = ["--words", "sa", "--num_test", "1"]
        monkeypatch.setitem(recipe.study.TASKS, "sample", options)
        with pytest.raises(InputError, match="a study with other sample: exp"):
            study("--splits", 1)

    @pytest.mark.parametrize(
        "name",
        [
            *("study.csv", "study.md", "sample_paper.png"),
            "sample/equal/srn_500/4x4/shown.txt",
        ],
    )
    def test_in_the_way(self, study, name, tmp_path):
        """A folder where a file is to be."""
        (tmp_path / "study" / name).mkdir(parents=True)
        with pytest.raises(InputError, match=f"{name} is a folder: expected"):
            study()

    def test_is_said_before_speech_is_synthesised(
        self, study, recipe, tmp_path, monkeypatch
    ):
        """Since that takes a while."""
        monkeypatch.setattr(recipe.study, "find_corpora", None)
        (tmp_path / "study").touch()
        with pytest.raises(
            InputError, match="output_folder=.*: expected a fol"
        ):
            study()


class TestReport:
    """Tables from results that are known."""

    @pytest.fixture
    def write(self, recipe, tmp_path, capsys):
        """Writes results of models by split, and returns the text."""

        def write(errors, **options):
            cells = []
            for model, splits in errors.items():
                for split, of_split in enumerate(splits):
                    folder = tmp_path / f"{model}{split}"
                    folder.mkdir()
                    number = len(of_split)
                    run = {"model": model, "size": 10000, "corpus": "TIMIT"}
                    run |= {"words": 25, "num_train": 5, "num_test": 2}
                    networks = {
                        "seed": range(number),
                        "epochs": [7] * number,
                        "train_error": [0.125] * number,
                        "test_error": of_split,
                        "diverged": [int(error > 0.9) for error in of_split],
                    }
                    write_results(folder, run, networks)
                    (folder / "seconds.txt").write_text("80\n")
                    cells.append(
                        SimpleNamespace(
                            task="sample",
                            protocol="paper",
                            size=10000,
                            model=model,
                            split=split,
                            folder=folder,
                        )
                    )
            cells.append(SimpleNamespace(folder=tmp_path / "not yet"))
            recipe.study_report.write_study(tmp_path, cells, ["study.py"])
            return capsys.readouterr().out

        return write

    def test_tables(self, write):
        """A win is told apart from chance, by the splits."""
        text = write(
            {
                "lstm": [[0.30, 0.50], [0.36, 0.48], [0.44, 0.44]],
                "cwrnn": [[0.10, 0.30], [0.21, 0.21], [0.12, 0.32]],
                "srn": [[0.40, 0.99], [0.40, 0.45], [0.50, 0.40]],
            }
        )
        # Means of the splits 40, 42, 44 and 20, 21, 22, and 40, 42.5, 45.
        row = "| cwrnn 10000 |      3 |        6 |        0 | 21.0 |"
        assert row in text
        assert "\nThe networks took 12 minutes of one core.\n" in text
        assert "| 12.5 |" not in text and "16 [14, 20] |" in text
        lines = {
            line.split("|")[1].strip(): line
            for line in text.splitlines()
            if line.startswith("|")
        }
        # By Student's t: 4.303 sd / sqrt(3).
        line = lines["cwrnn - lstm, 10000"]
        assert "| -21.0 |     2.5 | cwrnn wins, lstm loses |" in line
        assert "not told apart" in lines["lstm - srn, 10000"]
        assert " 1 | " in lines["srn 10000"]

    def test_one_split(self, write):
        """It says nothing of others."""
        text = write({"lstm": [[0.3, 0.5]], "cwrnn": [[0.1, 0.3]]})
        (line,) = [line for line in text.splitlines() if "cwrnn - lstm" in line]
        assert "-20.0 |       - | not told apart |" in line

    def test_all_diverged(self, write):
        """Networks without any error have no part in differences."""
        text = write({"lstm": [[0.99], [0.99]], "cwrnn": [[0.1], [0.3]]})
        assert "cwrnn - lstm" not in text


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "^expected a corpus: --sample, --synthetic or --digits"),
        (["--splits", "0"], "^--splits 0: expected an integer from 1"),
        (["--networks", "16385"], "^--networks 16385: expected .* to 16384"),
        (["--jobs", "-1"], "^--jobs -1: expected an integer from 1"),
        (["--sample", "nowhere"], "^data_folder=.*nowhere: expected the fold"),
        (["--sample", "EMPTY"], "^data_folder=.*: expected a copy of TIMIT"),
        (["--digits", "SAMPLE"], "^words: expected at least 55 examples"),
    ],
)
def test_refused(recipe, options, message, timit_sample, tmp_path, monkeypatch):
    """In one sentence, before anything is written."""
    work_here(monkeypatch)
    places = {"SAMPLE": str(timit_sample), "EMPTY": str(tmp_path)}
    options = [places.get(option, option) for option in options]
    options += ["--output_folder", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=message):
        recipe.study.main(options)
    assert not list(tmp_path.iterdir())
