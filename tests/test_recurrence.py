"""The one sequential operation, in each of its engines."""

import subprocess
import sys

import pytest
import torch
from helpers import CPU_ENGINES, plain

from speechbrain_cwrnn import reference
from speechbrain_cwrnn.recurrence import choose_engine, recurrence


def leaves(*leading, N=9, B=2, k=3):
    """z, weight and h0, not contiguous."""
    shapes = [(N, B, k), (k, k), (B, k)]
    return [
        (0.5 * torch.randn(*leading, *shape, dtype=torch.float64).mT)
        .contiguous()
        .mT.requires_grad_()
        for shape in shapes
    ]


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_equals_plain_loop(engine, nonlinearity, leading):
    """States and all gradients, with and without replicas."""
    args = leaves(*leading)
    h = recurrence(*args, nonlinearity, engine)
    expected = plain(*args, nonlinearity)
    dh = torch.randn_like(h)
    actual = (h, *torch.autograd.grad(h, args, dh))
    expected = (expected, *torch.autograd.grad(expected, args, dh))
    for name, a, e in zip(("h", "dz", "dweight", "dh0"), actual, expected):
        assert (a - e).abs().max() < 1e-12, name


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_no_ticks(engine):
    """A group that does not tick has gradients all the same: zeros."""
    args = leaves(N=0)
    h = recurrence(*args, engine=engine)
    assert h.shape == (0, 2, 3)
    for gradient in torch.autograd.grad(h.sum(), args):
        assert not gradient.any()


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_extreme_values(engine):
    """Large z saturates exactly; NaN and infinity go their way."""
    z = torch.tensor([1e4, -1e4, torch.inf, torch.nan]).reshape(1, 4, 1)
    h = recurrence(z, torch.ones(1, 1), torch.zeros(4, 1), engine=engine)
    assert h.flatten()[:3].tolist() == [1, -1, 1]
    assert h.flatten()[3].isnan()


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_opcheck(engine):
    """What torch.compile and torch.export assume of an operator holds."""
    clock = torch.zeros(4, 2, dtype=torch.long)
    torch.library.opcheck(
        torch.ops.speechbrain_cwrnn.recurrence,
        (*leaves(4), clock, [1], [3], "tanh", engine),
    )


def test_no_second_derivative():
    """Differentiating twice is an error, not a wrong number."""
    args = leaves()
    (dz,) = torch.autograd.grad(
        recurrence(*args).square().sum(), args[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match="autograd"):
        torch.autograd.grad(dz.sum(), args)


class TestCPU:
    """What only the compiled engine does: several groups, and threads."""

    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize(
        "R, B", [(1, 1), (1, 99), (3, 30), (5, 4), (99, 1)]
    )
    @pytest.mark.parametrize("threads", [1, 2])
    def test_groups(self, R, B, threads, nonlinearity, monkeypatch):
        """Full, partial and mixed vectors of lanes, at different clocks."""
        from speechbrain_cwrnn.recurrence import cpu

        monkeypatch.setattr(cpu, "WORTH_THREADS", 0)
        sizes, periods, N = [2, 1, 3], (1, 2, 3), 7
        z, weight, h0 = leaves(R, N=N, B=B, k=6)
        clock = torch.randint(3, (R, B))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            h = recurrence(
                z, weight, h0, nonlinearity, "cpu", clock, periods, sizes
            )
            dh = torch.randn_like(h)
            actual = torch.autograd.grad(h, (z, weight, h0), dh)
        finally:
            torch.set_num_threads(before)
        for r in range(R):
            rows = [weight[r, :2], weight[r, 2:3, 2:], weight[r, 3:, 3:]]
            expected, _ = reference.clockwork_rnn(
                z[r].transpose(0, 1),
                torch.eye(6, dtype=torch.float64),
                rows,
                h0=h0[r],
                periods=periods,
                clock=clock[r],
                nonlinearity=nonlinearity,
            )
            expected = expected.transpose(0, 1)
            assert (h[r] - expected).abs().max() < 1e-12
            gradients = torch.autograd.grad(
                expected, (z, weight, h0), dh[r], retain_graph=True
            )
            # What stands below the blocks is no parameter.
            blocks = torch.block_diag(*(torch.ones(k, k) for k in sizes))
            blocks = blocks + blocks.new_ones(6, 6).triu() > 0
            dz, dweight, dh0 = (g[r] for g in gradients)
            assert (actual[0][r] - dz).abs().max() < 1e-12
            error = (actual[1][r] - dweight).abs() * blocks
            assert error.max() < 1e-12
            assert (actual[2][r] - dh0).abs().max() < 1e-12

    @pytest.mark.parametrize("shape", [(1, -1, 1), (-1, 1, 1)])
    def test_tanh(self, shape):
        """Rounded once, for any magnitude: of many sequences, and of one."""
        z = torch.cat([torch.logspace(-30, 2, 4001), torch.zeros(1)])
        z = torch.cat([z, -z]).reshape(shape)
        h = recurrence(
            z, torch.zeros(1, 1), torch.zeros(z.shape[1], 1), engine="cpu"
        )
        expected = z.double().tanh()
        error = (h.double() - expected).abs() / expected.abs()
        assert error.nan_to_num().max() < 2**-24
        assert h.abs().max() == 1

    def test_in_data_loader_workers(self, monkeypatch):
        """Works in a forked process after it worked, threaded, in this one."""
        from torch.utils.data import DataLoader

        from speechbrain_cwrnn.recurrence import cpu

        args = [leaf.detach() for leaf in leaves(3, B=40)]

        def run(_):
            return recurrence(*args, engine="cpu")

        monkeypatch.setattr(cpu, "WORTH_THREADS", 0)
        expected = run(None)
        loader = DataLoader([0, 1], num_workers=1, collate_fn=run, timeout=60)
        for h in loader:
            assert torch.equal(h, expected)


class TestChooseEngine:
    """The only place where engines are chosen."""

    @pytest.mark.parametrize(
        "periods, sizes, dtype, engine",
        [
            ([1], [30], torch.float32, "cpu"),
            ([1], [31], torch.float32, "eager"),
            ([2], [31], torch.float32, "cpu"),
            ([1, 2], [10, 30], torch.float64, "cpu"),
            ([1, 2], [10, 40], torch.float64, "eager"),
            ([1, 2], [10, 30], torch.bfloat16, "eager"),
        ],
    )
    def test_auto(self, periods, sizes, dtype, engine):
        """Compiled for small networks in the dtypes that it knows: 30 * 30,
        31 * 31 / 2 and 10 * 40 + 30 * 30 / 2 multiplications are few."""
        x = torch.zeros(99, 2, 3, dtype=dtype)
        assert choose_engine("auto", x, periods, sizes) == engine
        assert choose_engine("eager", x, periods, sizes) == "eager"

    @pytest.mark.parametrize(
        "batch, k, engine",
        [(1, 77, "cpu"), (1, 78, "eager"), (2, 54, "cpu"), (2, 55, "eager")],
    )
    def test_batch(self, batch, k, engine):
        """With few sequences, products of matrices are slower for longer:
        there are 8000 multiplications for each of 3 groups."""
        x = torch.zeros(batch, 2, 3)
        # 3 k k, 2 k k / 2 and k k / 1000 are 4.001 k k, of each sequence.
        periods, sizes = [1, 2, 1000], [k] * 3
        expected = 4.001 * k * k * batch <= 24000
        assert expected == (engine == "cpu")
        assert choose_engine("auto", x, periods, sizes) == engine

    def test_autocast(self):
        """What counts is the dtype of the products."""
        with torch.autocast("cpu", torch.bfloat16):
            assert choose_engine("auto", torch.zeros(1), [1], [4]) == "eager"

    def test_forced(self):
        """However large the network."""
        assert choose_engine("cpu", torch.zeros(1, 2, 3), [1], [999]) == "cpu"
        with pytest.raises(ValueError, match="'cpu' with torch.float16 on cpu"):
            choose_engine("cpu", torch.zeros(1).half(), [1], [4])

    def test_unknown(self):
        """The message names what there is."""
        message = "backend='cuda': .*'auto', 'eager', 'cpu', 'triton'"
        with pytest.raises(ValueError, match=message):
            choose_engine("cuda")

    def test_without_numba(self):
        """Slower, with one warning."""
        code = """
import sys, warnings
sys.modules["numba"] = None
import torch
from speechbrain_cwrnn import ClockworkRNN
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        ClockworkRNN(4, input_size=2)(torch.ones(1, 3, 2))
print([str(w.message)[:31] for w in caught])
"""
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        )
        assert run.stdout == "['Small Clockwork RNNs run uncomp']\n", run
