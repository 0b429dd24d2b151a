"""The choice of the engine."""

import subprocess
import sys

import pytest
import torch

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.backend import check_backend, choose, choose_name
from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups


class TestChoose:
    """The only place where engines are chosen."""

    @pytest.mark.parametrize(
        "B, T, periods, sizes, gated, engine",
        [
            # 1000 steps of 44 * 44 multiplications are few, of 45 * 45 not.
            (10, 100, (1,), (44,), False, "stepwise"),
            (10, 100, (1,), (45,), False, "cpu"),
            (5, 100, (1,), (45,), False, "stepwise"),
            # Twice as many with two groups: 1000 steps of 3977 and 4062.5.
            (10, 100, (1, 2), (27, 58), False, "stepwise"),
            (10, 100, (1, 2), (27, 59), False, "cpu"),
            # Of any number: 200 at each step for each group but one.
            (999, 999, (1, 2), (5, 14), False, "stepwise"),
            (999, 999, (1, 2), (5, 15), False, "cpu"),
            (999, 999, (1,), (2,), False, "cpu"),
            # Of a gated cell, less than half of both.
            (10, 100, (1,), (24,), True, "stepwise"),
            (10, 100, (1,), (25,), True, "cpu"),
            (999, 999, (1, 2), (4, 9), True, "stepwise"),
            (999, 999, (1, 2), (4, 10), True, "cpu"),
            # What PyTorch shares between eight threads, and loops do not: 5
            # million of a group at each step, of fewer sequences than four
            # for each thread.
            (20, 9, (1, 3), (9, 500), False, "cpu"),
            (21, 9, (1, 3), (9, 500), False, "eager"),
            (31, 9, (1, 3), (9, 500), False, "eager"),
            (32, 9, (1, 3), (9, 500), False, "cpu"),
            (40, 9, (1, 3), (9, 500), False, "cpu"),
            (10, 9, (1, 3), (9, 500), True, "cpu"),
            (11, 9, (1, 3), (9, 500), True, "eager"),
        ],
    )
    def test_auto(self, monkeypatch, B, T, periods, sizes, gated, engine):
        """By what there is to compute."""
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
        groups = Groups(periods, sizes, 0, Cell(gated=gated))
        x = torch.zeros(B, T, 3)
        assert choose_name("auto", x, groups) == engine
        assert choose_name("auto", x.unsqueeze(0), groups) == engine
        assert choose_name("auto", x.double(), groups) == engine
        assert choose_name("auto", x.bfloat16(), groups) == "eager"
        assert choose_name("eager", x, groups) == "eager"

    @pytest.mark.parametrize(
        "B, periods, sizes, gated, engine",
        [
            # 1000 at each step for each group, or 500 for each of two
            # sequences, which are done side by side with those of others.
            (1, (1,), (31,), False, "stepwise"),
            (1, (1,), (32,), False, "cpu"),
            (2, (1,), (22,), False, "stepwise"),
            (2, (1,), (23,), False, "cpu"),
            (1, (1, 2), (25, 33), False, "stepwise"),
            (1, (1, 2), (25, 34), False, "cpu"),
            (1, (1,), (17,), True, "stepwise"),
            (1, (1,), (18,), True, "cpu"),
        ],
    )
    def test_copies(self, B, periods, sizes, gated, engine):
        """With weights of its own, a sequence is not worth a sweep so soon."""
        groups = Groups(periods, sizes, 0, Cell(gated=gated))
        x = torch.zeros(1, 1, 1, 1)
        assert choose_name("auto", x.expand(999, B, 999, 3), groups) == engine
        x = x.expand(1, 999 * B, 999, 3)
        assert choose_name("auto", x, groups) == "cpu"

    def test_forced(self):
        """However large or small the network."""
        x = torch.zeros(9, 2, 3)
        for backend in ("cpu", "stepwise"):
            for k in (1, 999):
                chosen = choose_name(backend, x, Groups((1,), (k,)))
                assert chosen == backend
            message = f"'{backend}' with torch.float16 on cpu"
            with pytest.raises(ValueError, match=message):
                choose_name(backend, x.half(), Groups((1,), (4,)))

    def test_unknown(self):
        """The message names what there is."""
        message = (
            "backend='cuda': .*'auto', 'eager', 'cpu', 'triton', 'stepwise'"
        )
        with pytest.raises(ValueError, match=message):
            check_backend("cuda")

    def test_of_a_layer(self):
        """The layer tells, for where it is, its dtype, and the batch."""
        net = ClockworkRNN(128, input_size=3)
        assert [net.engine(B) for B in (1, 999)] == ["stepwise", "cpu"]
        assert [net.engine(9, T) for T in (1, 9999)] == ["stepwise", "cpu"]
        small = ClockworkRNN(31, input_size=3, periods=[1])
        assert small.engine(1, 999, num_copies=999) == "stepwise"
        assert small.engine(999, 999) == "cpu"
        assert net.bfloat16().engine() == "eager"
        net.backend = "cpu"
        with pytest.raises(ValueError, match="'cpu' with torch.bfloat16"):
            net.engine()
        x, groups = torch.zeros(1, 2, 3), Groups((1,), (4,))
        for backend, way, engine in (
            ("eager", "sweep", "sweep.eager"),
            ("cpu", "sweep", "sweep.cpu"),
            ("stepwise", "stepwise", "stepwise.cpu"),
        ):
            choice = choose(backend, x, groups)
            assert choice.way.__name__ == f"speechbrain_cwrnn.{way}"
            assert choice.engine.__name__ == f"speechbrain_cwrnn.{engine}"


WITHOUT = {
    "not installed": ("sys.modules['numba'] = None", "ModuleNotFoundError"),
    "too old": (
        "import numba.extending; del numba.extending.intrinsic",
        "ImportError: cannot import name 'intrinsic'",
    ),
    "not whole": (
        "real = builtins.__import__; "
        "load = Mock(side_effect=OSError('no library')); "
        "builtins.__import__ = lambda name, *args, **more: "
        "(load if name == 'llvmlite' else real)(name, *args, **more)",
        "OSError: no library",
    ),
    "set up wrongly": (
        "os.environ['NUMBA_NUM_THREADS'] = '0'",
        "ValueError: Number of threads",
    ),
    "switched off": ("os.environ['NUMBA_DISABLE_JIT'] = '1'", "Error: "),
    "cannot compile": (
        "from numba.core.errors import TypingError; "
        "from speechbrain_cwrnn import panels; "
        "panels.add_panels = Mock(side_effect=TypingError('no such type'))",
        "TypingError: no such type",
    ),
    "wrong": (
        "from speechbrain_cwrnn import panels; panels.add_panels = Mock()",
        "3 + 3 * 3 was 3.0",
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        case
        if case in ("not installed", "cannot compile")
        else pytest.param(case, marks=pytest.mark.slow)
        for case in WITHOUT
    ],
)
def test_without_numba(case):
    """Slower, with one warning; an error where it is forced. It is found out
    when the engine is chosen."""
    prepare, reason = WITHOUT[case]
    code = f"""
import builtins, os, sys, warnings
from unittest.mock import Mock
{prepare}
import torch
from speechbrain_cwrnn import ClockworkRNN
x = torch.ones(1, 3, 2)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert ClockworkRNN(4, input_size=2).engine() == "eager"
        assert ClockworkRNN(4, input_size=2)(x)[0].isfinite().all()
print([str(w.message) for w in caught])
try:
    ClockworkRNN(4, input_size=2, backend="cpu").engine()
except ValueError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    warned, refused = run.stdout.splitlines()
    assert warned.count("Recurrent layers run uncompiled on the CPU, ") == 1
    assert reason in warned
    message = "backend='cpu': expected a numba that works here "
    assert refused.startswith(message) and reason in refused


def test_numba_switched_off_later():
    """What is chosen is to be compiled, whatever numba is told after that."""
    code = """
import numba
from speechbrain_cwrnn import ClockworkRNN
assert ClockworkRNN(4, input_size=2).engine() == "stepwise"
numba.config.DISABLE_JIT = True
from speechbrain_cwrnn.stepwise import cpu_kernels
assert hasattr(cpu_kernels.forward_one, "py_func")
from speechbrain_cwrnn.sweep import cpu_kernels
assert hasattr(cpu_kernels.forward, "py_func")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
