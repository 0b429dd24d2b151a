#!/usr/bin/env python3
"""Runs SpeechBrain's own recipes and integration tests with clockwork layers.

They run as SpeechBrain's tests run them: with the options of tests/recipes and
the recordings of tests/samples, of a checkout of its repository, and in each
YAML file the lines changed that are given below. Beside them runs each as it
is. A run takes seconds to minutes; rows that are in the CSV file already are
not run again. Some recipes need pesq, mir-eval and datasets.

> git clone https://github.com/speechbrain/speechbrain
> python benchmarks/swapped_recipes.py speechbrain
> python benchmarks/swapped_recipes.py speechbrain --only LM_RNN VAD

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import csv
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from arguments import new_file

from speechbrain_cwrnn.report import write_csv
from speechbrain_cwrnn.tables import format_table

RESULTS = Path(__file__).parent / "results" / "swapped_recipes.csv"
COLUMNS = [
    *("recipe", "variant", "line", "layer", "quantity", "threshold"),
    *("reached", "failure", "speechbrain", "torch"),
]
# Of the CPU; a run that takes more is stopped, and its row says so.
MINUTES = 12
# What stands for {layer}, {unit} and {dec} in the lines.
LAYERS = {
    "unmodified": None,
    "ClockworkRNN": ("ClockworkRNN", "clockwork", "RNN"),
    "ClockworkLiGRU": ("ClockworkLiGRU", "clockwork_ligru", "LiGRU"),
}

DIRECTIONS = "    rnn_bidirectional: !ref <rnn_bidirectional>\n"
CRDNN = (
    DIRECTIONS,
    DIRECTIONS + "    rnn_class: !name:speechbrain_cwrnn.{layer}\n",
)
RNN_CLASS = (
    "rnn_class: !name:speechbrain.nnet.RNN.LSTM\n",
    "rnn_class: !name:speechbrain_cwrnn.{layer}\n",
)
DECODER = (
    "!new:speechbrain.nnet.RNN.AttentionalRNNDecoder\n",
    "!new:speechbrain_cwrnn.decoder.AttentionalRNNDecoder\n",
)
UNIT = ("    rnn_type: gru\n", "    rnn_type: {unit}\n")
# Since SpeechBrain's own loss is for a GPU alone.
TRANSDUCER = {
    "variant": "torchaudio's loss",
    "base": (
        (
            "!name:speechbrain.nnet.losses.transducer_loss\n",
            "!name:rnnt_loss.transducer_loss\n",
        ),
    ),
}


def made_new(kind):
    """The lines for `!new:` of one of SpeechBrain's."""
    return (
        f"!new:speechbrain.nnet.RNN.{kind}\n",
        "!new:speechbrain_cwrnn.{layer}\n",
    )


def swapped(model, before):
    """The lines for `swap_rnns` of a model, before a key."""
    return (
        f"{before}: ",
        f"swapped: !apply:speechbrain_cwrnn.swap_rnns\n"
        f"    module: !ref <{model}>\n"
        f"    to: !name:speechbrain_cwrnn.{{layer}}\n{before}: ",
    )


class Case(NamedTuple):
    """A recipe.

    Arguments
    ---------
    yaml : str
        Its YAML file.
    edits : list of tuple
        Text there, and what takes its place.
    options : str
        In the place of those of tests/recipes, and in addition.
    quantity : str
        Of train_log.txt, if tests/recipes names none.
    first : str
        A recipe whose output it needs, in the folder `first`.
    base : tuple of tuple
        Edits also of what is called unmodified, whose files are not those that
        tests/recipes asks for then.
    variant : str
        What tells it from other cases of the same YAML file; what begins with
        -- is an option, in the place of another or in addition.
    """

    yaml: str
    edits: list
    options: str = ""
    quantity: str = "train loss"
    first: str = ""
    base: tuple = ()
    variant: str = ""


TIMIT = "recipes/TIMIT/ASR/{}/hparams/train.yaml"
VOICEBANK = "recipes/Voicebank/{}/hparams/train.yaml"
TEMPLATE = "templates/speech_recognition/{}.yaml"
TEST = "tests/integration/{}/hyperparams.yaml"
# What is in place of recordings that recipes would load from the net, and of
# processes that load a dozen of short ones.
LOCAL = {
    r"^data_folder_noise: .*": "data_folder_noise: noise",
    r"^data_folder_rir: .*": "data_folder_rir: rir",
    r"num_workers: \d+": "num_workers: 0",
}
LM = Case(
    TEMPLATE.format("LM/RNNLM"),
    [swapped("model", "optimizer")],
    "--tokenizer_file=first/24_unigram.model",
    first=TEMPLATE.format("Tokenizer/tokenizer"),
)
# Of the recipe's size, a run takes minutes.
SMALL = "--rnn_layers=1 --rnn_neurons=64 --dnn_neurons=64 --cnn_channels=[8,8]"
CASES = [
    Case(TIMIT.format("CTC"), [CRDNN]),
    # As many outputs as there are labels. One more, as in tests/recipes, is an
    # error where it is decoded, as the two of seq2seq are.
    Case(
        TIMIT.format("CTC"),
        [CRDNN],
        f"{SMALL} --output_neurons=43",
        variant="small, 43 outputs",
    ),
    Case(
        TIMIT.format("seq2seq"),
        [CRDNN, DECODER, UNIT],
        SMALL,
        variant="small",
    ),
    Case(
        TIMIT.format("seq2seq"),
        [CRDNN, DECODER, UNIT],
        f"{SMALL} --output_neurons=45",
        variant="small, 45 outputs",
    ),
    Case(
        TIMIT.format("transducer"),
        [
            CRDNN,
            (
                "dec: !new:speechbrain.nnet.RNN.LiGRU\n",
                "dec: !new:speechbrain_cwrnn.transducer.{dec}\n",
            ),
            ("    normalization: layernorm\n", ""),
        ],
        SMALL,
        **(TRANSDUCER | {"variant": "small, torchaudio's loss"}),
    ),
    LM,
    Case(TEMPLATE.format("ASR/train"), [RNN_CLASS, DECODER, UNIT]),
    Case(
        TEMPLATE.format("ASR/train"),
        [
            RNN_CLASS,
            DECODER,
            UNIT,
            (
                "    rnn_layers: 2\n",
                "    rnn_layers: 2\n"
                "    rnn_class: !name:speechbrain_cwrnn.{layer}\n",
            ),
        ],
        first=TEMPLATE.format("Tokenizer/tokenizer"),
        variant="small, with no weights from the net",
        base=(
            (
                "        lm: !ref <lm_model>\n"
                "        tokenizer: !ref <tokenizer>\n"
                "        model: !ref <model>\n",
                "        tokenizer: !ref <tokenizer>\n",
            ),
            (
                "        lm: !ref <pretrained_path>/lm.ckpt\n"
                "        tokenizer: !ref <pretrained_path>/tokenizer.ckpt\n"
                "        model: !ref <pretrained_path>/asr.ckpt\n",
                "        tokenizer: first/24_unigram.model\n",
            ),
            ("output_neurons: 1000", "output_neurons: 24"),
            ("cnn_channels: (128, 256)", "cnn_channels: (8, 8)"),
            ("rnn_layers: 4", "rnn_layers: 1"),
            ("rnn_neurons: 1024", "rnn_neurons: 128"),
            ("dec_neurons: 1024", "dec_neurons: 128"),
            ("rnn_neurons: 2048", "rnn_neurons: 128"),
            ("test_beam_size: 80", "test_beam_size: 8"),
        ),
    ),
    Case("recipes/LibriParty/VAD/hparams/train.yaml", [made_new("GRU")]),
    Case(
        "recipes/WSJ0Mix/separation/hparams/dprnn.yaml",
        [
            (
                "    num_layers: 1\n    input_size: !ref <out_channels>\n",
                "    rnn_type: {layer}\n    num_layers: 1\n"
                "    input_size: !ref <out_channels>\n",
            ),
            (
                "intra: !new:",
                "registered: !apply:speechbrain_cwrnn.register\nintra: !new:",
            ),
        ],
        "--N_encoder_out=16 --out_channels=16",
        quantity="train si-snr",
        variant="16 channels",
    ),
    Case(VOICEBANK.format("ASR/CTC"), [CRDNN]),
    Case(
        VOICEBANK.format("enhance/spectral_mask"),
        [
            (
                "lstm: !name:speechbrain.nnet.RNN.LSTM\n",
                "lstm: !name:speechbrain_cwrnn.{layer}\n",
            )
        ],
        variant="models/BLSTM.yaml",
        base=(("models/CNNTransformer.yaml", "models/BLSTM.yaml"),),
    ),
    Case(
        VOICEBANK.format("enhance/MetricGAN"),
        [swapped("models[generator]", "g_opt_class")],
        variant="--number_of_samples=4",
    ),
    Case(
        "recipes/CommonVoice/ASR/seq2seq/hparams/train_en.yaml",
        [RNN_CLASS, DECODER, UNIT],
        "--rnn_layers=1 --beam_size=4 --rnn_neurons=32 --dnn_neurons=32 "
        "--dec_neurons=32 --emb_size=16",
        variant="small",
    ),
    Case(TEST.format("ASR_CTC"), [CRDNN]),
    Case(TEST.format("ASR_seq2seq"), [CRDNN, DECODER, UNIT]),
    Case(
        TEST.format("ASR_Transducer"),
        [
            CRDNN,
            (
                "dec: !new:speechbrain.nnet.RNN.GRU\n",
                "dec: !new:speechbrain_cwrnn.transducer.{dec}\n",
            ),
        ],
        **TRANSDUCER,
    ),
    Case(TEST.format("ASR_alignment_forward"), [CRDNN]),
    Case(
        TEST.format("LM_RNN"),
        [
            (
                "    rnn_layers: !ref <rnn_layers>\n",
                "    rnn_layers: !ref <rnn_layers>\n"
                "    rnn_class: !name:speechbrain_cwrnn.{layer}\n",
            )
        ],
    ),
    Case(TEST.format("VAD"), [made_new("LSTM")]),
    Case(TEST.format("G2P"), [made_new("LSTM"), DECODER, UNIT]),
    # How SpeechBrain can run what it trains, on the smallest recipe.
    LM._replace(variant="--precision=bf16"),
    LM._replace(variant="--compile"),
    LM._replace(variant="--distributed_backend=gloo"),
    Case(
        TIMIT.format("CTC"), [CRDNN], f"{SMALL} --jit", variant="small, --jit"
    ),
]


def show(case):
    """The lines of a case that are new, for a ClockworkRNN."""
    lines = []
    for old, added in case.edits:
        before = old.splitlines()
        new = [line for line in added.splitlines() if line not in before]
        lines += [line.strip() for line in new]
    text = "; ".join(dict.fromkeys(lines))
    layer, unit, dec = LAYERS["ClockworkRNN"]
    return text.format(layer=layer, unit=unit, dec=dec)


def read_tests(checkout):
    """The options and checks of SpeechBrain's recipes, by their YAML files."""
    tests = {}
    for path in sorted(Path(checkout).glob("tests/recipes/*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                tests[row["Hparam_file"]] = row
    return tests


def lay_out(checkout, place, case, layer):
    """Copy what a case needs, and change its lines."""
    (place / "tests").mkdir(exist_ok=True)
    samples = (checkout / "tests" / "samples").absolute()
    if not (place / "tests" / "samples").exists():
        (place / "tests" / "samples").symlink_to(samples)
        for folder, name in (("noise", "noise"), ("RIRs", "rir")):
            shutil.copytree(samples / folder, place / name)
            # SpeechBrain loads no archive that is there.
            (place / name / "data.zip").touch()
    folder = script_folder(case.yaml)
    shutil.copytree(checkout / folder, place / folder)
    shutil.copy(Path(__file__).with_name("rnnt_loss.py"), place / folder)
    edits = list(case.base)
    if names := LAYERS[layer]:
        names = dict(zip(("layer", "unit", "dec"), names))
        edits += [(old, text.format(**names)) for old, text in case.edits]
    files = list((place / folder).rglob("*.yaml"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    for old, new in edits:
        if not any(old in text for text in texts.values()):
            sys.exit(f"Error: {case.yaml}: expected the text {old!r}.")
        texts = {f: text.replace(old, new) for f, text in texts.items()}
    for file, text in texts.items():
        for old, new in LOCAL.items():
            text = re.sub(old, new, text, flags=re.MULTILINE)
        file.write_text(text, encoding="utf-8")


def script_folder(yaml):
    """The folder of a recipe's script."""
    folder = Path(yaml).parent
    return folder.parent if folder.name == "hparams" else folder


def command_of(case, row, output):
    """The arguments of Python that run a recipe."""
    start = []
    if case.variant.startswith("--distributed_backend"):
        start = "-m torch.distributed.run --nproc_per_node=2".split()
    options = case.options.split()
    if case.variant.startswith("--"):
        options.append(case.variant)
    own = {option.partition("=")[0] for option in options}
    for option in shlex.split(row["test_debug_flags"]):
        if option.partition("=")[0] not in own:
            options.append(option)
    options += [f"--output_folder={output}", "--device=cpu"]
    return [*start, row["Script_file"], case.yaml, *options]


def run(arguments, place):
    """Run Python in a folder, and return why it failed, if it did."""
    limits = 60 * MINUTES, 60 * MINUTES + 10
    limit = partial(resource.setrlimit, resource.RLIMIT_CPU, limits)
    with open(place / "log.txt", "w+", encoding="utf-8") as log:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=place,
            stdout=log,
            stderr=log,
            preexec_fn=limit,
        )
        log.seek(0)
        lines = [line.strip() for line in log if line.strip()]
    if not result.returncode:
        return ""
    if result.returncode == -signal.SIGXCPU:
        return f"more than {MINUTES} minutes of the CPU"
    if result.returncode < 0:
        return f"stopped by signal {-result.returncode}"
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exit)\b", line)]
    return (errors or lines or ["no reason"])[-1]


def run_recipe(place, case, tests):
    """Quantity, threshold, what was reached, and the failure if there is."""
    row = tests[case.yaml]
    checks = row["test_debug_checks"]
    quantity, threshold = case.quantity, "it runs"
    if found := re.search(r"performance_check=\[(.*?)\]", checks):
        _, quantity, threshold, _ = map(str.strip, found[1].split(","))
    failure = run(command_of(case, row, "out"), place)
    if failure:
        return quantity, threshold, "", failure
    files = re.search(r"file_exists=\[(.*?)\]", checks)[1].split(",")
    files = [] if case.base else files
    if missing := [f for f in files if not (place / "out" / f).exists()]:
        return quantity, threshold, "", f"wrote no {', '.join(missing)}"
    log = (place / "out" / "train_log.txt").read_text()
    values = re.findall(rf"{quantity}: ([-+.\de]+)", log)
    return quantity, threshold, values[-1], ""


# The test ends in an assertion about an attribute of its Brain.
INTEGRATION = """\
import os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import speechbrain as sb
brains = []
make = sb.Brain.__init__
def keep(self, *args, **kwargs):
    brains.append(self)
    make(self, *args, **kwargs)
sb.Brain.__init__ = keep
try:
    runpy.run_path(sys.argv[1])["main"]("cpu")
except AssertionError:
    pass
print("REACHED", getattr(brains[-1], sys.argv[2]))
"""


def run_test(place, case):
    """The same of an integration test."""
    folder = place / script_folder(case.yaml)
    # Others are for other YAML files, and have longer names.
    script, *_ = sorted(folder.glob("example_*.py"))
    text = script.read_text(encoding="utf-8")
    name, threshold = re.search(r"assert \w+\.(\w+) (< [\d.]+)", text).groups()
    failure = run(["-c", INTEGRATION, script, name], place)
    if failure:
        return name, threshold, "", failure
    log = (place / "log.txt").read_text()
    (value,) = re.findall("REACHED (.*)", log)
    return name, threshold, f"{float(value):.3g}", ""


def run_case(checkout, tests, case, layer):
    """A row of the CSV file, but for the versions."""
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        if case.first:
            first = Case(case.first, [])
            lay_out(checkout, place, first, "unmodified")
            arguments = command_of(first, tests[case.first], "first")
            if failure := run(arguments, place):
                sys.exit(f"Error: {case.first}: {failure}")
            shutil.rmtree(place / script_folder(case.first))
        lay_out(checkout, place, case, layer)
        if case.yaml.startswith("tests/"):
            results = run_test(place, case)
        else:
            results = run_recipe(place, case, tests)
    return [case.yaml, case.variant, show(case), layer, *results]


def read_rows(path):
    """The rows of a CSV file, none if there is none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_table(rows):
    """Markdown: a row for each case, a column for each layer."""
    found = {(r["recipe"], r["variant"], r["layer"]): r for r in rows}
    lines = []
    for case in CASES:
        runs = [found.get((case.yaml, case.variant, key)) for key in LAYERS]
        name = re.sub(
            r"^recipes/|(/hparams/train|/hyperparams)?.yaml$", "", case.yaml
        )
        name = f"`{name}`" + (f", {case.variant}" if case.variant else "")
        measured = next(filter(None, runs), {"quantity": "-", "threshold": "-"})
        cells = [name, f"`{show(case)}`"]
        cells += [measured["quantity"], measured["threshold"]]
        lines.append([*cells, *map(show_result, runs)])
    return format_table(
        ["recipe", "line", "quantity", "threshold", *LAYERS], lines
    )


def show_result(row):
    """What was reached, or how it failed."""
    if row is None:
        return "not run yet"
    # Without the module of the error.
    failure = re.sub(r"^(\w+\.)+", "", row["failure"]).replace("|", "/")
    return row["reached"] or textwrap.shorten(f"no: {failure}", 100)


def main():
    """Run what is missing in the CSV file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="SpeechBrain's repository")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT")
    parser.add_argument("--csv", type=new_file, default=RESULTS)
    args = parser.parse_args()
    tests = read_tests(args.checkout)
    if not tests:
        parser.error(f"{args.checkout}: expected SpeechBrain's repository.")
    versions = [version("speechbrain"), version("torch")]
    for case in CASES:
        name = f"{case.yaml} {case.variant}".strip()
        if not any(text in name for text in args.only):
            continue
        for layer in LAYERS:
            rows = read_rows(args.csv)
            key = (case.yaml, case.variant, layer)
            if key in [(r["recipe"], r["variant"], r["layer"]) for r in rows]:
                continue
            print(name, layer, file=sys.stderr)
            row = run_case(args.checkout, tests, case, layer)
            done = [[row[name] for name in COLUMNS] for row in rows]
            write_csv(args.csv, COLUMNS, [*done, [*row, *versions]])
    print(make_table(read_rows(args.csv)))


if __name__ == "__main__":
    main()
