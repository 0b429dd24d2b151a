"""Which transforms of PyTorch are at work."""

import runpy

import pytest
import torch
from torch.autograd import forward_ad

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


@pytest.mark.parametrize(
    "owner, name",
    [
        (forward_ad, "_current_level"),
        (torch._C._functorch, "get_interpreter_stack"),
    ],
)
def test_another_pytorch(monkeypatch, owner, name):
    """One that cannot tell is refused when it is imported."""
    monkeypatch.delattr(owner, name)
    with pytest.raises(ImportError, match="^torch .*: expected one from 2.7.1"):
        runpy.run_path(transforms.__file__)
