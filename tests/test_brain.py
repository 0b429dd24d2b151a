"""Many networks at once, trained by a `Brain` of SpeechBrain."""

import logging
import os
from dataclasses import fields
from functools import partial

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from tqdm import tqdm

from speechbrain_cwrnn import Ensemble, brain
from speechbrain_cwrnn.brain import (
    REFUSED,
    EnsembleBrain,
    check_memory,
    refuse_run_options,
)
from speechbrain_cwrnn.errors import InputError


class Brain(EnsembleBrain):
    """Networks that learn to answer zero; some of them are through."""

    frozen = ()

    def compute_forward(self, batch, stage):
        """Outputs [N, B, 2]."""
        return self.modules.model(batch)

    def compute_objectives(self, predictions, batch, stage):
        """The losses [N]; the last network is a thousand times as steep."""
        losses = predictions.square().sum((1, 2))
        return losses * torch.tensor([1.0, 1.0, 1000.0])

    def through(self):
        """Those that a test says [N]."""
        through = super().through()
        through[list(self.frozen)] = True
        return through

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Shows that an epoch is over."""
        if stage == sb.Stage.TRAIN:
            self.end_epoch({"loss": stage_loss})


def make_brain(hparams=None, run_opts=None, **kwargs):
    """A brain of three networks, ready to make a step."""
    networks = Ensemble(partial(torch.nn.Linear, 4, 2), 3, seed=0)
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
    brain = Brain({"model": networks}, sgd, hparams, run_opts, **kwargs)
    brain.init_optimizers()
    return brain


def steps(brain, number=3):
    """What the parameters [N, ...] change by in some steps."""
    before = [p.detach().clone() for p in brain.modules.parameters()]
    generator = torch.Generator().manual_seed(0)
    for _ in range(number):
        brain.fit_batch(torch.rand(5, 4, generator=generator))
    return [
        (new - old).detach()
        for new, old in zip(brain.modules.parameters(), before)
    ]


def norms(changes):
    """The length of the change of each network [N]."""
    return torch.cat([c.flatten(1) for c in changes], dim=1).norm(dim=1)


class TestStep:
    """What a batch does to the networks."""

    def test_as_alone(self):
        """Each network is trained as by PyTorch alone."""
        brain = make_brain()
        networks = [brain.modules.model.extract(n) for n in range(3)]
        steps(brain)
        for n, network in enumerate(networks):
            optimizer = brain.opt_class(network.parameters())
            generator = torch.Generator().manual_seed(0)
            for _ in range(3):
                batch = torch.rand(5, 4, generator=generator)
                optimizer.zero_grad()
                loss = network(batch).square().sum()
                (loss * [1, 1, 1000][n]).backward()
                optimizer.step()
            trained = brain.modules.model.extract(n)
            for a, b in zip(trained.parameters(), network.parameters()):
                torch.testing.assert_close(a, b)

    def test_frozen(self):
        """Networks that are through stand still, and disturb no other."""
        expected = steps(make_brain())
        brain = make_brain()
        brain.frozen = [1]
        for a, b in zip(steps(brain), expected):
            assert not a[1].any() and b[1].any()
            assert torch.equal(a[[0, 2]], b[[0, 2]])

    def test_not_finite(self):
        """One that is not even finite disturbs no other, with clipping too."""
        for options in ({}, {"max_grad_norm": 0.5}):
            expected = steps(make_brain(options))
            brain = make_brain(options)
            with torch.no_grad():
                brain.modules.model.module.weight[1] = float("nan")
            for a, b in zip(steps(brain), expected):
                assert torch.equal(a[[0, 2]], b[[0, 2]])

    def test_hooks(self):
        """SpeechBrain's, around each batch."""
        brain, called = make_brain(), []
        brain.on_fit_batch_start = lambda batch, should_step: called.append(1)
        brain.on_fit_batch_end = lambda batch, outputs, loss, should_step: (
            called.append((len(outputs), len(loss), should_step))
        )
        steps(brain, 1)
        assert called == [1, (3, 3, True)]

    def test_counted(self):
        """Steps are, as SpeechBrain's are."""
        brain = make_brain()
        steps(brain, 3)
        assert brain.optimizer_step == 3


class TestClipping:
    """--max_grad_norm."""

    def test_off_by_default(self):
        """SpeechBrain's default of 5 is not what the paper has."""
        assert make_brain().max_grad_norm < 0
        assert norms(steps(make_brain(), 1))[2] > 10

    @pytest.mark.parametrize("way", ["hparams", "dict", "command line"])
    def test_of_each_network(self, way):
        """Each one's gradient is clipped as if there were no other."""
        limit = 0.5
        if way == "hparams":
            options = {"hparams": {"max_grad_norm": limit}}
        elif way == "dict":
            options = {"run_opts": {"max_grad_norm": limit}}
        else:
            line = ["train.yaml", "--max_grad_norm", str(limit)]
            options = {"run_opts": sb.parse_arguments(line)[1]}
        brain = make_brain(**options)
        batch = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
        expected = []
        for n in range(3):
            alone = brain.modules.model.extract(n)
            loss = alone(batch).square().sum() * [1, 1, 1000][n]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(alone.parameters(), limit)
            expected.append([p.grad for p in alone.parameters()])
        # The first step of Nesterov's momentum is 1.9 times the gradient.
        for change, *gradients in zip(steps(brain, 1), *expected):
            gradient = torch.stack(gradients)
            torch.testing.assert_close(change, -0.01 * 1.9 * gradient)

    def test_disabled(self):
        """By a negative number, as in SpeechBrain."""
        expected = steps(make_brain())
        for a, b in zip(steps(make_brain({"max_grad_norm": -1})), expected):
            assert torch.equal(a, b)


class TestPrecision:
    """--precision and --eval_precision."""

    @pytest.mark.parametrize(
        "options, train, test",
        [
            ({}, torch.float32, torch.float32),
            ({"precision": "bf16"}, torch.bfloat16, torch.float32),
            ({"bfloat16_mix_prec": True}, torch.bfloat16, torch.float32),
            ({"eval_precision": "bf16"}, torch.float32, torch.bfloat16),
        ],
    )
    def test_autocast(self, options, train, test):
        """It is on where it was asked for, and the parameters stay."""
        seen = []
        brain = make_brain(run_opts=options)
        function = brain.compute_forward

        def forward(batch, stage):
            seen.append(torch.ones(2, 2) @ torch.ones(2, 2))
            return function(batch, stage)

        brain.compute_forward = forward
        brain.fit_batch(torch.rand(5, 4))
        brain.evaluate_batch(torch.rand(5, 4), sb.Stage.TEST)
        assert [tensor.dtype for tensor in seen] == [train, test]
        for parameter in brain.modules.parameters():
            assert parameter.dtype == torch.float32


class TestRunOptions:
    """None of SpeechBrain's is ignored."""

    NAMES = [field.name for field in fields(RunOptions)]
    # Those that work as they do there.
    HONOURED = """
        test_only debug debug_batches debug_epochs debug_persistently device
        precision eval_precision bfloat16_mix_prec max_grad_norm noprogressbar
        tqdm_colored_bar tqdm_barcolor profile_training profile_warmup
        profile_steps param_file overridden_args
    """.split()

    def test_all_are_decided(self):
        """In one way; one that a later SpeechBrain brings is not yet."""
        assert sorted([*self.HONOURED, *REFUSED]) == sorted(self.NAMES)

    @pytest.mark.parametrize("name", sorted(REFUSED))
    def test_refused(self, name):
        """Wherever it is given, unless it is the default."""
        default = RunOptions()[name]
        make_brain({name: default}, {name: default})
        other = {bool: True, int: 9, str: "other"}.get(type(default), "x")
        message = f"^{name}={other}: expected {default} \\("
        for options in (
            {"hparams": {name: other}},
            {"run_opts": {name: other}},
        ):
            with pytest.raises(ValueError, match=message):
                make_brain(**options)

    def test_command_line_comes_first(self):
        """As in SpeechBrain."""
        refuse_run_options({"jit": False}, {"jit": True})

    def test_device(self):
        """It is found out."""
        assert refuse_run_options({"device": "cpu"}, {}).type == "cpu"

    def test_fp16(self):
        """The scale of the loss would be one for all."""
        with pytest.raises(ValueError, match="^precision=fp16: expected fp32"):
            refuse_run_options({"precision": "fp16"}, None)

    def test_torchrun(self, monkeypatch):
        """It is no option, and refused just so."""
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("LOCAL_RANK", "1")
        with pytest.raises(ValueError, match="^distributed_launch=True: exp"):
            make_brain()


class TestFit:
    """All epochs."""

    def fit(self, epochs=4, checkpointer=None, **options):
        """A brain after training on two batches an epoch."""
        brain = make_brain(**options, checkpointer=checkpointer)
        counter = EpochCounter(epochs)
        if checkpointer is not None:
            checkpointer.add_recoverable("counter", counter)
        batches = torch.utils.data.DataLoader(torch.rand(6, 4), batch_size=3)
        brain.fit(counter, batches)
        return brain

    def test_progress(self, capsys):
        """One bar, of epochs, with what came of the last one."""
        brain = self.fit()
        assert (brain.progress.n, brain.progress.total) == (4, 4)
        shown = capsys.readouterr().err
        assert "it/s" not in shown
        shown = shown.strip().split("\r")[-1]
        assert "4/4" in shown and "epoch" in shown and "loss=" in shown
        assert "\n" not in shown

    def test_lines(self, tmp_path, caplog):
        """Those of SpeechBrain are back when all epochs are through."""
        caplog.set_level(logging.INFO)
        logger = logging.getLogger("speechbrain.utils.checkpoints")
        before = logger.level
        brain = self.fit(2, Checkpointer(tmp_path))
        assert "Going into epoch" not in caplog.text
        brain.checkpointer.save_checkpoint()
        assert "Saved" in caplog.text and logger.level == before

    def test_unknown_end(self, monkeypatch):
        """No time is told that is not known."""
        monkeypatch.setattr(Brain, "ends_early", True)
        brain = self.fit()
        assert (brain.progress.n, brain.progress.total) == (4, None)

    @pytest.mark.parametrize("option", ["noprogressbar", "test_only"])
    def test_no_progress(self, capsys, option):
        """Where none is wanted, or made."""
        self.fit(run_opts={option: True})
        assert capsys.readouterr().err == ""

    def test_resumes(self, tmp_path):
        """With the epochs that are done as the beginning of the bar."""
        brain = self.fit(2, Checkpointer(tmp_path))
        brain.checkpointer.save_checkpoint()
        brain = self.fit(5, Checkpointer(tmp_path))
        assert (brain.progress.initial, brain.progress.n) == (2, 5)

    def test_finishes(self, monkeypatch):
        """After the epoch in which the last network was through."""
        monkeypatch.setattr(Brain, "frozen", [0, 2])
        assert self.fit().epoch_counter.current == 4
        monkeypatch.setattr(Brain, "frozen", [0, 1, 2])
        assert self.fit().epoch_counter.current == 1

    def test_debugging(self):
        """It takes as many batches and epochs as SpeechBrain says."""
        brain = self.fit(run_opts={"debug": True, "debug_batches": 1})
        assert brain.optimizer_step == 2


def test_making_is_shown(monkeypatch, capsys):
    """Where it takes long; the networks are those of an ensemble."""
    monkeypatch.setattr(
        brain, "tqdm", lambda **options: tqdm(**{**options, "delay": 0})
    )
    make = partial(torch.nn.Linear, 3, 1)
    networks = brain.make_networks(make, 4, seed=7)
    assert "4/4" in capsys.readouterr().err
    expected = Ensemble(make, 4, seed=7).state_dict()
    torch.testing.assert_close(networks.state_dict(), expected)


class TestMemory:
    """That of the machine is enough for all networks, or it is said."""

    @pytest.fixture
    def check(self, monkeypatch):
        """Whether so many networks of 1000 bytes fit in 30 kB."""
        sizes = {"SC_PAGE_SIZE": 100, "SC_PHYS_PAGES": 300}
        monkeypatch.setattr(os, "sysconf", sizes.get)
        monkeypatch.setattr(
            torch.cuda, "mem_get_info", lambda device: (0, 60000)
        )
        networks = Ensemble(partial(torch.nn.Linear, 250, 1, bias=False), 2)

        def check(number, device):
            check_memory("n", number, networks, torch.device(device))

        return check

    @pytest.mark.parametrize("device, most", [("cpu", 10), ("cuda", 20)])
    def test_most(self, check, device, most):
        """Weights, gradients, and the optimizer's."""
        check(most, device)
        with pytest.raises(InputError, match=f"^n={most + 1}: expected as man"):
            check(most + 1, device)

    def test_unknown(self, check, monkeypatch):
        """Nothing is said."""
        monkeypatch.delattr(os, "sysconf")
        check(10**9, "cpu")
