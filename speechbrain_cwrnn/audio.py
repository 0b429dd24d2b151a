"""Recordings: reading parts of them, and saying what is wrong with them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from speechbrain_cwrnn.errors import InputError

# Frames that are read at once.
BLOCK = 2**16
# libsndfile's number of frames where a header has none is near 2^63.
MAX_FRAMES = 2**62
# Codes in which soundfile finds any sample, and the bytes of one; in others it
# may be far off (ogg), fail (GSM), or not know their number (MP3).
EXACT = {
    **{"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4},
    **{"FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1},
}
# Those that can hold what is not finite.
FLOATING = ("FLOAT", "DOUBLE")
# The power of a spectrum is finite in 32 bits up to here.
MAX_SAMPLE = 1e10


class Recording(soundfile.SoundFile):
    """A recording, of which parts are read in the order of time.

    Memory does not grow with its length.

    Arguments
    ---------
    path : str or pathlib.Path
        The file, in any format that soundfile reads.
    name : str
        What errors call it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [[0.0, 0.0], [0.5, 0.25], [-0.5, 0.0]], 8000)
    >>> with Recording(path, "audio=a.wav") as recording:
    ...     recording.count(), recording.samples(1, 3)
    (3, array([ 0.375, -0.25 ], dtype=float32))
    """

    is_exact = False

    def __init__(self, path, name):
        if not os.path.isfile(path):
            raise InputError(f"{name}: expected a file, and there is none.")
        if Path(path).suffix.lower() == ".raw":
            raise InputError(
                f"{name}: expected audio with a header, that tells its rate "
                f"(of another name, if it has one)."
            )
        try:
            super().__init__(path)
        except (soundfile.LibsndfileError, UnicodeEncodeError) as error:
            raise InputError(
                f"{name}: expected audio that soundfile reads ({error})."
            ) from error
        if not self.frames:
            raise InputError(f"{name}: expected audio, it is empty.")
        self.called = name
        self.position = 0
        self.is_exact = (
            super().seekable()
            and self.subtype in EXACT
            and self.frames < MAX_FRAMES
        )

    def seekable(self):
        """Whether soundfile may look for positions.

        Its `_cdata_io`, which reads each block, asks this, and then seeks where
        it is already; its `_check_frames` asks whether to trust the number of
        frames.
        """
        return self.is_exact

    def blocks(self, start, stop=None):
        """What is between two frames, or behind one, as blocks of [T, C]."""
        stop = MAX_FRAMES if stop is None else stop
        while self.position < stop:
            try:
                if self.is_exact and self.position < start:
                    self.position = self.seek(start)
                target = start if self.position < start else stop
                frames = min(BLOCK, target - self.position)
                block = self.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise InputError(
                    f"{self.called}: expected audio that soundfile can read, "
                    f"which fails after {self.position / self.samplerate:g} s "
                    f"({error})."
                ) from error
            if not len(block):
                return
            if self.position >= start:
                self.check_finite(block)
                yield block
            self.position += len(block)

    def check_finite(self, block):
        """Raises an error where a value in the next block is not finite."""
        (frames, channels) = np.nonzero(~(np.abs(block) <= MAX_SAMPLE))
        if len(frames):
            time = (self.position + frames[0]) / self.samplerate
            raise InputError(
                f"{self.called}: expected finite samples, of at most "
                f"{MAX_SAMPLE:g} in size, got "
                f"{block[frames[0], channels[0]]:g} at {time:g} s."
            )

    def count(self):
        """The number of frames, all of which are there.

        What is packed, as in FLAC and MP3, is read to the end for that, since
        its header may say anything.
        """
        if not self.is_exact or self.format == "FLAC":
            return sum(len(block) for block in self.blocks(0))
        size = self.channels * EXACT[self.subtype]
        told, has_more = told_by_header(self.name, size)
        told = self.frames if told is None else told
        is_there = self.frames * size <= os.path.getsize(self.name)
        if told != self.frames or not is_there:
            raise InputError(
                f"{self.called}: expected {told} samples, as its header says, "
                f"found {self.frames}."
            )
        if has_more:
            raise InputError(
                f"{self.called}: expected {told} samples, as its header says, "
                f"found more behind them."
            )
        return self.frames

    def samples(self, start, stop):
        """What is between two frames, channels averaged, in float32 [T]."""
        parts = [block.mean(axis=1) for block in self.blocks(start, stop)]
        length = sum(map(len, parts))
        if length < stop - start:
            raise InputError(
                f"{self.called}: expected {stop} samples, as many as it was "
                f"said to have, found {start + length}."
            )
        return np.concatenate(parts)


class Chunks(NamedTuple):
    """How a kind of file is made of chunks.

    Arguments
    ---------
    head : int
        The bytes before the first one.
    order : {"little", "big"}
        How numbers are written.
    name : int
        The bytes of the name of a chunk.
    size : int
        Those of its size.
    itself : int
        Those of both, where the size counts them, too.
    multiple : int
        What chunks are padded to.
    samples : bytes
        The name of the chunk that has the samples.
    before : int
        The bytes that this has before them.
    """

    head: int
    order: str
    name: int
    size: int
    itself: int
    multiple: int
    samples: bytes
    before: int


# By the first bytes of a file.
CHUNKS = {
    b"RIFF": Chunks(12, "little", 4, 4, 0, 2, b"data", 0),
    b"RF64": Chunks(12, "little", 4, 4, 0, 2, b"data", 0),
    b"riff": Chunks(40, "little", 16, 8, 24, 8, b"data", 0),
    b"FORM": Chunks(12, "big", 4, 4, 0, 2, b"SSND", 8),
    b"caff": Chunks(8, "big", 4, 8, 0, 1, b"data", 4),
}


def told_by_header(path, size):
    """The frames that a header tells of, where soundfile counts those that are
    there instead; and whether more bytes follow that are no chunks.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    size : int
        The bytes of a frame.

    Returns
    -------
    told : int or None
        None where it tells of none, or in a way that is not known here.
    has_more : bool
        Whether there are samples of which the header does not tell.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0, 0.5, 0.25], 8000)
    >>> whole = path.read_bytes()
    >>> _ = path.write_bytes(whole[:-2])
    >>> told_by_header(path, size=2), soundfile.info(path).frames
    ((3, False), 2)
    >>> _ = path.write_bytes(whole + bytes(99))
    >>> told_by_header(path, size=2), soundfile.info(path).frames
    ((3, True), 3)
    """
    told, has_more = None, False
    with open(path, "rb") as file:
        header = file.read(1024)
        if header.startswith(b"NIST_1A"):
            field = re.search(rb"sample_count -i (\d+)", header)
            return int(field[1]) if field else None, False
        if header.startswith(b".snd"):
            start, told = struct.unpack_from(">II", header, 4)
            has_more = os.path.getsize(path) > start + told
        elif header[:4] in CHUNKS:
            kind = CHUNKS[header[:4]]
            file.seek(kind.head)
            width = kind.name + kind.size
            while len(chunk := file.read(width)) == width:
                has_more = not re.fullmatch(rb"[ -~]{4}", chunk[:4])
                if has_more:
                    break
                length = int.from_bytes(chunk[kind.name :], kind.order)
                length -= kind.itself
                if header.startswith(b"RF64") and length == 2**32 - 1:
                    # Its first chunk tells it.
                    (length,) = struct.unpack_from("<Q", header, 28)
                if chunk[:4] == kind.samples:
                    told = length - kind.before
                if not 0 <= length < MAX_FRAMES:
                    break
                file.seek(length + -length % kind.multiple, os.SEEK_CUR)
    # What a program writes to a pipe is of 1 GiB or more, by its header.
    if told is None or told >= 2**30:
        return None, has_more
    return told // size, has_more


def read_audio(name, path, start, stop):
    """A part of a recording, all of which is there and finite.

    SpeechBrain's `read_audio` passes on what is not finite, and returns fewer
    samples where a file is shorter than its header says.

    Arguments
    ---------
    name : str
        The entry of the manifest, for errors.
    path : str
        The file.
    start : int
        The first sample.
    stop : int
        The first one thereafter.

    Returns
    -------
    numpy.ndarray
        The samples in float32 [T], channels averaged.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0, np.nan], 8000, subtype="FLOAT")
    >>> read_audio("hum", path, 0, 2)
    ... # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: hum, wav=...: expected finite samples,
    of at most 1e+10 in size, got nan at 0.000125 s.
    """
    with Recording(path, f"{name}, wav={path}") as recording:
        return recording.samples(start, stop)
