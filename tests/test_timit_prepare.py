"""Any copy of TIMIT, and manifests of it: of sentences, and in general."""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import RECIPES, recipe_modules, run_recipe
from tiny_timit import (
    PHONEMES,
    RIFF_KINDS,
    SAMPLE_SPEAKERS,
    SENTENCES,
    SPEAKERS,
    check_word,
    read,
    state,
    without_paths,
    write_riff,
    write_shorten,
    write_sphere,
    write_timit,
)

from speechbrain_cwrnn.phonemes import PhonemeTokenizer, map_phonemes

pytest_plugins = "timit_fixtures"

# The folders of NLTK's.
SAMPLE = """
    dr1-fvmh0 dr1-mcpm0 dr2-faem0 dr2-marc0 dr3-falk0 dr3-madc0 dr4-falr0
    dr4-maeb0 dr5-ftlg0 dr5-mbgt0 dr6-fapb0 dr6-mbma1 dr7-fblv0 dr7-madd0
    dr8-fbcg1 dr8-mbcg0
""".split()


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
        core = prepare.timit_prepare.CORE_TEST_SPEAKERS
        dev = prepare.timit_prepare.DEV_SPEAKERS
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


class TestSample:
    """NLTK's, which has no TRAIN and TEST."""

    @pytest.mark.parametrize("below", ["", "timit"])
    def test_split(self, sentences, out, timit_sample, below):
        """By speaker, as it is written down; all else is as in a copy."""
        assert sentences(timit_sample / below) is True
        expected = {name: {} for name in ("train", "valid", "test")}
        for name, entries in expected_sentences(39).items():
            for key, entry in entries.items():
                speaker, sentence = key.split("_")
                speaker = SAMPLE_SPEAKERS[speaker][4:]
                expected[name][f"{speaker}_{sentence}"] = {
                    **entry,
                    "spk_id": speaker,
                }
        manifests = without_paths(read(out))
        for key in ("mbgt0_si1027", "mbgt0_sx44"):
            assert manifests["train"].pop(key)["spk_id"] == "mbgt0"
        assert manifests == expected

    def test_speakers(self, prepare):
        """Each of a fold of another region, of whom half are women; and each
        is in the test of one fold."""
        module = prepare.timit_prepare
        places = [name.split("-") for name in SAMPLE]
        regions = {speaker: region for region, speaker in places}
        tests = []
        for fold in range(4):
            valid, test = module.sample_tests(fold)
            assert [name[0] for name in valid] == ["f", "m"]
            assert sorted(name[0] for name in test) == ["f", "f", "m", "m"]
            assert len({regions[name] for name in valid + test}) == 6
            tests += test
        assert sorted(tests) == sorted(regions)
        assert not {*tests} & {*module.DEV_SPEAKERS, *module.CORE_TEST_SPEAKERS}

    def test_fold(self, sentences, out, timit_sample):
        """Its speakers are for the test, and those of the others to learn
        from."""
        assert sentences(timit_sample) is True
        assert sentences(timit_sample, fold=3) is True
        assert sentences(timit_sample, fold=3) is False
        speakers = {
            name: {entry["spk_id"] for entry in entries.values()}
            for name, entries in read(out).items()
        }
        assert speakers.pop("train") == {
            *("fvmh0", "marc0", "madc0", "mbgt0"),
            *("faem0", "mbma1", "mbcg0"),
        }
        assert speakers == {"valid": {"falk0"}, "test": {"fbcg1", "mcpm0"}}

    def test_bad_fold(self, refused, sentences, timit_sample, timit):
        """There are four, of this corpus alone."""
        refused("^fold=4: expected 0, 1, 2 or 3.$", sentences, timit, fold=4)
        message = f"^fold=1: expected 0, since {timit} has TRAIN and TEST"
        refused(message, sentences, timit, fold=1)

    def test_beside_a_copy(self, sentences, out, timit, timit_sample, tmp_path):
        """A copy in the same folder is taken."""
        (tmp_path / "both").mkdir()
        for path in (*timit.iterdir(), *(timit_sample / "timit").iterdir()):
            (tmp_path / "both" / path.name).symlink_to(path)
        sentences(tmp_path / "both")
        assert without_paths(read(out)) == expected_sentences(39)

    def test_in_part(self, refused, sentences, timit_sample, tmp_path):
        """Without any speaker for the test."""
        for path in (timit_sample / "timit").glob("dr[1267]-*"):
            (tmp_path / path.name).symlink_to(path)
        message = (
            f"{tmp_path}: expected some of the core .*falk0, .*, [.]{{3}}[)].$"
        )
        refused(message, sentences, tmp_path)

    def test_other_case(self, refused, either, timit_sample, tmp_path):
        """No folder is lost beside one whose name differs in nothing else."""
        places = [*(timit_sample / "timit").glob("dr*")]
        for path in places:
            (tmp_path / path.name).symlink_to(path)
        (tmp_path / "DR5-mbgt0").symlink_to(places[0])
        refused("DR5-mbgt0 and .*/dr5-mbgt0: expected na", either, tmp_path)


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

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_missing(self, either, out, timit, name):
        """A manifest that was deleted is made again."""
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

    @pytest.fixture(params=["write", "replace"])
    def interrupt(self, request, monkeypatch):
        """Calls a function that is interrupted at its n-th file."""
        module, name = {
            "write": (Path, "write_bytes"),
            "replace": (os, "replace"),
        }[request.param]
        original = getattr(module, name)

        def call(n, function, *args, **options):
            calls = []

            def fail(target, *rest):
                calls.append(target)
                if len(calls) == n:
                    if module is Path:
                        original(target, b'{"half": ')
                    raise KeyboardInterrupt
                return original(target, *rest)

            with monkeypatch.context() as patch:
                patch.setattr(module, name, fail)
                with pytest.raises(KeyboardInterrupt):
                    function(*args, **options)

        return call

    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("again", ["before", "after"])
    def test_interrupted(self, either, out, timit, interrupt, n, first, again):
        """The next call completes it, also if it is one for the old ones."""
        options = {"before": {}, "after": either.other}
        either(timit, **options[again])
        expected = read(out)
        shutil.rmtree(out)
        if not first:
            either(timit, **options["before"])
        interrupt(n, either, timit, **options["after"])
        assert not list(out.glob(".partial*"))
        nothing_done = n == 1 and not first and again == "before"
        assert either(timit, **options[again]) is not nothing_done
        assert read(out) == expected
        assert either(timit, **options[again]) is False

    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_interrupted_in_use(self, either, out, linked, interrupt, n):
        """What has moved is found by the next call."""
        either(linked)
        manifests = read(out)
        moved = linked.rename(linked.with_name("moved"))
        interrupt(n, either, moved, in_use=True)
        assert either(moved, in_use=True) is True
        assert without_paths(read(out)) == without_paths(manifests)
        assert str(linked) not in str(read(out))
        assert either(moved, in_use=True) is False

    def test_error_keeps_the_old(self, either, out, timit, damage):
        """Nothing is changed if the data are not as they should be."""
        either(timit)
        before = state(out)
        damage(timit / "TEST" / "DR2" / "FPAS0" / "SX44.WAV", b"garbage")
        with pytest.raises(ValueError, match="SX44.WAV: expected audio"):
            either(timit, **either.other)
        assert state(out) == before


class TestBadInput:
    """One clear sentence, and no manifest."""

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
            ("truncated", "SX44.WAV: expected 3000 samples, .* found 2990"),
            ("header", "SX44.WAV: expected audio that soundfile reads"),
            ("too long", "SX44.WAV: expected 3000 samples, .* found 3001"),
            ("garbage", "SX44.WAV: expected audio that soundfile reads"),
            ("empty", "SX44.WAV: expected audio that soundfile reads"),
            ("shorten", "SX44.WAV is compressed .*convert .* `sph2pipe -f wav"),
            ("rate", "SX44.WAV: expected one .* 16000 Hz, got 1 at 8000 Hz"),
            ("stereo", "SX44.WAV: .* 16000 Hz, got 2 at 16000 Hz"),
            ("riff stereo", "SX44.WAV: .* 16000 Hz, got 2 at 16000 Hz"),
            ("riff truncated", "SX44.WAV: expected 3000 .* found 2990"),
            ("not finite", "SX44.WAV: expected finite .*, got nan at 0.187438"),
            ("flac truncated", "SX44.WAV: expected audio that soundfile can"),
            ("no samples", "SX44.WAV: expected audio, it is empty"),
            ("link to nothing", "SX44.WAV: expected a file that can be read"),
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
        elif kind == "not finite":
            lost = np.append(np.zeros(2999), np.nan)
            soundfile.write(path, lost, 16000, format="WAV", subtype="FLOAT")
        elif kind == "flac truncated":
            noise = np.random.default_rng(0).uniform(-1, 1, 9000)
            soundfile.write(path, noise, 16000, format="FLAC")
            path.write_bytes(path.read_bytes()[:9000])
        elif kind == "no samples":
            write_riff(path, samples[:0, 0])
        elif kind == "link to nothing":
            path.unlink()
            path.symlink_to("nothing")
        refused(f"{path.parent}/{message}", either, timit)

    def test_name_in_no_encoding(self, refused, either, timit):
        """Files of which SpeechBrain could not write the names."""
        place = timit / "TRAIN" / "DR1" / "FCJF0"
        wav = place / os.fsdecode(b"SX\xff.WAV")
        write_riff(place / "SX44.WAV.WAV", np.ones(3000, dtype=np.int16))
        os.rename(place / "SX44.WAV.WAV", wav)
        try:
            refused("SX\udcff.WAV: expected audio .*surr", either, timit)
        finally:
            wav.unlink()

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
            (None, "0 9 q\n", "SX44.PHN: expected more than glottal stops"),
        ],
    )
    def test_phonemes_file(
        self, refused, sentences, words, timit, damage, old, new, message
    ):
        """A phoneme or line that is wrong; words do not depend on it."""
        path = timit / "TEST" / "DR2" / "FPAS0" / "SX44.PHN"
        text = path.read_text()
        assert old is None or text.count(old) == 1
        damage(path, (text.replace(old, new) if old else new).encode())
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

    @pytest.mark.parametrize("place", ["TRAIN/DR8", "TEST/DR1"])
    def test_speaker_twice(self, refused, either, linked, timit, place):
        """In two regions, or for training and for the test."""
        speaker = timit / "TRAIN" / "DR1" / "FCJF0"
        (linked / place).mkdir(exist_ok=True)
        (linked / place / "FCJF0").symlink_to(speaker)
        message = "FCJF0/SA1.WAV and .*FCJF0/SA1.WAV: expected a sentence of a"
        refused(message, either, linked)

    @pytest.mark.parametrize("level", range(4))
    def test_other_case(self, refused, either, linked, timit, level):
        """Names that differ in nothing else: of a split, a region, a speaker,
        or a file."""
        place = linked / "TRAIN" / "DR1" / "FCJF0"
        links = list(place.iterdir())
        place.unlink()
        place.mkdir()
        for path in links:
            (place / path.name).symlink_to(timit / path.relative_to(linked))
        first = (*list(place.parents)[2::-1], place, min(place.iterdir()))[
            level + 1
        ]
        twin = first.with_name(first.name.lower())
        twin.symlink_to(first)
        message = "expected names that differ in more than the case of letters"
        refused(f"{first} and {twin}: {message}", either, linked)
        # Elsewhere, they are no matter.
        twin.unlink()
        (linked.parent / "a" / "train").mkdir(parents=True)
        linked.rename(linked.parent / "A")
        (linked.parent / "A" / "Train").mkdir()
        either(linked.parent)

    def test_unreadable_words_file(self, refused, either, timit, damage):
        """As a link to what is gone."""
        path = timit / "TEST" / "DR1" / "MDAB0" / "SX44.WRD"
        damage(path)
        path.symlink_to("nothing")
        refused(f"^{path}: expected a file that can be read", either, timit)

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


class TestForeignFiles:
    """What the preparation did not write is neither replaced nor deleted."""

    @pytest.fixture
    def kept(self, out):
        """Checks that a call is refused, with all files as they were."""

        def check(path, function, *args, **options):
            before, content = state(out), path.read_bytes()
            message = rf"^{path} is not as this recipe wrote it, and is kept: "
            with pytest.raises(ValueError, match=message) as info:
                function(*args, **options)
            assert "\n" not in str(info.value)
            assert state(out) == before and path.read_bytes() == content
            return str(info.value)

        return check

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_manifest(self, either, out, tmp_path, kept, name):
        """One that was there before, which is told before data is read."""
        out.mkdir(parents=True)
        path = out / f"{name}.json"
        path.write_text('{"mine": {"wav": "mine.wav"}}')
        message = kept(path, either, tmp_path / "nowhere")
        assert "expected `--skip_prep True` to train on it, or an" in message

    @pytest.mark.parametrize("name", ["train", "test"])
    @pytest.mark.parametrize("content", [b'{"mine": {}}', b'{"half": '])
    def test_in_the_place_of_ours(
        self, either, out, timit, kept, name, content
    ):
        """One that took the place of a manifest that was made."""
        either(timit)
        path = out / f"{name}.json"
        path.write_bytes(content)
        kept(path, either, timit)
        kept(path, either, timit, **either.other)
        kept(path, either, timit, in_use=True)

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_without_options(self, either, out, timit, kept, name):
        """A manifest of which nothing is noted may be anybody's."""
        either(timit)
        (out / f"{name}_options.json").unlink()
        kept(out / f"{name}.json", either, timit)

    @pytest.mark.parametrize(
        "content", [b"[]", b'{"half": ', b'{"options": {}}', b"\xff\xfe", b"7"]
    )
    def test_options(self, either, out, tmp_path, kept, content):
        """A file where the options of a manifest would be noted."""
        out.mkdir(parents=True)
        path = out / "test_options.json"
        path.write_bytes(content)
        message = kept(path, either, tmp_path / "nowhere")
        assert f"or another path than {out / 'test.json'}." in message

    @pytest.mark.parametrize("name", ["train.json", "train_options.json"])
    def test_folder(self, either, out, tmp_path, name):
        """A folder is no manifest, nor its options."""
        (out / name).mkdir(parents=True)
        with pytest.raises(ValueError, match=f"{name} is not as this"):
            either(tmp_path / "nowhere")

    def test_shared_manifest(self, prepare, tmp_path, timit):
        """Two sets in several folders, with one in common, stay known."""
        prepare_timit = prepare.timit_prepare.prepare_timit
        sets = [
            [tmp_path / "shared.json", *(tmp_path / f / n for n in "ab")]
            for f in ("one", "two")
        ]
        for _ in range(2):
            for number, manifests in enumerate(sets):
                options = {"phn_set": (39, 60)[number]}
                assert prepare_timit(timit, *manifests, **options) is True
                assert prepare_timit(timit, *manifests, **options) is False


@pytest.mark.slow
class TestRecipes:
    """How the recipes prepare their data."""

    @pytest.fixture(params=["WordClassification", "ASR/CTC"])
    def recipe(self, request, monkeypatch):
        """Runs a recipe up to its training; `calls` are those of find_data."""
        with recipe_modules(f"TIMIT/{request.param}", "train") as modules:
            train, calls = modules.train, []
            find_data = train.find_data

            def count(*args):
                calls.append(args)
                return find_data(*args)

            class Stopped(Exception):
                """Instead of training."""

            def fit(brain, *args, **options):
                raise Stopped

            def run(folder, *options):
                hparams = RECIPES / "TIMIT" / request.param / "hparams"
                options = ["--output_folder", folder, *options]
                with suppress(Stopped):
                    run_recipe(modules, hparams / "cwrnn.yaml", *options)

            monkeypatch.setattr(train, "find_data", count)
            monkeypatch.setattr(train.sb.Brain, "fit", fit)
            run.train, run.calls = train, calls
            yield run

    def test_once(self, recipe, synthetic_timit, tmp_path):
        """The data are looked for once."""
        recipe(tmp_path, "--data_folder", synthetic_timit)
        assert len(recipe.calls) == 1
        assert (tmp_path / "save" / "train.json").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("recipe", ["ASR/CTC"], indirect=True)
    def test_other_processes(
        self, recipe, synthetic_timit, tmp_path, monkeypatch
    ):
        """They are told by the main one, and look for nothing."""
        recipe(tmp_path, "--data_folder", synthetic_timit)
        monkeypatch.setattr(
            recipe.train, "run_on_main", lambda *args, **kwargs: "the corpus"
        )
        recipe(tmp_path, "--data_folder", "/nowhere")
        assert len(recipe.calls) == 1

    def test_own_manifest(self, recipe, tmp_path):
        """It is told to be in the way before speech is synthesised for it."""
        mine = tmp_path / "mine.json"
        mine.write_text("{}")
        with pytest.raises(ValueError, match=f"^{mine} is not as this recipe"):
            recipe(tmp_path / "out", "--train_annotation", mine)
        assert mine.read_text() == "{}" and not recipe.calls
        assert not list(tmp_path.rglob("*_options.json"))

    @pytest.mark.parametrize("recipe", ["ASR/CTC"], indirect=True)
    def test_own_tokenizer(self, recipe, synthetic_timit, tmp_path):
        """It is not deleted, though the manifests are new."""
        mine = tmp_path / "mine" / "40_unigram.model"
        mine.parent.mkdir()
        mine.touch()
        options = ["--data_folder", synthetic_timit]
        options += ["--tokenizer_folder", mine.parent]
        recipe(tmp_path / "out", *options)
        assert mine.exists()


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
