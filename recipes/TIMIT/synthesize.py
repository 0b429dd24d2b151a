"""Make a corpus in the form of TIMIT out of synthetic speech.

It is for those who do not have TIMIT, which is not free: the same files, under
the same names, with speech by espeak-ng, which comes with the package
espeakng-loader. The synthesiser itself tells when each phoneme starts.

To run:
> python synthesize.py FOLDER --num_speakers 40 --seed 0

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import espeak
import numpy as np
import soundfile
import torch
import torchaudio
from alignment import PHONES, PHONES_OF_ACCENT, align
from texts import SA_TEXTS, SX_TEXTS, draw_si_texts
from timit_prepare import (
    CORE_TEST_SPEAKERS,
    DEV_SPEAKERS,
    SAMPLE_RATE,
    find_corpus,
)
from tqdm import tqdm

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import SYNTHETIC
from speechbrain_cwrnn.outputs import can_be_called, is_room

# As many as there are of the core test; preparation finds them by name.
DEV_SPEAKERS = DEV_SPEAKERS[: len(CORE_TEST_SPEAKERS)]

# The regions are accents of espeak-ng.
ACCENTS = {
    "DR1": "en",
    "DR2": "en-us",
    "DR3": "en-us-nyc",
    "DR4": "en-029",
    "DR5": "en-gb-scotland",
    "DR6": "en-gb-x-gbclan",
    "DR7": "en-gb-x-gbcwmd",
    "DR8": "en-gb-x-rp",
}
# Those without echo, since closures are found by their silence, without
# breath, whose noise is random, and without clipping.
VARIANTS = {
    "f": ["f1", "Annie", "belinda", "linda", "shelby", "steph"],
    "m": ["m1", "m3", "m4", "m6", "m7", "Alex", "Mario", "Mike", "max", "rob"],
}

SPEAKERS_PER_TEXT = 7
TEXTS_PER_SPEAKER = {"SX": 5, "SI": 3}
MIN_SPEAKERS = len(SX_TEXTS) * SPEAKERS_PER_TEXT // TEXTS_PER_SPEAKER["SX"]
# Names and sentences, which are drawn, would run out somewhere.
MAX_SPEAKERS = 630
# Of the fewest, 7 are in TEST, where 5 texts are read by all of them.
MIN_TRAIN_SPEAKERS = MIN_SPEAKERS - SPEAKERS_PER_TEXT


@dataclass
class Speaker:
    """One speaker: how to synthesise the voice, and what it reads.

    Arguments
    ---------
    name : str
        In TIMIT's form: sex, initials, number.
    split : {"TRAIN", "TEST"}
        Where the recordings are.
    region : str
        One of DR1 to DR8.
    variant : str
        Variant of the voices of espeak-ng.
    settings : tuple
        Speed in words per minute, pitch and its range (0 to 99, 50 is normal).
    texts : dict
        The texts by their names.
    """

    name: str
    split: str
    region: str
    variant: str
    settings: tuple
    texts: dict

    @property
    def accent(self):
        """The voice of espeak-ng, without the variant."""
        return ACCENTS[self.region]


def synthesize_timit(folder, num_speakers=40, seed=0):
    """Write a synthetic corpus in the form of TIMIT, unless it is there.

    Nothing is left if it cannot be completed.

    Arguments
    ---------
    folder : str
        A folder for it, new or empty.
    num_speakers : int
        Number of speakers, of whom about 70% are in TRAIN.
    seed : int
        Another seed draws other voices and texts.

    Returns
    -------
    str
        Path of the folder.
    """
    if num_speakers < MIN_SPEAKERS:
        raise InputError(
            f"num_speakers={num_speakers}: expected at least {MIN_SPEAKERS}, "
            f"so that each word has {SPEAKERS_PER_TEXT} speakers."
        )
    if num_speakers > MAX_SPEAKERS:
        raise InputError(
            f"num_speakers={num_speakers}: expected at most {MAX_SPEAKERS}, as "
            f"many as TIMIT has."
        )
    folder = Path(folder).absolute()
    options = json.dumps({"num_speakers": num_speakers, "seed": seed})
    if not can_be_called(folder):
        raise InputError(f"folder={folder}: expected a shorter name.")
    if is_made(folder, options):
        return str(folder)
    # It is made beside, and takes the place of what is there.
    if not is_room(folder) or os.path.ismount(folder):
        raise InputError(
            f"folder={folder}: expected a folder that can be written and "
            f"replaced, or made where it is not."
        )
    espeak.find_espeak()
    rng = random.Random(seed)
    speakers = draw_speakers(num_speakers, rng)
    # espeak-ng goes on with its flutter of the pitch where the last sentence
    # ended, so that only a process of its own gives the same files each time.
    context = multiprocessing.get_context("spawn")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            ProcessPoolExecutor(1, context) as process,
            tempfile.TemporaryDirectory(
                prefix=f".partial-{folder.name}-", dir=folder.parent
            ) as temporary,
        ):
            corpus = Path(temporary) / folder.name
            for speaker in tqdm(speakers, desc="synthesis", unit="speaker"):
                spoken = process.submit(
                    espeak.speak,
                    f"{speaker.accent}+{speaker.variant}",
                    speaker.settings,
                    list(speaker.texts.values()),
                ).result()
                write_speaker(corpus, speaker, spoken, rng)
            version = process.submit(espeak.version).result()
            (corpus / SYNTHETIC).write_text(
                f"This is not TIMIT. It is synthetic speech by espeak-ng "
                f"{version},\nmade by synthesize.py of speechbrain_cwrnn with "
                f"these options:\n{options}\n",
                encoding="utf-8",
            )
            os.replace(corpus, folder)
    except OSError as error:
        raise InputError(
            f"folder={folder}: expected a folder that can be written ({error})."
        ) from error
    return str(folder)


def is_made(folder, options):
    """Whether the folder holds the corpus; other contents are an error."""
    marker = folder / SYNTHETIC
    if marker.is_file():
        made = marker.read_text(encoding="utf-8").strip().split("\n")[-1]
        if made == options:
            return True
        raise InputError(
            f"folder={folder}: expected another one, or none there; it holds "
            f"a corpus with the options {made}."
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            f"folder={folder}: expected a new or empty folder, or a corpus by "
            f"this script."
        )
    return False


def find_data(data_folder, output_folder, num_speakers):
    """The corpus to use, and what to call it in reports.

    Arguments
    ---------
    data_folder : str
        A copy of TIMIT, or anything else in its form; None for speech that
        is synthesised in the output folder, once.
    output_folder : str
        Folder for that.
    num_speakers : int
        Number of speakers of that.

    Returns
    -------
    data_folder : str
        The folder of the corpus.
    corpus : str
        Its name, which says so where it is synthetic, or a sample.
    """
    if data_folder is None:
        data_folder = Path(output_folder) / "synthetic_TIMIT"
        print("No --data_folder is given: the speech is synthetic.")
        synthesize_timit(data_folder, num_speakers)
    # It may be some levels below.
    corpus = find_corpus(data_folder)
    data_folder = Path(data_folder).absolute()
    name = data_folder.name
    if (corpus.folder / SYNTHETIC).exists():
        name = "synthetic speech"
    elif corpus.is_sample:
        name = "TIMIT sample"
    return str(data_folder), name


def draw_speakers(num_speakers, rng):
    """The speakers, with their voices and texts.

    Arguments
    ---------
    num_speakers : int
        Their number.
    rng : random.Random
        For all that is random.

    Returns
    -------
    list
        Each a Speaker.
    """
    num_test = min(
        num_speakers - max(MIN_TRAIN_SPEAKERS, round(0.7 * num_speakers)),
        len(CORE_TEST_SPEAKERS + DEV_SPEAKERS),
    )
    num_core = num_test // 2
    test = CORE_TEST_SPEAKERS[:num_core] + DEV_SPEAKERS[: num_test - num_core]
    train = []
    while len(train) < num_speakers - num_test:
        # As in TIMIT, a third are women.
        letters = rng.choices("abcdefghijklmnopqrstuvwxyz", k=3)
        name = "mmf"[len(train) % 3] + "".join(letters) + "0"
        if name not in CORE_TEST_SPEAKERS + DEV_SPEAKERS + train:
            train.append(name)

    # As in TIMIT, no text is in both TRAIN and TEST.
    numbers = list(range(1, len(SX_TEXTS) + 1))
    rng.shuffle(numbers)
    slots = TEXTS_PER_SPEAKER["SX"] * num_test
    num_texts = min(slots // SPEAKERS_PER_TEXT, 8)
    sx_of_split = {"TRAIN": numbers[num_texts:], "TEST": numbers[:num_texts]}
    si_texts = draw_si_texts(num_speakers * TEXTS_PER_SPEAKER["SI"], rng)

    speakers = []
    for split, names in (("TRAIN", train), ("TEST", test)):
        for index, name in enumerate(names):
            texts = {f"SA{n}": t for n, t in enumerate(SA_TEXTS, start=1)}
            # Dealt in turn, so that each has its number of speakers.
            sx = sx_of_split[split]
            first = index * TEXTS_PER_SPEAKER["SX"]
            for n in range(first, first + TEXTS_PER_SPEAKER["SX"]):
                number = sx[n % len(sx)]
                texts[f"SX{number}"] = SX_TEXTS[number - 1]
            for _ in range(TEXTS_PER_SPEAKER["SI"]):
                # TIMIT's start here, too.
                texts[f"SI{450 + len(si_texts)}"] = si_texts.pop()
            region = f"DR{1 + len(speakers) % len(ACCENTS)}"
            variant = rng.choice(VARIANTS[name[0]])
            settings = (
                rng.randint(140, 190),
                rng.randint(30, 70),
                rng.randint(35, 70),
            )
            speakers.append(
                Speaker(name, split, region, variant, settings, texts)
            )
    return speakers


def write_speaker(corpus, speaker, spoken, rng):
    """Write the audio and transcriptions of one speaker.

    Arguments
    ---------
    corpus : pathlib.Path
        The corpus.
    speaker : Speaker
        Who speaks.
    spoken : list
        What `espeak.speak` returned for the texts.
    rng : random.Random
        For the pauses around the sentences and the noise.
    """
    folder = corpus / speaker.split / speaker.region / speaker.name.upper()
    folder.mkdir(parents=True)
    phones = PHONES | PHONES_OF_ACCENT.get(speaker.accent, {})
    for (name, text), (samples, events) in zip(speaker.texts.items(), spoken):
        # A recording starts before the speaker does.
        before, after = (rng.randint(2200, 4400) for _ in range(2))
        samples = np.pad(samples, (before, after))
        events = [(p, position, before + t) for p, position, t in events]
        audio = torchaudio.functional.resample(
            torch.from_numpy(samples / 2**16).float(),
            espeak.SAMPLE_RATE,
            SAMPLE_RATE,
        ).numpy()
        # Recorded silence is not zero, and features take logarithms.
        noise = np.random.default_rng(rng.getrandbits(64))
        audio += noise.normal(0, 1e-4, len(audio))
        soundfile.write(
            folder / f"{name}.WAV",
            audio,
            SAMPLE_RATE,
            format="NIST",
            subtype="PCM_16",
        )
        segments = align(text, samples, events, phones)
        for kind, lines in zip(
            ("TXT", "WRD", "PHN"), ([(0, len(samples), text)], *segments)
        ):
            rows = [
                f"{at_sample_rate(start)} {at_sample_rate(stop)} {what}\n"
                for start, stop, what in lines
            ]
            (folder / f"{name}.{kind}").write_text("".join(rows))


def at_sample_rate(position):
    """A position at the rate of espeak-ng as one at that of the files."""
    # Resampling rounds the number of samples up, too.
    return -(-position * SAMPLE_RATE // espeak.SAMPLE_RATE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="a new folder for the corpus")
    parser.add_argument("--num_speakers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        synthesize_timit(**vars(args))
    except InputError as error:
        sys.exit(f"Error: {error}")
