"""What several tests need: random layers, and comparing all their tensors.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
import importlib
import logging
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from speechbrain_cwrnn.backend import ENGINES
from speechbrain_cwrnn.sweep import Group

RECIPES = Path(__file__).parent.parent / "recipes"

# Those that run on any machine and in float64; the GPU's has tests of its own.
CPU_ENGINES = [engine for engine in ENGINES if engine != "triton"]


def random_layer(
    group_sizes, B, T, F, bias=True, h0=True, dtype=torch.float64, columns=1
):
    """Arguments of `clockwork_rnn` for one layer, as leaves with gradients; or,
    with two columns, of `clockwork_ligru`.

    The weights are contractive, so that errors do not grow over time.
    """
    H = sum(group_sizes)

    def leaf(*shape, scale=1.0):
        value = scale * torch.randn(*shape, dtype=torch.float64)
        return value.to(dtype).requires_grad_()

    return {
        "x": leaf(B, T, F),
        "weight_ih": leaf(columns * H, F, scale=0.5),
        "weight_hh": [
            leaf(columns * k, sum(group_sizes[i:]), scale=0.7 / H**0.5)
            for i, k in enumerate(group_sizes)
        ],
        "bias": leaf(columns * H, scale=0.5) if bias else None,
        "h0": leaf(B, H) if h0 else None,
    }


def cast(layer, dtype, device="cpu"):
    """The same layer in another dtype, with leaves of its own."""

    def leaf(value):
        return value.detach().to(device, dtype).requires_grad_()

    return {
        name: [leaf(w) for w in value]
        if isinstance(value, list)
        else None
        if value is None
        else leaf(value)
        for name, value in layer.items()
    }


def all_tensors(function, layer, **options):
    """Outputs and gradients, by name, under fixed random cotangents."""
    output, hn = function(**layer, **options)
    generator = torch.Generator().manual_seed(0)
    cotangents = [
        torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
        for y in (output, hn)
    ]
    leaves = {name: value for name, value in layer.items() if value is not None}
    for i, weight in enumerate(leaves.pop("weight_hh")):
        leaves[f"weight_hh_g{i}"] = weight
    gradients = torch.autograd.grad(
        [output, hn], list(leaves.values()), cotangents
    )
    named = {f"d{name}": g for name, g in zip(leaves, gradients)}
    return {"output": output.detach(), "hn": hn.detach(), **named}


def assert_equal(actual, expected, rtol=1e-11):
    """The same tensors up to the rounding of float64."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape, name
        if value.numel():
            error = (actual[name] - value).abs().max().item()
            scale = max(1.0, value.abs().max().item())
            assert error <= rtol * scale, f"{name} is off by {error}"


def assert_as_exact(actual, plain, exact):
    """Errors at most twice those of plain PyTorch in the same dtype.

    `exact` is float64. Errors are root mean squares over a tensor, plus the
    rounding of a single number, which nothing can be expected to beat.
    """
    for name, value in exact.items():
        if value.numel():
            floor = value.abs().max() * torch.finfo(plain[name].dtype).eps
            error, allowed = (
                (tensors[name].double() - value).square().mean().sqrt()
                for tensors in (actual, plain)
            )
            assert error <= 2 * allowed + floor, (
                f"{name}: error {error:.2e}, plain PyTorch's {allowed:.2e}"
            )


def random_group(R=2, B=2, N=9, k=3, columns=1):
    """z, weight and h0 of a group, not contiguous."""
    shapes = [(R, B, N, columns * k), (R, columns * k, k), (R, B, k)]
    return [
        (0.5 * torch.randn(*shape, dtype=torch.float64).mT).contiguous().mT
        for shape in shapes
    ]


def plain(z, weight, h0, cell, mask=1):
    """The recurrence of a group as its equation, for z [R, B, N, C k]."""
    f = getattr(torch.nn.functional, cell.nonlinearity)
    states = []
    for z_n in z.unbind(2):
        a = z_n + h0 @ weight.mT
        if cell.gated:
            c, u = a.chunk(2, -1)
            u = u.sigmoid()
            h0 = u * h0 + (1 - u) * mask * f(c)
        else:
            h0 = f(a)
        states.append(h0)
    return torch.stack(states, 2)


def run_plain(z, weight, h0, cell, dh, mask=1):
    """States and gradients by automatic differentiation, by name."""
    z, h0 = (x.detach().requires_grad_() for x in (z, h0))
    h = plain(z, weight, h0, cell, mask)
    dz, dh0 = torch.autograd.grad(h, (z, h0), dh)
    return {"h": h.detach(), "dz": dz, "dh0": dh0}


def run_engine(engine, z, weight, h0, cell, dh, mask=None):
    """The same from an engine for one group."""
    # Its z is a part of what all groups see; the rest is not its business.
    size = z[0].numel()
    inputs = z.new_full((len(z), size + 16), torch.nan)
    z = inputs[:, :size].view(z.shape).copy_(z)
    first = h0.unsqueeze(2)
    state = torch.cat([first, torch.full_like(dh, torch.nan)], dim=2)
    dstate = torch.cat([torch.zeros_like(first), dh], dim=2)
    dz = torch.full_like(torch.cat([z, z[:, :, :1]], dim=2), torch.nan)
    group = Group(state, weight, mask, cell)
    engine.forward(group, z)
    assert torch.equal(state[:, :, 0], h0)
    engine.backward(group, z, dstate, dz)
    assert (dz[:, :, 0] == 0).all()
    assert inputs[:, size:].isnan().all()
    return {"h": state[:, :, 1:], "dz": dz[:, :, 1:], "dh0": dstate[:, :, 0]}


@contextmanager
def recipe_modules(folder, *names):
    """Modules of a recipe, as its own folder sees them, and none later on."""
    handlers = logging.getLogger().handlers
    before, known = handlers[:], set(sys.modules)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(RECIPES / folder))
        modules = {name: importlib.import_module(name) for name in names}
        yield SimpleNamespace(**modules)
    # SpeechBrain logs to what was the screen in the first experiment.
    handlers[:] = before
    for name in set(sys.modules) - known:
        path = getattr(sys.modules[name], "__file__", None)
        if path and Path(path).is_relative_to(RECIPES):
            del sys.modules[name]


def run_recipe(modules, hparams, *options):
    """Run train.py as from the command line."""
    from speechbrain_cwrnn.program import parse_arguments

    arguments = [str(hparams), "--noprogressbar"]
    arguments += [str(option) for option in options]
    modules.train.main(*parse_arguments(arguments))


def work_here(monkeypatch):
    """Have studies train in this process."""
    from speechbrain_cwrnn import study

    @contextmanager
    def pool(*args, **options):
        yield SimpleNamespace(map=map)

    monkeypatch.setattr(study, "ProcessPoolExecutor", pool)


def read_csv(path):
    """The rows of a CSV file."""
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@contextmanager
def killed_at(owner, name, call):
    """Lets what is done end in a certain call of a function, from 0."""

    class Killed(BaseException):
        """In the place of a signal."""

    function, calls = getattr(owner, name), []

    def dying(*args, **kwargs):
        calls.append(name)
        if len(calls) > call:
            raise Killed
        return function(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, dying)
        yield
