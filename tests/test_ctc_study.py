"""The study that compares recurrent layers by CTC."""

import sys
from types import SimpleNamespace

import pytest
from helpers import RECIPES, read_csv, recipe_modules

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.report import write_results

pytest_plugins = "timit_fixtures"

HPARAMS = RECIPES / "TIMIT" / "ASR" / "CTC" / "hparams"


@pytest.fixture
def study():
    """The module of the recipe."""
    with recipe_modules("TIMIT/ASR/CTC", "study") as modules:
        yield modules.study


@pytest.fixture
def args(tmp_path):
    """Those of a study of two seeds and two rates."""
    return SimpleNamespace(
        output_folder=tmp_path,
        num_params=40_000,
        layers=["Li-GRU", "GRU"],
        folds=[0],
        seeds=[1, 2],
        rates=[0.001, 0.003],
        jobs=1,
        options=[
            *("--cnn_blocks", "0", "--rnn_layers", "1"),
            *("--dnn_neurons", "32", "--dropout", "0"),
        ],
    )


@pytest.fixture
def written(study, args, monkeypatch):
    """Has train.py write results at once, but where an error is missing; these
    are by layer and rate, a pair of valid and test for each fold and seed."""
    started = []

    def written(errors):
        errors = {(layer, f"{r:g}"): e for (layer, r), e in errors.items()}

        def run(command, **_):
            given = dict(zip(command[1:], command[2:]))
            folder = args.output_folder / given["--output_folder"]
            started.append(folder)
            *place, seed = folder.relative_to(args.output_folder).parts
            layer, rate, fold = [*place, "fold_0"][:3]
            assert (given["--fold"], given["--seed"]) == (fold[5:], seed)
            error = errors[layer, rate][
                2 * int(given["--fold"]) + int(seed) - 1
            ]
            if error is None:
                return SimpleNamespace(returncode=1)
            folder.mkdir()
            (folder / "log.txt").write_text(
                "".join(
                    f"2026-01-31 23:59:{second},500 - speechbrain.utils."
                    f"epoch_loop - INFO - Going into epoch {epoch}\n"
                    for epoch, second in [(1, 10), (2, 13), (3, 14), (4, 25)]
                )
            )
            valid, test = error
            write_results(
                folder,
                {"model": layer, "size": 9, "corpus": "made up"},
                {"seed": [seed], "valid": [valid], "test": [test]},
            )
            return SimpleNamespace(returncode=0)

        monkeypatch.setattr(study.subprocess, "run", run)
        monkeypatch.setattr(study, "find_units", lambda *_: (16, 40_000))
        return started

    return written


def test_best_rate(study, args, written):
    """It is chosen by the development set; a run that fails counts against
    it."""
    started = written(
        {
            ("li_gru", 0.001): [(10, 20), (12, 24)],
            ("li_gru", 0.003): [(11, 7), (12, 7)],
            ("gru", 0.001): [(9, 8), None],
            ("gru", 0.003): [(30, 40), (30, 50)],
        }
    )
    (ligru, gru), by_fold = study.compare(args)
    assert ligru[3:] == [*("0.001", "2", "0", "11.00"), "22.00", "2.83", "3.00"]
    assert gru[3:] == [*("0.003", "2", "0", "30.00"), "45.00", "7.07", "3.00"]
    assert by_fold == {"Li-GRU": {0: 22}, "GRU": {0: 45}}
    rows = read_csv(args.output_folder / "study.csv")
    assert list(rows[-1].values()) == [
        *("GRU", "16", "40000", "0.003", "0", "2", "30.0", "50.0", "3.0")
    ]
    assert [row["test"] for row in rows[3:6]] == ["40.0", "24.0", "nan"]
    assert len(started) == 8
    # Once more: what failed alone.
    study.compare(args)
    assert started[8:] == [args.output_folder / "gru/0.001/2"]


def test_folds(study, args, written, monkeypatch, capsys):
    """Each layer has the best rate for each; layers are paired by the fold."""
    args.folds = [0, 1]
    found = []
    monkeypatch.setattr(study, "find_corpus", lambda *a: found.append(a))
    args.options += ["--data_folder", "sample"]
    written(
        {
            ("li_gru", 0.001): [(9, 10), (9, 12), (9, 30), (9, 34)],
            ("li_gru", 0.003): [(20, 1), (20, 1), (8, 29), (9, 33)],
            ("gru", 0.001): [(9, 21), None, (9, 40), (9, 43)],
            ("gru", 0.003): [None] * 4,
        }
    )
    rows, by_fold = study.compare(args)
    assert found == [("sample", 1)]
    assert [row[3:6] for row in rows] == [
        *(["0.001, 0.003", "4", "0"], ["0.001", "4", "1"])
    ]
    assert by_fold == {"Li-GRU": {0: 11, 1: 31}, "GRU": {0: 21, 1: 41.5}}
    monkeypatch.setattr(study, "print_provenance", print)
    study.write_study(rows, by_fold, args)
    text = (args.output_folder / "study.md").read_text()
    assert "made up: error rates in percent, folds 0, 1 of the sp" in text
    assert text.splitlines()[-1].split("|")[1:-1] == [
        *(" GRU - Li-GRU ", "     2 ", " +10.2 ", "     3.2 "),
        " Li-GRU wins, GRU loses ",
    ]
    assert capsys.readouterr().out == text


def test_folds_of_another_corpus(study, args, written, timit):
    """There are none, which is said before any training."""
    args.folds = [0, 3]
    args.options += ["--data_folder", str(timit)]
    started = written({})
    with pytest.raises(InputError, match="fold=3: expected 0, since .*TRAIN"):
        study.compare(args)
    assert not started


@pytest.mark.parametrize("key", ["options", "num_params"])
def test_other_options(study, args, written, key):
    """What is done with some is not reported as done with others."""
    args.rates, args.layers = [0.01], ["GRU"]
    started = written({("gru", 0.01): [(1, 2), (3, 4)]})
    study.compare(args)
    other = {"options": ["--dropout", "0.5"], "num_params": 50_000}
    setattr(args, key, other[key])
    with pytest.raises(InputError, match=f"holds a study with other {key} "):
        study.compare(args)
    assert len(started) == 2


def test_in_the_way(study, args, written):
    """Of what a training shows: it is said before any is begun."""
    started = written({})
    (args.output_folder / "gru/0.003/2.out").mkdir(parents=True)
    with pytest.raises(InputError, match="2.out is a folder: expected a file"):
        study.compare(args)
    assert not started


def test_all_failed(study, args, written, capsys):
    """The row says so, and where to look."""
    args.layers = ["GRU"]
    args.rates = [0.01]
    written({("gru", 0.01): [None, None]})
    rows, by_fold = study.compare(args)
    ((*_, runs, failed, valid, test, sd, seconds),) = rows
    assert (runs, failed) == ("2", "2")
    assert {valid, test, sd, seconds} == {"-"}
    assert by_fold == {"GRU": {}}
    assert f"{args.output_folder}/gru/0.01/2.out" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["LSTM", "clockwork Li-GRU"])
def test_equal_parameters(study, args, layer):
    """As near as multiples of four units come."""
    units, size = study.find_units(layer, args)
    for wanted in (size + 1, size - 1):
        args.num_params = wanted
        assert study.find_units(layer, args) == (units, size)


def test_too_few_parameters(study, args):
    """What cannot be had is one sentence."""
    args.num_params = 900
    with pytest.raises(InputError, match="with 4 units of GRU, it has [0-9]+"):
        study.find_units("GRU", args)


def test_layers_are_what_they_are_called(study, args):
    """The command of each makes its layer."""
    from options import CTCOptions

    made = {}
    for layer in study.LAYERS:
        run = study.Run(layer, 16, 0.001, 0, 1)
        file, _, overrides = study.parse_arguments(run.command(args))
        hparams = study.load_hparams(file, overrides, CTCOptions)
        (made[layer],) = [
            module
            for name, module in hparams["model"].named_modules()
            if name.endswith("RNN")
        ]
    kinds = {layer: type(rnn).__name__ for layer, rnn in made.items()}
    assert kinds == {
        "LSTM": "LSTM",
        "GRU": "GRU",
        "Li-GRU": "LiGRU",
        "Clockwork RNN": "ClockworkRNN",
        "clockwork Li-GRU, relu": "ClockworkLiGRU",
        "1 group, relu": "ClockworkLiGRU",
        "clockwork Li-GRU": "ClockworkLiGRU",
        "the same, 1 group": "ClockworkLiGRU",
        "the same, 4 groups": "ClockworkLiGRU",
    }
    gated = made["clockwork Li-GRU"]
    assert (gated.periods, gated.group_sizes) == ((1, 2), (12, 4))
    assert made["the same, 1 group"].periods == (1,)
    assert made["1 group, relu"].periods == (1,)
    assert [
        rnn.nonlinearity
        for rnn in made.values()
        if type(rnn).__name__ == "ClockworkLiGRU"
    ] == ["relu"] * 2 + ["tanh"] * 3
    four = made["the same, 4 groups"]
    assert (four.periods, four.group_sizes) == ((1, 2, 4, 8), (4, 4, 4, 4))


@pytest.mark.slow
def test_trains(study, synthetic_timit, tmp_path, capsys, monkeypatch):
    """A tiny study, as a program."""
    options = f"""--seeds 1 --rates 0.01 --num_params 20000 --jobs 2
        --layers GRU clockwork&Li-GRU
        --data_folder {synthetic_timit} --output_folder {tmp_path}
        --cnn_blocks 0 --rnn_layers 1 --dnn_blocks 1 --dnn_neurons 16
        --wav_augment null --number_of_epochs 2"""
    options = [option.replace("&", " ") for option in options.split()]
    monkeypatch.setattr(sys, "argv", ["study.py", *options])
    study.main()
    text = (tmp_path / "study.md").read_text()
    assert capsys.readouterr().out == text
    command, _, machine, _, title, _, *table = text.splitlines()
    assert command.startswith("    python study.py --seeds 1 --rates 0.01")
    assert "Phonemes by CTC, synthetic speech: " in title
    assert [line.split("|")[1].strip() for line in table] == [
        *("layer", "-" * 16, "GRU", "clockwork Li-GRU")
    ]
    rows = read_csv(tmp_path / "study.csv")
    assert len(rows) == 2
    for row, line in zip(rows, table[2:]):
        assert 0 < float(row["test"]) <= 110
        assert float(row["s/epoch"]) > 0
        assert line.split()[-6] == f"{float(row['test']):.2f}"


@pytest.mark.parametrize(
    ("options", "message"),
    [("--batch_size none", "batch_size"), ("--jobs 0", "--jobs 0: expected")],
)
def test_bad_option(study, tmp_path, monkeypatch, options, message):
    """It is one sentence, before anything is written."""
    folder = tmp_path / "new"
    options = f"--output_folder {folder} {options}"
    monkeypatch.setattr(sys, "argv", ["study.py", *options.split()])
    with pytest.raises(SystemExit, match=f"Error: .*{message}"):
        study.main()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["study.csv", "study.md"])
def test_output_in_the_way(study, tmp_path, monkeypatch, name):
    """It is said before any training."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(
        sys, "argv", ["study.py", f"--output_folder={tmp_path}"]
    )
    with pytest.raises(SystemExit, match=f"{name} is a folder: expected a fi"):
        study.main()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folder_of_another_study(study, tmp_path, monkeypatch):
    """Two in one folder would train the same."""
    monkeypatch.setattr(
        sys, "argv", ["study.py", f"--output_folder={tmp_path}"]
    )
    with sole_run(tmp_path):
        with pytest.raises(SystemExit, match="expected no other run in it"):
            study.main()
