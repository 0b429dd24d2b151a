"""The options of a recipe: loading them, and refusing those of another run.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import hashlib
import json
import traceback
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import ruamel.yaml
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.calls import find_calls, read_calls
from speechbrain_cwrnn.checks import check_is_no_device
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.report import RESULTS, whole_file
from speechbrain_cwrnn.run_options import given_options
from speechbrain_cwrnn.schema import check_options

# What the options of a run are kept in.
OPTIONS = "hyperparams.yaml"


def nominal_size(hparams, num_params):
    """What results call the size of networks of a number of parameters.

    Arguments
    ---------
    hparams : dict
        With num_params, hidden_sizes, and the hidden_size that was taken.
    num_params : int
        The number of parameters that they have.

    Returns
    -------
    int
        The paper's number, where it is one of its sizes, else the true one.

    Example
    -------
    >>> hparams = {"num_params": 250, "hidden_sizes": {100: 11, 250: 19}}
    >>> nominal_size({**hparams, "hidden_size": 19}, 247)
    250
    >>> nominal_size({**hparams, "hidden_size": 20}, 268)
    268
    """
    nominal = hparams["hidden_sizes"].get(hparams["num_params"])
    is_nominal = hparams["hidden_size"] == nominal
    return hparams["num_params"] if is_nominal else num_params


def load_hparams(hparams_file, overrides, options):
    """The hyperparameters of a recipe, which are checked before any is made.

    Arguments
    ---------
    hparams_file : str
        A YAML file.
    overrides : str
        Options that take the place of what is there, as YAML.
    options : class
        A `schema.Checked` that says what they must be.

    Returns
    -------
    dict
        What HyperPyYAML makes of them.

    Example
    -------
    >>> from speechbrain_cwrnn.schema import Checked, Count
    >>> class Few(Checked):
    ...     size: Count
    >>> path = getfixture("tmp_path") / "train.yaml"
    >>> _ = path.write_text("size: 3\\ndouble: !ref <size> * 2")
    >>> load_hparams(path, "size: 4", Few)
    {'size': 4, 'double': 8}
    """
    tree = read_mapping(hparams_file)
    given = _read_mapping(overrides or "{}", "options")
    for key, value in given.items():
        if key not in tree:
            known = [*map(str, tree), *(f.name for f in fields(RunOptions))]
            known = get_close_matches(str(key), known)
            raise InputError(
                f"--{key}: expected {' or '.join(known)}."
                if known
                else f"--{key}: expected a key of {hparams_file}, or an option "
                f"that --help lists."
            )
        if isinstance(value, dict):
            _check_same_kind(key, value, tree[key])
    for text in (*_texts(tree), *_texts(given)):
        if "  " in text:
            raise InputError(
                f"{text!r}: expected no two spaces in a row, which HyperPyYAML "
                f"takes for one where it folds long lines."
            )
    with open(hparams_file, encoding="utf-8") as file:
        try:
            resolved = resolve_references(file, overrides).getvalue()
        except (ValueError, ArithmeticError, OSError, RecursionError) as error:
            raise InputError(
                f"{hparams_file}: expected references that lead somewhere "
                f"({error})."
            ) from error
    with _yaml(hparams_file, resolved):
        values = read_calls(resolved)
    check_options(options, values)
    with (
        open(hparams_file, encoding="utf-8") as file,
        tried(lambda error: _failing(error, values, hparams_file)),
    ):
        return load_hyperpyyaml(file, overrides)


def _failing(error, values, hparams_file):
    """Which of the values cannot be made, and its key; or else the file.

    Upstream, HyperPyYAML would have to say it.
    """
    frames = traceback.walk_tb(error.__traceback__)
    made = [frame.f_locals.get("callable_string") for frame, _ in frames]
    *_, name = [None, *filter(None, made)]
    keys = (
        f"{key}={call}"
        for key, value in values.items()
        for call in find_calls(value)
        if call.name == name
    )
    return next(keys, hparams_file)


def _texts(tree):
    """All text among the values of what ruamel.yaml has read."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            yield from _texts(item)
    elif isinstance(text := getattr(tree, "value", tree), str):
        yield text


def _check_same_kind(key, value, before):
    """HyperPyYAML merges mappings, and would lose the tag of the new one."""
    if not isinstance(before, dict):
        raise InputError(f"{key}={dict(value)}: expected a value without keys.")
    if value.tag.value not in (None, before.tag.value):
        raise InputError(
            f"--{key}: expected other values for what is there (another class "
            f"with arguments needs a YAML file of your own)."
        )


def read_mapping(path):
    """Keys and values of a YAML file, with their tags.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.

    Returns
    -------
    dict
        As ruamel.yaml has it.
    """
    check_is_no_device(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a YAML file ({error}).") from error
    tree = _read_mapping(text, path)
    for key in tree:
        if not isinstance(key, str):
            raise InputError(f"{path}: expected text as a key, got {key}.")
    return tree


def _read_mapping(text, what):
    """Keys and values in YAML, with their tags."""
    with _yaml(what, text):
        tree = ruamel.yaml.YAML().load(text)
    if not isinstance(tree, dict):
        raise InputError(
            f"{what}: expected keys with values, in YAML, got {text[:40]!r}."
        )
    return tree


@contextmanager
def _yaml(what, text):
    """Faults in what is read as YAML are the user's."""
    try:
        yield
    except ruamel.yaml.error.MarkedYAMLError as error:
        number = error.problem_mark.line
        line = text.splitlines()[number:][:1]
        raise InputError(
            f"{what}: expected YAML ({error.problem}, line {number + 1}"
            f"{''.join(f': {line!r}' for line in line)})."
        ) from error
    except ruamel.yaml.error.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{what}: expected YAML ({problem}).") from error


def resumes(hparams_file, overrides, hparams, may_differ):
    """Whether the output folder holds a run, which must have these options.

    With others, what was trained with some would go on, and be reported as if
    it had always had them: that is an error.

    Arguments
    ---------
    hparams_file : str
        A YAML file.
    overrides : str
        Options that take the place of what is there, as YAML.
    hparams : dict
        What was loaded from both: the output_folder, where SpeechBrain keeps
        the options of the last run in hyperparams.yaml, and the checkpointer.
    may_differ : list of str
        Options that a user may want to change on the way.

    Returns
    -------
    bool
        Whether there are checkpoints.

    Example
    -------
    >>> from speechbrain.utils.checkpoints import Checkpointer
    >>> folder = getfixture("tmp_path")
    >>> train = folder / "train.yaml"
    >>> _ = train.write_text("output_folder: a\\nepochs: 1\\nlr: 0.1")
    >>> _ = (folder / "hyperparams.yaml").write_text(train.read_text())
    >>> checkpointer = Checkpointer(folder)
    >>> _ = checkpointer.save_checkpoint()
    >>> hparams = {"output_folder": folder, "checkpointer": checkpointer}
    >>> resumes(train, "epochs: 2", hparams, ["epochs"])
    True
    """
    output_folder = hparams["output_folder"]
    if not hparams["checkpointer"].list_checkpoints():
        if (Path(output_folder) / RESULTS).exists():
            raise InputError(
                f"{output_folder} holds the {RESULTS} of a run without its "
                f"checkpoints: expected another --output_folder."
            )
        return False
    path = Path(output_folder) / OPTIONS
    if not path.exists():
        raise InputError(
            f"{output_folder} holds a run without its {OPTIONS}: expected "
            f"another --output_folder."
        )
    yaml = ruamel.yaml.YAML()
    # With the values of before, so has all that refers to them.
    options = yaml.load(overrides) if overrides else {}
    try:
        before = path.read_text(encoding="utf-8")
        values = dict(yaml.load(before))
    except (ruamel.yaml.error.YAMLError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged: expected the options of the run, or another "
            f"--output_folder."
        ) from error
    for key in {"output_folder", *may_differ} & values.keys():
        options[key] = values[key]
    with open(hparams_file, encoding="utf-8") as file:
        now = resolve_references(file, options).getvalue()
    # Another file is told by its model; and options stand before what is made
    # of them, so that the first one tells most.
    _, before = _contents(yaml.compose(before))
    _, now = _contents(yaml.compose(now))
    for key in ["model_name", *now, *before]:
        if now.get(key) != before.get(key):
            place, old, new = _apart(key, before.get(key), now.get(key))
            raise InputError(
                f"{output_folder} holds a run with another {place} ({old}, now "
                f"{new}; see {OPTIONS} there): expected the same, or another "
                f"--output_folder."
            )
    _check_epochs(hparams)
    return True


def _check_epochs(hparams):
    """Raise an error where a run has had more epochs than it is to have: what
    comes of them would be reported as what comes of fewer."""
    saved = hparams["checkpointer"].find_checkpoint().paramfiles
    if "epoch_counter" in saved:
        had = int(saved["epoch_counter"].read_text())
        limit = hparams["epoch_counter"].limit
        if limit < had:
            raise InputError(
                f"number_of_epochs={limit}: expected {had} at least, which the "
                f"run in {hparams['output_folder']} has had, or another "
                f"--output_folder."
            )


# Run options that change nothing of what is learnt, but for how long; nor of
# what is kept.
MAY_DIFFER = """
    test_only debug debug_batches debug_epochs device distributed_backend
    distributed_launch find_unused_parameters noprogressbar
    ckpt_interval_minutes ckpt_interval_steps optimizer_step_limit
    tqdm_colored_bar tqdm_barcolor profile_training profile_warmup
    profile_steps log_config param_file overridden_args
""".split()


def begin(hparams, run_opts, in_use, data):
    """Note what else a run is begun with, before it is.

    Raises an error where it goes on with something else, or where there is no
    run that could be tested.

    Arguments
    ---------
    hparams : dict
        With the output_folder, and the save_folder for the note.
    run_opts : dict or speechbrain.utils.run_opts.RunOptions
        The options of the command line, or None.
    in_use : bool
        What `resumes` returned.
    data : bytes
        What the run learns from, or enough to tell it from other data.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> hparams = {"output_folder": folder, "save_folder": folder}
    >>> begin(hparams, {"precision": "bf16"}, in_use=False, data=b"a")
    >>> begin(hparams, {"precision": "bf16"}, in_use=True, data=b"b")
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: ... holds a run with other data: ...
    """
    folder = hparams["output_folder"]
    given = given_options(run_opts, hparams)
    if given.get("test_only") and not in_use:
        raise InputError(
            f"test_only=True: expected a run in {folder}, and there is none."
        )
    path = Path(hparams["save_folder"]) / "begun_with.json"
    now = _telling(given)
    distributed = torch.distributed.is_initialized()
    # As torchrun calls the number of its processes.
    now["world_size"] = torch.distributed.get_world_size() if distributed else 1
    now["data"] = hashlib.sha256(data).hexdigest()
    if in_use:
        try:
            before = dict(json.loads(path.read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: expected what the run was begun with, as it was "
                f"written then ({error}); bring the file back from a copy, or "
                f"begin in another --output_folder."
            ) from error
        for key in [*now, *before]:
            if before.get(key) != now.get(key):
                both = " ({}, now {})".format(
                    *(read.get(key, "the default") for read in (before, now))
                )
                raise InputError(
                    f"{folder} holds a run with other {key}"
                    # Of data, there are digests.
                    f"{both if key != 'data' else ''}: expected the same, or "
                    f"another --output_folder."
                )
        return
    if (Path(folder) / OPTIONS).exists() and not path.exists():
        raise InputError(
            f"{folder} holds the {OPTIONS} of something else, as of a model, "
            f"since there is no {path}: expected another --output_folder."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps(now))


def _telling(given):
    """Those of the run options that are given which change what is learnt."""
    telling = {
        name: value for name, value in given.items() if name not in MAY_DIFFER
    }
    # Older names of the same.
    for name, precision in (("auto", "fp16"), ("bfloat16", "bf16")):
        if telling.pop(f"{name}_mix_prec", False):
            telling["precision"] = precision
    defaults = RunOptions()
    return {
        name: value
        for name, value in telling.items()
        # The recipes' own default of this one is another than SpeechBrain's.
        if name == "max_grad_norm" or value != defaults[name]
    }


def save_options(hparams_file, overrides, output_folder):
    """Write the options of a run, as SpeechBrain does, but whole.

    A kill while SpeechBrain writes them would leave a run that could not be
    gone on with.

    Arguments
    ---------
    hparams_file : str
        A YAML file.
    overrides : str
        Options that take the place of what is there, as YAML.
    output_folder : str
        Where to write them, to hyperparams.yaml.
    """
    with open(hparams_file, encoding="utf-8") as file:
        options = resolve_references(file, overrides).getvalue()
    with whole_file(Path(output_folder) / OPTIONS) as path:
        Path(path).write_text(
            f"# From {Path(hparams_file).absolute()}\n"
            f"# yamllint disable\n{options}",
            encoding="utf-8",
        )


def _contents(node):
    """A YAML node as tag and value, without comments."""
    value = node.value
    if isinstance(node, ruamel.yaml.MappingNode):
        value = {key.value: _contents(item) for key, item in value}
    elif isinstance(node, ruamel.yaml.SequenceNode):
        value = [_contents(item) for item in value]
    elif node.tag.endswith((":int", ":float")):
        # A number may be written in several ways.
        return "number", ruamel.yaml.YAML(typ="safe").load(value)
    return node.tag, value


def _apart(place, before, now):
    """Where two of what `_contents` returns are apart first, and both there."""
    values = [node[1] if node else None for node in (before, now)]
    if all(isinstance(value, dict) for value in values):
        old, new = values
        for key in [*new, *old] if before[0] == now[0] else ():
            if old.get(key) != new.get(key):
                return _apart(f"{place}.{key}", old.get(key), new.get(key))
    return place, _show(before), _show(now)


def _show(node):
    """One of what `_contents` returns, in short."""
    if node is None:
        return "not there"
    tag, value = node
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value))}]"
    # What makes something, and its arguments, which may be many.
    return tag if isinstance(value, dict) else str(value)
