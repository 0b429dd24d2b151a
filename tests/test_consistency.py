"""What SpeechBrain asks of its own recipes holds for ours.

Docstrings on all that is public are asked for by ruff; see pyproject.toml.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import recipe_modules
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.schema import Options

ROOT = Path(__file__).parent.parent
# Those named inference*.yaml are read by SpeechBrain's interfaces instead.
TRAINING = sorted(
    path
    for path in ROOT.glob("recipes/**/hparams/*.yaml")
    if not path.name.startswith("inference")
)

# A key as a string, which may have {expressions} in it.
KEY = r"f?'([^']+)'"
# How a script asks for a key, and how for one that need not be there.
NEEDED = rf"[\w.]*hparams(?:\.(\w+)|\[{KEY}\])"
OPTIONAL = (
    rf"(?:has|get)attr\([\w.]*hparams, {KEY}.*|[\w.]*hparams\.get\({KEY}.*"
    rf"|{KEY} (?:not )?in [\w.]*hparams"
)


def declared(text):
    """The keys at the top of a YAML file, and those that it uses itself."""
    nodes = [YAML().compose(text)]
    tags = {key.value: node.tag for key, node in nodes[0].value}
    # What is applied may be there for what it does, as seeding is.
    used = {key for key, tag in tags.items() if tag.startswith("!apply:")}
    for node in nodes:
        if node.id == "mapping":
            nodes += [item for pair in node.value for item in pair]
        elif node.id == "sequence":
            nodes += node.value
        elif node.tag in ("!ref", "!copy"):
            # <seed>, <model.encoder> or <sizes[small]>
            used |= set(re.findall(r"<(\w+)", node.value))
    return set(tags), used


def asked_for(tree):
    """Patterns of the keys that code needs, and of all that it looks for.

    In the pattern of f"{split}_annotation", any text stands for the split.
    """
    needed, optional = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            code = ast.unparse(node)
            for form, found in ((NEEDED, needed), (OPTIONAL, optional)):
                if match := re.fullmatch(form, code):
                    (name,) = filter(None, match.groups())
                    found.add(re.sub(r"\{.*?\}", ".+", name))
    needed -= {*dir(dict), *optional}
    return needed, needed | optional


def matching(patterns, keys):
    """Those of the keys that one of the patterns describes."""
    return {k for k in keys for p in patterns if re.fullmatch(p, k)}


def parse(path):
    """The syntax tree of a script."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """The functions and classes of ours that a script imports."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom):
            name = node.module.replace(".", "/") + ".py"
            names = {alias.name for alias in node.names}
            for folder in (path.parent, ROOT):
                if (folder / name).exists():
                    for item in parse(folder / name).body:
                        if getattr(item, "name", None) in names:
                            yield item


@pytest.mark.parametrize(
    "path", TRAINING, ids=lambda path: str(path.relative_to(ROOT))
)
class TestHparams:
    """A YAML file and the script that reads it know the same keys."""

    def test_all_are_used(self, path):
        """By train.py, or what it imports of ours; unless by the YAML file
        itself or by SpeechBrain."""
        keys, used = declared(path.read_text(encoding="utf-8"))
        train = path.parent.parent / "train.py"
        for code in (parse(train), *imported(train)):
            _, asked = asked_for(code)
            used = used | matching(asked, keys)
        used = used | RunOptions().as_dict().keys()
        assert keys <= used, f"not used: {sorted(keys - used)}"

    def test_all_are_checked(self, path):
        """What each must be is said in options.py."""
        keys, _ = declared(path.read_text(encoding="utf-8"))
        keys = {key for key in keys if not key.startswith("__")}
        folder = path.parent.parent.relative_to(ROOT / "recipes")
        with recipe_modules(folder, "options") as modules:
            fields = {
                name: field
                for kind in vars(modules.options).values()
                if isinstance(kind, type) and issubclass(kind, Options)
                for name, field in kind.model_fields.items()
            }
        assert keys <= fields.keys()
        needed, _ = asked_for(parse(path.parent.parent / "train.py"))
        for name in matching(needed, fields):
            assert fields[name].is_required(), name

    def test_none_is_missing(self, path):
        """Nothing that is asked for without saying what to do without it."""
        keys, _ = declared(path.read_text(encoding="utf-8"))
        keys |= RunOptions().as_dict().keys()
        train = path.parent.parent / "train.py"
        for code in (parse(train), *imported(train)):
            needed, _ = asked_for(code)
            missing = {p for p in needed if not matching({p}, keys)}
            name = getattr(code, "name", "train.py")
            assert not missing, f"{name}: {sorted(missing)}"


def test_yamllint():
    """With the rules of SpeechBrain; of the recipes, since an environment may
    be beside them."""
    run = subprocess.run(
        [sys.executable, "-m", "yamllint", "recipes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
