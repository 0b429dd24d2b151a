"""The study of the paper's first experiment."""

import doctest
import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import RECIPES, read_csv, recipe_modules, work_here
from tiny_timit import write_riff

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.report import write_results

NAMES = ("generator", "report", "stretches", "study", "study_report", "train")


@pytest.fixture
def recipe():
    """The modules of the recipe."""
    with recipe_modules("AudioGen", *NAMES) as modules:
        yield modules


@pytest.fixture
def targets(tmp_path):
    """Two of 40 samples."""
    t = np.arange(40)
    path = tmp_path / "two.csv"
    rows = zip(np.sin(t / 5), np.cos(t / 3))
    path.write_text("\n".join(["a,b", *(f"{a},{b}" for a, b in rows)]))
    return path


@pytest.fixture
def study(recipe, tmp_path, monkeypatch):
    """Runs the study for a few epochs, in this process."""
    work_here(monkeypatch)
    monkeypatch.setattr(recipe.study, "SIZES", [100, 250])

    def run(*options, epochs=3):
        folder = tmp_path / "study"
        recipe.study.main(
            [
                *map(str, options),
                *("--output_folder", str(folder)),
                *("--number_of_epochs", str(epochs)),
            ]
        )
        return folder

    return run


@pytest.fixture
def sample(tmp_path):
    """A sample of TIMIT of six speakers who say a vowel and an s, of which some
    are too short, and some end after the audio."""
    rng = np.random.default_rng(0)
    for region in range(1, 7):
        folder = tmp_path / "timit" / f"dr{region}-mxxx{region}"
        folder.mkdir(parents=True)
        write_riff(folder / "sx1.wav", rng.integers(-99, 99, 2000, np.int16))
        phones = [(0, 400, "h#"), (400, 800, "iy"), (800, 1100, "ix")]
        phones += [(1100, 1419, "ae"), (1419, 1700, "z"), (1700, 2100, "s")]
        if region > 1:
            phones[-2] = (1419, 1700, "h#")
            phones[-1] = (1600, 2010, "s")
        lines = [" ".join(map(str, phone)) for phone in phones]
        (folder / "sx1.phn").write_text("\n".join(lines))
    return tmp_path / "timit"


def test_docstrings(recipe):
    """Their examples run."""
    failures, attempted = doctest.testmod(recipe.study_report)
    assert attempted >= 2 and not failures


@pytest.mark.slow
def test_whole(study, recipe, targets, sample, capsys, monkeypatch):
    """On the paper's targets, with variants, and on speech."""
    monkeypatch.setattr(recipe.study, "MODELS", ["cwrnn"])
    monkeypatch.setattr(recipe.study, "SIZES", [100])
    for variant, (models, options) in recipe.study.VARIANTS.items():
        kind = ["cwrnn"] if "cwrnn" in models else models, options
        monkeypatch.setitem(recipe.study.VARIANTS, variant, kind)
    monkeypatch.setattr(recipe.study, "FIRST_ROUND", 2)
    clips, brain = [], recipe.train.GeneratorBrain
    fit = brain.fit

    def record(self, *args, **options):
        clips.append(self.max_grad_norm)
        fit(self, *args, **options)

    monkeypatch.setattr(brain, "fit", record)
    options = ("--targets", targets, "--sample", sample, "--num_seeds", 4)
    folder = study(*options)
    rows = read_csv(folder / "study.csv")
    counts = Counter((row["task"], row["variant"]) for row in rows)
    assert counts == {
        ("music", "paper"): 8,
        **{("music", variant): 4 for variant in recipe.study.VARIANTS},
        **{(task, "paper"): 20 for task in ("voiced", "unvoiced")},
    }
    # The paper's protocol is without clipping.
    expected = {"clip 30": 30, "clip 1": 1}
    assert clips == [
        *(expected.get(variant, -1) for _, variant in counts),
        # The second round.
        *(-1, -1, -1),
    ]
    seeds = [row["seed"] for row in rows if row["task"] == "music"]
    assert seeds[-4:] == ["3234", "3235", "3236", "3237"]
    assert {*seeds[:-4]} == {"1234", "1235", "1236", "1237"}
    text = (folder / "study.md").read_text()
    assert text.startswith("    python study.py --targets")
    assert text in capsys.readouterr().out
    assert [line for line in text.splitlines() if line[:3] == "## "] == [
        f"## {task}" for task in ("music", "voiced", "unvoiced")
    ]
    for task in ("music", "voiced", "unvoiced"):
        picture = folder / f"{task}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_rounds(recipe, targets):
    """Of 20 seeds, then of 80, to the last one; and of variants, 20."""
    parse = recipe.study.parse
    args = parse(["--targets", str(targets), "--num_seeds", "200"])
    cells = recipe.study.find_cells(args)
    rounds = Counter((c.variant, c.first, c.num_seeds) for c in cells)
    kinds = len(recipe.study.MODELS) * len(recipe.study.SIZES)
    assert {r: n for r, n in rounds.items() if r[0] == "paper"} == {
        ("paper", *seeds): kinds
        for seeds in ((0, 20), (20, 80), (100, 80), (180, 20))
    }
    others = [r[1:] for r in rounds if r[0] != "paper"]
    assert others == [(0, 20)] * len(recipe.study.VARIANTS)


@pytest.mark.slow
def test_resumes(study, recipe, targets, monkeypatch):
    """Without training anything again; and a part gets a report, too."""
    monkeypatch.setattr(recipe.study, "MODELS", ["srn"])
    monkeypatch.setattr(recipe.study, "VARIANTS", {})
    calls, main = [], recipe.train.main

    def interrupt(*args):
        if len(calls) == 1:
            calls.append(None)
            raise KeyboardInterrupt
        main(*args)
        calls.append(args)

    monkeypatch.setattr(recipe.train, "main", interrupt)
    options = ("--targets", targets, "--num_seeds", 1)
    with pytest.raises(KeyboardInterrupt):
        study(*options)
    text = (targets.parent / "study" / "study.md").read_text()
    assert "| srn 100 |        2 |" in text and "srn 250" not in text
    folder = study(*options)
    assert len(calls) == 3
    sizes = [row["size"] for row in read_csv(folder / "study.csv")]
    assert sizes == ["100", "100", "250", "250"]


class TestBeforeTraining:
    """What is said before any network is trained."""

    @pytest.fixture(autouse=True)
    def no_training(self, recipe, monkeypatch):
        """Nothing is trained here."""
        monkeypatch.setattr(recipe.study, "run_cells", lambda *_: None)

    @pytest.mark.slow
    def test_other_options(self, study, targets, sample):
        """What is done with some is not reported as done with others."""
        study("--targets", targets)
        study("--targets", targets, "--sample", sample, "--num_seeds", 3)
        with pytest.raises(InputError, match="a study with other options"):
            study("--targets", targets, epochs=4)
        lines = targets.read_text().splitlines()
        targets.write_text("\n".join(lines[:-1]))
        with pytest.raises(InputError, match="a study with other music: exp"):
            study("--targets", targets)

    @pytest.mark.parametrize(
        "name",
        [
            *("study.csv", "study.md", "music.png", "voiced.json"),
            "music/clip_1/lstm_100/0x20/shown.txt",
        ],
    )
    def test_in_the_way(self, study, recipe, targets, sample, name, tmp_path):
        """A folder where a file is to be."""
        (tmp_path / "study" / name).mkdir(parents=True)
        with pytest.raises(InputError, match=f"{name} is a folder: expected"):
            study("--targets", targets, "--sample", sample)


def test_one_based_clock(recipe):
    """Slow groups hold zero before the step of their period."""
    rnn = recipe.study.functools.partial(ClockworkRNN, 3, periods=[1, 2, 4])
    network = recipe.generator.Generator(rnn, init_std=1, clock=1)
    states = []
    network.rnn.register_forward_hook(lambda *args: states.append(args[2][0]))
    network(torch.empty(2, 9, 0))
    (h,) = states
    changes = h.diff(dim=1, prepend=torch.zeros(2, 1, 3))[0] != 0
    # Counted from 1.
    steps = [(1 + changes[:, unit].nonzero()[:, 0]).tolist() for unit in (1, 2)]
    assert steps == [[2, 4, 6, 8], [4, 8]]
    assert changes[:, 0].all()


class TestStretches:
    """Of speech."""

    def test_middle(self, recipe, sample):
        """Of a phone of the kind, long enough and within the audio."""
        choose = recipe.stretches.choose_stretches
        voiced = choose(sample, "voiced")
        assert {(e["start"], e["stop"]) for e in voiced.values()} == {
            (440, 760)
        }
        assert all(name.startswith("iy_mxxx") for name in voiced)
        assert len({entry["wav"] for entry in voiced.values()}) == 5
        unvoiced = choose(sample, "unvoiced")
        # Of the first speaker's "s", too little is left.
        assert sorted(name[-5] for name in unvoiced) == list("23456")
        places = {(e["start"], e["stop"]) for e in unvoiced.values()}
        assert places == {(1640, 1960)}

    def test_seed(self, recipe, sample):
        """It decides, and nothing else does."""
        choose = recipe.stretches.choose_stretches
        drawn = [choose(sample, "voiced", 2, seed) for seed in (0, 0, 1, 2, 3)]
        assert drawn[0] == drawn[1]
        assert len({tuple(manifest) for manifest in drawn}) > 1

    def test_too_few(self, recipe, sample):
        """One sentence says what is missing."""
        message = "--sample .*: expected 6 speakers with unvoiced .*, found 5"
        with pytest.raises(InputError, match=message):
            recipe.stretches.choose_stretches(sample, "unvoiced", 6)


class TestReport:
    """Tables from results that are known."""

    @pytest.fixture
    def write(self, recipe, tmp_path, capsys):
        """Writes results by variant and model, of the largest size, and
        returns the text."""

        def write(networks, task="music"):
            cells = [SimpleNamespace(folder=tmp_path / "not yet")]
            for (variant, model), errors in networks.items():
                folder = tmp_path / f"{task}_{variant}_{model}"
                folder.mkdir()
                run = {"model": model, "size": 1000, "corpus": "x"}
                final, best = zip(*errors)
                columns = {
                    "seed": range(len(errors)),
                    "target": np.resize(["a", "b"], len(errors)),
                    "nmse": final,
                    "best_nmse": best,
                    "diverged": [int(error > 10) for error in final],
                }
                write_results(folder, run, columns)
                (folder / "seconds.txt").write_text("80\n")
                cells.append(
                    SimpleNamespace(
                        task=task,
                        variant=variant,
                        size=1000,
                        model=model,
                        folder=folder,
                    )
                )
            recipe.study_report.write_study(tmp_path, cells, ["study.py"])
            text = capsys.readouterr().out
            return {
                line.split("|")[1].strip(): [
                    cell.strip() for cell in line.split("|")[2:-1]
                ]
                for line in text.splitlines()
                if line.startswith("|")
            }

        return write

    def test_tables(self, write, tmp_path):
        """Those that diverged count in the best epoch alone."""
        lines = write(
            {
                ("paper", "cwrnn"): [(0.01, 0.01), (0.03, 0.02)] * 2,
                ("paper", "lstm"): [(0.2, 0.1), (0.3, 0.3), (99, 0.2)],
                ("clip 1", "lstm"): [(0.1, 0.1), (0.2, 0.1)],
            }
        )
        assert lines["lstm 1000"] == [
            *("3", "1", "0.2500", "0.0707", "0.2500", "0.2250", "0.2750", "-"),
            "0.2000",
            "0.2000 [0.1500, 0.2500]",
            "0.034 [0.029, 0.046]",
        ]
        # 0.034 / 0.0064.
        assert lines["1000"] == ["12.5", "12.5", "5.3"]
        assert lines["a"] == ["0.2000 [0.2000, 0.2000]"] + [
            "0.0100 [0.0100, 0.0100]"
        ]
        # Of the protocol, the same two seeds.
        assert lines["lstm 1000, paper"][:4] == [
            *("2", "0", "0.2500"),
            "0.2500 [0.2250, 0.2750]",
        ]
        assert lines["lstm 1000, clip 1"][3:6] == [
            "0.1500 [0.1250, 0.1750]",
            "0.1000",
            "0.1000 [0.1000, 0.1000]",
        ]
        text = (tmp_path / "study.md").read_text()
        assert "\nThe networks took 4 minutes of one core.\n" in text
        rows = read_csv(tmp_path / "study.csv")
        assert len(rows) == 9
        assert rows[6] == {
            **{"task": "music", "variant": "paper", "size": "1000"},
            **{"model": "lstm", "target": "a", "seed": "2", "nmse": "99"},
            **{"best_nmse": "0.2", "diverged": "1"},
        }

    def test_variant_alone(self, write):
        """Where the paper's protocol was not tried yet."""
        lines = write({("clip 1", "srn"): [(0.1, 0.1)]})
        assert lines["srn 1000, paper"][:3] == ["0", "0", "-"]
        assert lines["srn 1000, clip 1"][:3] == ["1", "0", "0.1000"]

    def test_speech(self, write):
        """The paper has nothing beside it; all may have diverged."""
        lines = write({("paper", "srn"): [(99, 0.4), (99, 0.6)]}, "voiced")
        assert lines["srn 1000"] == [
            *("2", "2", "-", "-", "-", "-", "-", "-", "0.5000"),
            "0.5000 [0.4500, 0.5500]",
        ]


class TestBadInput:
    """One sentence, before anything is written."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("", "expected --targets, --audio or --sample"),
            ("--targets no.csv", "no.csv"),
            ("--audio a/x.wav b/x.flac", "expected files of different names"),
            ("--audio voiced.wav", "none of them music, voiced, unvoiced"),
            ("--sample .", "data_folder=.: expected a copy of TIMIT"),
            ("--targets {} --jobs 0", "--jobs 0: expected an integer from 1 t"),
            ("--targets {} --num_seeds 0", "--num_seeds 0: expected"),
            ("--targets {} --lr none", "lr"),
            ("--targets {} --max_grad_norm 3", "--max_grad_norm: .* once"),
            ("--targets {} --protocol paper", "--protocol: .* once"),
        ],
    )
    def test_refused(self, study, targets, monkeypatch, options, message):
        """Whatever it is."""
        monkeypatch.chdir(targets.parent)
        with pytest.raises(InputError, match=message) as info:
            study(*options.format(targets).split())
        assert "\n" not in str(info.value)
        assert [path.name for path in targets.parent.iterdir()] == ["two.csv"]

    def test_folder_of_another_study(self, study, targets):
        """Two in one folder would train the same."""
        with sole_run(targets.parent / "study"):
            with pytest.raises(InputError, match="expected no other run"):
                study("--targets", targets)


def test_manifest(study, recipe, sample, monkeypatch):
    """The stretches are written once and for all."""
    monkeypatch.setattr(recipe.study, "MODELS", [])
    folder = study("--sample", sample)
    written = json.loads((folder / "voiced.json").read_text())
    assert written == recipe.stretches.choose_stretches(sample, "voiced")


class TestCommitted:
    """The results in this repository, and what the README says of them."""

    FOLDER = RECIPES.parent / "results" / "generation"

    def test_tables(self, recipe, capsys):
        """They are made of the rows."""
        recipe.study_report.print_study(read_csv(self.FOLDER / "study.csv"))
        text = (self.FOLDER / "study.md").read_text()
        assert text.endswith(capsys.readouterr().out)
        assert text.startswith("    python study.py --targets koutnik2014.csv")

    def test_readme(self):
        """Its tables are among them, cell by cell."""

        def rows(path):
            return [
                [cell.strip() for cell in line.split("|")]
                for line in path.read_text().splitlines()
                if re.match(r"\| (cwrnn|lstm|srn) \d", line)
            ]

        readme = rows(RECIPES / "AudioGen" / "README.md")
        written = rows(self.FOLDER / "study.md")
        assert len(readme) >= 10
        assert [row for row in readme if row not in written] == []
