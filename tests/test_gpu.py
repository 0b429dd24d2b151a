"""The engine for the GPU.

Its kernels run here on a GPU, where there is one, and in triton's interpreter
on the CPU. The interpreter says nothing about precision, registers or memory,
and is wrong for bfloat16; so the kernels are also compiled, for GPUs that need
not be there, and the machine code is looked at.
"""

import importlib
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import (
    all_tensors,
    assert_as_exact,
    cast,
    random_layer,
    run_engine,
    run_plain,
)

from speechbrain_cwrnn import (
    ClockworkRNN,
    clockwork_rnn,
    functional,
    reference,
)
from speechbrain_cwrnn.backend import choose_name
from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.sweep import Group, gpu

triton = pytest.importorskip("triton", minversion="3.5")
ASTSource = importlib.import_module("triton.compiler").ASTSource
GPUTarget = importlib.import_module("triton.backends.compiler").GPUTarget

PACKAGE = "speechbrain_cwrnn.sweep"
KERNELS = ("gpu_vectors", "gpu_matrices")
PLAIN, GATED = Cell(), Cell(gated=True)
both_cells = pytest.mark.parametrize("cell", [PLAIN, GATED])
H100 = gpu.Chip(multiprocessors=132, memory=227 * 1024)
SMALL = gpu.Chip(multiprocessors=28, memory=99 * 1024)


def load_kernels(monkeypatch, interpret):
    """The kernels, anew: triton decides once whether it interprets them."""
    monkeypatch.setenv("TRITON_INTERPRET", str(int(interpret)))
    modules = {}
    for name in ("gpu_cells", *KERNELS):
        spec = importlib.util.find_spec(f"{PACKAGE}.{name}")
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
        monkeypatch.setitem(sys.modules, spec.name, modules[name])
    if interpret:
        # Triton has decided for its own functions long ago.
        language = importlib.import_module("triton.language")
        monkeypatch.setattr(
            language,
            "sum",
            lambda x, axis: language.reduce(
                x, axis, language.standard._sum_combine
            ),
        )
    return modules


@pytest.fixture(
    params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)]
)
def device(request, monkeypatch):
    """Where the engine runs."""
    interpret = request.param == "interpreter"
    if not interpret and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    load_kernels(monkeypatch, interpret)
    return "cpu" if interpret else "cuda"


@pytest.fixture(params=KERNELS)
def kernels(request, monkeypatch):
    """Those which run groups of any number of sequences."""
    many = -1 if request.param == "gpu_matrices" else math.inf
    monkeypatch.setattr(gpu, "MANY", many)
    gpu.make_plan.cache_clear()
    yield request.param
    gpu.make_plan.cache_clear()


# float32 is for vectors alone.
kernels_and_dtypes = pytest.mark.parametrize(
    "kernels, dtype",
    [
        ("gpu_vectors", torch.float16),
        ("gpu_vectors", torch.float32),
        ("gpu_matrices", torch.float16),
    ],
    indirect=["kernels"],
)


@pytest.fixture
def cuda(monkeypatch):
    """The kernels as compiled for the GPU of this machine."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return load_kernels(monkeypatch, interpret=False)


def random_group(R, B, N, k, dtype=torch.float32, device="cpu", cell=PLAIN):
    """z, weight and h0 of a group, with contractive weights.

    But for tanh, no z + weight @ h of what f is taken of is close to zero,
    where a rounding error would change the gradient by as much as itself.
    """
    rows = cell.columns * k
    z = torch.randn(R, B, N, rows)
    weight = torch.randn(R, rows, k) / math.sqrt(k)
    if cell.nonlinearity != "tanh":
        z = z.sign() * (1 + z.abs().clamp(max=1))
        weight = 0.3 * weight / weight.abs().sum(-1, keepdim=True)
    h0 = torch.rand(R, B, k)
    return [x.to(device, dtype) for x in (0.7 * z, weight, h0)]


def random_mask(h0):
    """That of a dropout, for each sequence."""
    return torch.randint_like(h0, 2) / 0.75


def run_forward(z, weight, h0, cell, mask=None):
    """What a single tick leaves in the state [B, k] and in z [B, C k], from z
    [B, C k]."""
    z = z[None, :, None].clone()
    state = torch.stack([h0, torch.full_like(h0, torch.nan)], dim=1)[None]
    gpu.forward(Group(state, weight[None], mask, cell), z)
    return state[0, :, 1], z[0, :, 0]


def assert_right(shapes, k, dtype, device, cell=PLAIN, masked=False):
    """As exact as the plain loop in the same dtype, forward and backward.

    Over all shapes together: a single number may be exact by chance.
    """
    results = []
    for R, B, N in shapes:
        args = random_group(R, B, N, k, dtype, device, cell)
        doubles = [x.double() for x in args]
        dh = torch.randn_like(args[0][..., :k])
        masks = (random_mask(args[2]),) if masked else ()
        results.append(
            [
                run_engine(gpu, *args, cell, dh, *masks),
                run_plain(*args, cell, dh, *masks),
                run_plain(
                    *doubles, cell, dh.double(), *(m.double() for m in masks)
                ),
            ]
        )
    actual, same_dtype, exact = (
        {name: torch.cat([x[name].flatten() for x in all]) for name in all[0]}
        for all in zip(*results)
    )
    assert_as_exact(actual, same_dtype, exact)


@pytest.mark.parametrize(
    "cell, masked, k",
    [
        *((PLAIN, False, k) for k in (1, 7, 16, 64, 100)),
        *((Cell("relu"), False, k) for k in (7, 64)),
        (Cell("leaky_relu"), False, 7),
        *((GATED, False, k) for k in (1, 100)),
        *((GATED, True, k) for k in (7, 16)),
        (Cell("relu", gated=True), False, 7),
        (Cell("leaky_relu", gated=True), True, 7),
    ],
)
@kernels_and_dtypes
def test_equals_plain_loop(device, kernels, dtype, cell, masked, k):
    """Lengths, batches and replicas that fill no block, or just one."""
    shapes = [(1, 1, 1), (3, 2, 3), (1, 2, 9)]
    if kernels == "gpu_matrices":
        shapes += [(3, 17, 1), (1, 17, 2), (3, 5, 2), (1, 9, 17)]
    assert_right(shapes, k, dtype, device, cell, masked)


@both_cells
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("R", [3, 1])
def test_launch(monkeypatch, cell, R, dtype):
    """By a plan that is given, or else that of the table; the replicas of z
    have a pitch of their own, but for a single one."""
    launched = []

    class Kernel:
        def __init__(self, module):
            self.module = module

        def __getitem__(self, grid):
            return lambda *args, **how: launched.append(
                (self.module, grid, args, how)
            )

    for name in KERNELS:
        module = SimpleNamespace(
            forward_kernel=Kernel(name), backward_kernel=Kernel(name)
        )
        monkeypatch.setitem(sys.modules, f"{PACKAGE}.{name}", module)
    columns = 7 * cell.columns
    z = torch.randn(R, 99 * columns, dtype=dtype)[:, : 20 * columns]
    z = z.view(R, 20, 1, columns)
    state, weight = torch.randn(R, 20, 2, 7), torch.randn(R, columns, 7)
    group = Group(state.to(dtype), weight.to(dtype), None, cell)
    chip = gpu.find_chip(z.device)
    table = gpu.make_plan(chip, dtype, 7, R, 20, cell)
    given = table._replace(options={**table.options, "num_warps": 3})
    for plan in (None, given):
        gpu.launch("forward_kernel", group, (z,), plan)
    first, second = launched
    pitch = 99 * columns if R > 1 else 0
    for (module, grid, args, how), plan in ((first, table), (second, given)):
        assert (module, grid, how) == (plan.kernels, plan.grid, plan.options)
        assert args[-3 - len(plan.sizes) :] == (1, 20, pitch, *plan.sizes)
        assert how["GATED"] is cell.gated
        # Transposed, and in single precision, where threads multiply them.
        assert args[2].is_contiguous() and torch.equal(args[2], group.weight)
    launched.clear()
    gpu.backward(group, z, state, z)
    ((_, _, args, _),) = launched
    # A pointer that is not read would only be another reason to compile.
    assert args[1] is (z if cell.gated else None)
    transposed = group.weight.unflatten(1, (-1, 7)).mT.float()
    assert args[4].is_contiguous() and torch.equal(args[4], transposed)


@both_cells
def test_no_sequences(monkeypatch, cell):
    """Nothing is launched."""
    for name in KERNELS:
        monkeypatch.setitem(sys.modules, f"{PACKAGE}.{name}", None)
    z, weight, h0 = random_group(3, 0, 2, 7, cell=cell)
    run_engine(gpu, z, weight, h0, cell, z[..., :7])


@both_cells
@kernels_and_dtypes
def test_no_ticks(device, kernels, dtype, cell):
    """A group that does not tick is left as it is."""
    z, weight, h0 = random_group(3, 5, 0, 7, dtype, device, cell)
    state, dstate = h0[:, :, None].clone(), torch.randn_like(h0)[:, :, None]
    before = dstate.clone()
    dz = h0.new_full((3, 5, 1, 7 * cell.columns), torch.nan)
    group = Group(state, weight, None, cell)
    gpu.forward(group, z)
    gpu.backward(group, z, dstate, dz)
    assert torch.equal(state[:, :, 0], h0)
    assert torch.equal(dstate, before)
    assert (dz == 0).all()


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 7, 16, 64, 100, 128, 200, 256, 384])
@pytest.mark.parametrize("cell", [PLAIN, Cell("relu"), GATED])
def test_bfloat16(cuda, kernels, cell, k):
    """The dtype that the interpreter gets wrong."""
    chip = gpu.find_chip(torch.device("cuda"))
    plan = gpu.make_plan(chip, torch.bfloat16, k, 3, 17, cell)
    if plan.kernels != kernels:
        pytest.skip("needs more memory on the chip")
    shapes = [(3, 17, 1), (1, 5, 33), (80, 17, 33)]
    assert_right(shapes, k, torch.bfloat16, "cuda", cell, masked=cell.gated)


@pytest.mark.parametrize("cell, k", [(PLAIN, 129), (PLAIN, 256), (GATED, 128)])
@pytest.mark.parametrize("kernels", ["gpu_matrices"], indirect=True)
def test_large_matrices(device, kernels, cell, k):
    """Where there is room for the weights, and less of it for sequences."""
    chip = gpu.find_chip(torch.device(device))
    plan = gpu.make_plan(chip, torch.float16, k, 99, 99, cell)
    if plan.kernels != kernels:
        pytest.skip("needs more memory on the chip")
    assert plan.options["BB"] == 8
    assert_right([(2, 9, 7)], k, torch.float16, device, cell)


@both_cells
@pytest.mark.parametrize("kernels", ["gpu_matrices"], indirect=True)
def test_large_blocks(device, kernels, cell):
    """With many sequences, blocks are larger; here some are half empty."""
    plan = gpu.make_plan(H100, torch.float16, 7, 66, 9, cell)
    assert plan.options["BB"] == 16
    assert_right([(66, 9, 2)], 7, torch.float16, device, cell)


@pytest.mark.parametrize("k", [129, 300])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@both_cells
def test_large_groups(device, cell, dtype, k):
    """Shared between multiprocessors, where there are several."""
    shapes = [(1, 1, 1), (2, 9, 3)]
    assert_right(shapes, k, dtype, device, cell, masked=cell.gated)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [384, 1000])
@both_cells
def test_more_than_at_once(cuda, cell, k):
    """Programs that share a group take one block after the other."""
    chip = gpu.find_chip(torch.device("cuda"))
    R, B = 3, 1 + 4 * chip.multiprocessors
    plan = gpu.make_plan(chip, torch.float32, k, R, B, cell)
    blocks, jobs = plan.sizes
    assert jobs == R * blocks > 2 * plan.grid[0]
    assert_right([(R, B, 3)], k, torch.float32, "cuda", cell)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("multiprocessors, block", [(3, 4), (8, 4), (12, 2)])
@both_cells
def test_parts(monkeypatch, cell, multiprocessors, block, dtype):
    """Programs that share a group, interpreted one after the other: they find
    all that they wait for once they have run as often as there are ticks."""
    modules = load_kernels(monkeypatch, interpret=True)
    monkeypatch.setattr(modules["gpu_vectors"], "_meet", lambda *args: None)
    chip = gpu.Chip(multiprocessors, gpu.LARGE_MEMORY)
    monkeypatch.setattr(gpu, "find_chip", lambda device: chip)
    R, B, N, k = 2, 3, 2, 130
    plan = gpu.make_plan(chip, dtype, k, R, B, cell)
    assert plan.options["PARTS"] == plan.grid[1] == 3
    assert plan.options["BB"] == block and plan.sizes[1] >= plan.grid[0]
    assert plan.grid[0] == multiprocessors // 3

    class Repeated:
        """The engine, run again and again, from where it began."""

        def forward(self, group, z):
            before = z.clone()
            for _ in range(N):
                gpu.forward(group, z.copy_(before))

        def backward(self, group, z, dstate, dz):
            before = dstate.clone()
            for _ in range(N + 1):
                gpu.backward(group, z, dstate.copy_(before), dz)

    z, weight, h0 = random_group(R, B, N, k, dtype, cell=cell)
    dh, mask = torch.randn_like(z[..., :k]), random_mask(h0)
    args = z, weight, h0, cell, dh, mask if cell.gated else None
    doubles = [x.double() if isinstance(x, torch.Tensor) else x for x in args]
    actual, plain, exact = (
        run_engine(Repeated(), *args),
        run_plain(*args),
        run_plain(*doubles),
    )
    assert_as_exact(actual, plain, exact)


@both_cells
@kernels_and_dtypes
def test_first_gradient(device, kernels, dtype, cell):
    """What is known of that of the initial state is added to."""
    z, weight, h0 = random_group(2, 3, 4, 5, dtype, device, cell)
    state = torch.rand_like(z[:, :, :1, :5]).repeat(1, 1, 5, 1)
    group = Group(state, weight, None, cell)
    dz = torch.cat([z[:, :, :1], z], dim=2)
    dstate = torch.randn_like(state)
    expected = dstate.clone()
    expected[:, :, 0] = 0
    gpu.backward(group, z, expected, dz)
    expected[:, :, 0] += dstate[:, :, 0]
    gpu.backward(group, z, dstate, dz)
    limit = 4 * torch.finfo(dtype).eps * expected.abs().max()
    assert (dstate - expected)[:, :, 0].abs().max() < limit


@pytest.mark.parametrize("cell", [PLAIN, Cell("relu"), GATED])
@kernels_and_dtypes
def test_part_of_a_matrix(device, kernels, dtype, cell):
    """Weights and masks need not be contiguous; and the same each time."""
    z, weight, h0 = random_group(2, 3, 5, 4, dtype, device, cell)
    dh = torch.randn_like(z[..., :4])
    mask = random_mask(h0) if cell.gated else None
    rows = weight.shape[1]
    part = weight.new_zeros(2, 9, 9)[:, :rows, 2:6]
    part.copy_(weight)
    expected = run_engine(gpu, z, weight, h0, cell, dh, mask)
    if cell.gated:
        mask = torch.cat([mask, mask], dim=2)[..., :4]
    actual = run_engine(gpu, z, part, h0, cell, dh, mask)
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def test_tanh(device):
    """Every digit of it, small and large."""
    z = torch.cat([torch.logspace(-30, 2, 500), torch.linspace(0.4, 0.6, 500)])
    z = torch.cat([z, -z]).to(device).view(20, 100)
    zero = torch.zeros(100, 100, device=device)
    h, _ = run_forward(z, zero, torch.zeros_like(z), PLAIN)
    assert (h / z.double().tanh() - 1).abs().max() < 4e-7


def test_sigmoid(device):
    """Every digit of it that its argument has."""
    z = torch.linspace(-80, 80, 999).view(9, 111).to(device)
    zero = torch.zeros(222, 111, device=device)
    _, left = run_forward(
        torch.cat([z, z], dim=1), zero, torch.zeros_like(z), GATED
    )
    error = (left[:, 111:] / z.double().sigmoid() - 1).abs()
    assert (error < 1e-7 * (2 + z.abs())).all()


@kernels_and_dtypes
def test_slope(device, kernels, dtype):
    """Every digit of it too, close to saturation."""
    h = torch.linspace(0.9, 1, 500).view(5, 100).to(device, dtype)
    state = torch.stack([torch.zeros_like(h), h], dim=1)[None]
    dstate, dz = torch.ones_like(state), torch.empty_like(state)
    weight = torch.zeros(1, 100, 100, dtype=dtype, device=device)
    gpu.backward(Group(state, weight, None, PLAIN), None, dstate, dz)
    exact = 1 - h.double().square()
    dz = dz[0, :, 1].double()
    assert torch.allclose(dz, exact, torch.finfo(dtype).eps, 1e-7)


@kernels_and_dtypes
def test_extreme_values(device, kernels, dtype):
    """Large z saturates exactly; NaN and infinity go their way."""
    z = [1e4, -1e4, torch.inf, -torch.inf, torch.nan, 0]
    z = torch.tensor(z, dtype=dtype, device=device)[:, None]
    weight = torch.ones(1, 1, dtype=dtype, device=device)

    def run(nonlinearity):
        h, _ = run_forward(z, weight, torch.zeros_like(z), Cell(nonlinearity))
        return h[:, 0]

    h = run("tanh")
    assert h[:4].tolist() == [1, -1, 1, -1]
    assert h[4].isnan() and h[5] == 0
    for name in ("relu", "leaky_relu"):
        h = run(name)
        exact = getattr(torch.nn.functional, name)(z[:, 0].double()).to(dtype)
        assert h[:4].tolist() == exact[:4].tolist()
        assert h[4].isnan() and h[5] == 0


@kernels_and_dtypes
def test_extreme_gates(device, kernels, dtype):
    """Closed and open ones pass exactly one of both; a NaN passes none."""
    gates = torch.tensor([1e4, -1e4, torch.inf, -torch.inf, torch.nan])
    z = torch.cartesian_prod(gates, torch.linspace(-2, 2, 9)).flip(1)
    z = z.to(device, dtype)
    weight = torch.zeros(2, 1, dtype=dtype, device=device)
    h0 = torch.full_like(z[:, :1], 0.3)
    h, left = run_forward(z, weight, h0, GATED)
    c, u = left.unflatten(0, (5, 9)).unbind(2)
    h, h0 = h.view(5, 9), h0.view(5, 9)
    for gate, expected in enumerate([h0, c, h0, c]):
        assert (u[gate] == 1 - gate % 2).all()
        assert torch.equal(h[gate], expected[gate])
    assert u[4].isnan().all() and h[4].isnan().all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_infinity_stays_infinity(device):
    """The padding of a group makes no NaN of it, forward or backward."""
    z, weight, h0 = (x.abs() for x in random_group(1, 2, 3, 3))
    z[0, 0, 0, 1] = torch.inf
    z, weight, h0 = (x.to(device) for x in (z, weight, h0))
    zeros = torch.zeros_like(z)
    h = run_engine(gpu, z, weight, h0, Cell("relu"), zeros)["h"]
    dz = run_engine(gpu, zeros, weight, 0 * h0, PLAIN, z.flip(2))["dz"]
    for result in (h, dz.flip(2)):
        assert (result[0, 0, 1:] == torch.inf).all()
        assert result[0, 1].isfinite().all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("masked", [False, True])
def test_infinity_through_gates(device, masked):
    """Nor that of a gated cell, where the gradient is infinite."""
    z, h0 = torch.zeros(1, 2, 3, 6), torch.ones(1, 2, 3)
    # The states stay above the candidates.
    weight = torch.full((1, 6, 3), 0.01)
    dh = torch.rand(1, 2, 3, 3)
    dh[0, 0, 2, 1] = torch.inf
    args = [x.to(device) for x in (z, weight, h0)]
    mask = args[2] if masked else None
    result = run_engine(gpu, *args, GATED, dh.to(device), mask)
    assert (result["dz"][0, 0, :2] == torch.inf).all()
    assert (result["dh0"][0, 0] == torch.inf).all()
    assert result["dz"][0, 1].isfinite().all()


@pytest.mark.parametrize("clock", [0, torch.tensor([0, 3, 5])])
@pytest.mark.parametrize(
    "cell, periods",
    [(PLAIN, (1, 2, 4)), (PLAIN, (1, 2, 3)), (GATED, (1, 2, 3))],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_layer(device, dtype, cell, periods, clock):
    """As exact as plain PyTorch in the same dtype, and the same each time."""
    name = "clockwork_ligru" if cell.gated else "clockwork_rnn"
    function = getattr(functional, name)
    equations = getattr(reference, name)
    layer = random_layer([6, 2, 7], B=3, T=13, F=5, columns=cell.columns)
    layer = cast(layer, dtype)
    options = {"periods": periods, "clock": clock}
    exact = all_tensors(equations, cast(layer, torch.float64), **options)
    plain = all_tensors(equations, layer, **options)
    if isinstance(clock, torch.Tensor):
        options["clock"] = clock.to(device)
    layer = cast(layer, dtype, device)
    actual, again = (
        all_tensors(function, layer, **options, backend="triton")
        for _ in range(2)
    )
    for name, value in actual.items():
        assert torch.equal(value, again[name]), name
    actual = {name: value.cpu() for name, value in actual.items()}
    assert_as_exact(actual, plain, exact)


def test_vmap(device):
    """Its dimension is one of replicas."""
    layers = [
        cast(random_layer([6, 3], B=2, T=9, F=2), torch.float32, device)
        for _ in range(3)
    ]
    names = ("x", "weight_ih", "bias", "h0")
    stacked = {n: torch.stack([x[n] for x in layers]) for n in names}
    rows = zip(*(layer["weight_hh"] for layer in layers))
    stacked["weight_hh"] = [torch.stack(row) for row in rows]

    def run(layer):
        options = {"periods": (1, 3), "backend": "triton"}
        return clockwork_rnn(**layer, **options)[0]

    expected = torch.stack([run(layer) for layer in layers])
    assert (torch.vmap(run)(stacked) - expected).abs().max() < 1e-6


@pytest.mark.parametrize("backend", ["auto", "triton"])
def test_compile(device, backend):
    """A layer in one graph, the choice of the engine included."""
    layer = ClockworkRNN(
        21, input_size=3, periods=(1, 2, 3), backend=backend
    ).to(device)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 9, 3, device=device, requires_grad=True)
    wrt = [x, *layer.parameters()]
    expected, actual = layer(x)[0], compiled(x)[0]
    dh = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected)
    for a, e in zip(
        torch.autograd.grad(actual, wrt, dh),
        torch.autograd.grad(expected, wrt, dh),
    ):
        torch.testing.assert_close(a, e)


def test_autocast(device):
    """States in half precision, gradients as the parameters."""
    layer = ClockworkRNN(
        21, input_size=3, periods=(1, 2, 4), backend="triton"
    ).to(device)
    x = torch.randn(2, 9, 3, device=device)
    expected, _ = layer(x)
    with torch.autocast(device, torch.float16):
        output, _ = layer(x)
    assert output.dtype == torch.float16
    assert (output - expected).abs().max() < 1e-2
    output.float().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == torch.float32, name
        assert parameter.grad.isfinite().all(), name


def test_choice(monkeypatch):
    """On the CPU it runs only where it is asked for."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    x = torch.zeros(2, 1, 3)
    assert choose_name("auto", x, Groups((1,), (99,))) == "stepwise"
    assert choose_name("triton", x, Groups((1,), (99,))) == "triton"


@pytest.mark.gpu
def test_choice_on_gpu(cuda):
    """It is chosen for what it supports."""
    x = torch.zeros(2, 1, 3, device="cuda")
    assert choose_name("auto", x, Groups((1, 2), (5, 129))) == "triton"
    assert choose_name("auto", x, Groups((1, 2), (5, 2**15))) == "eager"
    assert choose_name("auto", x.double(), Groups((1,), (5,))) == "eager"
    gated = Groups((1, 2), (5, 129), cell=GATED)
    assert choose_name("auto", x.half(), gated) == "triton"
    many = torch.zeros(2000, 1, 3, device="cuda")
    assert choose_name("auto", many, Groups((1, 2), (5, 128))) == "triton"
    assert choose_name("auto", many, gated) == "eager"
    assert choose_name("triton", many, gated) == "triton"


@pytest.mark.parametrize(
    "cell, small, large", [(PLAIN, 896, 2048), (GATED, 512, 1056)]
)
@pytest.mark.parametrize("major, multiprocessors", [(9, 132), (8, 28), (7, 80)])
def test_supports(monkeypatch, cell, small, large, major, multiprocessors):
    """What fits on an H100 and on small ones; none on older ones."""
    properties = SimpleNamespace(
        major=major, multi_processor_count=multiprocessors
    )
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: properties
    )
    largest = large if multiprocessors > 100 else small
    for k in (1, largest, largest + 1):
        expected = k <= largest and major >= 8
        for dtype in gpu.DTYPES:
            device = torch.device("cuda")
            assert gpu.supports(device, dtype, k, cell) is expected


@both_cells
def test_is_fast(monkeypatch, cell):
    """Few blocks to a team that shares a group; any number of other ones."""
    monkeypatch.setattr(gpu, "find_chip", lambda device: H100)
    rows = 32 if cell.gated else 64
    turns, device = 4 * (132 // (384 // rows)), torch.device("cuda")
    for R, B, expected in (
        (1, 1, True),
        (1, 4 * turns, True),
        (1, 4 * turns + 1, False),
        (turns, 4, True),
        # Each replica has a block of its own.
        (turns + 1, 1, False),
    ):
        case = device, torch.float32, 384, cell, R, B
        assert gpu.is_fast(*case) is expected
    for dtype, k in ((torch.float32, 128), (torch.float16, 64)):
        assert gpu.is_fast(device, dtype, k, cell, 9, 9999)


@pytest.mark.parametrize("cell", [PLAIN, GATED])
@pytest.mark.parametrize("chip", [H100, SMALL])
@pytest.mark.parametrize(
    "R, B", [(1, 1), (1, 16), (1, 64), (100, 1), (100, 20)]
)
def test_plan(chip, cell, R, B):
    """All that share a group run at once; each sequence has its block; tensor
    cores are for many sequences, where the weights fit beside them."""
    for k in (7, 64, 128, 129, 256, 384, 512):
        for dtype in gpu.DTYPES:
            plan = gpu.make_plan(chip, dtype, k, R, B, cell)
            how = plan.options
            assert how["BK"] >= max(16, k) > how["BK"] // 2 or k < 16
            blocks = math.ceil(B / how["BB"])
            if plan.kernels == "gpu_matrices":
                weights = dtype.itemsize * cell.columns * how["BK"] ** 2
                assert dtype != torch.float32 and R * B > 16
                assert weights <= (128 if chip is H100 else 64) * 1024
                assert plan.grid == (R, blocks)
                continue
            teams, parts = plan.grid
            assert plan.sizes == (blocks, R * blocks)
            assert (parts - 1) * how["ROWS"] < k <= parts * how["ROWS"]
            assert (parts > 1) == (k > 128) == ("cooperative" in str(how))
            if parts > 1:
                assert parts * teams <= chip.multiprocessors
                assert how["BB"] < 2 * B
                limit = how["num_warps"] * 32 * 64
                assert cell.columns * how["ROWS"] * how["BK"] <= limit
            else:
                assert teams == R * B and how["BB"] == 1


@pytest.mark.parametrize(
    "dtype, sizes, cell, version, message",
    [
        (torch.float64, [3], PLAIN, (3, 5), "got torch.float64"),
        (torch.float32, [3, 897], PLAIN, (3, 5), " 896 .*, groups of 897"),
        (torch.float16, [3, 513], GATED, (3, 5), " 512 .*, groups of 513"),
        (torch.float32, [3], PLAIN, (), "no triton"),
        (torch.float32, [3], PLAIN, (3, 4), "triton 3.5 .*triton 3.4"),
    ],
)
def test_refused(monkeypatch, dtype, sizes, cell, version, message):
    """What it cannot do is an error where it is forced, and says why."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gpu, "TRITON", version)
    monkeypatch.setattr(gpu, "find_chip", lambda device: SMALL)
    x = torch.zeros(2, 1, 3, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        choose_name("triton", x, Groups((1, 2), sizes, cell=cell))


def test_interpreted_on_a_gpu(monkeypatch):
    """One program after the other, so that none waits for another one."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    chip = gpu.find_chip(torch.device("cuda"))
    for cell in (PLAIN, GATED):
        plan = gpu.make_plan(chip, torch.float32, 384, 1, 16, cell)
        assert plan.grid == (16, 1) and plan.options["ROWS"] == 512


def test_refused_on_cpu(monkeypatch):
    """Nor are there kernels for the CPU, and no limit is made up for it."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="later, and triton .*device 'cpu'"):
        choose_name("triton", torch.zeros(2, 1, 3), Groups((1,), (3,)))


@pytest.mark.gpu
@pytest.mark.parametrize("clock", [0, torch.tensor([0, 3, 5])])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 2, 3)])
@pytest.mark.parametrize("largest", [16, 130])
def test_graph(cuda, clock, periods, largest):
    """A layer can be recorded and replayed with other numbers."""
    layer = random_layer([largest, 7, 4], B=3, T=9, F=4)
    layer = cast(layer, torch.float32, "cuda")
    if isinstance(clock, torch.Tensor):
        clock = clock.cuda()
    weight_hh = layer.pop("weight_hh")
    cotangent = torch.randn(3, 9, largest + 11, device="cuda")

    def run():
        options = {"periods": periods, "clock": clock, "backend": "triton"}
        output, _ = clockwork_rnn(**layer, weight_hh=weight_hh, **options)
        leaves = [*layer.values(), *weight_hh]
        return output, *torch.autograd.grad(output, leaves, cotangent)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = run()
    with torch.no_grad():
        layer["x"].neg_()
    graph.replay()
    for actual, expected in zip(replayed, run()):
        assert torch.equal(actual, expected)


@pytest.mark.gpu
@both_cells
@kernels_and_dtypes
def test_compiled_once(cuda, kernels, dtype, cell):
    """Neither another length nor another batch compiles anything anew (where
    one program runs a group)."""
    for B, N in [(1, 1), (3, 2), (16, 16), (17, 33)]:
        z, weight, h0 = random_group(1, B, N, 16, dtype, "cuda", cell)
        run_engine(gpu, z, weight, h0, cell, z[..., :16])
    for name in ("forward_kernel", "backward_kernel"):
        kernel = getattr(cuda[kernels], name)
        assert len(kernel.device_caches[torch.cuda.current_device()][0]) == 1


@pytest.mark.gpu
def test_far_in_memory(cuda, kernels):
    """Past 2^31 numbers, and in a single replica."""
    R, B, N, k = 2, 257, 65537, 128
    if torch.cuda.mem_get_info()[0] < 9 * R * N * B * k:
        pytest.skip("needs more memory")
    weight = torch.randn(R, k, k, dtype=torch.float16, device="cuda") / 20
    z = torch.randn(R, B, N, k, dtype=weight.dtype, device="cuda")
    state = z.new_zeros(R, B, 1 + N, k)
    group = Group(state, weight, None, PLAIN)
    last = Group(state[-1:, -1:].clone(), weight[-1:], None, PLAIN)
    gpu.forward(group, z)
    gpu.forward(last, z[-1:, -1:].clone())
    assert torch.equal(state[-1:, -1:], last.state)
    del z
    dstate, dz = torch.ones_like(state), torch.empty_like(state)
    dlast = torch.empty_like(last.state)
    gpu.backward(group, None, dstate, dz)
    gpu.backward(last, None, torch.ones_like(dlast), dlast)
    assert torch.equal(dz[-1:, -1:], dlast)


@pytest.mark.gpu
def test_far_apart(cuda):
    """Past 2^31 numbers from one sequence of a block to the next but two."""
    B, N, k = 12, 700_000, 1024
    if torch.cuda.mem_get_info()[0] < 9 * N * B * k:
        pytest.skip("needs more memory")
    weight = torch.randn(1, k, k, dtype=torch.float16, device="cuda") / 60
    z = torch.randn(1, 1, N, k, dtype=weight.dtype, device="cuda")
    z = z.expand(-1, B, -1, -1).contiguous()
    state = z.new_zeros(1, B, 1 + N, k)
    gpu.forward(Group(state, weight, None, PLAIN), z)
    assert (state[:, 1:] == state[:, :1]).all()


@pytest.mark.gpu
@both_cells
def test_other_device(cuda, cell):
    """Kernels run where the tensors are."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    args = random_group(2, 5, 9, 7, device="cuda:1", cell=cell)
    dh = args[0][..., :7]
    actual = run_engine(gpu, *args, cell, dh)
    for name, value in run_plain(*args, cell, dh).items():
        assert actual[name].device == value.device, name
        assert (actual[name] - value).abs().max() < 1e-5, name


both_passes = pytest.mark.parametrize(
    "name", ["forward_kernel", "backward_kernel"]
)


@both_passes
@pytest.mark.parametrize(
    "module, names",
    [
        ("gpu_vectors", {"N", "B", "blocks", "jobs"}),
        ("gpu_matrices", {"N", "B"}),
    ],
)
def test_sizes_are_no_constants(monkeypatch, module, names, name):
    """No number of ticks or sequences, not even 1, is compiled in."""
    kernel = getattr(load_kernels(monkeypatch, interpret=False)[module], name)
    fixed = {p.name for p in kernel.params if p.do_not_specialize}
    assert fixed == names


TORCH = {
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}


TWO = (64, 512)


def list_variants():
    """All that is shipped for groups that need no padding, but for float16,
    which differs in conversions only: for each cell and dtype, all sizes, and
    sequences for the smallest and largest blocks. Two sizes are tried on a
    second architecture, and in 16 bits where products are exact anyway."""
    for cell, dtype, k in itertools.product(
        (PLAIN, GATED), ("bf16", "fp32"), (16, 32, 64, 128, 256, 512, 1024)
    ):
        plans = {}
        for R, B in ((1, 1), (9, 9), (9999, 1), (9999, 16)):
            plan = gpu.make_plan(H100, TORCH[dtype], k, R, B, cell)
            plans[plan.kernels, plan.options["BB"]] = plan
        for (kernels, block), plan in plans.items():
            if kernels == "gpu_vectors" and dtype == "bf16" and k not in TWO:
                continue
            title = f"{kernels}-{k}-{dtype}-{block}{'-gated' * cell.gated}"
            for architecture in (90, 80) if k in TWO else (90,):
                usual = architecture == 90 and k not in (32, 256)
                yield pytest.param(
                    plan,
                    dtype,
                    architecture,
                    id=f"{title}-{architecture}",
                    marks=[] if usual else [pytest.mark.slow],
                )


@both_passes
@pytest.mark.parametrize("plan, dtype, architecture", [*list_variants()])
def test_machine_code(monkeypatch, tmp_path, plan, dtype, architecture, name):
    """Nothing spills, the weights fit, products and loads are the fast ones.

    Other nonlinearities differ from tanh in a line, and are less work; so is
    a gated cell without a mask.
    """
    modules = load_kernels(monkeypatch, interpret=False)
    kernel = getattr(modules[plan.kernels], name)
    machine_code = compile_kernel(kernel, dtype, plan.options, architecture)
    path = tmp_path / "kernel.cubin"
    path.write_bytes(machine_code.asm["cubin"])
    stack, program, loop = disassemble(path)

    # On the older architecture, a register that is set once may be kept there.
    assert stack == 0 or architecture == 80 and stack <= 8
    assert stack or not program & {"LDL", "STL"}
    if plan.kernels == "gpu_vectors":
        # Exact products, of weights that stay in registers.
        assert "FFMA" in loop and "HMMA" not in program
        assert machine_code.metadata.shared <= 48 * 1024
        meets = bool(program & {"RED", "REDG"})
        assert meets is (plan.options["PARTS"] > 1)
        return
    # What there is for a program on the smallest GPUs since these, or on those
    # where larger groups run.
    how = plan.options
    weights = 2 * (1 + how["GATED"]) * how["BK"] ** 2
    limit = 99 * 1024 if weights <= gpu.SMALL_MEMORY else gpu.LARGE_MEMORY
    assert machine_code.metadata.shared <= limit
    assert "HMMA" in loop
    # Loads that write to the chip in the background, and no others.
    assert "LDGSTS" in loop
    assert "LDG" not in loop


@both_passes
def test_stages(monkeypatch, tmp_path, name):
    """With a single stage, nothing is fetched ahead."""
    modules = load_kernels(monkeypatch, interpret=False)
    kernel = getattr(modules["gpu_matrices"], name)
    plan = gpu.make_plan(H100, torch.bfloat16, 64, 9999, 16, PLAIN)
    how = {**plan.options, "STAGES": 1}
    machine_code = compile_kernel(kernel, "bf16", how, 90)
    path = tmp_path / "kernel.cubin"
    path.write_bytes(machine_code.asm["cubin"])
    _, program, _ = disassemble(path)
    assert "LDGSTS" not in program


def compile_kernel(kernel, dtype, how, architecture):
    """What the engine launches, for a GPU that need not be there."""
    constants, launch = {}, {}
    for name, value in how.items():
        (constants if name.isupper() else launch)[name] = value
    if not how["GATED"]:
        constants["mask"] = None
        if kernel.__name__ == "backward_kernel":
            constants["z"] = None
    if how.get("PARTS") == 1:
        constants["arrived"] = None
    kinds = dict.fromkeys(("N", "B", "pitch", "blocks", "jobs"), "i32")
    kinds["arrived"] = "*i32"
    if "PARTS" in how:
        kinds["weight"] = "*fp32"
    signature = {
        name: "constexpr" if name in constants else kinds.get(name, f"*{dtype}")
        for name in kernel.arg_names
    }
    # Memory that PyTorch allocates is aligned; so are the parts of z, where
    # all groups need no padding.
    aligned = [
        i
        for i, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name == "pitch"
    ]
    source = ASTSource(
        kernel,
        signature,
        constants,
        {(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    return triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options=launch
    )


def disassemble(path):
    """Bytes of stack, and the instructions of the program and of its loop."""
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    text = subprocess.run(
        [tools / "cuobjdump", "-sass", "-res-usage", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    instructions = [
        (int(address, 16), name, rest)
        for address, name, rest in re.findall(
            r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([A-Z]\w*)(.*)",
            text,
            re.MULTILINE,
        )
    ]
    # The loop is where a branch leads back; code ends in a branch to itself.
    start, end = max(
        (
            (int(target[1], 16), address)
            for address, name, rest in instructions
            if name == "BRA" and (target := re.search("0x([0-9a-f]+)", rest))
        ),
        key=lambda branch: branch[1] - branch[0],
    )
    program = {name for _, name, _ in instructions}
    loop = {name for at, name, _ in instructions if start <= at <= end}
    return int(re.search(r"STACK:(\d+)", text)[1]), program, loop
