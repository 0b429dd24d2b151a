"""Find the recordings of a copy of TIMIT, and describe them in manifests.

TIMIT is https://catalog.ldc.upenn.edu/LDC93S1. Its copies differ: upper- or
lower-case names, NIST SPHERE or RIFF audio or both side by side (X.WAV and
X.WAV.wav), a folder or two more above TRAIN and TEST. All of these are fine,
and so is the sample of 16 speakers that NLTK distributes.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from speechbrain_cwrnn.audio import FLOATING, Recording
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.phonemes import map_phonemes
from speechbrain_cwrnn.report import whole_file

SAMPLE_RATE = 16000
# What all speakers read.
SA = ("sa1", "sa2")

# The speakers of the core test set (TIMIT's own documentation), and those of
# the development set that is in use since Halberstadt (1998). Both are part
# of TEST.
CORE_TEST_SPEAKERS = """
    mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0
    mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0
""".split()
DEV_SPEAKERS = """
    faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0
    mcsh0 fadg0 fdms0 fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0
    frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4
    fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0
    fmml0 mrws1
""".split()
# NLTK's sample, a woman and a man of each region, has no TRAIN and TEST. Of
# each fold two women and two men are for the test, and the first woman and man
# of the next one for development: all of different regions, of which the other
# speaker is to learn from.
SAMPLE_FOLDS = [
    ["falk0", "maeb0", "ftlg0", "mbcg0"],
    ["faem0", "mbma1", "fvmh0", "madc0"],
    ["falr0", "mbgt0", "fblv0", "marc0"],
    ["fapb0", "mcpm0", "fbcg1", "madd0"],
]


def prepare_timit(
    data_folder,
    save_json_train,
    save_json_valid,
    save_json_test,
    phn_set=39,
    fold=0,
    in_use=False,
):
    """Write manifests of the sentences: training, development, core test.

    The sentences SA1 and SA2, which all speakers read, are left out. All is
    checked before anything is written, and nothing is written where the
    manifests are there, made with the same options.

    Arguments
    ---------
    data_folder : str
        A copy of TIMIT.
    save_json_train : str
        The manifest of TRAIN.
    save_json_valid : str
        That of the 50 development speakers of TEST; of NLTK's sample, of two.
    save_json_test : str
        That of the 24 core test speakers of TEST; of NLTK's sample, of four.
    phn_set : {60, 48, 39}
        The phonemes that TIMIT's are mapped to.
    fold : {0, 1, 2, 3}
        Which speakers of NLTK's sample are for development and the test.
    in_use : bool
        Whether something was trained with the manifests that are there, so
        that writing others is an error, unless the data have only moved.

    Returns
    -------
    bool
        Whether anything was written.
    """
    if phn_set not in (60, 48, 39):
        raise InputError(f"phn_set={phn_set}: expected 60, 48 or 39.")
    if fold not in range(len(SAMPLE_FOLDS)):
        raise InputError(f"fold={fold}: expected 0, 1, 2 or 3.")
    manifests = [save_json_train, save_json_valid, save_json_test]
    options = {
        "data_folder": str(Path(data_folder).absolute()),
        "phn_set": phn_set,
        "fold": fold,
    }
    if is_prepared(manifests, options):
        check_audio(manifests)
        return False
    corpus = find_corpus(data_folder, fold)
    utterances = [u for u in find_utterances(corpus) if u.sentence not in SA]
    groups = {"training": [u for u in utterances if u.split == "train"]}
    if not groups["training"]:
        raise InputError(
            f"data_folder={data_folder}: expected audio files of more than "
            f"SA1 and SA2 in TRAIN."
        )
    for name, speakers in corpus.tests.items():
        groups[name] = [
            u for u in utterances if u.split == "test" and u.speaker in speakers
        ]
        if not groups[name]:
            raise InputError(
                f"data_folder={data_folder}: expected some of the {name} "
                f"speakers ({', '.join(speakers[:3])}, ...)"
                f"{'' if corpus.is_sample else ' in TEST'}."
            )
    entries = []
    for name, group in groups.items():
        entries.append({})
        for utterance in tqdm(group, desc=f"{name} set", unit="file"):
            entries[-1][utterance.id] = describe(utterance, phn_set)
    write_manifests(manifests, entries, options, in_use)
    return True


@dataclass(frozen=True)
class Utterance:
    """A recording; all names in lower case, whatever the case of the files.

    Arguments
    ---------
    split : str
        "train" or "test": the folder of the corpus that it is in, or, of
        NLTK's sample, what its speaker is for.
    speaker : str
        As "fcjf0".
    sentence : str
        As "si1027".
    wav : pathlib.Path
        The audio.
    files : dict
        All files of the folder by their lower-case names.
    """

    split: str
    speaker: str
    sentence: str
    wav: Path
    files: dict

    @property
    def id(self):
        """Name in the manifests, as "fcjf0_si1027"."""
        return f"{self.speaker}_{self.sentence}"


def find_utterances(corpus):
    """All recordings of a copy of TIMIT, sorted.

    Arguments
    ---------
    corpus : Corpus
        What `find_corpus` returned.

    Returns
    -------
    list
        Each an Utterance.
    """
    utterances = []
    for split, speaker, place in corpus.speakers:
        files = by_name(
            path
            for path in place.iterdir()
            # Not those that macOS adds to foreign file systems; but links to
            # what is gone, which is missed then.
            if (path.is_file() or path.is_symlink())
            and not path.name.startswith(".")
        )
        # Where there are X.WAV and X.WAV.wav, the longer name is the RIFF
        # copy, which can be read even if the other is compressed.
        wavs = {}
        for name in sorted(files, key=len):
            if name.endswith(".wav"):
                wavs[re.sub(r"(\.wav)+$", "", name)] = files[name]
        utterances += [
            Utterance(split, speaker, sentence, wav, files)
            for sentence, wav in sorted(wavs.items())
        ]
    if not utterances:
        raise InputError(
            f"data_folder={corpus.data_folder}: expected audio files (.WAV) in "
            f"the folders of the speakers, found none."
        )
    seen = {}
    for utterance in utterances:
        first = seen.setdefault(utterance.id, utterance)
        if first is not utterance:
            raise InputError(
                f"{first.wav} and {utterance.wav}: expected a sentence of a "
                f"speaker once."
            )
    return utterances


@dataclass(frozen=True)
class Corpus:
    """A copy of TIMIT.

    Arguments
    ---------
    data_folder : str
        Where it was looked for.
    folder : pathlib.Path
        What was found there: the folder of TRAIN and TEST, or, of NLTK's
        sample, that of the speakers.
    speakers : list
        "train" or "test", the speaker's name, and the folder with the audio.
    is_sample : bool
        Whether it is NLTK's sample.
    fold : int
        Which speakers of that are for development and the test.
    """

    data_folder: str
    folder: Path
    speakers: list
    is_sample: bool
    fold: int = 0

    @property
    def tests(self):
        """The speakers for development, and for the test."""
        if self.is_sample:
            names = sample_tests(self.fold)
        else:
            names = DEV_SPEAKERS, CORE_TEST_SPEAKERS
        return dict(zip(("development", "core test"), names))


def sample_tests(fold):
    """The speakers of NLTK's sample for development, and for the test."""
    following = SAMPLE_FOLDS[(fold + 1) % len(SAMPLE_FOLDS)]
    return following[:2], SAMPLE_FOLDS[fold]


def find_corpus(data_folder, fold=0, max_depth=4):
    """The copy of TIMIT that is in a folder, or below.

    Arguments
    ---------
    data_folder : str
        A copy of TIMIT, or a folder with one in it.
    fold : int
        Which speakers of NLTK's sample are not to learn from.
    max_depth : int
        How many levels are looked at.

    Returns
    -------
    Corpus
        The first one that is found.
    """
    if not Path(data_folder).is_dir():
        raise InputError(
            f"data_folder={data_folder}: expected the folder of a copy of "
            f"TIMIT, and there is none."
        )
    alone = []
    level = [Path(data_folder).absolute()]
    for _ in range(max_depth):
        below = []
        for folder in level:
            try:
                inside = subfolders(folder)
                parts = {
                    path: places
                    for path in inside
                    if path.name.lower() in ("train", "test")
                    and (places := regions(path))
                }
            except PermissionError:
                # As "lost+found", somewhere beside TIMIT.
                continue
            if len({path.name.lower() for path in parts}) == 2:
                speakers = [
                    (split, speaker, place)
                    for split, path in by_name(parts).items()
                    for region in parts[path]
                    for speaker, place in by_name(subfolders(region)).items()
                ]
                if fold:
                    raise InputError(
                        f"fold={fold}: expected 0, since {folder} has TRAIN "
                        f"and TEST; folds are of NLTK's sample."
                    )
                return Corpus(data_folder, folder, speakers, is_sample=False)
            if sample := sample_speakers(inside, fold):
                return Corpus(
                    data_folder, folder, sample, is_sample=True, fold=fold
                )
            alone += parts
            below += inside
        level = below
    if alone:
        raise InputError(
            f"data_folder={data_folder}: expected TRAIN and TEST side by side, "
            f"found {alone[0]} only."
        )
    raise InputError(
        f"data_folder={data_folder}: expected a copy of TIMIT, with TRAIN/DR1 "
        f"and TEST/DR1 in this folder or below, found none (nor dr1-fvmh0, "
        f"as in NLTK's sample)."
    )


def sample_speakers(folders, fold):
    """Split, name and folder of the speakers of NLTK's sample, among
    folders."""
    tests = sum(sample_tests(fold), [])
    speakers = by_name(
        folder
        for folder in folders
        if re.fullmatch("dr[1-8]-[fm][a-z]{3}[0-9]", folder.name.lower())
    )
    return [
        ("test" if name[4:] in tests else "train", name[4:], place)
        for name, place in speakers.items()
    ]


def by_name(paths):
    """Files or folders by their lower-case names, which no two may share."""
    named = {}
    for path in sorted(paths):
        first = named.setdefault(path.name.lower(), path)
        if first is not path:
            raise InputError(
                f"{first} and {path}: expected names that differ in more than "
                f"the case of letters."
            )
    return dict(sorted(named.items()))


def subfolders(folder):
    """The folders in a folder, but for hidden ones."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]


def regions(folder):
    """The folders DR1 to DR8 of TRAIN or TEST."""
    named = by_name(
        path
        for path in subfolders(folder)
        if re.fullmatch("dr[1-8]", path.name.lower())
    )
    return list(named.values())


def count_samples(wav):
    """Length of a recording, which is checked.

    Arguments
    ---------
    wav : pathlib.Path
        The audio.

    Returns
    -------
    int
        Its number of samples.
    """
    try:
        with open(wav, "rb") as file:
            header = file.read(1024)
    except OSError as error:
        raise InputError(
            f"{wav}: expected a file that can be read ({error})."
        ) from error
    if header.startswith(b"NIST_1A") and b"shorten" in header:
        raise InputError(
            f"{wav} is compressed (shorten), which cannot be read: convert it "
            f"with `sph2pipe -f wav IN OUT`."
        )
    with Recording(wav, str(wav)) as recording:
        got = recording.samplerate, recording.channels
        if got != (SAMPLE_RATE, 1):
            raise InputError(
                f"{wav}: expected one channel at {SAMPLE_RATE} Hz, got "
                f"{got[1]} at {got[0]} Hz."
            )
        length = recording.count()
        if recording.subtype in FLOATING:
            # They are checked.
            for _ in recording.blocks(0):
                pass
    return length


def read_segments(utterance, suffix, length):
    """The lines of a .WRD or .PHN file.

    Arguments
    ---------
    utterance : Utterance
        Whose file.
    suffix : {".wrd", ".phn"}
        Which file.
    length : int
        Number of samples, within which all must end.

    Returns
    -------
    list
        First sample, first one thereafter, and label.
    """
    path = utterance.files.get(utterance.sentence + suffix)
    if path is None:
        raise InputError(
            f"{utterance.wav}: expected {utterance.sentence}{suffix} (or in "
            f"upper case) beside it, and there is none."
        )
    segments = []
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise InputError(
            f"{path}: expected a file that can be read ({error})."
        ) from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            start, stop, label = fields
            start, stop = int(start), int(stop)
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected start, stop and label, got "
                f"{line!r}."
            ) from error
        if not 0 <= start < stop <= length:
            raise InputError(
                f"{path}, line {number}: expected a segment within the "
                f"{length} samples of the audio, got {start} to {stop}."
            )
        segments.append((start, stop, label))
    if not segments:
        raise InputError(
            f"{path}: expected lines of start, stop and label, found none."
        )
    return segments


def describe(utterance, phn_set):
    """The entry of a sentence in a manifest."""
    length = count_samples(utterance.wav)
    # Of the phonemes only the order matters, so their ends may be imprecise.
    phonemes = read_segments(utterance, ".phn", math.inf)
    words = read_segments(utterance, ".wrd", length)
    try:
        phonemes = map_phonemes([label for _, _, label in phonemes], phn_set)
        if not phonemes:
            raise InputError("expected more than glottal stops (q).")
    except InputError as error:
        path = utterance.files[f"{utterance.sentence}.phn"]
        raise InputError(f"{path}: {error}") from error
    return {
        "wav": str(utterance.wav),
        "duration": length / SAMPLE_RATE,
        "spk_id": utterance.speaker,
        "phn": " ".join(phonemes),
        "wrd": " ".join(word.lower() for _, _, word in words),
    }


def options_file(manifest):
    """Where it is noted how this module made a manifest."""
    path = Path(manifest)
    return path.with_stem(f"{path.stem}_options")


def to_json(content):
    """What is written to a file, as bytes."""
    return json.dumps(content, indent=2).encode()


def read_json(path):
    """What is in a file that this module wrote."""
    return json.loads(Path(path).read_bytes())


def digest(content):
    """What tells the bytes of a manifest from any others."""
    return hashlib.sha256(content).hexdigest()


def read_notes(manifest):
    """The options and digests of a manifest, of none where none are noted."""
    path = options_file(manifest)
    if not path.exists():
        return {"options": None, "sha256": []}
    try:
        notes = read_json(path)
    except (OSError, ValueError):
        notes = None
    if not isinstance(notes, dict) or notes.keys() != {"options", "sha256"}:
        raise InputError(
            f"{path} is not as this recipe wrote it, and is kept: expected no "
            f"such file, or another path than {manifest}."
        )
    return notes


def refuse_foreign(manifests):
    """Raise an error where another file is in the place of a manifest.

    Arguments
    ---------
    manifests : list
        Where the manifests are, or will be.
    """
    for path in map(Path, manifests):
        known = read_notes(path)["sha256"]
        is_ours = path.is_file() and digest(path.read_bytes()) in known
        if path.exists() and not is_ours:
            raise InputError(
                f"{path} is not as this recipe wrote it, and is kept: expected "
                f"`--skip_prep True` to train on it, or another path."
            )


def is_prepared(manifests, options):
    """Whether manifests are there, made with these options.

    Arguments
    ---------
    manifests : list
        Where they are, or will be. Files that are others are an error.
    options : dict
        The options.

    Returns
    -------
    bool
        Whether nothing has to be written.
    """
    refuse_foreign(manifests)
    for path in map(Path, manifests):
        notes = read_notes(path)
        if notes["options"] != options or not path.is_file():
            return False
        # After an interruption it may be the one before.
        if digest(path.read_bytes()) != notes["sha256"][0]:
            return False
    return True


def check_audio(manifests):
    """Raise an error where audio that a manifest names is missing.

    Arguments
    ---------
    manifests : list
        Paths of manifests, which are there.
    """
    for manifest in manifests:
        for entry in read_json(manifest).values():
            if not Path(entry["wav"]).is_file():
                raise InputError(
                    f"{manifest} points to {entry['wav']}, and there is no "
                    f"such file: expected the audio where it was, or its new "
                    f"place as --data_folder."
                )


def have_moved(manifests, entries, options):
    """Whether all is as the manifests say, but for the place of the audio."""
    for path, now in zip(manifests, entries):
        before = read_json(path) if Path(path).is_file() else {}
        if before == now and is_prepared([path], options):
            # By a call that was interrupted.
            continue
        places = [Path(entry.pop("wav")) for entry in before.values()]
        now = {
            name: {k: v for k, v in entry.items() if k != "wav"}
            for name, entry in now.items()
        }
        if before != now or any(place.exists() for place in places):
            return False
    return True


def write_manifests(manifests, entries, options, in_use):
    """Write manifests, each whole.

    First it is noted what each will be, and what is replaced by it, so that
    both are known as this module's, wherever it is interrupted.

    Arguments
    ---------
    manifests : list
        Where they are written.
    entries : list
        What is in each.
    options : dict
        What they are made with.
    in_use : bool
        Whether something was trained with those that are there, so that only
        the place of the audio may change.
    """
    if in_use and not have_moved(manifests, entries, options):
        raise InputError(
            f"{Path(manifests[0]).parent} holds what was trained with other "
            f"data: expected another --output_folder."
        )
    for path, content in zip(map(Path, manifests), entries):
        content = to_json(content)
        known = [digest(content)]
        if path.exists():
            known.append(digest(path.read_bytes()))
        notes = to_json({"options": options, "sha256": known})
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, text in ((options_file(path), notes), (path, content)):
            with whole_file(target) as temporary:
                Path(temporary).write_bytes(text)
