"""A folder for the Hugging Face hub, of a model that a recipe has trained.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import soundfile
from huggingface_hub import EvalResult, ModelCardData

from speechbrain_cwrnn.audio import Recording, read_audio
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.hparams import OPTIONS, read_mapping
from speechbrain_cwrnn.manifest import read_manifest
from speechbrain_cwrnn.outputs import is_room
from speechbrain_cwrnn.report import RESULTS, read_results
from speechbrain_cwrnn.tables import format_table

EXAMPLE = "example.wav"
# What is there where SpeechBrain and this package are installed.
INSTALLED = {
    "speechbrain",
    "speechbrain_cwrnn",
    "torch",
    "torchaudio",
    "sentencepiece",
}
TAG = re.compile(r"!(?:new|name|apply|applyref|module):(\w+)")


class Interface(NamedTuple):
    """A class of SpeechBrain's that loads folders, what the hub calls its task,
    and the Python that prints what it makes of an audio file."""

    name: str
    task: str
    use: str


# By a module that a folder has to have for it.
INTERFACES = {
    "encoder": Interface(
        "speechbrain.inference.ASR.EncoderASR",
        "automatic-speech-recognition",
        "print(model.transcribe_file({wav!r}))",
    ),
    "enc": Interface(
        "speechbrain.inference.ASR.StreamingASR",
        "automatic-speech-recognition",
        """\
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

config = DynChunkTrainConfig(4)  # frames
text = model.transcribe_file({wav!r}, config, use_torchaudio_streaming=False)
print(text)""",
    ),
    "embedding_model": Interface(
        "speechbrain.inference.classifiers.EncoderClassifier",
        "audio-classification",
        "_, _, _, words = model.classify_file({wav!r})\nprint(*words)",
    ),
}


class Score(NamedTuple):
    """An error that was measured: its name, "test" or "validation", and how
    many percent."""

    name: str
    split: str
    percent: float


def write_hub_folder(
    run, folder, columns, measure, example=None, license=None, language=None
):
    """Write a folder that is ready for the Hugging Face hub.

    It has the files of the run's `pretrained`, README.md, which is the card of
    the model, with what was measured, and maybe example.wav. Before it gets its
    name, what the card says of its use is run, in a process of its own.

    Arguments
    ---------
    run : str or pathlib.Path
        The output folder of a run of a recipe.
    folder : str or pathlib.Path
        Where to write; there must be nothing.
    columns : dict
        What the recipe has in its results.csv, as for `report.read_results`.
    measure : callable
        Finds, of these rows, that of the network that is published, and makes a
        list of Score of it.
    example : str or pathlib.Path
        Audio for the example. By default it is the first entry of the test if
        the corpus is synthetic speech; there is none of any other, which may
        not be free to be passed on.
    license : str
        How the hub calls the licence.
    language : str
        How the hub calls the language.
    """
    run, folder = Path(run), Path(folder).absolute()
    if os.path.lexists(folder):
        raise InputError(f"{folder}: expected nothing there yet.")
    if not folder.parent.is_dir() or not is_room(folder):
        raise InputError(f"{folder}: expected a folder to write it in.")
    source = run / "pretrained"
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"{folder}: expected a folder outside of {source}, of which it is "
            f"to be a copy."
        )
    rows = read_results(run, columns)
    interface = find_interface(source)
    with tried(run / RESULTS, "the results of one model"):
        row, scores = measure(rows)
    samples, rate = find_example(run, row["corpus"], example)
    place = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        new = place / folder.name
        shutil.copytree(source, new)
        if samples is not None:
            soundfile.write(new / EXAMPLE, samples, rate)
        heard = try_out(new, interface, source)
        data = make_data(folder.name, interface, row, scores)
        data.license, data.language = license, language
        wav = f"{folder.name}/{EXAMPLE}" if samples is not None else None
        card = make_card(folder.name, interface, row, scores, wav, heard)
        text = f"---\n{data.to_yaml()}\n---\n\n{card}"
        (new / "README.md").write_text(text, encoding="utf-8")
        os.rename(new, folder)
    finally:
        shutil.rmtree(place)


def find_interface(source):
    """The Interface for a `pretrained` folder, which is checked."""
    if not (source / OPTIONS).is_file():
        raise InputError(
            f"{source}: expected the model that a complete run writes, and "
            f"there is no {OPTIONS}."
        )
    modules = read_mapping(source / OPTIONS).get("modules")
    modules = modules if isinstance(modules, dict) else {}
    fitting = [INTERFACES[name] for name in INTERFACES if name in modules]
    if not fitting:
        raise InputError(
            f"{source / OPTIONS}: expected modules with one of "
            f"{', '.join(INTERFACES)}."
        )
    text = (source / OPTIONS).read_text(encoding="utf-8")
    known = INSTALLED | sys.stdlib_module_names
    foreign = sorted(set(TAG.findall(text)) - known)
    if foreign:
        raise InputError(
            f"{source / OPTIONS}: expected classes of SpeechBrain and this "
            f"package, which everyone can load, got some of "
            f"{', '.join(foreign)}."
        )
    return fitting[0]


def find_example(run, corpus, example):
    """The samples of the example and their rate; both None if there is none."""
    if example is not None:
        with Recording(example, f"example={example}") as recording:
            stop, rate = recording.count(), recording.samplerate
        return read_audio("example", example, 0, stop), rate
    if corpus != "synthetic speech":
        return None, None
    options = read_mapping(run / OPTIONS)
    keys = ("test_annotation", "data_folder")
    if not options.keys() >= {*keys}:
        raise InputError(
            f"{run / OPTIONS}: expected {' and '.join(keys)}, as the run was "
            f"begun with."
        )
    path, data_folder = (options[key] for key in keys)
    manifest = read_manifest(path, ["wav"], data_folder)
    name = min(manifest)
    entry = manifest[name]
    samples = read_audio(name, entry["wav"], entry["start"], entry["stop"])
    return samples, entry["sample_rate"]


def loading(name, interface):
    """Python that loads a folder."""
    module, _, kind = interface.name.rpartition(".")
    return (
        f"from {module} import {kind}\n\n"
        f"model = {kind}.from_hparams({name!r})\n"
    )


def usage(name, interface, wav):
    """Python that loads a folder and uses it for an audio file."""
    return loading(name, interface) + interface.use.format(wav=wav)


def try_out(folder, interface, source):
    """Load a folder as its card says, where there are no modules but those that
    are installed, and return what is heard in the example, if there is one;
    source is what it was copied from."""
    # What loading prints, such as a table of layers, is not heard.
    code = "import contextlib, sys\n\n"
    code += "with contextlib.redirect_stdout(sys.stderr):\n"
    code += textwrap.indent(loading(folder.name, interface), "    ")
    if (folder / EXAMPLE).exists():
        code += interface.use.format(wav=f"{folder.name}/{EXAMPLE}")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        _, known, text = result.stderr.strip().rpartition("InputError: ")
        # Of any other error, the last line says most.
        reason = (text.splitlines() or ["no reason"])[0 if known else -1]
        reason = reason.replace(f"{folder.parent}{os.sep}", "")
        raise InputError(
            f"{source}: expected a model that can be loaded and used "
            f"({reason})."
        )
    return result.stdout.strip()


def make_data(name, interface, row, scores):
    """What the hub reads of the card."""
    return ModelCardData(
        library_name="speechbrain",
        pipeline_tag=interface.task,
        tags=["speechbrain", "speechbrain_cwrnn"],
        metrics=list(dict.fromkeys(_metric(score.name) for score in scores)),
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=interface.task,
                dataset_type=row["corpus"],
                dataset_name=row["corpus"],
                dataset_split=score.split,
                metric_type=_metric(score.name),
                metric_name=f"{score.name}, %",
                metric_value=score.percent,
            )
            for score in scores
        ],
    )


def _metric(name):
    return name.lower().replace(" ", "_")


def make_card(name, interface, row, scores, wav, heard):
    """What people read of the card."""
    versions = [
        f"{package} {version(package)}" for package in ("speechbrain", "torch")
    ]
    table = format_table(
        ["error", "of", "%"],
        [[s.name, s.split, f"{s.percent:.2f}"] for s in scores],
    )
    shown = textwrap.indent(heard, "    ")
    parts = [
        f"# {name}",
        f"A model of a recipe of speechbrain_cwrnn, Clockwork RNNs for "
        f"SpeechBrain: `{row['model']}`, of the size {row['size']}. It was "
        f"trained and tested on: {row['corpus']}.",
        table,
        f"(Seed {row['seed']}, speechbrain_cwrnn {row['version']}.)",
        "Where the packages speechbrain and speechbrain_cwrnn are installed, "
        "and this folder is there, or its name is the model's on the hub,",
        f"```python\n{usage(name, interface, wav or 'speech.wav')}\n```",
        f"prints\n\n{shown}" if wav else "prints what it hears.",
        f"(Tried with speechbrain_cwrnn {version('speechbrain_cwrnn')}, "
        f"{', '.join(versions)}.)",
    ]
    return "\n\n".join(parts) + "\n"


def hub_program(columns, measure):
    """What a recipe's publish.py does as a program.

    Arguments
    ---------
    columns : dict
        As for `write_hub_folder`.
    measure : callable
        As there.
    """
    parser = argparse.ArgumentParser(
        description="Write a folder that is ready for the Hugging Face hub."
    )
    parser.add_argument("run", help="output folder of the run")
    parser.add_argument(
        "--to", required=True, metavar="FOLDER", help="where to write"
    )
    parser.add_argument("--example", metavar="FILE", help="audio to include")
    parser.add_argument("--license", help="such as apache-2.0")
    parser.add_argument("--language", help="such as en")
    args = parser.parse_args()
    try:
        write_hub_folder(
            args.run,
            args.to,
            columns,
            measure,
            args.example,
            args.license,
            args.language,
        )
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")
    print(f"Written: {args.to}")
