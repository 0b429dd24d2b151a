#!/usr/bin/env python3
"""Lay recordings of spoken digits out in the form of TIMIT.

They are those of the Free Spoken Digit Dataset, by Zohar Jackson and others
(https://github.com/Jakobovski/free-spoken-digit-dataset): files as
7_theo_12.wav, for the twelfth time that Theo says a seven.

To run:
> python digits_as_timit.py free-spoken-digit-dataset/recordings FOLDER

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import os
import random
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly
from timit_prepare import SAMPLE_RATE

from speechbrain_cwrnn.audio import Recording
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.outputs import is_room

DIGITS = "zero one two three four five six seven eight nine".split()
TAKES_PER_SENTENCE = 4
# What is before each recording, drawn, and after the last one, in samples.
PAUSE, END = (800, 3200), 1600


def lay_out_digits(recordings, folder, seed=0):
    """Write sentences of four digits, in TRAIN but for the last speaker.

    Nothing is left if it cannot be completed.

    Arguments
    ---------
    recordings : str
        The folder of the recordings.
    folder : str
        A folder for the sentences, new or empty.
    seed : int
        Another seed draws other orders and pauses.
    """
    takes = find_takes(recordings)
    folder = Path(folder).absolute()
    if not is_room(folder) or (folder.exists() and any(folder.iterdir())):
        raise InputError(
            f"folder={folder}: expected a new or empty folder, that can be "
            f"written."
        )
    rng = random.Random(seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".partial-{folder.name}-", dir=folder.parent
    ) as temporary:
        corpus = Path(temporary) / folder.name
        *_, last = takes
        for speaker, paths in takes.items():
            split = "TEST" if speaker == last else "TRAIN"
            write_speaker(corpus / split / "DR1" / speaker, paths, rng)
        os.replace(corpus, folder)


def find_takes(recordings):
    """The recordings of each speaker, by a name in TIMIT's form, sorted."""
    takes, names = {}, {}
    for path in sorted(Path(recordings).glob("*.wav")):
        match = re.fullmatch("[0-9]_([a-z]{3,})_[0-9]+", path.stem)
        if match is None:
            raise InputError(
                f"{path}: expected a name as 7_theo_12.wav, of digit, speaker "
                f"and number."
            )
        # All are men.
        name = f"M{match[1][:3]}0".upper()
        other = names.setdefault(name, match[1])
        if other != match[1]:
            raise InputError(
                f"{path}: expected speakers whose names differ in their first "
                f"three letters, and there is {other}."
            )
        takes.setdefault(name, []).append(path)
    if len(takes) < 2:
        raise InputError(
            f"recordings={recordings}: expected files as 7_theo_12.wav of two "
            f"speakers or more, found {', '.join(names.values()) or 'none'}."
        )
    return dict(sorted(takes.items()))


def write_speaker(folder, paths, rng):
    """Write all sentences of a speaker; recordings that are left over are not
    in any."""
    folder.mkdir(parents=True)
    rng.shuffle(paths)
    for number in range(len(paths) // TAKES_PER_SENTENCE):
        first = number * TAKES_PER_SENTENCE
        parts, words, stop = [], [], 0
        for path in paths[first : first + TAKES_PER_SENTENCE]:
            pause = np.zeros(rng.randint(*PAUSE), np.float32)
            samples = read_take(path)
            start = stop + len(pause)
            stop = start + len(samples)
            words.append((start, stop, DIGITS[int(path.stem[0])]))
            parts += [pause, samples]
        audio = np.concatenate([*parts, np.zeros(END, np.float32)])
        stem = folder / f"SX{number:03d}"
        soundfile.write(
            f"{stem}.WAV",
            audio.clip(-1, 1),
            SAMPLE_RATE,
            format="NIST",
            subtype="PCM_16",
        )
        text = " ".join(word for *_, word in words).capitalize()
        for kind, lines in (
            ("TXT", [(0, len(audio), f"{text}.")]),
            ("WRD", words),
        ):
            rows = [f"{start} {stop} {what}\n" for start, stop, what in lines]
            Path(f"{stem}.{kind}").write_text("".join(rows))


def read_take(path):
    """A recording at TIMIT's sample rate."""
    with Recording(path, str(path)) as recording:
        samples = recording.samples(0, recording.count())
        rate = recording.samplerate
    return resample_poly(samples, SAMPLE_RATE, rate).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", help="as 7_theo_12.wav")
    parser.add_argument("folder", help="a new folder for the corpus")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        lay_out_digits(**vars(args))
    except (InputError, OSError) as error:
        sys.exit(f"Error: {error}")
