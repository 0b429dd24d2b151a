"""From the steps of the layer to the ticks of its groups, and back.

A *signal* is a tensor [1 + N, B, k] of values that change at the ticks of a
period only: the one before the first tick, then one per tick. Signals are
time-first, since they are gathered in time.

Where all sequences have the same clock, an int, the ticks of a group are a
slice of the steps. Where each has a clock of its own, a tensor [B], they are
gathered. One that ticks less often than others then has ticks past the end,
which nothing reads: so no length depends on the values of the clocks, and no
device is asked for them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F

from speechbrain_cwrnn.clock import first_tick, ticks_before


def project(x, weight_ih, bias, clock, periods, group_sizes):
    """What the input adds to each group, at the group's own ticks.

        z_i[n] = V_i x[n-th tick] + b_i

    What a group sees of the input is decided here, and nowhere else.

    Arguments
    ---------
    x : torch.Tensor
        Input [B, T, F].
    weight_ih : torch.Tensor
        Input weights V [H, F].
    bias : torch.Tensor or None
        Bias [H].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    periods : sequence of int
        Period of each group, in steps.
    group_sizes : sequence of int
        Units of each group.

    Returns
    -------
    tuple of torch.Tensor
        For each group, z [N, B, k] at the steps of `ticks`.

    Example
    -------
    >>> x = torch.arange(10.0).reshape(1, 10, 1)
    >>> z = project(x, torch.ones(2, 1), None, 1, (2, 4), (1, 1))
    >>> [z_i.flatten().tolist() for z_i in z]
    [[1.0, 3.0, 5.0, 7.0, 9.0], [3.0, 7.0]]
    """
    if _sliced(clock):
        return _Project.apply(x, weight_ih, bias, clock, periods, group_sizes)
    T, x = x.shape[1], x.transpose(0, 1)
    weights = weight_ih.split(group_sizes)
    biases = [None] * len(weights) if bias is None else bias.split(group_sizes)
    return tuple(
        F.linear(take(x, ticks(T, clock, period, x.device)), weight, b)
        for period, weight, b in zip(periods, weights, biases)
    )


def hold(signals, clock, periods, T):
    """The values of all groups at every step.

    Arguments
    ---------
    signals : sequence of torch.Tensor
        For each group, a signal [1 + N, B, k].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    periods : sequence of int
        Period of each group, in steps.
    T : int
        Number of steps.

    Returns
    -------
    torch.Tensor
        The values after each step, side by side [B, T, H].

    Example
    -------
    >>> signal = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1)
    >>> hold([signal], clock=2, periods=[3], T=5).flatten()
    tensor([0., 1., 1., 1., 2.])
    """
    if _sliced(clock):
        return _Hold.apply(clock, periods, T, *signals)
    # A step shows what the ticks until then, its own included, have left.
    until = torch.arange(1, T + 1, device=signals[0].device)
    if isinstance(clock, torch.Tensor):
        until = until.unsqueeze(1)
    held = [
        take(signal, ticks_before(until, clock, period))
        for signal, period in zip(signals, periods)
    ]
    return torch.cat(held, dim=-1).transpose(0, 1)


def resample(signal, clock, period, finer, T):
    """A signal of some period, as one of a finer period that divides it.

    Arguments
    ---------
    signal : torch.Tensor
        A signal [1 + N, B, k].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    period : int
        Its period, in steps.
    finer : int
        The other period.
    T : int
        Number of steps.

    Returns
    -------
    torch.Tensor
        A signal of the finer period.

    Example
    -------
    >>> signal = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1)
    >>> resample(signal, clock=2, period=6, finer=2, T=12).flatten()
    tensor([0., 0., 0., 1., 1., 1., 2.])
    """
    if period == finer:
        return signal
    if _sliced(clock):
        N = _count(T, clock, finer)
        return _repeat(signal, clock, period, finer, 1 + N)
    after = ticks_before(
        ticks(T, clock, finer, signal.device) + 1, clock, period
    )
    return take(signal, F.pad(after, (0, 0) * (after.dim() - 1) + (1, 0)))


def before_ticks(signal, clock, period, other, T):
    """What a signal of some period holds just before the ticks of another.

    Arguments
    ---------
    signal : torch.Tensor
        A signal [1 + N, B, k].
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    period : int
        Its period, in steps.
    other : int
        The other period.
    T : int
        Number of steps.

    Returns
    -------
    torch.Tensor
        The values at the steps of `ticks` [N, B, k].

    Example
    -------
    >>> signal = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1)
    >>> before_ticks(signal, clock=2, period=6, other=2, T=12).flatten()
    tensor([0., 0., 0., 1., 1., 1.])
    """
    if _sliced(clock) and period % other == 0:
        return _repeat(signal, clock, period, other, _count(T, clock, other))
    steps = ticks(T, clock, other, signal.device)
    return take(signal, ticks_before(steps, clock, period))


def ticks(T, clock, period, device):
    """The steps below T at which a group ticks.

    Arguments
    ---------
    T : int
        Number of steps.
    clock : int or torch.Tensor
        Steps since the state was zero, one for all or one per sequence [B].
    period : int
        Period of the group, in steps.
    device : torch.device
        Where to put them.

    Returns
    -------
    torch.Tensor
        The steps [N]; or [N, B], some of them past the end.

    Example
    -------
    >>> ticks(10, clock=1, period=4, device="cpu")
    tensor([3, 7])
    """
    first = first_tick(clock, period)
    if isinstance(clock, int):
        N = _count(T, clock, period)
        return first + period * torch.arange(N, device=device)
    N = (T + period - 1) // period
    return first + period * torch.arange(N, device=device).unsqueeze(1)


def take(signal, index):
    """The values of a signal at some of its places.

    Arguments
    ---------
    signal : torch.Tensor
        Values [M, B, k].
    index : torch.Tensor
        Places [N], or [N, B] for each sequence; past the end is the last one.

    Returns
    -------
    torch.Tensor
        The values there [N, B, k].

    Example
    -------
    >>> signal = torch.tensor([[[5.0]], [[6.0]], [[7.0]]])
    >>> take(signal, torch.tensor([0, 2, 2])).flatten()
    tensor([5., 7., 7.])
    """
    if index.dim() == 1:
        # An embedding, as its gradient is summed several times faster than
        # that of index_select.
        rows = F.embedding(index, signal.flatten(1))
        return rows.unflatten(1, signal.shape[1:])
    index = index.clamp(max=signal.shape[0] - 1).unsqueeze(-1)
    return signal.take_along_dim(index, dim=0)


def _count(T, clock, period):
    """How many of T steps are ticks: the length of a slice [first::period]."""
    return (T - first_tick(clock, period) + period - 1) // period


def _repeat(signal, clock, period, finer, number):
    """The first values of a signal of a period as one of a finer period."""
    ratio = period // finer
    # The initial value stands for one, and for each finer tick until the first
    # of its own.
    tick, first = first_tick(clock, period), first_tick(clock, finer)
    start = ratio - 1 - (tick - first) // finer
    values = signal.unsqueeze(1).expand(-1, ratio, -1, -1).flatten(0, 1)
    return values[start : start + number]


def _sliced(clock):
    """Whether ticks are slices of the steps, with gradients by hand.

    Not for a compiler, which fuses gathers by itself, and would have to know
    of any length whether a slice is empty.
    """
    return isinstance(clock, int) and not torch.compiler.is_compiling()


class _Project(torch.autograd.Function):
    """`project`, with a gradient of x that is written once and added to.

    By itself, PyTorch fills an input full of zeros for each group.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, weight_ih, bias, clock, periods, group_sizes):
        weights = weight_ih.split(group_sizes)
        biases = (
            [None] * len(weights) if bias is None else bias.split(group_sizes)
        )
        return tuple(
            F.linear(x[:, first_tick(clock, period) :: period], weight, b)
            .transpose(0, 1)
            .contiguous()
            for period, weight, b in zip(periods, weights, biases)
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight_ih, bias, *ctx.options = inputs
        ctx.has_bias = bias is not None
        ctx.save_for_backward(x, weight_ih)

    @staticmethod
    def backward(ctx, *dz):
        x, weight_ih = ctx.saved_tensors
        clock, periods, group_sizes = ctx.options
        dx, dweight, dbias = None, [], []
        for period, weight, dz_i in zip(
            periods, weight_ih.split(group_sizes), dz
        ):
            seen = slice(first_tick(clock, period), None, period)
            dz_i = dz_i.transpose(0, 1)
            N = dz_i.shape[1]
            dz_i = dz_i.flatten(0, 1)
            dweight.append(dz_i.mT @ x[:, seen].flatten(0, 1).to(dz_i.dtype))
            dbias.append(dz_i.sum(0))
            if ctx.needs_input_grad[0]:
                dx_i = dz_i @ weight.to(dz_i.dtype)
                dx_i = dx_i.unflatten(0, (x.shape[0], N))
                if dx is None and period == 1:
                    dx = dx_i
                    continue
                if dx is None:
                    dx = dx_i.new_zeros(x.shape)
                dx[:, seen] += dx_i
        dbias = torch.cat(dbias) if ctx.has_bias else None
        return dx, torch.cat(dweight), dbias, None, None, None


class _Hold(torch.autograd.Function):
    """`hold`, which writes each value once, and reads each gradient once."""

    generate_vmap_rule = True

    @staticmethod
    def forward(clock, periods, T, *signals):
        # The signal of the fastest group depends on all that any other does.
        # So under vmap, where one of them is mapped, it is, and so is output.
        B = signals[0].shape[1]
        sizes = [signal.shape[2] for signal in signals]
        output = signals[0].new_empty(B, T, sum(sizes))
        for held, signal, period in zip(
            output.split(sizes, dim=-1), signals, periods
        ):
            before, whole, rest = _parts(T, clock, period)
            signal = signal.transpose(0, 1)
            held[:, before] = signal[:, :1]
            N = (whole.stop - whole.start) // period
            held[:, whole].unflatten(1, (N, period)).copy_(
                signal[:, 1 : 1 + N].unsqueeze(2)
            )
            held[:, rest] = signal[:, -1:]
        return output

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.clock, ctx.periods, ctx.T, *signals = inputs
        ctx.shapes = [signal.shape for signal in signals]

    @staticmethod
    def backward(ctx, doutput):
        gradients = []
        sizes = [shape[2] for shape in ctx.shapes]
        for dheld, shape, period in zip(
            doutput.split(sizes, dim=-1), ctx.shapes, ctx.periods
        ):
            before, whole, rest = _parts(ctx.T, ctx.clock, period)
            N = (whole.stop - whole.start) // period
            parts = [
                dheld[:, before].sum(1, keepdim=True),
                dheld[:, whole].unflatten(1, (N, period)).sum(2),
                # The last tick, if the end cuts its period short.
                dheld[:, rest].sum(1, keepdim=True)[:, : shape[0] - 1 - N],
            ]
            gradients.append(torch.cat(parts, dim=1).transpose(0, 1))
        return None, None, None, *gradients


def _parts(T, clock, period):
    """Three slices of T steps: before the first tick, whole periods, rest."""
    first = min(first_tick(clock, period), T)
    rest = first + (T - first) // period * period
    return slice(0, first), slice(first, rest), slice(rest, T)
