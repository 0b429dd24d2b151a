"""Relative lengths: what they mean, and what they must be."""

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.lengths import (
    count_steps,
    last_step,
    reverse,
    zero_padding,
)

X = torch.randn(3, 10, 2)


@pytest.mark.parametrize(
    "convert",
    [
        torch.tensor,
        lambda lengths: torch.tensor(lengths, dtype=torch.float64),
        lambda lengths: torch.tensor(lengths, dtype=torch.bfloat16),
        list,
        tuple,
        np.array,
    ],
)
def test_of_any_type(convert):
    """A tensor in any precision, or what becomes one."""
    assert count_steps(convert([1.0, 0.3, 0.72]), X).tolist() == [10, 3, 7]


def test_rounded():
    """To the nearest number, also where half precision has not all of them."""
    T = 1500
    lengths = (torch.arange(1, T + 1) / T).half()
    steps = count_steps(lengths, torch.zeros(T, T, 0))
    assert steps.tolist() == list(range(1, T + 1))


def test_clamped():
    """There is a step at least, and half precision may exceed 1."""
    assert count_steps([0.01, 1.005, 1.0], X).tolist() == [1, 10, 10]


def test_no_sequences():
    """An empty batch has no lengths."""
    assert count_steps(torch.ones(0), X[:0]).shape == (0,)


def test_mapped():
    """Under vmap, each copy may have lengths of its own."""
    lengths = torch.rand(4, 3).clamp(min=0.1)
    steps = torch.vmap(lambda lengths: count_steps(lengths, X))(lengths)
    for n in range(4):
        assert torch.equal(steps[n], count_steps(lengths[n], X))


@pytest.mark.parametrize(
    "lengths, message",
    [
        (torch.ones(2), r"lengths of shape \(2,\): expected one .*\(3,\)"),
        (torch.ones(3, 1), r"lengths of shape \(3, 1\): expected one"),
        (1.0, r"lengths of shape \(\): expected one per sequence"),
        (torch.tensor([10, 3, 7]), "lengths in torch.int64: expected relative"),
        (torch.ones(3) > 0, "lengths in torch.bool: expected relative"),
        ([10.0, 3.0, 7.0], r"lengths=\[10.0, 3.0, 7.0\]: expected relative"),
        ([1.0, 0.0, 1.0], r"lengths=\[1.0, 0.0, 1.0\]: expected relative"),
        ([1.0, -0.5, 1.0], r"lengths=\[1.0, -0.5, 1.0\]: expected relative"),
        ([1.0, float("nan"), 1.0], r"lengths=\[1.0, nan, 1.0\]: expected rel"),
        ("full", "lengths='full': expected a tensor of relative lengths"),
        ([None], r"lengths=\[None\]: expected a tensor of relative lengths"),
    ],
)
def test_bad(lengths, message):
    """One sentence."""
    with pytest.raises(ValueError, match=message):
        count_steps(lengths, X)


def test_ends():
    """What is reversed, the last step, and the padding."""
    x = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    steps = torch.tensor([4, 2])
    assert reverse(x, steps).flatten().tolist() == [4, 3, 2, 1, 6, 5, 7, 8]
    assert reverse(x, None).flatten().tolist() == [4, 3, 2, 1, 8, 7, 6, 5]
    assert last_step(x, steps).tolist() == [[4], [6]]
    assert last_step(x, None).tolist() == [[4], [8]]
    assert zero_padding(x, steps).flatten().tolist() == [1, 2, 3, 4, 5, 6, 0, 0]


@pytest.mark.parametrize("dynamic, warm", [(True, 1), (None, 3)])
def test_compile(dynamic, warm):
    """A layer is compiled whole, and once for all batch sizes and numbers of
    steps; without `dynamic`, when PyTorch has seen that both change."""
    # No two sizes are the same at first: PyTorch takes it that they stay so.
    net = ClockworkRNN(7, input_size=3, periods=[1, 3], bidirectional=True)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        net, fullgraph=True, dynamic=dynamic, backend=counter
    )
    frames = []
    for B, T in [(4, 11), (4, 13), (3, 9), (2, 30), (5, 8)]:
        x, lengths = torch.randn(B, T, 3), torch.rand(B).clamp(min=0.1)
        padding = torch.arange(T) >= (lengths * T).round().unsqueeze(1)
        x[padding] = torch.nan
        x.requires_grad_()
        state = net(torch.randn(B, 2, 3))[1]
        results = []
        for run in (compiled, net):
            output, (h, clock) = run(x, state, lengths)
            (dx,) = torch.autograd.grad(output.sum() + h.sum(), x)
            results.append([output, h, clock, dx])
        torch.testing.assert_close(*results)
        frames.append(counter.frame_count)
    assert frames[warm - 1] == frames[-1] > 0


def test_export():
    """What is exported takes any batch size and number of steps."""
    net = ClockworkRNN(4, input_size=2, periods=[1, 3], bidirectional=True)
    B, T = Dim("B", min=1, max=64), Dim("T", min=2, max=999)
    exported = torch.export.export(
        net,
        (torch.randn(4, 11, 2), None, torch.rand(4)),
        dynamic_shapes=({0: B, 1: T}, None, {0: B}),
    ).module()
    for B, T in [(3, 9), (1, 2), (5, 57)]:
        x, lengths = torch.randn(B, T, 2), torch.rand(B).clamp(min=0.1)
        torch.testing.assert_close(
            exported(x, None, lengths), net(x, None, lengths)
        )
