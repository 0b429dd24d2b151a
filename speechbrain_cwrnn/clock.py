"""Periods, group sizes and ticks: when does which group run?

A group with period P ticks at the steps whose clock, counted since the state
was zero, is a multiple of P. Everything here is integer arithmetic; the
functions of a clock work on a Python int and, elementwise, on an integer
tensor of one clock per sequence.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import dataclass
from itertools import accumulate
from numbers import Integral
from operator import index

import torch

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.checks import check_integer, has_known_values
from speechbrain_cwrnn.errors import InputError

# A clock with some steps and a period added to it is below 2**63 then, so that
# all engines compute the same in int64.
MAX_PERIOD = 2**31 - 1
MAX_CLOCK = 2**62
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Groups:
    """Which unit ticks when, and what it does then.

    Arguments
    ---------
    periods : tuple of int
        Period of each group in steps, strictly increasing.
    group_sizes : tuple of int
        Units of each group.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [R, B].
    cell : Cell
        What its units do then; by default, a plain one of tanh.

    Example
    -------
    >>> groups = Groups((1, 2, 4), (3, 3, 2), 1, Cell(gated=True))
    >>> groups.units[2], groups.rows[2], groups.count_ticks(9)
    (slice(6, 8, None), slice(12, 16, None), [9, 4, 2])
    """

    periods: tuple
    group_sizes: tuple
    clock: int | torch.Tensor = 0
    # No Cell, which torch.compile of PyTorch 2.7 does not take for a default.
    cell: Cell | None = None

    def __post_init__(self):
        """Takes the plain cell where none is given."""
        if self.cell is None:
            object.__setattr__(self, "cell", Cell())

    @property
    def units(self):
        """Where the units of each group are: a list of slices."""
        ends = list(accumulate(self.group_sizes))
        return [slice(end - k, end) for end, k in zip(ends, self.group_sizes)]

    @property
    def rows(self):
        """Where z and the weights of each group are: a list of slices."""
        C = self.cell.columns
        return [slice(C * units.start, C * units.stop) for units in self.units]

    def count_ticks(self, T):
        """How often each group ticks in T steps."""
        return [count_ticks(T, self.clock, period) for period in self.periods]


def resolve_periods(periods, hidden_size):
    """The periods of the groups, fastest first, from what a user may write.

    Arguments
    ---------
    periods : sequence of int, int or None
        Strictly increasing positive integers; or the number g of groups, for
        the exponential series 1, 2, 4, ..., 2^(g-1) of the paper; or None,
        for 8 exponential groups (fewer if hidden_size < 8).
    hidden_size : int
        Number of hidden units, at least one per group.

    Returns
    -------
    tuple of int
        One period per group, in steps.

    Example
    -------
    >>> resolve_periods(None, hidden_size=512)
    (1, 2, 4, 8, 16, 32, 64, 128)
    >>> resolve_periods(3, hidden_size=512)
    (1, 2, 4)
    """
    given = periods
    if periods is None:
        periods = min(8, hidden_size)
    # Those of NumPy, too.
    if isinstance(periods, Integral) and not isinstance(periods, bool):
        too_many = MAX_PERIOD.bit_length() + 1
        periods = [2**i for i in range(min(periods, too_many))]
    periods = check_periods(periods, given)
    if hidden_size < len(periods):
        raise InputError(
            f"hidden_size={hidden_size}: expected at least one unit for each "
            f"of the {len(periods)} groups (periods={periods})."
        )
    return periods


def check_periods(periods, given):
    """The periods as a tuple, or an error that says what was given."""
    try:
        if any(isinstance(p, bool) for p in periods):
            raise TypeError
        periods = tuple(index(p) for p in periods)
    except TypeError:
        periods = ()
    increasing = all(p < q for p, q in zip((0, *periods), periods))
    if not periods or not increasing or periods[-1] > MAX_PERIOD:
        raise InputError(
            f"periods={given!r}: expected strictly increasing positive "
            f"integers, such as [1, 2, 4, 8], up to {MAX_PERIOD}."
        )
    return periods


def check_clock(clock):
    """The clock as an int or, where sequences differ or nobody can look at
    them, a tensor of int64; or an error. See `Groups`."""
    if not isinstance(clock, torch.Tensor):
        low = high = clock = check_integer("clock", clock, least=0)
    elif clock.dtype not in INTEGERS:
        raise InputError(f"clock in {clock.dtype}: expected integers.")
    else:
        clock = clock.long()
        if not has_known_values(clock):
            return clock
        if clock.numel() == 1:
            # That of a stream, whose calls are short.
            low = high = clock.item()
        else:
            low, high = (value.item() for value in clock.aminmax())
    if low < 0 or high > MAX_CLOCK:
        raise InputError(
            f"clock={low if low < 0 else high}: expected the number of steps "
            f"since the state was zero, up to {MAX_CLOCK}."
        )
    return low if low == high else clock


def resolve_group_sizes(group_sizes, hidden_size, num_groups):
    """The number of units in each group, fastest first.

    Arguments
    ---------
    group_sizes : sequence of int or None
        Positive integers that add up to hidden_size; None deals the units out
        equally, the remainder going to the faster groups, as in the paper.
    hidden_size : int
        Number of hidden units.
    num_groups : int
        Number of groups.

    Returns
    -------
    tuple of int
        One size per group.

    Example
    -------
    >>> resolve_group_sizes(None, hidden_size=11, num_groups=4)
    (3, 3, 3, 2)
    """
    if group_sizes is None:
        size, rest = divmod(hidden_size, num_groups)
        return tuple(size + (i < rest) for i in range(num_groups))
    try:
        sizes = tuple(check_integer("size", k, least=1) for k in group_sizes)
    except (TypeError, InputError):
        sizes = ()
    if len(sizes) != num_groups or sum(sizes) != hidden_size:
        raise InputError(
            f"group_sizes={group_sizes!r}: expected {num_groups} positive "
            f"integers (one per period) that add up to "
            f"hidden_size={hidden_size}."
        )
    return sizes


def first_tick(clock, period):
    """The first step at which a group ticks, counted from now."""
    return -clock % period


def ticks_before(t, clock, period):
    """How often a group ticks at the steps 0, ..., t - 1 counted from now: the
    multiples of the period among clock, ..., clock + t - 1."""
    return -clock // period - -(clock + t) // period


def count_ticks(T, clock, period):
    """How often a group ticks in T steps; where each sequence has a clock of
    its own, how often at most, so that no device is asked for these."""
    first = first_tick(clock, period) if isinstance(clock, int) else 0
    return (T - first + period - 1) // period
