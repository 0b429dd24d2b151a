"""What is exported to ONNX gives, in another runtime, what the layer gives."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.RNN import LSTM

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.streaming import StreamingClockworkEncoder

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from speechbrain_cwrnn.onnx import export_onnx, translations  # noqa: E402


def run(session, *tensors):
    """The outputs of an ONNX file as tensors."""
    names = [entry.name for entry in session.get_inputs()]
    values = [tensor.detach().numpy() for tensor in tensors]
    return [
        torch.from_numpy(value)
        for value in session.run(None, dict(zip(names, values)))
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network of both layers, and its file."""
    torch.manual_seed(0)
    net = StreamingClockworkEncoder(input_shape=[None, None, 3])
    options = {"periods": [1, 3, 4], "nonlinearity": "leaky_relu"}
    net.append(ClockworkRNN, 7, layer_name="plain", **options)
    net.append(Linear, n_neurons=4, layer_name="linear")
    options = {"periods": [2, 5], "nonlinearity": "tanh"}
    net.append(ClockworkLiGRU, 6, layer_name="gated", **options)
    with torch.no_grad():
        # Statistics other than at the start.
        net(3 * torch.randn(8, 30, 3) + 1)
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    export_onnx(net, path)
    return net.eval(), onnxruntime.InferenceSession(path)


class TestEncoder:
    """A streaming network, with its state in and out."""

    def test_names(self, exported):
        """They say what each input and output is, and which sizes are free."""
        _, session = exported
        inputs = {entry.name: entry.shape for entry in session.get_inputs()}
        assert inputs == {
            "x": ["batch", "time", 3],
            **{"plain.h": [1, "batch", 7], "plain.clock": [1, "batch", 1]},
            **{"gated.h": [1, "batch", 6], "gated.clock": [1, "batch", 1]},
        }
        outputs = [entry.name for entry in session.get_outputs()]
        assert outputs == ["output", *(f"next_{n}" for n in list(inputs)[1:])]

    @pytest.mark.parametrize("B", [1, 2, 5])
    @pytest.mark.parametrize("sizes", [[1] * 9, [4] * 6, [2, 31, 1, 7]])
    @torch.no_grad()
    def test_chunks(self, exported, B, sizes):
        """Each goes on where the last one stopped, from any clocks."""
        net, session = exported
        states = {
            "plain": (torch.randn(1, B, 7), torch.randint(12, (1, B, 1))),
            "gated": (torch.randn(1, B, 6), torch.randint(10, (1, B, 1))),
        }
        tensors = [tensor for hx in states.values() for tensor in hx]
        for x in torch.randn(B, sum(sizes), 3).split(sizes, dim=1):
            expected, states = net.step(x, states)
            output, *tensors = run(session, x, *tensors)
            torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
            for tensor, peer in zip(
                tensors, [tensor for hx in states.values() for tensor in hx]
            ):
                torch.testing.assert_close(tensor, peer, rtol=0, atol=1e-5)


@torch.no_grad()
def test_layer(tmp_path):
    """A layer by itself, of several, without a bias."""
    options = {"num_layers": 2, "bias": False, "periods": [1, 2]}
    net = ClockworkRNN(4, input_size=3, **options)
    path = tmp_path / "new" / "a.onnx"
    export_onnx(net, path)
    session, hx = onnxruntime.InferenceSession(path), None
    tensors = torch.zeros(2, 3, 4), torch.zeros(2, 3, 1, dtype=torch.long)
    for x in torch.randn(3, 9, 3).split(5, dim=1):
        expected, hx = net(x, hx)
        output, *tensors = run(session, x, *tensors)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(tuple(tensors), hx, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [ClockworkRNN, partial(ClockworkLiGRU, normalization=None)]
)
def test_lengths(kind, tmp_path):
    """A layer in both directions, with lengths, by PyTorch's own function."""
    net = kind(
        6,
        input_size=3,
        periods=[1, 2, 5],
        nonlinearity="relu",
        bidirectional=True,
    ).eval()
    x, lengths = torch.randn(3, 11, 3), torch.tensor([1.0, 0.5, 0.8])
    program = torch.onnx.export(
        net,
        (x, None, lengths),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: "batch", 1: "time"}, None, {0: "batch"}),
        custom_translation_table=translations(),
    )
    path = tmp_path / "net.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    for B, T in ((3, 11), (2, 4), (1, 26)):
        x, lengths = torch.randn(B, T, 3), torch.rand(B).clamp(min=0.1)
        output, (h, clock) = net(x, lengths=lengths)
        for actual, expected in zip(
            run(session, x, lengths), (output, h, clock)
        ):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_documented(tmp_path, monkeypatch):
    """What docs/swap.md shows runs."""
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "docs" / "swap.md").read_text()
    sections = dict(
        re.findall(r"\n## (\w+)\n(.*?)(?=\n## |$)", text, re.DOTALL)
    )
    (yaml,) = re.findall(r"```yaml\n(.*?)```", sections["Streaming"], re.DOTALL)
    (python,) = re.findall(
        r"```python\n(.*?)```", sections["Export"], re.DOTALL
    )
    enc = load_hyperpyyaml(yaml)["enc"]
    names = {"enc": enc, "features": torch.randn(2, 10, 40), "torch": torch}
    exec(python, names)
    assert names["names"] == ["x", "rnn.h", "rnn.clock"]
    expected = enc(names["features"])[:, 8:]
    actual = torch.from_numpy(names["y"])
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: torch.nn.GRU(3, 4), "^net of type GRU: expected a Clockwork"),
        (
            lambda: StreamingClockworkEncoder(
                input_shape=[1, 9, 3], rnn=LSTM(4, input_size=3)
            ),
            "^layer rnn: expected a ClockworkRNN",
        ),
        (lambda: ClockworkRNN(4, input_size=0), "with one input feature"),
        (None, "^path=.*: expected a file that can be written"),
    ],
)
def test_refused(make, message, tmp_path):
    """Other networks are, before anything is written."""
    net, path = ClockworkRNN(4, input_size=2), tmp_path
    if make is not None:
        net, path = make(), tmp_path / "net.onnx"
    with pytest.raises(InputError, match=message):
        export_onnx(net, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_must_be_imported(tmp_path):
    """The error names it, where a traced or exported file is loaded."""
    net, x = ClockworkRNN(4, input_size=3).eval(), torch.randn(2, 9, 3)
    traced = torch.jit.trace(net, x, check_trace=False)
    torch.jit.save(traced, tmp_path / "net.pt")
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    code = """
import torch
try:
    torch.jit.load("net.pt")
except RuntimeError as error:
    print(error)
torch.export.load("net.pt2")
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert loaded.returncode
    assert "Unknown builtin op: speechbrain_cwrnn::" in loaded.stdout
    assert "speechbrain_cwrnn" in loaded.stderr
