"""What the recipes have in common: options, whole files, tables and pictures.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import os
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

STATISTICS = ["networks", "diverged", "mean", "sd", "median", "q25", "q75"]


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
        raise ValueError(
            f"num_params={num_params}: expected one of {sorted(table)} (or "
            f"give --hidden_size)."
        )
    return table[num_params]


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
            raise ValueError(f"--{key}: expected {' or '.join(known)}.")
        # HyperPyYAML merges mappings, and would lose the tag of the new one.
        kinds = {
            (type(v), str(getattr(v, "tag", ""))) for v in (tree[key], value)
        }
        if isinstance(value, dict) and len(kinds) > 1:
            raise ValueError(
                f"--{key}: expected other values for what is there (another "
                f"class with arguments needs a YAML file of your own)."
            )
    with open(hparams_file, encoding="utf-8") as fin:
        try:
            return load_hyperpyyaml(fin, overrides)
        except OSError as error:
            # Checkpointers and loggers make their folders right away.
            raise ValueError(
                f"output_folder: expected a folder that can be written "
                f"({error})."
            ) from error


def refuse_other_options(hparams_file, overrides, output_folder, may_differ):
    """Raise an error where a folder holds a run with other options.

    What was trained with some would go on with others, and be reported as if
    it had always had them.

    Arguments
    ---------
    hparams_file : str
        A YAML file.
    overrides : str
        Options that take the place of what is there, as YAML.
    output_folder : str
        The folder of the run. SpeechBrain keeps the options of the last run in
        its hyperparams.yaml, with which they are compared.
    may_differ : list of str
        Options that a user may want to change on the way.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> train = folder / "train.yaml"
    >>> _ = train.write_text("output_folder: a\\nepochs: 1\\nlr: 0.1")
    >>> _ = (folder / "hyperparams.yaml").write_text(train.read_text())
    >>> refuse_other_options(train, "epochs: 2", folder, ["epochs"])
    """
    path = Path(output_folder) / "hyperparams.yaml"
    if not path.exists():
        raise ValueError(
            f"{output_folder} holds a run without its hyperparams.yaml: "
            f"expected another --output_folder."
        )
    yaml = ruamel.yaml.YAML()
    before = path.read_text(encoding="utf-8")
    # With the values of before, so has all that refers to them.
    options = yaml.load(overrides) if overrides else {}
    values = yaml.load(before)
    for key in {"output_folder", *may_differ} & values.keys():
        options[key] = values[key]
    with open(hparams_file, encoding="utf-8") as file:
        now = resolve_references(file, options).getvalue()
    # Options stand before what is made of them, so the first one tells most.
    _, before = _contents(yaml.compose(before))
    _, now = _contents(yaml.compose(now))
    for key in [*now, *before]:
        if now.get(key) != before.get(key):
            raise ValueError(
                f"{output_folder} holds a run with another {key} (see "
                f"hyperparams.yaml there): expected the same, or another "
                f"--output_folder."
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


@contextmanager
def whole_file(path):
    """A temporary path whose file takes the place of `path` when complete.

    Arguments
    ---------
    path : str or pathlib.Path
        The file to write; its folder must exist.

    Yields
    ------
    str
        Where to write it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> with whole_file(folder / "a.txt") as temporary:
    ...     _ = Path(temporary).write_text("complete")
    ...     (folder / "a.txt").exists()
    False
    >>> (folder / "a.txt").read_text()
    'complete'
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{path.name}")
    try:
        yield str(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def summarize(errors, decimals=4):
    """Statistics of the errors of networks, as text.

    Arguments
    ---------
    errors : numpy.ndarray
        One for each network, NaN where it diverged.
    decimals : int
        Digits behind the point.

    Returns
    -------
    list of str
        What `STATISTICS` names; "-" where it is not defined. The diverged
        networks are counted, and left out of the others.

    Example
    -------
    >>> summarize(np.array([1.0, np.nan, 3.0]), decimals=2)
    ['3', '1', '2.00', '1.41', '2.00', '1.50', '2.50']
    """
    alive = errors[~np.isnan(errors)]
    counts = [str(len(errors)), str(len(errors) - len(alive))]
    if not len(alive):
        return [*counts, *["-"] * 5]
    deviation = alive.std(ddof=1) if len(alive) > 1 else np.nan
    q25, median, q75 = np.quantile(alive, [0.25, 0.5, 0.75])
    numbers = [alive.mean(), deviation, median, q25, q75]
    cells = ("-" if np.isnan(n) else f"{n:.{decimals}f}" for n in numbers)
    return [*counts, *cells]


def print_table(columns, rows):
    """Print rows of text as a table in Markdown, which reads well as it is.

    Arguments
    ---------
    columns : list of str
        Their names.
    rows : list of list of str
        The cells.

    Example
    -------
    >>> print_table(["run", "error"], [["a", "7"], ["longer", "12"]])
    | run    | error |
    | ------ | ----- |
    | a      |     7 |
    | longer |    12 |
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    lines = [columns, ["-" * width for width in widths], *rows]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        print(f"| {' | '.join(cells)} |")


def save_figure(figure, path):
    """Write a figure as PNG, whole, and forget it.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        The figure.
    path : str or pathlib.Path
        The file to write.
    """
    import matplotlib.pyplot as plt

    figure.tight_layout()
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
