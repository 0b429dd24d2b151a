"""SpeechBrain's decoder with clockwork units, in SpeechBrain's searches."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_equal
from hyperpyyaml import load_hyperpyyaml
from speechbrain.decoders import (
    RNNLMScorer,
    S2SRNNBeamSearcher,
    S2SRNNGreedySearcher,
    ScorerBuilder,
)
from speechbrain.nnet import RNN
from speechbrain.nnet.linear import Linear

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN, reference
from speechbrain_cwrnn.decoder import AttentionalRNNDecoder, ClockworkCell
from speechbrain_cwrnn.errors import InputError

KINDS = ("clockwork", "clockwork_ligru")
BOS, EOS, VOCABULARY = 0, 1, 9


def make_decoder(
    rnn_type="clockwork", attn_type="content", num_layers=1, **options
):
    """A small one, in evaluation: its dropout would show. It is in float64,
    which SpeechBrain's location-aware attention does not run in."""
    if rnn_type in KINDS:
        options.setdefault("periods", [1, 2, 3])
    net = AttentionalRNNDecoder(
        rnn_type,
        attn_type,
        hidden_size=7,
        attn_dim=5,
        num_layers=num_layers,
        enc_dim=4,
        input_size=6,
        channels=2,
        kernel_size=3,
        dropout=0.5,
        **options,
    )
    # So that what is found depends on all that was fed.
    for parameter in net.parameters():
        parameter.data *= 2
    return net.to(get_dtype(attn_type)).eval()


def get_dtype(attn_type):
    """That of a decoder."""
    return torch.float32 if attn_type == "location" else torch.float64


def make_searcher(net, searcher=S2SRNNGreedySearcher, **options):
    """A search with the decoder, embedding and output layer at random."""
    torch.manual_seed(1)
    dtype = get_dtype(net.attn_type)
    embedding = torch.nn.Embedding(VOCABULARY, 6).to(dtype)
    linear = Linear(VOCABULARY, input_size=7).to(dtype)
    embedding.weight.data *= 3
    linear.w.weight.data *= 3
    linear.w.bias.data[EOS] -= 2
    return searcher(
        embedding=embedding,
        decoder=net,
        linear=linear,
        bos_index=BOS,
        eos_index=EOS,
        min_decode_ratio=0.0,
        max_decode_ratio=1.0,
        **options,
    )


def make_states(attn_type="content"):
    """States of the encoder and their lengths."""
    states = torch.randn(3, 9, 4, dtype=get_dtype(attn_type))
    return states, torch.tensor([1.0, 0.6, 0.8])


def force(searcher, hypothesis, states, wav_len):
    """Log-probabilities of what comes after each token of a hypothesis, from
    the whole of it at once."""
    tokens = torch.tensor([[BOS, *hypothesis]])
    output, _ = searcher.dec(searcher.emb(tokens), states, wav_len)
    return searcher.fc(output).log_softmax(-1)[0]


def run_reference(net, x):
    """The units over a whole sequence, by the equations as a loop."""
    for n in range(net.num_layers):
        layer = net.rnn.layer
        weight_ih, weight_hh, bias = layer._get_parameters(f"l{n}")
        arguments = (x, weight_ih, list(weight_hh), bias)
        if net.rnn_type == "clockwork":
            x, _ = reference.clockwork_rnn(*arguments, periods=layer.periods)
        else:
            norms = layer.get_submodule(f"norm_l{n}")
            x, _ = reference.clockwork_ligru(
                *arguments,
                periods=layer.periods,
                norms=[lambda z, f=f: f(z) for f in norms],
            )
    return x


@pytest.mark.parametrize("attn_type", ["content", "location", "keyvalue"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("rnn_type", KINDS)
def test_equations(rnn_type, num_layers, attn_type):
    """Where there is a single state to attend to, the context is known, and the
    decoder is the layer by its equations, and a linear one."""
    net = make_decoder(rnn_type, attn_type, num_layers)
    dtype = get_dtype(attn_type)
    states, x = (
        torch.randn(3, 1, 4, dtype=dtype),
        torch.randn(3, 8, 6).to(dtype),
    )
    output, attention = net(x, states, torch.ones(3))
    assert (attention == 1).all()
    net.attn.reset()
    context, _ = net.attn(states, torch.ones(3).long(), x.new_zeros(3, 7))
    context = context.unsqueeze(1).expand(-1, 8, -1)
    # None has been attended to before the first step.
    before = context * (torch.arange(8) > 0).unsqueeze(1)
    h = run_reference(net, torch.cat([x, before], dim=-1))
    expected = net.proj(torch.cat([context, h], dim=-1))
    rtol = 1e-11 if dtype == torch.float64 else 1e-5
    assert_equal({"output": output}, {"output": expected}, rtol)


@pytest.mark.parametrize("rnn_type", KINDS)
def test_gradients(rnn_type):
    """Those of input, states and all parameters, against differences."""
    net = make_decoder(rnn_type, num_layers=2)
    states, wav_len = make_states()
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    names, parameters = zip(*net.named_parameters())

    def run(x, states, *parameters):
        arguments = (x, states, wav_len)
        return torch.func.functional_call(
            net, dict(zip(names, parameters)), arguments
        )[0]

    inputs = [t.detach().requires_grad_() for t in (x, states, *parameters)]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    run(*inputs).sum().backward()
    assert all(t.grad is not None for t in inputs)


@pytest.mark.parametrize("rnn_type", KINDS)
def test_clocks_are_permuted(rnn_type):
    """Hypotheses of different lengths go on, each by its own clock, where a
    beam search moves them."""
    net = make_decoder(rnn_type, num_layers=2)
    searcher = make_searcher(net, S2SRNNBeamSearcher, beam_size=3)
    states = make_states()[0][:1]
    tokens, steps = torch.randint(2, VOCABULARY, (3, 7)), (2, 4, 3)
    tokens[:, 0] = BOS

    def step(tokens, memory):
        batch = states.expand(len(tokens), -1, -1)
        enc_lens = torch.full((len(tokens),), 9)
        log_probs, memory, _ = searcher.forward_step(
            tokens, memory, batch, enc_lens
        )
        return log_probs, memory

    alone = []
    for own, count in zip(tokens, steps):
        memory = searcher.reset_mem(1, states.device)
        for token in own[:count]:
            _, memory = step(token[None], memory)
        alone.append(memory)
    hs, c = zip(*alone)
    searcher.reset_mem(4, states.device)
    hs = tuple(torch.cat(parts, dim=1) for parts in zip(*hs))
    assert hs[1][1, :, 0].tolist() == list(steps)

    index = torch.tensor([2, 0, 0, 1])
    memory = searcher.permute_mem((hs, torch.cat(c)), index)
    for n in range(3):
        token = torch.stack([tokens[i, steps[i] + n] for i in index])
        log_probs, memory = step(token, memory)
    assert memory[0][1][1, :, 0].tolist() == [6, 5, 5, 7]
    for i, actual in zip(index, log_probs):
        fed = tokens[i, 1 : steps[i] + 3].tolist()
        expected = force(searcher, fed, states, torch.ones(1))
        assert (actual - expected[-1]).abs().max() < 1e-12


@pytest.mark.parametrize("rnn_type", KINDS)
def test_greedy(rnn_type):
    """A greedy search finds, step by step, what the whole makes likeliest; a
    beam search with a beam of one finds the same."""
    net = make_decoder(rnn_type, "location", num_layers=2)
    states, wav_len = make_states("location")
    searcher = make_searcher(net)
    found, *_ = searcher(states, wav_len)
    assert len({tuple(hypothesis) for hypothesis in found}) == 3
    for hypothesis, own, length in zip(found, states, wav_len):
        log_probs = force(searcher, hypothesis, own[None], length[None])
        best = log_probs.argmax(-1).tolist()
        # The end is not said where there was no time for it.
        assert best[: len(hypothesis)] == hypothesis
        assert len(hypothesis) == 9 or best[-1] == EOS
    beam = make_searcher(
        net, S2SRNNBeamSearcher, beam_size=1, using_eos_threshold=False
    )
    # It leaves out the last token of one that has not come to an end.
    assert beam(states, wav_len)[0] == [tokens[:8] for tokens in found]


@pytest.mark.parametrize("attn_type", ["content", "location"])
@pytest.mark.parametrize("rnn_type", KINDS)
def test_beam_search(rnn_type, attn_type):
    """All hypotheses have the scores that the whole of each has, with a
    language model of such a layer, too."""
    net = make_decoder(rnn_type, attn_type, num_layers=2)
    states, wav_len = make_states(attn_type)
    name = {"clockwork": "RNN", "clockwork_ligru": "LiGRU"}[rnn_type]
    model = load_hyperpyyaml(f"""
    model: !new:speechbrain.lobes.models.RNNLM.RNNLM
        output_neurons: {VOCABULARY}
        embedding_dim: 6
        rnn_class: !name:speechbrain_cwrnn.Clockwork{name}
            periods: [1, 2, 3]
        rnn_neurons: 7
        return_hidden: True
    """)["model"].to(states.dtype)
    # So that it has opinions.
    model.out.w.weight.data *= 5
    scorer = ScorerBuilder(
        full_scorers=[RNNLMScorer(model)], weights={"rnnlm": 0.7}
    )
    searcher = make_searcher(
        net,
        S2SRNNBeamSearcher,
        beam_size=4,
        scorer=scorer,
        using_eos_threshold=False,
        length_normalization=False,
        return_topk=True,
        topk=4,
    )
    found, lengths, scores, _ = searcher(states, wav_len)
    # SpeechBrain's model remembers that it was fed single tokens.
    model.reshape = False
    for b in range(3):
        own = states[b : b + 1], wav_len[b : b + 1]
        distinct = set()
        for hypothesis, length, score in zip(found[b], lengths[b], scores[b]):
            # One token more, mostly the end, belongs to it.
            count = int((length * found.shape[2]).round()) + 1
            tokens = hypothesis[:count].tolist()
            log_probs = force(searcher, tokens[:-1], *own)
            logits, _ = model(torch.tensor([[BOS, *tokens[:-1]]]))
            log_probs = log_probs + 0.7 * logits[0].log_softmax(-1)
            expected = log_probs[torch.arange(len(tokens)), tokens].sum()
            assert (score - expected).abs() < 1e-5
            distinct.add(tuple(tokens))
        assert len(distinct) == 4


def test_other_units_are_speechbrains():
    """SpeechBrain's own rnn_types are what they were, default included."""
    states, wav_len = make_states("location")
    x = torch.randn(3, 4, 6)
    for rnn_type in ("rnn", "gru", "LSTM"):
        torch.manual_seed(2)
        arguments = (rnn_type, "content", 7, 5, 2, 4, 6)
        net = AttentionalRNNDecoder(*arguments)
        torch.manual_seed(2)
        theirs = RNN.AttentionalRNNDecoder(*arguments)
        assert net.rnn_type == theirs.rnn_type
        assert torch.equal(
            net(x, states, wav_len)[0], theirs(x, states, wav_len)[0]
        )


def test_document():
    """What docs/swap.md writes into a recipe makes one, by its own keys."""
    document = (Path(__file__).parent.parent / "docs/swap.md").read_text()
    snippets = re.findall(r"```yaml\n(.*?)```", document, re.DOTALL)
    (snippet,) = [snippet for snippet in snippets if ".decoder." in snippet]
    keys = {"dnn_neurons": 4, "emb_size": 6, "dec_neurons": 7, "dropout": 0.1}
    yaml = "\n".join(f"{key}: {value}" for key, value in keys.items())
    net = load_hyperpyyaml(f"{yaml}\n{snippet}")["dec"]
    output, _ = net(torch.randn(3, 5, 6), *make_states("location"))
    assert output.shape == (3, 5, 7)


def test_options():
    """What is asked for reaches the units; from a YAML file."""
    net = load_hyperpyyaml("""
    decoder: !new:speechbrain_cwrnn.decoder.AttentionalRNNDecoder
        rnn_type: Clockwork_LiGRU
        attn_type: keyvalue
        hidden_size: 8
        attn_dim: 5
        num_layers: 2
        enc_dim: 4
        input_size: 6
        nonlinearity: relu
        normalization: null
        re_init: False
        bias: False
        dropout: 0.3
        periods: [1, 5]
        group_sizes: [5, 3]
    """)["decoder"]
    layer = net.rnn.layer
    assert net.rnn_type == "clockwork_ligru"
    assert isinstance(layer, ClockworkLiGRU)
    assert (layer.periods, layer.group_sizes) == ((1, 5), (5, 3))
    assert (layer.nonlinearity, layer.normalization) == ("relu", None)
    assert (layer.bias, layer.dropout, layer.num_layers) == (False, 0.3, 2)
    assert (layer.input_size, net.drop.p) == (11, 0.3)
    own = layer.weight_hh_l0_g1[:, :3]
    assert (own.T @ own - torch.eye(3)).abs().max() > 0.1
    net = AttentionalRNNDecoder(
        "clockwork", "content", 9, 5, 1, 4, 6, dropout=1
    )
    layer = net.rnn.layer
    assert not isinstance(layer, ClockworkLiGRU)
    assert (layer.nonlinearity, layer.dropout) == ("tanh", 0)
    assert layer.periods == ClockworkRNN(9, input_size=1).periods
    own = layer.weight_hh_l0_g0[:, :2]
    assert (own.T @ own - torch.eye(2)).abs().max() < 1e-6
    net = AttentionalRNNDecoder("clockwork_ligru", "content", 9, 5, 1, 4, 6)
    assert net.rnn.layer.group_sizes == (7, 2)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (
            {"rnn_type": "ligru"},
            r"rnn_type='ligru': expected one of \('clockwork', ",
        ),
        ({"rnn_type": None}, r"rnn_type=None: expected one of "),
        (
            {"rnn_type": "gru", "periods": [1, 2]},
            r"periods=\[1, 2\], group_sizes=None: expected none for "
            r"rnn_type='gru'",
        ),
        (
            {"rnn_type": "clockwork_ligru", "normalization": "batchnorm"},
            "normalization='batchnorm': expected 'layernorm' or None",
        ),
        (
            {"periods": [2, 1]},
            r"periods=\[2, 1\]: expected strictly increasing",
        ),
    ],
)
def test_bad_options(options, sentence):
    """Each is an error that says what is expected."""
    with pytest.raises(InputError, match=sentence):
        make_decoder(**options)


def test_cell_has_one_direction():
    """The steps to come cannot be read."""
    layer = ClockworkRNN(4, input_size=2, bidirectional=True)
    with pytest.raises(InputError, match="bidirectional=True: expected"):
        ClockworkCell(layer)


@pytest.mark.parametrize("rnn_type", KINDS)
def test_bfloat16(rnn_type):
    """As in training with `--precision bf16`, to the rounding of that."""
    net = make_decoder(rnn_type, "location", num_layers=2)
    states, wav_len = make_states("location")
    x = torch.randn(3, 6, 6)
    expected, _ = net(x, states, wav_len)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = net(x, states, wav_len)
    assert output.dtype == torch.bfloat16
    assert 0 < (output - expected).abs().max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("rnn_type", KINDS)
def test_learns_to_copy(rnn_type):
    """An encoder and a decoder learn to repeat up to eight symbols, and a
    greedy search finds most of those that were not trained on."""
    T, B, symbols = 8, 16, 10
    decoder = AttentionalRNNDecoder(
        rnn_type, "location", 48, 32, 1, 32, 16, channels=8, kernel_size=3
    )
    read, say = torch.nn.Embedding(symbols, 16), torch.nn.Embedding(symbols, 16)
    encoder = torch.nn.GRU(16, 16, batch_first=True, bidirectional=True)
    linear = Linear(symbols, input_size=48)
    searcher = S2SRNNGreedySearcher(
        embedding=say,
        decoder=decoder,
        linear=linear,
        bos_index=BOS,
        eos_index=EOS,
        min_decode_ratio=0.0,
        max_decode_ratio=1.2,
    )
    modules = torch.nn.ModuleList([read, encoder, searcher])
    optimizer = torch.optim.Adam(modules.parameters(), 5e-3)

    def draw(B):
        steps = torch.randint(3, T + 1, (B,))
        x = torch.randint(2, symbols, (B, T))
        return torch.where(torch.arange(T) < steps[:, None], x, EOS), steps

    for _ in range(200):
        x, steps = draw(B)
        states, _ = encoder(read(x))
        fed = F.pad(x, (1, 0), value=BOS)
        output, _ = decoder(say(fed), states, steps / T)
        inside = torch.arange(T + 1) <= steps[:, None]
        wanted = F.pad(x, (0, 1), value=EOS)[inside]
        loss = F.cross_entropy(linear(output)[inside], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    modules.eval()
    x, steps = draw(100)
    found, *_ = searcher(encoder(read(x))[0], steps / T)
    wrong = sum(y != own[:n].tolist() for y, own, n in zip(found, x, steps))
    assert wrong <= 10
