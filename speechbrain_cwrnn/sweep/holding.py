"""What the groups hold, read at other times than their own ticks.

A *signal* [R, B, 1 + N, k] has values that change at the ticks of a period
only: the one before the first tick, then one per tick. It is read at *places*
[R, B, M, k]: at the steps of the layer, or the ticks of another period.

Where all sequences have the same clock, an int, the ticks of a group are a
slice of the steps. Where each has a clock of its own, a tensor [R, B], they
are gathered. One that ticks less often than others then has ticks past the
end, which nothing reads: so no length depends on the values of the clocks, and
no device is asked for them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from speechbrain_cwrnn.clock import first_tick, ticks_before


def read_at(clock, period, other=1, before=False, initial=False):
    """How a signal of a period is read at the ticks of another one.

    Arguments
    ---------
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [R, B].
    period : int
        Period of the signal, in steps.
    other : int
        Period of the places where it is read; 1 for each step.
    before : bool
        Whether what was held just before these ticks is read.
    initial : bool
        Whether the value before all steps comes first, so that what is read is
        a signal again.

    Returns
    -------
    Runs or Gather
        Both have the same methods.

    Example
    -------
    >>> signal = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 3, 1)
    >>> read_at(clock=2, period=3).read(signal, 5).flatten()
    tensor([0., 1., 1., 1., 2.])
    >>> reading = read_at(clock=2, period=6, other=2, before=True)
    >>> reading.read(signal, 6).flatten()
    tensor([0., 0., 0., 1., 1., 1.])
    >>> reading = read_at(clock=2, period=6, other=2, initial=True)
    >>> reading.read(signal, 7).flatten()
    tensor([0., 0., 0., 1., 1., 1., 2.])
    """
    if isinstance(clock, int) and period % other == 0:
        wait = first_tick(clock, period) - first_tick(clock, other)
        return Runs(wait // other + before + initial, period // other)
    return Gather(clock, period, other, before, initial)


@dataclass
class Runs:
    """Values that are read some times in a row each.

    Arguments
    ---------
    lead : int
        How often the first value is read.
    length : int
        How often each other one is read, unless the end comes before.
    """

    lead: int
    length: int

    def read(self, signal, M):
        """The values at M places [R, B, M, k]."""
        places = signal.new_empty(*signal.shape[:2], M, signal.shape[3])
        self.write(signal, places)
        return places

    def write(self, signal, places):
        """Write the values to their places."""
        for run, value in self._parts(signal, places):
            run.copy_(value)

    def add(self, signal, places):
        """Add the values to what is at their places."""
        for run, value in self._parts(signal, places):
            run.add_(value)

    def collect(self, places, signal):
        """Write sums over the places to the values: the transpose of `read`."""
        lead, n, rest = self._count(places)
        # Even an empty slice costs calls, of which there are many.
        if lead == 0:
            signal[:, :, 0].zero_()
        end = 1 + n + min(rest, 1)
        if end < signal.shape[2]:
            signal[:, :, end:].zero_()
        for run, value in self._parts(signal, places):
            if run.shape[3] == 1:
                value.copy_(run)
            else:
                torch.sum(run, 3, keepdim=True, out=value)

    def _count(self, places):
        """Places that read the first value, whole runs, places of the rest."""
        lead = min(self.lead, places.shape[2])
        return lead, *divmod(places.shape[2] - lead, self.length)

    def _parts(self, signal, places):
        """Views of runs [R, B, n, length, k] and values [R, B, n, 1, k]."""
        lead, n, rest = self._count(places)
        end = lead + n * self.length
        signal = signal.unsqueeze(3)
        if lead:
            yield places[:, :, None, :lead], signal[:, :, :1]
        if n:
            runs = places[:, :, lead:end].unflatten(2, (n, self.length))
            yield runs, signal[:, :, 1 : 1 + n]
        if rest:
            yield places[:, :, None, end:], signal[:, :, 1 + n : 2 + n]


@dataclass
class Gather:
    """Values that are read at places which only the device knows, or which
    follow no simple rule.

    Arguments
    ---------
    clock, period, other, before, initial
        As in `read_at`.
    """

    clock: int | torch.Tensor
    period: int
    other: int
    before: bool
    initial: bool

    def read(self, signal, M):
        """The values at M places [R, B, M, k]; past the end, the last one."""
        index = self._index(signal, M).clamp(max=signal.shape[2] - 1)
        return signal.take_along_dim(index.unsqueeze(-1), dim=2)

    def write(self, signal, places):
        """Write the values to their places."""
        places.copy_(self.read(signal, places.shape[2]))

    def add(self, signal, places):
        """Add the values to what is at their places."""
        places.add_(self.read(signal, places.shape[2]))

    def collect(self, places, signal):
        """Write sums over the places to the values: the transpose of `read`.

        What is read past the end of a signal does not count.
        """
        # Not by scatter_add_, whose order of summation changes on a GPU.
        R, B, M, _ = places.shape
        if M == 0:
            signal.zero_()
            return
        # Where the places of each value begin, and those of the next.
        values = torch.arange(signal.shape[2] + 1, device=signal.device)
        first = torch.searchsorted(
            self._index(signal, M).contiguous(),
            values.expand(R, B, -1).contiguous(),
        )
        # A value is read until the next tick, and the first one once more.
        longest = min((self.period + self.other - 1) // self.other + 1, M)
        run = torch.arange(longest, device=signal.device)
        run = first[..., :-1, None] + run
        inside = (run < first[..., 1:, None]).unsqueeze(-1)
        run = run.clamp(max=M - 1).flatten(2).unsqueeze(-1)
        summands = places.take_along_dim(run, dim=2)
        summands = summands.unflatten(2, inside.shape[2:4])
        signal.copy_(summands.where(inside, 0).sum(3))

    def _index(self, signal, M):
        """Which value is read at each of M places [R, B, M]: rising numbers,
        made on the device of the signal."""
        clock = self.clock
        if isinstance(clock, torch.Tensor):
            clock = clock.unsqueeze(-1)
        places = torch.arange(M - self.initial, device=signal.device)
        steps = first_tick(clock, self.other) + self.other * places
        index = ticks_before(steps + (not self.before), clock, self.period)
        index = F.pad(index, (int(self.initial), 0))
        return index.expand(*signal.shape[:2], M)
