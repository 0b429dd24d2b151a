"""Spoken digits in the form of TIMIT."""

import os
import runpy
import sys

import numpy as np
import pytest
import soundfile
from helpers import recipe_modules

from speechbrain_cwrnn.errors import InputError


@pytest.fixture(scope="module")
def recipe():
    """The modules of the recipe."""
    names = ("digits_as_timit", "timit_prepare")
    with recipe_modules("TIMIT", *names) as modules:
        yield modules


@pytest.fixture
def recordings(tmp_path):
    """Of two speakers: hums of a pitch and a length of their own."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for speaker, number in (("ann", 9), ("bob", 4)):
        for n in range(number):
            steps = np.arange(1000 + 10 * n + (speaker == "bob"))
            hum = 0.5 * np.sin(2 * np.pi * (200 + 50 * n) / 8000 * steps)
            soundfile.write(folder / f"{n}_{speaker}_0.wav", hum, 8000)
    return folder


@pytest.fixture
def lay_out(recipe, recordings, tmp_path):
    """Runs it, and returns the folder."""

    def run(**options):
        folder = tmp_path / "corpus"
        recipe.digits_as_timit.lay_out_digits(recordings, folder, **options)
        return folder

    return run


class TestCorpus:
    """What is written."""

    def test_sentences(self, recipe, lay_out):
        """Each recording is in one, but for those that are left over."""
        corpus = recipe.timit_prepare.find_corpus(lay_out())
        found = recipe.timit_prepare.find_utterances(corpus)
        assert sorted((u.split, u.speaker, u.sentence) for u in found) == [
            ("test", "mbob0", "sx000"),
            ("train", "mann0", "sx000"),
            ("train", "mann0", "sx001"),
        ]

    def test_words(self, recipe, lay_out, recordings):
        """Where they are said to be, there are their recordings, at 16 kHz."""
        digits, heard = recipe.digits_as_timit.DIGITS, []
        for path in lay_out().rglob("*.WRD"):
            samples, rate = soundfile.read(path.with_suffix(".WAV"))
            speaker = path.parent.name[1:4].lower()
            assert rate == 16000
            words = [line.split() for line in path.read_text().splitlines()]
            end = 0
            for start, stop, word in words:
                start, stop = int(start), int(stop)
                assert 800 <= start - end <= 3200
                assert not samples[end:start].any()
                digit = digits.index(word)
                heard.append((speaker, digit))
                take, _ = soundfile.read(
                    recordings / f"{digit}_{speaker}_0.wav"
                )
                part = samples[start:stop]
                assert len(part) == 2 * len(take)
                # Every second sample is one of the recording, but at its ends,
                # where the filter sees the silence.
                inside = slice(50, -50)
                error = abs(part[::2][inside] - take[inside]).max()
                assert error < 0.01
                end = stop
            assert len(samples) == end + 1600
            text = " ".join(word for *_, word in words).capitalize()
            written = path.with_suffix(".TXT").read_text()
            assert written == f"0 {len(samples)} {text}.\n"
        assert len(set(heard)) == len(heard) == 12

    def test_seed(self, lay_out, tmp_path):
        """The same files each time; with another one, others."""
        contents, orders = [], []
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            folder = lay_out(seed=seed).rename(tmp_path / name)
            contents.append(
                {
                    path.relative_to(folder): path.read_bytes()
                    for path in folder.rglob("*.W*")
                }
            )
            paths = sorted(folder.rglob("*.TXT"))
            orders.append([path.read_text().split()[2:] for path in paths])
        assert contents[0] == contents[1] != contents[2]
        assert orders[0] == orders[1] != orders[2]
        assert contents[0].keys() == contents[2].keys()


class TestBadInput:
    """One sentence, and nothing is written."""

    @pytest.fixture
    def refused(self, lay_out, tmp_path):
        """Checks that."""

        def run(message, files=("recordings",)):
            with pytest.raises(InputError, match=message) as info:
                lay_out()
            assert "\n" not in str(info.value)
            found = sorted(path.name for path in tmp_path.iterdir())
            assert found == sorted(files)

        return run

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("hum.wav", "hum.wav: expected a name as 7_theo_12.wav, of digit,"),
            ("12_ann_0.wav", "12_ann_0.wav: expected a name as"),
            ("1_bobby_0.wav", "bobby_0.wav: .* first three .* there is bob"),
        ],
    )
    def test_name(self, recordings, refused, name, message):
        """Of a recording, or of a speaker, whose own is shorter."""
        (recordings / "1_ann_0.wav").rename(recordings / name)
        refused(message)

    @pytest.mark.parametrize("speaker", ["ann", "bob"])
    def test_too_few(self, recordings, refused, speaker):
        """Somebody is in TRAIN, and somebody in TEST."""
        for path in recordings.glob(f"*_{speaker}_*"):
            path.unlink()
        refused("recordings=.*: expected .* two speakers or more, found ...[.]")

    def test_none(self, recordings, refused):
        """Nor a folder that is not there."""
        for path in recordings.iterdir():
            path.unlink()
        refused("found none")
        recordings.rmdir()
        refused("found none", files=())

    def test_damaged(self, recordings, refused):
        """What was written until then is removed."""
        (recordings / "2_bob_0.wav").write_bytes(b"RIFF")
        refused("2_bob_0.wav: expected audio")

    def test_folder(self, tmp_path, refused):
        """It is kept as it is, if there is anything in it."""
        folder = tmp_path / "corpus"
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
        refused("corpus: expected a new or empty", ("recordings", "corpus"))
        assert os.listdir(folder) == ["mine.txt"]

    def test_command(self, recipe, recordings, tmp_path, monkeypatch):
        """It says so on the command line, too."""
        script = recipe.digits_as_timit.__file__
        command = [script, str(recordings), str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(script, run_name="__main__")
        assert len([*tmp_path.rglob("out/T*/DR1/M*/SX*.WAV")]) == 3
        with pytest.raises(SystemExit, match="^Error: folder=.*: expected a n"):
            runpy.run_path(script, run_name="__main__")
