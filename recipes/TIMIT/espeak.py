"""The library of espeak-ng: speech, and the times of its phonemes.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import ctypes
import os
from functools import cache
from itertools import takewhile

import numpy as np

from speechbrain_cwrnn.errors import InputError


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

SAMPLE_RATE = 22050
# N_PATH_HOME of espeak-ng's speech.h.
MAX_PATH = 160


def find_espeak():
    """The package that has the library of espeak-ng.

    Returns
    -------
    module
        What `import espeakng_loader` gives; an error says what to install.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError(
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
        short_path(package.get_data_path()),
        PHONEME_EVENTS | DONT_EXIT,
    )
    if rate != SAMPLE_RATE:
        raise RuntimeError(
            f"espeak_Initialize returned {rate}: expected {SAMPLE_RATE}."
        )
    return library


def short_path(folder, descriptors="/proc/self/fd"):
    """The path of a folder in as many bytes as espeak-ng keeps of it."""
    path = os.fsencode(folder)
    if len(path) < MAX_PATH:
        return path
    if not os.path.isdir(descriptors):
        raise InputError(
            f"espeak-ng, whose data are in {folder}: expected a path of less "
            f"than {MAX_PATH} bytes, in an environment that is less deep."
        )
    # Another name for it on Linux. It stays open, since voices are read when
    # they first speak.
    return os.fsencode(f"{descriptors}/{os.open(path, os.O_RDONLY)}")


def version():
    """The version of espeak-ng.

    Returns
    -------
    str
        As "1.52.0".
    """
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
