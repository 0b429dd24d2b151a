"""The layers in SpeechBrain's transducer searches, against the whole prefix run
through the prediction network for each token."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.decoders.transducer import (
    TransducerBeamSearcher,
    TransducerGreedySearcherStreamingContext,
)
from speechbrain.nnet.embedding import Embedding
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.transducer.transducer_joint import Transducer_joint

# With the blank, as many as the beam is wide: so each hypothesis is extended by
# it too, without which SpeechBrain's search may not end.
TOKENS = 4


def make_searcher(layer, beam_size, dec=None):
    """A search with an untrained transducer, of which dec may be replaced."""
    torch.manual_seed(0)
    net = load_hyperpyyaml(f"""
    dec: !new:speechbrain_cwrnn.transducer.{layer}
        input_shape: [null, null, {TOKENS - 1}]
        hidden_size: 8
        num_layers: 2
        periods: [1, 2, 3]
    """)["dec"].eval()
    with torch.no_grad():
        for parameter in net.parameters():
            # So that what came before is told apart.
            parameter *= 2
    emb = Embedding(TOKENS, 3, consider_as_one_hot=True, blank_id=0)
    output = Linear(TOKENS, input_size=8)
    with torch.no_grad():
        output.w.weight *= 5
    return net, TransducerBeamSearcher(
        decode_network_lst=[emb, dec or net],
        tjoint=Transducer_joint(joint="sum", nonlinearity=torch.nn.Tanh),
        classifier_network=[output],
        blank_id=0,
        beam_size=beam_size,
        nbest=3,
        state_beam=20.0,
        expand_beam=20.0,
    )


def greedy(searcher, encoded):
    """The tokens of one utterance [T, H], each from the whole prefix."""
    emb, dec = searcher.decode_network_lst
    (output,) = searcher.classifier_network
    tokens = []
    for frame in encoded:
        # As many as SpeechBrain allows.
        for _ in range(6):
            prefix = torch.tensor([[0, *tokens]], dtype=torch.int32)
            h, _ = dec(emb(prefix))
            token = output(torch.tanh(frame + h[0, -1])).argmax().item()
            if token == 0:
                break
            tokens.append(token)
    return tokens


@pytest.mark.parametrize("layer", ["RNN", "LiGRU"])
@torch.no_grad()
def test_greedy(layer):
    """Utterances that advance each at its own pace; and chunk by chunk."""
    _, searcher = make_searcher(layer, beam_size=1)
    encoded = 2 * torch.randn(5, 12, 8)
    expected = [greedy(searcher, utterance) for utterance in encoded]
    assert len({len(tokens) for tokens in expected}) > 2
    assert searcher(encoded)[0] == expected
    context = TransducerGreedySearcherStreamingContext()
    chunks = [
        searcher.transducer_greedy_decode_streaming(chunk, context)
        for chunk in encoded.split(5, dim=1)
    ]
    assert [sum(parts, []) for parts in zip(*chunks)] == expected


@pytest.mark.parametrize("layer", ["RNN", "LiGRU"])
@torch.no_grad()
def test_beam(layer):
    """The same hypotheses, with the same scores, as with a state that is all
    that came before."""
    net, searcher = make_searcher(layer, beam_size=TOKENS)

    class GRU(torch.nn.Module):
        """Runs the net over the whole history."""

        def forward(self, x, history=None):
            if history is not None:
                x = torch.cat([history, x], dim=1)
            return net(x)[0][:, -1:], x

    _, whole = make_searcher(layer, TOKENS, dec=GRU())
    encoded = 2 * torch.randn(3, 6, 8)
    best, _, hypotheses, scores = searcher(encoded)
    _, _, expected, expected_scores = whole(encoded)
    assert hypotheses == expected
    torch.testing.assert_close(scores, expected_scores)
    assert best == [h[0] for h in hypotheses] and any(best)
    assert max(len(h) for h in best) > 3


@pytest.mark.parametrize("layer", ["RNN", "LiGRU"])
def test_state_dict(layer):
    """It is that of the layer itself."""
    net, _ = make_searcher(layer, beam_size=1)
    (base,) = type(net).__bases__
    other = base(8, [None, None, 3], num_layers=2, periods=[1, 2, 3])
    other.load_state_dict(net.state_dict())
