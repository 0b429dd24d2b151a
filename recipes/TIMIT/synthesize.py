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
import ctypes
import json
import multiprocessing
import os
import random
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from timit_prepare import CORE_TEST_SPEAKERS, DEV_SPEAKERS, SAMPLE_RATE
from tqdm import tqdm

# As many as there are of the core test; preparation finds them by name.
DEV_SPEAKERS = DEV_SPEAKERS[: len(CORE_TEST_SPEAKERS)]

# What all speakers read.
SA_TEXTS = [
    "Would you please put that yellow bowl back above the washing machine?",
    "The noisy boys usually share fresh orange juice with their father.",
]

# Each is for one of the words that the paper's networks tell apart. No text
# has "in the", "on the", "for a" and the like: espeak-ng speaks them as one
# word, and does not tell where the second one starts.
SX_TEXTS = [
    "My uncle is making a bookcase using old oak boards.",
    "They were walking along the beach before the storm.",
    "Somebody is cooking fish and onions downstairs.",
    "The pilot kept looking around until a field appeared.",
    "Our printer stopped working during the first week of July.",
    "The painting shows a biblical scene with three shepherds.",
    "Sales of garden tools are cyclical by nature.",
    "A technical fault delayed the evening train.",
    "She plays classical guitar at least an hour each day.",
    "The next four hours will be critical, said the nurse.",
    "Baking bread at Easter is a tradition here.",
    "That kitchen is a pleasant addition to our house.",
    "Her voice shook throughout the whole audition.",
    "My brother finally got the recognition he deserved.",
    "Five choirs will join the competition this August.",
    "Two musicians shared a taxi to the theater.",
    "Long discussions about money made everyone tired.",
    "Our harbor has strict regulations about large boats.",
    "He answered all accusations with a calm smile.",
    "Icy conditions closed both mountain roads.",
    "A young man sold roses outside the subway.",
    "The judge gave those lawyers very little leeway.",
    "Thick fog covered the freeway until noon.",
    "Wild horses were grazing beside the highway.",
    "Muddy boots have no place anywhere near our hallway.",
]

# Each such text is read by one speaker only.
SI_TEMPLATES = [
    "the {adjective} {person} {adverb} {verb} {which} {thing} {place}",
    "{time}, {which} {person} {verb} {which} {adjective} {thing}",
    "when the {person} {verb} {which} {thing}, the {adjective} {person} {verb} "
    "{which} {thing}",
    "{which} {thing} {place} was {adjective} and {adverb} {adjective}",
]
VOCABULARY = {
    "which": "another every her his my no our that the their this your",
    "person": """actor admiral artist astronaut baker barber brother butcher
        captain carpenter chemist child cousin dancer daughter dentist doctor
        driver editor engineer farmer fireman gardener girl governor guard
        hunter inspector janitor jeweler lawyer librarian manager mechanic
        merchant miner mother neighbor nephew painter physician pilot plumber
        poet professor reporter sailor scientist secretary sheriff singer
        soldier student surgeon tailor teacher thief tourist waitress widow""",
    "adjective": """ancient angry awkward beautiful blue brave bright broken
        careful cheap clever cold curious dirty dusty eager elegant empty
        enormous faithful famous foreign friendly fragile gentle giant golden
        gray greedy green handsome happy heavy honest humble jealous jolly lazy
        lonely loud lucky mysterious narrow nervous patient peculiar pink polite
        proud purple quiet rare royal rusty shallow sharp shiny shy silent
        silver simple sleepy slow smooth soft strange stubborn thin tiny ugly
        unusual vague warm weary white wise wooden young""",
    "thing": """album anchor apple arrow basket bicycle blanket book bottle
        bridge bucket button camera candle carriage chair cheese clock coat coin
        couch curtain diamond diary drawer engine envelope feather fence flag
        flute fountain garage hammer hat jacket jar jewel jug kettle key ladder
        lamp lantern letter lizard map measure mirror mushroom necklace
        newspaper oyster package parrot peach pencil piano picture pigeon pillow
        pitcher pumpkin puzzle rocket rope sandwich saucer scarf shovel suitcase
        sweater table telescope ticket tower toy treasure trumpet umbrella vase
        vegetable violin wagon watch wheel whistle window zipper""",
    "verb": """admired arranged borrowed bought brushed buried carried chose
        cleaned collected copied decorated delivered described destroyed
        discovered dropped enjoyed examined exchanged fetched finished folded
        followed forgot found guarded hid ignored imagined inspected kept liked
        lost measured mended mentioned moved needed noticed offered ordered
        owned packed painted photographed polished protected pushed recognized
        refused remembered repaired sketched stole studied threw touched visited
        washed wanted watched wrapped""",
    "adverb": """again always badly boldly carefully cheerfully eagerly easily
        gladly gently hardly hastily never nicely nearly often once patiently
        proudly quickly quietly rarely really secretly seldom slowly suddenly
        surely""",
    "place": """above_the_station across_the_river after_breakfast at_school
        among_the_tall_trees at_the_airport before_the_exam behind_the_church
        below_the_cliff beside_the_oil_pump between_two_oaks by_the_fireplace
        during_the_voyage inside_the_tent near_the_zoo next_to_the_bank
        outside_the_attic over_the_weekend through_the_tunnel upon_the_hill
        under_the_stairs with_great_pleasure without_any_reason""",
    "time": """after_lunch as_usual at_midnight before_sunrise by_chance
        every_Tuesday last_winter late_Friday long_ago one_foggy_morning
        soon_afterwards this_year two_weeks_later yesterday""",
}

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

# TIMIT's labels for the phonemes of espeak-ng, without their stress.
PHONES = {
    # Stops and affricates, with their closures
    **{"b": "bcl b", "d": "dcl d", "g": "gcl g", "p": "pcl p", "k": "kcl k"},
    **{"t": "tcl t", "t2": "tcl t", "t[": "tcl t", "t#": "dx", "?": "q"},
    **{"tS": "tcl ch", "dZ": "dcl jh"},
    # Fricatives
    **{"f": "f", "v": "v", "T": "th", "D": "dh", "s": "s", "z": "z"},
    **{"S": "sh", "Z": "zh", "h": "hh"},
    # Nasals, liquids and glides
    **{"m": "m", "n": "n", "n-": "en", "N": "ng", "l": "l", "@L": "el"},
    **{"r": "r", "r-": "r", "w": "w", "w#": "w", "j": "y", ";": "y"},
    # Vowels
    **{"i:": "iy", "i": "iy", "I": "ih", "I2": "ix", "I#": "ix", "E": "eh"},
    **{"a": "ae", "aa": "ae", "A:": "aa", "A@": "aa", "0": "aa", "V": "ah"},
    **{"O:": "ao", "O2": "ao", "O@": "ao", "o@": "ao", "U": "uh", "u:": "uw"},
    **{"3:": "er", "IR": "er", "VR": "er", "3": "ax", "a#": "ax", "@": "ax"},
    **{"@-": "ax", "@2": "ax", "@5": "ax", "e@": "eh", "i@3": "ih", "U@": "uh"},
    # Diphthongs
    **{"eI": "ey", "aI": "ay", "aI2": "ay", "aI3": "ay", "OI": "oy"},
    **{"aU": "aw", "oU": "ow", "aI@": "ay ax", "i@": "iy ax"},
}
# What differs in an accent: only the American one has the r of "far", "bird",
# "near"; the "a" of "after" is long in the south of England.
PHONES_OF_ACCENT = {
    "en": {"aa": "aa"},
    "en-gb-x-rp": {"aa": "aa"},
    "en-us": {
        **{"3": "axr", "aI3": "ay axr", "A@": "aa r", "O@": "ao r"},
        **{"o@": "ao r", "e@": "eh r", "i@3": "ih r", "U@": "uh r"},
    },
}

SPEAKERS_PER_TEXT = 7
TEXTS_PER_SPEAKER = {"SX": 5, "SI": 3}
MIN_SPEAKERS = len(SX_TEXTS) * SPEAKERS_PER_TEXT // TEXTS_PER_SPEAKER["SX"]
# Of the fewest, 7 are in TEST, where 5 texts are read by all of them.
MIN_TRAIN_SPEAKERS = MIN_SPEAKERS - SPEAKERS_PER_TEXT

ESPEAK_RATE = 22050
# In samples at that rate: 5, 59 and 30 ms.
MIN_CLOSURE, MAX_CLOSURE, MIN_LIQUID = 110, 1300, 660

MARKER = "SYNTHETIC.txt"


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
        raise ValueError(
            f"num_speakers={num_speakers}: expected at least {MIN_SPEAKERS}, "
            f"so that each word has {SPEAKERS_PER_TEXT} speakers."
        )
    folder = Path(folder).absolute()
    options = json.dumps({"num_speakers": num_speakers, "seed": seed})
    if is_made(folder, options):
        return str(folder)
    find_espeak()
    rng = random.Random(seed)
    speakers = draw_speakers(num_speakers, rng)
    # espeak-ng goes on with its flutter of the pitch where the last sentence
    # ended, so that only a process of its own gives the same files each time.
    context = multiprocessing.get_context("spawn")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            ProcessPoolExecutor(1, context) as espeak,
            tempfile.TemporaryDirectory(
                prefix=f".partial-{folder.name}-", dir=folder.parent
            ) as temporary,
        ):
            corpus = Path(temporary) / folder.name
            for speaker in tqdm(speakers, desc="synthesis", unit="speaker"):
                spoken = espeak.submit(
                    speak,
                    f"{speaker.accent}+{speaker.variant}",
                    speaker.settings,
                    list(speaker.texts.values()),
                ).result()
                write_speaker(corpus, speaker, spoken, rng)
            version = espeak.submit(espeak_version).result()
            (corpus / MARKER).write_text(
                f"This is not TIMIT. It is synthetic speech by espeak-ng "
                f"{version},\nmade by synthesize.py of speechbrain_cwrnn with "
                f"these options:\n{options}\n",
                encoding="utf-8",
            )
            os.replace(corpus, folder)
    except OSError as error:
        raise ValueError(
            f"folder={folder}: expected a folder that can be written ({error})."
        ) from error
    return str(folder)


def is_made(folder, options):
    """Whether the folder holds the corpus; other contents are an error."""
    marker = folder / MARKER
    if marker.is_file():
        made = marker.read_text(encoding="utf-8").strip().split("\n")[-1]
        if made == options:
            return True
        raise ValueError(
            f"folder={folder}: expected another one, or none there; it holds "
            f"a corpus with the options {made}."
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(
            f"folder={folder}: expected a new or empty folder, or a corpus by "
            f"this script."
        )
    return False


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


def draw_si_texts(count, rng):
    """A number of different sentences, by the grammar."""
    vocabulary = {name: words.split() for name, words in VOCABULARY.items()}
    texts = {}
    while len(texts) < count:
        text = re.sub(
            "{(.*?)}",
            lambda match: rng.choice(vocabulary[match[1]]),
            rng.choice(SI_TEMPLATES),
        ).replace("_", " ")
        texts[text[0].upper() + text[1:] + "."] = None
    return list(texts)


def write_speaker(corpus, speaker, spoken, rng):
    """Write the audio and transcriptions of one speaker.

    Arguments
    ---------
    corpus : pathlib.Path
        The corpus.
    speaker : Speaker
        Who speaks.
    spoken : list
        What `speak` returned for the texts.
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
            torch.from_numpy(samples / 2**16).float(), ESPEAK_RATE, SAMPLE_RATE
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
        segments = label(text, samples, events, phones)
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
    return -(-position * SAMPLE_RATE // ESPEAK_RATE)


def label(text, samples, events, phones):
    """Words and phones of a sentence, and when they are spoken.

    Arguments
    ---------
    text : str
        The sentence.
    samples : numpy.ndarray
        The speech [T], with silence before and after.
    events : list
        The phonemes: mnemonic, position of their word in the text (from 1),
        and first sample.
    phones : dict
        TIMIT's labels for each mnemonic.

    Returns
    -------
    words : list
        First sample, first one thereafter, and word.
    phones : list
        First sample, first one thereafter, and label.

    Example
    -------
    >>> samples = np.repeat([0, 1, 0, 1, 0], 1000)
    >>> events = [("'i:", 1, 1000), ("t", 1, 3000), ("_:", 5, 4000)]
    >>> words, phones = label("Eat.", samples, events, PHONES)
    >>> words
    [(1000, 4000, 'eat')]
    >>> [f"{start} {what}" for start, stop, what in phones]
    ['0 h#', '1000 iy', '2000 tcl', '3000 t', '4000 h#']
    """
    segments = []
    spans = find_spans(text, samples, events, phones)
    for (start, labels, word), (stop, *_) in zip(
        spans, [*spans[1:], (len(samples),)]
    ):
        bounds = np.linspace(start, stop, len(labels) + 1).astype(int).tolist()
        for start, stop, what in zip(bounds, bounds[1:], labels):
            if segments and segments[-1][2:] == (what, word):
                # The r of "near" and the one after it are one in "nearing".
                start = segments.pop()[0]
            segments.append((start, stop, what, word))

    words = {m.start() + 1: m[0] for m in re.finditer(r"\w+", text.lower())}
    times = {}
    for start, stop, _, word in segments:
        if word is not None:
            times[word] = (times.get(word, (start,))[0], stop)
    if list(times) != list(words):
        raise ValueError(
            f"text={text!r}: expected words that espeak-ng speaks one by one."
        )
    return (
        [(*times[position], word) for position, word in words.items()],
        [segment[:3] for segment in segments],
    )


def find_spans(text, samples, events, phones):
    """The spans of the phonemes, and what is in them.

    Arguments
    ---------
    text, samples, events, phones :
        As those of `label`.

    Returns
    -------
    list
        First sample, labels, and position of the word (from 1), None for
        silence. A span ends where the next one starts.
    """
    spans = [(0, ["h#"], None)]
    stops = [start for _, _, start in events[1:]] + [len(samples)]
    for (mnemonic, word, start), stop in zip(events, stops):
        mnemonic = mnemonic.lstrip("',%=")
        before, _, word_before = spans[-1]
        if mnemonic.startswith("_"):
            if stop > start and word_before is not None:
                spans.append((start, ["pau"], None))
            continue
        if mnemonic not in phones:
            raise ValueError(
                f"text={text!r}: expected phonemes that TIMIT has labels for, "
                f"got {mnemonic!r} of espeak-ng."
            )
        labels = phones[mnemonic].split()
        if labels[0].endswith("cl"):
            # Where the closure is silent, the event is at its end.
            sound = np.flatnonzero(samples[before:start])
            silence = start - before - (sound[-1] + 1 if len(sound) else 0)
            if not len(sound):
                silence //= 2
            if silence >= MIN_CLOSURE:
                closure = start - min(silence, MAX_CLOSURE)
                spans.append((closure, [labels.pop(0)], word))
        spans.append((start, labels, word))
    spans[-1] = (spans[-1][0], ["h#"], None)

    merged = []
    for span, (stop, *_) in zip(spans, [*spans[1:], (len(samples),)]):
        start, labels, word = span
        if (
            labels[0] in ("l", "r")
            and stop - start < MIN_LIQUID
            and word == merged[-1][2]
        ):
            # After a vowel it is part of that, mostly or at all.
            merged[-1][1].extend(labels)
        else:
            merged.append(span)
    return merged


class Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phoneme", ctypes.c_char * 8),
    ]


# t_espeak_callback, and constants of speak_lib.h.
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_short),
    ctypes.c_int,
    ctypes.POINTER(Event),
)
SYNCHRONOUS = 2
PHONEME_EVENTS, DONT_EXIT = 0x0001, 0x8000
PHONEME_EVENT = 7
RATE, PITCH, RANGE = 1, 3, 4
CHARACTERS, UTF8 = 1, 1


def find_espeak():
    """The package that has the library of espeak-ng."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ValueError(
            "Synthesis needs espeak-ng: expected "
            "`pip install 'speechbrain_cwrnn[synth]'`."
        ) from error
    return espeakng_loader


@cache
def load_espeak():
    """The library of espeak-ng, ready to speak; there is one per process."""
    package = find_espeak()
    library = ctypes.CDLL(package.get_library_path())
    rate = library.espeak_Initialize(
        SYNCHRONOUS,
        0,
        os.fsencode(package.get_data_path()),
        PHONEME_EVENTS | DONT_EXIT,
    )
    if rate != ESPEAK_RATE:
        raise RuntimeError(
            f"espeak_Initialize returned {rate}: expected {ESPEAK_RATE}."
        )
    return library


def espeak_version():
    """The version of espeak-ng."""
    info = load_espeak().espeak_Info
    info.restype = ctypes.c_char_p
    return info(None).decode()


def speak(voice, settings, texts):
    """Speak texts.

    Arguments
    ---------
    voice : str
        Voice and variant, as "en-us+f1".
    settings : tuple
        Speed, pitch, and its range.
    texts : list
        The texts.

    Returns
    -------
    list
        For each text its samples [T], and its phonemes: mnemonic, position of
        their word in the text (from 1), and first sample.
    """
    library = load_espeak()
    chunks, events = [], []

    @CALLBACK
    def collect(samples, count, new_events):
        if samples:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        # A pointer does not know where the events end: one of type 0 does.
        for event in takewhile(lambda e: e.type, new_events):
            if event.type == PHONEME_EVENT:
                mnemonic = event.phoneme.decode()
                events.append((mnemonic, event.text_position, event.sample))
        return 0

    def call(function, *arguments):
        status = library[function](*arguments)
        if status:
            raise RuntimeError(
                f"{function} returned {status} for {voice}: expected 0."
            )

    library.espeak_SetSynthCallback(collect)
    call("espeak_SetVoiceByName", voice.encode())
    for parameter, value in zip((RATE, PITCH, RANGE), settings):
        call("espeak_SetParameter", parameter, value, 0)
    spoken = []
    for text in texts:
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        call("espeak_Synth", data, size, 0, CHARACTERS, 0, UTF8, None, None)
        call("espeak_Synchronize")
        spoken.append((np.concatenate(chunks), events[:]))
        chunks.clear()
        events.clear()
    return spoken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="a new folder for the corpus")
    parser.add_argument("--num_speakers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    synthesize_timit(**vars(parser.parse_args()))
