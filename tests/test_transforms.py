"""Which transforms of PyTorch are at work."""

import runpy

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from speechbrain_cwrnn import transforms


def test_is_transformed():
    """By all that form a derivative, and not by vmap, which has a rule."""
    seen = []

    def look(x):
        seen.append(transforms.is_transformed())
        return x.sum()

    x = torch.ones(2, 3, requires_grad=True)
    look(x)
    torch.vmap(look)(x)
    assert seen == [False, False]
    torch.func.grad(look)(x)
    torch.vmap(torch.func.grad(look))(x)
    torch.func.jvp(look, (x,), (x,))
    with forward_ad.dual_level():
        look(x)
    assert seen[2:] == [True] * 4
    look(x)
    assert not seen[-1]


def test_is_mapped():
    """By vmap alone."""
    seen = []

    def look(x):
        seen.append(transforms.is_mapped(x))
        return x.sum()

    x = torch.ones(2, 3)
    look(x)
    torch.func.grad(look)(x)
    torch.vmap(look)(x)
    assert seen == [False, False, True]


def test_is_watched():
    """By gradients, transforms, tracers, modes and classes of tensors."""
    seen = []

    def look(x):
        seen.append(transforms.is_watched(x))
        return x.sum()

    x = torch.ones(2, 3)
    with torch.no_grad():
        look(x)
        look(torch.nn.Parameter(x))
        assert seen == [False, False]
        torch.vmap(look)(x)
        torch.func.functionalize(look)(x)
        torch.jit.trace(look, x, check_trace=False)
        with TorchDispatchMode():
            seen.append(transforms.is_watched(x))
        with forward_ad.dual_level():
            look(x)
        look(x.as_subclass(type("Other", (torch.Tensor,), {})))
        assert seen[2:] == [True] * 6
        seen.append(torch.compile(transforms.is_watched, backend="eager")(x))
    look(x)
    assert seen[8:] == [True, True]


@pytest.mark.parametrize(
    "owner, name",
    [
        (forward_ad, "_current_level"),
        (torch._C, "_len_torch_dispatch_stack"),
        (torch._C._functorch, "get_interpreter_stack"),
    ],
)
def test_another_pytorch(monkeypatch, owner, name):
    """One that cannot tell is refused when it is imported."""
    monkeypatch.delattr(owner, name)
    with pytest.raises(ImportError, match="^torch .*: expected one from 2.7.1"):
        runpy.run_path(transforms.__file__)
