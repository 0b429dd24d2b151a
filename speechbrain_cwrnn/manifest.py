"""The data of a recipe: manifests in SpeechBrain's JSON form.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import json
from pathlib import Path

import soundfile

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
        audio, in samples (by default all of it), and its sample_rate.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", [0.0, 0.1, 0.2], 16000)
    >>> _ = (folder / "mine.json").write_text(
    ...     '{"a": {"wav": "{data_root}/a.wav", "word": "yes"}}'
    ... )
    >>> entries = read_manifest(folder / "mine.json", ["wav", "word"], folder)
    >>> entries["a"]["start"], entries["a"]["stop"]
    (0, 3)
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a manifest, in JSON ({error})."
        ) from error
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path}: expected entries, by their names.")
    for name, entry in entries.items():
        where = f"{path}, entry {name}"
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise InputError(f"{where}: expected the key {key}.")
        wav = str(entry["wav"])
        if data_folder is not None:
            wav = wav.replace("{data_root}", str(data_folder))
        try:
            info = soundfile.info(wav)
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{where}, wav={wav}: expected audio ({error})."
            ) from error
        got = info.channels, info.samplerate
        if sample_rate is not None and got != (1, sample_rate):
            raise InputError(
                f"{where}, wav={wav}: expected one channel at {sample_rate} "
                f"Hz, got {got[0]} at {got[1]} Hz."
            )
        start, stop = entry.get("start", 0), entry.get("stop", info.frames)
        integers = isinstance(start, int) and isinstance(stop, int)
        if not integers or not 0 <= start < stop <= info.frames:
            raise InputError(
                f"{where}, start={start}, stop={stop}: expected samples of "
                f"the {info.frames} that {wav} has."
            )
        entries[name] = {key: entry[key] for key in keys} | {
            "wav": wav,
            "start": start,
            "stop": stop,
            "sample_rate": info.samplerate,
        }
    return entries


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
