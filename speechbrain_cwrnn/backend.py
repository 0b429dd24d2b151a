"""Which way a clockwork layer is run, and by which engine: the only place that
chooses.

There are two ways, each a package of its own, with its engines:

- `sweep`, group by group from the slowest to the fastest:
  - eager: a loop in PyTorch, on any device, in any dtype;
  - cpu: compiled by numba;
  - triton: fused on the GPU;
- `stepwise`, step by step, all groups at once, for little to compute:
  - stepwise: compiled by numba.

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
from speechbrain_cwrnn.threads import ROWS

# The way and the module of each engine; what it needs may be slow to import.
_MODULES = {
    "eager": (sweep, "eager"),
    "cpu": (sweep, "cpu"),
    "triton": (sweep, "gpu"),
    "stepwise": (stepwise, "cpu"),
}
ENGINES = tuple(_MODULES)
BACKENDS = ("auto", *ENGINES)

# For so many multiplications, a step's calls of PyTorch cost little, and its
# products are shared by all threads, where those of the loops are by sequences.
LARGE = 5_000_000


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
    >>> way, engine = choose("auto", torch.rand(1, 99, 3).half(), groups)
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
    runs = suits_numba(x)
    if backend in ("cpu", "stepwise"):
        if not runs:
            raise InputError(
                f"backend={backend!r} with {x.dtype} on {x.device}: expected "
                f"float32 or float64 on the CPU."
            )
        if _fault_of_numba():
            raise InputError(
                f"backend={backend!r}: expected a numba that works here "
                f"({_fault_of_numba()})."
            )
        return backend
    R, B = x.shape[:-3].numel(), x.shape[-3]
    if backend == "triton" or x.is_cuda:
        case = x.device, x.dtype, max(groups.group_sizes), groups.cell
        if backend == "triton":
            gpu.require(*case)
            return "triton"
        if gpu.supports(*case) and gpu.is_fast(*case, R, B):
            return "triton"
    if not (runs and compiles()):
        return "eager"
    sizes, cell = groups.group_sizes, groups.cell
    if _is_little(B, R * B * x.shape[-2], groups.periods, sizes, cell):
        return "stepwise"
    is_large = R * B * cell.columns * max(sizes) ** 2 > LARGE
    is_shared = R * B >= ROWS * torch.get_num_threads()
    return "eager" if is_large and not is_shared else "cpu"


def check_backend(backend):
    """Raise an error if a backend is neither an engine nor "auto"."""
    if backend not in BACKENDS:
        names = ", ".join(repr(name) for name in BACKENDS)
        raise InputError(f"backend={backend!r}: expected one of {names}.")


# Calls of a stream are short, so that it is computed once for them.
@lru_cache
def _is_little(B, steps, periods, group_sizes, cell):
    """Whether there is so little to compute that a sweep was measured to take
    longer: in so many steps, of all sequences, less than its calls cost; or at
    each step, for groups of a few units, or for so few sequences B that have
    their weights in common.

    Of a gated cell, the candidates alone are counted; it is more arithmetic for
    each multiplication.
    """
    senders, step, G = sum(group_sizes), 0, len(periods)
    for period, k in zip(periods, group_sizes):
        step += k * senders / period
        senders -= k
    most, least, few = 2_000_000, 200, 1000
    if cell.gated:
        most, least, few = 600_000, 100, 300
    return (
        step * steps <= most * G
        or step <= least * (G - 1)
        or step * B <= few * G
    )


def suits_numba(x):
    """Whether loops that numba compiles take such a tensor."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


@cache
def compiles():
    """Whether numba compiles loops for the CPU; if not, says so once."""
    fault = _fault_of_numba()
    if fault:
        warnings.warn(
            f"Recurrent layers run uncompiled on the CPU, small ones several "
            f"times slower, since numba does not work here: {fault}",
            stacklevel=2,
        )
    return not fault


@cache
def _fault_of_numba():
    """What keeps numba from compiling here; None if nothing does."""
    try:
        # All at once, so that numba makes the same of all: its settings may
        # change later.
        panels, *_ = (
            import_module(f"speechbrain_cwrnn.{name}")
            for name in (
                "panels",
                "stepwise.cpu_kernels",
                "sweep.cpu_kernels",
                "peephole_cpu",
            )
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
    return panels.find_fault()
