"""The data of a recipe: manifests in SpeechBrain's JSON form.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import json
import re
import unicodedata
from pathlib import Path

from speechbrain_cwrnn.audio import FLOATING, Recording
from speechbrain_cwrnn.checks import check_is_no_device
from speechbrain_cwrnn.errors import InputError

# What recipes/TIMIT/synthesize.py leaves in its corpora.
SYNTHETIC = "SYNTHETIC.txt"


def read_manifest(path, keys, data_folder=None, sample_rate=None):
    """The entries of a manifest, which are checked and completed.

    Arguments
    ---------
    path : str
        A JSON file with an entry for each utterance, by its name.
    keys : list of str
        What each entry needs; "wav", its audio, among them.
    data_folder : str
        What {data_root} stands for in "wav".
    sample_rate : int
        What the audio must have, in one channel; by default, any will do.

    Returns
    -------
    dict
        The entries, with these keys alone, since others could be taken for what
        is made of them. Each also has the start and stop of what counts of the
        audio, in samples (by default all of it), its sample_rate, and its
        duration in seconds.

    Example
    -------
    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", [0.0, 0.1, 0.2], 16000)
    >>> _ = (folder / "mine.json").write_text(
    ...     '{"a": {"wav": "{data_root}/a.wav", "word": "yes"}}'
    ... )
    >>> entries = read_manifest(folder / "mine.json", ["wav", "word"], folder)
    >>> entries["a"]["start"], entries["a"]["stop"]
    (0, 3)
    """
    check_is_no_device(path)
    try:
        entries = json.loads(
            Path(path).read_text(encoding="utf-8-sig"),
            object_pairs_hook=distinct,
        )
        # JSON can hold half a letter, and no file can.
        json.dumps(entries, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a manifest, in JSON ({error})."
        ) from error
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path}: expected entries, by their names.")
    # Several entries may be parts of one recording, which may be long.
    counts = {}
    for name, entry in entries.items():
        where = f"{path}, entry {name}"
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise InputError(f"{where}: expected the key {key}.")
        wav = str(entry["wav"])
        if data_folder is not None:
            wav = wav.replace("{data_root}", str(data_folder))
        entries[name] = {key: entry[key] for key in keys} | describe_audio(
            where, {**entry, "wav": wav}, sample_rate, counts
        )
    return entries


def distinct(pairs):
    """An object of JSON as a dict; names that come twice are an error."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{twice!r} comes twice")
    return content


def describe_audio(where, entry, sample_rate, counts):
    """What an entry says of its audio, which is checked; the number of samples
    of each recording is kept in counts."""
    wav, start, stop = entry["wav"], entry.get("start", 0), entry.get("stop")
    with Recording(wav, f"{where}, wav={wav}") as recording:
        got = recording.channels, recording.samplerate
        if sample_rate is not None and got != (1, sample_rate):
            raise InputError(
                f"{where}, wav={wav}: expected one channel at {sample_rate} "
                f"Hz, got {got[0]} at {got[1]} Hz."
            )
        if wav not in counts:
            counts[wav] = recording.count()
        frames = counts[wav]
        stop = frames if stop is None else stop
        # Neither true nor false, which are integers to Python.
        integers = type(start) is int and type(stop) is int
        if not integers or not 0 <= start < stop <= frames:
            raise InputError(
                f"{where}, start={start}, stop={stop}: expected samples of "
                f"the {frames} that {wav} has."
            )
        if recording.subtype in FLOATING:
            for _ in recording.blocks(start, stop):
                pass
    return {
        "wav": wav,
        "start": start,
        "stop": stop,
        "sample_rate": got[1],
        "duration": (stop - start) / got[1],
    }


# On Windows, with any suffix.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# What a name is not, in short.
PLAIN = 'not empty, at most 200 bytes, none of / \\ : * ? " < > |'


def is_file_name(name):
    """Whether a file can be called so everywhere, since results are copied to
    other systems, with some letters of ours before and after.

    Example
    -------
    >>> is_file_name("hum"), is_file_name("../hum"), is_file_name("nul")
    (True, False, False)
    """
    return bool(
        re.fullmatch(r'[^/\\:*?"<>|]+', name)
        and name.isprintable()
        and name.strip(" .") == name
        and not RESERVED.fullmatch(name)
        and len(name.encode()) <= 200
    )


def check_file_names(names, where):
    """Raise an error where files cannot be called by these names.

    Arguments
    ---------
    names : list of str
        The names.
    where : str
        What they are the names of, for errors.

    Example
    -------
    >>> check_file_names(["hum", "../hum"], "mine.json, entry")
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: mine.json, entry '../hum': expected ...
    """
    seen = {}
    for name in names:
        if not is_file_name(name):
            raise InputError(
                f"{where} {name!r}: expected a name that a file can have on "
                f"any system, since some are called after it ({PLAIN})."
            )
        same = unicodedata.normalize("NFKC", name).casefold()
        if same in seen:
            raise InputError(
                f"{where} {name!r}: expected another name than "
                f"{seen[same]!r}, since files called after them are the same "
                f"on some systems."
            )
        seen[same] = name


def name_corpus(path, entries):
    """What results call the corpus of a user's manifest.

    Arguments
    ---------
    path : str
        The manifest.
    entries : dict
        Its entries.

    Returns
    -------
    str
        The names of the folder and of the file; or that the speech is
        synthetic, where the audio is in a corpus that says so.

    Example
    -------
    >>> name_corpus("/data/kitchen/train.json", {"a": {"wav": "/data/a.wav"}})
    'kitchen/train.json'
    """
    audio = {Path(entry["wav"]).absolute().parent for entry in entries.values()}
    folders = {folder for place in audio for folder in (place, *place.parents)}
    if any((folder / SYNTHETIC).is_file() for folder in folders):
        return "synthetic speech"
    return "/".join(Path(path).absolute().parts[-2:])


def without_places(*manifests):
    """What manifests say but for where the audio is, which may move.

    Arguments
    ---------
    *manifests : dict
        Their entries.

    Returns
    -------
    bytes
        The same for the same entries.

    Example
    -------
    >>> without_places({"a": {"wav": "/data/a.wav", "word": "yes"}})
    b'[{"a": {"word": "yes"}}]'
    """
    kept = [
        {
            name: {key: entry[key] for key in sorted(entry) if key != "wav"}
            for name, entry in entries.items()
        }
        for entries in manifests
    ]
    return json.dumps(kept).encode()
