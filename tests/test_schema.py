"""What options must be, and the sentences where they are not."""

import pytest

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.schema import (
    Call,
    Checked,
    Count,
    Flag,
    Folder,
    Made,
    Momentum,
    Name,
    Natural,
    NewFile,
    NotNegative,
    OptionalFile,
    Positive,
    Seed,
    Share,
    Size,
    Sizes,
    Width,
    Widths,
    check_options,
    read_calls,
)


def check(kind, value):
    """Check one value of a kind."""

    class One(Checked):
        key: kind

    check_options(One, {"key": value})


@pytest.mark.parametrize(
    "kind, good, bad",
    [
        (Count, [1, 2**31 - 1], [0, -1, True, 1.0, "1", None, 2**31, [1]]),
        (Natural, [0], [-1, False]),
        (Seed, [0, 2**32 - 1], [-1, 1.5, 2**32]),
        (Positive, [1, 1e-9], [0, -1.0, float("nan"), float("inf"), True, "x"]),
        (NotNegative, [0, 0.5], [-1e-9, float("nan")]),
        (Share, [0, 1], [-0.1, 1.1, "x"]),
        (Momentum, [0.9], [0, 1]),
        (Flag, [True, False], [1, 0, "yes", None]),
        (
            Name,
            ["a", "LSTM-2.b c", "{a}"],
            ["", "a/b", "..", "a.", "a ", "nul", "a\n", 3],
        ),
        (Width, [1, 2**14], [0, 2**14 + 1]),
        (
            Size,
            [1, 2**14, Call("apply", "len", ["ab"], {})],
            [0, True, 2**14 + 1],
        ),
        (
            Widths,
            [(1,), [1, 2]],
            ["(8", (1, "2"), (1, True), (0,), 8, (10**5,)],
        ),
        (
            Sizes,
            [{100: 11}],
            [{}, {100: "x"}, {"x": 1}, {100: 0}, [1], {1: 10**5}],
        ),
        (OptionalFile, [None, "a"], ["", 3, ["a"]]),
    ],
)
def test_values(kind, good, bad):
    """Nothing is converted, and nothing out of range is taken."""
    for value in good:
        check(kind, value)
    for value in bad:
        with pytest.raises(InputError, match=r"^key.*: expected .*\.$"):
            check(kind, value)


@pytest.mark.parametrize(
    "value, shown",
    [
        ("x", "x"),
        ("1", "'1'"),
        ("", "''"),
        ("a\nb", r"'a\\nb'"),
        (None, "None"),
        (10**99, f"1{'0' * 59}\\.\\.\\."),
    ],
)
def test_sentence(value, shown):
    """It shows what was given, short and on one line."""
    with pytest.raises(
        InputError, match=f"^key={shown}: expected an integer from 1 to 2147"
    ):
        check(Count, value)


def test_missing():
    """Keys of the user's own are none of ours."""
    with pytest.raises(InputError, match="^key: expected in the YAML file .an"):

        class One(Checked):
            key: Count

        check_options(One, {"kye": 1})


def test_places(tmp_path, monkeypatch):
    """Folders and files that can be made, and nothing in their way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in ("new", "new/er", ".", str(tmp_path)):
        check(Folder, path)
    for path in ("new", "new/er", "file"):
        check(NewFile, path)
    for path in ("file", "file/new", "loop", "loop/new", "", "/dev/null"):
        with pytest.raises(InputError, match="^key=.*: expected a folder that"):
            check(Folder, path)
    for path in ("file/new", "loop/new", ".", ""):
        with pytest.raises(InputError, match="^key=.*: expected a file that"):
            check(NewFile, path)
    # A drive that is not there, as Windows has them.
    with monkeypatch.context() as patch, pytest.raises(InputError):
        patch.setattr("os.path.lexists", lambda path: False)
        check(Folder, "Z:/new")
    # Root may write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="^key=new: expected a folder"):
        check(Folder, "new")


class TestCalls:
    """What a YAML file names, which is looked at and not called."""

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
        ],
    )
    def test_taken(self, text):
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
    def test_refused(self, text, message):
        """In one sentence, wherever it stands."""
        with pytest.raises(InputError, match=f"^{message}"):
            check_options(Checked, read_calls(f"key: {text}"))

    def test_values(self):
        """They are what HyperPyYAML makes of them."""
        values = read_calls("a: (1, 2)\nb: &b [1e-3]\nc: *b\nd: '(1)'\ne: yes")
        assert values["a"] == (1, 2)
        assert values["b"] == values["c"] == [0.001]
        assert values["d"] == "(1)" and values["e"] == "yes"

    def test_made(self):
        """Where something is to be made, a value is none."""
        check(Made, read_calls("key: !name:torch.nn.RNN")["key"])
        for value in (None, "torch.nn.RNN", 3):
            with pytest.raises(InputError, match="^key=.*: expected a class"):
                check(Made, value)
