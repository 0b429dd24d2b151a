"""Chunks give what the whole utterance gives: features, networks, decoding."""

import copy
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.decoders import ctc_greedy_decode
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.containers import Sequential
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.normalization import BatchNorm1d
from speechbrain.nnet.RNN import GRU, LSTM
from speechbrain.processing.features import InputNormalization

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.phonemes import PhonemeTokenizer
from speechbrain_cwrnn.streaming import (
    CTCGreedyContext,
    StreamableFbank,
    StreamingClockworkEncoder,
    StreamingFeatures,
    TextContext,
    ctc_greedy_decode_streaming,
    decode_streaming,
)

CRDNN_OPTIONS = {
    **{"cnn_blocks": 0, "rnn_layers": 2, "rnn_neurons": 12},
    **{"rnn_bidirectional": False, "dnn_blocks": 1, "dnn_neurons": 7},
}


class TestFeatures:
    """Those of chunks of sound."""

    @pytest.fixture
    def signal(self):
        """Two signals, with digital silence in them."""
        signal = torch.randn(2, 9137)
        signal[:, 3000:6000] = 0
        return signal

    @pytest.mark.parametrize(
        "sizes",
        [
            [9137],
            [360, *[160] * 54, 137],
            [636] * 14 + [233],
            [520, 1, 1615, 3000, 1, 4000],
        ],
        ids=["whole", "hops", "StreamingASR", "any"],
    )
    @pytest.mark.parametrize(
        "options",
        [{}, {"n_fft": 512}, {"win_length": 20, "hop_length": 5}],
        ids=str,
    )
    def test_chunks(self, signal, sizes, options):
        """All frames are there, none is there twice, and each is that of the
        whole, once zeros follow."""
        normalize = InputNormalization()
        compute_features = StreamableFbank(n_mels=8, **options)
        # What has been seen in training.
        normalize(3 * compute_features(signal) + 1)
        features = StreamingFeatures(compute_features, normalize).eval()
        whole = normalize(compute_features(signal))
        assert sum(sizes) == signal.shape[1]
        context, zeros = features.make_streaming_context(), torch.zeros(2, 400)
        count = features.get_recommended_final_chunk_count(400)
        chunks = [*signal.split(sizes, dim=1), *[zeros] * count]
        parts = [features(chunk, context) for chunk in chunks]
        assert all(part.shape[1] for part in parts)
        streamed = torch.cat(parts, dim=1)
        assert streamed.shape[1] >= whole.shape[1]
        torch.testing.assert_close(
            streamed[:, : whole.shape[1]], whole, rtol=1e-5, atol=1e-4
        )
        # What is kept does not grow.
        assert context.samples.shape[1] < 1600

    def test_fewest_zeros(self):
        """One sample fewer leaves a frame of the signal out."""
        features = StreamingFeatures(StreamableFbank())
        for zeros, frames in ((359, 6), (360, 7)):
            context = features.make_streaming_context()
            signal = torch.ones(1, 960 + zeros)
            assert features(signal, context).shape[1] == frames
        for size, count in ((360, 1), (359, 2), (120, 3)):
            assert features.get_recommended_final_chunk_count(size) == count

    @pytest.mark.parametrize(
        "hop_length, sizes, missing",
        [
            (10, [360], None),
            (10, [350], 10),
            (10, [318, 318], None),
            (10, [320, 160, 160], 40),
            (20, [520, 320, 320], None),
            (20, [320, 320, 320], 200),
        ],
    )
    def test_shortest_rest(self, hop_length, sizes, missing):
        """A sample has a frame, if a chunk before has completed two; or else it
        is refused, and nothing is lost."""
        features = StreamingFeatures(StreamableFbank(hop_length=hop_length))
        context = features.make_streaming_context()
        signal = torch.randn(1, sum(sizes) + 200)
        *chunks, end = signal.split([*sizes, 200], dim=1)
        parts = [features(chunk, context) for chunk in chunks]
        if missing is None:
            parts.append(features(end[:, :1], context))
            assert parts[-1].shape[1] == 1
        else:
            message = f"chunk of 1 samples: expected {missing} at least"
            with pytest.raises(InputError, match=message):
                features(end[:, :1], context)
            parts.append(features(end, context))
        streamed = torch.cat(parts, dim=1)
        whole = features.compute_features(signal)[:, : streamed.shape[1]]
        torch.testing.assert_close(streamed, whole, rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda: StreamingFeatures(Fbank()), "=Fbank: expected .*single"),
            (lambda: StreamingFeatures(StreamableFbank(deltas=True)), "single"),
            (
                lambda: StreamingFeatures(StreamableFbank(context=True)),
                "compute_features=StreamableFbank: expected .* single frames",
            ),
            (
                lambda: StreamingFeatures(
                    StreamableFbank(), InputNormalization(norm_type="sentence")
                ),
                "norm_type='sentence': expected 'global'",
            ),
        ],
    )
    def test_of_an_utterance(self, make, message):
        """Features that can only be had of a whole one are refused."""
        with pytest.raises(InputError, match=message):
            make()

    @pytest.mark.parametrize(
        "chunk, message",
        [
            (torch.zeros(2, 0), "chunk of 0 samples: expected 80 at least"),
            (torch.zeros(2, 79), "chunk of 79 samples: expected 80 at least"),
            (torch.zeros(3, 640), "chunk of 3 signals: expected 2, as before"),
            (torch.zeros(640), r"chunk, of shape \(640,\): expected a tensor"),
            ([0.0], "chunk, of type list: expected a tensor"),
        ],
    )
    def test_bad_chunk(self, signal, chunk, message):
        """It is refused, and the next one goes on as if it had not been."""
        features = StreamingFeatures(StreamableFbank())
        whole = features(signal, features.make_streaming_context())
        context = features.make_streaming_context()
        # One frame, of which the next one lacks 80 samples.
        parts = [features(signal[:, :280], context)]
        with pytest.raises(InputError, match=message):
            features(chunk, context)
        parts.append(features(signal[:, 280:], context))
        torch.testing.assert_close(torch.cat(parts, 1), whole)


def make_encoder(rnn_class, kind=StreamingClockworkEncoder):
    """A CRDNN of some layer, without dropout."""
    net = kind(input_shape=[None, None, 5])
    net.append(CRDNN, rnn_class=rnn_class, layer_name="crdnn", **CRDNN_OPTIONS)
    net.append(Linear, n_neurons=3, layer_name="output")
    return net.eval()


class Function(torch.nn.Module):
    """A function as a layer."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


class Stateless(torch.nn.Module):
    """A layer that takes hx, and returns none."""

    def forward(self, x, hx=None):
        """The input."""
        return x


def make_unfinished_encoder():
    """One in training, with statistics, and a layer that stays as it is."""
    torch.manual_seed(0)
    net = StreamingClockworkEncoder(input_shape=[None, None, 5])
    net.append(BatchNorm1d(input_size=5))
    net.append(torch.nn.Dropout(0.5).eval())
    net.append(ClockworkRNN, hidden_size=5)
    return net


def assert_same(net, peer):
    """An encoder has the layers, weights, statistics and modes of another."""
    assert repr(net) == repr(peer)
    state, expected = net.state_dict(), peer.state_dict()
    torch.testing.assert_close(state, expected, rtol=0, atol=0)
    modes = [[m.training for m in x.modules()] for x in (net, peer)]
    assert modes[0] == modes[1] and {*modes[0]} == {True, False}
    context = net.make_streaming_context()
    assert context == peer.make_streaming_context()


class TestEncoder:
    """A Sequential whose layers go on."""

    @pytest.mark.parametrize(
        "rnn_class", [ClockworkRNN, ClockworkLiGRU, LSTM, GRU]
    )
    @pytest.mark.parametrize("sizes", [[1] * 40, [4] * 10, [3, 17, 1, 19]])
    def test_chunks(self, rnn_class, sizes):
        """They give what the whole gives, in a CRDNN too."""
        net, x = make_encoder(rnn_class), torch.randn(2, 40, 5)
        context = net.make_streaming_context()
        chunks = x.split(sizes, dim=1)
        parts = [net.forward_streaming(chunk, context) for chunk in chunks]
        assert [part.shape[1] for part in parts] == sizes
        torch.testing.assert_close(torch.cat(parts, 1), net(x))

    def test_state_dict(self):
        """It is that of SpeechBrain's Sequential, and so is the output."""
        net = make_encoder(ClockworkRNN)
        peer = make_encoder(ClockworkRNN, Sequential)
        peer.load_state_dict(net.state_dict())
        x = torch.randn(2, 9, 5)
        assert torch.equal(net(x), peer(x))

    def test_documented(self):
        """What docs/swap.md shows is made, and runs."""
        text = (Path(__file__).parent.parent / "docs" / "swap.md").read_text()
        text = text.partition("\n## Streaming\n")[2].partition("\n## ")[0]
        (yaml,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        (python,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        enc = load_hyperpyyaml(yaml)["enc"]
        names = {"enc": enc, "features": torch.randn(2, 10, 40)}
        exec(python, names)
        whole = enc(names["features"])
        torch.testing.assert_close(names["y"], whole[:, 8:])

    @pytest.mark.parametrize("name", ["crdnn", "crdnn.RNN", "output"])
    @pytest.mark.parametrize("rnn_class", [ClockworkRNN, LSTM])
    def test_compiled_layer(self, rnn_class, name):
        """It goes on as before, from a state from before, too."""
        net, x = make_encoder(rnn_class), torch.randn(2, 9, 5)
        whole, context = net(x), net.make_streaming_context()
        parts = [net.forward_streaming(x[:, :2], context)]
        parent, _, child = name.rpartition(".")
        layer = torch.compile(net.get_submodule(name), backend="eager")
        setattr(net.get_submodule(parent), child, layer)
        for chunk in x[:, 2:].split(3, dim=1):
            parts.append(net.forward_streaming(chunk, context))
        torch.testing.assert_close(torch.cat(parts, 1), whole)
        net.append(Linear, n_neurons=2)
        assert context.kind == net.make_streaming_context().kind

    @pytest.mark.parametrize("name", ["crdnn", "crdnn.RNN"])
    def test_wrapped_layer(self, name):
        """Where its state is out of sight, it is refused."""
        net, x = make_encoder(ClockworkRNN), torch.randn(2, 9, 5)
        context = net.make_streaming_context()
        whole = net.forward_streaming(x, context)
        before = copy.copy(context)
        parent, _, child = name.rpartition(".")
        layer = net.get_submodule(name)
        wrapper = torch.nn.DataParallel(layer)
        setattr(net.get_submodule(parent), child, wrapper)
        message = r"^recurrent layers \[\]: expected \['crdnn.RNN'\], as when"
        with pytest.raises(InputError, match=message):
            net.forward_streaming(x, context)
        with pytest.raises(InputError, match=message):
            net.step(x, {})
        assert context == before
        setattr(net.get_submodule(parent), child, layer)
        again = net.forward_streaming(x, net.make_streaming_context())
        assert torch.equal(again, whole)

    def test_layers_used_twice(self):
        """They run twice, and a recurrent one has a state in each place."""
        linear, relu = torch.nn.Linear(4, 4), torch.nn.LeakyReLU()
        rnn = LSTM(4, input_size=4)
        block = torch.nn.Sequential(linear, relu, linear, relu)
        net = StreamingClockworkEncoder(
            rnn, block, relu, rnn, block, input_shape=[None, None, 4]
        )
        assert list(net.recurrent_layers()) == ["0", "3"]
        x, context = torch.randn(2, 9, 4), net.make_streaming_context()
        parts = [net.forward_streaming(part, context) for part in x.split(2, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), net(x))

    def test_more_dimensions(self):
        """Of what each step has, as an input_shape of more than three."""
        net = StreamingClockworkEncoder(input_shape=[None, None, 4, 5])
        net.append(ClockworkRNN, hidden_size=8)
        x, context = torch.randn(2, 9, 4, 5), net.make_streaming_context()
        message = r"expected \[batch, time, 4, 5\], with at least one step"
        for bad in (x.flatten(2), x.mT, x[..., :4], x[:, :0]):
            with pytest.raises(InputError, match=message):
                net.forward_streaming(bad, context)
        parts = [net.forward_streaming(part, context) for part in x.split(2, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), net(x))

    def test_training_mode(self):
        """The trial leaves it, statistics and random numbers as they were."""
        frozen = torch.nn.Dropout(0.5).eval()
        norm = torch.nn.LayerNorm(5)
        before = torch.get_rng_state()
        net = StreamingClockworkEncoder(frozen, norm, input_shape=[1, 9, 5])
        assert torch.equal(torch.get_rng_state(), before)
        assert net.training and norm.training and not frozen.training

    def test_two_streams(self):
        """Utterances that come in by turns do not disturb each other."""
        net, x = make_encoder(ClockworkRNN), torch.randn(2, 8, 5)
        contexts = [net.make_streaming_context() for _ in x]
        parts = [
            net.forward_streaming(x[n : n + 1, t : t + 2], contexts[n])
            for t in range(0, 8, 2)
            for n in (0, 1)
        ]
        streamed = [torch.cat(parts[n::2], dim=1) for n in (0, 1)]
        torch.testing.assert_close(torch.cat(streamed), net(x))

    @pytest.mark.parametrize(
        "options",
        [
            {"rnn_class": ClockworkRNN, "rnn_bidirectional": True},
            {"rnn_class": LSTM, "rnn_bidirectional": True},
            {"rnn_class": LSTM, "time_pooling": True},
            {"cnn_blocks": 1, "cnn_channels": (2,)},
        ],
        ids=lambda options: list(options)[-1],
    )
    def test_layers_that_look_ahead(self, options):
        """They are refused by name; those before them are not."""
        net = StreamingClockworkEncoder(input_shape=[None, None, 5])
        net.append(Linear, n_neurons=5, layer_name="input")
        with pytest.raises(InputError, match="^layer crdnn: expected one that"):
            net.append(CRDNN, layer_name="crdnn", **CRDNN_OPTIONS | options)

    @pytest.mark.parametrize(
        "layer, options, message",
        [
            (LSTM, {"hidden_size": 3, "bidirectional": True}, "bidirectional="),
            (torch.nn.LSTM(5, 3), {}, r"takes \[batch, time, .*RuntimeError: "),
            (ClockworkRNN, {"hidden": 3}, "what makes one .*TypeError: .*'hid"),
            (Stateless(), {}, "expected a pair, the output and hx, from a"),
            (Function(torch.mean), {}, "bidirectional=False"),
            (Function(lambda x: x.mT), {}, "bidirectional=False"),
            (Function(lambda x: x[:, :-1]), {}, "bidirectional=False"),
            (Function(lambda x: [x]), {}, "bidirectional=False"),
            (Function(lambda x: x.cumprod(1)), {}, "bidirectional=False"),
            (Linear(3, input_size=4), {}, "RuntimeError: "),
        ],
    )
    def test_refused(self, layer, options, message):
        """It is by name, and leaves all as it was."""
        net, peer = (make_unfinished_encoder() for _ in range(2))
        with pytest.raises(InputError, match=f"^layer last: .*{message}"):
            net.append(layer, layer_name="last", **options)
        assert_same(net, peer)
        net.append(Linear, n_neurons=3, layer_name="last")
        x, context = torch.randn(2, 9, 5), net.eval().make_streaming_context()
        parts = [net.forward_streaming(part, context) for part in x.split(2, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), net(x))

    def test_interrupted(self):
        """An interrupt leaves all as it was, too, and is what it was."""

        def interrupt(x):
            raise KeyboardInterrupt

        net, peer = (make_unfinished_encoder() for _ in range(2))
        with pytest.raises(KeyboardInterrupt):
            net.append(Function(interrupt))
        assert_same(net, peer)

    def test_no_shape(self):
        """Without one, there is no trial."""
        with pytest.raises(InputError, match="input_shape=None: expected"):
            StreamingClockworkEncoder(Linear(3, input_size=4))

    @pytest.mark.parametrize(
        "x, message",
        [
            (torch.zeros(2, 0, 5), r"\(2, 0, 5\): .* with at least one step"),
            (torch.zeros(2, 4, 6), r"\(2, 4, 6\): expected \[batch, time, 5\]"),
            (torch.zeros(3, 4, 5), "x of 3 sequences: expected 2, as in the"),
        ],
        ids=["no frames", "features", "batch"],
    )
    def test_bad_chunk(self, x, message):
        """It is refused, and the next one goes on as if it had not been."""
        net, whole = make_encoder(LSTM), torch.randn(2, 8, 5)
        context = net.make_streaming_context()
        parts = [net.forward_streaming(whole[:, :3], context)]
        with pytest.raises(InputError, match=message):
            net.forward_streaming(x, context)
        parts.append(net.forward_streaming(whole[:, 3:], context))
        torch.testing.assert_close(torch.cat(parts, 1), net(whole))

    def test_context_of_another_model(self):
        """Such as one of other periods, whose states have the same shapes."""
        context = make_encoder(ClockworkRNN).make_streaming_context()
        net = StreamingClockworkEncoder(input_shape=[None, None, 5])
        net.append(
            CRDNN,
            rnn_class=partial(ClockworkRNN, periods=[1, 3]),
            layer_name="crdnn",
            **CRDNN_OPTIONS,
        )
        message = r"^context, of crdnn.RNN=.*periods=\(1, 2, .* expected .*\b3"
        before = copy.copy(context)
        with pytest.raises(InputError, match=message):
            net.forward_streaming(torch.zeros(1, 2, 5), context)
        assert context == before


@pytest.mark.parametrize("sizes", [[1] * 60, [4] * 15, [60]])
def test_greedy_decoding(sizes):
    """It gives SpeechBrain's of the whole, in chunks."""
    log_probs = torch.randn(3, 20, 4).repeat_interleave(3, dim=1)
    log_probs = log_probs.log_softmax(-1)
    context, decoded = CTCGreedyContext(), [[], [], []]
    for chunk in log_probs.split(sizes, dim=1):
        units = ctc_greedy_decode_streaming(chunk, context, blank_id=2)
        decoded = [a + b for a, b in zip(decoded, units)]
    whole = ctc_greedy_decode(log_probs, torch.ones(3), blank_id=2)
    assert decoded == whole
    assert min(map(len, decoded)) > 5


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_greedy_decoding_of_no_frames(empty):
    """An empty chunk changes nothing, wherever it comes."""
    chunks = [[1], [1, 2, 1], [1]]
    chunks.insert(empty, [])
    context, log_probs = CTCGreedyContext(), torch.eye(3)[None]
    decoded = [
        ctc_greedy_decode_streaming(log_probs[:, chunk], context, blank_id=0)
        for chunk in chunks
    ]
    assert decoded.pop(empty) == [[]]
    assert decoded == [[[1]], [[2, 1]], [[]]]


def test_text():
    """The pieces make up the text."""
    tokenizer, context = PhonemeTokenizer(39), TextContext()
    chunks = [[], [31, 30], [], [18], [2]]
    texts = [decode_streaming(tokenizer, ids, context) for ids in chunks]
    assert "".join(texts) == tokenizer.decode_ids(sum(chunks, []))
