"""Choose the waveforms that the networks of this recipe learn to generate.

They are excerpts of a recording, or sequences from a CSV file, or, if neither
is given, excerpts of a tune that is synthesised here.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import read_manifest
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
):
    """Write a manifest of the targets, and the audio that it needs.

    All is checked before anything is written.

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

    Returns
    -------
    str
        What to call the targets in reports.
    """
    if audio is not None and targets is not None:
        raise InputError(
            f"audio={audio}, targets={targets}: expected one of them at most."
        )
    save_folder = Path(save_folder).absolute()
    made = {}
    if targets is not None:
        sequences = read_sequences(targets)
        manifest = {}
        for name, sequence in sequences.items():
            path = save_folder / "targets" / f"{name}.wav"
            made[path] = sequence, csv_sample_rate
            manifest[name] = entry(
                path, 0, len(sequence), csv_sample_rate, sequence
            )
    else:
        if audio is None:
            path = save_folder / "targets" / "tune.wav"
            samples, rate = made[path] = tune()
        else:
            path = Path(audio).absolute()
            samples, rate = read_recording(path)
        manifest = {
            f"target{n}": entry(path, start, stop, rate, samples[start:stop])
            for n, (start, stop) in enumerate(
                choose_excerpts(
                    samples, rate, num_excerpts, excerpt_seconds, offset, path
                ),
                start=1,
            )
        }

    save_json = Path(save_json)
    if save_json.exists() and not holds(save_json, manifest):
        raise InputError(
            f"{save_json} describes other targets, and is kept: expected "
            f"another --output_folder, or --skip_prep True for those targets."
        )
    try:
        for path, (samples, rate) in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                soundfile.write(temporary, samples, rate, subtype="FLOAT")
        if not save_json.exists():
            save_json.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(save_json) as temporary:
                with open(temporary, "w", encoding="utf-8") as file:
                    json.dump(manifest, file, indent=2)
    except OSError as error:
        raise InputError(
            f"output_folder={save_folder.parent}: expected a folder that can "
            f"be written ({error})."
        ) from error
    return Path(audio or targets or "tune").name


def holds(path, content):
    """Whether this is what a JSON file has in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) == content
    except ValueError:
        return False


def read_targets(path):
    """The entries of a manifest: excerpts of one length, none of it silent."""
    entries = read_manifest(path, ["wav"])
    first, *_ = entries.values()
    for name, item in entries.items():
        start, stop = item["start"], item["stop"]
        if stop - start != first["stop"] - first["start"]:
            raise InputError(
                f"{path}, entry {name}, start={start}, stop={stop}: expected "
                f"as many samples as in the first entry."
            )
        samples, _ = soundfile.read(
            item["wav"], start=start, stop=stop, always_2d=True
        )
        if np.ptp(samples.mean(axis=1)) == 0:
            raise InputError(
                f"{path}, entry {name}: expected sound, since no error "
                f"relative to silence can be computed."
            )
    return entries


def entry(path, start, stop, sample_rate, samples):
    """One target in the manifest; start and stop are in samples. Its digest
    tells it from others of the same name and length."""
    return {
        "wav": str(path),
        "start": int(start),
        "stop": int(stop),
        "sample_rate": sample_rate,
        "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
    }


def read_recording(path):
    """The samples [T] of a recording, channels averaged, and its rate."""
    if not path.is_file():
        raise InputError(f"audio={path}: expected a file, and there is none.")
    try:
        samples, rate = soundfile.read(path, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"audio={path}: expected a recording that soundfile reads ({error})"
        ) from error
    if not len(samples):
        raise InputError(f"audio={path}: expected a recording, it is empty.")
    return samples.mean(axis=1), rate


def choose_excerpts(samples, rate, num_excerpts, seconds, offset, path):
    """Start and stop, in samples, of excerpts spread evenly over samples."""
    length = round(seconds * rate)
    first = round(offset * rate)
    if num_excerpts < 1 or length < 2 or first < 0:
        raise InputError(
            f"num_excerpts={num_excerpts}, excerpt_seconds={seconds}, "
            f"offset={offset}: expected at least one excerpt, of at least two "
            f"samples, and no negative offset."
        )
    spacing = (len(samples) - first) // num_excerpts
    if spacing < length:
        raise InputError(
            f"{path} is {len(samples) / rate:g} s long: expected room for "
            f"num_excerpts={num_excerpts} of excerpt_seconds={seconds} after "
            f"offset={offset}."
        )
    excerpts = [
        (first + n * spacing, first + n * spacing + length)
        for n in range(num_excerpts)
    ]
    for n, (start, stop) in enumerate(excerpts, start=1):
        if np.ptp(samples[start:stop]) == 0:
            raise InputError(
                f"{path} is silent from {start / rate:g} to {stop / rate:g} s "
                f"(excerpt {n}), so that no error relative to it can be "
                f"computed: expected sound. Try another --offset."
            )
    return excerpts


def read_sequences(path):
    """The columns of a CSV file, by name."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"targets={path}: expected a CSV file ({error})."
        ) from error
    if len(rows) < 3 or not rows[0]:
        raise InputError(
            f"targets={path}: expected a row of names and at least two of "
            f"numbers below, got {len(rows)} rows."
        )
    names, *rows = rows
    if len(set(names)) < len(names):
        raise InputError(f"targets={path}: expected different names: {names}.")
    values = np.empty((len(rows), len(names)))
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise InputError(
                f"targets={path}, line {number}: expected {len(names)} "
                f"numbers, got {len(row)}."
            )
        for column, text in enumerate(row):
            try:
                value = float(text)
            except ValueError:
                value = np.nan
            if not np.isfinite(value):
                raise InputError(
                    f"targets={path}, line {number}, column {names[column]}: "
                    f"expected a finite number, got {text!r}."
                )
            values[number - 2, column] = value
    for name, sequence in zip(names, values.T):
        if np.ptp(sequence) == 0:
            raise InputError(
                f"targets={path}, column {name}: expected a sequence that "
                f"varies, since no error relative to it can be computed."
            )
    return dict(zip(names, values.T))


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
