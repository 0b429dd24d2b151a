"""Parts of recordings, and what can be wrong with them."""

import os
import re
import tracemalloc

import numpy as np
import pytest
import soundfile

from speechbrain_cwrnn import audio
from speechbrain_cwrnn.audio import Recording, read_audio
from speechbrain_cwrnn.errors import InputError

FORMATS = {
    "a.wav": ("WAV", "PCM_16"),
    "b.wav": ("WAV", "GSM610"),
    "c.wav": ("WAV", "ULAW"),
    "d.wav": ("WAV", "PCM_U8"),
    "e.wav": ("WAV", "DOUBLE"),
    "f.flac": ("FLAC", "PCM_24"),
    "g.ogg": ("OGG", "VORBIS"),
    "h.mp3": ("MP3", "MPEG_LAYER_III"),
    "i.aiff": ("AIFF", "DWVW_16"),
    "j.au": ("AU", "G721_32"),
}


@pytest.fixture(scope="module")
def sound():
    """Noise and a tone, 2.5 s at 8 kHz."""
    noise = np.random.default_rng(0).normal(size=20000)
    return np.sin(np.arange(20000) / 20) / 2 + noise / 20


@pytest.mark.parametrize("name", FORMATS)
def test_parts(tmp_path, sound, name, monkeypatch):
    """They are the same as of a file that is read in one go."""
    path = tmp_path / name
    kind, subtype = FORMATS[name]
    soundfile.write(path, sound, 8000, format=kind, subtype=subtype)
    with Recording(path, name) as recording:
        frames = recording.count()
    assert len(sound) <= frames < len(sound) + 500
    with Recording(path, name) as recording:
        whole = recording.samples(0, frames)
    assert whole.dtype == np.float32
    assert np.corrcoef(whole[:15000], sound[:15000])[0, 1] > 0.97
    monkeypatch.setattr(audio, "BLOCK", 700)
    with Recording(path, name) as recording:
        for start, stop in ((5, 30), (777, 1477), (12345, 16000)):
            part = recording.samples(start, stop)
            np.testing.assert_array_equal(part, whole[start:stop])


# By the kind of file: what stands before the size of the samples, how this is
# written, and what it counts besides.
HEADERS = {
    "WAV": (b"data", "little", 4, 0),
    "RF64": (b"ds64.{12}", "little", 8, 0),
    "W64": (
        b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a"),
        "little",
        8,
        24,
    ),
    "AIFF": (b"SSND", "big", 4, 8),
    "AU": (b"[.]snd\0\0\0\x18", "big", 4, 0),
    "CAF": (b"data", "big", 8, 4),
}


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW"])
@pytest.mark.parametrize("kind", HEADERS)
def test_header_of_other_samples(tmp_path, sound, kind, subtype):
    """Of fewer or more than there are: none is lost in silence."""
    path = tmp_path / "a"
    soundfile.write(path, sound, 8000, format=kind, subtype=subtype)
    content = path.read_bytes()
    before, order, width, besides = HEADERS[kind]
    place = re.search(before, content, re.DOTALL).end()
    size = int.from_bytes(content[place : place + width], order)
    frame = audio.EXACT[subtype]
    assert size == 20000 * frame + besides

    def chunk(length, body=b""):
        size = length.to_bytes(8 if kind == "CAF" else 4, order)
        return b"LIST" + size + body

    # Of W64, soundfile takes all that follows.
    fewer = "[0-9]+ samples, as its .*, found (more behi|20)"
    cases = [(-5000, b"", fewer), (0, bytes(12), f"20000 {fewer[7:]}")]
    if kind not in ("AU", "W64"):
        # Chunks, also where something is cut off.
        tails = chunk(2, b"ab"), chunk(0)[:6]
        cases += [(0, tail, None) for tail in tails]
        odd = b"a" if kind == "CAF" else b"a\0"
        cases.append((0, chunk(1, odd) + chunk(2, b"ab"), None))
    if kind != "CAF":
        # Which soundfile does not read.
        cases.append((5000, b"", "25000 samples, as its header says, found 20"))
    if kind in ("AU", "WAV"):
        # As programs write that do not know it.
        cases.append((2**64, b"", None))
    for more, tail, message in cases:
        told = min(size + more * frame, 256**width - 1).to_bytes(width, order)
        path.write_bytes(
            content[:place] + told + content[place + width :] + tail
        )
        with Recording(path, "a") as recording:
            if message is None:
                assert recording.count() == 20000
            else:
                with pytest.raises(InputError, match=f"^a: expected {message}"):
                    recording.count()


def test_channels(tmp_path):
    """They are averaged."""
    path = tmp_path / "a.wav"
    soundfile.write(path, [[1e10, 0.0], [-1.0, 0.5]], 8000, subtype="FLOAT")
    assert read_audio("a", path, 0, 2).tolist() == [5e9, -0.25]


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_memory(tmp_path, suffix):
    """It does not grow with the recording."""
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, np.zeros(500_000, np.int16), 8000)
    tracemalloc.start()
    part = read_audio("long", path, 499_900, 500_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(part) == 100 and peak < 1_000_000


def test_length_that_no_header_has(tmp_path, sound):
    """As where FLAC was written to a pipe."""
    path = tmp_path / "piped.flac"
    soundfile.write(path, sound, 8000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with Recording(path, "piped") as recording:
        assert recording.frames > 2**62 and recording.count() == 20000
    assert len(read_audio("piped", path, 19000, 20000)) == 1000


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e39, 2e10])
@pytest.mark.parametrize("at", [0, 7, 70_000])
def test_not_finite(tmp_path, value, at):
    """The value and its time are told, or nothing where it is left out."""
    path = tmp_path / "a.wav"
    samples = np.zeros((80_000, 2))
    samples[at, 1] = value
    soundfile.write(path, samples, 8000, subtype="DOUBLE")
    told = {-1e39: "-inf"}.get(value, f"{value:g}")
    message = f"^hum, wav={path}: expected finite .* {told} at {at / 8000:g} s"
    message = message.replace("+", "[+]")
    with pytest.raises(InputError, match=message):
        read_audio("hum", path, 0, 80_000)
    assert len(read_audio("hum", path, at + 1, 80_000)) == 79_999 - at


@pytest.mark.parametrize("name", [*FORMATS, "k.w64", "l.caf", "m.nist"])
def test_count_of_a_part(tmp_path, sound, name):
    """What is cut off is not counted, and most formats tell that it is."""
    path = tmp_path / name
    noise = np.random.default_rng(0).uniform(-1, 1, 20000)
    kind, subtype = FORMATS.get(name, (name[2:].upper(), "PCM_16"))
    soundfile.write(path, noise, 8000, format=kind, subtype=subtype)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        with Recording(path, name) as recording:
            frames = recording.count()
    except InputError as error:
        assert str(error).startswith(f"{name}: expected")
        return
    if frames == 0:
        # An earlier libsndfile finds nothing in half an ogg file.
        assert name == "g.ogg"
        return
    with Recording(path, name) as recording:
        assert len(recording.samples(0, frames)) == frames < 20000


def test_shorter_than_told(tmp_path, sound):
    """Or damaged: what is there can be read, and nothing else."""
    for suffix in ("flac", "wav"):
        path = tmp_path / f"cut.{suffix}"
        soundfile.write(path, sound, 8000)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert len(read_audio("cut", path, 0, 1000)) == 1000
        for start in (0, 15000):
            with pytest.raises(InputError, match=f"^cut, wav={path}: expected"):
                read_audio("cut", path, start, 20000)


def test_no_audio(tmp_path):
    """Whatever else a path may be."""
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "nothing.wav").touch()
    (tmp_path / "some.raw").write_bytes(bytes(1000))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    messages = {
        "folder.wav": "expected a file, and there is none",
        "loop.wav": "expected a file, and there is none",
        "pipe.wav": "expected a file, and there is none",
        "none.wav": "expected a file, and there is none",
        "\udc80.wav": "expected a file, and there is none",
        "text.wav": "expected audio that soundfile reads .*not recognised",
        "nothing.wav": "expected audio that soundfile reads",
        "some.raw": "expected audio with a header",
        "empty.wav": "expected audio, it is empty",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=f"^audio=x: {message}"):
            Recording(tmp_path / name, "audio=x")
