"""Products with matrices in panels."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import TypingError

from speechbrain_cwrnn import panels, vectors

# Whole blocks of eight and of four, and what is left of them.
ROWS = (1, 3, 4, 5, 7, 8, 9, 10, 12, 14, 23)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 12, 16, 24, 32, 33, 72, 100])
@pytest.mark.parametrize("rows", ROWS)
def test_product(rows, k, dtype):
    """It is added to what is there, from the first columns of the left on."""
    random = np.random.default_rng(rows * k)
    # Small whole numbers, whose sums are exact in any order.
    left, weight, before = (
        random.integers(-9, 9, shape).astype(dtype)
        for shape in ((rows, 7), (2, 5, k), (rows, k))
    )
    cut = panels.cut_panels(weight, rows)
    R, P, n, columns = cut.shape
    assert (R, n) == (2, 5) and cut.dtype == dtype and cut.flags.c_contiguous
    totals = np.zeros((rows, P * columns), dtype)
    totals[:, :k] = before
    panels.add_panels(totals, left, cut[1], 4)
    expected = before + left[:, :4] @ weight[1, :4]
    np.testing.assert_array_equal(totals[:, :k], expected)
    # Of the padding, nothing comes.
    assert not totals[:, k:].any()


def test_order_of_sums():
    """Each is formed on its own, one product after the other."""
    left = np.float32([[1, 1, 1]] * 8)
    weight = np.zeros((1, 3, 64), np.float32)
    # 2^24 + 1 is 2^24 in float32.
    weight[0] = [[2**24], [1], [-(2**24)]]
    cut = panels.cut_panels(weight, 8)
    totals = np.ones((8, 64 + -64 % cut.shape[3]), np.float32)
    panels.add_panels(totals, left, cut[0], 3)
    assert (totals[:, :64] == 1).all()


def test_width():
    """Wide panels are for what fills them, and for several rows."""
    width = panels.WIDTH * panels.REGISTER // 4
    shapes = {
        (rows, k): panels.cut_panels(
            np.zeros((1, 2, k), np.float32), rows
        ).shape[1:]
        for rows, k in (
            *((4, width), (4, width - 1), (3, 100), (4, 2 * width)),
            (4, 33),
        )
    }
    assert list(shapes.values()) == [
        (1, 2, width),
        (1, 2, -(-(width - 1) // 8) * 8),
        (1, 2, 104),
        (2, 2, width),
        # Of narrow registers, a third of the columns would be zeros.
        (2, 2, 32) if panels.REGISTER == 64 else (1, 2, 40),
    ]


def test_find_fault(monkeypatch):
    """A product that comes out wrong, or not at all, is told."""
    assert panels.find_fault() is None
    monkeypatch.setattr(panels, "add_panels", lambda *args: None)
    assert panels.find_fault() == "3 + 3 * 3 was 3.0"
    columns = []

    def add(totals, left, weight, stop):
        columns.append(weight.shape[2])
        totals += 9

    monkeypatch.setattr(panels, "add_panels", add)
    assert panels.find_fault() is None
    assert columns == [8, panels.WIDTH * panels.REGISTER // 4]

    def refuse(*args):
        raise TypingError("no such register")

    monkeypatch.setattr(panels, "add_panels", refuse)
    assert panels.find_fault() == "TypingError: no such register"


def test_shared():
    """What loops call of other files is of those that they are compiled for."""
    package = Path(panels.__file__).parent
    kernels = [*package.glob("*/cpu_kernels.py"), package / "peephole_cpu.py"]
    assert len(kernels) == 3
    # Of these, no loop calls anything.
    pattern = r"^from speechbrain_cwrnn\.(?!threads|errors)(\w+) import"
    called, new = set(), set(kernels)
    while new:
        names = {
            name + ".py"
            for path in new
            for name in re.findall(pattern, path.read_text(), re.MULTILINE)
        }
        new = {package / name for name in names - called}
        called |= names
    assert called == set(vectors.SHARED)


def test_frozen(monkeypatch):
    """Without sources, there is nothing to look at."""
    monkeypatch.setattr(vectors, "files", lambda _: Path("no such folder"))
    assert vectors._hash_shared.__wrapped__() is None


@pytest.mark.slow
@pytest.mark.skipif(panels.REGISTER == 32, reason="they are what it has")
def test_narrower_registers():
    """Those of a processor without AVX-512."""
    code = f"""
import sys, pytest
from speechbrain_cwrnn import panels
assert panels.REGISTER == 32 and panels.MANY == 4
options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, {__file__!r}]))
"""
    features = "+avx,+avx2,+fma"
    environment = {
        **os.environ,
        **{"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features},
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        **{"env": environment, "capture_output": True, "text": True},
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_update(tmp_path):
    """What numba has cached is not used once what loops share is another, even
    if their own files are the same."""
    package = tmp_path / "speechbrain_cwrnn"
    shutil.copytree(
        Path(panels.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    code = """
import numpy as np
from speechbrain_cwrnn import activations
from speechbrain_cwrnn.sweep import cpu_kernels
dh, h = np.ones((1, 2, 1), np.float32), np.full((1, 2, 1), 0.5, np.float32)
dz, weight = np.zeros_like(h), np.zeros((1, 1, 8), np.float32)
options = activations.TANH, False
cpu_kernels.backward(dh[0], dh, h, dz, dz, weight, options)
hits = sum(cpu_kernels.backward.stats.cache_hits.values())
print(activations.__file__, dz[0, 1, 0], hits)
"""

    def run():
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        environment.pop("NUMBA_CACHE_DIR", None)
        text = subprocess.run(
            [sys.executable, "-c", code],
            **{"env": environment, "check": True, "cwd": tmp_path},
            **{"capture_output": True, "text": True},
        ).stdout
        path, slope, hits = text.split()
        assert Path(path).parent == package
        return float(slope), int(hits)

    assert run() == (0.75, 0)
    assert run() == (0.75, 1)
    path = package / "activations.py"
    source = path.read_text(encoding="utf-8")
    other = source.replace("return 1 - y * y", "return 3 - y * y")
    assert other != source
    path.write_text(other, encoding="utf-8")
    assert run() == (2.75, 0)
