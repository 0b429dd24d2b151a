"""A tiny TIMIT, in all the forms of its copies, and reading its manifests.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import json
from types import SimpleNamespace

import numpy as np
import soundfile

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


# The speakers of the tests' TIMIT as those of NLTK's sample that are for the
# same, but for the last one.
SAMPLE_SPEAKERS = {
    "fcjf0": "dr1-fvmh0",
    "mkls0": "dr1-mcpm0",
    "marc0": "dr2-marc0",
    "falk0": "dr3-madc0",
    "mcxm0": "dr8-fbcg1",
    "faks0": "dr2-faem0",
    "mmdb1": "dr6-mbma1",
    "mdab0": "dr3-falk0",
    "fpas0": "dr8-mbcg0",
    "mgmm0": "dr5-mbgt0",
}


def write_sample(folder):
    """Write the tests' TIMIT in the form of NLTK's sample."""
    timit = write_timit(folder / "timit", case=str.lower, audio="riff")
    for split in ("train", "test"):
        for place in timit.glob(f"{split}/*/*"):
            place.rename(timit / SAMPLE_SPEAKERS[place.name])
        for region in (timit / split).iterdir():
            region.rmdir()
        (timit / split).rmdir()
    (timit / "README").write_text("TIMIT CORPUS SAMPLE")
    return folder


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


def check_word(entry):
    """An example of a word is the whole of it, and nothing else."""
    start, stop = entry["start"], entry["stop"]
    audio, _ = soundfile.read(entry["wav"])
    (level,) = set(audio[start:stop] * 2**15)
    assert WORD_OF_LEVEL[level] == (entry["spk_id"], entry["word"])
    assert audio[start - 1] == audio[stop] == 0
    assert entry["duration"] == (stop - start) / 16000
