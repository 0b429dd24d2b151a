"""Periods, group sizes and ticks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_cwrnn.clock import (
    MAX_CLOCK,
    MAX_PERIOD,
    check_clock,
    first_tick,
    resolve_group_sizes,
    resolve_periods,
    ticks_before,
)
from speechbrain_cwrnn.errors import InputError


def test_periods():
    """A list stands for itself, a number and None for exponential series."""
    assert resolve_periods([1, 3, 7], 10) == (1, 3, 7)
    assert resolve_periods(torch.tensor([2, 4]), 10) == (2, 4)
    for number in (4, np.int64(4)):
        assert resolve_periods(number, 10) == (1, 2, 4, 8)
    assert resolve_periods(None, 100) == (1, 2, 4, 8, 16, 32, 64, 128)
    assert resolve_periods(None, 3) == (1, 2, 4)
    assert resolve_periods([1, MAX_PERIOD], 2) == (1, MAX_PERIOD)


@pytest.mark.parametrize(
    "periods",
    [[], [2, 1], [1, 1], [0, 1], [-1, 2], [1, 2.5], ["a"], 0, -3, 2.0, True]
    + [[True, 2], "12", [1, MAX_PERIOD + 1], 32, 10**12],
)
def test_bad_periods(periods):
    """The message holds what was given and what was expected."""
    with pytest.raises(ValueError) as error:
        resolve_periods(periods, 10)
    assert "periods=" in str(error.value)
    assert str(periods) in str(error.value)
    assert "increasing positive integers" in str(error.value)


def test_too_few_units():
    """Each group needs a unit."""
    with pytest.raises(ValueError, match="hidden_size=3: .* 4 groups"):
        resolve_periods([1, 2, 4, 8], 3)


@pytest.mark.parametrize(
    "hidden_size, sizes",
    [
        (11, (2, 2, 1, 1, 1, 1, 1, 1, 1)),
        (19, (3, 2, 2, 2, 2, 2, 2, 2, 2)),
        (27, (3,) * 9),
        (40, (5, 5, 5, 5, 4, 4, 4, 4, 4)),
    ],
)
def test_group_sizes_of_the_paper(hidden_size, sizes):
    """The remainder goes to the faster groups (the paper, section 5.1)."""
    assert resolve_group_sizes(None, hidden_size, 9) == sizes


@pytest.mark.parametrize(
    "sizes",
    [[], [4, 4], [5, 4, 2], [10, 0, 0], [11, 0, -1], [5.0, 3, 2], 10]
    + [[True, 5, 4]],
)
def test_bad_group_sizes(sizes):
    """The message holds what was given and what was expected."""
    with pytest.raises(ValueError, match="3 positive .* hidden_size=10") as e:
        resolve_group_sizes(sizes, 10, 3)
    assert f"group_sizes={sizes}" in str(e.value)


@pytest.mark.parametrize(
    "clock",
    [0, MAX_CLOCK, torch.tensor([0, MAX_CLOCK]), torch.tensor([])]
    + [torch.tensor([0, 255], dtype=torch.uint8)],
)
def test_clock(clock):
    """An int, or whatever integers as int64."""
    if isinstance(clock, int):
        assert check_clock(clock) == clock
    else:
        clock = clock if len(clock) else clock.long()
        assert check_clock(clock).dtype == torch.int64
        assert torch.equal(check_clock(clock), clock.long())


def test_one_clock_for_all():
    """Is an int, where it can be known."""
    assert check_clock(torch.tensor([[3], [3]])) == 3


@pytest.mark.parametrize(
    "clock",
    [-1, 1.5, 2.0, float("nan"), True, "3", None, [0, 1], MAX_CLOCK + 1]
    + [torch.tensor([0, bad]) for bad in (-1, 1.0, 1j, MAX_CLOCK + 1)]
    + [torch.tensor([[bad]]) for bad in (-1, 1.0, 1j, MAX_CLOCK + 1)]
    + [torch.tensor([False, True])],
)
def test_bad_clocks(clock):
    """The message holds what was given."""
    with pytest.raises(InputError, match="clock") as error:
        check_clock(clock)
    given = clock
    if isinstance(clock, torch.Tensor):
        given = clock[-1].item() if clock.dtype == torch.int64 else clock.dtype
    assert repr(given) in str(error.value)


def test_clocks_that_cannot_be_looked_at():
    """Are not: nobody is asked for their values."""
    meta = torch.tensor([-1], device="meta")
    assert check_clock(meta).device.type == "meta"
    clocks = torch.tensor([[0], [3]])
    assert torch.equal(torch.vmap(check_clock)(clocks), clocks)


@given(st.integers(0, 100), st.integers(1, 20), st.integers(0, 50))
def test_ticks(clock, period, t):
    """Both formulas against a walk along the clock, also as tensors."""
    ticking = [s for s in range(t + period) if (clock + s) % period == 0]
    expected = sum(s < t for s in ticking)
    assert first_tick(clock, period) == ticking[0]
    assert ticks_before(t, clock, period) == expected
    clocks = torch.tensor([clock, clock + 1])
    assert first_tick(clocks, period)[0] == ticking[0]
    assert ticks_before(torch.tensor(t), clocks, period)[0] == expected
