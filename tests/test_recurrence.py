"""The one sequential operation, in each of its engines."""

import math
import subprocess
import sys

import pytest
import torch
from helpers import assert_equal, run_engine, run_plain

from speechbrain_cwrnn import clockwork_rnn, reference
from speechbrain_cwrnn.recurrence import choose_engine, cpu, eager


def group(R=2, B=2, N=9, k=3):
    """z, weight and h0 of a group, not contiguous."""
    shapes = [(R, B, N, k), (R, k, k), (R, B, k)]
    return [
        (0.5 * torch.randn(*shape, dtype=torch.float64).mT).contiguous().mT
        for shape in shapes
    ]


class TestEager:
    """The loop in PyTorch."""

    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize("R, N", [(1, 9), (4, 9), (2, 1)])
    def test_equals_plain_loop(self, nonlinearity, R, N):
        """States and gradients, with and without replicas."""
        args = group(R, N=N)
        dh = torch.randn_like(args[0])
        assert_equal(
            run_engine(eager, *args, nonlinearity, dh),
            run_plain(*args, nonlinearity, dh),
        )

    def test_first_gradient(self):
        """What is known of that of the initial state is added to."""
        z, weight, h0 = group()
        state = torch.cat([h0.unsqueeze(2), z], dim=2)
        dstate = torch.randn_like(state)
        expected = dstate.clone()
        expected[:, :, 0] = 0
        eager.backward(expected, state, weight, "tanh")
        expected[:, :, 0] += dstate[:, :, 0]
        eager.backward(dstate, state, weight, "tanh")
        assert_equal({"dstate": dstate}, {"dstate": expected})

    def test_no_ticks(self):
        """A group that does not tick is left as it is."""
        state = torch.randn(3, 2, 1, 4)
        dstate, weight = torch.randn_like(state), torch.randn(3, 4, 4)
        before = state.clone(), dstate.clone()
        eager.forward(state, weight, "tanh")
        eager.backward(dstate, state, weight, "tanh")
        assert torch.equal(state, before[0])
        assert torch.equal(dstate, before[1])


@pytest.mark.parametrize("engine", ["eager", "cpu"])
def test_extreme_values(engine):
    """Large z saturates exactly; NaN and infinity go their way."""
    x = torch.tensor([1e4, -1e4, torch.inf, torch.nan, 0]).reshape(5, 1, 1)
    x = torch.cat([x, x], dim=1)
    one = torch.ones(1, 1)
    h, _ = clockwork_rnn(x, one, [0 * one], periods=[1], backend=engine)
    assert h[:3, 0].flatten().tolist() == [1, -1, 1]
    assert h[3].isnan().all() and not h[4].any()


class TestCPU:
    """What only the compiled engine does: several groups, and threads."""

    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize(
        "R, B", [(1, 1), (1, 99), (3, 30), (5, 4), (99, 1)]
    )
    @pytest.mark.parametrize("threads", [1, 2])
    def test_groups(self, R, B, threads, nonlinearity, monkeypatch):
        """Full, partial and mixed vectors of lanes, at different clocks."""
        monkeypatch.setattr(cpu, "WORTH_THREADS", 0)
        sizes, periods = [2, 1, 3], [1, 2, 3]
        z, weight, h0 = group(R, B, N=7, k=6)
        dh = torch.randn_like(z)
        clock = torch.randint(3, (R, B))
        options = clock, periods, sizes, nonlinearity
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            h = z.clone(memory_format=torch.contiguous_format)
            cpu.forward(h, weight, h0, *options)
            dz, dh0 = cpu.backward(dh, h, weight, *options)
        finally:
            torch.set_num_threads(before)
        for r in range(R):
            leaves = [x[r].detach().requires_grad_() for x in (z, h0)]
            expected, _ = reference.clockwork_rnn(
                leaves[0],
                torch.eye(6, dtype=torch.float64),
                [weight[r, :2], weight[r, 2:3, 2:], weight[r, 3:, 3:]],
                h0=leaves[1],
                periods=periods,
                clock=clock[r],
                nonlinearity=nonlinearity,
            )
            gradients = torch.autograd.grad(expected, leaves, dh[r])
            assert_equal(
                {"h": h[r], "dz": dz[r], "dh0": dh0[r]},
                dict(zip(("h", "dz", "dh0"), (expected.detach(), *gradients))),
            )

    @pytest.mark.parametrize("shape", [(1, -1, 1, 1), (1, 1, -1, 1)])
    def test_tanh(self, shape):
        """Rounded once, for any magnitude: of many sequences, and of one."""
        z = torch.cat([torch.logspace(-30, 2, 4001), torch.zeros(1)])
        z = torch.cat([z, -z]).reshape(shape)
        h, zero = z.clone(), torch.zeros(1, 1, 1)
        h0 = zero.expand(1, z.shape[1], 1)
        cpu.forward(h, zero, h0, 0, [1], [1], "tanh")
        expected = z.double().tanh()
        error = (h.double() - expected).abs() / expected.abs()
        assert error.nan_to_num().max() < 2**-24
        assert h.abs().max() == 1

    def test_in_data_loader_workers(self, monkeypatch):
        """Works in a forked process after it worked, threaded, in this one."""
        from torch.utils.data import DataLoader

        z, weight, h0 = group(3, B=40)

        def run(_):
            h = z.clone(memory_format=torch.contiguous_format)
            cpu.forward(h, weight, h0, 0, [1], [3], "tanh")
            return h

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
            ([1], [50], torch.float32, "cpu"),
            ([1], [51], torch.float32, "eager"),
            ([2], [51], torch.float32, "cpu"),
            ([1, 2], [10, 60], torch.float64, "cpu"),
            ([1, 2], [10, 61], torch.float64, "eager"),
            ([1, 2], [10, 60], torch.bfloat16, "eager"),
        ],
    )
    def test_auto(self, periods, sizes, dtype, engine):
        """Compiled for small networks in the dtypes that it knows: 50 * 50,
        51 * 51 / 2 and 10 * 70 + 60 * 60 / 2 multiplications are few."""
        x = torch.zeros(99, 2, 3, dtype=dtype)
        assert choose_engine("auto", x, periods, sizes) == engine
        assert choose_engine("eager", x, periods, sizes) == "eager"

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
        periods, sizes = [1, 2, 1000], [k] * 3
        expected = 4.001 * k * k * math.prod(batch) <= 24000
        assert expected == (engine == "cpu")
        assert choose_engine("auto", x, periods, sizes) == engine

    def test_forced(self):
        """However large the network."""
        assert choose_engine("cpu", torch.zeros(1, 2, 3), [1], [999]) == "cpu"
        with pytest.raises(ValueError, match="'cpu' with torch.float16 on cpu"):
            choose_engine("cpu", torch.zeros(1, 2, 3).half(), [1], [4])

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
