"""Which way a layer is run, and by which engine: the only place that chooses.

There are two ways, each a package of its own, with its engines:

- `sweep`, group by group from the slowest to the fastest:
  - eager: a loop in PyTorch, on any device, in any dtype;
  - triton: fused on the GPU;
- `stepwise`, step by step, all groups at once, for small networks:
  - cpu: compiled by numba.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import warnings
from functools import cache, lru_cache
from importlib import import_module
from typing import NamedTuple

import torch

from speechbrain_cwrnn import stepwise, sweep
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.sweep import gpu

# The way and the module of each engine; what it needs may be slow to import.
_MODULES = {
    "eager": (sweep, "eager"),
    "cpu": (stepwise, "cpu"),
    "triton": (sweep, "gpu"),
}
ENGINES = tuple(_MODULES)
BACKENDS = ("auto", *ENGINES)


class Choice(NamedTuple):
    """What runs a layer: the modules of a way and of an engine."""

    way: object
    engine: object


def choose(backend, x, groups):
    """What a backend stands for.

    Arguments
    ---------
    backend : str
        Name of an engine, or "auto" for the fastest.
    x : torch.Tensor
        Input of the layer [..., B, T, F], with any dimensions of replicas.
    groups : Groups
        Which unit ticks when.

    Returns
    -------
    Choice
        The way and the engine.

    Example
    -------
    >>> from speechbrain_cwrnn.clock import Groups
    >>> groups = Groups((1, 2), (256, 256))
    >>> way, engine = choose("auto", torch.rand(1, 2, 3), groups)
    >>> engine.__name__
    'speechbrain_cwrnn.sweep.eager'
    """
    return _load(choose_name(backend, x, groups))


@cache
def _load(name):
    way, engine = _MODULES[name]
    return Choice(way, import_module(f"{way.__name__}.{engine}"))


def choose_name(backend, x, groups):
    """The name of the engine that `choose` chooses."""
    check_backend(backend)
    if backend == "eager":
        return backend
    runs = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if backend == "cpu":
        if not runs:
            raise InputError(
                f"backend='cpu' with {x.dtype} on {x.device}: expected float32 "
                f"or float64 on the CPU."
            )
        if _fault_of_numba():
            raise InputError(
                f"backend='cpu': expected a numba that works here "
                f"({_fault_of_numba()})."
            )
        return "cpu"
    if backend == "triton" or x.is_cuda:
        case = x.device, x.dtype, max(groups.group_sizes), groups.cell
        if backend == "triton":
            gpu.require(*case)
            return "triton"
        sequences = x.shape[:-3].numel(), x.shape[-3]
        if gpu.supports(*case) and gpu.is_fast(*case, *sequences):
            return "triton"
    small = runs and _is_small(
        x.shape[:-2].numel(), groups.periods, groups.group_sizes, groups.cell
    )
    return "cpu" if small and _compiles() else "eager"


def check_backend(backend):
    """Raise an error if a backend is neither an engine nor "auto"."""
    if backend not in BACKENDS:
        names = ", ".join(repr(name) for name in BACKENDS)
        raise InputError(f"backend={backend!r}: expected one of {names}.")


# Calls of a stream are short, so that it is computed once for each layer.
@lru_cache
def _is_small(sequences, periods, group_sizes, cell):
    """Whether compiled loops were measured to be faster than products of
    matrices: up to 2500 multiplications a step (100 units in 8 groups), or up
    to 8000 per group for all sequences (512 units and one sequence, or 128
    units and 16). A gated cell is more calls, where these are not compiled: up
    to 4000, or 70 000 per group, counting the candidates alone."""
    senders, cost = sum(group_sizes), 0
    for period, k in zip(periods, group_sizes):
        cost += k * senders / period
        senders -= k
    least, most = (4000, 70_000) if cell.gated else (2500, 8000)
    return cost <= least or cost * sequences / len(periods) <= most


@cache
def _compiles():
    """Whether numba works; if it does not, says so once."""
    fault = _fault_of_numba()
    if fault:
        warnings.warn(
            f"Small Clockwork RNNs run uncompiled, several times slower, since "
            f"numba does not work here: {fault}",
            stacklevel=2,
        )
    return not fault


@cache
def _fault_of_numba():
    """What keeps numba from compiling here; None if nothing does."""
    try:
        # Both at once, so that numba makes the same of both: its settings may
        # change later.
        vectors, _ = (
            import_module(f"{stepwise.__name__}.{name}")
            for name in ("vectors", "cpu_kernels")
        )
    except (
        ImportError,
        OSError,
        RuntimeError,
        AttributeError,
        ValueError,
    ) as error:
        # Not installed; or not whole; not made for this numpy; too old; set up
        # wrongly by the environment.
        return f"{type(error).__name__}: {error}"
    return vectors.find_fault()
