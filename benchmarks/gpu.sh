#!/usr/bin/env bash
# Everything that a GPU is wanted for, in at most nine minutes on an H100:
#
# > benchmarks/gpu.sh OUT
#
# The parts run one after the other, the most important first, and write what
# they find to the folder OUT as they go; summary.txt says how each one ended.
# What they are is said in README.md. It needs torch and triton alone; without
# pytest, the tests are left out.
set -uo pipefail

if [ $# != 1 ]; then
    echo "usage: benchmarks/gpu.sh OUT" >&2
    exit 2
fi
OUT=$(realpath -m -- "$1")
export OUT
cd "$(dirname "$0")/.." || exit 1
# What a part has printed is there when it is killed.
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

found=$(python3 - <<'PYTHON'
import platform
import sys

try:
    import torch
    import triton
except ImportError as error:
    sys.exit(f"gpu.sh: expected torch and triton, got {error}.")
if not torch.cuda.is_available():
    sys.exit("gpu.sh: expected a CUDA device, got none.")
print(
    f"{torch.cuda.get_device_name()}, torch {torch.__version__}, "
    f"triton {triton.__version__}, python {platform.python_version()}"
)
PYTHON
) || exit 1
if [ -e "$OUT/summary.txt" ]; then
    echo "gpu.sh: OUT=$1: expected a new folder, got one with results." >&2
    exit 1
fi
mkdir -p "$OUT" || exit 1
say() { echo "$1" | tee -a "$OUT/summary.txt"; }
say "$found"

# Each dtype is a process of its own: one may fail and not stop the others.
for_dtypes() {
    local dtypes=$1 status=0 dtype
    shift
    for dtype in $dtypes; do
        echo "> $* --dtype $dtype"
        python3 "$@" --dtype "$dtype" --device cuda || status=1
    done
    return $status
}

# Most of the time goes into compiling, on one core for each kernel.
tests() {
    local jobs=()
    python3 -c "import xdist" 2>/dev/null && jobs=(-n auto)
    python3 -m pytest -v -m gpu "${jobs[@]}" tests/test_gpu.py
}

# Most of the time goes into launches, some 10 us each: 270 a step for the
# equations (64 steps in float64 and in dtype, for each of our engines, to
# measure errors), 8 for eager, and 30 us a step for a large cuDNN layer.
speed() {
    local status=0
    local run=(benchmarks/speed.py --error_steps 64 --repeats 5 --replay)
    local plain=(--csv "$OUT/speed.csv" --backend auto per-group)
    local gated=(--csv "$OUT/speed_gated.csv" --cell gated)
    for_dtypes "float32 bfloat16" "${run[@]}" --batch 16 64 --time 1000 \
        --hidden 512 "${plain[@]}" || status=1
    for_dtypes "float32 bfloat16" "${run[@]}" --batch 16 64 --time 1000 \
        --hidden 512 "${gated[@]}" || status=1
    for_dtypes "float32" "${run[@]}" --batch 16 --time 1000 \
        --hidden 256 1024 "${plain[@]}" || status=1
    for_dtypes "float32" benchmarks/speed.py --csv "$OUT/speed.csv" \
        --error_steps 64 --repeats 3 --batch 16 --time 256 --hidden 512 \
        --backend auto eager loop || status=1
    return $status
}

breakdown() {
    for_dtypes "float32 bfloat16" benchmarks/breakdown.py \
        --batch 16 --time 1000
}

tune() { python3 benchmarks/tune_gpu.py --csv "$OUT/tune.csv"; }

export -f for_dtypes tests speed breakdown tune

# A part may run until so many seconds after the start: what it does not use is
# left for the others.
failed=0
run_part() {
    local name=$1 left=$(($2 - SECONDS)) started=$SECONDS status how
    if [ "$left" -lt 1 ]; then
        say "$name: out of time before it began"
        failed=1
        return
    fi
    echo "--- $name, at most $left s"
    timeout --kill-after=5 "$left" bash -c "$name" 2>&1 | tee "$OUT/$name.txt"
    status=${PIPESTATUS[0]}
    case $status in
        0) how="ended well" ;;
        124 | 137) how="out of time" ;;
        *) how="failed" ;;
    esac
    [ "$status" = 0 ] || failed=1
    say "$name: $how (exit status $status), $((SECONDS - started)) s"
}

if python3 -c "import pytest" 2>/dev/null; then
    run_part tests 150
else
    say "tests: skipped, pytest is not installed"
fi
run_part speed 330
run_part breakdown 370
run_part tune 530
echo "---"
cat "$OUT/summary.txt"
exit $failed
