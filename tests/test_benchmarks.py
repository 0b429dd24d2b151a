"""The benchmark runs, on torch alone, and its errors are rounding errors."""

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed.py"


@pytest.mark.slow
def test_speed(tmp_path):
    """A row for each engine and direction, added to what is there."""
    table = tmp_path / "speed.csv"
    sizes = "--batch 2 --time 9 --hidden 16 32 --groups 4 --repeats 2 "
    sizes = (sizes + "--backend auto eager per-group loop").split()
    code = (
        "import runpy, sys; sys.modules['speechbrain'] = None; "
        "sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", code, SPEED, *sizes, "--csv", table],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
    with open(table, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 6 * 2
    names = {row["engine"] for row in rows}
    ours = {"ClockworkRNN (cpu)", "ClockworkRNN (eager)", "step by step"}
    assert names == ours | {"per-group nn.RNN", "nn.RNN", "nn.LSTM"}
    for row in rows:
        assert 0 < float(row["max_error"]) < 1e-5, row
        assert 0 < float(row["q25_ms"]) <= float(row["q75_ms"])
        assert row["runs"] == "2"
        assert row["machine"] and row["torch"] and row["python"]
        if row["engine"] == "nn.LSTM":
            assert float(row["vs_lstm"]) == 1
    assert run.stdout.count("| nn.LSTM |") == 4


def test_per_group():
    """The peer that is a torch.nn.RNN per group computes the same."""
    names = runpy.run_path(str(SPEED))
    layers = names["make_layers"](
        2, 3, 11, 4, ["eager", "per-group"], "cpu", torch.float64
    )
    ours, theirs = layers["ClockworkRNN (eager)"], layers["per-group nn.RNN"]
    weight_ih = ours.weight_ih_l0.split(ours.group_sizes)
    bias = ours.bias_l0.split(ours.group_sizes)
    with torch.no_grad():
        for i, (rnn, k) in enumerate(zip(theirs.rnns, ours.group_sizes)):
            row = getattr(ours, f"weight_hh_l0_g{i}")
            slower = torch.cat([weight_ih[i], row[:, k:]], dim=1)
            rnn.weight_ih_l0.copy_(slower)
            rnn.weight_hh_l0.copy_(row[:, :k])
            rnn.bias_ih_l0.copy_(bias[i])
            rnn.bias_hh_l0.zero_()
    x = torch.randn(2, 13, 3, dtype=torch.float64)
    assert (theirs(x)[0] - ours(x)[0]).abs().max() < 1e-12


@pytest.mark.parametrize("B, engine", [(1, "cpu"), (32, "eager")])
def test_names_the_engine(B, engine):
    """The one that a batch of this size has, measured or not."""
    names = runpy.run_path(str(SPEED))
    sizes = [B, 128, 128, 8]
    layers = names["make_layers"](*sizes, ["auto"], "cpu", torch.float32)
    assert f"ClockworkRNN ({engine})" in layers


@pytest.mark.slow
def test_refuses_inexact(tmp_path):
    """A layer whose states are off has no times."""
    code = (
        "import runpy, sys, torch; "
        "from speechbrain_cwrnn.stepwise import cpu; "
        "forward = cpu.forward; "
        "cpu.forward = lambda h, *args: (forward(h, *args), h.add_(1e-3)); "
        "sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    sizes = "--batch 2 --time 9 --hidden 16 --groups 4".split()
    run = subprocess.run(
        [sys.executable, "-c", code, SPEED, *sizes, "--csv", tmp_path / "x"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "refused: error" in run.stderr
    assert not (tmp_path / "x").exists()


def test_out_of_memory(tmp_path, monkeypatch, capsys):
    """A shape that does not fit is left out, and the others are not lost."""
    names = runpy.run_path(str(SPEED))
    benchmark = names["benchmark"]

    def small(B, *others):
        if B == 3:
            raise torch.OutOfMemoryError
        return benchmark(B, *others)

    monkeypatch.setitem(names["main"].__globals__, "benchmark", small)
    sizes = "--batch 2 3 4 --time 5 --hidden 8 --groups 2 --repeats 1".split()
    table = tmp_path / "x.csv"
    monkeypatch.setattr(sys, "argv", ["speed.py", *sizes, "--csv", str(table)])
    names["main"]()
    message = "batch 3, 5 steps, 8 units: out of memory, left out"
    assert message in capsys.readouterr().out
    with open(table, encoding="utf-8") as file:
        batches = {row["batch"] for row in csv.DictReader(file)}
    assert batches == {"2", "4"}


def test_report(tmp_path):
    """The table has the times side by side, the picture is drawn."""
    rows = ["engine,direction,batch,time,input,hidden,groups,dtype,median_ms,"]
    rows[0] += "vs_lstm,max_error,machine,threads,torch,python"
    for direction in ("forward", "forward_backward"):
        for hidden in (64, 128):
            end = "1e-7,cpu,1,2.0,3.11"
            shape = f"{direction},4,100,40,{hidden},8,float32"
            rows.append(f"ClockworkRNN (eager),{shape},2.0,4.0,{end}")
            rows.append(f"nn.RNN,{shape},3.0,2.67,{end}")
            rows.append(f"nn.LSTM,{shape},8.0,1.0,{end}")
    (tmp_path / "speed.csv").write_text("\n".join(rows))
    plot = tmp_path / "plot.png"
    report = SPEED.with_name("report.py")
    options = [tmp_path / "speed.csv", "--plot", plot]
    printed = subprocess.check_output(
        [sys.executable, report, *options], text=True
    )
    line = "| float32 | 4 | 100 | 40 | 64 | forward | 2 | eager | 1e-7 | 3 | "
    assert line + "8 | 1.5 | 4.0 |" in printed
    assert "(machine: cpu, threads: 1, torch: 2.0" in printed
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_memory():
    """A row per layer; an LSTM keeps its gates, far more than the states."""
    script = SPEED.with_name("memory.py")
    sizes = "--batch 32 --time 1500 --hidden 128 --input 8".split()
    printed = subprocess.check_output(
        [sys.executable, script, *sizes], text=True
    )
    peaks = {
        row.split("|")[1].strip(): float(row.split("|")[3])
        for row in printed.splitlines()[2:]
    }
    assert set(peaks) == {"ClockworkRNN", "nn.RNN", "nn.LSTM"}
    assert 1 < peaks["ClockworkRNN"] < peaks["nn.LSTM"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_breakdown(backend):
    """The parts are those of the whole, and each engine has its own."""
    script = SPEED.with_name("breakdown.py")
    sizes = "--batch 2 --time 300 --hidden 32 --groups 4 --repeats 3".split()
    printed = subprocess.check_output(
        [sys.executable, script, *sizes, "--backend", backend], text=True
    )
    assert f"engine {backend}," in printed
    rows = [line.split("|") for line in printed.splitlines() if "|" in line]
    *parts, total = [
        (name.strip(), float(forward), float(backward))
        for _, name, forward, backward, _ in rows[2:]
    ]
    assert total[0] == "all"
    steps, products, holding, rest = parts
    assert steps[0] == "sequential steps" and min(steps[1:]) > 0
    assert products[0] == "products of matrices" and min(products[1:]) > 0
    assert holding[0] == "reading and holding"
    assert (min(holding[1:]) > 0) == (backend == "eager")
    for i in (1, 2):
        # Medians of parts need not add up to that of the whole.
        assert 0 < rest[i] < total[i]
        assert sum(part[i] for part in parts) < 2 * total[i]


def test_readme():
    """The table in the README is what the report makes of the results."""
    folder = SPEED.parent
    printed = subprocess.check_output(
        [sys.executable, folder / "report.py", folder / "results" / "cpu.csv"],
        text=True,
    )
    readme = (folder.parent / "README.md").read_text()
    _, _, table = readme.partition("<!-- speed -->")
    assert table.partition("<!-- /speed -->")[0].strip() == printed.strip()
