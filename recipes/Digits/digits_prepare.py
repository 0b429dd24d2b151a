"""Strings of spoken digits, and their features.

The recordings are those of the Free Spoken Digit Dataset, by Zohar Jackson and
others (https://github.com/Jakobovski/free-spoken-digit-dataset): files as
7_theo_12.wav, for the twelfth time that Theo says a seven.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from speechbrain.lobes.features import Fbank

from speechbrain_cwrnn.audio import Recording
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import check_file_names

SAMPLE_RATE = 8000
DIGITS = 4
# Each recording that is learnt is in so many strings: with few, networks learn
# these by heart.
REPEATS = 16
# What is between two recordings: faint noise, in samples.
PAUSE, NOISE = (200, 1200), 1e-3
# The share of the recordings that are for development.
VALID = 0.2
# Of a recording, in samples; CTC needs more frames of a string than digits.
SHORTEST = 400
N_MELS = 40


class Take(NamedTuple):
    """A recording of a digit, as samples [T]."""

    digit: int
    speaker: str
    samples: np.ndarray


class String(NamedTuple):
    """Features [T, F] of a string, and its digits."""

    features: torch.Tensor
    digits: list


def read_takes(folder):
    """All recordings of a folder.

    Arguments
    ---------
    folder : str
        Where they are.

    Returns
    -------
    list of Take
    """
    if not Path(folder).is_dir():
        raise InputError(
            f"data_folder={folder}: expected a folder of recordings, and there "
            f"is none."
        )
    takes = []
    for path in sorted(Path(folder).glob("*.wav")):
        match = re.fullmatch("([0-9])_([^_]+)_[0-9]+", path.stem)
        if match is None:
            raise InputError(
                f"{path}: expected a name as 7_theo_12.wav, of digit, speaker "
                f"and number."
            )
        with Recording(path, str(path)) as recording:
            if recording.samplerate != SAMPLE_RATE:
                raise InputError(
                    f"{path}: expected {SAMPLE_RATE} Hz, got "
                    f"{recording.samplerate} Hz."
                )
            samples = recording.samples(0, recording.count())
        if len(samples) < SHORTEST:
            raise InputError(
                f"{path}: expected {SHORTEST} samples or more, got "
                f"{len(samples)}."
            )
        takes.append(Take(int(match[1]), match[2], samples))
    speakers = sorted({take.speaker for take in takes})
    if len(speakers) < 2:
        raise InputError(
            f"data_folder={folder}: expected recordings (as 7_theo_12.wav) of "
            f"two speakers or more, found {', '.join(speakers) or 'none'}."
        )
    check_file_names(speakers, f"data_folder={folder}, speaker")
    for speaker in speakers:
        number = sum(take.speaker == speaker for take in takes)
        # Of which there are strings for development.
        if number * VALID < DIGITS:
            raise InputError(
                f"data_folder={folder}: expected {DIGITS / VALID:g} recordings "
                f"of each speaker or more, found {number} of {speaker}."
            )
    return takes


def make_strings(takes, test_speaker):
    """Strings to learn from, for development, and of an unseen speaker.

    Arguments
    ---------
    takes : list of Take
        All recordings.
    test_speaker : str
        Who is unseen.

    Returns
    -------
    list of list of String
        Their features have the mean 0, and in what is learnt the variance 1.
        No recording is in two of the lists.
    """
    rng = np.random.default_rng(0)
    splits = [[], [], []]
    for speaker in sorted({take.speaker for take in takes}):
        mine = [take for take in takes if take.speaker == speaker]
        rng.shuffle(mine)
        if speaker == test_speaker:
            splits[2] += join(mine, 1, rng)
            continue
        num_valid = int(VALID * len(mine))
        splits[0] += join(mine[num_valid:], REPEATS, rng)
        splits[1] += join(mine[:num_valid], 1, rng)
    scale = torch.cat([string.features for string in splits[0]]).std(0)
    return [
        [String(string.features / scale, string.digits) for string in split]
        for split in splits
    ]


def join(takes, repeats, rng):
    """Strings of the recordings of a speaker.

    Arguments
    ---------
    takes : list of Take
        Of which some are left out where their number is none of strings.
    repeats : int
        How often strings are made of all.
    rng : numpy.random.Generator
        For the order and the pauses.

    Returns
    -------
    list of String
    """
    compute_features = Fbank(sample_rate=SAMPLE_RATE, n_mels=N_MELS)

    def pause():
        return NOISE * rng.standard_normal(rng.integers(*PAUSE))

    strings = []
    for _ in range(repeats):
        order = rng.permutation(len(takes))
        for start in range(0, len(takes) - DIGITS + 1, DIGITS):
            parts = [pause()]
            digits = []
            for index in order[start : start + DIGITS]:
                parts += [takes[index].samples, pause()]
                digits.append(takes[index].digit)
            signal = torch.from_numpy(np.concatenate(parts)).float()
            strings.append(
                String(halve(compute_features(signal[None])[0]), digits)
            )
    return strings


def halve(features):
    """Means of pairs of frames [T // 2, F], less their mean over time."""
    pairs = features[: len(features) // 2 * 2].unflatten(0, (-1, 2)).mean(1)
    return pairs - pairs.mean(0)
