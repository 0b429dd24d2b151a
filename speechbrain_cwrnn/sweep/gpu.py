"""The recurrence on the GPU: one kernel forward, one backward.

A kernel runs all the ticks of some sequences, with the weights on the chip,
where the loop in PyTorch launches several kernels at every tick. It stores the
states and, of a gated cell, what its backward pass needs; or the gradients of z
and of the initial state.

There are two of each: `gpu_vectors` multiplies the weights by the state of one
sequence at a time, and `gpu_matrices` by those of a block of sequences, on
tensor cores. The first ones take less time until there are many sequences, are
exact in float32, and share a large group between multiprocessors.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import importlib
import importlib.metadata
import math
import os
from functools import lru_cache
from typing import NamedTuple

import torch

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.sweep import holding

read_at = holding.read_at


def _installed(name):
    """Major and minor version of a package; empty if it is not there."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(number) for number in version.split(".")[:2])


TRITON = _installed("triton")
# Earlier ones take no blocks of 8 sequences, and fetch nothing ahead.
OLDEST_TRITON = (3, 5)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)

# Of `gpu_vectors`: weights and rows that a program has room for, where it is
# not the only one to run a group, and sequences that it takes at once.
WEIGHTS = 32 * 1024
MOST_ROWS = 64
MOST_SEQUENCES = 4
# Units of the largest group that one program runs.
LARGEST_ALONE = 128
# Programs that share a group take blocks of sequences in turns. The loop in
# PyTorch takes all at once, and less time than more turns than these.
MOST_TURNS = 4
# Multiplications of a tick, of all sequences, from which tensor cores take less
# time.
MANY = 2**22

# Of `gpu_matrices`: on all GPUs, there is room for so many bytes of weights,
# and for twice as many where a program may have this memory.
SMALL_MEMORY = 64 * 1024
LARGE_MEMORY = 160 * 1024
# By k padded. With fewer elements than threads, z would not be fetched ahead.
_WARPS = {16: 2, 32: 4, 64: 4, 128: 8, 256: 16}
# Where there are fewer blocks of 16 sequences, halves of them keep more of the
# GPU busy, and each step is shorter.
_MANY_BLOCKS = 66


class Chip(NamedTuple):
    """What a device has.

    Arguments
    ---------
    multiprocessors : int
        How many.
    memory : int
        Bytes of shared memory that a program may have.
    """

    multiprocessors: int
    memory: int


# It runs one program after the other: one that waits waits for ever.
INTERPRETER = Chip(0, LARGE_MEMORY)


class Plan(NamedTuple):
    """How a group is run.

    Arguments
    ---------
    kernels : str
        The module that has them.
    grid : tuple of int
        The programs.
    sizes : tuple of int
        Arguments of the kernels that tell a program its part.
    options : dict
        What the kernels are compiled with.
    """

    kernels: str
    grid: tuple
    sizes: tuple
    options: dict


def forward(group, z):
    """Write h to the state of a group; see `sweep`."""
    launch("forward_kernel", group, (z,))


def backward(group, z, dstate, dz):
    """Write dz, and dh0 to dstate; see `sweep`."""
    z = z if group.cell.gated else None
    launch("backward_kernel", group, (z, dstate, dz))


def supports(device, dtype, k, cell):
    """Whether this engine can run there, with groups of k units."""
    return (
        TRITON >= OLDEST_TRITON
        and dtype in DTYPES
        and _runs(device)
        and k <= _largest_group(find_chip(device), cell)
    )


def require(device, dtype, k, cell):
    """Raise an error that says what is wrong if `supports` says no."""
    if not supports(device, dtype, k, cell):
        limit = ""
        if _runs(device):
            most = _largest_group(find_chip(device), cell)
            limit = f", groups of at most {most} units on this one"
        raise InputError(
            "backend='triton': expected float16, bfloat16 or float32, an "
            f"NVIDIA GPU of compute capability 8.0 or later{limit}, and triton "
            f"{_dotted(OLDEST_TRITON)} or later, got {dtype}, groups of {k}, "
            f"device {str(device)!r} and "
            f"{f'triton {_dotted(TRITON)}' if TRITON else 'no triton'}."
        )


def is_fast(device, dtype, k, cell, R, B):
    """Whether this engine takes less time than a loop in PyTorch, where it is
    supported."""
    plan = make_plan(find_chip(device), dtype, k, R, B, cell)
    if plan.options.get("PARTS", 1) == 1:
        return True
    _, jobs = plan.sizes
    return jobs <= MOST_TURNS * plan.grid[0]


def find_chip(device):
    """What a device has."""
    if device.type != "cuda" or _interpreted():
        return INTERPRETER
    properties = torch.cuda.get_device_properties(device)
    # PyTorch for AMD has no such number.
    memory = getattr(properties, "shared_memory_per_block_optin", 0)
    return Chip(properties.multi_processor_count, memory)


@lru_cache
def make_plan(chip, dtype, k, R, B, cell):
    """How a group is run.

    Arguments
    ---------
    chip : Chip
        Where.
    dtype : torch.dtype
        One of `DTYPES`.
    k : int
        Group size.
    R : int
        Number of replicas.
    B : int
        Batch size.
    cell : Cell
        What the units of the group do.

    Returns
    -------
    Plan
        The kernels, the programs, and their options: the group size BK padded,
        the sequences BB that a program takes at once, ...

    Example
    -------
    >>> from speechbrain_cwrnn.cells import Cell
    >>> h100 = Chip(132, 227 * 1024)
    >>> plan = make_plan(h100, torch.float32, 384, R=1, B=16, cell=Cell())
    >>> plan.grid
    (16, 6)
    """
    BK = _pad(k)
    weights = cell.columns * BK**2
    room = SMALL_MEMORY * (1 + (chip.memory >= LARGE_MEMORY))
    if (
        dtype != torch.float32
        and dtype.itemsize * weights <= room
        and R * B * weights >= MANY
    ):
        return plan_matrices(dtype, k, R, B, cell)
    return plan_vectors(chip, k, R, B, cell)


def plan_vectors(chip, k, R, B, cell, rows=None):
    """As `make_plan`, by `gpu_vectors`; with so many rows to a program, or else
    those of the table."""
    BK, block = _pad(k), 1
    rows = rows or _count_rows(chip, k, cell)
    parts = math.ceil(k / rows)
    # As many teams as can run at once, and have to: one that waits for a part
    # that does not run yet would wait for ever.
    teams = R * B if parts == 1 else chip.multiprocessors // parts
    most = min(MOST_SEQUENCES, B)
    while block < most and R * math.ceil(B / block) > teams:
        block *= 2
    blocks = math.ceil(B / block)
    options = {
        **_options(k, block, cell),
        "ROWS": rows,
        "PARTS": parts,
        # Where programs wait for each other, the memory has time enough.
        "AHEAD": 4 if parts == 1 else 1,
        "num_warps": BK // 16,
        "num_stages": 1,
    }
    if parts > 1:
        few = cell.columns * rows * BK <= WEIGHTS // 2
        options |= {
            "num_warps": 8 if few else 16,
            "launch_cooperative_grid": True,
        }
    grid = min(R * blocks, teams), parts
    return Plan("gpu_vectors", grid, (blocks, R * blocks), options)


def plan_matrices(dtype, k, R, B, cell):
    """As `make_plan`, by `gpu_matrices`."""
    BK, block = _pad(k), 8
    weights = dtype.itemsize * cell.columns * BK**2
    # With larger groups, more would not fit on all chips.
    if weights < SMALL_MEMORY and R * math.ceil(B / 16) >= _MANY_BLOCKS:
        block = 16
    options = {**_options(k, block, cell), "STAGES": 3, "num_warps": _WARPS[BK]}
    return Plan("gpu_matrices", (R, math.ceil(B / block)), (), options)


def _options(k, block, cell):
    """Those of all kernels."""
    return {
        "K": k,
        "BB": block,
        "BK": _pad(k),
        "GATED": cell.gated,
        "NONLINEARITY": cell.nonlinearity,
        # Its default differs between versions of triton.
        "enable_fp_fusion": True,
    }


def _pad(k):
    """The next power of two, of at least 16."""
    return max(16, 1 << (k - 1).bit_length())


def _count_rows(chip, k, cell):
    """How many rows of a group a program has."""
    BK = _pad(k)
    if BK <= LARGEST_ALONE or chip == INTERPRETER:
        return BK
    return max(1, min(MOST_ROWS, WEIGHTS // (cell.columns * BK)))


def launch(kernel, group, signals, plan=None):
    """Run a kernel for a group, by a plan or else by that of the table."""
    state, weight, mask, cell = group
    R, B, places, k = state.shape
    if R * B == 0:
        return
    if plan is None:
        chip = find_chip(weight.device)
        plan = make_plan(chip, weight.dtype, k, R, B, cell)
    # Not earlier: triton need not be there, and takes time to import.
    kernels = importlib.import_module(f"{__package__}.{plan.kernels}")
    # All is contiguous but for the replicas of z. It matters to the compiler
    # whether their pitch is a multiple of 16; that of a single one is not used.
    z = signals[0]
    pitch = 0 if z is None or R == 1 else z.stride(0)
    mask = None if mask is None else mask.contiguous()
    shared = ()
    if plan.kernels == "gpu_vectors":
        if kernel == "backward_kernel":
            weight = weight.unflatten(1, (cell.columns, k)).mT
        weight = weight.float()
        teams, parts = plan.grid
        arrived = None
        if parts > 1:
            arrived = state.new_zeros(teams, dtype=torch.int32)
        shared = (arrived,)
    args = state, *signals, weight.contiguous(), mask, *shared
    with torch.cuda.device_of(weight):
        getattr(kernels, kernel)[plan.grid](
            *args, places - 1, B, pitch, *plan.sizes, **plan.options
        )


def _dotted(version):
    return ".".join(str(number) for number in version)


def _runs(device):
    """Whether a device can run the kernels at all."""
    if device.type != "cuda":
        return _interpreted()
    properties = torch.cuda.get_device_properties(device)
    return torch.version.hip is None and properties.major >= 8


def _largest_group(chip, cell):
    """Units of the largest group whose programs can all run at once."""
    most = LARGEST_ALONE
    for power in range(most.bit_length(), 16):
        rows = _count_rows(chip, 1 << power, cell)
        most = max(most, min(1 << power, max(1, chip.multiprocessors) * rows))
    return most


def _interpreted():
    """Whether triton runs kernels in Python, on the CPU, to debug them."""
    return os.environ.get("TRITON_INTERPRET") == "1"
