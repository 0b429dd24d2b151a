"""Which transforms of PyTorch are at work, and what else looks on.

PyTorch has no public names that tell. These are in all versions from 2.7.1 to
2.14; one that lacks any of them is refused here, rather than where a derivative
is zero. Upstream would need `torch.func` to say what is active.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
from torch.autograd import forward_ad
from torch.nn import Parameter

try:
    from torch._C._functorch import (
        TransformType,
        get_interpreter_stack,
        is_batchedtensor,
    )

    # Asked anew for each call, since they change.
    _ = forward_ad._current_level, torch._C._len_torch_dispatch_stack
except (ImportError, AttributeError) as error:
    raise ImportError(
        f"torch {torch.__version__}: expected one from 2.7.1 to 2.14, which "
        f"tells what transforms are active ({error})."
    ) from error


def is_transformed():
    """Whether a derivative is formed in forward mode, or by a transform of
    torch.func other than vmap."""
    if forward_ad._current_level >= 0:
        return True
    transforms = get_interpreter_stack() or ()
    return any(t.key() != TransformType.Vmap for t in transforms)


# torch.compile asks this once. (The decorator that sets this mark, which all
# these versions know, takes a second to import.)
is_transformed._dynamo_marked_constant = True


def is_mapped(x):
    """Whether a tensor is one of those that vmap runs as one."""
    return is_batchedtensor(x)


def is_watched(*tensors):
    """Whether anything may want to see what is done to tensors as operations
    of PyTorch: a gradient, a transform, a compiler, a mode, or a class of
    tensors of its own (which a parameter's is not). Some may be None."""
    return (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or forward_ad._current_level >= 0
        or bool(get_interpreter_stack())
        or torch._C._len_torch_dispatch_stack() > 0
        or not {*map(type, tensors)} <= {torch.Tensor, Parameter, type(None)}
    )
