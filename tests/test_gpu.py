"""The engine for the GPU.

Its kernels run here on a GPU, where there is one, and in triton's interpreter
on the CPU. The interpreter says nothing about precision, registers or memory,
and is wrong for bfloat16; so the kernels are also compiled, for GPUs that need
not be there, and the machine code is looked at.
"""

import importlib
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

from speechbrain_cwrnn import ClockworkRNN, clockwork_rnn, reference
from speechbrain_cwrnn.backend import choose_name
from speechbrain_cwrnn.clock import Groups
from speechbrain_cwrnn.sweep import gpu

triton = pytest.importorskip("triton", minversion="3.5")
ASTSource = importlib.import_module("triton.compiler").ASTSource
GPUTarget = importlib.import_module("triton.backends.compiler").GPUTarget

KERNELS = "speechbrain_cwrnn.sweep.gpu_kernels"


def load_kernels(monkeypatch, interpret):
    """The kernels, anew: triton decides once whether it interprets them."""
    monkeypatch.setenv("TRITON_INTERPRET", str(int(interpret)))
    spec = importlib.util.find_spec(KERNELS)
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    monkeypatch.setitem(sys.modules, KERNELS, kernels)
    return kernels


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


@pytest.fixture
def set_precision():
    """Sets how products of float32 may be rounded, until the test ends."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def cuda(monkeypatch):
    """The kernels as compiled for the GPU of this machine."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return load_kernels(monkeypatch, interpret=False)


def group(R, B, N, k, dtype=torch.float32, device="cpu", relu=False):
    """z, weight and h0 of a group, with contractive weights.

    For relu, no z + weight @ h is close to zero, where a rounding error would
    change the gradient by as much as the gradient itself.
    """
    z = torch.randn(R, B, N, k)
    weight = torch.randn(R, k, k) / math.sqrt(k)
    if relu:
        z = z.sign() * (1 + z.abs().clamp(max=1))
        weight = 0.3 * weight / weight.abs().sum(-1, keepdim=True)
    h0 = torch.rand(R, B, k)
    return [x.to(device, dtype) for x in (0.7 * z, weight, h0)]


def run_layer(layer, dtype=None, device=None, **options):
    """Outputs and gradients of a layer, by name."""
    layer = cast(layer, dtype, device)
    return all_tensors(clockwork_rnn, layer, **options)


def assert_right(shapes, k, dtype, device, nonlinearity):
    """As exact as the plain loop in the same dtype, forward and backward.

    Over all shapes together: a single number may be exact by chance.
    """
    results = []
    for R, B, N in shapes:
        args = group(R, B, N, k, dtype, device, nonlinearity == "relu")
        doubles = [x.double() for x in args]
        dh = torch.randn_like(args[0])
        results.append(
            [
                run_engine(gpu, *args, nonlinearity, dh),
                run_plain(*args, nonlinearity, dh),
                run_plain(*doubles, nonlinearity, dh.double()),
            ]
        )
    actual, same_dtype, exact = (
        {name: torch.cat([x[name].flatten() for x in all]) for name in all[0]}
        for all in zip(*results)
    )
    assert_as_exact(actual, same_dtype, exact)


@pytest.mark.parametrize("k", [1, 7, 16, 64, 100])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_equals_plain_loop(device, dtype, nonlinearity, k):
    """Lengths, batches and replicas that fill no block, or just one."""
    shapes = [(1, 1, 1), (3, 17, 1), (1, 17, 2), (3, 5, 2)]
    shapes += [(1, 17, 33), (3, 1, 33)]
    assert_right(shapes, k, dtype, device, nonlinearity)


@pytest.mark.parametrize("block", [4, None])
def test_launch(monkeypatch, block):
    """With options that are given, or else those of the table."""
    launched = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **how: launched.append((grid, how))

    kernels = SimpleNamespace(forward_kernel=Kernel())
    monkeypatch.setitem(sys.modules, KERNELS, kernels)
    how = table = gpu.options(torch.float32, 7, R=3, B=20)
    if block:
        how = {**table, "BB": block}
    state, weight = torch.randn(3, 20, 2, 7), torch.randn(3, 7, 7)
    signals = (state,)
    gpu.launch("forward_kernel", signals, weight, "relu", block and how)
    grid = (3, math.ceil(20 / how["BB"]))
    assert launched == [(grid, {"NONLINEARITY": "relu", **how})]


@pytest.mark.parametrize("shape", [(3, 5, 1, 7), (3, 0, 2, 7)])
def test_no_ticks(monkeypatch, shape):
    """A group that does not tick launches nothing, nor one of no sequence."""
    monkeypatch.setitem(sys.modules, KERNELS, None)
    state, weight = torch.randn(shape), torch.randn(3, 7, 7)
    before = state.clone()
    gpu.forward(state, weight, "tanh")
    gpu.backward(state, state, weight, "tanh")
    assert torch.equal(state, before)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 7, 16, 64, 100, 128, 200, 256])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_bfloat16(cuda, nonlinearity, k):
    """The dtype that the interpreter gets wrong."""
    device = torch.device("cuda")
    if not gpu.supports(device, torch.bfloat16, k):
        pytest.skip("needs more memory on the chip")
    shapes = [(3, 17, 1), (1, 5, 33), (80, 17, 33)]
    assert_right(shapes, k, torch.bfloat16, "cuda", nonlinearity)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 7, 16, 64, 100, 128])
def test_tf32(cuda, set_precision, k):
    """Where it is allowed, products are rounded to its ten bits."""
    set_precision("high")
    args = group(3, 17, 33, k, device="cuda")
    dh = torch.randn_like(args[0])
    actual = run_engine(gpu, *args, "tanh", dh)
    doubles = [x.double() for x in args]
    exact = run_plain(*doubles, "tanh", dh.double())
    for name, value in exact.items():
        error = (actual[name] - value).square().mean().sqrt()
        assert error <= 2**-9 * value.abs().max(), name


@pytest.mark.parametrize("k", [129, 256])
def test_large_groups(device, k):
    """Of half precision, where there is room for the weights."""
    if not gpu.supports(torch.device(device), torch.float16, k):
        pytest.skip("needs more memory on the chip")
    assert gpu.options(torch.float16, k, R=99, B=99)["BB"] == 8
    assert_right([(2, 9, 7)], k, torch.float16, device, "tanh")


def test_large_blocks(device):
    """With many sequences, blocks are larger; here some are half empty."""
    assert gpu.options(torch.float16, 7, R=66, B=9)["BB"] == 16
    assert_right([(66, 9, 2)], 7, torch.float16, device, "tanh")


def test_first_gradient(device):
    """What is known of that of the initial state is added to."""
    z, weight, h0 = group(2, 3, 4, 5, device=device)
    state = torch.cat([h0.unsqueeze(2), z], dim=2)
    dstate = torch.randn_like(state)
    expected = dstate.clone()
    expected[:, :, 0] = 0
    gpu.backward(expected, state, weight, "tanh")
    expected[:, :, 0] += dstate[:, :, 0]
    gpu.backward(dstate, state, weight, "tanh")
    assert (dstate - expected).abs().max() < 1e-6


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_part_of_a_matrix(device, nonlinearity):
    """Weights need not be contiguous."""
    z, weight, h0 = group(2, 3, 5, 4, device=device)
    dh = torch.randn_like(z)
    part = torch.randn(2, 9, 9, device=device)[:, 3:7, 2:6]
    part.copy_(weight)
    expected = run_engine(gpu, z, weight, h0, nonlinearity, dh)
    actual = run_engine(gpu, z, part, h0, nonlinearity, dh)
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def test_tanh(device):
    """Every digit of it, small and large."""
    z = torch.cat([torch.logspace(-30, 2, 500), torch.linspace(0.4, 0.6, 500)])
    z = torch.cat([z, -z]).to(device)
    state = torch.stack([torch.zeros_like(z), z], dim=1)[None, :, :, None]
    gpu.forward(state, torch.zeros(1, 1, 1, device=device), "tanh")
    h = state[0, :, 1, 0]
    assert (h / z.double().tanh() - 1).abs().max() < 4e-7


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_slope(device, dtype):
    """Every digit of it too, close to saturation."""
    h = torch.linspace(0.9, 1, 500).to(device, dtype)
    state = torch.stack([torch.zeros_like(h), h], dim=1)[None, :, :, None]
    dstate = torch.ones_like(state)
    weight = torch.zeros(1, 1, 1, dtype=dtype, device=device)
    gpu.backward(dstate, state, weight, "tanh")
    exact = 1 - h.double().square()
    dz = dstate[0, :, 1, 0].double()
    assert torch.allclose(dz, exact, torch.finfo(dtype).eps, 1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_extreme_values(device, dtype):
    """Large z saturates exactly; NaN and infinity go their way."""
    z = [1e4, -1e4, torch.inf, -torch.inf, torch.nan, 0]
    z = torch.tensor(z, dtype=dtype, device=device)
    weight = torch.ones(1, 1, 1, dtype=dtype, device=device)

    def run(nonlinearity):
        state = torch.stack([torch.zeros_like(z), z], dim=1)[None, :, :, None]
        gpu.forward(state, weight, nonlinearity)
        return state[0, :, 1, 0]

    h = run("tanh")
    assert h[:4].tolist() == [1, -1, 1, -1]
    assert h[4].isnan() and h[5] == 0
    h = run("relu")
    assert h[:4].tolist() == [z[0], 0, torch.inf, 0]
    assert h[4].isnan() and h[5] == 0


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_infinity_stays_infinity(device):
    """The padding of a group makes no NaN of it, forward or backward."""
    z, weight, h0 = (x.abs() for x in group(1, 2, 3, 3))
    z[0, 0, 0, 1] = torch.inf
    z, weight, h0 = (x.to(device) for x in (z, weight, h0))
    zeros = torch.zeros_like(z)
    h = run_engine(gpu, z, weight, h0, "relu", zeros)["h"]
    dz = run_engine(gpu, zeros, weight, 0 * h0, "tanh", z.flip(2))["dz"]
    for result in (h, dz.flip(2)):
        assert (result[0, 0, 1:] == torch.inf).all()
        assert result[0, 1].isfinite().all()


@pytest.mark.parametrize("clock", [0, torch.tensor([0, 3, 5])])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_layer(device, dtype, periods, clock):
    """As exact as plain PyTorch in the same dtype, and the same each time."""
    layer = cast(random_layer([6, 2, 7], B=3, T=40, F=5), dtype)
    exact = all_tensors(
        reference.clockwork_rnn,
        cast(layer, torch.float64),
        periods=periods,
        clock=clock,
    )
    plain = all_tensors(
        reference.clockwork_rnn, layer, periods=periods, clock=clock
    )
    if isinstance(clock, torch.Tensor):
        clock = clock.to(device)
    options = {"periods": periods, "clock": clock, "backend": "triton"}
    actual = run_layer(layer, dtype, device, **options)
    again = run_layer(layer, dtype, device, **options)
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
    assert choose_name("auto", x, Groups([1], [99])) == "eager"
    assert choose_name("triton", x, Groups([1], [99])) == "triton"


@pytest.mark.gpu
def test_choice_on_gpu(cuda):
    """It is chosen for what it supports."""
    x = torch.zeros(2, 1, 3, device="cuda")
    assert choose_name("auto", x, Groups([1, 2], [5, 128])) == "triton"
    assert choose_name("auto", x, Groups([1, 2], [5, 129])) == "eager"
    assert choose_name("auto", x.half(), Groups([1, 2], [5, 257])) == "eager"
    assert choose_name("auto", x.double(), Groups([1], [5])) == "eager"


@pytest.mark.parametrize(
    "dtype, sizes, version, message",
    [
        (torch.float64, [3], (3, 5), "got torch.float64"),
        (torch.float32, [3, 129], (3, 5), "got torch.float32, groups of 129"),
        (torch.float16, [257], (3, 5), "got torch.float16, groups of 257"),
        (torch.float32, [3], (), "no triton"),
        (torch.float32, [3], (3, 4), "triton 3.5 or later, .*triton 3.4"),
    ],
)
def test_refused(monkeypatch, dtype, sizes, version, message):
    """What it cannot do is an error where it is forced, and says why."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gpu, "TRITON", version)
    x = torch.zeros(2, 1, 3, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        choose_name("triton", x, Groups([1, 2], sizes))


def test_refused_on_cpu(monkeypatch):
    """Nor are there kernels for the CPU."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="device 'cpu'"):
        choose_name("triton", torch.zeros(2, 1, 3), Groups([1], [3]))


@pytest.mark.gpu
@pytest.mark.parametrize("clock", [0, torch.tensor([0, 3, 5])])
@pytest.mark.parametrize("periods", [(1, 2, 4), (1, 2, 3)])
def test_graph(cuda, clock, periods):
    """A layer can be recorded and replayed with other numbers."""
    layer = random_layer([16, 7, 4], B=3, T=9, F=4)
    layer = cast(layer, torch.float32, "cuda")
    if isinstance(clock, torch.Tensor):
        clock = clock.cuda()
    weight_hh = layer.pop("weight_hh")
    cotangent = torch.randn(3, 9, 27, device="cuda")

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
def test_compiled_once(cuda):
    """Neither another length nor another batch compiles anything anew."""
    for B, N in [(1, 1), (3, 2), (16, 16), (17, 33)]:
        z, weight, h0 = group(1, B, N, 16, device="cuda")
        run_engine(gpu, z, weight, h0, "tanh", z)
    for kernel in (cuda.forward_kernel, cuda.backward_kernel):
        assert len(kernel.device_caches[torch.cuda.current_device()][0]) == 1


@pytest.mark.gpu
def test_far_in_memory(cuda):
    """Past 2^31 numbers."""
    R, B, N, k = 3, 128, 65537, 128
    if torch.cuda.mem_get_info()[0] < 12 * R * N * B * k:
        pytest.skip("needs more memory")
    z = torch.randn(R, B, N, k, dtype=torch.float16, device="cuda")
    weight = torch.randn(R, k, k, dtype=z.dtype, device="cuda") / 20
    h0 = torch.zeros(R, B, k, dtype=z.dtype, device="cuda")
    state = torch.cat([h0.unsqueeze(2), z], dim=2)
    last = state[-1:].clone()
    gpu.forward(state, weight, "tanh")
    gpu.forward(last, weight[-1:], "tanh")
    assert torch.equal(state[-1:], last)
    dstate = torch.cat([h0.unsqueeze(2), z], dim=2)
    dlast = dstate[-1:].clone()
    gpu.backward(dstate, state, weight, "tanh")
    gpu.backward(dlast, last, weight[-1:], "tanh")
    assert torch.equal(dstate[-1:], dlast)


@pytest.mark.gpu
def test_other_device(cuda):
    """Kernels run where the tensors are."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    args = group(2, 5, 9, 7, device="cuda:1")
    actual = run_engine(gpu, *args, "tanh", args[0])
    for name, value in run_plain(*args, "tanh", args[0]).items():
        assert actual[name].device == value.device, name
        assert (actual[name] - value).abs().max() < 1e-5, name


@pytest.mark.parametrize("name", ["forward_kernel", "backward_kernel"])
def test_sizes_are_no_constants(monkeypatch, name):
    """No number of ticks or sequences, not even 1, is compiled in."""
    kernel = getattr(load_kernels(monkeypatch, interpret=False), name)
    fixed = {p.name for p in kernel.params if p.do_not_specialize}
    assert fixed == {"N", "B"}


TORCH = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "tf32": torch.float32,
}
# All that is shipped for groups that need no padding: for each dtype, all
# sizes, and replicas enough for blocks of either size, where there are two.
VARIANTS = [
    (dtype, k, R)
    for dtype in TORCH
    for k in (16, 32, 64, 128, 256)
    for R in (1, 100)
    if k <= 128 or not dtype.endswith("32")
    if R == 1 or not (k == 256 or dtype.endswith("32"))
]


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", ["forward_kernel", "backward_kernel"])
@pytest.mark.parametrize("dtype, k, R", VARIANTS)
def test_machine_code(
    monkeypatch, set_precision, tmp_path, dtype, k, R, name, architecture
):
    """Nothing spills, the weights fit, products and loads are the fast ones.

    relu differs from tanh in a line, and is less work.
    """
    set_precision("high" if dtype == "tf32" else "highest")
    exact = dtype == "fp32"
    how = gpu.options(TORCH[dtype], k, R, B=16)
    kernel = getattr(load_kernels(monkeypatch, interpret=False), name)
    pointer = "*fp32" if dtype == "tf32" else f"*{dtype}"
    machine_code = compile_kernel(kernel, pointer, how, architecture)
    path = tmp_path / "kernel.cubin"
    path.write_bytes(machine_code.asm["cubin"])
    stack, program, loop = disassemble(path)

    assert stack == 0
    assert not program & {"LDL", "STL"}
    # What there is for a program on the smallest GPUs since these, or on those
    # where larger groups run.
    limit = 99 * 1024 if k <= gpu.LARGEST_GROUP else gpu.LARGE_MEMORY
    assert machine_code.metadata.shared <= limit
    # Products on tensor cores, or else exact ones.
    assert ("FFMA" if exact else "HMMA") in loop
    assert ("HMMA" in program) != exact
    # Loads that write to the chip in the background, and no others.
    assert "LDGSTS" in loop
    assert "LDG" not in loop


@pytest.mark.parametrize("name", ["forward_kernel", "backward_kernel"])
def test_stages(monkeypatch, tmp_path, name):
    """With a single stage, nothing is fetched ahead."""
    kernel = getattr(load_kernels(monkeypatch, interpret=False), name)
    how = gpu.options(torch.bfloat16, 64, R=1, B=16)
    machine_code = compile_kernel(kernel, "*bf16", {**how, "STAGES": 1}, 90)
    path = tmp_path / "kernel.cubin"
    path.write_bytes(machine_code.asm["cubin"])
    _, program, _ = disassemble(path)
    assert "LDGSTS" not in program


def compile_kernel(kernel, pointer, how, architecture):
    """What the engine launches, for a GPU that need not be there."""
    constants = {"NONLINEARITY": "tanh", **how}
    launch = {
        name: constants.pop(name) for name in ("num_warps", "enable_fp_fusion")
    }
    signature = {
        name: "constexpr"
        if name in constants
        else "i32"
        if name in ("N", "B")
        else pointer
        for name in kernel.arg_names
    }
    pointers = [
        i for i, kind in enumerate(signature.values()) if kind == pointer
    ]
    source = ASTSource(
        kernel,
        signature,
        constants,
        # Memory that PyTorch allocates is aligned.
        {(i,): [["tt.divisibility", 16]] for i in pointers},
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
