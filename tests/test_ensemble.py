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
    few, many = (
        dict(Ensemble(Model, num_copies, seed=5).named_parameters())
        for num_copies in (2, 9)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in few.items():
        assert torch.equal(value, many[name][:2])
        assert not torch.equal(value[0], value[1])
    assert list(few) == [f"module.{n}" for n, _ in Model().named_parameters()]
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
    assert torch.equal(ensemble.extract(-1).weight, ensemble.module.weight[4])


class Counted(torch.nn.Module):
    """A regressor whose buffers are written to, or assigned anew."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1, bias=False)
        self.norm = torch.nn.BatchNorm1d(1)
        self.register_buffer("mean", torch.rand(1))

    def forward(self, x):
        """x [B, T, 2] -> [B, T, 1]."""
        y = self.linear(x)
        self.mean = 0.9 * self.mean + y.detach().mean()
        return self.norm(y.mT).mT + self.mean


class Tied(torch.nn.Module):
    """A regressor of two layers with the same weights, one bias a constant."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2)
        self.second = torch.nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)

    def forward(self, x):
        """x [B, T, 2] -> [B, T, 1]."""
        return self.second(self.first(x).tanh()).sum(-1, keepdim=True)


def normed():
    """A regressor whose weight is computed from two others."""
    return torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 1))


@pytest.mark.parametrize("make", [Counted, Tied, normed])
def test_buffers_and_shared_parameters(make):
    """They are each copy's own, trained or constant as in the module."""
    x, target = torch.randn(3, 9, 2), torch.randn(3, 9, 1)
    ensemble = Ensemble(make, num_copies=2, seed=7)
    start = ensemble.state_dict()
    assert all(len(tensor) == 2 for tensor in start.values())
    start = {name: value.clone() for name, value in start.items()}
    train(ensemble, x, target)
    for n in range(2):
        torch.manual_seed(7 + n)
        alone = make()
        train(alone, x, target)
        extracted = ensemble.extract(n)
        trained = {name for name, _ in extracted.named_parameters()}
        assert trained == {name for name, _ in alone.named_parameters()}
        state = extracted.state_dict()
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value)
            moved = not torch.equal(value, start[f"module.{name}"][n])
            assert moved == (name != "second.bias"), name
    ensemble.load_state_dict(start)
    for name, value in ensemble.state_dict().items():
        assert torch.equal(value, start[name]), name


OPTIMIZERS = [
    (name, {}) for name in "Adam Adamax NAdam RAdam Adagrad Adadelta".split()
] + [
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("ASGD", {}),
    ("Rprop", {}),
]


@pytest.mark.parametrize("name, options", OPTIMIZERS)
def test_frozen(name, options):
    """Bit for bit unmoved, whatever the optimizer, and no other disturbed,
    also where the frozen one is not finite, or one of its parameters has no
    gradient yet."""
    x, target = torch.randn(3, 9, 2), torch.randn(3, 9, 1)
    after = []
    for freezes in (False, True):
        ensemble = Ensemble(Model, num_copies=3, seed=7)
        optimizer = getattr(torch.optim, name)(
            ensemble.parameters(), lr=0.02, **options
        )
        for step in range(4):
            optimizer.zero_grad()
            if step:
                loss = (ensemble(x) - target).square().sum((1, 2, 3))
                if step == 3:
                    loss = loss * torch.tensor([1, torch.inf, 1])
                loss.sum().backward()
            copies = torch.tensor([False, step != 1 and freezes, False])
            before = ensemble.extract(1).state_dict()
            with ensemble.frozen(copies):
                optimizer.step()
        after.append(ensemble)
    for p, q in zip(*(ensemble.parameters() for ensemble in after)):
        assert torch.equal(p[[0, 2]], q[[0, 2]])
        assert not torch.equal(p[1], q[1])
    for name, value in after[1].extract(1).state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_after_an_error():
    """What an optimizer has done before it failed is undone, too."""
    ensemble = Ensemble(partial(torch.nn.Linear, 3, 2), num_copies=2)
    before = ensemble.extract(1).weight
    with pytest.raises(RuntimeError, match="of the optimizer"):
        with torch.no_grad(), ensemble.frozen(torch.tensor([False, True])):
            ensemble.module.weight.zero_()
            raise RuntimeError("of the optimizer")
    assert torch.equal(ensemble.extract(1).weight, before)


def test_clip_without_gradients():
    """Before a backward pass there is nothing to clip, as in PyTorch."""
    Ensemble(partial(torch.nn.Linear, 3, 2), 2).clip_gradients(1)


def hooked():
    """A layer that computes its weight into a tensor that it merely holds."""
    with pytest.warns(FutureWarning):
        return torch.nn.utils.weight_norm(torch.nn.Linear(2, 1))


linear = torch.nn.Linear(2, 1)
counter = iter(range(1, 100))


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(Ensemble, Model, 0), "num_copies=0: expected an integer, 1"),
        (partial(Ensemble, Model, 2.5), "num_copies=2.5: expected an integer"),
        (partial(Ensemble, Model, 2, seed=0.5), "seed=0.5: expected an int"),
        (
            partial(Ensemble, Model, 2, seed=2**63 - 1),
            "seed=9223372036854775807: expected an integer from -9223372036854",
        ),
        (partial(Ensemble, linear, 2), "module of type Linear: expected a fun"),
        (partial(Ensemble, lambda: linear, 2), "the same one again and again"),
        (
            partial(Ensemble, dict, 2),
            "module makes a dict: expected a torch.",
        ),
        (
            partial(Ensemble, lambda: torch.nn.Linear(2, next(counter)), 2),
            "module makes copies of different parameters",
        ),
        (
            partial(Ensemble, lambda: torch.nn.Sequential(hooked()), 2),
            "module has a tensor 0.weight that is neither",
        ),
    ],
)
def test_bad_modules(make, message):
    """What cannot be an ensemble is none."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda e: e.extract(3), "index=3: expected that of one of 3 copies"),
        (lambda e: e.extract(-4), "index=-4: expected that of one of 3"),
        (lambda e: e.extract(True), "index=True: expected an integer"),
        (lambda e: e.clip_gradients(-1), "max_norm=-1: expected a number"),
        (
            lambda e: e.clip_gradients(float("nan")),
            r"max_norm=nan: expected a number in \[0, inf\]",
        ),
        (lambda e: e.frozen("all").__enter__(), "copies='all': expected a ten"),
        (
            lambda e: e(torch.ones(3, 3), in_dims=(0, 0)),
            r"in_dims=\(0, 0\): expected one for each of 1 arguments",
        ),
    ]
    + [
        (
            lambda e, in_dims=in_dims: e(torch.ones(3, 2, 3), in_dims=in_dims),
            rf"in_dims=\({in_dims},\): expected None, or a dimension of 3 "
            rf"copies, for an argument of shape \(3, 2, 3\)",
        )
        for in_dims in (1, 3, -4, True)
    ]
    + [
        (
            lambda e, copies=copies: e.frozen(copies).__enter__(),
            "copies=.*: expected 3 booleans, one for each copy",
        )
        for copies in (
            torch.tensor([0, 1, 1]),
            torch.tensor([True]),
            [True, False],
            True,
            [0, 2],
        )
    ],
)
def test_bad_arguments(call, message):
    """One sentence."""
    with pytest.raises(ValueError, match=message):
        call(Ensemble(partial(torch.nn.Linear, 3, 2), 3))
