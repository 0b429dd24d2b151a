#!/usr/bin/env python3
r"""Time the kernels for the GPU with other options.

> python benchmarks/tune_gpu.py --csv tune.csv
> python benchmarks/tune_gpu.py --dtype bfloat16 --group 64 --csv tune.csv

For each group size, cell, dtype and number of sequences, each candidate is
checked against the loop in PyTorch, then timed. Prints the best ones beside
what `gpu.make_plan` has, which stays as it is; --csv adds the rows of all. What
does not compile, fit or compute the right numbers has a note in place of times.
It needs torch and triton alone.

With TRITON_INTERPRET=1, --device cpu tries the script, not the speed.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import itertools
import math
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import torch
import triton
from arguments import count, device, new_file
from breakdown import ALL, Stopwatch
from speed import add_rows, machine
from triton.errors import TritonError

from speechbrain_cwrnn.cells import Cell
from speechbrain_cwrnn.sweep import Group, eager, gpu

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float16": torch.float16,
}
CELLS = {"plain": Cell(), "gated": Cell(gated=True)}
# What tells one table of candidates from another.
CASE = ["cell", "dtype", "group", "batch"]
CANDIDATE = ["kernels", "block", "rows", "warps", "stages"]
# In one go, so that the host prepares a launch while another one runs.
LAUNCHES = 10
# What a kernel that does not compile, fit or run may raise.
FAILURES = (TritonError, RuntimeError)


@dataclass
class Candidate:
    """The engine for the GPU, with a plan of its own."""

    plan: gpu.Plan

    def forward(self, group, z):
        """As `gpu.forward`."""
        gpu.launch("forward_kernel", group, (z,), self.plan)

    def backward(self, group, z, dstate, dz):
        """As `gpu.backward`."""
        z = z if group.cell.gated else None
        gpu.launch("backward_kernel", group, (z, dstate, dz), self.plan)


class Problem:
    """A group of k units to run on B sequences for N steps, and its answer."""

    def __init__(self, cell, dtype, k, B, N, device):
        def draw(*shape, scale):
            x = torch.randn(*shape, device=device)
            return (scale * x).to(DTYPES[dtype])

        # Contractive, so that errors do not grow over time.
        self.cell, rows = cell, cell.columns * k
        self.weight = draw(1, rows, k, scale=0.4 / math.sqrt(k))
        self.z = draw(1, B, N, rows, scale=0.7)
        self.state = draw(1, B, 1 + N, k, scale=0.7)
        self.dstate = draw(1, B, 1 + N, k, scale=1)
        self.exact = self.solve(eager, torch.float64)
        # As in the tests: twice the error of plain PyTorch, and a rounding.
        eps = torch.finfo(DTYPES[dtype]).eps
        self.allowed = [
            2 * error + eps * float(exact.abs().max())
            for error, exact in zip(self.errors(eager), self.exact)
        ]

    def copies(self, dtype=None):
        """What an engine gets, to write to: group, z, dstate and dz."""
        z, state, dstate, weight = (
            x.to(dtype or x.dtype, copy=True)
            for x in (self.z, self.state, self.dstate, self.weight)
        )
        dz = torch.cat([z[:, :, :1], z], dim=2)
        return Group(state, weight, None, self.cell), z, dstate, dz

    def solve(self, engine, dtype=None):
        """States, and gradients, from an engine."""
        group, z, dstate, dz = self.copies(dtype)
        engine.forward(group, z)
        engine.backward(group, z, dstate, dz)
        return group.state, dz, dstate[:, :, 0]

    def errors(self, engine):
        """Root mean squares of the errors of each."""
        return [
            float((actual.double() - exact).square().mean().sqrt())
            for actual, exact in zip(self.solve(engine), self.exact)
        ]

    def fault(self, engine):
        """What is wrong with the numbers of an engine; None if nothing is."""
        errors = self.errors(engine)
        for error, allowed in zip(errors, self.allowed):
            if not error <= allowed:
                return f"error {error:.1e}, allowed {allowed:.1e}"
        return None


def candidates(chip, dtype, k, B, cell):
    """Plans: the one in use, then those around it."""
    in_use = gpu.make_plan(chip, dtype, k, 1, B, cell)
    vectors = gpu.plan_vectors(chip, k, 1, B, cell)
    plans = [in_use, vectors]
    if vectors.options["PARTS"] > 1:
        rows = vectors.options["ROWS"]
        plans += [
            gpu.plan_vectors(chip, k, 1, B, cell, other)
            for other in (rows // 2, 2 * rows)
            if math.ceil(k / other) <= chip.multiprocessors
        ]
    plans = [
        with_options(plan, num_warps=warps)
        for plan in plans
        for warps in around(plan.options["num_warps"])
    ]
    weights = dtype.itemsize * cell.columns * vectors.options["BK"] ** 2
    if dtype != torch.float32 and weights <= 2 * gpu.SMALL_MEMORY:
        matrices = gpu.plan_matrices(dtype, k, 1, B, cell)
        plans += [
            with_options(
                matrices, BB=block, num_warps=warps, STAGES=stages
            )._replace(grid=(1, math.ceil(B / block)))
            for block, warps, stages in itertools.product(
                (4, 8, 16), around(matrices.options["num_warps"]), (2, 3, 4)
            )
        ]
    found = [in_use]
    return found + [
        plan for i, plan in enumerate(plans) if plan not in found + plans[:i]
    ]


def around(warps):
    """Half as many, as many, twice as many, as far as there are."""
    return [n for n in (warps // 2, warps, 2 * warps) if 1 <= n <= 16]


def with_options(plan, **options):
    """A plan with other options."""
    return plan._replace(options={**plan.options, **options})


def compile_all(plans, problem):
    """Compile side by side what is then found compiled."""

    def run(plan):
        # One block is enough; there is one team, then.
        _, *parts = plan.grid
        few = plan._replace(grid=(1, *parts), sizes=(1, 1)[: len(plan.sizes)])
        with suppress(*FAILURES):
            problem.solve(Candidate(few))

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, plans))


def measure(engine, problem, watch, repeats):
    """Microseconds of a step, forward and backward, and why there are none."""
    try:
        note = problem.fault(engine)
    except FAILURES as error:
        note = f"{type(error).__name__}: {error}".partition("\n")[0]
    if note:
        return math.nan, math.nan, note
    group, z, dstate, dz = problem.copies()

    def forward():
        for _ in range(LAUNCHES):
            engine.forward(group, z)

    def backward():
        for _ in range(LAUNCHES):
            engine.backward(group, z, dstate, dz)

    steps = LAUNCHES * z.shape[2]
    times = []
    for function in (forward, backward):
        runs = [watch.run(function)[1][ALL] for _ in range(1 + repeats)]
        # The first one warms up.
        times.append(1000 * statistics.median(runs[1:]) / steps)
    return *times, ""


def tune(cell, dtype, k, B, args):
    """The rows of all candidates of a case, the one in use first."""
    problem = Problem(CELLS[cell], dtype, k, B, args.time, args.device)
    chip = gpu.find_chip(torch.device(args.device))
    plans = candidates(chip, DTYPES[dtype], k, B, CELLS[cell])
    if problem.state.is_cuda:
        compile_all(plans, Problem(CELLS[cell], dtype, k, 1, 1, args.device))
    watch, rows = Stopwatch(args.device), []
    for plan in plans:
        forward, backward, note = measure(
            Candidate(plan), problem, watch, args.repeats
        )
        rows.append(
            {
                "cell": cell,
                "dtype": dtype,
                "group": k,
                "batch": B,
                "time": args.time,
                "kernels": plan.kernels.removeprefix("gpu_"),
                "block": plan.options["BB"],
                "rows": plan.options.get("ROWS", plan.options["BK"]),
                "warps": plan.options["num_warps"],
                "stages": plan.options.get("STAGES", 1),
                "in_use": plan is plans[0],
                "forward_us": f"{forward:.4g}",
                "backward_us": f"{backward:.4g}",
                "note": note,
                "machine": machine(torch.device(args.device)),
                "torch": torch.__version__,
                "triton": triton.__version__,
            }
        )
    return rows


def print_best(rows):
    """A row for each direction, and one for both: in use, and the best."""
    for direction in ("forward", "backward", "both"):
        names = ["forward", "backward"] if direction == "both" else [direction]

        def total(row, names=names):
            return sum(float(row[f"{name}_us"]) for name in names)

        in_use, *_ = rows
        right = [row for row in rows if not row["note"]]
        cells = [in_use[name] for name in CASE] + [direction]
        for row in (in_use, min(right, key=total, default=in_use)):
            cells += [row[name] for name in CANDIDATE]
            cells += [f"{total(row):.3f}"]
        print(f"| {' | '.join(map(str, cells))} |")


def parse_arguments():
    """What the user wants to know."""
    parser = argparse.ArgumentParser(
        description="Time the GPU's kernels with other options.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    # The most telling ones first.
    add("--group", type=count, nargs="+", default=[64, 128, 384, 32, 512, 16])
    add("--cell", nargs="+", default=list(CELLS), choices=CELLS)
    add("--dtype", nargs="+", default=list(DTYPES), choices=DTYPES)
    sequences = [16, 264, 1056]
    add("--batch", type=count, nargs="+", default=sequences, help="sequences")
    add("--time", type=count, default=256, help="steps")
    add("--device", type=device, default="cuda", help="such as cuda")
    add("--repeats", type=count, default=3, help=f"of {LAUNCHES} launches")
    add("--csv", type=new_file, help="file that the rows are added to")
    return parser.parse_args()


def main():
    """Measure, print and save."""
    args = parse_arguments()
    torch.manual_seed(0)
    columns = [*CASE, "direction"]
    for which in ("in use", "best"):
        columns += [f"{which}: {CANDIDATE[0]}", *CANDIDATE[1:], "us a step"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    device = torch.device(args.device)
    for k, cell, dtype, B in itertools.product(
        args.group, args.cell, args.dtype, args.batch
    ):
        if gpu.supports(device, DTYPES[dtype], k, CELLS[cell]):
            rows = tune(cell, dtype, k, B, args)
            print_best(rows)
            if args.csv:
                add_rows(args.csv, rows)


if __name__ == "__main__":
    main()
