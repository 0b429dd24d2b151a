"""The synthetic corpus in the form of TIMIT."""

import os
import random
import re
import runpy
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers import RECIPES, recipe_modules

from speechbrain_cwrnn.errors import InputError

RECIPE = RECIPES / "TIMIT"
NUM_SPEAKERS = 35

# As in TIMIT's phoncode.doc.
LABELS = """aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng
    epi er ey f g gcl h# hh hv ih ix iy jh k kcl l m n ng nx ow oy p pau pcl q r
    s sh t tcl th uh uw ux v w y z zh""".split()
SILENT = ["h#", "pau", "pcl", "tcl", "kcl"]
WORDS = """making walking cooking looking working biblical cyclical technical
    classical critical tradition addition audition recognition competition
    musicians discussions regulations accusations conditions subway leeway
    freeway highway hallway""".split()
CORE_TEST = """mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0
    fjlm0 mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0
    fmld0""".split()
DEVELOPMENT = """faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0
    mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0
    mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0
    mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0
    mjfc0 mrjr0 fmml0 mrws1""".split()


@pytest.fixture(scope="module")
def recipe():
    """The modules, as the folder of the recipe sees them."""
    names = ("synthesize", "espeak", "alignment", "texts")
    with recipe_modules("TIMIT", *names) as modules:
        yield modules


@pytest.fixture(scope="module")
def synthesize(recipe):
    """The one that makes the corpus."""
    return recipe.synthesize


@pytest.fixture(scope="module")
def corpus(synthetic_timit):
    """The smallest one."""
    assert [path.name for path in synthetic_timit.parent.iterdir()] == ["TIMIT"]
    return synthetic_timit


@pytest.fixture(scope="module")
def utterances(corpus):
    """All that is in the corpus."""
    return [read(path) for path in sorted(corpus.rglob("*.WAV"))]


def read(path):
    """The audio of a sentence, and its transcriptions."""

    def lines(suffix):
        text = path.with_suffix(suffix).read_text()
        for line in text.splitlines():
            start, stop, what = line.split(" ", 2)
            yield int(start), int(stop), what

    samples, rate = soundfile.read(path)
    ((start, stop, text),) = lines(".TXT")
    assert (rate, start, stop) == (16000, 0, len(samples))
    return SimpleNamespace(
        path=path,
        samples=samples,
        text=text,
        words=list(lines(".WRD")),
        phones=list(lines(".PHN")),
    )


def rms(samples):
    """Root mean square."""
    return np.sqrt(np.mean(np.square(samples)))


def spectrum(samples):
    """The mean power spectrum in dB, in 64 bands, its level removed."""
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(512))))
    bands = power.mean(0)[1:].reshape(64, -1).mean(1)
    return 10 * np.log10(bands) - 10 * np.log10(bands).mean()


def pitch(samples):
    """The median of the pitch of the loudest frames, in Hz."""
    frames = samples[: len(samples) // 640 * 640].reshape(-1, 640)
    loud = frames[np.argsort([rms(frame) for frame in frames])[-40:]]
    lags = np.arange(50, 230)
    correlation = np.array(
        [[frame[:-lag] @ frame[lag:] for lag in lags] for frame in loud]
    ) / (640 - lags)
    # The shortest of the lags that are about as good as the best one.
    good = correlation > 0.85 * correlation.max(1, keepdims=True)
    return np.median(16000 / lags[good.argmax(1)])


@pytest.mark.slow
class TestCorpus:
    """What is written."""

    def test_tree(self, corpus):
        """The files and names of TIMIT."""
        assert {path.name for path in corpus.iterdir()} == {
            "SYNTHETIC.txt",
            "TEST",
            "TRAIN",
        }
        text = (corpus / "SYNTHETIC.txt").read_text()
        assert "not TIMIT" in text and "espeak-ng 1." in text
        assert text.endswith('\n{"num_speakers": 35, "seed": 0}\n')
        folders = list(corpus.glob("T*/*/*"))
        assert len({f.name for f in folders}) == len(folders) == NUM_SPEAKERS
        regions = {f.parent.name for f in folders}
        assert regions == {f"DR{n}" for n in range(1, 9)}
        for folder in folders:
            assert re.fullmatch("[FM][A-Z]{3}[0-9]", folder.name)
            names = {path.stem for path in folder.iterdir()}
            assert {path.name for path in folder.iterdir()} == {
                f"{name}.{kind}"
                for name in names
                for kind in ("WAV", "TXT", "WRD", "PHN")
            }
            kinds = sorted(name[:2] for name in names)
            assert kinds == ["SA"] * 2 + ["SI"] * 3 + ["SX"] * 5
            assert {"SA1", "SA2"} < names

    def test_transcriptions(self, utterances):
        """They agree with each other, and with the audio."""
        assert len(utterances) == 10 * NUM_SPEAKERS
        seen = set()
        for u in utterances:
            info = soundfile.info(u.path)
            assert (info.format, info.subtype) == ("NIST", "PCM_16")
            assert 0.1 < np.abs(u.samples).max() < 0.9
            assert u.text.endswith((".", "?")) and u.text[0].isupper()
            plain = u.text.lower()[:-1].replace(",", "").split()
            assert [word for _, _, word in u.words] == plain

            starts, stops, labels = zip(*u.phones)
            assert starts[0] == 0 and stops[-1] == len(u.samples)
            assert starts[1:] == stops[:-1]
            assert all(start + 80 < stop for start, stop, _ in u.phones)
            assert labels[0] == labels[-1] == "h#"
            assert labels.count("h#") == 2
            assert stops[0] > 800 and stops[-1] - starts[-1] > 1600
            seen |= set(labels)

            # Words are whole phones, and all but the silent ones are in one.
            spoken = []
            for start, stop, _ in u.words:
                spoken += [p for p in u.phones if start <= p[0] < stop]
                assert (start, stop) in (
                    (phone[0], spoken[-1][1]) for phone in spoken
                )
            silence = [p for p in u.phones if p[2] in ("h#", "pau")]
            assert sorted(spoken + silence) == u.phones
            # It pauses before "without" and the like, too.
            assert labels.count("pau") >= u.text.count(",")
            assert "pau" not in (labels[1], labels[-2])

            for first, second in pairwise(labels):
                if second in ("p", "t", "k", "b", "d", "g"):
                    assert first == f"{second}cl"
                elif second in ("ch", "jh"):
                    assert first == {"ch": "tcl", "jh": "dcl"}[second]
        assert seen <= set(LABELS) and len(seen) > 45

    def test_times_are_those_of_the_audio(self, utterances):
        """Speech starts and ends with the words, and closures are silent."""
        for u in utterances:
            loud = np.flatnonzero(np.abs(u.samples) > 40 / 2**15)
            first = 2 if u.phones[1][2].endswith("cl") else 1
            # Glides start softly.
            assert -10 < loud[0] - u.phones[first][0] < 80, u.path
            assert -320 < loud[-1] - u.words[-1][1] < 10, u.path
            # Resampling rings, as filters do.
            noise = rms(u.samples[: u.phones[0][1] - 200])
            assert 5e-5 < noise < 2e-4
            for start, stop, word in u.words:
                assert rms(u.samples[start:stop]) > 80 * noise, word
            for start, stop, what in u.phones:
                level = rms(u.samples[start:stop])
                if what in SILENT:
                    assert level < 1e-3, (u.path, start)
                elif what not in ("bcl", "dcl", "gcl", "q"):
                    assert level > 3 * noise, (u.path, start)

    def test_speakers_differ(self, utterances):
        """They all read SA1, each in a voice of its own."""
        first = [u for u in utterances if u.path.stem == "SA1"]
        assert len({u.text for u in first}) == 1
        spectra = np.array([spectrum(u.samples) for u in first])
        lengths = np.array([len(u.samples) for u in first])
        assert np.ptp(lengths) > 0.2 * lengths.mean()
        for n, one in enumerate(spectra):
            distance = np.abs(spectra - one).mean(1)
            assert np.delete(distance, n).min() > 0.2
        pitches = defaultdict(list)
        for u in first:
            pitches[u.path.parent.name[0]].append(pitch(u.samples))
        assert np.median(pitches["M"]) < 140 < 160 < np.median(pitches["F"])
        assert np.ptp(pitches["M"]) > 20 < np.ptp(pitches["F"])


class TestTexts:
    """Who reads what."""

    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("num_speakers", [35, 36, 37, 38, 40, 47, 100, 300])
    def test_conditions(self, synthesize, num_speakers, seed):
        """Seven speakers for each word, and nothing in TRAIN and TEST."""
        speakers = synthesize.draw_speakers(num_speakers, random.Random(seed))
        assert len(speakers) == num_speakers
        names = {"TRAIN": set(), "TEST": set()}
        texts = {"TRAIN": set(), "TEST": set()}
        read_by = defaultdict(set)
        numbered = {}
        for speaker in speakers:
            names[speaker.split].add(speaker.name)
            for name, text in speaker.texts.items():
                assert numbered.setdefault(name, text) == text
                read_by[text].add(speaker.name)
                if name.startswith("SX"):
                    texts[speaker.split].add(text)
            kinds = sorted(name[:2] for name in speaker.texts)
            assert kinds == ["SA"] * 2 + ["SI"] * 3 + ["SX"] * 5
        assert len(set(numbered.values())) == len(numbered)
        for name, text in numbered.items():
            if name.startswith("SI"):
                assert len(read_by[text]) == 1
            elif name.startswith("SA"):
                assert len(read_by[text]) == num_speakers
        assert not texts["TRAIN"] & texts["TEST"]
        assert len(texts["TRAIN"]) >= 17 and len(texts["TEST"]) >= 5
        for word in WORDS:
            (text,) = (
                t
                for t in texts["TRAIN"] | texts["TEST"]
                if word in re.findall(r"\w+", t)
            )
            assert len(read_by[text]) >= 7, word

        test = names["TEST"]
        core, development = test & set(CORE_TEST), test & set(DEVELOPMENT)
        assert core | development == test
        assert len(core) >= 3 and len(development) >= 3
        assert not names["TRAIN"] & {*CORE_TEST, *DEVELOPMENT}
        assert len(names["TRAIN"]) >= max(28, round(0.7 * num_speakers))
        women = sum(name[0] == "f" for name in names["TRAIN"])
        assert 0.3 < women / len(names["TRAIN"]) < 0.4
        assert len(names["TRAIN"] | names["TEST"]) == num_speakers
        voices = {(s.accent, s.variant, s.settings) for s in speakers}
        assert len(voices) == num_speakers
        assert len({speaker.accent for speaker in speakers}) == 8
        for speaker in speakers:
            assert speaker.variant in synthesize.VARIANTS[speaker.name[0]]
        if num_speakers == 40:
            assert len(core) == len(development) == 6

    def test_seed(self, synthesize):
        """It draws voices and texts."""
        one, two = (
            synthesize.draw_speakers(35, random.Random(seed)) for seed in (0, 1)
        )
        assert one == synthesize.draw_speakers(35, random.Random(0))
        assert [s.settings for s in one] != [s.settings for s in two]
        for kind in ("SX", "SI"):
            texts = [
                {t for s in speakers for n, t in s.texts.items() if kind in n}
                for speakers in (one[28:], two[28:])
            ]
            assert texts[0] != texts[1]

    def test_vocabulary_is_rich(self, recipe):
        """A few hundred words, in sentences of their own."""
        texts = recipe.texts.draw_si_texts(150, random.Random(0))
        assert len(set(texts)) == 150
        words = {w for t in texts for w in re.findall(r"\w+", t.lower())}
        assert len(words) > 250 and not words & set(WORDS)

    @pytest.mark.parametrize("region", [f"DR{n}" for n in range(1, 9)])
    def test_all_words_in_all_accents(self, recipe, region):
        """Each has phonemes that have labels, and none runs into another."""
        module = recipe.texts
        vocabulary = {k: v.split() for k, v in module.VOCABULARY.items()}
        turns = defaultdict(int)

        def next_word(match):
            words = vocabulary[match[1]]
            turns[match[1]] += 1
            return words[turns[match[1]] % len(words)].replace("_", " ")

        texts = [*module.SA_TEXTS, *module.SX_TEXTS]
        while min(turns[k] - len(v) for k, v in vocabulary.items()) < 0:
            for template in module.SI_TEMPLATES:
                texts.append(re.sub("{(.*?)}", next_word, template))
        accent = recipe.synthesize.ACCENTS[region]
        alignment = recipe.alignment
        phones = alignment.PHONES_OF_ACCENT.get(accent, {})
        phones = alignment.PHONES | phones
        spoken = recipe.espeak.speak(f"{accent}+m3", (300, 50, 50), texts)
        for text, (samples, events) in zip(texts, spoken):
            words, segments = alignment.align(text, samples, events, phones)
            assert {what for _, _, what in segments} <= set(LABELS)
            assert all(start < stop for start, stop, _ in words)


class TestRuns:
    """Whole or not at all, and always the same."""

    def test_same_files_and_interruption(
        self, synthesize, corpus, tmp_path, monkeypatch
    ):
        """Half a corpus is like the other one, and then it is gone."""
        write = soundfile.write
        written = []

        def fail_later(path, *args, **kwargs):
            if len(written) == 60:
                raise KeyboardInterrupt
            write(path, *args, **kwargs)
            written.append(path)
            name = Path(*path.parts[-4:])
            assert path.read_bytes() == (corpus / name).read_bytes()

        monkeypatch.setattr(soundfile, "write", fail_later)
        with pytest.raises(KeyboardInterrupt):
            synthesize.synthesize_timit(tmp_path / "TIMIT", NUM_SPEAKERS)
        assert len(written) == 60 and not list(tmp_path.iterdir())

    def test_seed(self, synthesize, tmp_path, monkeypatch):
        """All that is random depends on it."""

        def give_up(num_speakers, rng):
            raise InterruptedError(rng.random())

        monkeypatch.setattr(synthesize, "draw_speakers", give_up)
        drawn = set()
        for seed in (0, 1, 0):
            with pytest.raises(InterruptedError) as raised:
                synthesize.synthesize_timit(tmp_path / "TIMIT", seed=seed)
            drawn.add(raised.value.args)
        assert len(drawn) == 2

    def test_once(self, synthesize, corpus, monkeypatch):
        """What is there is not made again, by the command line, either."""
        monkeypatch.setitem(sys.modules, "espeakng_loader", None)
        before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
        assert synthesize.synthesize_timit(corpus, 35, 0) == str(corpus)
        command = ["synthesize.py", str(corpus), "--num_speakers", "35"]
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(str(RECIPE / "synthesize.py"), run_name="__main__")
        assert before == {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
        command += ["--seed", "3"]
        with pytest.raises(SystemExit, match="^Error: folder=.*s.: 35, .seed"):
            runpy.run_path(str(RECIPE / "synthesize.py"), run_name="__main__")

    @pytest.mark.parametrize("options", [{"seed": 1}, {"num_speakers": 36}])
    def test_other_options(self, synthesize, corpus, options):
        """A corpus is not mistaken for another one."""
        options = {"num_speakers": 35} | options
        with pytest.raises(ValueError, match=f"folder={corpus}: expected ano"):
            synthesize.synthesize_timit(corpus, **options)

    def test_folder_with_something_else(self, synthesize, tmp_path):
        """It is left alone, be it a file."""
        file = tmp_path / "mine"
        file.touch()
        for folder in (tmp_path, file):
            message = f"folder={folder}: expected a new or empty folder"
            with pytest.raises(ValueError, match=message):
                synthesize.synthesize_timit(folder)
        with pytest.raises(ValueError, match="be written"):
            synthesize.synthesize_timit(file / "TIMIT")
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize("kind", ["name", "link", "mount"])
    def test_no_room(self, synthesize, tmp_path, monkeypatch, kind):
        """It is said before speech is synthesised."""
        monkeypatch.setattr(synthesize, "draw_speakers", None)
        folder, message = tmp_path / "a", "expected a folder that can be writt"
        if kind == "name":
            folder, message = tmp_path / ("a" * 300), "expected a shorter name"
        elif kind == "link":
            (tmp_path / "a").symlink_to(tmp_path / "gone")
            folder = folder / "b"
        else:
            folder.mkdir()
            monkeypatch.setattr(os.path, "ismount", lambda path: True)
        with pytest.raises(InputError, match=f"^folder={folder}: {message}"):
            synthesize.synthesize_timit(folder)

    @pytest.mark.parametrize("num_speakers", [3, 34, 0, -1, 631])
    def test_number_of_speakers(self, synthesize, tmp_path, num_speakers):
        """One sentence."""
        expected = "at least 35, so that each word has 7 speakers"
        if num_speakers > 35:
            expected = "at most 630, as many as TIMIT has"
        message = f"^num_speakers={num_speakers}: expected {expected}.$"
        with pytest.raises(ValueError, match=message):
            synthesize.synthesize_timit(tmp_path / "TIMIT", num_speakers)
        assert not list(tmp_path.iterdir())

    def test_missing_package(self, synthesize, tmp_path, monkeypatch):
        """It says what to install."""
        monkeypatch.setitem(sys.modules, "espeakng_loader", None)
        with pytest.raises(ValueError, match="expected `pip install 'speech"):
            synthesize.synthesize_timit(tmp_path / "new" / "TIMIT")
        assert not list(tmp_path.iterdir())


class TestData:
    """Which corpus a recipe uses, and what it is called."""

    @pytest.fixture
    def timit(self, tmp_path):
        """The folders of a copy."""
        for split in ("TRAIN", "TEST"):
            (tmp_path / "TIMIT" / split / "DR1").mkdir(parents=True)
        return tmp_path / "TIMIT"

    @pytest.mark.parametrize(
        "marker, name", [(True, "synthetic speech"), (False, "TIMIT")]
    )
    def test_name_of_the_corpus(self, synthesize, timit, marker, name):
        """A folder that is given is used, and synthetic speech is called so."""
        if marker:
            (timit / "SYNTHETIC.txt").touch()
        found = synthesize.find_data(str(timit), "unused", 40)
        assert found == (str(timit), name)
        above = timit.parent
        name = name if marker else above.name
        assert synthesize.find_data(above, "unused", 40) == (str(above), name)

    def test_sample(self, synthesize, tmp_path):
        """It is called so, wherever it lies."""
        (tmp_path / "timit" / "dr1-fvmh0").mkdir(parents=True)
        for folder in (tmp_path, tmp_path / "timit"):
            found = synthesize.find_data(str(folder), "unused", 40)
            assert found == (str(folder), "TIMIT sample")

    def test_no_corpus(self, synthesize, tmp_path, monkeypatch, capsys):
        """Speech is synthesised in the output folder, which is told."""

        def synthesize_timit(folder, num_speakers):
            assert num_speakers == 41
            (folder / "TRAIN" / "DR1").mkdir(parents=True)
            (folder / "TEST" / "DR1").mkdir(parents=True)
            (folder / "SYNTHETIC.txt").touch()

        monkeypatch.setattr(synthesize, "synthesize_timit", synthesize_timit)
        monkeypatch.chdir(tmp_path)
        folder, name = synthesize.find_data(None, ".", 41)
        assert folder == str(tmp_path / "synthetic_TIMIT")
        assert name == "synthetic speech"
        assert "the speech is synthetic" in capsys.readouterr().out
