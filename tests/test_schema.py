"""What options must be, and the sentences where they are not."""

import pytest

from speechbrain_cwrnn.calls import Call, read_calls
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.schema import (
    Checked,
    Count,
    FileName,
    Flag,
    Folder,
    Log,
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
            [1, 2**12, Call("apply", "len", ["ab"], {})],
            [0, True, 2**12 + 1],
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
        (OptionalFile, [None, "a"], ["", 3, ["a"], "a" * 241]),
        (FileName, ["a", "b" * 240], ["", None, "c" * 241, "\u00e4" * 121]),
        (FileName, ["a/" * 999], ["abcd/" * 999]),
        *((kind, ["a"], ["a" * 241]) for kind in (Folder, NewFile, Log)),
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


def test_made():
    """Where something is to be made, a value is none."""
    check(Made, read_calls("key: !name:torch.nn.RNN")["key"])
    for value in (None, "torch.nn.RNN", 3):
        with pytest.raises(InputError, match="^key=.*: expected a class"):
            check(Made, value)
