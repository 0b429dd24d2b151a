"""The snippets of the README run."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


def snippets(language):
    """The code blocks of a language."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found


def test_python():
    """All of them, one after the other; comments show shapes in order."""
    names = {}
    for snippet in snippets("python"):
        exec(snippet, names)
    assert names["more"].shape == (16, 500, 512)
    assert names["h"].shape == (1, 16, 512)
    assert names["clock"].shape == (1, 16, 1)
    assert names["output"].shape == (100, 8, 50, 40)
    assert type(names["best"]) is names["ClockworkRNN"]


@pytest.mark.parametrize("snippet", snippets("yaml"))
def test_yaml(snippet):
    """What is described can be made, with the layer in it."""
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_cwrnn import ClockworkRNN

    (net,) = load_hyperpyyaml(snippet).values()
    assert any(isinstance(m, ClockworkRNN) for m in net.modules())


def test_opens_with_the_two_commands():
    """What a user, and the continuous integration, runs first."""
    before = README[: README.index("## ")]
    assert "pip install -e . && python recipes/AudioGen/train.py" in before
    assert "pip install -e '.[test]' && pytest -n auto" in before
