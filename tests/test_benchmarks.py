"""The benchmark runs, on torch alone, and its errors are rounding errors."""

import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import CPU_ENGINES, read_csv

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.sweep import eager, gpu

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed.py"
TUNE = SPEED.with_name("tune_gpu.py")
GPU = SPEED.with_name("gpu.sh")


def run_alone(script, *options, **environment):
    """Run a script as where torch and triton are installed, and no more."""
    code = (
        "import runpy, sys; "
        "others = ('speechbrain', 'numba', 'matplotlib', 'hypothesis'); "
        "sys.modules.update(dict.fromkeys(others)); "
        "sys.argv = sys.argv[1:]; "
        "sys.path.insert(0, sys.argv.pop(0)); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, script.parent, script, *options]
    run = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


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
            cwd=SPEED.parent,
        )
        assert run.returncode == 0, run.stderr
    rows = read_csv(table)
    assert len(rows) == 2 * 2 * 6 * 2
    names = {row["engine"] for row in rows}
    ours = {"(stepwise)", "(eager)"}
    ours = {f"ClockworkRNN {engine}" for engine in ours}
    ours |= {"ClockworkRNN, step by step", "per-group nn.RNN"}
    assert names == ours | {"nn.RNN", "nn.LSTM"}
    for row in rows:
        assert 0 < float(row["max_error"]) < 1e-5, row
        assert 0 < float(row["q25_ms"]) <= float(row["q75_ms"])
        assert row["runs"] == "2" and row["error_steps"] == "9"
        assert row["machine"] and row["torch"] and row["python"]
        if row["engine"] == "nn.LSTM":
            assert float(row["vs_lstm"]) == 1
    assert run.stdout.count("| nn.LSTM |") == 4


def test_long_sequences(monkeypatch):
    """Errors are measured on the first steps only, and that is said."""
    names = runpy.run_path(str(SPEED))
    steps = []

    def measure_errors(layers, x, cotangent):
        steps.extend([x.shape[1], cotangent.shape[1]])
        return dict.fromkeys(layers, (0, 0))

    scope = names["benchmark"].__globals__
    monkeypatch.setitem(scope, "measure_errors", measure_errors)
    sizes = "speed.py --groups 2 --repeats 1".split()
    monkeypatch.setattr(sys, "argv", sizes)
    rows = names["benchmark"](1, 300, 2, 4, names["parse_arguments"]())
    assert steps == [256, 256]
    assert {(row["time"], row["error_steps"]) for row in rows} == {(300, 256)}


def test_replay(monkeypatch):
    """Each function once more, as it was recorded."""
    names = runpy.run_path(str(SPEED))
    recorded, replayed = [], []

    def record(function):
        recorded.append(function)
        return lambda: replayed.append(function)

    scope = names["measure_times"].__globals__
    monkeypatch.setitem(scope, "record", record)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--repeats", "2"])
    args = names["parse_arguments"]()
    args.replay, layer = True, torch.nn.RNN(2, 3, batch_first=True)
    x, cotangent = torch.ones(1, 4, 2), torch.ones(1, 4, 3)
    times = names["measure_times"]({"a layer": layer}, x, cotangent, args)
    directions = ["forward", "forward_backward"]
    directions += [f"{direction}_replayed" for direction in directions]
    assert [*times] == [("a layer", direction) for direction in directions]
    assert all(len(runs) == 2 for runs in times.values())
    assert replayed == 3 * recorded and len(recorded) == 2
    monkeypatch.setattr(sys, "argv", ["speed.py", "--replay"])
    with pytest.raises(SystemExit):
        names["parse_arguments"]()


def test_chunks(monkeypatch):
    """Each goes on where the last one stopped; the time is that of one."""
    names = runpy.run_path(str(SPEED))
    options = "speed.py --chunks 3 --repeats 1".split()
    monkeypatch.setattr(sys, "argv", options)
    moments, states = itertools.count(), []
    scope = names["measure_times"].__globals__
    clock = SimpleNamespace(perf_counter=lambda: next(moments))
    monkeypatch.setitem(scope, "time", clock)

    def layer(x, state):
        assert not torch.is_grad_enabled()
        states.append(state)
        return x, (state or 0) + 1

    x, args = torch.ones(1, 4, 2), names["parse_arguments"]()
    times = names["measure_times"]({"a layer": layer}, x, x, args)
    assert states == 2 * [None, 1, 2]
    assert times == {("a layer", "streaming"): [1 / 3]}
    monkeypatch.setattr(sys, "argv", [*options, "--backend", "loop"])
    with pytest.raises(SystemExit):
        names["parse_arguments"]()


def test_per_group(monkeypatch):
    """The peer that is a torch.nn.RNN per group computes the same."""
    names = runpy.run_path(str(SPEED))
    options = "--groups 4 --dtype float64 --backend eager per-group".split()
    monkeypatch.setattr(sys, "argv", ["speed.py", *options])
    layers = names["make_layers"]((2, 9, 3), 11, names["parse_arguments"]())
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


@pytest.mark.parametrize(
    "shape, engine",
    [((1, 9), "stepwise"), ((32, 9), "stepwise"), ((32, 999), "cpu")],
)
def test_names_the_engine(shape, engine, monkeypatch):
    """The one that a batch of this size has, measured or not."""
    names = runpy.run_path(str(SPEED))
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    layers = names["make_layers"](
        (*shape, 128), 128, names["parse_arguments"]()
    )
    assert f"ClockworkRNN ({engine})" in layers


def test_gated_layers(monkeypatch):
    """Their peers are timed beside them; errors are those of rounding."""
    names = runpy.run_path(str(SPEED))
    options = "--cell gated --groups 3 --backend eager loop".split()
    options += ["--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["speed.py", *options])
    args = names["parse_arguments"]()
    layers = names["make_layers"]((2, 9, 3), 8, args)
    ours = ["ClockworkLiGRU", "ClockworkLiGRU of two groups"]
    ours += ["ClockworkLiGRU of one group"]
    assert {*layers} == {
        *(f"{name} (eager)" for name in ours),
        *(f"{name}, step by step" for name in ours),
        *("nn.LSTM", "nn.GRU", "speechbrain LiGRU"),
    }
    periods = [layers[f"{name} (eager)"].periods for name in ours]
    assert periods == [(1, 2, 4), (1, 2), (1,)]
    x, cotangent = torch.randn(2, 9, 3), torch.randn(2, 9, 8)
    errors = names["measure_errors"](layers, x, cotangent)
    assert all(0 < error < 1e-5 for pair in errors.values() for error in pair)
    times = names["measure_times"](layers, x, cotangent, args)
    assert all(len(runs) == 1 for runs in times.values())


def test_one_layer_per_group(monkeypatch, capsys):
    """No layer of PyTorch's stands for a group of gated units."""
    names = runpy.run_path(str(SPEED))
    options = "--cell gated --backend per-group".split()
    monkeypatch.setattr(sys, "argv", ["speed.py", *options])
    with pytest.raises(SystemExit):
        names["parse_arguments"]()
    assert "per-group: expected --cell plain." in capsys.readouterr().err


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
        cwd=SPEED.parent,
    )
    assert run.returncode == 1 and "refused: error" in run.stderr
    assert not (tmp_path / "x").exists()


def test_other_table(tmp_path, monkeypatch):
    """Rows of others are not mixed with ours, and nothing is measured."""
    table = tmp_path / "x.csv"
    table.write_text("engine,direction\nauto,forward\n")
    names = runpy.run_path(str(SPEED))
    monkeypatch.setattr(sys, "argv", ["speed.py", "--csv", str(table)])
    with pytest.raises(SystemExit, match=f"^--csv={table}: expected the col"):
        names["main"]()
    table.write_text(",".join(names["COLUMNS"]) + "\n")
    names["check_table"](table)
    names["check_table"](tmp_path / "new.csv")


@pytest.mark.slow
def test_left_out(tmp_path, monkeypatch, capsys):
    """A shape that does not fit, or is refused, does not cost the others."""
    names = runpy.run_path(str(SPEED))
    benchmark = names["benchmark"]

    def some(B, *others):
        if B == 3:
            raise torch.OutOfMemoryError
        if B == 4:
            raise names["InexactError"]("refused")
        return benchmark(B, *others)

    monkeypatch.setitem(names["main"].__globals__, "benchmark", some)
    sizes = "--batch 2 3 4 5 --time 5 --hidden 8 --groups 2 --repeats 1"
    table = tmp_path / "x.csv"
    options = [*sizes.split(), "--csv", str(table)]
    monkeypatch.setattr(sys, "argv", ["speed.py", *options])
    assert names["main"]()
    printed = capsys.readouterr()
    message = "batch 3, 5 steps, 8 units: out of memory, left out"
    assert message in printed.out
    assert printed.err == "batch 4, 5 steps, 8 units: refused\n"
    assert {row["batch"] for row in read_csv(table)} == {"2", "5"}


@pytest.mark.parametrize("cell", ["plain", "gated"])
def test_exact_float32(monkeypatch, cell):
    """No layer rounds float32 to TF32, which cuDNN does by default, and which
    SpeechBrain allows for all when it is imported."""
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    names = runpy.run_path(str(SPEED))
    scope, seen = names["main"].__globals__, []

    def allow(name):
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")

    def benchmark(*args):
        seen.append(torch.backends.cudnn.allow_tf32)
        seen.append(torch.get_float32_matmul_precision())
        raise torch.OutOfMemoryError

    there = SimpleNamespace(find_spec=lambda name: name)
    fake = SimpleNamespace(util=there, import_module=allow)
    monkeypatch.setitem(scope, "importlib", fake)
    monkeypatch.setitem(scope, "benchmark", benchmark)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--cell", cell])
    try:
        names["main"]()
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [False, "highest"]


def test_report(tmp_path):
    """A row for each layer, beside the others; the picture is drawn."""
    rows = ["engine,direction,batch,time,input,hidden,groups,dtype,median_ms,"]
    rows[0] += "vs_lstm,max_error,machine,threads,torch,python"
    for direction in ("forward", "forward_backward"):
        for hidden in (64, 128):
            end = "1e-7,cpu,1,2.0,3.11"
            shape = f"{direction},4,100,40,{hidden},8,float32"
            rows.append(f"ClockworkRNN (eager),{shape},2.0,4.0,{end}")
            rows.append(f"ClockworkLiGRU (cpu),{shape},5.0,1.6,{end}")
            rows.append(f"nn.RNN,{shape},3.0,2.67,{end}")
            rows.append(f"nn.LSTM,{shape},8.0,1.0,{end}")
    (tmp_path / "speed.csv").write_text("\n".join(rows))
    plot = tmp_path / "plot.png"
    report = SPEED.with_name("report.py")
    options = [tmp_path / "speed.csv", "--plot", plot]
    printed = subprocess.check_output(
        [sys.executable, report, *options], text=True
    )
    line = "| float32 | 4 | 100 | 40 | 64 | forward | "
    assert (
        f"{line}ClockworkRNN | 2 | eager | 1e-7 | 3 | 8 | 1.5 | 4.0" in printed
    )
    assert (
        f"{line}ClockworkLiGRU | 5 | cpu | 1e-7 | 3 | 8 | 0.6 | 1.6" in printed
    )
    assert "(machine: cpu, threads: 1, torch: 2.0" in printed
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_memory():
    """A row per layer; an LSTM keeps its gates, far more than the states."""
    script = SPEED.with_name("memory.py")
    sizes = "--batch 256 --time 100 --hidden 128 --input 8".split()
    printed = subprocess.check_output(
        [sys.executable, script, *sizes], text=True
    )
    peaks = {
        row.split("|")[1].strip(): float(row.split("|")[3])
        for row in printed.splitlines()[2:]
    }
    ours = {"ClockworkRNN", "ClockworkLiGRU"}
    theirs = {"nn.RNN", "nn.LSTM", "nn.GRU", "speechbrain LiGRU"}
    assert set(peaks) == ours | theirs
    assert 1 < peaks["ClockworkRNN"] < peaks["ClockworkLiGRU"]
    # Nothing is held for a gradient that is not there.
    assert peaks["ClockworkLiGRU"] < 0.68 * peaks["nn.LSTM"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", CPU_ENGINES)
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
    assert (min(holding[1:]) > 0) == (backend != "stepwise")
    for i in (1, 2):
        # Medians of parts need not add up to that of the whole.
        assert 0 < rest[i] < total[i]
        assert sum(part[i] for part in parts) < 2 * total[i]


@pytest.mark.parametrize(
    "name", ["cpu", "cpu_gated", "cpu_chunks", "gpu", "gpu_gated"]
)
def test_readme(name, monkeypatch, capsys):
    """The table is what the report makes of the results."""
    folder = SPEED.parent
    csv = folder / "results" / f"{name}.csv"
    monkeypatch.setattr(sys, "argv", ["report.py", str(csv)])
    runpy.run_path(str(folder / "report.py"), run_name="__main__")
    readme = (folder / "README.md").read_text()
    _, _, table = readme.partition(f"<!-- {name} -->")
    table, _, _ = table.partition(f"<!-- /{name} -->")
    assert table.strip() == capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["speed.py", "breakdown.py"])
def test_torch_alone(script):
    """What is run on a GPU needs nothing else."""
    sizes = "--batch 2 --time 9 --hidden 16 --groups 4 --repeats 1"
    options = [*sizes.split(), "--backend", "eager"]
    assert "16" in run_alone(SPEED.with_name(script), *options)


def test_tune(tmp_path):
    """A row for each candidate, checked; the one in use beside the best."""
    pytest.importorskip("triton", minversion="3.5")
    table = tmp_path / "tune.csv"
    sizes = "--device cpu --group 16 --batch 2 --time 1 --repeats 1"
    options = [*sizes.split(), "--dtype", "float16", "--cell", "gated"]
    options += ["--csv", table]
    printed = run_alone(TUNE, *options, TRITON_INTERPRET="1")
    rows = read_csv(table)
    first, *others = rows
    assert first["in_use"] == "True"
    assert {row["in_use"] for row in others} == {"False"}
    names = ("kernels", "block", "rows", "warps", "stages")
    assert len({tuple(row[name] for name in names) for row in rows}) == 29
    assert len(rows) == 29
    start = "| gated | float16 | 16 | 2 | both | vectors | 1 | 16 | 1 | 1 |"
    assert start in printed
    for row in rows:
        assert not row["note"]
        assert min(float(row["forward_us"]), float(row["backward_us"])) > 0


@pytest.fixture
def tuning():
    """What tune_gpu.py defines."""
    pytest.importorskip("triton")
    return runpy.run_path(str(TUNE))


H100 = gpu.Chip(multiprocessors=132, memory=227 * 1024)


@pytest.mark.parametrize(
    "dtype, k, expected",
    [
        (torch.float32, 64, {("gpu_vectors", 1, 64): {2, 4, 8}}),
        (
            torch.bfloat16,
            64,
            {("gpu_vectors", 1, 64): {2, 4, 8}}
            | {
                ("gpu_matrices", block, None): {2, 4, 8} for block in (4, 8, 16)
            },
        ),
        (
            torch.float32,
            384,
            {
                ("gpu_vectors", 2, 32): {4, 8, 16},
                ("gpu_vectors", 1, 64): {8, 16},
                ("gpu_vectors", 1, 128): {8, 16},
            },
        ),
    ],
)
def test_candidates(tuning, dtype, k, expected):
    """What is in use is one of them, and comes first; each once."""
    in_use = gpu.make_plan(H100, dtype, k, 1, 16, Cell())
    found = tuning["candidates"](H100, dtype, k, 16, Cell())
    assert found[0] == in_use and found.count(in_use) == 1
    warps = {}
    for plan in found:
        how = plan.options
        case = plan.kernels, how["BB"], how.get("ROWS")
        warps.setdefault(case, []).append(how["num_warps"])
        if plan.kernels == "gpu_matrices":
            assert plan.grid == (1, 16 // how["BB"])
    stages = {"gpu_vectors": 1, "gpu_matrices": 3}
    assert {case: set(some) for case, some in warps.items()} == expected
    for case, some in warps.items():
        assert len(some) == stages[case[0]] * len(expected[case])


class Clock:
    """A stopwatch that shows one time after the other."""

    def __init__(self, *times):
        self.times = iter(times)

    def run(self, function):
        """As that of the breakdown."""
        return function(), {"all": next(self.times)}


class Altered:
    """The plain loop, with something done to its states."""

    def __init__(self, change):
        self.change = change

    def forward(self, group, z):
        """As `eager.forward`."""
        eager.forward(group, z)
        self.change(group.state)

    backward = staticmethod(eager.backward)


def no_room(state):
    """Does not fit."""
    raise RuntimeError("out of resource\nat length")


@pytest.mark.parametrize("cell", ["plain", "gated"])
def test_measure(tuning, cell):
    """The median without the first run, of ten launches of all steps."""
    cell = tuning["CELLS"][cell]
    problem = tuning["Problem"](cell, "float32", 3, 2, 5, "cpu")
    # Milliseconds: 1000 of them are 20 000 microseconds for each of 50 steps.
    watch = Clock(9e9, 1000, 3000, 2000, 9e9, 4000, 8000, 4500)
    times = tuning["measure"](eager, problem, watch, repeats=3)
    assert times == (40_000, 90_000, "")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.add_(1e-5), "error "),
        (lambda state: state[0, 0, 3].fill_(torch.nan), "error nan"),
        (no_room, "RuntimeError: out of resource"),
    ],
)
def test_not_measured(tuning, change, message):
    """What is wrong or does not run has a note, of one line, and no times."""
    problem = tuning["Problem"](Cell(), "float32", 3, 2, 5, "cpu")
    engine = Altered(change)
    *times, note = tuning["measure"](engine, problem, Clock(), repeats=3)
    assert note.startswith(message) and "\n" not in note
    assert all(time != time for time in times)


def test_best(tuning, capsys):
    """In each direction, and in both; what has a note is none."""

    def row(block, forward, backward, note=""):
        return {
            "cell": "plain",
            "dtype": "float16",
            "group": 16,
            "batch": 2,
            "kernels": "matrices",
            "block": block,
            "rows": 16,
            "warps": 4,
            "stages": 3,
            "forward_us": forward,
            "backward_us": backward,
            "note": note,
        }

    def line(direction, in_use, time, best, shortest):
        case = f"| plain | float16 | 16 | 2 | {direction}"
        of = "| matrices | {} | 16 | 4 | 3 | {} "
        return f"{case} {of.format(in_use, time)}{of.format(best, shortest)}|"

    rows = [row(8, "5", "5"), row(4, "1", "7"), row(16, "9", "4")]
    faulty = row(32, "nan", "nan", note="out of resource")
    tuning["print_best"]([*rows, faulty])
    assert capsys.readouterr().out.splitlines() == [
        line("forward", 8, "5.000", 4, "1.000"),
        line("backward", 8, "5.000", 16, "4.000"),
        line("both", 8, "10.000", 4, "8.000"),
    ]
    tuning["print_best"]([faulty, *rows])
    (*_, both) = capsys.readouterr().out.splitlines()
    assert both == line("both", 32, "nan", 4, "8.000")
    tuning["print_best"]([faulty])
    (*_, both) = capsys.readouterr().out.splitlines()
    assert both == line("both", 32, "nan", 32, "nan")


def run_gpu(out, python3=None, **environment):
    """Run gpu.sh, with this python or another one in its place."""
    folder = Path(python3 or sys.executable).parent
    environment["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [GPU, out], capture_output=True, text=True, env=os.environ | environment
    )


def test_gpu_without_device(tmp_path):
    """One sentence, and nothing written."""
    run = run_gpu(tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert run.returncode == 1 and not run.stdout
    assert re.fullmatch(r"gpu\.sh: expected [^\n]*\.\n", run.stderr)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def python3(tmp_path):
    """In place of python: says what it is to run, and fails where it should."""
    path = tmp_path / "bin" / "python3"
    path.parent.mkdir()
    path.write_text(
        "#!/bin/sh\n"
        'echo "ran $*"\n'
        'case "$*" in *"$FAILS"*) exit 3;; *tune_gpu*) exit 124;; esac\n'
    )
    path.chmod(0o755)
    return path


def test_gpu_parts(tmp_path, python3):
    """All run, whatever becomes of the others, and what became is said."""
    out = tmp_path / "out"
    run = run_gpu(out, python3, FAILS="breakdown.py --batch 16 --time 1000")
    assert run.returncode == 1, run.stderr
    summary = (out / "summary.txt").read_text().splitlines()
    assert [re.sub(r"\d+ s$", "_ s", line) for line in summary] == [
        "ran -",
        "tests: ended well (exit status 0), _ s",
        "speed: ended well (exit status 0), _ s",
        "breakdown: failed (exit status 1), _ s",
        "tune: out of time (exit status 124), _ s",
    ]
    assert run.stdout.endswith("\n".join(["---", *summary, ""]))
    # Of the part that failed, too, all dtypes were tried.
    breakdown = (out / "breakdown.txt").read_text()
    assert breakdown.count("ran benchmarks/breakdown.py") == 2
    again = run_gpu(out, python3, FAILS="nothing")
    assert again.returncode == 1 and "expected a new folder" in again.stderr
    assert (out / "summary.txt").read_text().splitlines() == summary


def test_gpu_out_of_time(tmp_path, python3):
    """A part is stopped at its time, and what it has printed is kept."""
    script = tmp_path / "benchmarks" / "gpu.sh"
    script.parent.mkdir()
    times = {"tests 150": "tests 1", "breakdown 370": "breakdown 0"}
    text = GPU.read_text()
    for before, after in times.items():
        text = text.replace(before, after)
    script.write_text(text)
    python3.write_text(
        '#!/bin/sh\necho "ran $*"\ncase "$*" in "-m pytest"*) sleep 99;; esac'
    )
    environment = {"PATH": f"{python3.parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        ["bash", script, tmp_path / "out"], env=os.environ | environment
    )
    out = tmp_path / "out"
    assert "ran -m pytest" in (out / "tests.txt").read_text()
    _, tests, _, breakdown, *_ = (out / "summary.txt").read_text().splitlines()
    assert re.match(r"tests: out of time \(exit status 124\), \d s", tests)
    assert breakdown == "breakdown: out of time before it began"
    assert "ran benchmarks/tune_gpu.py" in (out / "tune.txt").read_text()


def test_gpu_without_pytest(tmp_path, python3):
    """The tests are left out; the rest is not."""
    run = run_gpu(tmp_path, python3, FAILS="import pytest")
    summary = (tmp_path / "summary.txt").read_text().splitlines()
    assert summary[1] == "tests: skipped, pytest is not installed"
    assert len(summary) == 5 and not (tmp_path / "tests.txt").exists()
    assert "ran -m pytest" not in run.stdout


def test_gpu_commands(tmp_path, python3, tuning, monkeypatch):
    """The scripts understand what they are called with."""
    run = run_gpu(tmp_path, python3, FAILS="nothing")
    commands = re.findall("^ran benchmarks/(.*)", run.stdout, re.MULTILINE)
    known = {"tune_gpu.py": tuning}
    for line in commands:
        script, *options = shlex.split(line)
        if script not in known:
            known[script] = runpy.run_path(str(SPEED.with_name(script)))
        monkeypatch.setattr(sys, "argv", [script, *options])
        with monkeypatch.context() as there:
            there.setattr(torch, "empty", lambda *sizes, device: None)
            args = known[script]["parse_arguments"]()
        assert args.device == "cuda"
    assert set(known) == {"speed.py", "breakdown.py", "tune_gpu.py"}
    assert len(commands) == 6 + 2 + 1
    (tests,) = re.findall("^ran -m pytest (.*)", run.stdout, re.MULTILINE)
    assert tests == "-v -m gpu -n auto tests/test_gpu.py"


def test_gpu_times():
    """Those in the README are those of the script, and less than 9 minutes."""
    times, readme = (
        re.findall(pattern, path.read_text(), re.MULTILINE)
        for pattern, path in [
            (r"^ *run_part (\w+) (\d+)", GPU),
            (r"^\| (\w+) \| (\d+) s \|", GPU.with_name("README.md")),
        ]
    )
    assert times == readme and len(times) == 4
    assert int(times[-1][1]) + 5 < 9 * 60


class TestBadOptions:
    """One sentence, before anything is measured."""

    @pytest.fixture
    def parse(self, monkeypatch, capsys):
        """Runs a script with options that it refuses; what it says."""

        def parse(script, *options):
            monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
            with pytest.raises(SystemExit) as stopped:
                runpy.run_path(SPEED.parent / script, run_name="__main__")
            assert stopped.value.code == 2
            return capsys.readouterr().err.splitlines()[-1]

        return parse

    @pytest.mark.parametrize(
        "options, message",
        [
            (["--batch", 0], "--batch: expected a positive integer, got 0."),
            (["--time", "x"], "--time: expected a positive integer, got x."),
            (["--groups", 32], "--groups: expected 31 groups at most, got 32."),
            (
                ["--groups", 5, "--hidden", 8, 4],
                "--groups 5: expected 4 at most, a unit in each.",
            ),
            (["--dtype", "int8"], "such as float32 or bfloat16, got int8."),
            (["--dtype", "Tensor"], "such as float32 or bfloat16, got Tensor."),
            (["--csv", "/"], "a file in a folder that is there, got /."),
            (["--csv", "no/a.csv"], "folder that is there, got no/a.csv."),
        ],
    )
    def test_speed(self, parse, options, message):
        """Of the script that measures most."""
        assert parse("speed.py", *options).endswith(message)

    def test_device(self, parse):
        """It is tried, with PyTorch's reason."""
        message = r"expected a device that is there, got tpu \(Expected one of"
        assert re.search(message, parse("speed.py", "--device", "tpu"))

    @pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", b"\xff"])
    def test_table(self, parse, tmp_path, text):
        """It is not one of speed.py."""
        path = tmp_path / "a.csv"
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        message = f"error: {path}: expected rows of speed.py"
        assert message in parse("report.py", path)

    def test_checkout(self, parse, tmp_path):
        """Without SpeechBrain's own tests, nothing can be run."""
        message = f"error: {tmp_path}: expected SpeechBrain's repository."
        assert parse("swapped_recipes.py", tmp_path).endswith(message)
