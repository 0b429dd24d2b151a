"""Weights of another network, loaded as far as they fit."""

import logging
from functools import partial

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from speechbrain_cwrnn import ClockworkRNN, swap_rnns, transfer_rest
from speechbrain_cwrnn.errors import InputError

CRDNN = """
model: !new:speechbrain.lobes.models.CRDNN.CRDNN
    input_shape: [null, null, 8]
    cnn_blocks: 1
    cnn_channels: [2]
    rnn_class: !name:{rnn_class}
    rnn_layers: 2
    rnn_neurons: 12
    dnn_blocks: 1
    dnn_neurons: 5
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <model>
    paths:
        model: {path}
"""
HOOK = """
    custom_hooks:
        model: !name:speechbrain_cwrnn.transfer_rest
"""
SWAP = """
swapped: !apply:speechbrain_cwrnn.swap_rnns [!ref <model>]
"""
OURS = "speechbrain_cwrnn.ClockworkRNN"
LSTM = "speechbrain.nnet.RNN.LSTM"


@pytest.fixture
def lstm(tmp_path):
    """A CRDNN of an LSTM; its file of weights."""
    path = tmp_path / "lstm.ckpt"
    model = load_hyperpyyaml(CRDNN.format(rnn_class=LSTM, path=path))["model"]
    torch.save(model.state_dict(), path)
    return model, path


@pytest.mark.parametrize("yaml", [CRDNN, CRDNN + SWAP])
def test_an_lstms(lstm, yaml, caplog):
    """An error by SpeechBrain's Pretrainer and Checkpointer; where it is meant,
    the rest is loaded, and one table says what is not."""
    expected, path = lstm
    rnn_class = LSTM if "swap" in yaml else OURS
    yaml = yaml.format(rnn_class=rnn_class, path=path)
    hparams = load_hyperpyyaml(yaml)
    hparams["pretrainer"].collect_files()
    with pytest.raises(InputError, match="does not fit the ClockworkRNN .*RNN"):
        hparams["pretrainer"].load_collected()
    checkpointer = Checkpointer(path.parent / "save", {"model": expected})
    checkpointer.save_checkpoint()
    checkpointer.recoverables["model"] = hparams["model"]
    with pytest.raises(InputError, match="does not fit the ClockworkRNN .*RNN"):
        checkpointer.recover_if_possible()

    hparams = load_hyperpyyaml(yaml.replace("    paths:", f"{HOOK}    paths:"))
    model = hparams["model"]
    (layer,) = (m for m in model.modules() if isinstance(m, ClockworkRNN))
    before = {n: t.clone() for n, t in layer.state_dict().items()}
    hparams["pretrainer"].collect_files()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        hparams["pretrainer"].load_collected()
    (message,) = caplog.messages
    table = [row.split()[1] for row in message.splitlines()[3:]]
    own, theirs = model.state_dict(), expected.state_dict()
    left = [
        name for name in {**own, **theirs} if (name in own) != (name in theirs)
    ]
    assert table == [name for name in left if "_extra_state" not in name]
    for name, tensor in own.items():
        if name not in left:
            assert torch.equal(tensor, theirs[name]), name
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_all_fits(tmp_path, caplog):
    """Nothing is said then."""
    make = partial(ClockworkRNN, 6, input_size=3, periods=[1, 2])
    net, other = nn.Sequential(make()), nn.Sequential(make())
    torch.save(net.state_dict(), tmp_path / "net.ckpt")
    transfer_rest(other, tmp_path / "net.ckpt")
    assert torch.equal(other[0].weight_ih_l0, net[0].weight_ih_l0)
    assert not caplog.messages


def test_layers_as_a_whole(tmp_path, caplog):
    """That of a plain RNN has some names and shapes in common with ours."""
    other = nn.Sequential(nn.RNN(3, 6), nn.Linear(6, 2))
    net = nn.Sequential(ClockworkRNN(6, input_size=3), nn.Linear(6, 2))
    before = net[0].weight_ih_l0.clone()
    assert other[0].weight_ih_l0.shape == before.shape
    torch.save(other.state_dict(), tmp_path / "net.ckpt")
    transfer_rest(net, tmp_path / "net.ckpt")
    assert torch.equal(net[0].weight_ih_l0, before)
    assert torch.equal(net[1].weight, other[1].weight)
    assert "| 0.weight_ih_l0" in caplog.text
    assert "1.weight" not in caplog.text and "_extra_state" not in caplog.text


def test_other_periods(tmp_path):
    """They are no part that is left out, but an error; nothing is loaded."""

    def make(*periods):
        layer = ClockworkRNN(6, input_size=3, periods=periods)
        return nn.Sequential(nn.Linear(3, 3), layer)

    net = make(1, 2)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    torch.save(make(1, 3).state_dict(), tmp_path / "net.ckpt")
    with pytest.raises(InputError, match=r"periods \[1, 3\].*: .* \[1, 2\]"):
        transfer_rest(net, tmp_path / "net.ckpt")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("has_rnn", [True, False])
def test_back_to_an_lstm(tmp_path, caplog, has_rnn):
    """A layer of ours is what is left, with all that is its own."""
    ours = {"rnn": ClockworkRNN(6, input_size=3), "out": nn.Linear(6, 2)}
    torch.save(nn.ModuleDict(ours).state_dict(), tmp_path / "net.ckpt")
    net = nn.ModuleDict({"out": nn.Linear(6, 2)})
    if has_rnn:
        net["rnn"] = nn.LSTM(3, 6)
    transfer_rest(net, tmp_path / "net.ckpt")
    assert torch.equal(net["out"].weight, ours["out"].weight)
    assert "| rnn.weight_hh_l0_g5" in caplog.text
    assert "_extra_state" not in caplog.text


def test_of_version_0_1(tmp_path):
    """It does not say its periods, which is said."""
    net, other = (ClockworkRNN(6, input_size=3, periods=2) for _ in range(2))
    weights = other.state_dict()
    del weights["_extra_state"]
    torch.save(weights, tmp_path / "net.ckpt")
    with pytest.warns(UserWarning, match="does not say its periods"):
        transfer_rest(net, tmp_path / "net.ckpt")
    assert torch.equal(net.weight_ih_l0, other.weight_ih_l0)


@pytest.mark.parametrize("content", ["text", "list", "none"])
def test_no_weights(tmp_path, content):
    """A file of something else, or none."""
    path = tmp_path / "net.ckpt"
    if content == "text":
        path.write_text("hello")
    elif content == "list":
        torch.save([1, 2], path)
    with pytest.raises(InputError, match="net.ckpt: expected a file of weigh"):
        transfer_rest(nn.Linear(2, 2), path)


@pytest.mark.parametrize(
    "other, net",
    [
        (nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))),
        (nn.RNN(3, 6), ClockworkRNN(6, input_size=3)),
    ],
)
def test_nothing_fits(other, net, tmp_path):
    """A file of something else, or of a part of a layer."""
    torch.save(other.state_dict(), tmp_path / "net.ckpt")
    message = f"net.ckpt: expected weights of the {type(net).__name__}, and"
    with pytest.raises(InputError, match=message):
        transfer_rest(net, tmp_path / "net.ckpt")


def test_swapped_is_saved(tmp_path):
    """What was swapped and saved is loaded where the same is swapped."""
    make = partial(nn.LSTM, 3, 6)
    model, again = nn.Sequential(make()), nn.Sequential(make())
    swap_rnns(model)
    swap_rnns(again)
    again.load_state_dict(model.state_dict())
    x = torch.randn(4, 2, 3)
    assert torch.equal(again(x)[0], model(x)[0])
