"""SpeechBrain's run options: which were given, and whether they can be so.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
from dataclasses import fields
from typing import Annotated

import torch
from pydantic import Field, create_model
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.schema import Checked, Count, Natural, check_options

Types = create_model(
    "Types",
    __base__=Checked,
    **{f.name: (f.type, RunOptions()[f.name]) for f in fields(RunOptions)},
)


class Checks(Types):
    """What run options must be."""

    # The types are SpeechBrain's own; what has a range as well is given here.
    debug_batches: Count = 2
    nonfinite_patience: Natural = 3
    grad_accumulation_factor: Count = 1
    optimizer_step_limit: Annotated[
        int | None, Field(gt=0, description="a positive integer")
    ] = None
    profile_warmup: Natural = 5
    profile_steps: Count = 5


def given_options(run_opts, hparams):
    """The run options that were given, by their names.

    Arguments
    ---------
    run_opts : dict or speechbrain.utils.run_opts.RunOptions
        Those of the command line, or None.
    hparams : dict
        What the YAML file has, among others run options, or None.

    Returns
    -------
    dict
        Their values; those of the command line come first, as in SpeechBrain.

    Example
    -------
    >>> given_options({"debug": True}, {"lr": 1, "debug": False})
    {'debug': True}
    """
    if isinstance(run_opts, dict):
        run_opts = RunOptions.from_dictionary(run_opts)
    given = dict(hparams or {})
    if run_opts is not None:
        given.update({key: run_opts[key] for key in run_opts.overridden_args})
    names = [field.name for field in fields(RunOptions)]
    return {name: given[name] for name in names if name in given}


def check_run_options(run_opts, hparams, refused):
    """Raise an error for run options that cannot be honoured.

    Arguments
    ---------
    run_opts : dict or speechbrain.utils.run_opts.RunOptions
        Those of the command line, or None.
    hparams : dict
        What the YAML file has, among others run options, or None.
    refused : dict
        For each option that must have its default, why.

    Returns
    -------
    torch.device
        That of the run.

    Example
    -------
    >>> check_run_options({"jit": True}, {}, {"jit": "it is of no use"})
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: jit=True: expected False (it is of no \
use).
    """
    given = given_options(run_opts, hparams)
    # As SpeechBrain finds out whether torchrun has started it.
    by_torchrun = {"RANK", "LOCAL_RANK"} <= os.environ.keys()
    if by_torchrun:
        given["distributed_launch"] = True
    for name, value in given.items():
        default = RunOptions()[name]
        if name in refused and value != default:
            raise InputError(
                f"{name}={value}: expected {default} ({refused[name]})."
            )
    check_options(Checks, given)
    if given.get("distributed_launch") and not by_torchrun:
        raise InputError(
            "distributed_launch=True: expected to be started by torchrun."
        )
    patience = given.get("nonfinite_patience", Checks().nonfinite_patience)
    is_asked_for = patience != Checks().nonfinite_patience
    if is_asked_for and not given.get("skip_nonfinite_grads"):
        raise InputError(
            f"nonfinite_patience={patience}: expected with "
            f"--skip_nonfinite_grads only (without, no bad batch is skipped)."
        )
    device = given.get("device")
    if device is None:
        device = infer_device()
    else:
        check_device(device)
    half = [f"{n}=fp16" for n in PRECISIONS if given.get(n) == "fp16"]
    if given.get("auto_mix_prec"):
        half.append("auto_mix_prec=True")
    if half and torch.device(device).type == "cpu":
        raise InputError(
            f"{half[0]}: expected fp32 or bf16 on a CPU (SpeechBrain has "
            f"no fp16 there)."
        )
    intervals = ("ckpt_interval_minutes", "ckpt_interval_steps")
    if all(given.get(name, 0) > 0 for name in intervals):
        raise InputError(f"{', '.join(intervals)}: expected one of them.")
    modules = (hparams or {}).get("modules", {})
    for name in given.get("compile_module_keys") or []:
        if name not in modules:
            raise InputError(
                f"compile_module_keys={name}: expected "
                f"{' or '.join(modules) or 'none'}."
            )
    return torch.device(device)


PRECISIONS = ("precision", "eval_precision")


def check_device(name):
    """Raise an error where this machine has no such device."""
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    try:
        device = torch.device(name)
        found = (device.index or 0) < available.get(device.type, 0)
    except RuntimeError:
        found = False
    if not found:
        names = [n for n, number in available.items() if number]
        raise InputError(
            f"device={name}: expected one that this machine has "
            f"({', '.join(names)})."
        )
