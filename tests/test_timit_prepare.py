"""The manifests of TIMIT: of sentences and of words, from any copy of it."""

import hashlib
import importlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechbrain_cwrnn.phonemes import PhonemeTokenizer, map_phonemes

RECIPE = Path(__file__).parent.parent / "recipes" / "TIMIT"

# The tests' TIMIT: of its speakers some for training, two for development, two
# of the core test, and one that is in none of them.
SPEAKERS = {
    "train": ["dr1/fcjf0", "dr1/mkls0", "dr2/marc0", "dr3/falk0", "dr8/mcxm0"],
    "valid": ["dr1/faks0", "dr2/mmdb1"],
    "test": ["dr1/mdab0", "dr2/fpas0"],
    "none": ["dr4/mgmm0"],
}
TRAIN_SPEAKERS = [speaker[4:] for speaker in SPEAKERS["train"]]
TEST_SPEAKERS = [
    speaker[4:] for n in ("valid", "test", "none") for speaker in SPEAKERS[n]
]
# The phonemes of the sentences, and what they are in the smaller sets by the
# table of Lee and Hon (1989).
PHONEMES = {
    "sx44": {
        61: "h# q ao r kcl k s bcl b ix pau h#",
        60: "h# ao r kcl k s bcl b ix pau h#",
        48: "sil ao r cl k s vcl b ix sil",
        39: "sil aa r sil k s sil b ih sil",
    },
    "si1027": {
        61: "h# dcl d ux nx epi kcl pcl p eng zh q h#",
        60: "h# dcl d ux nx epi kcl pcl p eng zh h#",
        48: "sil vcl d uw n epi cl cl p ng zh sil",
        39: "sil d uw n sil p ng sh sil",
    },
}


def make_sentences():
    """All sentences of the tests' TIMIT, without files.

    The samples of each word have a level of their own, and there is silence
    between the words.
    """
    sentences, level = [], 0
    for group, speakers in SPEAKERS.items():
        split = "train" if group == "train" else "test"
        for index, place in enumerate(speakers):
            region, speaker = place.split("/")
            texts = {
                "sa1": "she had your dark suit",
                "sx44": "the Subway making",
                "si1027": "Making a subway",
            }
            # Seven speakers say "lucky", one of them often; six say "odd"
            # twice; four say "rare" twice.
            if group in ("train", "test"):
                texts["sx44"] += " lucky"
            if speaker == "fcjf0":
                texts["si1027"] += " lucky" * 4
                texts["sa2"] = "don't ask me"
            if group in ("train", "none"):
                texts["si1027"] += " odd odd"
            if group in ("valid", "test"):
                texts["si1027"] += " rare RARE"
            for name, text in texts.items():
                samples = np.zeros(3000 + 100 * index, dtype=np.int16)
                words, start = [], 0
                for word in text.split():
                    start, level = start + 61, level + 1
                    stop = start + 50 + 7 * len(word)
                    samples[start:stop] = level
                    words.append((start, stop, word, level))
                    start = stop
                if name == "sa1":
                    # A word may end where the audio does.
                    samples = samples[:stop]
                phonemes = PHONEMES.get(name, {61: "h# aa h#"})[61].split()
                sentences.append(
                    SimpleNamespace(
                        split=split,
                        group=group,
                        region=region,
                        speaker=speaker,
                        name=name,
                        id=f"{speaker}_{name}",
                        samples=samples,
                        words=words,
                        phonemes=phonemes,
                    )
                )
    return sentences


SENTENCES = make_sentences()
WORD_OF_LEVEL = {
    level: (sentence.speaker, word.lower())
    for sentence in SENTENCES
    for _, _, word, level in sentence.words
}


def write_sphere(path, samples, rate=16000):
    """Write audio as TIMIT has it."""
    soundfile.write(path, samples, rate, format="NIST", subtype="PCM_16")


def write_riff(path, samples, rate=16000):
    """Write audio as most copies of TIMIT have it."""
    soundfile.write(path, samples, rate, format="WAV", subtype="PCM_16")


def write_shorten(path, samples):
    """Write a file that is compressed, as on TIMIT's first discs."""
    header = (
        f"NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i {len(samples)}"
        f"\nsample_rate -i 16000\nsample_n_bytes -i 2\n"
        f"sample_byte_format -s2 01\nsample_sig_bits -i 16\n"
        f"sample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    )
    path.write_bytes(header.encode().ljust(1024) + b"ajkg\x02\xfb" * 100)


RIFF_KINDS = {
    "riff float": {"subtype": "FLOAT"},
    "riff extensible": {"format": "WAVEX"},
    "riff big-endian": {"endian": "BIG"},
}


def write_timit(
    folder, case=str.upper, audio="sphere", newline="\n", macos=False
):
    """Write the tests' TIMIT in a folder."""
    for s in SENTENCES:
        place = folder / case(s.split) / case(s.region) / case(s.speaker)
        place.mkdir(parents=True, exist_ok=True)
        wav = place / case(f"{s.name}.wav")
        if audio.startswith("riff"):
            write_riff(wav, s.samples)
            if audio == "riff of a pipe":
                content = wav.read_bytes()
                assert content[36:40] == b"data"
                size = b"\xff\xff\xff\x7f"
                wav.write_bytes(content[:40] + size + content[44:])
            if audio in RIFF_KINDS:
                kind = {"format": "WAV", **RIFF_KINDS[audio]}
                soundfile.write(wav, s.samples / 2**15, 16000, **kind)
        else:
            write = write_shorten if audio == "shorten and riff" else None
            (write or write_sphere)(wav, s.samples)
            if audio == "flac":
                soundfile.write(wav, s.samples, 16000, format="FLAC")
            if audio == "sphere without length":
                content = wav.read_bytes()
                header = content[:1024].replace(
                    b"sample_count", b"sample_other"
                )
                wav.write_bytes(header + content[1024:])
        if audio.endswith("and riff"):
            write_riff(wav.with_name(f"{wav.name}.wav"), s.samples)
        # TIMIT's phonemes also end a little after the audio.
        step = len(s.samples) // len(s.phonemes) + 10
        lines = {
            ".wrd": [f"{a} {b} {word}" for a, b, word, _ in s.words],
            ".phn": [
                f"{n * step} {n * step + step} {label}"
                for n, label in enumerate(s.phonemes)
            ],
        }
        if s.name == "sa1":
            lines[".txt"] = [f"0 {len(s.samples)} She had your dark suit."]
        for suffix, content in lines.items():
            text = "".join(line + newline for line in content)
            path = place / case(s.name + suffix)
            path.write_bytes(text.encode())
        if macos:
            wav.with_name(f"._{wav.name}").write_bytes(b"\0\5\x16\7")
            trash = place.parent / ".Trash"
            trash.mkdir(exist_ok=True)
            (trash / "OLD.WAV").write_text("deleted")
    return folder


@pytest.fixture
def prepare(monkeypatch):
    """The module, as the folder of the recipe sees it."""
    monkeypatch.syspath_prepend(str(RECIPE))
    yield importlib.import_module("timit_prepare")
    del sys.modules["timit_prepare"]


@pytest.fixture(scope="module")
def timit(tmp_path_factory):
    """A copy of TIMIT for all tests, which change it with `damage` only."""
    return write_timit(tmp_path_factory.mktemp("shared") / "TIMIT")


@pytest.fixture
def damage():
    """Replaces files, or removes them, until the end of the test."""
    originals = {}

    def change(path, content=None):
        originals.setdefault(path, path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)

    yield change
    for path, content in originals.items():
        path.write_bytes(content)


@pytest.fixture
def linked(timit, tmp_path):
    """A copy of TIMIT by links, whose folders may be moved."""
    for place in timit.glob("*/*/*"):
        link = tmp_path / "TIMIT" / place.relative_to(timit)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(place)
    return tmp_path / "TIMIT"


@pytest.fixture
def out(tmp_path):
    """A folder for manifests, which is not there yet."""
    return tmp_path / "new" / "save"


@pytest.fixture
def sentences(prepare, out):
    """Calls `prepare_timit`."""

    def call(data_folder, **options):
        manifests = [out / f"{n}.json" for n in ("train", "valid", "test")]
        return prepare.prepare_timit(data_folder, *manifests, **options)

    call.other = {"phn_set": 60}
    return call


@pytest.fixture
def words(prepare, out):
    """Calls `prepare_words`."""

    def call(data_folder, words=("making", "subway"), **options):
        if isinstance(words, tuple):
            words = list(words)
        manifests = [out / f"{n}.json" for n in ("train", "test")]
        return prepare.prepare_words(data_folder, *manifests, words, **options)

    call.other = {"seed": 3}
    return call


@pytest.fixture(params=["sentences", "words"])
def either(request):
    """Calls the one, or the other; `other` are options not its defaults."""
    return request.getfixturevalue(request.param)


def read(out):
    """The manifests by their names."""
    return {
        path.stem: json.loads(path.read_text())
        for path in out.iterdir()
        if not path.stem.endswith("options")
    }


def without_paths(manifests):
    """The same, whatever the folder and the format of the audio."""
    return {
        name: {
            key: {k: v for k, v in entry.items() if k != "wav"}
            for key, entry in entries.items()
        }
        for name, entries in manifests.items()
    }


def state(out):
    """What changes if a file is written again."""
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in out.iterdir()
    }


def expected_sentences(phn_set):
    """What the manifests of sentences should hold, without paths."""
    manifests = {name: {} for name in ("train", "valid", "test")}
    for s in SENTENCES:
        if s.name in PHONEMES and s.group != "none":
            manifests[s.group][s.id] = {
                "duration": len(s.samples) / 16000,
                "spk_id": s.speaker,
                "phn": PHONEMES[s.name][phn_set],
                "wrd": " ".join(word.lower() for _, _, word, _ in s.words),
            }
    return manifests


def check_word(entry):
    """An example of a word is the whole of it, and nothing else."""
    start, stop = entry["start"], entry["stop"]
    audio, _ = soundfile.read(entry["wav"])
    (level,) = set(audio[start:stop] * 2**15)
    assert WORD_OF_LEVEL[level] == (entry["spk_id"], entry["word"])
    assert audio[start - 1] == audio[stop] == 0
    assert entry["duration"] == (stop - start) / 16000


class TestTrees:
    """The copies of TIMIT differ, and their manifests do not."""

    @pytest.mark.parametrize(
        "above, below, options",
        [
            ("", "", {}),
            ("", "", {"case": str.lower}),
            ("", "", {"audio": "riff"}),
            ("", "", {"audio": "riff of a pipe"}),
            *(("", "", {"audio": kind}) for kind in RIFF_KINDS),
            ("", "", {"audio": "flac"}),
            ("", "", {"audio": "sphere without length"}),
            ("", "", {"audio": "sphere and riff"}),
            ("", "", {"audio": "sphere and riff", "case": str.lower}),
            ("", "", {"audio": "shorten and riff"}),
            ("", "", {"newline": "\r\n"}),
            ("", "", {"newline": " \n\n"}),
            ("", "", {"macos": True}),
            ("", "data", {}),
            ("", "TIMIT", {}),
            ("", "data/lisa/TIMIT", {"case": str.lower}),
            ("TRAIN/train_sets/TIMIT", "", {}),
            ("TEST/test_sets/TIMIT", "", {}),
            ("train/timit", "", {"case": str.lower}),
            ("test", "", {"case": str.lower}),
            ("", "TRAIN/train_sets/TIMIT", {}),
            ("", "TEST/DR1/TIMIT", {}),
        ],
    )
    def test_shapes(
        self, sentences, words, out, timit, tmp_path, above, below, options
    ):
        """The same sentences and words, each once, in audio that is read."""
        folder = tmp_path / "tree" / above
        write_timit(folder / below, **options)
        assert sentences(folder) is True
        manifests = read(out)
        assert without_paths(manifests) == expected_sentences(39)
        # In the order of the tree, whatever the file system's.
        assert list(manifests["train"]) == [
            f"{speaker}_{name}"
            for speaker in ("fcjf0", "mkls0", "marc0", "falk0", "mcxm0")
            for name in ("si1027", "sx44")
        ]
        samples = {s.id: s.samples for s in SENTENCES}
        for entries in manifests.values():
            for key, entry in entries.items():
                audio, _ = soundfile.read(entry["wav"])
                np.testing.assert_array_equal(audio * 2**15, samples[key])

        shutil.rmtree(out)
        assert words(folder) is True
        manifests = read(out)
        for entries in manifests.values():
            for entry in entries.values():
                check_word(entry)
        shutil.rmtree(out)
        words(timit)
        assert without_paths(manifests) == without_paths(read(out))

    def test_not_allowed(self, sentences, linked, monkeypatch):
        """A folder beside TIMIT that cannot be read is not looked into, but
        one of TIMIT itself has to be read."""
        iterdir, closed = Path.iterdir, linked.parent / "CLOSED"

        def check(path):
            if path.name == closed.name:
                raise PermissionError(f"Permission denied: {path}")
            return iterdir(path)

        monkeypatch.setattr(Path, "iterdir", check)
        closed.mkdir()
        timit = linked.rename(linked.with_name("ZZ"))
        assert sentences(linked.parent) is True
        closed.rename(timit / "TRAIN" / "DR1" / closed.name)
        with pytest.raises(PermissionError):
            sentences(timit)

    def test_split_by_folder(self, sentences, out, linked):
        """A speaker in TRAIN is not in a test, whatever its name."""
        place = linked / "TRAIN" / "DR8"
        (place / "MCXM0").rename(place / "MWBT0")
        (linked / "TRAIN" / "DR3" / "FALK0").rename(place / "FDAC1")
        sentences(linked)
        manifests = read(out)
        assert {"mwbt0_sx44", "fdac1_sx44"} < set(manifests["train"])
        expected = expected_sentences(39)
        for name in ("valid", "test"):
            assert manifests[name].keys() == expected[name].keys()

    def test_other_folders(self, sentences, words, out, linked):
        """Folders and files that are not TIMIT's do not disturb."""
        shutil.copytree(linked / "TEST" / "DR1", linked / "TEST" / "DR10")
        shutil.copytree(linked / "TEST" / "DR2", linked / "TEST" / "OLD_DR2")
        (linked / "README.DOC").write_text("TIMIT")
        (linked / "TRAIN" / "DR1" / "SPKRINFO.TXT").write_text("FCJF0")
        (linked / "TRAIN" / "DR1" / "MXXX0" / "X.WAV").mkdir(parents=True)
        for name in ("DOC", "AAA"):
            (linked / name / "TRAIN").mkdir(parents=True)
            (linked / name / "TEST").mkdir()
        sentences(linked)
        assert without_paths(read(out)) == expected_sentences(39)
        manifests = list(read(out).values())
        parts = [
            Path(e["wav"]).parts[-4:-2] for m in manifests for e in m.values()
        ]
        assert {part for _, part in parts} == {"DR1", "DR2", "DR3", "DR8"}
        assert words(linked)

    @pytest.mark.parametrize(
        "marker, name", [(True, "synthetic speech"), (False, "TIMIT")]
    )
    def test_name_of_the_corpus(self, prepare, linked, marker, name):
        """A folder that is given is used, and synthetic speech is called so."""
        if marker:
            (linked / "SYNTHETIC.txt").touch()
        corpus = prepare.find_data(str(linked), "unused", 40)
        assert corpus == (str(linked), name)
        above = linked.parent
        name = name if marker else above.name
        assert prepare.find_data(above, "unused", 40) == (str(above), name)

    def test_no_corpus(self, prepare, tmp_path, monkeypatch, capsys):
        """Speech is synthesised in the output folder, which is told."""

        def synthesize_timit(folder, num_speakers):
            assert num_speakers == 41
            (folder / "TRAIN" / "DR1").mkdir(parents=True)
            (folder / "TEST" / "DR1").mkdir(parents=True)
            (folder / "SYNTHETIC.txt").touch()

        module = SimpleNamespace(synthesize_timit=synthesize_timit)
        monkeypatch.setitem(sys.modules, "synthesize", module)
        monkeypatch.chdir(tmp_path)
        folder, name = prepare.find_data(None, ".", 41)
        assert folder == str(tmp_path / "synthetic_TIMIT")
        assert name == "synthetic speech"
        assert "the speech is synthetic" in capsys.readouterr().out


class TestSentences:
    """What is in the manifests for phoneme recognition."""

    @pytest.mark.parametrize("phn_set", [60, 48, 39])
    def test_contents(self, sentences, out, timit, phn_set):
        """Phonemes by the set, words, durations, and whose sentences."""
        assert sentences(timit, phn_set=phn_set) is True
        manifests = read(out)
        assert without_paths(manifests) == expected_sentences(phn_set)
        assert {k: len(v) for k, v in manifests.items()} == {
            "train": 10,
            "valid": 4,
            "test": 4,
        }
        entry = manifests["test"]["mdab0_sx44"]
        place = timit / "TEST" / "DR1" / "MDAB0"
        assert entry["wav"] == str(place / "SX44.WAV")
        assert entry["duration"] == 0.1875
        assert entry["wrd"] == "the subway making lucky"

    def test_default_set(self, sentences, out, timit):
        """It has 39 phonemes."""
        sentences(timit)
        assert without_paths(read(out)) == expected_sentences(39)

    def test_speakers(self, prepare):
        """The lists have 24 and 50 speakers of TEST, none twice."""
        core, dev = prepare.CORE_TEST_SPEAKERS, prepare.DEV_SPEAKERS
        assert (len(core), len(dev), len({*core, *dev})) == (24, 50, 74)
        for name in core + dev:
            assert re.fullmatch("[fm][a-z]{3}[0-9]", name)
        # Of each of the eight regions, two men and then a woman.
        assert [name[0] for name in core] == ["m", "m", "f"] * 8
        # Exactly those of Kaldi's recipe.
        for names, expected in (
            (core, "b1342cbe60c721ae"),
            (dev, "403ee9d0901e6493"),
        ):
            text = " ".join(sorted(names)).encode()
            assert hashlib.sha256(text).hexdigest().startswith(expected)


class TestWords:
    """Which examples of words are taken, and how they are cut."""

    def test_cut_by_the_times(self, words, out, timit):
        """The audio of an example is that of its word, from end to end."""
        chosen = ["making", "subway", "lucky", "rare", "odd", "she"]
        words(timit, words=chosen)
        manifests = read(out)
        entries = {**manifests["train"], **manifests["test"]}
        assert len(entries) == 7 * len(chosen)
        for entry in entries.values():
            check_word(entry)

    @pytest.mark.parametrize(
        "options, train, test",
        [({}, 5, 2), ({"num_train": 3}, 3, 2), ({"num_test": 4}, 5, 4)],
    )
    def test_numbers(self, words, out, timit, options, train, test):
        """So many examples of each word, by default 5 and 2."""
        assert words(timit, **options) is True
        for name, number in (("train", train), ("test", test)):
            counts = Counter(e["word"] for e in read(out)[name].values())
            assert counts == {"making": number, "subway": number}

    def test_all_examples(self, words, out, timit):
        """Exactly as many as there are is enough, also for all of them."""
        words(timit, words=["rare", "making"], num_train=7, num_test=1)
        manifests = read(out)
        entries = [*manifests["train"].values(), *manifests["test"].values()]
        rare = {
            (entry["spk_id"], entry["start"])
            for entry in entries
            if entry["word"] == "rare"
        }
        assert rare == {
            (s.speaker, start)
            for s in SENTENCES
            for start, _, word, _ in s.words
            if word.lower() == "rare"
        }

    def test_speakers_differ(self, words, out, timit):
        """Of TRAIN and TEST alike, all different where there are enough."""
        seen = set()
        for seed in range(12):
            words(timit, words=["making", "lucky"], seed=seed)
            manifests = read(out)
            speakers = {"making": [], "lucky": []}
            for entries in manifests.values():
                for entry in entries.values():
                    speakers[entry["word"]].append(entry["spk_id"])
            for names in speakers.values():
                assert len(set(names)) == len(names) == 7
            # No others say this word, and one says it five times.
            assert {*speakers["lucky"]} == {*TRAIN_SPEAKERS, "mdab0", "fpas0"}
            seen |= set(speakers["making"])
        assert seen == {*TRAIN_SPEAKERS, *TEST_SPEAKERS}

    def test_speakers_repeat(self, words, out, timit):
        """As seldom as they can, in training and in the test alike."""
        in_test = []
        for seed in range(20):
            words(timit, words=["odd", "rare"], seed=seed)
            manifests = read(out)
            counts = {"odd": Counter(), "rare": Counter()}
            for entries in manifests.values():
                for entry in entries.values():
                    counts[entry["word"]][entry["spk_id"]] += 1
            assert sorted(counts["odd"].values()) == [1] * 5 + [2]
            assert sorted(counts["rare"].values()) == [1, 2, 2, 2]
            (twice,) = (s for s, n in counts["odd"].items() if n == 2)
            in_test.append(
                sum(
                    (entry["word"], entry["spk_id"]) == ("odd", twice)
                    for entry in manifests["test"].values()
                )
            )
        assert {0, 1} <= set(in_test)

    def test_none_in_both(self, words, out, timit):
        """What is tested was not trained on, also where speakers repeat."""
        for seed in range(10):
            words(timit, words=["odd", "rare", "making"], seed=seed)
            manifests = read(out)
            train, test = (
                {(e["wav"], e["start"]) for e in manifests[name].values()}
                for name in ("train", "test")
            )
            assert (len(train), len(test)) == (15, 6)
            assert not train & test

    def test_seed(self, words, out, timit):
        """It alone decides what is drawn."""
        drawn = []
        for seed in (0, 1, 0):
            words(timit, seed=seed)
            drawn.append(read(out))
            shutil.rmtree(out)
        assert drawn[0] == drawn[2] != drawn[1]
        words(timit)
        assert read(out) == drawn[0]

    def test_words_are_independent(self, words, out, timit):
        """The examples of a word are the same, whatever the others."""

        def of_word(word):
            return {
                (name, key): entry
                for name, entries in read(out).items()
                for key, entry in entries.items()
                if entry["word"] == word
            }

        words(timit, words=["making", "subway"])
        making, subway = of_word("making"), of_word("subway")
        words(timit, words=["rare", "subway", "odd", "making"])
        assert making == of_word("making") and subway == of_word("subway")
        # Nor does one word's draw repeat another's.
        assert [e["spk_id"] for e in making.values()] != [
            e["spk_id"] for e in subway.values()
        ]

    @pytest.mark.parametrize(
        "same",
        [
            [["making", "subway"], ["odd", "rare"]],
            [["making"], ["subway", "odd", "rare"]],
            ["MAKING", "Subway", "odd", "RARE"],
            [["Making", "SUBWAY", "Odd", "Rare"]],
        ],
    )
    def test_lists(self, words, out, timit, same):
        """In groups or not, and in any case, they are the same words."""
        words(timit, words=same)
        manifests, before = read(out), state(out)
        assert words(timit, words=["making", "subway", "odd", "rare"]) is False
        assert state(out) == before
        shutil.rmtree(out)
        words(timit, words=["making", "subway", "odd", "rare"])
        assert read(out) == manifests

    def test_groups(self, prepare):
        """The words in the groups that they are given in, or in one."""
        group_words = prepare.group_words
        assert group_words(["A", "b"]) == [["a", "b"]]
        assert group_words([["A", "b"], ["C"]]) == [["a", "b"], ["c"]]


class TestRewriting:
    """Manifests are written when they have to be, and whole."""

    def test_not_without_reason(self, either, out, timit, monkeypatch):
        """The same options, however the folder is named, change nothing."""
        monkeypatch.chdir(timit.parent)
        assert either("TIMIT") is True
        entries = [e for m in read(out).values() for e in m.values()]
        assert all(entry["wav"].startswith(f"{timit}/") for entry in entries)
        before = state(out)
        assert either("TIMIT") is False
        monkeypatch.chdir(out)
        assert either(timit) is False
        assert either(str(timit)) is False
        assert state(out) == before

    @pytest.mark.parametrize("option", ["phn_set", "data_folder"])
    def test_sentences(self, sentences, out, linked, option):
        """Another set of phonemes, or another copy of TIMIT."""
        sentences(linked)
        before, number = state(out), 39
        if option == "phn_set":
            number = 48
        else:
            linked = linked.rename(linked.with_name("other"))
        assert sentences(linked, phn_set=number) is True
        assert all(state(out)[name] != time for name, time in before.items())
        manifests = read(out)
        assert without_paths(manifests) == expected_sentences(number)
        entries = [
            e for entries in manifests.values() for e in entries.values()
        ]
        assert all(entry["wav"].startswith(f"{linked}/") for entry in entries)
        assert sentences(linked, phn_set=number) is False

    @pytest.mark.parametrize(
        "options",
        [
            {"words": ["making", "odd"]},
            {"words": ["subway", "making"]},
            {"num_train": 4},
            {"num_test": 1},
            {"seed": 5},
        ],
    )
    def test_words(self, words, out, timit, options):
        """Other words, another order of them, other numbers or seeds."""
        words(timit)
        before, manifests = state(out), read(out)
        assert words(timit, **options) is True
        assert all(state(out)[name] != time for name, time in before.items())
        assert read(out) != manifests or "words" in options
        ((name, _),) = options.items()
        made = json.loads((out / "train_options.json").read_text())
        assert made[name] == options[name]
        assert words(timit, **options) is False

    def test_words_of_another_copy(self, words, out, linked):
        """They point to that one."""
        words(linked)
        other = linked.rename(linked.with_name("other"))
        assert words(other) is True
        entries = [e for m in read(out).values() for e in m.values()]
        assert all(entry["wav"].startswith(f"{other}/") for entry in entries)

    @pytest.mark.parametrize("name", ["train", "test", "train_options"])
    def test_missing(self, either, out, timit, name):
        """A manifest that was deleted is made again, and the others."""
        either(timit)
        manifests = read(out)
        (out / f"{name}.json").unlink()
        assert either(timit) is True
        assert read(out) == manifests

    def test_in_use(self, either, out, timit):
        """Not where something was trained with what would be replaced."""
        either(timit)
        before = state(out)
        assert either(timit, in_use=True) is False
        message = (
            f"^{out} holds what was trained with other data: expected another "
            f"--output_folder"
        )
        with pytest.raises(ValueError, match=message):
            either(timit, **either.other, in_use=True)
        assert state(out) == before
        (out / "train.json").unlink()
        with pytest.raises(ValueError, match=message):
            either(timit, in_use=True)

    @pytest.mark.parametrize("change", ["", "kept", "other"])
    def test_moved_in_use(self, either, out, linked, damage, change):
        """Data may move, if they are the same, and the old are no more."""
        either(linked)
        manifests = read(out)
        move = linked.rename
        if change == "kept":
            move = partial(shutil.copytree, linked)
        moved = Path(move(linked.with_name("moved")))
        if change == "other":
            for path in moved.glob("*/*/*/*.WRD"):
                words = path.read_text().lower()
                words = words.replace("subway", "?").replace("making", "subway")
                damage(path, words.replace("?", "making").encode())
        if change:
            with pytest.raises(ValueError, match="trained with other data"):
                either(moved, in_use=True)
            assert read(out) == manifests
        else:
            assert either(moved, in_use=True) is True
            assert without_paths(read(out)) == without_paths(manifests)
            assert str(linked) not in (out / "train.json").read_text()

    @pytest.mark.parametrize("module, name", [(json, "dump"), (os, "replace")])
    @pytest.mark.parametrize("again", ["before", "after"])
    def test_interrupted(
        self, either, out, timit, monkeypatch, module, name, again
    ):
        """The next call completes it, also if it is one for the old ones."""
        options = {"before": {}, "after": either.other}
        either(timit, **options[again])
        expected = read(out)
        shutil.rmtree(out)
        either(timit, **options["before"])

        function, calls = getattr(module, name), []

        def fail(*args, **kwargs):
            calls.append(args)
            if len(calls) == 2:
                if module is json:
                    args[1].write('{"half": ')
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(KeyboardInterrupt):
                either(timit, **options["after"])
        assert not list(out.glob(".partial*"))
        assert read(out).keys() == expected.keys()
        assert either(timit, **options[again]) is True
        assert read(out) == expected
        assert either(timit, **options[again]) is False

    def test_error_keeps_the_old(self, either, out, timit, damage):
        """Nothing is changed if the data are not as they should be."""
        either(timit)
        before = state(out)
        damage(timit / "TEST" / "DR2" / "FPAS0" / "SX44.WAV", b"garbage")
        with pytest.raises(ValueError, match="SX44.WAV is corrupt"):
            either(timit, **either.other)
        assert state(out) == before


class TestBadInput:
    """One clear sentence, and no manifest."""

    @pytest.fixture
    def refused(self, out):
        """Checks that something is refused, and leaves nothing behind."""

        def check(message, function, *args, **options):
            with pytest.raises(ValueError, match=message) as info:
                function(*args, **options)
            assert type(info.value) is ValueError
            assert "\n" not in str(info.value)
            assert not out.parent.exists()

        return check

    def test_no_folder(self, refused, either, tmp_path):
        """A folder that does not exist, or is a file."""
        (tmp_path / "TIMIT").touch()
        for name in ("nowhere", "TIMIT"):
            folder = tmp_path / name
            refused(
                f"data_folder={folder}: expected the folder of a copy of "
                f"TIMIT, and there is none",
                either,
                folder,
            )

    def test_no_timit(self, refused, either, tmp_path):
        """Folders without it, even with names as in it."""
        message = (
            f"data_folder={tmp_path}: expected a copy of TIMIT, with "
            f"TRAIN/DR1 and TEST/DR1 in this folder or below, found none"
        )
        refused(message, either, tmp_path)
        for name in ("TRAIN/FCJF0", "TEST/DR11", "a/TRAIN/DR9", "a/DR1/TEST"):
            (tmp_path / name).mkdir(parents=True)
        refused(message, either, tmp_path)

    def test_inside(self, refused, either, timit):
        """A part of a copy."""
        for part in ("TRAIN", "TRAIN/DR1"):
            refused("expected a copy of TIMIT", either, timit / part)

    @pytest.mark.parametrize("split", ["TRAIN", "TEST"])
    @pytest.mark.parametrize("depth", [0, 1])
    def test_half(self, refused, either, tmp_path, split, depth):
        """TRAIN or TEST alone, or with an empty folder for the other."""
        path = tmp_path / "TIMIT" / split
        (path / "DR1").mkdir(parents=True)
        folder = [path.parent, tmp_path][depth]
        message = (
            f"data_folder={folder}: expected TRAIN and TEST side by side, "
            f"found {path} only"
        )
        refused(message, either, folder)
        other = {"TRAIN": "TEST", "TEST": "TRAIN"}[split]
        (path.parent / other / "FCJF0").mkdir(parents=True)
        refused(message, either, folder)

    def test_no_audio(self, refused, either, tmp_path):
        """No files at all, or only the transcriptions."""
        message = f"data_folder={tmp_path}: expected audio files"
        for name in ("TRAIN", "TEST"):
            (tmp_path / name / "DR1" / "FCJF0").mkdir(parents=True)
        refused(message, either, tmp_path)
        for name in ("SA1.WRD", "SA1.WAV.TXT", "WAV"):
            (tmp_path / "TRAIN" / "DR1" / "FCJF0" / name).touch()
        refused(message, either, tmp_path)

    @pytest.mark.parametrize("split", ["TRAIN", "TEST"])
    @pytest.mark.parametrize(
        "kind, message",
        [
            ("truncated", "SX44.WAV is corrupt: .* 3000 samples by .* 2990"),
            ("header", "SX44.WAV is corrupt"),
            ("too long", "SX44.WAV is corrupt: .* 3000 samples .* 3001"),
            ("garbage", "SX44.WAV is corrupt: expected NIST SPHERE or RIFF"),
            ("empty", "SX44.WAV is corrupt: expected NIST SPHERE or RIFF"),
            ("shorten", "SX44.WAV is compressed .*convert .* `sph2pipe -f wav"),
            ("rate", "SX44.WAV: expected one .* 16000 Hz, got 1 at 8000 Hz"),
            ("stereo", "SX44.WAV: .* 16000 Hz, got 2 at 16000 Hz"),
            ("riff stereo", "SX44.WAV: .* 16000 Hz, got 2 at 16000 Hz"),
            ("riff truncated", "SX44.WAV is corrupt: .* 3000 .* 2990"),
        ],
    )
    def test_audio(self, refused, either, timit, damage, split, kind, message):
        """A file that cannot be used, named."""
        speaker = {"TRAIN": "FCJF0", "TEST": "FAKS0"}[split]
        path = timit / split / "DR1" / speaker / "SX44.WAV"
        content, samples = path.read_bytes(), np.ones((3000, 2), dtype=np.int16)
        assert len(content) == 1024 + 6000
        damage(path, b"")
        if kind == "truncated":
            path.write_bytes(content[:-20])
        elif kind == "header":
            path.write_bytes(content[:500])
        elif kind == "too long":
            path.write_bytes(content + b"\0\0")
        elif kind == "garbage":
            path.write_bytes(b"<html>404</html>" * 100)
        elif kind == "shorten":
            write_shorten(path, samples)
        elif kind == "rate":
            write_sphere(path, samples[:, 0], 8000)
        elif kind == "stereo":
            write_sphere(path, samples)
        elif kind == "riff stereo":
            write_riff(path, samples)
        elif kind == "riff truncated":
            write_riff(path, samples[:, 0])
            path.write_bytes(path.read_bytes()[:-20])
        refused(f"{path.parent}/{message}", either, timit)

    @pytest.mark.parametrize(
        "line, message",
        [
            ("61 132", "expected start, stop and label, got '61 132'"),
            ("61 132 the dog", "start, stop and label, got '61 132 the dog'"),
            ("a 132 the", "expected start, stop and label, got 'a 132 the'"),
            ("61 1e3 the", "expected start, stop and label, got '61 1e3 the'"),
            ("61 3001 the", "within the 3000 samples .*, got 61 to 3001"),
            ("132 132 the", "expected a segment within .*, got 132 to 132"),
            ("133 132 the", "expected a segment within .*, got 133 to 132"),
            ("-1 132 the", "expected a segment within .*, got -1 to 132"),
        ],
    )
    def test_words_file(self, refused, either, timit, damage, line, message):
        """A line that is wrong, named."""
        path = timit / "TRAIN" / "DR1" / "FCJF0" / "SX44.WRD"
        assert path.read_bytes().startswith(b"61 132 the\n")
        damage(path, f"1 60 so\n{line}\n".encode())
        refused(f"{path}, line 2: .*{message}", either, timit)

    @pytest.mark.parametrize(
        "old, new, message",
        [
            (" q\n", " qq\n", "SX44.PHN: expected TIMIT's 61 labels, got 'qq'"),
            (" ao\n", " AO\n", "SX44.PHN: expected TIMIT's 61 .* got 'AO'"),
            (" q\n", "\n", "SX44.PHN, line 2: expected start, stop and label"),
            (" q\n", " q q\n", "SX44.PHN, line 2: expected start, stop and"),
        ],
    )
    def test_phonemes_file(
        self, refused, sentences, words, timit, damage, old, new, message
    ):
        """A phoneme or line that is wrong; words do not depend on it."""
        path = timit / "TEST" / "DR2" / "FPAS0" / "SX44.PHN"
        text = path.read_text()
        assert text.count(old) == 1
        damage(path, text.replace(old, new).encode())
        refused(f"{path.parent}/{message}", sentences, timit)
        assert words(timit) is True

    @pytest.mark.parametrize("text", [b"", b"\n \r\n"])
    def test_empty_files(self, refused, either, timit, damage, text):
        """Transcriptions that are empty."""
        place = timit / "TEST" / "DR1" / "MDAB0"
        message = "expected lines of start, stop and label, found none"
        damage(place / "SX44.WRD", text)
        refused(f"SX44.WRD: {message}", either, timit)
        damage(place / "SX44.WRD", b"1 2 a")
        damage(place / "SX44.PHN", text)
        if either.other == {"phn_set": 60}:
            refused(f"SX44.PHN: {message}", either, timit)

    def test_no_words_file(self, refused, either, timit, damage):
        """None beside the audio."""
        path = timit / "TEST" / "DR1" / "MDAB0" / "SX44.WRD"
        damage(path)
        wav = path.with_suffix(".WAV")
        refused(f"{wav}: expected sx44.wrd .* beside it", either, timit)

    def test_no_phonemes_file(self, refused, sentences, words, timit, damage):
        """None beside the audio, which matters for the phonemes only."""
        path = timit / "TEST" / "DR1" / "MDAB0" / "SX44.PHN"
        damage(path)
        wav = path.with_suffix(".WAV")
        refused(f"{wav}: expected sx44.phn .* beside it", sentences, timit)
        assert words(timit) is True

    @pytest.mark.parametrize("phn_set", [50, "39", None])
    def test_phn_set(self, refused, sentences, timit, phn_set):
        """None of the three, which is told before anything is read."""
        for folder in (timit, timit / "nowhere"):
            refused(
                f"^phn_set={phn_set}: expected 60, 48 or 39",
                sentences,
                folder,
                phn_set=phn_set,
            )

    @pytest.mark.parametrize(
        "group, message",
        [
            ("valid", r"expected some of the development .*\(faks0, fdac1"),
            ("test", r"expected some of the core test .*\(mdab0, mwbt0"),
        ],
    )
    def test_no_speakers(self, refused, sentences, linked, group, message):
        """None of the development or core test speakers in TEST."""
        for place in SPEAKERS[group]:
            (linked / "TEST" / place.upper()).unlink()
        refused(f"data_folder={linked}: {message}", sentences, linked)

    def test_no_training(self, refused, sentences, linked):
        """No sentences in TRAIN but SA1 and SA2."""
        for path in (linked / "TRAIN").glob("*/*"):
            if path.name != "FCJF0":
                path.unlink()
        place = linked / "TRAIN" / "DR1" / "FCJF0"
        files = [p for p in place.resolve().iterdir() if p.stem == "SA1"]
        place.unlink()
        place.mkdir()
        for path in files:
            shutil.copy(path, place)
        message = f"data_folder={linked}: expected audio files of more than SA1"
        refused(message, sentences, linked)

    @pytest.mark.parametrize(
        "listed, message",
        [
            (["making", "subways", "rare"], "8 examples .* found subways 0.$"),
            (["lucky", "Lacking", "she"], "found lacking 0.$"),
            (["making", "don't", "suitor", "Suits"], "suitor 0, suits 0.$"),
        ],
    )
    def test_words_not_in_the_data(
        self, refused, words, timit, listed, message
    ):
        """All of them are listed, and none of those that are there."""
        message = f"^words: expected at least .*{message}"
        refused(message, words, timit, words=listed, num_test=3)

    def test_too_few_examples(self, refused, words, timit):
        """All words that have too few of them, with their numbers."""
        message = (
            f"^words: expected at least 11 examples of each in {timit}, found "
            f"rare 8, she 10, none 0.$"
        )
        listed = ["rare", "making", "she", "lucky", "none", "odd"]
        refused(message, words, timit, words=listed, num_test=6)

    @pytest.mark.parametrize(
        "listed, message",
        [
            ([], r"^words=\[\]: expected a list of words"),
            (None, "^words=None: expected a list of words"),
            ("making", "^words=making: expected a list of words"),
            ({"making": 1}, "^words=.*: expected a list of words"),
            (["making"], r"^words=\['making'\]: expected at least two words"),
            ([["making"]], "^words=.*: expected at least two words"),
            ([[], []], "^words=.*: expected at least two words"),
            (["making", "subway", "Making"], r"once, got \['making'\] twice"),
            ([["odd", "rare"], ["rare"]], r"once, got \['rare'\] twice"),
            (["making", True], "got True .YAML .*: put it in quotes"),
            (["making", 7], "lists of words, got 7 .YAML .* in quotes"),
            (["making", None], "lists of words, got None .YAML .* in quotes"),
            ([["making", "subway"], [False]], "lists of words, got False "),
            ([["making", "subway"], "odd"], "lists of words, got 'odd' "),
            (["making", ""], "lists of words, got '' "),
            (["making", "the subway"], "lists of words, got 'the subway' "),
            (["making", "subway "], "lists of words, got 'subway ' "),
            (["making", ["subway"]], r"lists of words, got \['subway'\] "),
        ],
    )
    def test_lists_of_words(self, refused, words, timit, listed, message):
        """Not words, or not enough, or twice, told before data is read."""
        for folder in (timit, timit / "nowhere"):
            refused(message, words, folder, words=listed)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"num_train": 0}, "^num_train=0, num_test=2: expected at least 1"),
            ({"num_test": 0}, "^num_train=5, num_test=0: expected at least 1"),
            ({"num_test": -1}, "^num_train=5, num_test=-1: expected at least"),
        ],
    )
    def test_numbers(self, refused, words, timit, options, message):
        """No examples."""
        refused(message, words, timit, **options)

    def test_moved_audio(self, either, out, linked):
        """Manifests that point to audio which is not there any more."""
        either(linked)
        before = state(out)
        linked.rename(linked.with_name("moved"))
        message = (
            rf"train\.json points to {linked}/.*\.WAV, and there is no such "
            rf"file: .* as --data_folder"
        )
        with pytest.raises(ValueError, match=message):
            either(linked)
        assert state(out) == before

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_missing_audio(self, either, out, timit, damage, name):
        """One file of the last in a manifest is not there any more."""
        either(timit)
        path = list(read(out)[name].values())[-1]["wav"]
        damage(Path(path))
        with pytest.raises(ValueError, match=f"json points to {path}, and"):
            either(timit)

    @pytest.mark.parametrize("name", ["train", "test", "train_options"])
    def test_damaged_manifest(self, either, out, timit, name):
        """One that is no JSON is named."""
        either(timit)
        path = out / f"{name}.json"
        path.write_text(path.read_text()[:-3])
        with pytest.raises(ValueError, match=f"^{path} is damaged .* delete"):
            either(timit)


class TestPhonemes:
    """The sets of phonemes."""

    # TIMIT's phoncode.doc.
    LABELS = """b d g p t k dx q jh ch s sh z zh f th v dh m n ng em en eng nx l
        r w y hh hv el iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr
        ax-h pau epi h# bcl dcl gcl pcl tcl kcl""".split()

    # Those that are written for others in Lee and Hon (1989), Table II.
    FOLDED = {
        48: {
            **{"ux": "uw", "axr": "er", "ax-h": "ax", "em": "m", "nx": "n"},
            **{"eng": "ng", "hv": "hh", "pcl": "cl", "tcl": "cl", "kcl": "cl"},
            **{"bcl": "vcl", "dcl": "vcl", "gcl": "vcl"},
            **{"h#": "sil", "pau": "sil"},
        },
        39: {
            **{"ux": "uw", "axr": "er", "ax-h": "ah", "ax": "ah", "em": "m"},
            **{"nx": "n", "en": "n", "eng": "ng", "hv": "hh", "el": "l"},
            **{"ao": "aa", "ix": "ih", "zh": "sh"},
            **dict.fromkeys("pcl tcl kcl bcl dcl gcl".split(), "sil"),
            **dict.fromkeys("h# pau epi".split(), "sil"),
        },
    }

    @pytest.mark.parametrize("phn_set", [60, 48, 39])
    def test_table(self, phn_set):
        """Each of the 61 labels, and the sizes of the sets."""
        assert len(self.LABELS) == len(set(self.LABELS)) == 61
        folded = self.FOLDED.get(phn_set, {})
        for label in self.LABELS:
            expected = [] if label == "q" else [folded.get(label, label)]
            assert map_phonemes([label], phn_set) == expected
        results = (map_phonemes([label], phn_set) for label in self.LABELS)
        assert len({p for result in results for p in result}) == phn_set

    @pytest.mark.parametrize(
        "labels, expected",
        [
            ("h# q pau", {60: "h# pau", 48: "sil", 39: "sil"}),
            ("q", {60: "", 48: "", 39: ""}),
            ("tcl tcl", {60: "tcl tcl", 48: "cl cl", 39: "sil"}),
            ("s s axr er", {60: "s s axr er", 48: "s s er er"}),
            ("pau iy pau", {60: "pau iy pau", 48: "sil iy sil"}),
            ("kcl pau epi t", {48: "cl sil epi t", 39: "sil t"}),
        ],
    )
    def test_merging(self, labels, expected):
        """Of what follows each other, only silences are one."""
        for phn_set, phonemes in expected.items():
            actual = map_phonemes(labels.split(), phn_set)
            assert actual == phonemes.split()

    def test_bad_input(self):
        """Other sets, and labels that are not TIMIT's."""
        with pytest.raises(ValueError, match="^phn_set=61: expected 60, 48 or"):
            map_phonemes(["aa"], 61)
        with pytest.raises(ValueError, match="61 labels, got 'sil'"):
            map_phonemes(["aa", "sil", "cl"], 39)

    @pytest.mark.parametrize("phn_set", [60, 48, 39])
    def test_order_of_the_units(self, phn_set):
        """The blank, then the phonemes in alphabetical order."""
        folded = self.FOLDED.get(phn_set, {})
        phonemes = sorted({folded.get(p, p) for p in self.LABELS} - {"q"})
        expected = ["<blank>", *phonemes]
        assert PhonemeTokenizer(phn_set).phonemes == expected
        assert (PhonemeTokenizer().phonemes == expected) == (phn_set == 39)
