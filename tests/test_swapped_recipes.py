"""SpeechBrain's recipes, changed and run, on one that is made up."""

import math
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers import read_csv

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "swapped_recipes.py"
HEADER = (
    "Task,Hparam_file,Script_file,test_debug_flags,test_debug_checks\n"
    "ASR,recipes/A/hparams/train.yaml,recipes/A/train.py,--epochs=2 "
    '--name="a b" --broken=no,"file_exists=[train_log.txt] {check}"\n'
)
CHECK = "performance_check=[train_log.txt, train loss, <=5, epoch: 2]"
YAML = """\
data_folder_noise: !ref <data_folder>/noise # from the net
num_workers: 4
rnn_bidirectional: True
model:
    rnn_bidirectional: !ref <rnn_bidirectional>
"""
# Logs what it was given, and how its YAML file ends, as the loss is.
RECIPE = """\
import resource, signal, sys
from pathlib import Path
lines = Path(sys.argv[1]).read_text().splitlines()
assert lines[0] == "data_folder_noise: noise", lines
assert lines[1] == "num_workers: 0"
assert "--epochs=2" in sys.argv and "--name=a b" in sys.argv, sys.argv
assert "--device=cpu" in sys.argv and "--output_folder=out" in sys.argv
assert Path("tests/samples/noise/a.wav").exists()
assert Path("noise/a.wav").exists() and Path("noise/data.zip").exists()
assert ("--broken=no" in sys.argv) != ("--broken=yes" in sys.argv)
assert resource.getrlimit(resource.RLIMIT_CPU)[0] == 12 * 60
Path("out").mkdir()
losses = {"ClockworkRNN": 1.5, "ClockworkLiGRU": 1.25}
loss = losses.get(lines[-1].rpartition(".")[2], 1.0)
if "--broken=yes" in sys.argv and loss == 1.5:
    raise ValueError("no such thing")
if "--broken=yes" in sys.argv and loss == 1.25:
    signal.raise_signal(signal.SIGXCPU)  # as at the limit
text = f"epoch: 1 - train loss: 9.9e+00\\nepoch: 2 - train loss: {loss:.2e}\\n"
name = "other.txt" if "--lost" in sys.argv else "train_log.txt"
Path("out", name).write_text(text)
"""
# Loads at once, and has what an integration test needs.
SPEECHBRAIN = """\
class Brain:
    def __init__(self, modules=None):
        self.modules = modules
"""
TEST = """\
from importlib.util import find_spec
import speechbrain as sb
assert find_spec("rnnt_loss")
def main(device):
    sb.Brain()
    brain = sb.Brain(modules=[1])
    brain.train_loss = 0.25 if device == "cpu" and brain.modules else 0
    assert brain.train_loss < 0.2
"""


@pytest.fixture
def checkout(tmp_path):
    """A repository with one recipe and one integration test."""
    folder = tmp_path / "speechbrain"
    files = {
        "tests/recipes/A.csv": HEADER.format(check=CHECK),
        "tests/samples/noise/a.wav": "",
        "tests/samples/RIRs/a.wav": "",
        "recipes/A/hparams/train.yaml": YAML,
        "recipes/A/train.py": RECIPE,
        "tests/integration/B/hyperparams.yaml": YAML,
        "tests/integration/B/example_b.py": TEST,
        "tests/integration/B/example_b_other.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(checkout, tmp_path, monkeypatch, capsys):
    """Runs the script for given cases, and returns rows and what it prints."""

    def run(*cases):
        names = runpy.run_path(str(SCRIPT))
        monkeypatch.setitem(names["main"].__globals__, "CASES", cases)
        table = tmp_path / "rows.csv"
        command = ["swapped_recipes.py", str(checkout), "--csv", str(table)]
        monkeypatch.setattr(sys, "argv", command)
        names["main"]()
        return read_csv(table), capsys.readouterr()

    names = runpy.run_path(str(SCRIPT))
    run.crdnn, run.case = names["CRDNN"], names["Case"]
    return run


TRAIN = "recipes/A/hparams/train.yaml"


def test_recipe(run, checkout):
    """Each layer in turn; what is done is not done again."""
    case = run.case(TRAIN, [run.crdnn])
    rows, printed = run(case)
    reached = {row["layer"]: row["reached"] for row in rows}
    assert reached == {
        "unmodified": "1.00e+00",
        "ClockworkRNN": "1.50e+00",
        "ClockworkLiGRU": "1.25e+00",
    }
    assert {row["threshold"] for row in rows} == {"<=5"}
    assert rows[0]["line"] == "rnn_class: !name:speechbrain_cwrnn.ClockworkRNN"
    assert printed.out.count("1.50e+00") == 1
    (checkout / "recipes" / "A" / "train.py").write_text("raise SystemExit(1)")
    again, printed = run(case)
    assert again == rows and not printed.err
    assert (checkout / TRAIN).read_text() == YAML


def test_failures(run):
    """They are rows, with the reason."""
    case = run.case(TRAIN, [run.crdnn], variant="--broken=yes")
    (first, broken, long), printed = run(case)
    assert (first["reached"], first["failure"]) == ("1.00e+00", "")
    assert broken["reached"] == ""
    assert broken["failure"] == "ValueError: no such thing"
    assert "no: ValueError: no such thing" in printed.out
    assert long["failure"] == "more than 12 minutes of the CPU"


def test_lost_file(run):
    """What SpeechBrain's test asks for has to be there."""
    rows, _ = run(run.case(TRAIN, [run.crdnn], "--lost --broken=yes"))
    assert rows[0]["failure"] == "wrote no train_log.txt"


def test_integration(run, tmp_path, monkeypatch):
    """A test that misses its threshold has a number none the less."""
    (tmp_path / "speechbrain.py").write_text(SPEECHBRAIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    case = run.case("tests/integration/B/hyperparams.yaml", [run.crdnn])
    rows, _ = run(case)
    assert [row["reached"] for row in rows] == ["0.25"] * 3
    assert rows[0]["quantity"] == "train_loss"
    assert rows[0]["threshold"] == "< 0.2"


def test_transducer_loss():
    """All alignments count, of a sequence that ends before its batch too."""
    loss = runpy.run_path(str(SCRIPT.with_name("rnnt_loss.py")))
    probabilities = torch.full((2, 5, 3, 4), 0.2)
    probabilities[..., 2] = 0.4  # the blank
    lens = torch.tensor([1, 0.39]), torch.tensor([1, 0.49])  # 2 of 5, 1 of 2
    targets = torch.tensor([[0, 3], [3, 0]])
    values = loss["transducer_loss"](
        probabilities.log(), targets, *lens, 2, "none"
    )
    # 15 and 2 ways to put the labels before blanks.
    expected = [-math.log(15 * 0.4**5 * 0.2**2), -math.log(2 * 0.4**2 * 0.2)]
    assert values.tolist() == pytest.approx(expected)


def test_other_text(run):
    """A line that is not there is no line that can be changed."""
    with pytest.raises(SystemExit, match="train.yaml: expected the text 'no "):
        run(run.case(TRAIN, [("no such line", "")]))


def test_open_rows():
    """A table says of each run that it has none of."""
    names = runpy.run_path(str(SCRIPT))
    table = names["make_table"]([])
    assert table.count("not run yet") == 3 * len(names["CASES"])


@pytest.mark.parametrize(
    "script, name",
    [("swapped_recipes", "recipes"), ("places", "places")],
)
def test_tables(script, name):
    """Those of docs/swap.md are what the scripts make of their results."""
    names = runpy.run_path(str(SCRIPT.with_name(f"{script}.py")))
    rows = read_csv(names["RESULTS"])
    docs = (ROOT / "docs" / "swap.md").read_text()
    table = re.search(f"<!-- {name} -->(.*?)<!-- /{name} -->", docs, re.DOTALL)
    assert len(rows) > 5
    assert table[1].strip() == names["make_table"](rows)
