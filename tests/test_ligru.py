"""The gated layers, against SpeechBrain's and themselves."""

import copy
import inspect

import numpy as np
import pytest
import torch
from helpers import CPU_ENGINES
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.containers import Sequential
from speechbrain.nnet.RNN import LiGRU
from torch import nn

from speechbrain_cwrnn import ClockworkLiGRU, Ensemble
from speechbrain_cwrnn.errors import InputError

NORMALIZATIONS = ["batchnorm", "layernorm"]


def speechbrains(training, *args, **options):
    """SpeechBrain's in float64, whose statistics and biases are not those that
    it starts with."""
    torch.manual_seed(0)
    ligru = LiGRU(5, (3, 20, 4), *args, **options).double()
    with torch.no_grad():
        for name, tensor in ligru.state_dict().items():
            if "norm" in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return ligru.train(training)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, "none"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "leaky_relu"])
def test_is_speechbrains(nonlinearity, normalization, training, bidirectional):
    """With its weights: outputs, gradients, statistics, state dicts."""
    ligru = speechbrains(
        training,
        nonlinearity,
        normalization,
        num_layers=2,
        bidirectional=bidirectional,
    )
    net = ClockworkLiGRU.from_speechbrain(ligru)
    assert net.training == training
    x = torch.randn(3, 20, 4).double().requires_grad_()
    output, expected = net(x)[0], ligru(x)[0]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    doutput = torch.randn_like(output)
    again = net.to_speechbrain()
    wrt = [p for p in again.parameters() if p.requires_grad]
    grads = torch.autograd.grad(expected, [x, *ligru.parameters()], doutput)
    named = dict(zip(["x", *dict(ligru.named_parameters())], grads))
    output.backward(doutput)
    torch.testing.assert_close(x.grad, named["x"], rtol=0, atol=1e-11)
    for layer in range(2):
        own = dict(net.get_submodule(f"norm_l{layer}").named_parameters())
        own["w.weight"] = net.get_parameter(f"weight_ih_l{layer}")
        own["u.weight"] = net.get_parameter(f"weight_hh_l{layer}_g0")
        for name, parameter in own.items():
            theirs = f"rnn.{layer}.{name.replace('0.', 'norm.')}"
            torch.testing.assert_close(
                parameter.grad, named[theirs], rtol=0, atol=1e-10, msg=theirs
            )
    assert len(wrt) == len(named) - 1
    # What was counted in training, too.
    for name, tensor in ligru.state_dict().items():
        if "drop" not in name:
            torch.testing.assert_close(again.state_dict()[name], tensor)
    again = ClockworkLiGRU.from_speechbrain(again)
    assert type(again) is ClockworkLiGRU and again.training == training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_interface():
    """The arguments of SpeechBrain's come first, in its order."""
    theirs = list(inspect.signature(LiGRU).parameters)
    ours = inspect.signature(ClockworkLiGRU).parameters
    assert list(ours)[: len(theirs)] == theirs
    others = [ours[name] for name in list(ours)[len(theirs) :]]
    assert all(p.kind is p.KEYWORD_ONLY for p in others)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: torch.nn.LSTM(4, 5), "a LSTM: expected a LiGRU of SpeechB"),
        (lambda: LiGRU(6, (1, 1, 4)), "of hidden_size=6: expected 5, as"),
        (lambda: LiGRU(5, (1, 1, 3)), "of input_size=3: expected 4, as"),
        (lambda: LiGRU(5, (1, 1, 4), num_layers=2), "num_layers=2: expecte"),
        (lambda: LiGRU(5, (1, 1, 4), "tanh"), "nonlinearity='tanh': expec"),
    ],
)
def test_takes_over_no_other(make, message):
    """Before any weight is written."""
    net = ClockworkLiGRU(5, input_size=4, nonlinearity="relu")
    before = {name: t.clone() for name, t in net.state_dict().items()}
    with pytest.raises(InputError, match=message):
        net.take_over(make())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    with pytest.raises(InputError, match="a GRU: expected a LiGRU"):
        ClockworkLiGRU.from_speechbrain(torch.nn.GRU(4, 5))


def test_without_bias():
    """Neither learns one."""
    ligru = speechbrains(True, bias=False)
    with torch.no_grad():
        ligru.rnn[0].norm.bias.zero_()
    net = ClockworkLiGRU.from_speechbrain(ligru)
    assert not net.norm_l0[0].bias.requires_grad and not net.bias
    x = torch.randn(3, 20, 4).double()
    torch.testing.assert_close(net(x)[0], ligru(x)[0])
    assert not net.to_speechbrain().rnn[0].norm.bias.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"normalization": None},
        {"normalization": "batchnorm"},
        {"normalization": "layernorm", "bidirectional": True},
        {"periods": [1, 3, 4], "num_layers": 2, "bidirectional": True},
    ],
)
def test_lengths(options):
    """In evaluation, a sequence is what it would be alone; in training, the
    statistics are those of what is inside."""
    torch.manual_seed(1)
    net = ClockworkLiGRU(12, input_size=4, **options).double()
    x = torch.randn(3, 20, 4).double()
    steps = [20, 9, 1]
    lengths = torch.tensor([n / 20 for n in steps])
    # Another batch would be padded further.
    padded = torch.full((3, 25, 4), torch.nan).double()
    for b, n in enumerate(steps):
        padded[b, :n] = x[b, :n]
    again = copy.deepcopy(net)
    expected, (h, _) = net(x, lengths=lengths)
    actual, (h_again, _) = again(padded, lengths=0.8 * lengths)
    torch.testing.assert_close(actual[:, :20], expected)
    torch.testing.assert_close(h_again, h)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
    net.eval()
    output, (h, clock) = net(padded, lengths=0.8 * lengths)
    for b, n in enumerate(steps):
        alone, (h_alone, _) = net(x[b : b + 1, :n])
        torch.testing.assert_close(output[b, :n], alone[0])
        torch.testing.assert_close(h[:, b], h_alone[:, 0])
        assert (output[b, n:] == 0).all()
        assert (clock[:, b] == n).all()


@pytest.mark.parametrize("backend", CPU_ENGINES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm", None])
def test_overflow_in_the_padding(normalization, bidirectional, backend):
    """A state that grows there without bound reaches nothing: all is what it
    is without the padding."""
    net = ClockworkLiGRU(
        6,
        None,
        "relu",
        normalization,
        2,
        input_size=3,
        periods=[1, 2],
        bidirectional=bidirectional,
        backend=backend,
    ).double()
    for name, parameter in net.named_parameters():
        if name.startswith("weight_hh"):
            candidates, gates = parameter.data.abs_().chunk(2)
            candidates.mul_(1e20)
            gates.neg_()
    steps = torch.tensor([3, 1, 2])
    x, results = torch.randn(3, 40, 3).double(), []
    for T in (3, 40):
        padded = x[:, :T].detach().requires_grad_()
        output, (h, _) = net(padded, lengths=steps / T)
        assert not output[:, 3:].any()
        wrt = [padded, *(p for p in net.parameters() if p.requires_grad)]
        loss = (output + 1).log().sum() + h.log1p().sum()
        dx, *gradients = torch.autograd.grad(loss, wrt)
        assert not dx[:, 3:].any()
        results.append([output[:, :3], h, dx[:, :3], *gradients])
    for actual, expected in zip(*results):
        assert expected.isfinite().all()
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm", None])
def test_chunks(normalization):
    """Pieces of any size give what one pass gives."""
    net = ClockworkLiGRU(
        9, None, "tanh", normalization, 2, input_size=4, periods=[1, 2, 5]
    )
    net.double()(torch.randn(2, 30, 4).double())
    net.eval()
    x = torch.randn(3, 20, 4).double()
    expected, (h, clock) = net(x)
    outputs, hx = [], None
    for chunk in x.split([1, 3, 7, 1, 8], dim=1):
        output, hx = net(chunk, hx)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    torch.testing.assert_close(hx[0], h)
    assert torch.equal(hx[1], clock)
    # One begins anew, at a clock of its own.
    h, clock = net(x[:, :7])[1]
    h[:, 0], clock[:, 0] = 0, 0
    output, _ = net(x[:, 7:], (h, clock))
    torch.testing.assert_close(output[1:], expected[1:, 7:])
    alone, _ = net(x[:1, 7:])
    torch.testing.assert_close(output[:1], alone)


def test_dropout():
    """The candidates of a unit are dropped for a sequence as a whole, and the
    others scaled; in evaluation, none is."""
    net = ClockworkLiGRU(
        400, None, "relu", None, dropout=0.25, input_size=3, periods=[1]
    )
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0)
    nn.init.constant_(net.bias_l0[:400], 1)
    x = torch.zeros(2, 3, 3)
    # c = 1 and u = 1/2, from h = 0.
    output, _ = net(x)
    dropped = output[:, 0] == 0
    assert 0.15 < dropped.float().mean() < 0.35
    assert (dropped[0] != dropped[1]).any()
    for t, h in enumerate([1 / 2, 3 / 4, 7 / 8]):
        expected = torch.where(dropped, 0, h / 0.75)
        torch.testing.assert_close(output[:, t], expected)
    output, _ = net.eval()(x)
    assert (output[:, 0] == 0.5).all()


def test_in_a_crdnn():
    """Where SpeechBrain has its own, and in its Sequential."""
    x = torch.rand(2, 40, 20)
    net = CRDNN(input_shape=x.shape, rnn_class=ClockworkLiGRU, rnn_neurons=16)
    loss = net(x).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())
    net = Sequential(input_shape=x.shape)
    net.append(ClockworkLiGRU, hidden_size=6, periods=[1, 512])
    assert net(x).shape == (2, 40, 6)


def test_ensemble():
    """Copies have weights and statistics of their own."""

    def make():
        return ClockworkLiGRU(8, input_size=3, dropout=0.0)

    ensemble = Ensemble(make, num_copies=3, seed=5)
    x = torch.randn(4, 9, 3)
    output, _ = ensemble(x)
    for n in range(3):
        torch.manual_seed(5 + n)
        net = make()
        torch.testing.assert_close(output[n], net(x)[0])
        for name, tensor in ensemble.extract(n).named_buffers():
            torch.testing.assert_close(tensor, net.get_buffer(name))


def test_reset():
    """Own weights are orthogonal, candidates and gates together; those of the
    input as of torch.nn.Linear."""
    net = ClockworkLiGRU(60, input_size=400, periods=3)
    row = net.weight_hh_l0_g1
    assert row.shape == (40, 40)
    torch.testing.assert_close(row[:, :20].mT @ row[:, :20], torch.eye(20))
    assert net.weight_hh_l0_g0[:, 20:].abs().max() <= 60**-0.5
    assert 0.049 < net.weight_ih_l0.abs().max() <= 0.05
    nn.init.ones_(net.norm_l0[0].bias)
    net.reset_parameters(re_init=False)
    assert (net.norm_l0[0].bias == 0).all()
    assert (net.norm_l0[0].weight == 1).all()
    assert row.abs().max() <= 60**-0.5
    net = ClockworkLiGRU(3, input_size=2)
    assert (net.periods, net.group_sizes) == ((1,), (3,))
    for size in (np.int64(16), torch.tensor(16)):
        net = ClockworkLiGRU(size, input_size=2)
        assert (net.periods, net.group_sizes) == ((1, 2), (12, 4))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"normalization": "batch"}, "normalization='batch': expected one of"),
        ({"nonlinearity": "sin"}, "nonlinearity='sin': expected one of"),
        ({"bias": "no"}, "bias="),
        ({"hidden_size": "9"}, "hidden_size='9': expected"),
        ({"periods": [2, 1]}, r"periods=\[2, 1\]: expected"),
        ({"group_sizes": [9, 1]}, r"group_sizes=\[9, 1\]: expected"),
        ({"input_size": None}, "expected exactly one of them"),
    ],
)
def test_bad_arguments(options, message):
    """One sentence, when the layer is made."""
    arguments = {"hidden_size": 9, "input_size": 3, **options}
    with pytest.raises(ValueError, match=message):
        ClockworkLiGRU(**arguments)


@pytest.mark.parametrize(
    "options", [{"periods": [1, 2]}, {"periods": [1], "normalization": None}]
)
def test_no_way_back(options):
    """Where SpeechBrain has no such layer."""
    net = ClockworkLiGRU(8, input_size=3, **options)
    with pytest.raises(ValueError, match="expected the single period 1 and"):
        net.to_speechbrain()


def test_other_state_dict():
    """That of a plain cell, or of other periods, is refused."""
    net = ClockworkLiGRU(8, input_size=3, periods=[1, 2])
    other = ClockworkLiGRU(8, input_size=3, periods=[1, 3])
    with pytest.raises(ValueError, match="periods"):
        net.load_state_dict(other.state_dict())
