"""Layers of ours in the place of a model's RNNs."""

import copy
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.decoders.transducer import TransducerBeamSearcher
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.lobes.models.dual_path import DPTNetBlock, SBRNNBlock
from speechbrain.lobes.models.MetricGAN import EnhancementGenerator
from speechbrain.lobes.models.resepformer import (
    MemLSTM,
    ResourceEfficientSeparationPipeline,
    SegLSTM,
)
from speechbrain.lobes.models.Tacotron2 import Encoder
from speechbrain.nnet import RNN as sbrnn
from speechbrain.nnet.embedding import Embedding
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.transducer.transducer_joint import Transducer_joint
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from speechbrain_cwrnn import (
    ClockworkLiGRU,
    ClockworkRNN,
    swap_rnns,
    unregister,
)
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.swap import AsTorch

LAYERS = [ClockworkRNN, ClockworkLiGRU]
H = 6


class Holder(nn.Module):
    """What holds a layer."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, *args, **kwargs):
        """Whatever the layer does."""
        return self.rnn(*args, **kwargs)


def shapes(value):
    """Those of tensors in tuples, and what holds them."""
    if isinstance(value, torch.Tensor):
        return value.shape
    return type(value), [shapes(v) for v in value]


def ours(module):
    """The layers of this package in it."""
    return [m for m in module.modules() if isinstance(m, ClockworkRNN)]


@pytest.mark.parametrize("to", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_torch(kind, batch_first, bidirectional, to):
    """Called as before, it returns the same shapes, and what the layer does."""
    options = {"num_layers": 2, "bidirectional": bidirectional}
    model = Holder(kind(3, H, batch_first=batch_first, dropout=0.5, **options))
    model.double().eval()
    x = torch.randn(4, 5, 3).double()
    before, state = model(x)
    swap_rnns(model, to)
    (layer,) = ours(model)
    assert type(layer) is to and not layer.training and layer.dropout == 0.5
    output, hn = model(x)
    assert (output.shape, output.dtype) == (before.shape, before.dtype)
    assert shapes(hn) == shapes(state)
    if not batch_first:
        x, output = x.transpose(0, 1), output.transpose(0, 1)
    expected, (h, clock) = layer(x)
    assert torch.equal(output, expected)
    assert torch.equal(hn[0] if kind is nn.LSTM else hn, h)
    if kind is nn.LSTM:
        assert torch.equal(hn[1], clock.expand(-1, -1, H))


@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed(enforce_sorted):
    """Packed sequences come out packed, in the same order."""
    model = Holder(nn.LSTM(3, H, bidirectional=True)).double()
    swap_rnns(model)
    x, steps = torch.randn(4, 9, 3).double(), torch.tensor([4, 9, 1, 4])
    if enforce_sorted:
        steps = steps.sort(descending=True)[0]
    packed = pack_padded_sequence(x, steps, True, enforce_sorted)
    output, (h, clock) = model(packed)
    assert output.data.shape == (18, 2 * H)
    (layer,) = ours(model)
    expected, (h_expected, _) = layer(x, lengths=steps / 9)
    again = pack_padded_sequence(expected, steps, True, enforce_sorted)
    for actual, other in zip(output, again):
        assert actual is other is None or torch.equal(actual, other)
    assert torch.equal(h, h_expected)
    assert torch.equal(clock[:, :, 0], steps.expand(2, 4))
    # They go on, in the order of the batch.
    output, (_, clock) = model(packed, (h, clock))
    assert torch.equal(clock[0, :, 0], 2 * steps)


@pytest.mark.parametrize("to", LAYERS)
@pytest.mark.parametrize("kind", [sbrnn.RNN, sbrnn.GRU, sbrnn.LSTM])
def test_speechbrain(kind, to):
    """SpeechBrain's stay the objects that they were, and take what they took;
    step by step is the whole."""
    model = kind(H, input_size=3, num_layers=2).double()
    swap_rnns(model, partial(to, periods=[1, 2, 3]))
    assert type(model) is kind and type(ours(model)[0]) is to
    x = torch.randn(2, 8, 3).double()
    model(x)
    model.eval()
    expected, hn = model(x)
    hx, steps = None, []
    for t in range(8):
        output, hx = model(x[:, t : t + 1], hx)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, 1), expected)
    torch.testing.assert_close(hx, hn)
    output, _ = model(x, lengths=torch.tensor([0.5, 0.75]))
    torch.testing.assert_close(output[1], expected[1, :6])
    assert (output[0, 4:] == 0).all()


@pytest.mark.parametrize("to", LAYERS)
@pytest.mark.parametrize("kind", [sbrnn.LiGRU, sbrnn.SLiGRU])
def test_ligru(kind, to):
    """A layer of ours takes its place, for 4-d input too."""
    options = {"num_layers": 2, "bidirectional": True, "bias": False}
    model = nn.Sequential(kind(H, (2, 9, 3, 2), dropout=0.25, **options))
    x = torch.randn(2, 9, 3, 2)
    shape = model(x)[0].shape
    swap_rnns(model, to)
    assert type(model[0]) is to and model[0].dropout == 0.25
    assert model[0].num_layers == 2 and not model[0].bias
    assert model(x)[0].shape == shape


def blocks(H, sizes):
    """Whether a unit may hear another: in groups, the slower ones."""
    group = torch.repeat_interleave(
        torch.arange(len(sizes)), torch.tensor(sizes)
    )
    return group.unsqueeze(0) >= group.unsqueeze(1)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_takes_over_a_plain_rnn(bias, nonlinearity):
    """All of it with the single period 1; else the upper blocks."""
    options = {"bias": bias, "nonlinearity": nonlinearity}
    dense = nn.RNN(
        3, H, 2, batch_first=True, bidirectional=True, **options
    ).double()
    model = Holder(copy.deepcopy(dense))
    swap_rnns(model, partial(ClockworkRNN, periods=[1]))
    x = torch.randn(2, 9, 3).double()
    torch.testing.assert_close(model(x), dense(x))
    model = Holder(copy.deepcopy(dense))
    sizes = [3, 2, 1]
    swap_rnns(model, partial(ClockworkRNN, periods=3, group_sizes=sizes))
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            if name.startswith("weight_hh"):
                weight *= blocks(H, sizes)
    # All groups tick at the first step.
    x, h0 = x[:, :1], torch.randn(4, 2, H).double()
    (layer,) = ours(model)
    torch.testing.assert_close(layer(x, h0)[0], dense(x, h0)[0])


@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm"])
def test_takes_over_a_ligru(normalization):
    """All of it with the single period 1; else the upper blocks."""
    ligru = sbrnn.LiGRU(H, (2, 9, 3), "tanh", normalization, 2).double().eval()
    with torch.no_grad():
        for name, tensor in ligru.state_dict().items():
            if "norm" in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    model = nn.Sequential(copy.deepcopy(ligru))
    swap_rnns(model, partial(ClockworkLiGRU, periods=[1]))
    x = torch.randn(2, 9, 3).double()
    torch.testing.assert_close(model(x)[0], ligru(x)[0])
    if normalization == "layernorm":
        # It is over the units of a group, so groups are others.
        return
    model = nn.Sequential(copy.deepcopy(ligru))
    sizes = [3, 2, 1]
    swap_rnns(model, partial(ClockworkLiGRU, periods=3, group_sizes=sizes))
    with torch.no_grad():
        for layer in ligru.rnn:
            layer.u.weight *= blocks(H, sizes).repeat(2, 1)
    x, h0 = x[:, :1], torch.randn(2, 2, H).double()
    torch.testing.assert_close(model[0](x, h0)[0], ligru(x, h0)[0])


@pytest.mark.parametrize(
    "rnn, to",
    [
        (nn.RNN(3, H), ClockworkLiGRU),
        (nn.RNN(3, H), partial(ClockworkRNN, nonlinearity="relu")),
        (nn.LSTM(3, H), ClockworkRNN),
        (sbrnn.LiGRU(H, (1, 1, 3)), ClockworkRNN),
        (
            sbrnn.LiGRU(H, (1, 1, 3)),
            partial(ClockworkLiGRU, nonlinearity="tanh"),
        ),
    ],
)
def test_starts_anew(rnn, to):
    """Where what was trained is another network, all is random."""
    model = Holder(rnn)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.fill_(7)
    swap_rnns(model, to)
    assert all((p != 7).all() for p in model.parameters())


def test_all_else_stays():
    """Weights, modules, and a layer in two places, which is one still."""
    shared, again = nn.GRU(5, 5), nn.GRU(5, 5)
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(3, 5),
            "one": Holder(shared),
            "two": Holder(shared),
            "cell": nn.LSTMCell(5, 5),
        }
    )
    before = {n: p for n, p in model.named_parameters() if "rnn" not in n}
    report = swap_rnns(model)
    assert [swap.name for swap in report] == ["one.rnn"]
    by_its_other_name = swap_rnns(
        nn.ModuleDict({"one": Holder(again), "two": Holder(again)}),
        where="two.*",
    )
    assert [swap.name for swap in by_its_other_name] == ["one.rnn"]
    after = dict(model.named_parameters())
    assert before and all(after[name] is p for name, p in before.items())
    assert model["one"].rnn is model["two"].rnn
    assert isinstance(model["one"].rnn, AsTorch)


def test_where():
    """Names, maybe with a star."""

    def make():
        names = ["a.rnn", "b.rnn", "c"]
        layers = [Holder(nn.GRU(3, 3)), Holder(nn.LSTM(3, 3)), nn.RNN(3, 3)]
        return nn.ModuleDict(dict(zip("abc", layers))), names

    for where, meant in [
        (None, [0, 1, 2]),
        ("*", [0, 1, 2]),
        ("*.rnn", [0, 1]),
        (["a.*", "c"], [0, 2]),
    ]:
        model, names = make()
        report = swap_rnns(model, where=where)
        assert [swap.name for swap in report] == [names[i] for i in meant]
        kinds = (nn.GRU, nn.LSTM, nn.RNN)
        for i, rnn in enumerate((model["a"].rnn, model["b"].rnn, model["c"])):
            assert isinstance(rnn, AsTorch if i in meant else kinds[i])


def test_report(capsys):
    """What it counts, by hand, and the table that is printed."""
    model = nn.Sequential(
        nn.LSTM(3, 8, 2, bidirectional=True), sbrnn.LiGRU(8, (1, 1, 3))
    )
    with torch.no_grad():
        report = swap_rnns(model, partial(ClockworkRNN, periods=[1, 4]))
    lstm, ligru = report
    directions = [4 * 8 * (3 + 8), 4 * 8 * (16 + 8)]
    assert lstm.multiply_adds[0] == 2 * sum(directions)
    # Two biases for each of four gates.
    assert lstm.parameters[0] == 2 * (sum(directions) + 2 * 2 * 4 * 8)
    assert ligru.multiply_adds[0] == 2 * 8 * (3 + 8)
    assert ligru.parameters[0] == 2 * 8 * (3 + 8) + 2 * 2 * 8
    one = 4 * (3 + 8) + 4 * (3 + 4) / 4
    assert ligru.multiply_adds[1] == one
    assert lstm.multiply_adds[1] == 2 * (one + 4 * (16 + 8) + 4 * (16 + 4) / 4)
    assert ligru.parameters[1] == 4 * (3 + 8) + 4 * (3 + 4) + 8
    assert ligru.classes == ("LiGRU", "ClockworkRNN")
    table = capsys.readouterr().out
    assert table == f"{report}\n"
    last = table.splitlines()[-1].replace(" ", "")
    assert last == "|all|||2704->608|2416->385|"
    model = nn.Sequential(sbrnn.LiGRU(8, (1, 1, 3)))
    (gated,) = swap_rnns(model, partial(ClockworkLiGRU, periods=[1, 4]))
    assert gated.multiply_adds == (2 * 8 * (3 + 8), 2 * one)


def hooked(name):
    """A plain RNN that somebody looks at."""
    rnn = nn.RNN(2, 3)
    getattr(rnn, f"register_{name}_hook")(lambda *args: None)
    return rnn


class Custom(nn.LSTM):
    """A subclass, which may compute anything."""


@pytest.mark.parametrize(
    "make, options, message",
    [
        (lambda: "net", {}, "module of type str: expected a torch.nn.Module"),
        (lambda: nn.Linear(2, 3), {}, "type Linear: expected an RNN, .* there"),
        (lambda: nn.LSTMCell(2, 3), {}, "LSTMCell: .* is not swapped"),
        (lambda: nn.LSTM(2, 3), {}, "LSTM: expected a model that holds it"),
        (lambda: Custom(2, 3), {}, "rnn.b of type Custom: expected one of PyT"),
        (
            lambda: nn.LSTM(2, 4, proj_size=3),
            {},
            "rnn.b of type LSTM: expected none with projections .*leave it out",
        ),
        *(
            (
                partial(hooked, name),
                {},
                "rnn.b of type RNN: expected none with hooks, which would",
            )
            for name in (
                *("forward", "forward_pre"),
                *("full_backward", "full_backward_pre"),
            )
        ),
        (
            lambda: nn.utils.weight_norm(nn.RNN(2, 3), "weight_hh_l0"),
            {},
            "rnn.b of type RNN: expected none with hooks",
        ),
        (lambda: nn.GRU(2, 3), {"to": nn.GRU}, "to=<class .*: expected Clockw"),
        (lambda: nn.GRU(2, 3), {"to": "ClockworkRNN"}, "to='Clock.*: expected"),
        (
            lambda: nn.GRU(2, 3),
            {"to": partial(ClockworkRNN, 4)},
            "to=functools",
        ),
        (
            lambda: nn.GRU(2, 3),
            {"to": partial(ClockworkRNN, hidden_size=4)},
            "to: hidden_size=4: expected none, since",
        ),
        (
            lambda: nn.GRU(2, 3),
            {"to": partial(ClockworkRNN, periods=4)},
            "hidden_size=3: expected at least one unit",
        ),
        (
            lambda: nn.GRU(2, 3),
            {"where": "rnn"},
            "where='rnn': .* rnn.a, rnn.b",
        ),
        (lambda: nn.GRU(2, 3), {"where": [3]}, r"where=\[3\]: expected names"),
        (
            lambda: sbrnn.LiGRU(3, (1, 1, 2), nonlinearity="sin"),
            {"to": ClockworkLiGRU},
            "nonlinearity='sin': expected one of",
        ),
    ],
)
def test_bad_input(make, options, message, capsys):
    """One sentence, and the model is as it was."""
    model = make()
    if isinstance(model, nn.RNNBase) and "holds it" not in message:
        # The first one could be swapped.
        model = Holder(nn.ModuleDict({"a": nn.GRU(9, 9), "b": model}))
    elif isinstance(model, sbrnn.LiGRU):
        model = Holder(model)
    before = str(model)
    with pytest.raises(InputError, match=message):
        swap_rnns(model, **options)
    assert str(model) == before and not capsys.readouterr().out


@pytest.mark.parametrize(
    "hx, message",
    [
        (3 * (torch.zeros(1, 2, H),), "hx of type tuple: expected a tensor h"),
        (2 * (torch.zeros(1, 3, H),), r"hx: h of shape \(1, 3, 6\) .*: exp"),
        ((torch.zeros(1, 2, H), None), "hx of type tuple: expected a tensor h"),
    ],
)
def test_bad_state(hx, message):
    """What the layer says of it."""
    model = Holder(nn.LSTM(3, H))
    swap_rnns(model)
    with pytest.raises(InputError, match=message):
        model(torch.randn(4, 2, 3), hx)


@pytest.mark.filterwarnings("ignore:.*has no clock")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_single_sequence(kind, batch_first):
    """It has no dimension for the batch, as PyTorch allows; nor its state."""
    rnn = kind(3, H, 2, batch_first=batch_first)
    x = torch.randn(9, 3)
    model = Holder(rnn)
    swap_rnns(model)
    batch = 0 if batch_first else 1
    expected, hn = model(x.unsqueeze(batch))
    again, _ = model(x.unsqueeze(batch), hn)
    output, hn = model(input=x)
    assert shapes((output, hn)) == shapes(rnn(x))
    assert torch.equal(output, expected.squeeze(batch))
    assert torch.equal(model(x, hn)[0], again.squeeze(batch))


def test_twice():
    """Nothing is left to be swapped."""
    model = Holder(nn.GRU(2, 3))
    swap_rnns(model)
    with pytest.raises(InputError, match="there is none"):
        swap_rnns(model)


def test_state_without_a_clock():
    """A tensor is taken for the state at clock 0, not in silence."""
    model = Holder(nn.GRU(3, H, batch_first=True))
    swap_rnns(model, partial(ClockworkRNN, periods=[1, 2]))
    x = torch.randn(2, 3, 3)
    _, h = model(x)
    with pytest.warns(UserWarning, match="has no clock: taken to be 0"):
        output, _ = model(x, h)
    (layer,) = ours(model)
    assert torch.equal(output, layer(x, h)[0])
    assert not torch.equal(output, layer(x, layer(x)[1])[0])


@pytest.mark.parametrize("to", LAYERS)
class TestInSpeechBrain:
    """The places that have no hook."""

    @staticmethod
    def check(model, to, *inputs, count=1, where=None):
        """Swapped, it gives the same shapes, and trains every parameter."""
        shape = shapes(model(*inputs))
        report = swap_rnns(model, to, where)
        assert len(report) == len(ours(model)) == count
        output = model(*inputs)
        assert shapes(output) == shape
        output = output if isinstance(output, torch.Tensor) else output[0]
        output.square().sum().backward()
        for layer in ours(model):
            assert all(p.grad is not None for p in layer.parameters())

    def test_crdnn(self, to):
        """With its default."""
        model = CRDNN(input_shape=(2, 20, 8), rnn_neurons=16, rnn_layers=2)
        self.check(model, to, torch.rand(2, 20, 8))

    def test_metricgan(self, to):
        """The LSTM is made in code, and called with lengths."""
        lengths = torch.tensor([1.0, 0.5])
        self.check(EnhancementGenerator(), to, torch.rand(2, 9, 257), lengths)

    def test_tacotron(self, to):
        """Its encoder packs, and asks for flat parameters."""
        model = Encoder(2, 8, 5)
        steps = torch.tensor([9, 5])
        self.check(model, to, torch.rand(2, 8, 9), steps)
        assert model.infer(torch.rand(1, 8, 4), steps[1:] - 1).shape[1] == 4

    def test_dual_path(self, to):
        """PyTorch's own, time first; SpeechBrain's."""
        self.check(DPTNetBlock(8, 2), to, torch.rand(2, 9, 8))
        self.check(SBRNNBlock(8, 6, 2), to, torch.rand(2, 9, 8))

    @pytest.mark.parametrize(
        "mem_type, where, count", [("h", None, 3), ("hc", "mem_model*", 2)]
    )
    def test_skim(self, to, mem_type, where, count):
        """A clock is not what a network can learn from, as from c: so either c
        is not used, or the networks between the segments alone are swapped."""
        model = ResourceEfficientSeparationPipeline(
            8,
            6,
            8,
            segment_size=5,
            mem_type=mem_type,
            seg_model=SegLSTM(8, 6, bidirectional=True, norm_type="gln"),
            mem_model=MemLSTM(
                6, bidirectional=True, mem_type=mem_type, norm_type="gln"
            ),
        )
        self.check(model, to, torch.rand(2, 23, 8), count=count, where=where)

    def test_transducer(self, to):
        """The search finds the swapped layer, whose class is LSTM still; each
        token is what the whole prefix gives."""
        dec = sbrnn.LSTM(8, input_size=3)
        emb = Embedding(4, 3, consider_as_one_hot=True, blank_id=0)
        output = Linear(4, input_size=8)
        searcher = TransducerBeamSearcher(
            [emb, dec], Transducer_joint(joint="sum"), [output], 0, beam_size=1
        )
        model = nn.ModuleList([emb, dec, output])
        swap_rnns(model, partial(to, periods=[1, 2]))
        model.eval()
        with torch.no_grad():
            output.w.weight *= 9
            encoded = torch.randn(3, 9, 8)
            found = searcher(encoded)[0]
            for utterance, tokens in zip(encoded, found):
                prefix = torch.tensor([[0, *tokens]], dtype=torch.int32)
                states, _ = ours(model)[0](emb(prefix))
                n, expected = 0, []
                for frame in utterance:
                    for _ in range(6):
                        score = output(
                            nn.functional.leaky_relu(frame + states[0, n])
                        )
                        if score.argmax() == 0:
                            break
                        expected.append(score.argmax().item())
                        n = min(n + 1, len(tokens))
                assert tokens == expected and len(set(tokens)) > 1

    def test_yaml(self, to, capsys):
        """One line after the model, wherever else that is referred to."""
        hparams = load_hyperpyyaml(f"""
        rnn: !new:speechbrain.nnet.RNN.GRU
            input_shape: [null, null, 3]
            hidden_size: 8
        model: !new:torch.nn.ModuleList [[!ref <rnn>]]
        swapped: !apply:speechbrain_cwrnn.swap_rnns
            module: !ref <model>
            to: !name:speechbrain_cwrnn.{to.__name__}
                periods: [1, 2]
        modules:
            rnn: !ref <rnn>
        """)
        (layer,) = ours(hparams["modules"]["rnn"])
        assert type(layer) is to and layer.periods == (1, 2)
        assert "0.rnn" in capsys.readouterr().out


PREAMBLE = """
out_channels: 6
net: !new:speechbrain.nnet.RNN.LSTM {input_size: 3, hidden_size: 8}
model: !new:torch.nn.ModuleDict
    - encoder: !ref <net>
"""


def test_document():
    """What docs/swap.md says of swapping, and of what goes with it, runs."""
    text = (Path(__file__).parent.parent / "docs/swap.md").read_text()
    snippets = [
        (language, snippet)
        for language, snippet in re.findall(r"```(\w+)\n(.*?)```", text, re.S)
        if re.search("swap_rnns|register|transfer_rest", snippet)
    ]
    languages = [language for language, _ in snippets]
    assert languages == ["yaml", "python", "yaml", "yaml"]
    for language, snippet in snippets:
        if language == "python":
            model = Holder(nn.LSTM(3, 8))
            exec(snippet, {"model": model})
            assert ours(model)
        else:
            load_hyperpyyaml(PREAMBLE + snippet)
    unregister()
