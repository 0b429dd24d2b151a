"""Reading what is held, and its transpose."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_cwrnn import threads
from speechbrain_cwrnn.clock import count_ticks, ticks_before
from speechbrain_cwrnn.sweep import cpu, holding
from speechbrain_cwrnn.sweep.holding import Gather, Runs, read_at


def naive_index(T, clock, period, other, before, initial):
    """Which value is read where, place by place."""
    places = [t for t in range(T) if (clock + t) % other == 0]
    index = [ticks_before(t + (not before), clock, period) for t in places]
    return [0] * initial + index


@pytest.mark.parametrize(
    "module, runs", [(holding, Runs), (cpu, cpu.CompiledRuns)]
)
@given(
    T=st.integers(1, 30),
    clock=st.integers(0, 20),
    period=st.integers(1, 12),
    other=st.integers(1, 12),
    before=st.booleans(),
    initial=st.booleans(),
)
def test_read_and_collect(
    module, runs, T, clock, period, other, before, initial
):
    """Values where they belong, and sums over the places of each."""
    index = naive_index(T, clock, period, other, before, initial)
    reading = module.read_at(clock, period, other, before, initial)
    assert type(reading) is (Gather if period % other else runs)
    signal = torch.randn(2, 3, 1 + count_ticks(T, clock, period), 4)
    places = torch.randn(2, 3, len(index), 4)
    assert torch.equal(reading.read(signal, len(index)), signal[:, :, index])
    sums = places.clone()
    reading.add(signal, sums)
    assert torch.equal(sums, places + signal[:, :, index])
    expected = torch.zeros_like(signal)
    expected.index_add_(2, torch.tensor(index, dtype=torch.long), places)
    collected = torch.full_like(signal, torch.nan)
    reading.collect(places, collected)
    assert (collected - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [1, 2])
def test_compiled_layouts(number, dtype, monkeypatch):
    """Some units of larger tensors, whose others are not touched; and a
    gradient that is the same number everywhere, as that of a sum."""
    monkeypatch.setattr(threads, "WORTH", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)
    index = naive_index(9, 0, 4, 1, False, False)
    all_signals = torch.randn(2, 3, 4, 9).to(dtype)
    signal = all_signals[..., 2:6]
    places = torch.randn(2, 3, 9, 7).to(dtype)
    expected = places.clone()
    expected[..., 3:] = signal[:, :, index]
    reading = cpu.read_at(0, 4)
    reading.write(signal, places[..., 3:])
    assert torch.equal(places, expected)
    expected[..., 3:] += signal[:, :, index]
    reading.add(signal, places[..., 3:])
    assert torch.equal(places, expected)
    reading.add(signal[..., :1].expand(-1, -1, -1, 4), places[..., 3:])
    expected[..., 3:] += signal[:, :, index, :1]
    assert torch.equal(places, expected)
    outside = all_signals.clone()
    one = torch.ones((), dtype=dtype).expand(2, 3, 9, 4)
    reading.collect(one, signal)
    counts = torch.tensor([0.0, 4, 4, 1]).to(dtype)
    assert torch.equal(signal, counts[:, None].expand_as(signal))
    outside[..., 2:6] = signal
    assert torch.equal(all_signals, outside)


def test_compiled_sums():
    """Of many values they are rounded once."""
    places = torch.full((1, 1, 10**6, 1), 0.1)
    signal = torch.empty(1, 1, 2, 1)
    cpu.read_at(0, 10**6).collect(places, signal)
    assert signal[0, 0, 1] == places.double().sum().float()


@given(
    T=st.integers(1, 30),
    clocks=st.lists(st.integers(0, 20), min_size=2, max_size=2),
    period=st.integers(1, 12),
    other=st.integers(1, 12),
    before=st.booleans(),
    initial=st.booleans(),
)
def test_clocks_of_their_own(T, clocks, period, other, before, initial):
    """The same for sequences that are at different clocks."""
    clock = torch.tensor([clocks])
    reading = read_at(clock, period, other, before, initial)
    signal = torch.randn(1, 2, 1 + count_ticks(T, clock, period), 3)
    M = count_ticks(T, clock, other) + initial
    read = reading.read(signal, M)
    places = torch.randn(1, 2, M, 3)
    expected = torch.zeros_like(signal)
    for b, now in enumerate(clocks):
        index = naive_index(T, now, period, other, before, initial)
        index = torch.tensor(index, dtype=torch.long)
        # At ticks past the end, too, something is read: the last value at most.
        more = naive_index(T + other, now, period, other, before, initial)
        more = torch.tensor(more[:M]).clamp(max=signal.shape[2] - 1)
        assert torch.equal(read[0, b], signal[0, b, more])
        # Of ticks past the end there is no gradient.
        places[0, b, len(index) :] = 0
        expected[0, b].index_add_(0, index, places[0, b, : len(index)])
    collected = torch.full_like(signal, torch.nan)
    reading.collect(places, collected)
    assert (collected - expected).abs().max() < 1e-5
