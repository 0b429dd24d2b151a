"""The options of a recipe: loading them, and refusing those of another run.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import hashlib
import json
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import RESULTS, whole_file

# What the options of a run are kept in.
OPTIONS = "hyperparams.yaml"


def look_up(table, num_params):
    """The hidden size that the paper gives for a number of parameters.

    Arguments
    ---------
    table : dict
        Hidden size for each number of parameters.
    num_params : int
        The number of parameters.

    Returns
    -------
    int
        The hidden size.

    Example
    -------
    >>> look_up({100: 11, 250: 19}, 250)
    19
    """
    if num_params not in table:
        raise InputError(
            f"num_params={num_params}: expected one of {sorted(table)} (or "
            f"give --hidden_size)."
        )
    return table[num_params]


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


def check_num_seeds(num_seeds):
    """Raise an error where it is no number of networks."""
    if not isinstance(num_seeds, int) or num_seeds < 1:
        raise InputError(f"num_seeds={num_seeds}: expected at least 1.")


def load_hparams(hparams_file, overrides):
    """The hyperparameters of a recipe.

    Arguments
    ---------
    hparams_file : str
        A YAML file.
    overrides : str
        Options that take the place of what is there, as YAML.

    Returns
    -------
    dict
        What HyperPyYAML makes of them.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.yaml"
    >>> _ = path.write_text("size: 3\\ndouble: !ref <size> * 2")
    >>> load_hparams(path, "size: 4")
    {'size': 4, 'double': 8}
    """
    yaml = ruamel.yaml.YAML()
    tree = yaml.load(Path(hparams_file).read_text(encoding="utf-8"))
    for key, value in (yaml.load(overrides) if overrides else {}).items():
        if key not in tree:
            known = get_close_matches(key, tree) or tree
            raise InputError(f"--{key}: expected {' or '.join(known)}.")
        # HyperPyYAML merges mappings, and would lose the tag of the new one.
        kinds = {
            (type(v), str(getattr(v, "tag", ""))) for v in (tree[key], value)
        }
        if isinstance(value, dict) and len(kinds) > 1:
            raise InputError(
                f"--{key}: expected other values for what is there (another "
                f"class with arguments needs a YAML file of your own)."
            )
    with open(hparams_file, encoding="utf-8") as fin:
        try:
            return load_hyperpyyaml(fin, overrides)
        except OSError as error:
            # Checkpointers and loggers make their folders right away.
            raise InputError(
                f"output_folder: expected a folder that can be written "
                f"({error})."
            ) from error


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
    # Options stand before what is made of them, so the first one tells most.
    _, before = _contents(yaml.compose(before))
    _, now = _contents(yaml.compose(now))
    for key in [*now, *before]:
        if now.get(key) != before.get(key):
            raise InputError(
                f"{output_folder} holds a run with another {key} (see "
                f"{OPTIONS} there): expected the same, or another "
                f"--output_folder."
            )
    return True


def given_options(run_opts, hparams):
    """The run options that were given, by their names.

    Arguments
    ---------
    run_opts : dict or speechbrain.utils.run_opts.RunOptions
        Those of the command line, or None.
    hparams : dict
        What the YAML file has, among others run options, or None.

    Returns
    -------
    dict
        Their values; those of the command line come first, as in SpeechBrain.

    Example
    -------
    >>> given_options({"debug": True}, {"lr": 1, "debug": False})
    {'debug': True}
    """
    if isinstance(run_opts, dict):
        run_opts = RunOptions.from_dictionary(run_opts)
    given = dict(hparams or {})
    if run_opts is not None:
        given.update({key: run_opts[key] for key in run_opts.overridden_args})
    names = [field.name for field in fields(RunOptions)]
    return {name: given[name] for name in names if name in given}


# Run options that change what is learnt, and which no YAML file need say.
TELLING = ("precision", "eval_precision", "max_grad_norm")


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
    now = {name: given.get(name) for name in TELLING}
    now["data"] = hashlib.sha256(data).hexdigest()
    if in_use:
        try:
            before = dict(json.loads(path.read_text()))
        except (OSError, TypeError, ValueError):
            # As good as of another run.
            before = {}
        for key, value in now.items():
            if before.get(key) != value:
                raise InputError(
                    f"{folder} holds a run with other {key}: expected the "
                    f"same, or another --output_folder."
                )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps(now))


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
