"""SpeechBrain's run options: whether they can be what they are."""

from dataclasses import fields

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.run_options import Checks, check_run_options


def test_defaults():
    """SpeechBrain's own are taken, on the command line and in a YAML file."""
    defaults = {f.name: RunOptions()[f.name] for f in fields(RunOptions)}
    check_run_options(None, defaults, {})
    check_run_options(defaults, None, {})
    assert Checks().model_dump() == defaults


@pytest.mark.parametrize(
    "options, message",
    [
        ({"debug": "yes"}, "debug=yes: expected a valid boolean"),
        ({"debug_batches": 0}, "debug_batches=0: expected an integer from 1"),
        ({"debug_batches": 2.5}, "debug_batches=2.5: expected an integer"),
        ({"max_grad_norm": "x"}, "max_grad_norm=x: expected a valid number"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm=nan: expected a fini"),
        ({"precision": "fp8"}, "precision=fp8: expected 'fp32', 'fp16' or 'b"),
        ({"grad_accumulation_factor": 0}, "grad_accumulation_factor=0: exp"),
        ({"optimizer_step_limit": 0}, "optimizer_step_limit=0: expected a po"),
        ({"optimizer_step_limit": "x"}, "optimizer_step_limit=x: expected a"),
        ({"nonfinite_patience": -1}, "nonfinite_patience=-1: expected an in"),
        ({"nonfinite_patience": 9}, "nonfinite_patience=9: expected with --s"),
        ({"profile_steps": 0}, "profile_steps=0: expected an integer from 1"),
        ({"compile_mode": "best"}, "compile_mode=best: expected 'default', '"),
        ({"tqdm_barcolor": "red"}, "tqdm_barcolor=red: expected a valid dict"),
        ({"device": "nope"}, "device=nope: expected one that this .*cpu"),
        ({"device": "meta"}, "device=meta: expected one that"),
        ({"device": "cpu:1"}, "device=cpu:1: expected one that"),
        ({"device": "cuda:99"}, "device=cuda:99: expected one that"),
        ({"distributed_launch": True}, "distributed_launch=True: expected to"),
        (
            {"ckpt_interval_minutes": 1, "ckpt_interval_steps": 1},
            "ckpt_interval_minutes, ckpt_interval_steps: expected one",
        ),
        ({"precision": "fp16"}, "precision=fp16: expected fp32 or bf16 on a C"),
        ({"eval_precision": "fp16"}, "eval_precision=fp16: expected fp32 or"),
        ({"auto_mix_prec": True}, "auto_mix_prec=True: expected fp32 or bf16"),
    ],
)
def test_refused(options, message):
    """In one sentence, wherever they are given."""
    options = {"device": "cpu", **options}
    for given in ((options, None), (None, options)):
        with pytest.raises(InputError, match=f"^{message}"):
            check_run_options(*given, {})


def test_modules():
    """Those that are to be compiled are there."""
    hparams = {"modules": {"model": None}}
    check_run_options({"compile_module_keys": ["model"]}, hparams, {})
    with pytest.raises(InputError, match="^compile_module_keys=x: .* model.$"):
        check_run_options({"compile_module_keys": ["model", "x"]}, hparams, {})


def test_no_gpu(monkeypatch):
    """One is not asked for where there is none."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="^device=cuda: expected one that"):
        check_run_options({"device": "cuda"}, {}, {})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_run_options({"device": "cuda"}, {}, {})
    options = {"device": "cuda:1", "precision": "fp16"}
    assert check_run_options(options, {}, {}) == torch.device("cuda:1")
    with pytest.raises(InputError, match="^device=cuda:2: .*cpu, cuda"):
        check_run_options({"device": "cuda:2"}, {}, {})


def test_device(monkeypatch):
    """That which SpeechBrain will take."""
    infer = "speechbrain_cwrnn.run_options.infer_device"
    monkeypatch.setattr(infer, lambda: "xpu:1")
    assert check_run_options({}, {}, {}) == torch.device("xpu:1")
    assert check_run_options({"device": "cpu"}, {}, {}).type == "cpu"


def test_first_the_reason():
    """Of those that are of no use, no value is right."""
    refused = {"compile_mode": "it is of no use"}
    with pytest.raises(InputError, match="^compile_mode=best: .*of no use"):
        check_run_options({"compile_mode": "best"}, {}, refused)
    check_run_options({"compile_mode": "default"}, {}, refused)
    line = ["train.yaml", "--compile_mode", "default"]
    check_run_options(sb.parse_arguments(line)[1], {}, refused)


def test_torchrun(monkeypatch):
    """It starts processes without an option."""
    refused = {"distributed_launch": "there is one process"}
    check_run_options({}, {}, refused)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    check_run_options({"distributed_launch": True}, {}, {})
    with pytest.raises(InputError, match="^distributed_launch=True: .*one pro"):
        check_run_options({}, {}, refused)
