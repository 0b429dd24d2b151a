"""The engines of the recurrence, the only part that is sequential.

All that is sequential in a group of a Clockwork RNN is a small plain RNN over
the group's own ticks; everything around it is dense linear algebra. The
engines:

- eager: a loop in PyTorch, for one group at a time, on any device;
- triton: fused on the GPU, for one group at a time;
- cpu: compiled by numba, for all groups of a small network at once.

Those for one group know two functions, which change their first argument:

    forward(state, weight, nonlinearity)
        h[n] = f(z[n] + weight @ h[n-1])
        state is h[-1], z[0], z[1], ... and becomes h[-1], h[0], h[1], ...

    backward(dstate, state, weight, nonlinearity)
        dz[n] = f'(h[n]) * (dh[n] + weight^T @ dz[n+1])
        dstate is dh[-1], dh[0], dh[1], ..., what each state adds to the loss
        from outside, and becomes dh0, dz[0], dz[1], ..., where the first one
        is the whole gradient of h[-1].

state and dstate are contiguous [R, B, 1 + N, k], weight is [R, k, k]: R
replicas with weights of their own, B sequences, N ticks, k units. As in any
product of matrices, sums are formed in float32 at least.

Those for all groups take and give what there is at each step: z, the states
and their gradients are [R, B, T, H], and zero is the gradient of a z that is
not looked at, since its group does not tick then; see `cpu.py`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import warnings
from functools import cache
from importlib import import_module

import torch

from speechbrain_cwrnn.recurrence import gpu

# Each engine's module.
ENGINES = {"eager": "eager", "cpu": "cpu", "triton": "gpu"}
NONLINEARITIES = ("tanh", "relu")


def choose_engine(backend="auto", x=None, periods=(), group_sizes=()):
    """The name of the engine that a backend stands for: the only such place.

    Arguments
    ---------
    backend : str
        Name of an engine, or "auto" for the fastest.
    x : torch.Tensor
        Input of the layer [..., B, T, F], with any dimensions of replicas.
        Without it, only the name is checked.
    periods : sequence of int
        Period of each group.
    group_sizes : sequence of int
        Units of each group.

    Returns
    -------
    str
        Name of the engine.

    Example
    -------
    >>> choose_engine("auto", torch.rand(1, 2, 3), [1, 2], [256, 256])
    'eager'
    """
    if backend not in ("auto", *ENGINES):
        names = ", ".join(repr(name) for name in ("auto", *ENGINES))
        raise ValueError(f"backend={backend!r}: expected one of {names}.")
    if x is None or backend == "eager":
        return backend
    runs = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if backend == "cpu":
        if not runs:
            raise ValueError(
                f"backend='cpu' with {x.dtype} on {x.device}: expected float32 "
                f"or float64 on the CPU."
            )
        return "cpu"
    largest = max(group_sizes)
    if backend == "triton":
        gpu.require(x.device, x.dtype, largest)
        return "triton"
    if x.is_cuda and gpu.supports(x.device, x.dtype, largest):
        return "triton"
    small = runs and _is_small(x.shape[:-2].numel(), periods, group_sizes)
    return "cpu" if small else "eager"


def check_nonlinearity(nonlinearity):
    """Raise an error if the engines do not know a nonlinearity.

    Arguments
    ---------
    nonlinearity : str
        Its name.

    Example
    -------
    >>> check_nonlinearity("selu")
    Traceback (most recent call last):
    ...
    ValueError: nonlinearity='selu': expected one of ('tanh', 'relu').
    """
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(
            f"nonlinearity={nonlinearity!r}: expected one of {NONLINEARITIES}."
        )


def load_engine(name):
    """The module of an engine; what it needs may be slow to import.

    Arguments
    ---------
    name : str
        Name of the engine.

    Returns
    -------
    module
        What has its functions forward and backward.

    Example
    -------
    >>> load_engine("eager").__name__
    'speechbrain_cwrnn.recurrence.eager'
    """
    return import_module(f"{__name__}.{ENGINES[name]}")


def _is_small(sequences, periods, group_sizes):
    """Whether compiled loops were measured to be faster than products of
    matrices: up to 2500 multiplications a step (100 units in 8 groups), or up
    to 8000 per group for all sequences (512 units and one sequence, or 128
    units and 16)."""
    senders, cost = sum(group_sizes), 0
    for period, k in zip(periods, group_sizes):
        cost += k * senders / period
        senders -= k
    small = cost <= 2500 or cost * sequences / len(group_sizes) <= 8000
    return small and _compiles()


@cache
def _compiles():
    """Whether there is a numba that works; if not, says so once."""
    try:
        load_engine("cpu")
    except (ImportError, RuntimeError) as error:
        warnings.warn(
            f"Small Clockwork RNNs run uncompiled, several times slower, since "
            f"numba does not work here: {error}",
            stacklevel=2,
        )
        return False
    return True
