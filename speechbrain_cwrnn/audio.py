"""Recordings: reading parts of them, and saying what is wrong with them.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
import re
import wave
from pathlib import Path

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
        size = self.frames * self.channels * EXACT[self.subtype]
        told = told_by_header(self.name) or self.frames
        if told != self.frames or size > os.path.getsize(self.name):
            raise InputError(
                f"{self.called}: expected {told} samples, as its header says, "
                f"found {self.frames}."
            )
        if has_more(self.name):
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


def told_by_header(path):
    """The frames that a header tells of, where soundfile counts those that are
    there instead; None where it tells of none.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0, 0.5, 0.25], 8000)
    >>> _ = path.write_bytes(path.read_bytes()[:-2])
    >>> told_by_header(path), soundfile.info(path).frames
    (3, 2)
    """
    with open(path, "rb") as file:
        header = file.read(1024)
    if header.startswith(b"NIST_1A"):
        field = re.search(rb"sample_count -i (\d+)", header)
        return int(field[1]) if field else None
    if not header.startswith(b"RIFF"):
        return None
    try:
        with wave.open(os.fspath(path)) as file:
            frames = file.getnframes()
            size = frames * file.getnchannels() * file.getsampwidth()
    except (wave.Error, EOFError):
        # Of another code than PCM.
        return None
    # What a program writes to a pipe is of 1 GiB or more, by its header.
    return frames if size < 2**30 else None


# How the number of bytes of a chunk is written.
ORDERS = {b"RIFF": "little", b"FORM": "big"}


def has_more(path):
    """Whether bytes follow the samples of WAV or AIFF that are no chunks, hence
    samples of which the header does not tell.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0, 0.5, 0.25], 8000)
    >>> before = has_more(path)
    >>> _ = path.write_bytes(path.read_bytes() + bytes(99))
    >>> before, has_more(path)
    (False, True)
    """
    with open(path, "rb") as file:
        order = ORDERS.get(file.read(12)[:4])
        while order and len(head := file.read(8)) == 8:
            if not re.fullmatch(rb"[ -~]{4}", head[:4]):
                return True
            size = int.from_bytes(head[4:], order)
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


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
