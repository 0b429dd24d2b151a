"""The choice of the engine."""

import math
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
        "periods, sizes, dtype, engine",
        [
            ((1,), (50,), torch.float32, "cpu"),
            ((1,), (51,), torch.float32, "eager"),
            ((2,), (51,), torch.float32, "cpu"),
            ((1, 2), (10, 60), torch.float64, "cpu"),
            ((1, 2), (10, 61), torch.float64, "eager"),
            ((1, 2), (10, 60), torch.bfloat16, "eager"),
        ],
    )
    def test_auto(self, periods, sizes, dtype, engine):
        """Compiled for small networks in the dtypes that it knows: 50 * 50,
        51 * 51 / 2 and 10 * 70 + 60 * 60 / 2 multiplications are few."""
        x = torch.zeros(99, 2, 3, dtype=dtype)
        groups = Groups(periods, sizes)
        assert choose_name("auto", x, groups) == engine
        assert choose_name("eager", x, groups) == "eager"

    @pytest.mark.parametrize(
        "batch, k, engine",
        [
            ([1], 77, "cpu"),
            ([1], 78, "eager"),
            ([2], 54, "cpu"),
            ([2], 55, "eager"),
            ([2, 1], 54, "cpu"),
            ([2, 1], 55, "eager"),
        ],
    )
    def test_batch(self, batch, k, engine):
        """With few sequences, products of matrices are slower for longer:
        there are 8000 multiplications for each of 3 groups."""
        x = torch.zeros(*batch, 2, 3)
        # 3 k k, 2 k k / 2 and k k / 1000 are 4.001 k k, of each sequence.
        periods, sizes = (1, 2, 1000), (k,) * 3
        expected = 4.001 * k * k * math.prod(batch) <= 24000
        assert expected == (engine == "cpu")
        assert choose_name("auto", x, Groups(periods, sizes)) == engine

    @pytest.mark.parametrize(
        "B, k, engine",
        [
            (1, 264, "cpu"),
            (1, 265, "eager"),
            (4, 132, "cpu"),
            (4, 133, "eager"),
            (99, 63, "cpu"),
            (99, 64, "eager"),
        ],
    )
    def test_gated(self, B, k, engine):
        """A loop in PyTorch is more calls then: up to 70 000 multiplications,
        or 4000 for each sequence, of the candidates alone."""
        assert (B * k * k <= 70_000 or k * k <= 4000) == (engine == "cpu")
        groups = Groups((1,), (k,), 0, Cell(gated=True))
        assert choose_name("auto", torch.zeros(B, 2, 3), groups) == engine

    def test_forced(self):
        """However large the network."""
        assert (
            choose_name("cpu", torch.zeros(1, 2, 3), Groups((1,), (999,)))
            == "cpu"
        )
        with pytest.raises(ValueError, match="'cpu' with torch.float16 on cpu"):
            choose_name("cpu", torch.zeros(1, 2, 3).half(), Groups((1,), (4,)))

    def test_unknown(self):
        """The message names what there is."""
        message = "backend='cuda': .*'auto', 'eager', 'cpu', 'triton'"
        with pytest.raises(ValueError, match=message):
            check_backend("cuda")

    def test_of_a_layer(self):
        """The layer tells, for where it is, its dtype, and the batch."""
        net = ClockworkRNN(128, input_size=3)
        assert [net.engine(B) for B in (1, 32)] == ["cpu", "eager"]
        assert net.bfloat16().engine() == "eager"
        net.backend = "cpu"
        with pytest.raises(ValueError, match="'cpu' with torch.bfloat16"):
            net.engine()
        x, groups = torch.zeros(1, 2, 3), Groups((1,), (4,))
        for backend, way, engine in (
            ("eager", "sweep", "sweep.eager"),
            ("cpu", "stepwise", "stepwise.cpu"),
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
        "from speechbrain_cwrnn.stepwise import vectors; "
        "vectors.add_product = Mock(side_effect=TypingError('no such type'))",
        "TypingError: no such type",
    ),
    "wrong": (
        "from speechbrain_cwrnn.stepwise import vectors; "
        "vectors.add_product = Mock()",
        "3 + 3 * 3 was 3.0",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
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
    assert warned.count("Small Clockwork RNNs run uncompiled, ") == 1
    assert reason in warned
    message = "backend='cpu': expected a numba that works here "
    assert refused.startswith(message) and reason in refused


def test_numba_switched_off_later():
    """What is chosen is to be compiled, whatever numba is told after that."""
    code = """
import numba
from speechbrain_cwrnn import ClockworkRNN
assert ClockworkRNN(4, input_size=2).engine() == "cpu"
numba.config.DISABLE_JIT = True
from speechbrain_cwrnn.stepwise import cpu_kernels
assert hasattr(cpu_kernels.forward_one, "py_func")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
