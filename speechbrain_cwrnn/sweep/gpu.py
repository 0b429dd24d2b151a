"""The recurrence on the GPU: one kernel forward, one backward.

A kernel runs all the ticks of some sequences, with the weights on the chip,
where the loop in PyTorch launches several kernels at every tick. It stores the
states, or the gradients of z and of the initial state, and nothing else.

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
# The weights of larger ones do not fit on the chip; of half precision, those
# of twice as many units do where a program may have this many bytes of it.
LARGEST_GROUP = 128
LARGE_MEMORY = 160 * 1024

# By k padded. With fewer elements than threads, z would not be fetched ahead.
_WARPS = {16: 2, 32: 4, 64: 4, 128: 8, 256: 16}
_WARPS_EXACT = {16: 2, 32: 4, 64: 8, 128: 16}
# Where there are fewer blocks of 16 sequences, halves of them keep more of the
# GPU busy, and each step is shorter.
_MANY_BLOCKS = 66


def forward(state, weight, nonlinearity):
    """Replace z by h in state [R, B, 1 + N, k]; see `sweep`."""
    launch("forward_kernel", (state,), weight, nonlinearity)


def backward(dstate, state, weight, nonlinearity):
    """Replace ds by dz in dstate [R, B, 1 + N, k]; see `sweep`."""
    launch("backward_kernel", (dstate, state), weight, nonlinearity)


def supports(device, dtype, k):
    """Whether this engine can run there, with groups of k units."""
    return (
        TRITON >= OLDEST_TRITON
        and dtype in DTYPES
        and k <= _largest_group(device, dtype)
    )


def require(device, dtype, k):
    """Raise an error that says what is wrong if `supports` says no."""
    if not supports(device, dtype, k):
        raise InputError(
            "backend='triton': expected float16, bfloat16 or float32, groups "
            f"of at most {LARGEST_GROUP} ({2 * LARGEST_GROUP} in 16 bits on "
            f"GPUs with {LARGE_MEMORY // 1024} KB of shared memory for a "
            f"block), an NVIDIA GPU of compute capability 8.0 or later and "
            f"triton {_dotted(OLDEST_TRITON)} or later, got {dtype}, groups "
            f"of {k}, device {str(device)!r} and "
            f"{f'triton {_dotted(TRITON)}' if TRITON else 'no triton'}."
        )


def options(dtype, k, R, B):
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

    Returns
    -------
    dict
        Arguments of the kernels: the block [BB, BK] of a step that a program
        computes, the precision of products of float32, how many steps of z
        are on their way at once, warps per program.

    Example
    -------
    >>> options(torch.bfloat16, 7, R=1, B=20)["BK"]
    16
    """
    single = dtype == torch.float32
    exact = single and not _tf32_allowed()
    BK = max(16, 1 << (k - 1).bit_length())
    # In float32, or with larger groups, more would not fit on all chips.
    many = R * math.ceil(B / 16) >= _MANY_BLOCKS
    many = many and not single and BK <= LARGEST_GROUP
    return {
        "K": k,
        "BB": 16 if many else 8,
        "BK": BK,
        "PRECISION": "tf32" if single and not exact else "ieee",
        "STAGES": 3,
        "num_warps": (_WARPS_EXACT if exact else _WARPS)[BK],
        # Its default differs between versions of triton.
        "enable_fp_fusion": True,
    }


def launch(kernel, signals, weight, nonlinearity, how=None):
    """Run a kernel, which changes the first of its signals, with the options
    `how` or else those of the table."""
    R, B, places, k = signals[0].shape
    if R * B == 0 or places == 1:
        return
    # Not earlier: triton need not be there, and takes time to import.
    kernels = importlib.import_module("speechbrain_cwrnn.sweep.gpu_kernels")
    if how is None:
        how = options(weight.dtype, k, R, B)
    with torch.cuda.device_of(weight):
        getattr(kernels, kernel)[R, math.ceil(B / how["BB"])](
            *signals,
            weight.contiguous(),
            places - 1,
            B,
            NONLINEARITY=nonlinearity,
            **how,
        )


def _dotted(version):
    return ".".join(str(number) for number in version)


def _largest_group(device, dtype):
    """Units of the largest group that a device can run; 0 if it runs none."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        runs = torch.version.hip is None and properties.major >= 8
        large = properties.shared_memory_per_block_optin >= LARGE_MEMORY
    else:
        runs = large = _interpreted()
    twice = large and dtype.itemsize == 2
    return runs * (2 * LARGEST_GROUP if twice else LARGEST_GROUP)


def _interpreted():
    """Whether triton runs kernels in Python, on the CPU, to debug them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _tf32_allowed():
    """Whether the user lets products of float32 be rounded to TF32."""
    matmul = torch.backends.cuda.matmul
    # Once it has been used, the older name of the setting cannot be read.
    precision = getattr(matmul, "fp32_precision", None)
    return matmul.allow_tf32 if precision is None else precision == "tf32"
