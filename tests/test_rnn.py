"""The layer: its contract, its invariances, and the bugs of others."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from speechbrain_cwrnn import ClockworkRNN, reference
from speechbrain_cwrnn.backend import choose
from speechbrain_cwrnn.errors import InputError

PERIODS = [1, 2, 4, 8]


@pytest.fixture(params=["eager", "stepwise"], autouse=True)
def engine(request, monkeypatch):
    """All tests run in both ways, wherever they can."""

    def choose_this(backend, x, groups):
        cpu = x.device.type == "cpu"
        return choose(request.param if cpu else "eager", x, groups)

    if request.param != "eager" and "autocast" in request.node.name:
        pytest.skip("not in bfloat16")
    monkeypatch.setattr("speechbrain_cwrnn.op.choose", choose_this)


def make(hidden_size=8, input_size=3, periods=PERIODS, **options):
    """A layer in float64."""
    net = ClockworkRNN(
        hidden_size, input_size=input_size, periods=periods, **options
    )
    return net.double()


def randn(*shape):
    """Random numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def assert_close(actual, expected, atol=1e-12):
    """Equal up to the rounding of float64."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def parameters(net, suffix="l0"):
    """Arguments of the reference, by the names that checkpoints have."""
    weights = dict(net.named_parameters())
    layer, *reverse = suffix.split("_")
    rows = [
        weights["_".join(["weight_hh", layer, f"g{i}", *reverse])]
        for i in range(len(net.periods))
    ]
    return {
        "weight_ih": weights[f"weight_ih_{suffix}"],
        "weight_hh": rows,
        "bias": weights.get(f"bias_{suffix}"),
    }


class TestAgainstReference:
    """Layers and directions, put together from single ones by hand."""

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("periods", [[1, 2, 4, 8], [1, 2, 3], [3, 5]])
    def test_two_bidirectional_layers(self, periods, bias):
        """hn follows torch.nn: layer 0 forward, reverse, layer 1 forward..."""
        net = make(7, periods=periods, num_layers=2, bidirectional=True)
        x = randn(3, 11, 3)
        output, (h, clock) = net(x)
        y = x
        for layer in range(2):
            ends = []
            for d, suffix in enumerate([f"l{layer}", f"l{layer}_reverse"]):
                end, hn = reference.clockwork_rnn(
                    y.flip(1) if d else y,
                    **parameters(net, suffix),
                    periods=periods,
                )
                assert_close(h[2 * layer + d], hn)
                ends.append(end.flip(1) if d else end)
            y = torch.cat(ends, dim=-1)
        assert_close(output, y)
        assert clock.shape == (4, 3, 1) and (clock == 11).all()

    def test_uneven_groups(self):
        """group_sizes are those of the groups, fastest first."""
        net = make(9, periods=[1, 3], group_sizes=[2, 7])
        x = randn(2, 8, 3)
        expected, _ = reference.clockwork_rnn(
            x, **parameters(net), periods=[1, 3]
        )
        assert [len(w) for w in parameters(net)["weight_hh"]] == [2, 7]
        assert_close(net(x)[0], expected)

    def test_one_period_is_a_plain_rnn(self):
        """Two bidirectional layers of period 1 are torch.nn.RNN."""
        net = make(5, periods=[1], num_layers=2, bidirectional=True)
        rnn = torch.nn.RNN(
            3, 5, num_layers=2, bidirectional=True, batch_first=True
        ).double()
        with torch.no_grad():
            for layer in ("l0", "l0_reverse", "l1", "l1_reverse"):
                ours = parameters(net, layer)
                getattr(rnn, f"weight_ih_{layer}").copy_(ours["weight_ih"])
                getattr(rnn, f"weight_hh_{layer}").copy_(ours["weight_hh"][0])
                getattr(rnn, f"bias_ih_{layer}").copy_(ours["bias"])
                getattr(rnn, f"bias_hh_{layer}").zero_()
        x, h0 = randn(4, 9, 3), randn(4, 4, 5)
        (output, (h, _)), (expected, last) = net(x, h0), rnn(x, h0)
        assert_close(output, expected)
        assert_close(h, last)

    def test_non_contiguous_input(self):
        """The strides of x do not matter."""
        net, x = make(), randn(5, 3, 4)
        assert_close(net(x.mT)[0], net(x.mT.contiguous())[0])


class TestState:
    """Chunks with carried state give what the whole sequence gives."""

    @given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    def test_any_chunks(self, chunks):
        """Whatever the sizes of the chunks, and with several layers."""
        net = make(7, periods=[1, 2, 3, 5], num_layers=2)
        x = randn(2, sum(chunks), 3)
        expected, (h, clock) = net(x)
        state, outputs = None, []
        for chunk in x.split(chunks, dim=1):
            output, state = net(chunk, state)
            outputs.append(output)
        assert_close(torch.cat(outputs, dim=1), expected)
        assert_close(state[0], h)
        assert torch.equal(state[1], clock)

    @pytest.mark.parametrize("split", range(1, 12))
    def test_every_split(self, split):
        """The second chunk starts at any clock; gradients flow through."""
        net, x = make(), randn(2, 12, 3)
        x.requires_grad_()
        expected, _ = net(x)
        first, state = net(x[:, :split])
        second, _ = net(x[:, split:], state)
        output = torch.cat([first, second], dim=1)
        assert_close(output, expected)
        cotangent = torch.randn_like(output)
        wrt = [x, *net.parameters()]
        actual = torch.autograd.grad(output, wrt, cotangent)
        for a, e in zip(actual, torch.autograd.grad(expected, wrt, cotangent)):
            assert_close(a, e)

    def test_state_without_clock(self):
        """h alone means that the clocks are at 0."""
        net, x, h = make(), randn(2, 5, 3), randn(1, 2, 8)
        clock = torch.zeros(1, 2, 1, dtype=torch.long)
        output, _ = net(x, h)
        assert_close(output, net(x, (h, clock))[0])
        assert (output - net(x)[0]).abs().max() > 0.1

    def test_sequences_of_different_clocks(self):
        """A beam search mixes, repeats and updates states on dimension 1."""
        net, x = make(), randn(3, 12, 3)
        expected, _ = net(x)
        states = [net(x[b : b + 1, : b + 2])[1] for b in range(3)]
        h, clock = (torch.cat(s, dim=1) for s in zip(*states))
        order = torch.tensor([2, 0, 1, 0])
        h, clock = h[:, order, :], clock.index_select(1, order)
        chunk = torch.stack([x[b, b + 2 : b + 7] for b in order])
        output, (_, clock) = net(chunk, (h, clock))
        for n, b in enumerate(order):
            assert_close(output[n], expected[b, b + 2 : b + 7])
        assert clock.flatten().tolist() == [9, 7, 8, 7]

    def test_state_can_be_updated_in_place(self):
        """As transducer decoders do."""
        net = make(num_layers=2, bidirectional=True)
        _, (h, clock) = net(randn(3, 5, 3))
        h, clock = h.detach(), clock.detach()
        h[:, 1], clock[:, 1] = 0, 0
        assert (h != 0).all(-1).tolist() == [[True, False, True]] * 4
        assert clock[..., 0].tolist() == [[5, 0, 5]] * 4


class TestLengths:
    """Padding changes nothing, and nothing comes out of it."""

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_padded_equals_alone(self, bidirectional):
        """Outputs, final states, clocks and gradients, in two layers."""
        net = make(7, num_layers=2, bidirectional=bidirectional)
        x = randn(4, 10, 3).requires_grad_()
        steps = [10, 3, 7, 1]
        output, (h, clock) = net(x, lengths=torch.tensor(steps) / 10)
        assert output.shape[:2] == (4, 10)
        total = 0
        for b, n in enumerate(steps):
            alone, (h_alone, clock_alone) = net(x[b : b + 1, :n])
            assert_close(output[b, :n], alone[0])
            assert not output[b, n:].any()
            assert_close(h[:, b], h_alone[:, 0])
            assert torch.equal(clock[:, b], clock_alone[:, 0])
            total = total + alone.square().sum() + h_alone.sum()
        wrt = [x, *net.parameters()]
        actual = torch.autograd.grad(output.square().sum() + h.sum(), wrt)
        for a, e in zip(actual, torch.autograd.grad(total, wrt)):
            assert_close(a, e, atol=1e-11)

    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("padding", [float("nan"), float("inf"), -1e300])
    def test_anything_in_the_padding(self, padding, bidirectional):
        """It reaches no output, state or gradient, as in SpeechBrain's LSTM:
        all are what they are with zeros there, bit for bit."""
        net = make(num_layers=2, dropout=0.5, bidirectional=bidirectional)
        steps = torch.tensor([10, 3, 7, 1])
        inside = torch.arange(10)[:, None] < steps[:, None, None]
        x, h0 = randn(4, 10, 3), randn(2 + 2 * bidirectional, 4, 8)
        results = []
        for value in (0.0, padding):
            torch.manual_seed(0)
            padded = torch.where(inside, x, value).requires_grad_()
            h0 = h0.detach().requires_grad_()
            output, (h, clock) = net(padded, h0, steps / 10)
            wrt = [padded, h0, *net.parameters()]
            cotangents = [torch.ones_like(output), torch.ones_like(h)]
            gradients = torch.autograd.grad([output, h], wrt, cotangents)
            assert not gradients[0].masked_fill(inside, 0).any()
            results.append([output, h, clock, *gradients])
        for actual, expected in zip(*results):
            assert torch.equal(actual, expected)

    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu"])
    def test_overflow_in_the_padding(self, nonlinearity, bidirectional):
        """A state that grows there without bound reaches nothing: all is what
        it is without the padding."""
        net = make(
            num_layers=2, nonlinearity=nonlinearity, bidirectional=bidirectional
        )
        for name, parameter in net.named_parameters():
            if name.startswith("weight_hh"):
                parameter.data.abs_().mul_(1e20)
        steps = torch.tensor([3, 1, 2])
        x, results = randn(3, 40, 3), []
        for T in (3, 40):
            padded = x[:, :T].detach().requires_grad_()
            output, (h, _) = net(padded, lengths=steps / T)
            # What is asked of the padding, which is always zero, is none.
            assert not output[:, 3:].any()
            loss = (output + 1).log().sum() + h.log1p().sum()
            wrt = [padded, *net.parameters()]
            dx, *gradients = torch.autograd.grad(loss, wrt)
            assert not dx[:, 3:].any()
            results.append([output[:, :3], h, dx[:, :3], *gradients])
        for actual, expected in zip(*results):
            assert expected.isfinite().all()
            torch.testing.assert_close(actual, expected)

    @pytest.mark.parametrize("lengths", [None, torch.ones(0)])
    @pytest.mark.parametrize("T", [1, 5])
    def test_no_sequences(self, T, lengths):
        """An empty batch has empty results, and gradients of zero."""
        net = make(num_layers=2, bidirectional=True)
        output, (h, clock) = net(randn(0, T, 3), lengths=lengths)
        assert output.shape == (0, T, 16)
        assert h.shape == (4, 0, 8) and clock.shape == (4, 0, 1)
        output.sum().backward()
        assert not any(p.grad.any() for p in net.parameters())

    def test_rounded_not_truncated(self):
        """n/T comes back as n steps for every n, short items as one."""
        net = ClockworkRNN(2, input_size=1, periods=[1])
        for T in (3, 29, 399):
            lengths = torch.arange(1, T + 1) / T
            _, (_, clock) = net(torch.zeros(T, T, 1), lengths=lengths)
            assert clock.flatten().tolist() == list(range(1, T + 1))
        _, (_, clock) = net(torch.zeros(1, 9, 1), lengths=torch.tensor([1e-3]))
        assert clock.item() == 1

    def test_batch_equals_singles(self):
        """A sequence does not depend on the others in its batch."""
        net, x = make(bidirectional=True), randn(3, 10, 3)
        expected = torch.cat([net(x[b : b + 1])[0] for b in range(3)])
        assert_close(net(x)[0], expected)

    def test_lengths_and_state(self):
        """A chunk in which sequences end, continued from where they ended."""
        net, x = make(), randn(2, 12, 3)
        expected, _ = net(x)
        _, state = net(x[:, :6], lengths=torch.tensor([0.5, 1.0]))
        rest = torch.stack([x[0, 3:9], x[1, 6:12]])
        output, _ = net(rest, state)
        assert_close(output[0], expected[0, 3:9])
        assert_close(output[1], expected[1, 6:12])


class TestClockwork:
    """What makes it a Clockwork RNN; each is a bug of some implementation."""

    def groups(self, y):
        """The units of each of the four groups."""
        return y.split(2, dim=-1)

    @pytest.mark.parametrize("training", [True, False])
    def test_held_bit_for_bit(self, training):
        """Between ticks: no tanh, no decay, no dropout (RNN-JAX, talpay)."""
        net = make(num_layers=2, dropout=0.5).train(training)
        output, _ = net(randn(3, 33, 3))
        for period, group in zip(PERIODS, self.groups(output)):
            for t in range(1, 33):
                held = torch.equal(group[:, t], group[:, t - 1])
                assert held == (t % period != 0), (period, t)

    def test_all_tick_first(self):
        """The clock starts at 0: no group waits for its first period."""
        output, _ = make()(randn(3, 1, 3))
        assert (output != 0).all()

    def test_slow_feeds_fast_only(self):
        """Never the reverse (tomrunia, shaikhon, dugu9sword, vseq)."""
        net = make()
        h0 = randn(1, 1, 8).requires_grad_()
        output, _ = net(randn(1, 9, 3), h0)
        for i, receiver in enumerate(self.groups(output)):
            (gradient,) = torch.autograd.grad(
                receiver.square().sum(), h0, retain_graph=True
            )
            for j, sender in enumerate(self.groups(gradient)):
                assert bool((sender != 0).all()) == (j >= i), (i, j)
                assert bool((sender != 0).any()) == (j >= i), (i, j)

    def test_input_between_ticks_is_not_seen(self):
        """A group of period 4 sees x[0], x[4], ... and nothing else."""
        net = make(4, periods=[4])
        x = randn(2, 12, 3)
        other = torch.where(torch.arange(12)[:, None] % 4 == 0, x, randn(12, 3))
        assert torch.equal(net(x)[0], net(other)[0])
        other[:, 8] += 1
        assert not torch.equal(net(x)[0], net(other)[0])

    def test_periods_that_do_not_nest(self):
        """(1, 2, 3) at t = 3: 1 and 3 tick, 2 holds (buffer51, rdipietro)."""
        output, _ = make(3, periods=[1, 2, 3])(randn(1, 4, 3))
        ticked = (output[0, 3] != output[0, 2]).tolist()
        assert ticked == [True, False, True]

    def test_reads_the_state_before_the_step(self):
        """A fast group reads a slow one's last state, not its new one."""
        net = make(2, input_size=1, periods=[1, 2], bias=False)
        with torch.no_grad():
            net.weight_ih_l0.copy_(torch.tensor([[0.0], [1.0]]))
            net.weight_hh_l0_g0.copy_(torch.tensor([[0.0, 1.0]]))
            net.weight_hh_l0_g1.zero_()
        x = torch.tensor([[[0.3], [9.0], [0.7], [9.0]]]).double()
        slow = [0.3, 0.3, 0.7, 0.7]
        fast = [0.0, slow[0], slow[1], slow[2]]
        output = net(x)[0][0].atanh()
        assert_close(output[:, 1], torch.tensor(slow).double(), atol=1e-7)
        expected = torch.tensor(fast).double().tanh()
        expected[1:] = torch.tensor(slow[:-1]).double().tanh()
        assert_close(output[:, 0], expected, atol=1e-7)

    def test_gradient_through_a_hold(self):
        """The error of a held state reaches its last tick (zergylord)."""
        net = make(1, input_size=1, periods=[8], bias=False)
        x = randn(1, 8, 1).requires_grad_()
        output, _ = net(x)
        (gradient,) = torch.autograd.grad(output.sum(), x)
        slope = 1 - output[0, 0] ** 2
        assert_close(gradient[0, 0], 8 * slope * net.weight_ih_l0[0])
        assert not gradient[0, 1:].any()

    def test_structure_survives_training(self):
        """No weight from fast to slow appears (prash2512, makistsantekidis);
        all others are trained (talpay)."""
        net, x = make(), randn(2, 17, 3)
        before = net.dense_weight_hh().detach().clone()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(x)[0].square().sum().backward()
            optimizer.step()
        group = torch.arange(8) // 2
        allowed = group[:, None] <= group
        after = net.dense_weight_hh()
        assert torch.equal(after != 0, allowed)
        assert torch.equal(after != before, allowed)

    @pytest.mark.parametrize("n, params", [(11, 91), (27, 460)])
    def test_number_of_parameters(self, n, params):
        """With a linear output, the paper's generators have one bias a unit
        (n = 11: 91 parameters without the periods); prash2512, pranv have
        two."""
        net = ClockworkRNN(n, input_size=0, periods=9)
        output = torch.nn.Linear(n, 1)
        count = sum(p.numel() for m in (net, output) for p in m.parameters())
        assert count == params
        # And n^2/2 + nk/2 recurrent weights, for groups of the same size k.
        if n == 27:
            rows = parameters(net)["weight_hh"]
            assert sum(w.numel() for w in rows) == (n * n + n * 3) // 2

    def test_output_holds_all_groups(self):
        """Groups are put side by side, not added up (nnetcpp)."""
        output, (h, _) = make(5, periods=[1, 2, 4])(randn(2, 6, 3))
        assert output.shape == (2, 6, 5)
        assert torch.equal(output[:, -1], h[0])

    def test_no_device_of_its_own(self):
        """Everything is made where the input is (ToruOwO)."""
        net = ClockworkRNN(
            8, input_size=3, num_layers=2, bidirectional=True, periods=PERIODS
        ).to("meta")
        x = torch.empty(2, 5, 3, device="meta")
        for T in (5, 1):
            lengths = torch.ones(2, device="meta")
            output, state = net(x[:, :T], lengths=lengths)
            output, state = net(x[:, :T], state)
            tensors = (output, *state)
            assert all(y.device.type == "meta" for y in tensors)


class TestLayer:
    """The rest of the contract."""

    def test_no_input(self):
        """F = 0: what the groups do is up to their biases and weights."""
        net = make(input_size=0)
        output, _ = net(randn(2, 9, 0))
        expected, _ = reference.clockwork_rnn(
            randn(2, 9, 0), **parameters(net), periods=PERIODS
        )
        assert output.shape == (2, 9, 8)
        assert_close(output, expected)

    @pytest.mark.parametrize("T", [1, 2, 5])
    def test_every_parameter_has_a_gradient(self, T):
        """Also where the chunk has no tick of a slow group (DDP)."""
        net = make(num_layers=2, bidirectional=True)
        _, state = net(randn(2, 1, 3))
        net(randn(2, T, 3), state)[0].sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name

    def test_dropout(self):
        """Between layers and in training only, as in torch.nn.LSTM."""
        torch.manual_seed(1)
        net, x = make(num_layers=2, dropout=0.5), randn(2, 9, 3)
        assert not torch.equal(net(x)[0], net(x)[0])
        net.eval()
        assert torch.equal(net(x)[0], net(x)[0])
        all_dropped = make(num_layers=2, dropout=1.0)
        expected, _ = reference.clockwork_rnn(
            torch.zeros(2, 9, 8).double(),
            **parameters(all_dropped, "l1"),
            periods=PERIODS,
        )
        assert_close(all_dropped(x)[0], expected)
        one_layer = make(dropout=0.5)
        assert torch.equal(one_layer(x)[0], one_layer(x)[0])

    def test_init(self):
        """re_init makes each diagonal block orthogonal, and no other."""
        net = make(16)
        for weight in parameters(net)["weight_hh"]:
            diagonal = weight[:, : len(weight)]
            assert_close(diagonal @ diagonal.T, torch.eye(4).double(), 1e-6)
        weight = make(16, re_init=False).weight_hh_l0_g0[:, :4]
        identity = torch.eye(4).double()
        assert (weight @ weight.T - identity).abs().max() > 0.1
        for name, parameter in make(16, re_init=False).named_parameters():
            assert parameter.abs().max() <= 0.25, name
            assert parameter.abs().max() > 0.15, name

    def test_dense_weight_hh(self):
        """Block rows end at the right; one matrix per layer and direction."""
        net = make(num_layers=2, bidirectional=True)
        dense = net.dense_weight_hh(layer=1, reverse=True)
        assert dense.shape == (8, 8)
        assert torch.equal(dense[2:4, 2:], net.weight_hh_l1_g1_reverse)
        assert not dense[2:4, :2].any()

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"layer": 2}, "layer=2, reverse=False: expected a layer and dir"),
            ({"layer": -1}, "layer=-1, reverse=False: .* num_layers=2, count"),
            ({"layer": "0"}, "layer='0': expected an integer"),
            ({"reverse": True}, "reverse=True: .* bidirectional=False"),
            ({"reverse": "no"}, "reverse='no': expected True or False"),
        ],
    )
    def test_no_such_layer(self, options, message):
        """It is said which there are."""
        with pytest.raises(ValueError, match=message):
            make(num_layers=2).dense_weight_hh(**options)

    @pytest.mark.parametrize("batch_size", [-1, 1.5, "all"])
    def test_no_batch_size(self, batch_size):
        """Nor an engine for it."""
        with pytest.raises(ValueError, match="batch_size=.*: expected an int"):
            make().engine(batch_size)

    @pytest.mark.parametrize("steps", [0, "all"])
    def test_no_steps(self, steps):
        """Which it would take."""
        with pytest.raises(ValueError, match="steps=.*: expected an int"):
            make().engine(steps=steps)

    @pytest.mark.parametrize("num_copies", [0, "all"])
    def test_no_copies(self, num_copies):
        """Nor of an ensemble of none."""
        message = "num_copies=.*: expected an int"
        with pytest.raises(ValueError, match=message):
            make().engine(num_copies=num_copies)

    def test_four_dimensions(self):
        """(batch, time, a, b) is read as (batch, time, a * b)."""
        net = ClockworkRNN(8, input_shape=(None, None, 2, 3))
        x = torch.randn(2, 5, 2, 3)
        assert torch.equal(net(x)[0], net(x.flatten(2))[0])

    def test_input_shape(self):
        """The last dimension of input_shape is the number of features."""
        net = ClockworkRNN(8, input_shape=[None, None, torch.tensor(5)])
        assert net.weight_ih_l0.shape == (8, 5)
        assert net(torch.randn(1, 1, 5))[0].shape == (1, 1, 8)

    def test_autocast(self):
        """Under autocast the layer works in its dtype, as an LSTM does."""
        net = ClockworkRNN(8, input_size=3, num_layers=2)
        x = torch.randn(2, 9, 3)
        expected, (_, clock) = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            output, state = net(x[:, :5])
            rest, _ = net(x[:, 5:], state)
        output = torch.cat([output, rest], dim=1)
        assert output.dtype == torch.bfloat16
        assert (output.float() - expected).abs().max() < 0.02
        output.float().sum().backward()
        assert net.weight_ih_l0.grad.dtype == torch.float32


class TestOtherUses:
    """What is done to modules, and works with this one."""

    @pytest.mark.parametrize(
        "copied",
        [
            copy.deepcopy,
            lambda net: pickle.loads(pickle.dumps(net)),
            lambda net: net.share_memory(),
            torch.nn.DataParallel,
            torch.no_grad(),
            torch.inference_mode(),
        ],
    )
    def test_copied_or_wrapped(self, copied):
        """It computes the same, up to rounding where that is without gradients:
        another order of sums may be faster then."""
        net, x = make(num_layers=2, bidirectional=True), randn(2, 5, 3)
        assert_close(copied(net)(x)[0], net(x)[0])

    def test_pruned(self):
        """Weights that are set to zero stay so, the others are trained."""
        net = make()
        prune.random_unstructured(net, "weight_hh_l0_g0", 0.5)
        before = net.weight_hh_l0_g0.clone()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(randn(2, 5, 3))[0].sum().backward()
        optimizer.step()
        net(randn(2, 5, 3))
        after = net.weight_hh_l0_g0
        assert ((after == 0) == (before == 0)).all()
        assert (after != before).any() and (before == 0).sum() == 8

    def test_weight_norm(self):
        """A parametrised layer computes with its own weights, and is saved."""
        net, other = (weight_norm(make(), "weight_ih_l0") for _ in range(2))
        x = randn(2, 5, 3)
        before = net(x)[0]
        with torch.no_grad():
            net.parametrizations.weight_ih_l0.original0.mul_(2)
        assert not torch.equal(net(x)[0], before)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(x)[0], net(x)[0])

    def test_without_some_gradients(self):
        """What needs none gets none, and the others are as before."""
        net, x = make(), randn(2, 5, 3)
        net(x)[0].sum().backward()
        expected = net.bias_l0.grad.clone()
        net.zero_grad()
        net.weight_ih_l0.requires_grad_(False)
        net(x)[0].sum().backward()
        assert net.weight_ih_l0.grad is None
        assert_close(net.bias_l0.grad, expected)

    def test_made_without_memory(self):
        """On the meta device, and given memory and values later."""
        with torch.device("meta"):
            net = ClockworkRNN(8, input_size=3)
        net.to_empty(device="cpu").reset_parameters()
        assert net(torch.ones(1, 2, 3))[0].isfinite().all()

    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
    def test_traced(self):
        """With a state and lengths."""
        net, h = make(bidirectional=True), randn(2, 2, 8)
        traced = torch.jit.trace(net, (randn(2, 5, 3), h, torch.ones(2)))
        x, lengths = randn(2, 5, 3), torch.tensor([0.6, 1.0])
        output, (last, clock) = traced(x, h, lengths)
        expected = net(x, h, lengths)
        assert_close(output, expected[0])
        assert_close(last, expected[1][0])
        assert torch.equal(clock, expected[1][1])

    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
    def test_traced_step(self):
        """A single step holds for other clocks than it was traced with."""
        net, x = make(), randn(2, 1, 3)
        hx = randn(1, 2, 8), torch.ones(1, 2, 1, dtype=torch.long)
        with torch.no_grad():
            traced = torch.jit.trace(net, (x, hx))
            for clock in range(9):
                hx = hx[0], torch.full((1, 2, 1), clock)
                assert_close(traced(x, hx)[0], net(x, hx)[0])


class TestStateDict:
    """The same weights are another network with other periods."""

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"periods": [1, 2, 4, 9]}, r"\[1, 2, 4, 8\].*: .*\[1, 2, 4, 9\]"),
            ({"periods": [1, 2]}, r"\[2, 2, 2, 2\].*: .*\[4, 4\]"),
            (
                {"group_sizes": [3, 2, 2, 1]},
                r"\[2, 2, 2, 2\].*: .*\[3, 2, 2, 1",
            ),
            ({"nonlinearity": "relu"}, "'tanh': expected .*'relu', as the lay"),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False])
    def test_of_another_network(self, strict, options, message):
        """It is refused, both are said, and no parameter is overwritten."""
        saved = torch.nn.Sequential(make()).state_dict()
        model = torch.nn.Sequential(make(**options))
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ValueError, match=f"a state dict of .*{message}"):
            model.load_state_dict(saved, strict=strict)
        for actual, expected in zip(model.parameters(), before):
            assert torch.equal(actual, expected)

    def test_averaged(self):
        """As float, by recipes that average state dicts, with rounding."""
        net, other = make(), make(periods=[1, 2, 4, 9])
        state = net.state_dict()
        average = {k: sum([0.1 * v] * 10) for k, v in state.items()}
        assert (average["_extra_state"] != state["_extra_state"]).any()
        net.load_state_dict(average)
        with pytest.raises(ValueError, match="a state dict of periods"):
            other.load_state_dict(average)

    @pytest.mark.parametrize(
        "state, message",
        [
            (None, "something else than a ClockworkRNN"),
            (torch.tensor(3), "something else"),
            (torch.ones(4), "something else"),
            (torch.ones(4, 2), "something else"),
            (torch.ones(0, 3), "something else"),
            (torch.tensor([[1, 8, 9]]), r"periods \[1\], .* nonlinearity 9"),
        ],
    )
    def test_of_another_module(self, state, message):
        """Or of a later version: whatever it says is refused in a sentence."""
        net = make()
        saved = {**net.state_dict(), "_extra_state": state}
        with pytest.raises(InputError, match=f"a state dict of {message}"):
            net.load_state_dict(saved)

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize(
        "other, row",
        [
            (torch.nn.Linear(8, 8), r"rnn.weight_ih_l0 +\| +\(8, 3\) \| +none"),
            (torch.nn.LSTM(3, 8), r"weight_ih_l0 .* \(8, 3\) \| \(32, 3\)"),
            (make(input_size=4), r"weight_ih_l0 .* \(8, 3\) \| \(8, 4\)"),
            (make(bias=False), r"bias_l0 .* \(8,\) \|  none"),
            (None, r"weight_hh_l0_g3 .* \(2, 2\) \|  none"),
        ],
    )
    def test_that_does_not_fit(self, other, row, strict, recwarn):
        """One error with one table, and the layer is as it was."""
        model = torch.nn.ModuleDict({"rnn": make()})
        before = [p.clone() for p in model.parameters()]
        others = {} if other is None else {"rnn": other}
        state = torch.nn.ModuleDict(others).state_dict()
        message = f"fit the ClockworkRNN rnn: expected all its .*\n.*{row}"
        with pytest.raises(InputError, match=f"(?s){message}"):
            model.load_state_dict(state, strict=strict)
        for actual, expected in zip(model.parameters(), before):
            assert torch.equal(actual, expected)
        assert not recwarn

    def test_with_more(self):
        """What else is there is PyTorch's to judge."""
        net = make()
        state = {**net.state_dict(), "more": torch.ones(1)}
        assert net.load_state_dict(state, False).unexpected_keys == ["more"]
        with pytest.raises(RuntimeError, match='Unexpected key.* "more"'):
            net.load_state_dict(state)

    @pytest.mark.parametrize("prefix", ["", "0."])
    def test_of_version_0_1(self, prefix):
        """It has parameters alone, and is loaded with a warning."""
        saved, net = make(), make()
        parameters = {
            f"{prefix}{name}": p for name, p in saved.named_parameters()
        }
        model = torch.nn.Sequential(net) if prefix else net
        with pytest.warns(UserWarning, match=r"taken to be \(1, 2, 4, 8\)"):
            model.load_state_dict(parameters)
        assert torch.equal(net.weight_ih_l0, saved.weight_ih_l0)

    def test_by_file(self, tmp_path):
        """A file of weights alone holds it."""
        net, path = make(num_layers=2, bidirectional=True), tmp_path / "net"
        torch.save(net.state_dict(), path)
        other = make(num_layers=2, bidirectional=True)
        other.load_state_dict(torch.load(path, weights_only=True))
        x = randn(2, 5, 3)
        assert torch.equal(other(x)[0], net(x)[0])


class TestBadInput:
    """One sentence: the argument, what was given, what was expected."""

    @pytest.mark.parametrize(
        "options, message",
        [
            ({}, "input_shape=None, input_size=None: expected exactly one"),
            (
                {"input_shape": (None, None, 3), "input_size": 3},
                r"input_shape=\(None, None, 3\), input_size=3: expected",
            ),
            ({"periods": [4, 2]}, r"periods=\[4, 2\]: expected strictly"),
            ({"periods": list(range(1, 10))}, "hidden_size=8: expected at"),
            (
                {"periods": [1, 2], "group_sizes": [3, 4]},
                r"group_sizes=\[3, 4\]: expected 2 .* hidden_size=8",
            ),
            ({"backend": "gpu"}, "backend='gpu': expected one of 'auto'"),
            ({"nonlinearity": "selu"}, "nonlinearity='selu': expected one"),
            ({"dropout": 1.5}, r"dropout=1.5: expected a number in \[0, 1\]"),
            ({"dropout": float("nan")}, "dropout=nan: expected a number"),
            ({"dropout": "0.1"}, "dropout='0.1': expected a number"),
            ({"dropout": True}, "dropout=True: expected a number"),
            ({"dropout": [0.1]}, r"dropout=\[0.1\]: expected a number"),
            ({"num_layers": 0}, "num_layers=0: expected an integer, 1 or more"),
            ({"num_layers": True}, "num_layers=True: expected an integer"),
            ({"bias": "no"}, "bias='no': expected True or False"),
            ({"bidirectional": 0}, "bidirectional=0: expected True or False"),
            ({"re_init": None}, "re_init=None: expected True or False"),
            ({"input_size": "3"}, "input_size='3': expected an integer, 0 or"),
            ({"input_size": 3.9}, "input_size=3.9: expected an integer, 0"),
            ({"input_size": True}, "input_size=True: expected an integer, 0"),
            ({"input_size": -1}, "input_size=-1: expected an integer, 0 or"),
        ]
        + [
            (
                {"input_shape": shape},
                r"input_shape=.*: expected \(batch, time, ",
            )
            for shape in (
                [None, None],
                [None, None, None],
                [None, None, "3"],
                [None, None, 4.5],
                "abc",
                3,
                {},
            )
        ],
    )
    def test_constructor(self, options, message):
        """Nothing is made of bad options."""
        if options and "input_shape" not in options:
            options = {"input_size": 3, **options}
        with pytest.raises(ValueError, match=message):
            ClockworkRNN(8, **options)

    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda: torch.nn.LSTM(3, 8), "a LSTM: expected a torch.nn.RNN"),
            (lambda: torch.nn.RNN(3, 9), "of hidden_size=9: expected 8, as"),
            (lambda: torch.nn.RNN(1, 8), "of input_size=1: expected 3, as"),
            (lambda: torch.nn.RNN(3, 8, 2), "of num_layers=2: expected 1"),
            (
                lambda: torch.nn.RNN(3, 8, bias=False),
                "bias=False: expected True",
            ),
            (
                lambda: torch.nn.RNN(3, 8, bidirectional=True),
                "bidirectional=True: expected False",
            ),
            (
                lambda: torch.nn.RNN(3, 8, nonlinearity="relu"),
                "nonlinearity='relu': expected 'tanh'",
            ),
        ],
    )
    def test_take_over(self, make, message):
        """Before any weight is written."""
        net = ClockworkRNN(8, input_size=3)
        before = {name: t.clone() for name, t in net.state_dict().items()}
        with pytest.raises(InputError, match=message):
            net.take_over(make())
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]), name

    @pytest.mark.parametrize("size", [2.5, "8", True, 0, [8], None])
    def test_hidden_size(self, size):
        """It is a positive integer."""
        with pytest.raises(ValueError, match="hidden_size=.*: expected an int"):
            ClockworkRNN(size, input_size=3)

    def test_integers_of_others(self):
        """Those of NumPy, and tensors of one, do as well."""
        sizes = torch.tensor(8).numpy()[()], torch.tensor(3)
        assert make(*sizes).weight_ih_l0.shape == (8, 3)

    @pytest.mark.parametrize("shape", [(2, 3), (2, 5, 4), (2, 5, 1, 3)])
    def test_input(self, shape):
        """Wrong rank or number of features."""
        with pytest.raises(ValueError) as error:
            make()(randn(*shape))
        assert f"x of shape {shape}: expected [batch, time, 3]" in str(
            error.value
        )

    def test_no_steps(self):
        """An empty sequence has no last state."""
        with pytest.raises(ValueError, match="at least one step"):
            make()(randn(2, 0, 3))

    @pytest.mark.parametrize(
        "x, message",
        [
            (torch.ones(2, 5, 3).numpy(), "x of type ndarray: expected a ten"),
            (
                pack_padded_sequence(torch.ones(5, 2, 3), [5, 3]),
                "x of type PackedSequence: expected a tensor",
            ),
            (torch.ones(2, 5, 3).long(), "x in torch.int64: expected floating"),
            (torch.ones(2, 5, 3).to_sparse(), "x, nested or sparse: expected"),
            (torch.ones(2, 5, 3), "float64: expected torch.float32, as of x"),
            (torch.ones(2, 5, 3, device="meta"), "x on meta: expected cpu"),
        ],
    )
    def test_input_of_other_types(self, x, message):
        """A dense tensor of numbers like the weights, and where they are."""
        with pytest.raises(ValueError, match=message):
            make()(x)

    def test_lengths(self):
        """They are checked (test_lengths.py says how)."""
        with pytest.raises(ValueError, match=r"lengths of shape \(3,\): .*2"):
            make()(randn(2, 5, 3), lengths=torch.ones(3))

    def test_state(self):
        """Shapes of h and clock."""
        x, h = randn(2, 5, 3), randn(1, 2, 8)
        with pytest.raises(ValueError, match=r"hx: h of .*3.*\(1, 2, 8\)"):
            make()(x, randn(1, 3, 8))
        with pytest.raises(ValueError, match=r"clock of .*8.*\(1, 2, 1\)"):
            make()(x, (h, h))
        with pytest.raises(ValueError, match="h of .* on meta: expected .*cpu"):
            make()(x, h.to("meta"))

    @pytest.mark.parametrize("hx", ["state", (1, 2), {}, "two", "three"])
    def test_state_of_other_types(self, hx):
        """A tensor, or a pair of them."""
        h = randn(1, 2, 8)
        hx = {"two": (h, None), "three": [h, h, h]}.get(str(hx), hx)
        with pytest.raises(ValueError, match="hx of type .*: expected a tenso"):
            make()(randn(2, 5, 3), hx)

    @pytest.mark.parametrize("bad", [-1, 0.5, float("nan"), float("inf")])
    def test_clock(self, bad):
        """It counts."""
        clock = torch.tensor([2, bad]).reshape(1, 2, 1)
        with pytest.raises(ValueError, match="clock=.*: expected .* of steps"):
            make()(randn(2, 5, 3), (randn(1, 2, 8), clock))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float16])
    def test_clock_of_few_bits(self, dtype):
        """Whole numbers in any dtype are a clock; the next one is exact."""
        net, x = make(), randn(2, 300, 3)
        expected, _ = net(x)
        h, clock = net(x[:, :100])[1]
        output, (_, clock) = net(x[:, 100:], [h, clock.to(dtype)])
        assert_close(output, expected[:, 100:])
        assert clock.flatten().tolist() == [300, 300]


@pytest.mark.parametrize(
    "number, nonlinearity", enumerate(["tanh", "relu", "leaky_relu"])
)
def test_numbers_of_nonlinearities(number, nonlinearity):
    """Those in state dicts stay what they were."""
    net = ClockworkRNN(
        3, input_size=1, periods=[1, 4], nonlinearity=nonlinearity
    )
    state = net.state_dict()["_extra_state"]
    assert state.tolist() == [[1, 2, number], [4, 1, number]]
