"""Normalisation at the ticks, against that of PyTorch."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from speechbrain_cwrnn.norm import BatchNorm


def make_pair():
    """Ours and PyTorch's, with the same parameters."""
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3, momentum=0.05)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    ours.load_state_dict(theirs.state_dict())
    return ours.double(), theirs.double()


def run(norm, x, *valid):
    """What it returns at the valid places, and all gradients, by name."""
    x = x.clone().requires_grad_()
    y = norm(x, *valid)
    (places,) = valid or [slice(None)]
    torch.manual_seed(7)
    y = y[places]
    dy = torch.randn_like(y)
    wrt = [x, *norm.parameters()]
    gradients = torch.autograd.grad(y, wrt, dy, allow_unused=True)
    return y.detach(), *gradients


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_equals_batchnorm(training, padded):
    """On the valid places as rows: values, gradients, statistics."""
    ours, theirs = make_pair()
    x = torch.randn(4, 5, 3).double()
    valid = torch.ones(4, 5, dtype=torch.bool)
    if padded:
        valid[1, 2:] = valid[3, 1:] = False
    ours.train(training), theirs.train(training)
    for _ in range(2):
        actual = run(ours, x, *[valid] * padded)
        y, dx, *others = run(theirs, x[valid])
        expected = torch.zeros_like(x)
        expected[valid] = dx
        if not padded:
            y = y.view(x.shape)
        for a, e in zip(actual, (y, expected, *others)):
            torch.testing.assert_close(a, e, rtol=0, atol=1e-12)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    assert ours.num_batches_tracked == 2 * training


@pytest.mark.parametrize("valid", [None, torch.tensor([[True], [False]])])
def test_a_single_place(valid):
    """It is the mean, and there is no variance of it."""
    ours, _ = make_pair()
    x = torch.randn(1 if valid is None else 2, 1, 3).double()
    y = ours(x, valid)
    torch.testing.assert_close(y[0, 0], ours.bias.data)
    torch.testing.assert_close(ours.running_mean, 0.05 * x[0, 0])
    assert (ours.running_var == 1).all()


def test_no_place():
    """The statistics stay as they are, and gradients are zero."""
    ours, _ = make_pair()
    y = ours(torch.zeros(2, 0, 3).double())
    assert y.shape == (2, 0, 3)
    y.sum().backward()
    for parameter in ours.parameters():
        assert (parameter.grad == 0).all()
    ours(torch.randn(2, 4, 3).double(), torch.zeros(2, 4, dtype=torch.bool))
    assert (ours.running_mean == 0).all() and (ours.running_var == 1).all()


@pytest.mark.parametrize("padded", [(False, True), (True, False)])
def test_several_calls_before_a_gradient(padded):
    """Each call's gradient is that of it alone, whatever came after."""
    norm, _ = make_pair()
    x = torch.randn(2, 4, 3).double().requires_grad_()
    valid = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    dy = torch.randn_like(x) * valid.unsqueeze(-1)
    alone = 0
    for p in padded:
        y = norm(x, valid if p else None)
        alone = alone + torch.autograd.grad(y, x, dy)[0]
    outputs = [norm(x, valid if p else None) for p in padded]
    (together,) = torch.autograd.grad(outputs, x, [dy, dy])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("padded", [True, False])
def test_half_precision(padded):
    """Statistics are those of float32, in autocast too."""
    norm = BatchNorm(3)
    x = (100.7 + torch.randn(4, 50, 3)).to(torch.bfloat16)
    valid = torch.arange(50) < torch.tensor([[50], [20], [3], [50]])
    expected = BatchNorm(3)(x.float(), valid if padded else None)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x, valid if padded else None)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype):
    """As many places as float16 has no number for, of which one does not
    count: as in float32, gradients and running statistics, too."""
    x = torch.randn(2, 2**15 + 5, 1).to(dtype)
    valid = torch.ones(x.shape[:2], dtype=torch.bool)
    valid[1, -1] = False
    norms, found = (BatchNorm(1).to(dtype), BatchNorm(1)), []
    for norm in norms:
        leaf = x.to(norm.weight.dtype).requires_grad_()
        y, wrt = norm(leaf, valid), [leaf, *norm.parameters()]
        dy = (1 + leaf.detach() + leaf.detach().square()) / 100
        gradients = torch.autograd.grad(y, wrt, dy)
        found.append([y, *gradients, *norm.buffers()])
    names = ["y", "dx", "dweight", "dbias", "mean", "var", "batches"]
    for name, actual, expected in zip(names, *found):
        error = (actual.to(expected.dtype) - expected).abs().max()
        most = 2 * torch.finfo(dtype).eps * expected.abs().max()
        assert error <= most, f"{name}: {error}"


@pytest.mark.parametrize("padded", [True, False])
def test_copies_of_their_own(padded):
    """Under vmap, each copy has its own statistics."""
    norms = [make_pair()[0] for _ in range(3)]
    x = torch.randn(3, 4, 5, 3).double()
    valid = torch.rand(4, 5) < 0.6 if padded else None
    parameters, buffers = stack_module_state(norms)

    def call(tensors, x):
        return functional_call(norms[0], tensors, (x, valid))

    tensors = {**parameters, **buffers}
    y = vmap(call)(tensors, x)
    for n, norm in enumerate(norms):
        torch.testing.assert_close(y[n], norm(x[n], valid))
        for name, buffer in norm.named_buffers():
            torch.testing.assert_close(tensors[name][n], buffer)
