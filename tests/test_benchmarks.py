"""The benchmark runs, on torch alone, and its errors are rounding errors."""

import csv
import subprocess
import sys
from pathlib import Path

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed.py"


def test_speed(tmp_path):
    """A row for each engine and direction, added to what is there."""
    table = tmp_path / "speed.csv"
    sizes = "--batch 2 --time 9 --hidden 16 32 --groups 4 --repeats 2".split()
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
    assert len(rows) == 2 * 2 * 3 * 2
    names = {row["engine"] for row in rows}
    assert names == {"ClockworkRNN (cpu)", "nn.RNN", "nn.LSTM"}
    for row in rows:
        assert 0 < float(row["max_error"]) < 1e-5, row
        assert 0 < float(row["q25_ms"]) <= float(row["q75_ms"])
        assert row["runs"] == "2"
        assert row["machine"] and row["torch"] and row["python"]
        if row["engine"] == "nn.LSTM":
            assert float(row["vs_lstm"]) == 1
    assert run.stdout.count("| nn.LSTM |") == 4
