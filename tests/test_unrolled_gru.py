"""The GRU for many networks at once, against PyTorch's."""

from functools import partial

import torch

from speechbrain_cwrnn import Ensemble
from speechbrain_cwrnn.unrolled_gru import UnrolledGRU


def run(network, x):
    """The output, and the gradients of all."""
    output, h = network(x)
    loss = (output * torch.linspace(1, 2, output.numel()).view_as(output)).sum()
    return [output, h, *torch.autograd.grad(loss, [x, *network.parameters()])]


def test_equals_pytorch():
    """With the same parameters, values and gradients."""
    network = UnrolledGRU(5, input_size=3).double()
    theirs = torch.nn.GRU(3, 5, batch_first=True).double()
    theirs.load_state_dict(network.state_dict())
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    for actual, expected in zip(run(network, x), run(theirs, x)):
        assert (actual - expected).abs().max() < 1e-12


def test_ensemble():
    """Each copy is a network as it would be on its own."""
    networks = Ensemble(
        partial(UnrolledGRU, 5, input_size=3), num_copies=3, seed=1
    )
    x = torch.randn(2, 9, 3)
    outputs, _ = networks(x)
    for i, output in enumerate(outputs):
        torch.manual_seed(1 + i)
        expected, _ = UnrolledGRU(5, input_size=3)(x)
        assert (output - expected).abs().max() < 1e-6
