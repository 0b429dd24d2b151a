"""Many copies trained at once are what they would be alone."""

from functools import partial

import pytest
import torch

from speechbrain_cwrnn import ClockworkRNN, Ensemble


class Model(torch.nn.Module):
    """A small recurrent regressor with dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.rnn = ClockworkRNN(
            6, input_size=2, num_layers=2, periods=[1, 2, 4], dropout=dropout
        )
        self.linear = torch.nn.Linear(6, 1)

    def forward(self, x):
        """x [B, T, 2] -> [B, T, 1]."""
        return self.linear(self.rnn(x)[0])


def train(model, x, target, steps=5):
    """Losses of a few steps of training; those of copies are added up."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.02, momentum=0.9, nesterov=True
    )
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - target).square().mean((-3, -2, -1)).sum().backward()
        optimizer.step()


def test_trained_at_once_as_alone():
    """Each copy, trained with the others, equals one trained by itself."""
    x, target = torch.randn(3, 9, 2), torch.randn(3, 9, 1)
    ensemble = Ensemble(Model, num_copies=4, seed=7)
    train(ensemble, x, target)
    for n in range(4):
        torch.manual_seed(7 + n)
        alone = Model()
        start = alone.rnn.weight_hh_l1_g0.detach().clone()
        train(alone, x, target)
        assert (alone.rnn.weight_hh_l1_g0 - start).abs().max() > 1e-3
        extracted = dict(ensemble.extract(n).named_parameters())
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(extracted[name], parameter)


def test_inputs_of_their_own():
    """in_dims gives each copy its part of an argument."""
    ensemble = Ensemble(Model, num_copies=3, seed=0)
    x = torch.randn(3, 2, 5, 2)
    output = ensemble(x, in_dims=0)
    for n in range(3):
        torch.testing.assert_close(output[n], ensemble.extract(n)(x[n]))


def test_seed():
    """Copy n does not depend on N, nor disturbs other random numbers."""
    state = torch.get_rng_state()
    few = Ensemble(Model, num_copies=2, seed=5).state_dict()
    many = Ensemble(Model, num_copies=9, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in few.items():
        assert torch.equal(value, many[name][:2])
        assert not torch.equal(value[0], value[1])
    assert list(few) == [f"module.{name}" for name in Model().state_dict()]
    Ensemble(Model, num_copies=1)
    assert not torch.equal(torch.get_rng_state(), state)


def test_dropout_differs():
    """Each copy drops other units."""
    ensemble = Ensemble(partial(Model, dropout=0.5), num_copies=2)
    x = torch.randn(3, 9, 2)
    # Two copies with the same parameters, in two layers with dropout between.
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter[1] = parameter[0]
    first, second = ensemble(x)
    assert (first - second).abs().max() > 0.01
    # Not bit for bit: where a copy's numbers begin may change their rounding.
    first, second = ensemble.eval()(x)
    torch.testing.assert_close(first, second)


def test_parameters_are_ordinary():
    """An optimizer and a checkpoint see leaves; extracting copies them."""
    ensemble = Ensemble(partial(torch.nn.Linear, 3, 2), num_copies=5)
    assert all(p.is_leaf and p.requires_grad for p in ensemble.parameters())
    weight = ensemble.extract(1).weight
    assert weight.is_leaf and weight.requires_grad
    with torch.no_grad():
        weight.zero_()
    assert ensemble.module.weight[1].any()


def test_no_copies():
    """The message holds what was given."""
    with pytest.raises(ValueError, match="num_copies=0: expected at least 1"):
        Ensemble(Model, num_copies=0)
