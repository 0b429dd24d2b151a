"""The one sequential operation, in each of its engines."""

import pytest
import torch

from speechbrain_cwrnn.recurrence import ENGINES, choose_engine, recurrence


def plain(z, weight, h0, nonlinearity):
    """The equation, for z [..., N, B, k]."""
    states = []
    for z_n in z.unbind(-3):
        h0 = getattr(torch, nonlinearity)(z_n + h0 @ weight.mT)
        states.append(h0)
    return torch.stack(states, -3)


def leaves(*leading, N=9, B=2, k=3):
    """z, weight and h0, not contiguous."""
    shapes = [(N, B, k), (k, k), (B, k)]
    return [
        (0.5 * torch.randn(*leading, *shape, dtype=torch.float64).mT)
        .contiguous()
        .mT.requires_grad_()
        for shape in shapes
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_equals_plain_loop(engine, nonlinearity, leading):
    """States and all gradients, with and without replicas."""
    args = leaves(*leading)
    h = recurrence(*args, nonlinearity, engine)
    expected = plain(*args, nonlinearity)
    dh = torch.randn_like(h)
    actual = (h, *torch.autograd.grad(h, args, dh))
    expected = (expected, *torch.autograd.grad(expected, args, dh))
    for name, a, e in zip(("h", "dz", "dweight", "dh0"), actual, expected):
        assert (a - e).abs().max() < 1e-12, name


@pytest.mark.parametrize("engine", ENGINES)
def test_no_ticks(engine):
    """A group that does not tick has gradients all the same: zeros."""
    args = leaves(N=0)
    h = recurrence(*args, backend=engine)
    assert h.shape == (0, 2, 3)
    for gradient in torch.autograd.grad(h.sum(), args):
        assert not gradient.any()


@pytest.mark.parametrize("engine", ENGINES)
def test_extreme_values(engine):
    """Large z saturates exactly; NaN and infinity go their way."""
    z = torch.tensor([1e4, -1e4, torch.inf, torch.nan]).reshape(1, 4, 1)
    h = recurrence(z, torch.ones(1, 1), torch.zeros(4, 1), backend=engine)
    assert h.flatten()[:3].tolist() == [1, -1, 1]
    assert h.flatten()[3].isnan()


@pytest.mark.parametrize("engine", ENGINES)
def test_opcheck(engine):
    """What torch.compile and torch.export assume of an operator holds."""
    torch.library.opcheck(
        torch.ops.speechbrain_cwrnn.recurrence, (*leaves(4), "tanh", engine)
    )


def test_no_second_derivative():
    """Differentiating twice is an error, not a wrong number."""
    args = leaves()
    (dz,) = torch.autograd.grad(
        recurrence(*args).square().sum(), args[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match="autograd"):
        torch.autograd.grad(dz.sum(), args)


def test_unknown_backend():
    """The message names what there is."""
    with pytest.raises(ValueError, match="backend='cuda': .*'auto', 'eager'"):
        choose_engine("cuda")
