"""The recurrence on the GPU: one kernel forward, one backward.

A kernel runs all the ticks of some sequences, with the weights on the chip,
where the loop in PyTorch launches several kernels at every tick. It stores the
states and, of a gated cell, what its backward pass needs; or the gradients of z
and of the initial state.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import importlib
import importlib.metadata
import math
import os

import torch

from speechbrain_cwrnn.errors import InputError


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
# The weights of a group stay on the chip: on all GPUs there is room for so many
# bytes of them, and for twice as many where a program may have this memory.
WEIGHTS = 64 * 1024
LARGE_MEMORY = 160 * 1024

# By k padded. With fewer elements than threads, z would not be fetched ahead.
_WARPS = {16: 2, 32: 4, 64: 4, 128: 8, 256: 16}
_WARPS_EXACT = {16: 2, 32: 4, 64: 8, 128: 16}
# Where there are fewer blocks of 16 sequences, halves of them keep more of the
# GPU busy, and each step is shorter.
_MANY_BLOCKS = 66


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
        and k <= _largest_group(device, dtype, cell)
    )


def require(device, dtype, k, cell):
    """Raise an error that says what is wrong if `supports` says no."""
    if not supports(device, dtype, k, cell):
        raise InputError(
            "backend='triton': expected float16, bfloat16 or float32, groups "
            f"of at most {_largest_group(device, dtype, cell)} (the weights "
            f"must fit in the GPU's shared memory), an NVIDIA GPU of compute "
            f"capability 8.0 or later and triton {_dotted(OLDEST_TRITON)} or "
            f"later, got {dtype}, groups of {k}, device {str(device)!r} and "
            f"{f'triton {_dotted(TRITON)}' if TRITON else 'no triton'}."
        )


def options(dtype, k, R, B, cell):
    """How the kernels are compiled and launched.

    Arguments
    ---------
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
    dict
        Arguments of the kernels: the block [BB, BK] of a step that a program
        computes, the precision of products of float32, how many steps of z
        are on their way at once, warps per program.

    Example
    -------
    >>> from speechbrain_cwrnn.cells import Cell
    >>> options(torch.bfloat16, 7, R=1, B=20, cell=Cell())["BK"]
    16
    """
    single = dtype == torch.float32
    exact = single and not _tf32_allowed()
    BK = max(16, 1 << (k - 1).bit_length())
    warps = (_WARPS_EXACT if exact else _WARPS)[BK]
    weights = cell.columns * dtype.itemsize * BK**2
    block = 8
    # In float32, or with larger groups, more would not fit on all chips.
    if not single and weights < WEIGHTS:
        block = 16 if R * math.ceil(B / 16) >= _MANY_BLOCKS else 8
    # A gated cell has twice as many signals, which need room beside these. With
    # more warps, a thread would have too few registers.
    if cell.gated and weights > WEIGHTS:
        block, warps = 4, 8
    return {
        "K": k,
        "BB": block,
        "BK": BK,
        "PRECISION": "tf32" if single and not exact else "ieee",
        "STAGES": 3,
        "num_warps": warps,
        "GATED": cell.gated,
        "NONLINEARITY": cell.nonlinearity,
        # Its default differs between versions of triton.
        "enable_fp_fusion": True,
    }


def launch(kernel, group, signals, how=None):
    """Run a kernel for a group, with the options `how` or else those of the
    table."""
    state, weight, mask, cell = group
    R, B, places, k = state.shape
    if R * B == 0:
        return
    # Not earlier: triton need not be there, and takes time to import.
    kernels = importlib.import_module("speechbrain_cwrnn.sweep.gpu_kernels")
    if how is None:
        how = options(weight.dtype, k, R, B, cell)
    # All is contiguous but for the replicas of z. It matters to the compiler
    # whether their pitch is a multiple of 16; that of a single one is not used.
    z = signals[0]
    pitch = 0 if z is None or R == 1 else z.stride(0)
    with torch.cuda.device_of(weight):
        getattr(kernels, kernel)[R, math.ceil(B / how["BB"])](
            state,
            *signals,
            weight.contiguous(),
            None if mask is None else mask.contiguous(),
            places - 1,
            B,
            pitch,
            **how,
        )


def _dotted(version):
    return ".".join(str(number) for number in version)


def _runs(device):
    """Whether a device can run the kernels at all."""
    if device.type != "cuda":
        return _interpreted()
    properties = torch.cuda.get_device_properties(device)
    return torch.version.hip is None and properties.major >= 8


def _largest_group(device, dtype, cell):
    """Units, a power of two, of the largest group whose weights fit."""
    room = 2 * WEIGHTS
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        # PyTorch for AMD has no such number.
        name = "shared_memory_per_block_optin"
        if getattr(properties, name, 0) < LARGE_MEMORY:
            room = WEIGHTS
    units = math.isqrt(room // (cell.columns * dtype.itemsize))
    return 1 << (units.bit_length() - 1)


def _interpreted():
    """Whether triton runs kernels in Python, on the CPU, to debug them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _tf32_allowed():
    """Whether the user lets products of float32 be rounded to TF32."""
    matmul = torch.backends.cuda.matmul
    # Once it has been used, the older name of the setting cannot be read.
    precision = getattr(matmul, "fp32_precision", None)
    return matmul.allow_tf32 if precision is None else precision == "tf32"
