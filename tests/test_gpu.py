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

import pytest
import torch
from helpers import assert_as_exact, plain

from speechbrain_cwrnn import ClockworkRNN
from speechbrain_cwrnn.recurrence import choose_engine, gpu, recurrence

triton = pytest.importorskip("triton", minversion="3.5")
ASTSource = importlib.import_module("triton.compiler").ASTSource
GPUTarget = importlib.import_module("triton.backends.compiler").GPUTarget

KERNELS = "speechbrain_cwrnn.recurrence.gpu_kernels"


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
    """Where the engine runs. What it forgets to write, here, is NaN."""
    interpret = request.param == "interpreter"
    if not interpret and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    load_kernels(monkeypatch, interpret)

    def poisoned(like, **options):
        return torch.full_like(like, math.nan, **options)

    monkeypatch.setattr(torch, "empty_like", poisoned)
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


def leaves(R, N, B, k, dtype=torch.float32, device="cpu", relu=False):
    """z, weight and h0 in some dtype, with contractive weights.

    For relu, no z + weight @ h is close to zero, where a rounding error would
    change the gradient by as much as the gradient itself.
    """
    z = torch.randn(R, N, B, k)
    weight = torch.randn(R, k, k) / math.sqrt(k)
    if relu:
        z = z.sign() * (1 + z.abs().clamp(max=1))
        weight = 0.3 * weight / weight.abs().sum(-1, keepdim=True)
    h0 = torch.rand(R, B, k)
    return [x.to(device, dtype).requires_grad_() for x in (0.7 * z, weight, h0)]


def everything(function, args, dh):
    """States and gradients, by name."""
    h = function(*args)
    gradients = torch.autograd.grad(h, args, dh.to(h))
    return dict(zip(("h", "dz", "dweight", "dh0"), (h.detach(), *gradients)))


def assert_right(shapes, k, dtype, device, nonlinearity):
    """As exact as the plain loop in the same dtype, forward and backward.

    Over all shapes together: a single number may be exact by chance.
    """

    def engine(*args):
        return recurrence(*args, nonlinearity, "triton")

    def loop(*args):
        return plain(*args, nonlinearity)

    results = []
    for R, N, B in shapes:
        args = leaves(R, N, B, k, dtype, device, nonlinearity == "relu")
        doubles = [x.detach().double().requires_grad_() for x in args]
        dh = torch.randn_like(args[0])
        results.append(
            [
                everything(engine, args, dh),
                everything(loop, args, dh),
                everything(loop, doubles, dh),
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
    shapes = [(1, 1, 1), (3, 1, 17), (1, 2, 17), (3, 2, 5)]
    shapes += [(1, 33, 17), (3, 33, 1)]
    assert_right(shapes, k, dtype, device, nonlinearity)


def test_no_ticks(device, monkeypatch):
    """A group that does not tick launches nothing, and has gradients: zeros."""
    monkeypatch.setitem(sys.modules, KERNELS, None)
    args = leaves(3, 0, 5, 7, device=device)
    h = recurrence(*args, engine="triton")
    assert h.shape == (3, 0, 5, 7)
    for gradient in torch.autograd.grad(h.sum(), args):
        assert not gradient.any()


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 7, 16, 64, 100, 128])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_bfloat16(cuda, nonlinearity, k):
    """The dtype that the interpreter gets wrong."""
    shapes = [(3, 1, 17), (1, 33, 5), (80, 33, 17)]
    assert_right(shapes, k, torch.bfloat16, "cuda", nonlinearity)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 7, 16, 64, 100, 128])
def test_tf32(cuda, set_precision, k):
    """Where it is allowed, products are rounded to its ten bits."""
    set_precision("high")
    args = leaves(3, 33, 17, k, device="cuda")
    dh = torch.randn_like(args[0])
    actual = everything(
        lambda *args: recurrence(*args, engine="triton"), args, dh
    )
    doubles = [x.detach().double().requires_grad_() for x in args]
    exact = everything(lambda *args: plain(*args, "tanh"), doubles, dh)
    for name, value in exact.items():
        error = (actual[name] - value).square().mean().sqrt()
        assert error <= 2**-9 * value.abs().max(), name


def test_large_blocks(device):
    """With many sequences, blocks are larger; here some are half empty."""
    assert gpu.options(torch.float16, 7, R=66, B=9)["BB"] == 16
    assert_right([(66, 2, 9)], 7, torch.float16, device, "tanh")


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_any_strides(device, nonlinearity):
    """Tensors that are not contiguous, and a gradient that is one number."""
    args = leaves(2, 3, 5, 4, device=device)
    strided = [
        x.detach().transpose(0, -1).contiguous().transpose(0, -1) for x in args
    ]
    strided = [x.requires_grad_() for x in strided]
    dh = torch.ones((), device=device).expand(2, 3, 5, 4)

    def engine(*args):
        return recurrence(*args, nonlinearity, "triton")

    expected = everything(engine, args, dh.contiguous())
    for name, value in everything(engine, strided, dh).items():
        assert torch.equal(value, expected[name]), name
    assert engine(*strided).is_contiguous()


def test_tanh(device):
    """Every digit of it, small and large."""
    z = torch.cat([torch.logspace(-30, 2, 500), torch.linspace(0.4, 0.6, 500)])
    z = torch.cat([z, -z]).to(device).reshape(1, -1, 1)
    zeros = torch.zeros_like(z[0, :1])
    h = recurrence(z, zeros, zeros.expand(2000, 1), engine="triton")
    assert (h / z.double().tanh() - 1).abs().max() < 4e-7


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_slope(device, dtype):
    """Every digit of it too, close to saturation."""
    h = torch.linspace(0.9, 1, 500).to(device, dtype).reshape(1, 1, -1, 1)
    weight = torch.zeros(1, 1, 1, dtype=dtype, device=device)
    dz, _ = gpu.backward(torch.ones_like(h), h, weight, "tanh")
    exact = 1 - h.double().square()
    assert torch.allclose(dz.double(), exact, torch.finfo(dtype).eps, 1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_extreme_values(device, dtype):
    """Large z saturates exactly; NaN and infinity go their way."""
    z = [1e4, -1e4, torch.inf, -torch.inf, torch.nan, 0]
    z = torch.tensor(z, dtype=dtype, device=device).reshape(1, 6, 1)
    weight, h0 = torch.ones_like(z[0, :1]), torch.zeros_like(z[0])
    h = recurrence(z, weight, h0, engine="triton").flatten()
    assert h[:4].tolist() == [1, -1, 1, -1]
    assert h[4].isnan() and h[5] == 0
    h = recurrence(z, weight, h0, "relu", "triton").flatten()
    assert h[:4].tolist() == [z[0, 0, 0], 0, torch.inf, 0]
    assert h[4].isnan() and h[5] == 0


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_infinity_stays_infinity(device):
    """The padding of a group makes no NaN of it, forward or backward."""
    z, weight, h0 = (x.detach().abs() for x in leaves(1, 3, 2, 3))
    z[0, 0, 0, 1] = torch.inf
    z, weight, h0 = (x.to(device) for x in (z, weight, h0))
    h = gpu.forward(z, weight, h0, "relu")
    dz, _ = gpu.backward(z.flip(1), torch.zeros_like(z), weight, "tanh")
    for result in (h, dz.flip(1)):
        assert (result[0, 1:, 0] == torch.inf).all()
        assert result[0, :, 1].isfinite().all()


def test_same_bits(device):
    """Two runs give the same."""
    args = leaves(3, 9, 17, 7, device=device)
    dh = torch.randn_like(args[0])

    def engine(*args):
        return recurrence(*args, engine="triton")

    expected = everything(engine, args, dh)
    for name, value in everything(engine, args, dh).items():
        assert torch.equal(value, expected[name]), name


def test_vmap(device):
    """Its dimension is one of replicas."""
    z, weight, h0 = leaves(4, 3, 5, 7, device=device)
    run = torch.func.vmap(
        lambda z, weight: recurrence(z, weight, h0[0], engine="triton"),
        in_dims=(1, 0),
    )
    h = run(z.transpose(0, 1), weight)
    for r in range(4):
        expected = recurrence(z[r], weight[r], h0[0], engine="triton")
        assert torch.equal(h[r], expected)


def test_opcheck(device):
    """What torch.compile and torch.export assume of an operator holds."""
    args = leaves(4, 2, 2, 3, device=device)
    clock = torch.zeros(4, 2, dtype=torch.long, device=device)
    torch.library.opcheck(
        torch.ops.speechbrain_cwrnn.recurrence,
        (*args, clock, [1], [3], "tanh", "triton"),
    )


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
    assert choose_engine("auto", x, [1], [99]) == "eager"
    assert choose_engine("triton", x, [1], [99]) == "triton"


@pytest.mark.gpu
def test_choice_on_gpu(cuda):
    """It is chosen for what it supports."""
    x = torch.zeros(2, 1, 3, device="cuda")
    assert choose_engine("auto", x, [1, 2], [5, 128]) == "triton"
    assert choose_engine("auto", x, [1, 2], [5, 129]) == "eager"
    assert choose_engine("auto", x.double(), [1], [5]) == "eager"


@pytest.mark.parametrize(
    "dtype, sizes, version, message",
    [
        (torch.float64, [3], (3, 5), "got torch.float64"),
        (torch.float32, [3, 129], (3, 5), "got torch.float32, groups of 129"),
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
        choose_engine("triton", x, [1, 2], sizes)


def test_refused_on_cpu(monkeypatch):
    """Nor are there kernels for the CPU."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="device 'cpu'"):
        choose_engine("triton", torch.zeros(2, 1, 3), [1], [3])


@pytest.mark.gpu
def test_graph(cuda):
    """Launches can be recorded and replayed with other numbers."""
    args = [x.detach() for x in leaves(2, 9, 5, 16, device="cuda")]

    def run():
        h = gpu.forward(*args, "tanh")
        return h, *gpu.backward(args[0], h, args[1], "tanh")

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = run()
    args[0].neg_()
    graph.replay()
    for actual, expected in zip(replayed, run()):
        assert torch.equal(actual, expected)


@pytest.mark.gpu
def test_compiled_once(cuda):
    """Neither another length nor another batch compiles anything anew."""
    for N, B in [(1, 1), (2, 3), (16, 16), (33, 17)]:
        args = [x.detach() for x in leaves(1, N, B, 16, device="cuda")]
        h = gpu.forward(*args, "tanh")
        gpu.backward(h, h, args[1], "tanh")
    for kernel in (cuda.forward_kernel, cuda.backward_kernel):
        assert len(kernel.device_caches[torch.cuda.current_device()][0]) == 1


@pytest.mark.gpu
def test_far_in_memory(cuda):
    """Past 2^31 numbers."""
    R, N, B, k = 3, 65537, 128, 128
    if torch.cuda.mem_get_info()[0] < 8 * R * N * B * k:
        pytest.skip("needs more memory")
    z = torch.randn(R, N, B, k, dtype=torch.float16, device="cuda")
    weight = torch.randn(R, k, k, dtype=z.dtype, device="cuda") / 20
    h0 = torch.zeros(R, B, k, dtype=z.dtype, device="cuda")
    h = gpu.forward(z, weight, h0, "tanh")
    dz, _ = gpu.backward(z, h, weight, "tanh")
    last = [x[-1:] for x in (z, weight, h0, h)]
    assert torch.equal(h[-1:], gpu.forward(*last[:3], "tanh"))
    last_dz, _ = gpu.backward(last[0], last[3], last[1], "tanh")
    assert torch.equal(dz[-1:], last_dz)


@pytest.mark.gpu
def test_other_device(cuda):
    """Kernels run where the tensors are."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    args = leaves(2, 9, 5, 7, device="cuda:1")
    h = recurrence(*args, engine="triton")
    assert h.device == args[0].device
    assert (h - plain(*args, "tanh")).abs().max() < 1e-5


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
# All that is shipped: for each dtype, all padded group sizes, and replicas
# enough for blocks of either size, where there are two.
VARIANTS = [
    (dtype, k, R)
    for dtype in TORCH
    for k in (16, 32, 64, 128)
    for R in ((100,) if dtype.endswith("32") else (1, 100))
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
    # What there is for a program on the smallest GPUs since these.
    assert machine_code.metadata.shared <= 99 * 1024
    # Products on tensor cores, or else exact ones.
    assert ("FFMA" if exact else "HMMA") in loop
    assert ("HMMA" in program) != exact
    # Loads that write to the chip in the background, and no others.
    assert "LDGSTS" in loop
    assert "LDG" not in loop


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
