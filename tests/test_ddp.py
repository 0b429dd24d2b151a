"""Layers that two processes train together."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN

LAYERS = {
    "plain": lambda: ClockworkRNN(8, input_size=3, periods=[1, 4]),
    "batchnorm": lambda: ClockworkLiGRU(8, input_size=3, periods=[1, 4]),
    "layernorm": lambda: ClockworkLiGRU(
        8,
        input_size=3,
        periods=[1, 4],
        normalization="layernorm",
        bidirectional=True,
    ),
}


def step(net, rank):
    """The gradients that a process has of its own sequences, and lengths."""
    torch.manual_seed(rank)
    x, lengths = torch.randn(2, 9, 3), torch.tensor([1.0, 0.5])
    net(x, lengths=lengths)[0].square().mean().backward()


def make(name):
    """The layer that all processes start with."""
    torch.manual_seed(7)
    return LAYERS[name]()


def train(rank, folder):
    """What each of the two does."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2
    )
    found = {}
    for name in LAYERS:
        net = nn.parallel.DistributedDataParallel(make(name))
        # Twice: the second one finds a parameter that had no gradient.
        for _ in range(2):
            net.zero_grad()
            step(net, rank)
        found[name] = {n: p.grad for n, p in net.module.named_parameters()}
        found[name].update(net.module.named_buffers())
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Gradients are the mean of what each has by itself, with statistics of its
    own; the running ones are those of the first, as of torch.nn.BatchNorm1d."""
    torch.multiprocessing.spawn(train, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name in LAYERS:
        nets = [make(name), make(name)]
        for rank, net in enumerate(nets):
            step(net, rank)
            if name == "batchnorm":
                net.zero_grad()
                step(net, rank)
        mean = {
            key: (parameter.grad + nets[1].get_parameter(key).grad) / 2
            for key, parameter in nets[0].named_parameters()
        }
        statistics = dict(nets[0].named_buffers())
        torch.testing.assert_close(first[name], {**mean, **statistics})
        torch.testing.assert_close({k: second[name][k] for k in mean}, mean)
