"""Choose the waveforms that the networks of this recipe learn to generate.

They are excerpts of a recording, or sequences from a CSV file, or, if neither
is given, excerpts of a tune that is synthesised here.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_cwrnn.audio import MAX_SAMPLE, Recording, read_audio
from speechbrain_cwrnn.checks import check_is_no_device
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import check_file_names, read_manifest
from speechbrain_cwrnn.report import whole_file


def prepare_audiogen(
    save_json,
    save_folder,
    audio=None,
    targets=None,
    num_excerpts=5,
    excerpt_seconds=0.00726,
    offset=0.0,
    csv_sample_rate=44100,
    in_use=False,
):
    """Write the targets as audio, and a manifest of them.

    What they come from is not needed any more. All is checked before anything
    is written.

    Arguments
    ---------
    save_json : str
        The manifest.
    save_folder : str
        Folder for the audio.
    audio : str
        A recording, in any format and at any rate that soundfile reads.
    targets : str
        A CSV file whose first row has names and whose columns are sequences.
    num_excerpts : int
        Number of excerpts of the recording or tune, spread evenly over what
        follows the offset.
    excerpt_seconds : float
        Length of each.
    offset : float
        Where the first one starts, in seconds.
    csv_sample_rate : int
        Rate of the sequences in the CSV file, in Hz.
    in_use : bool
        Whether something was trained with these options before, so that what
        the targets come from may be gone.

    Returns
    -------
    str
        What to call the targets in reports.
    """
    if audio is not None and targets is not None:
        raise InputError(
            f"audio={audio}, targets={targets}: expected one of them at most."
        )
    corpus = Path(audio or targets or "tune").name
    save_json, folder = Path(save_json), Path(save_folder).absolute()
    given = audio or targets
    is_gone = given is not None and not os.path.exists(given)
    if in_use and is_gone and comes_from(save_json, corpus):
        print(f"{given} is gone: training goes on with what was taken from it.")
        return corpus
    if targets is not None:
        sequences, rate = read_sequences(targets), csv_sample_rate
    else:
        spans = num_excerpts, excerpt_seconds, offset
        sequences, rate = (
            cut_tune(*spans) if audio is None else cut_recording(audio, *spans)
        )
    paths = {name: folder / "targets" / f"{name}.wav" for name in sequences}
    manifest = {
        name: {
            "wav": str(paths[name]),
            "source": corpus,
            "sample_rate": rate,
            # Tells it from others of the same name.
            "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
        }
        for name, samples in sequences.items()
    }
    if save_json.exists() and read_json(save_json) != manifest:
        raise InputError(
            f"{save_json} describes other targets, and is kept: expected "
            f"another --output_folder, or --skip_prep True for those targets."
        )
    try:
        for name, samples in sequences.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            with whole_file(paths[name]) as temporary:
                soundfile.write(
                    temporary, samples, rate, format="WAV", subtype="FLOAT"
                )
        if not save_json.exists():
            save_json.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(save_json) as temporary:
                with open(temporary, "w", encoding="utf-8") as file:
                    json.dump(manifest, file, indent=2)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(
            f"output_folder={folder.parent}: expected a folder that can be "
            f"written ({error})."
        ) from error
    return corpus


def read_json(path):
    """What a JSON file has in it, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def comes_from(save_json, source):
    """Whether all targets of a manifest were taken from a file of this name,
    which may be gone since."""
    manifest = read_json(save_json) if save_json.is_file() else None
    return isinstance(manifest, dict) and all(
        isinstance(entry, dict) and entry.get("source") == source
        for entry in manifest.values()
    )


def read_targets(path):
    """The entries of a manifest with their samples [T]: of one length, and
    none of them silent."""
    entries = read_manifest(path, ["wav"])
    check_file_names(entries, f"{path}, entry")
    first, *_ = entries.values()
    for name, item in entries.items():
        start, stop = item["start"], item["stop"]
        if stop - start != first["stop"] - first["start"]:
            raise InputError(
                f"{path}, entry {name}, start={start}, stop={stop}: expected "
                f"as many samples as in the first entry."
            )
        where = f"{path}, entry {name}"
        item["samples"] = read_audio(where, item["wav"], start, stop)
        check_varies(item["samples"], where)
    return entries


def check_varies(samples, where):
    """Raise an error where a target is constant."""
    if not np.ptp(samples):
        raise InputError(
            f"{where}: expected sound, it is constant, so that no error "
            f"relative to it can be computed."
        )


def cut_tune(*spans):
    """Excerpts of the tune by name, in float32, and its rate."""
    samples, rate = tune()
    samples = samples.astype(np.float32)
    places = choose_excerpts("the tune", len(samples), rate, *spans)
    excerpts = [samples[start:stop] for start, stop in places]
    return name_excerpts(excerpts), rate


def cut_recording(path, *spans):
    """Excerpts of a recording by name, in float32, and its rate."""
    with Recording(path, f"audio={path}") as recording:
        length, rate = recording.count(), recording.samplerate
    places = choose_excerpts(f"audio={path}", length, rate, *spans)
    with Recording(path, f"audio={path}") as recording:
        excerpts = [recording.samples(start, stop) for start, stop in places]
    for (start, stop), samples in zip(places, excerpts):
        check_varies(
            samples,
            f"audio={path}, from {start / rate:g} to {stop / rate:g} s (try "
            f"another --offset)",
        )
    return name_excerpts(excerpts), rate


def name_excerpts(excerpts):
    """Excerpts by the names of target1, target2, ..."""
    return {f"target{n}": part for n, part in enumerate(excerpts, start=1)}


def choose_excerpts(what, length, rate, num_excerpts, seconds, offset):
    """Start and stop, in samples, of excerpts spread evenly over a length."""
    size = round(seconds * rate)
    first = round(offset * rate)
    if num_excerpts < 1 or size < 2 or first < 0:
        raise InputError(
            f"num_excerpts={num_excerpts}, excerpt_seconds={seconds}, "
            f"offset={offset}: expected at least one excerpt, of at least two "
            f"samples, and no negative offset."
        )
    spacing = (length - first) // num_excerpts
    if spacing < size:
        raise InputError(
            f"{what} is {length / rate:g} s long: expected room for "
            f"num_excerpts={num_excerpts} of excerpt_seconds={seconds} after "
            f"offset={offset}."
        )
    return [
        (first + n * spacing, first + n * spacing + size)
        for n in range(num_excerpts)
    ]


def read_rows(path):
    """The rows of a CSV file that are not empty, by the numbers of their
    lines, and what is between its cells."""
    check_is_no_device(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            # Spreadsheets write these where the comma is that of decimals.
            delimiter = next((d for d in "\t;" if d in first), ",")
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num, row) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"targets={path}: expected a CSV file, in UTF-8 ({error})."
        ) from error
    return rows, delimiter


def read_number(text, delimiter):
    """A number as float32, NaN where it is none."""
    if delimiter != ",":
        text = text.replace(",", ".")
    try:
        with np.errstate(over="ignore"):
            return np.float32(float(text))
    except ValueError:
        return np.float32(np.nan)


def read_sequences(path):
    """The columns of a CSV file, by name, in float32."""
    rows, delimiter = read_rows(path)
    if len(rows) < 3:
        raise InputError(
            f"targets={path}: expected a row of names and at least two of "
            f"numbers below, got {len(rows)} rows."
        )
    (_, names), *rows = rows
    names = [name.strip() for name in names]
    if all(np.isfinite(read_number(name, delimiter)) for name in names):
        raise InputError(
            f"targets={path}: expected names in the first row, got numbers: "
            f"{names}."
        )
    if len(set(names)) < len(names):
        raise InputError(f"targets={path}: expected different names: {names}.")
    check_file_names(names, f"targets={path}, column")
    values = np.empty((len(names), len(rows)), dtype=np.float32)
    for index, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise InputError(
                f"targets={path}, line {line}: expected {len(names)} numbers, "
                f"got {len(row)}."
            )
        for column, text in enumerate(row):
            value = read_number(text, delimiter)
            if not abs(value) <= MAX_SAMPLE:
                raise InputError(
                    f"targets={path}, line {line}, column {names[column]}: "
                    f"expected a finite number, of at most {MAX_SAMPLE:g} in "
                    f"size, got {text!r}."
                )
            values[column, index] = value
    for name, sequence in zip(names, values):
        check_varies(sequence, f"targets={path}, column {name}")
    return dict(zip(names, values))


def tune(sample_rate=44100):
    """A short tune for plucked strings, synthesised.

    Each note has eight slightly stretched partials, a fast attack and a decay
    that is faster for the higher ones.

    Arguments
    ---------
    sample_rate : int
        In Hz.

    Returns
    -------
    samples : numpy.ndarray
        The tune [T], at most 1 in magnitude.
    sample_rate : int
        As given.

    Example
    -------
    >>> samples, rate = tune()
    >>> round(len(samples) / rate, 1)
    2.5
    """
    beat = 0.25
    # MIDI numbers of the notes; the second voice enters a beat later.
    melody = [64, 67, 71, 74, 72, 71, 67, 69, 66]
    samples = np.zeros(round((len(melody) + 1) * beat * sample_rate))
    for n, note in enumerate(melody):
        for delay, midi in ((0, note), (beat, note - 12)):
            start = round((n * beat + delay) * sample_rate)
            t = np.arange(
                min(2 * round(beat * sample_rate), len(samples) - start)
            )
            t = t / sample_rate
            pitch = 440 * 2 ** ((midi - 69) / 12)
            for partial in range(1, 9):
                frequency = partial * pitch * (1 + 0.0004 * partial**2)
                envelope = np.exp(-(2 + partial) * t) * (1 - np.exp(-400 * t))
                wave = np.sin(2 * np.pi * frequency * t + partial)
                samples[start : start + len(t)] += envelope * wave / partial
    return samples / np.abs(samples).max(), sample_rate
