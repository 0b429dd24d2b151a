"""Write what was trained so that `from_hparams` of SpeechBrain loads it.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
from pathlib import Path

import ruamel.yaml

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import OPTIONS, read_mapping
from speechbrain_cwrnn.report import whole_file


def check_inference(path, hparams, names):
    """Raise an error for what is no file for inference with these options.

    Arguments
    ---------
    path : str or pathlib.Path
        YAML file for inference.
    hparams : dict
        What was loaded for the training.
    names : set of str
        Those of the files that it writes.

    Example
    -------
    >>> path = getfixture("tmp_path") / "inference.yaml"
    >>> _ = path.write_text("pretrainer: {loadables: {}}\\nlr: !PLACEHOLDER")
    >>> check_inference(path, {"seed": 1}, set())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: .../inference.yaml: expected no lr ...
    """
    tree = read_mapping(path)
    pretrainer = tree.get("pretrainer")
    loadables = isinstance(pretrainer, dict) and pretrainer.get("loadables")
    if not isinstance(loadables, dict) or set(loadables) != names:
        raise InputError(
            f"{path}: expected a pretrainer with the loadables "
            f"{', '.join(sorted(names))}, which are what a run writes."
        )
    for key, value in tree.items():
        if _is_placeholder(value) and key not in hparams:
            raise InputError(
                f"{path}: expected no {key} to be filled in, which is not "
                f"among the options of the training."
            )


def _is_placeholder(value):
    return "!PLACEHOLDER" in str(getattr(value, "tag", ""))


def save_pretrained(folder, inference_file, output_folder, savers, values=None):
    """Write a folder that is a source for SpeechBrain's `from_hparams`.

    It gets hyperparams.yaml: the file for inference, with what is marked
    `!PLACEHOLDER` there filled in from the options that the run was begun with.

    Arguments
    ---------
    folder : str
        Where to write.
    inference_file : str
        YAML file for inference.
    output_folder : str
        Where `hparams.save_options` has written those.
    savers : dict
        For each name, a function that writes the file of a given path. The
        names are those of the loadables of the pretrainer.
    values : dict
        What to fill in before what these have.

    Returns
    -------
    str
        The folder.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_cwrnn.hparams import save_options
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "train.yaml").write_text("size: 3\\n2x: !ref <size> * 2")
    >>> save_options(folder / "train.yaml", "size: 4", folder)
    >>> inference = folder / "inference.yaml"
    >>> _ = inference.write_text("2x: !PLACEHOLDER")
    >>> saver = partial(torch.save, torch.nn.Linear(3, 6).state_dict())
    >>> source = save_pretrained(
    ...     folder / "net", inference, folder, {"model": saver}
    ... )
    >>> (folder / "net" / "hyperparams.yaml").read_text()
    '2x: 8\\n'
    >>> (folder / "net" / "model.ckpt").exists()
    True
    """
    yaml = ruamel.yaml.YAML()
    options = Path(output_folder) / OPTIONS
    trained = yaml.load(options.read_text(encoding="utf-8"))
    tree = yaml.load(Path(inference_file).read_text(encoding="utf-8"))
    for key, value in tree.items():
        if _is_placeholder(value):
            # A copy, since what is shared is written as an alias otherwise.
            tree[key] = copy.deepcopy({**trained, **(values or {})}[key])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, save in savers.items():
        with whole_file(folder / f"{name}.ckpt") as path:
            save(path)
    with whole_file(folder / "hyperparams.yaml") as path:
        with open(path, "w", encoding="utf-8") as file:
            yaml.dump(tree, file)
    return str(folder)
