"""The manifests of recipes, a user's own among them."""

import json
import os

import numpy as np
import pytest
import soundfile

from speechbrain_cwrnn.audio import Recording
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import (
    check_file_names,
    name_corpus,
    read_manifest,
    without_places,
)


@pytest.fixture
def read(tmp_path):
    """Writes and reads a manifest of one entry."""
    soundfile.write(tmp_path / "mono.wav", np.zeros(50), 16000)
    lost = [0.0] * 49 + [np.nan]
    soundfile.write(tmp_path / "nan.wav", lost, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((50, 2)), 16000)

    def read(entry, keys=("wav",), **options):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"a": entry}))
        return read_manifest(path, keys, tmp_path, **options)["a"]

    return read


def test_completed(read, tmp_path):
    """What is asked for stays, alone, and what there may be is there."""
    whole = {"wav": "{data_root}/mono.wav", "word": "yes", "feats": 3}
    assert read(whole, ["wav", "word"]) == {
        "wav": str(tmp_path / "mono.wav"),
        "word": "yes",
        "start": 0,
        "stop": 50,
        "sample_rate": 16000,
        "duration": 50 / 16000,
    }
    part = read({"wav": str(tmp_path / "stereo.wav"), "start": 3, "stop": 9})
    assert (part["start"], part["stop"]) == (3, 9)
    assert part["duration"] == 6 / 16000


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"word": "yes"}, "expected the key wav"),
        ("a.wav", "expected the key wav"),
        ({"wav": "{data_root}/mono.wav"}, "expected the key word"),
        ({"wav": "no.wav"}, "wav=no.wav: expected a file"),
        ({"wav": 7}, "wav=7: expected a file"),
        ({"wav": "{data_root}/mine.json"}, "wav=.*mine.json: expected audio"),
        ({"wav": "{data_root}/stereo.wav"}, "one channel at 16000 Hz, got 2"),
        ({"start": -1}, "start=-1, stop=50: expected samples of the 50 that"),
        ({"start": 9, "stop": 9}, "start=9, stop=9: expected samples"),
        ({"stop": 51}, "start=0, stop=51: expected samples"),
        ({"stop": "9"}, "start=0, stop=9: expected samples"),
        ({"stop": True}, "start=0, stop=True: expected samples"),
        ({"start": 0.0}, "start=0.0, stop=50: expected samples"),
        ({"wav": "{data_root}/nan.wav"}, "expected finite samples, .*got nan"),
    ],
)
def test_refused(read, tmp_path, entry, message):
    """The sentence names the file, the entry and the key."""
    keys = ["wav"]
    if "word" in message:
        keys.append("word")
    elif isinstance(entry, dict) and "word" not in entry:
        entry = {"wav": "{data_root}/mono.wav", **entry}
    path = tmp_path / "mine.json"
    with pytest.raises(ValueError, match=f"^{path}, entry a.*{message}"):
        read(entry, keys, sample_rate=16000)


def test_other_rate(read):
    """Any rate and channels do where none is asked for."""
    assert read({"wav": "{data_root}/stereo.wav"})["sample_rate"] == 16000
    with pytest.raises(ValueError, match="at 8000 Hz, got 1 at 16000 Hz"):
        read({"wav": "{data_root}/mono.wav"}, sample_rate=8000)


def test_not_finite_elsewhere(read):
    """What is not part of an entry may be anything."""
    assert read({"wav": "{data_root}/nan.wav", "stop": 49})["stop"] == 49


@pytest.mark.parametrize(
    "suffix, kind, is_noticed",
    [
        *(("flac", "PCM_16", True), ("wav", "PCM_16", True)),
        *(("wav", "GSM610", False), ("ogg", None, True)),
    ],
)
def test_cut_off(read, tmp_path, suffix, kind, is_noticed):
    """A header alone is not believed."""
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).uniform(-1, 1, 16000)
    soundfile.write(path, noise, 16000, subtype=kind)
    frames = read({"wav": str(path)})["stop"]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{path}: ex|expected .*{path} has"):
        read({"wav": str(path), "stop": frames})
    if not is_noticed:
        assert read({"wav": str(path)})["stop"] < 12000


def test_read_once(read, tmp_path, monkeypatch):
    """However many entries are parts of it."""
    soundfile.write(tmp_path / "a.flac", np.zeros(99), 16000)
    entry, calls = {"wav": "{data_root}/a.flac"}, []
    count = Recording.count
    monkeypatch.setattr(
        Recording, "count", lambda self: calls.append(1) or count(self)
    )
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"a": entry, "b": {**entry, "start": 9}}))
    assert read_manifest(path, ["wav"], tmp_path)["b"]["stop"] == 99
    assert len(calls) == 1


def test_braces(tmp_path):
    """They stand for nothing but the folder of the data."""
    folder = tmp_path / "{data_root} {a}: #1"
    folder.mkdir()
    soundfile.write(folder / "{b}.wav", np.zeros(9), 8000)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"{c}": {"wav": "{data_root}/{b}.wav"}}))
    (entry,) = read_manifest(path, ["wav"], folder).values()
    assert entry["wav"] == str(folder / "{b}.wav")


@pytest.mark.parametrize(
    "names",
    [
        *(["../a"], ["/a"], ["a\\b"], ["c:"], [""], ["."], [".."], ["a."]),
        *(
            [" a"],
            ["a\n"],
            ["a\0"],
            ["\udc80"],
            ["nul"],
            ["COM1.x"],
            ["ä" * 101],
        ),
        *(["a", "A"], ["é", "e\u0301"], ["ﬁ", "fi"], ["ß", "SS"]),
    ],
)
def test_file_names(names):
    """Names that files cannot have, or that name one file on some systems."""
    check_file_names(["hum", "é", "x y-z [s]", "ä" * 100], "column")
    with pytest.raises(
        InputError, match="^column '.*': expected an?(other)? n"
    ):
        check_file_names(names, "column")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "wav,word",
        "[]",
        "{}",
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"\\udc80": 1}',
    ],
)
def test_no_manifest(tmp_path, text):
    """No file, another format, or nothing in it."""
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: expected"):
        read_manifest(path, ["wav"])


def test_mark(tmp_path):
    """Windows' editors put it before the first letter."""
    soundfile.write(tmp_path / "a.wav", np.zeros(50), 16000)
    path = tmp_path / "mine.json"
    path.write_text('{"a": {"wav": "{data_root}/a.wav"}}', "utf-8-sig")
    assert read_manifest(path, ["wav"], tmp_path)["a"]["stop"] == 50


def test_name(tmp_path, monkeypatch):
    """It has the folder, however the file is given; or it is synthetic."""
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "corpus"
    entries = {"a": {"wav": "corpus/DR1/a.wav"}, "b": {"wav": "/b.wav"}}
    name = f"{tmp_path.name}/mine.json"
    assert name_corpus("mine.json", entries) == name
    corpus.mkdir()
    (corpus / "SYNTHETIC.txt").touch()
    assert name_corpus("mine.json", entries) == "synthetic speech"
    del entries["a"]
    assert name_corpus("mine.json", entries) == name


def test_without_places():
    """Other places and orders of keys are the same; other words are not."""
    here = {"a": {"wav": "/here/a.wav", "word": "yes", "start": 0}}
    there = {"a": {"start": 0, "word": "yes", "wav": "/there/a.wav"}}
    other = {"a": {**there["a"], "word": "no"}}
    assert without_places(here) == without_places(there)
    assert without_places(here) != without_places(other)
    assert without_places(here, other) != without_places(other, here)


def test_pipe(tmp_path):
    """It would be waited for."""
    os.mkfifo(tmp_path / "mine.json")
    with pytest.raises(InputError, match="mine.json: expected an ordinary fil"):
        read_manifest(tmp_path / "mine.json", ["wav"])
