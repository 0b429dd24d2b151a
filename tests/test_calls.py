"""What a YAML file names, which is looked at and not called."""

import pytest

from speechbrain_cwrnn.calls import read_calls
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.schema import Checked, check_options


@pytest.mark.parametrize(
    "text",
    [
        "!new:collections.Counter {a: 1}",
        "!name:torch.nn.Linear {in_features: 3}",
        "!name:torch.pi",
        "!apply:operator.getitem [[1, 2], 0]",
        "!module:torch.nn",
        "[{a: !new:torch.nn.Linear [3, 4]}]",
        "!name:torch.nn.RNN {any: thing}",
        "!name:torch.nn.Linear {bias: False}",
        "!name:torch.nn.Linear {bias: !apply:operator.not_ [1]}",
    ],
)
def test_taken(text):
    """As HyperPyYAML would, as far as can be known."""
    check_options(Checked, read_calls(f"key: {text}"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("!new:nope.X", "key=!new:nope.X: expected a class that"),
        ("!new:torch.nn", "key=!new:torch.nn: expected a class that"),
        ("!new:", "key=!new:: expected a class"),
        ("!name:torch.nope", "key=!name:torch.nope: expected a class or f"),
        ("!apply:torch.nn.RNN", "key=!apply:torch.nn.RNN: expected a func"),
        (
            "!name:speechbrain.integrations.huggingface.wordemb.X",
            "key=.*wordemb.X: expected what works .*ErrorDuringImport",
        ),
        ("!module:torch.pi", "key=!module:torch.pi: expected a module"),
        (
            "!new:torch.nn.Linear {in_features: 3}",
            "key=!new:torch.nn.Linear: expected the arguments of Linear .m",
        ),
        (
            "!name:torch.nn.Linear {nope: 3}",
            "key=!name:torch.nn.Linear: .*unexpected keyword .*'nope'",
        ),
        (
            "!name:torch.nn.Linear {bias: no}",
            "key=!name:torch.nn.Linear: expected True or False for bias, got "
            "'no'",
        ),
        (
            "[{a: !name:torch.nn.Linear {b: !new:nope.X }}]",
            "key=!name:torch.nn.Linear: .*'b'",
        ),
        ("!name:torch.nn.Linear [!new:nope.X ]", "key=!new:nope.X: expec"),
        (
            "!name:torch.nn.Linear {bias: !new:nope.X }",
            "key=!new:nope.X: expec",
        ),
    ],
)
def test_refused(text, message):
    """In one sentence, wherever it stands."""
    with pytest.raises(InputError, match=f"^{message}"):
        check_options(Checked, read_calls(f"key: {text}"))


def test_values():
    """They are what HyperPyYAML makes of them."""
    values = read_calls("a: (1, 2)\nb: &b [1e-3]\nc: *b\nd: '(1)'\ne: yes")
    assert values["a"] == (1, 2)
    assert values["b"] == values["c"] == [0.001]
    assert values["d"] == "(1)" and values["e"] == "yes"
