"""Layers that SpeechBrain finds by their names."""

import pytest
import speechbrain.nnet.RNN as RNN
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.lobes.models import resepformer
from speechbrain.lobes.models.dual_path import SBRNNBlock
from torch import nn

from speechbrain_cwrnn import (
    ClockworkLiGRU,
    ClockworkRNN,
    register,
    swap_rnns,
    unregister,
)
from speechbrain_cwrnn.errors import InputError


@pytest.fixture(autouse=True)
def undo():
    """What is registered is so for one test."""
    yield
    unregister()


def test_undone():
    """Nothing is there before, and after."""
    before = set(vars(RNN))
    register()
    register(IntraRNN=ClockworkRNN)
    assert RNN.ClockworkLiGRU is ClockworkLiGRU
    assert RNN.IntraRNN is ClockworkRNN
    unregister()
    unregister()
    assert set(vars(RNN)) == before


def test_twice():
    """The second time changes nothing, or what a name stands for."""
    register()
    register()
    assert RNN.ClockworkRNN is ClockworkRNN
    register(ClockworkRNN=ClockworkLiGRU)
    assert RNN.ClockworkRNN is ClockworkLiGRU


@pytest.mark.parametrize("layer", ["ClockworkRNN", "ClockworkLiGRU"])
def test_blocks(layer):
    """Both of SpeechBrain's that look a name up."""
    register()
    x = torch.rand(2, 9, 5)
    options = {"bidirectional": True, "rnn_type": layer}
    assert SBRNNBlock(5, 8, 2, **options)(x).shape == (2, 9, 16)
    net = resepformer.SBRNNBlock(5, 8, 2, 7, **options)
    assert net(x).shape == (2, 9, 7)


DUAL_PATH = """
intra: !new:speechbrain.lobes.models.dual_path.SBRNNBlock
    num_layers: 1
    input_size: 8
    hidden_channels: 8{intra}
inter: !new:speechbrain.lobes.models.dual_path.SBRNNBlock
    num_layers: 1
    input_size: 8
    hidden_channels: 8{inter}
net: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
    in_channels: 6
    out_channels: 8
    num_layers: 2
    K: 4
    intra_model: !ref <intra>
    inter_model: !ref <inter>
"""


def run(net):
    """A dual path model trains all parameters of our layers, which are given
    back."""
    net(torch.rand(2, 6, 20)).square().sum().backward()
    layers = [m for m in net.modules() if isinstance(m, ClockworkRNN)]
    assert all(p.grad is not None for m in layers for p in m.parameters())
    return layers


def test_dual_path():
    """As in SpeechBrain's recipes, with two layers of their own."""
    registered = """
registered: !apply:speechbrain_cwrnn.register
    IntraRNN: !name:speechbrain_cwrnn.ClockworkRNN
        periods: [1, 2, 4]
    InterRNN: !name:speechbrain_cwrnn.ClockworkLiGRU
    """
    rest = DUAL_PATH.format(
        intra="\n    rnn_type: IntraRNN", inter="\n    rnn_type: InterRNN"
    )
    layers = run(load_hyperpyyaml(registered + rest)["net"])
    assert [type(m) for m in layers] == 2 * [ClockworkRNN, ClockworkLiGRU]
    assert layers[0].periods == (1, 2, 4)


def test_default_in_yaml():
    """With no arguments, before the blocks."""
    registered = "registered: !apply:speechbrain_cwrnn.register\n"
    rest = DUAL_PATH.format(intra="\n    rnn_type: ClockworkRNN", inter="")
    assert len(run(load_hyperpyyaml(registered + rest)["net"])) == 2


def test_swapped():
    """The same by swapping, before or after the model is made."""
    hparams = load_hyperpyyaml(DUAL_PATH.format(intra="", inter=""))
    swap_rnns(hparams["net"])
    assert len(run(hparams["net"])) == 4
    swapped = "swapped: !apply:speechbrain_cwrnn.swap_rnns [!ref <intra>]\nnet:"
    yaml = DUAL_PATH.format(intra="", inter="").replace("net:", swapped)
    assert len(run(load_hyperpyyaml(yaml)["net"])) == 2


@pytest.mark.parametrize(
    "layers, message",
    [
        ({"LSTM": ClockworkRNN}, "LSTM=.*: expected a name that .* not have"),
        ({"Mine": nn.LSTM}, "Mine=.*: expected ClockworkRNN or"),
    ],
)
def test_bad_input(layers, message):
    """Nothing is registered, of others neither."""
    before = dict(vars(RNN))
    with pytest.raises(InputError, match=message):
        register(Good=ClockworkRNN, **layers)
    assert dict(vars(RNN)) == before
