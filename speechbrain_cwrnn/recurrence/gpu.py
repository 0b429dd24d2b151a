"""The recurrence on the GPU: one kernel forward, one backward.

A kernel runs all the ticks of some sequences, with the weights on the chip,
where the loop in PyTorch launches several kernels at every tick. It stores the
states, or the gradient of z, and nothing else.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import importlib
import importlib.metadata
import math
import os

import torch


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
# The weights of a larger one do not fit on the chip.
LARGEST_GROUP = 128

# By k padded. With fewer elements than threads, z would not be fetched ahead.
_WARPS = {16: 2, 32: 4, 64: 4, 128: 8}
_WARPS_EXACT = {16: 2, 32: 4, 64: 8, 128: 16}
# Where there are fewer blocks of 16 sequences, halves of them keep more of the
# GPU busy, and each step is shorter.
_MANY_BLOCKS = 66


def forward(z, weight, h0, nonlinearity, *one_group):
    """The states h [R, N, B, k] of z [R, N, B, k]; see the package."""
    return _launch("forward_kernel", (z, weight, h0), nonlinearity)


def backward(dh, h, weight, nonlinearity, *one_group):
    """The gradients dz [R, N, B, k] and dh0 [R, B, k] from that of h."""
    dz = _launch("backward_kernel", (dh, h, weight), nonlinearity)
    # h0 acts through the first step; with no step, on nothing.
    return dz, dz[:, :1].sum(1) @ weight


def supports(device, dtype, k):
    """Whether this engine can run there.

    Arguments
    ---------
    device : torch.device
        Where the tensors are.
    dtype : torch.dtype
        Of the tensors.
    k : int
        Group size.

    Returns
    -------
    bool
        Whether it can.

    Example
    -------
    >>> supports(torch.device("cpu"), torch.float64, k=3)
    False
    """
    return (
        TRITON >= OLDEST_TRITON
        and dtype in DTYPES
        and k <= LARGEST_GROUP
        and (_capable(device) if device.type == "cuda" else _interpreted())
    )


def require(device, dtype, k):
    """Raise an error that says what is wrong if `supports` says no.

    Arguments
    ---------
    device : torch.device
        Where the tensors are.
    dtype : torch.dtype
        Of the tensors.
    k : int
        Group size.

    Example
    -------
    >>> require(torch.device("cpu"), torch.float64, k=3)
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: backend='triton': expected float16, bfloat16 or float32, ...
    """
    if not supports(device, dtype, k):
        raise ValueError(
            "backend='triton': expected float16, bfloat16 or float32, groups "
            f"of at most {LARGEST_GROUP}, an NVIDIA GPU of compute capability "
            f"8.0 or later and triton {_dotted(OLDEST_TRITON)} or later, got "
            f"{dtype}, groups of {k}, device {str(device)!r} and "
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
        computes, the precision of products of float32, warps per program.

    Example
    -------
    >>> options(torch.bfloat16, 7, R=1, B=20)["BK"]
    16
    """
    single = dtype == torch.float32
    exact = single and not _tf32_allowed()
    BK = max(16, 1 << (k - 1).bit_length())
    # In float32, more would not fit on the chip of smaller GPUs.
    many = not single and R * math.ceil(B / 16) >= _MANY_BLOCKS
    return {
        "K": k,
        "BB": 16 if many else 8,
        "BK": BK,
        "PRECISION": "tf32" if single and not exact else "ieee",
        "num_warps": (_WARPS_EXACT if exact else _WARPS)[BK],
        # Its default differs between versions of triton.
        "enable_fp_fusion": True,
    }


def _launch(kernel, inputs, nonlinearity):
    """The result of a kernel, of the shape of the first of its inputs."""
    inputs = [x.contiguous() for x in inputs]
    result = torch.empty_like(inputs[0])
    R, N, B, k = result.shape
    if result.numel():
        # Not earlier: triton need not be there, and takes time to import.
        kernels = importlib.import_module(
            "speechbrain_cwrnn.recurrence.gpu_kernels"
        )
        how = options(result.dtype, k, R, B)
        with torch.cuda.device_of(result):
            getattr(kernels, kernel)[R, math.ceil(B / how["BB"])](
                *inputs, result, N, B, NONLINEARITY=nonlinearity, **how
            )
    return result


def _dotted(version):
    return ".".join(str(number) for number in version)


@torch.compiler.assume_constant_result
def _capable(device):
    """Whether a CUDA device is one that triton compiles these kernels for."""
    if torch.version.hip is not None:
        return False
    return torch.cuda.get_device_properties(device).major >= 8


def _interpreted():
    """Whether triton runs kernels in Python, on the CPU, to debug them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _tf32_allowed():
    """Whether the user lets products of float32 be rounded to TF32."""
    matmul = torch.backends.cuda.matmul
    # Once it has been used, the older name of the setting cannot be read.
    precision = getattr(matmul, "fp32_precision", None)
    return matmul.allow_tf32 if precision is None else precision == "tf32"
