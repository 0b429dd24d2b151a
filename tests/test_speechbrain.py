"""The layer in the places where SpeechBrain has its own."""

import pytest
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.decoders.scorer import RNNLMScorer
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.lobes.models.RNNLM import RNNLM
from speechbrain.nnet.containers import LengthsCapableSequential, Sequential
from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN, Ensemble
from speechbrain_cwrnn.errors import InputError


def load(yaml):
    """The object that a YAML text calls `net`."""
    return load_hyperpyyaml(yaml)["net"]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("use_rnnp", [True, False])
def test_crdnn(bidirectional, use_rnnp):
    """`rnn_class: !name:` with and without arguments of its own."""
    net = load(f"""
    net: !new:speechbrain.lobes.models.CRDNN.CRDNN
        input_shape: [null, null, 20]
        cnn_blocks: 1
        cnn_channels: [4]
        rnn_class: !name:speechbrain_cwrnn.ClockworkRNN
            periods: [1, 3]
        rnn_layers: 2
        rnn_neurons: 10
        rnn_bidirectional: {bidirectional}
        dnn_blocks: 1
        dnn_neurons: 7
        use_rnnp: {use_rnnp}
    """)
    assert isinstance(net, CRDNN)
    output = net(torch.randn(2, 31, 20))
    assert output.shape[0] == 2 and output.shape[2] == 7
    output.sum().backward()
    layers = [m for m in net.modules() if isinstance(m, ClockworkRNN)]
    assert len(layers) == (2 if use_rnnp else 1)
    for layer in layers:
        assert layer.periods == (1, 3)
        assert layer.bidirectional == bidirectional
        assert all(p.grad is not None for p in layer.parameters())


def test_rnnlm():
    """A language model, fed one token at a time, with a beam search's moves
    of its state in between."""
    net = load("""
    net: !new:speechbrain.lobes.models.RNNLM.RNNLM
        output_neurons: 11
        embedding_dim: 6
        rnn_class: !name:speechbrain_cwrnn.ClockworkRNN
        rnn_layers: 2
        rnn_neurons: 12
        return_hidden: True
    """)
    assert isinstance(net, RNNLM)
    net.eval()
    tokens = torch.randint(11, (3, 7))
    expected, _ = net(tokens)
    scorer = RNNLMScorer(net)
    hidden, order = None, torch.arange(3)
    for t in range(7):
        output, hidden = net(tokens[order, t], hx=hidden)
        assert (output.squeeze(1) - expected[order, t]).abs().max() < 1e-5
        moved = torch.tensor([2, 0, 1])
        hidden = scorer.permute_mem(hidden, moved)
        order = order[moved]


def test_sequential():
    """Named layers with input_shape, by `!new:` and by `!name:`."""
    net = Sequential(input_shape=[None, None, 5])
    net.append(
        load("net: !name:speechbrain_cwrnn.ClockworkRNN {periods: [1, 2]}"),
        hidden_size=6,
        bidirectional=True,
        layer_name="rnn",
    )
    net.append(sb.nnet.linear.Linear, n_neurons=3, layer_name="linear")
    assert net(torch.randn(2, 9, 5)).shape == (2, 9, 3)
    net = load("""
    net: !new:speechbrain.nnet.containers.LengthsCapableSequential
        rnn: !new:speechbrain_cwrnn.ClockworkRNN
            input_shape: [null, null, 5]
            hidden_size: 6
            periods: 3
    """)
    assert isinstance(net, LengthsCapableSequential)
    output = net(torch.randn(2, 10, 5), lengths=torch.tensor([1.0, 0.5]))
    assert output[1, :5].all() and not output[1, 5:].any()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("layer", [ClockworkRNN, ClockworkLiGRU])
def test_jit(layer):
    """What SpeechBrain does for --jit ends in a sentence."""
    net = CRDNN(input_shape=[None, None, 20], rnn_class=layer, rnn_neurons=8)
    with pytest.raises(InputError, match=f"{layer.__name__}: .*--jit"):
        torch.jit.script(net)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("num_layers", [1, 2])
def test_step_by_step(num_layers):
    """As SpeechBrain tests its own layers, with an absolute difference."""
    inputs = torch.randn(4, 10, 7)
    net = ClockworkRNN(5, input_shape=inputs.shape, num_layers=num_layers)
    output, (hn, clock) = net(inputs)
    state, steps = None, []
    for t in range(inputs.shape[1]):
        step, state = net(inputs[:, t, :].unsqueeze(1), state)
        steps.append(step)
    assert (torch.cat(steps, dim=1) - output).abs().max() < 1e-6
    assert (state[0] - hn).abs().max() < 1e-6
    assert torch.equal(state[1], clock)
    traced = torch.jit.trace(net, inputs)
    assert (traced(inputs)[0] - output).abs().max() < 1e-6


@pytest.mark.parametrize("kind", [ClockworkRNN, ClockworkLiGRU])
def test_checkpoint(tmp_path, kind):
    """Saved and recovered by SpeechBrain, alone and in an ensemble; with the
    statistics that a normalisation has."""

    def make():
        layer = kind(6, input_size=2, bidirectional=True, periods=3)
        ensemble = Ensemble(lambda: kind(4, input_size=2, periods=2), 3)
        optimizer = torch.optim.SGD(ensemble.parameters(), 0.1, momentum=0.9)
        ensemble(torch.ones(1, 5, 2))[0].sum().backward()
        optimizer.step()
        recoverables = {
            "layer": layer,
            "ensemble": ensemble,
            "optimizer": optimizer,
        }
        return recoverables, Checkpointer(tmp_path, recoverables)

    saved, checkpointer = make()
    checkpointer.save_checkpoint()
    recovered, checkpointer = make()
    x = torch.randn(2, 9, 2)
    for name in ("layer", "ensemble"):
        saved[name].eval()
        recovered[name].eval()
        assert not torch.equal(saved[name](x)[0], recovered[name](x)[0])
    checkpointer.recover_if_possible()
    for name in ("layer", "ensemble"):
        assert torch.equal(saved[name](x)[0], recovered[name](x)[0])
    for p, q in zip(*(r["ensemble"].parameters() for r in (saved, recovered))):
        p_state, q_state = (
            saved["optimizer"].state[p],
            recovered["optimizer"].state[q],
        )
        assert torch.equal(
            p_state["momentum_buffer"], q_state["momentum_buffer"]
        )


@pytest.mark.parametrize("kind", [ClockworkRNN, ClockworkLiGRU])
def test_average_and_pretrainer(tmp_path, kind):
    """Checkpoints can be averaged; a pretrained layer of other periods is an
    error, though SpeechBrain does not ask for all keys."""
    # Periods that float32 does not have are those of the average, too.
    layer = kind(6, input_size=2, periods=[1, 2, 2**30 + 1])
    checkpointer = Checkpointer(tmp_path, {"layer": layer})
    for factor in (1, 3):
        checkpointer.save_checkpoint()
        with torch.no_grad():
            layer.weight_ih_l0 *= factor
    expected = layer.weight_ih_l0 * 2 / 3
    checkpointer.save_checkpoint()
    found = checkpointer.find_checkpoints()[:2]
    average = average_checkpoints(found, "layer")
    layer.load_state_dict(average)
    torch.testing.assert_close(layer.weight_ih_l0, expected)
    torch.save(average, tmp_path / "layer.ckpt")
    for periods in (layer.periods, [1, 2, 8]):
        other = kind(6, input_size=2, periods=periods)
        pretrainer = Pretrainer(collect_in=tmp_path, loadables={"layer": other})
        pretrainer.collect_files(default_source=str(tmp_path))
        if periods == [1, 2, 8]:
            with pytest.raises(ValueError, match=r"a state dict of .*1, 2, 10"):
                pretrainer.load_collected()
        else:
            pretrainer.load_collected()
            assert torch.equal(other.weight_ih_l0, layer.weight_ih_l0)


def test_encoder_needs_torch_alone():
    """The package imports without SpeechBrain, on a bare GPU machine, say."""
    import subprocess
    import sys

    code = """
import sys
sys.modules["speechbrain"] = sys.modules["torchaudio"] = None
import torch, speechbrain_cwrnn
net = speechbrain_cwrnn.ClockworkRNN(4, input_size=2)
print(net(torch.ones(1, 3, 2))[0].shape)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert run.stdout == "torch.Size([1, 3, 4])\n", run.stderr
