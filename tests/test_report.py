"""Whole files, tables and figures."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from speechbrain_cwrnn import __version__
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import (
    print_results,
    read_results,
    read_runs,
    report_program,
    save_figure,
    summarize,
    whole_file,
    write_results,
)


class TestWholeFile:
    """A file is complete, or as it was before."""

    def test_keeps_the_old_one(self, tmp_path):
        """Where writing fails halfway."""
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError, match="halfway"):
            with whole_file(path) as temporary:
                with open(temporary, "w") as file:
                    file.write("ne")
                raise RuntimeError("halfway")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_takes_the_place_of_files_alone(self, tmp_path):
        """Not of a device, as /dev/null, which all others would lose."""
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        before = sorted(tmp_path.iterdir())
        for path in before:
            with pytest.raises(InputError, match=f"^{path}: expected a file"):
                with whole_file(path) as temporary:
                    Path(temporary).touch()
        assert sorted(tmp_path.iterdir()) == before
        assert not (tmp_path / "pipe").is_file()

    def test_full_disk(self, tmp_path):
        """The file is named, which the system does not."""
        with pytest.raises(OSError, match="No space.*: '.*/file.txt'$"):
            with whole_file(tmp_path / "file.txt"):
                raise OSError(errno.ENOSPC, "No space left on device")

    def test_figure(self, tmp_path):
        """A figure is written as PNG whatever its name, and closed."""
        import matplotlib.pyplot as plt

        figure = plt.figure()
        save_figure(figure, tmp_path / "picture")
        assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
        assert not plt.fignum_exists(figure.number)


class TestResults:
    """The results.csv of a run, and the table of several."""

    @pytest.fixture
    def write(self, tmp_path):
        """Writes one of two networks, and returns its folder."""

        def write(name, **run):
            run = {"model": "cwrnn", "size": 9, "corpus": "made up", **run}
            folder = tmp_path / name
            folder.mkdir(parents=True)
            networks = {"error": [0.5, "x, y"], "seed": [3, 4]}
            write_results(folder, run, networks)
            return folder

        return write

    def test_columns(self, write):
        """Who, on what, with which version, and then what was measured."""
        rows = read_results(write("a", kind="PER"), {"error": str})
        assert [list(row.items()) for row in rows] == [
            [
                ("model", "cwrnn"),
                ("size", "9"),
                ("seed", seed),
                ("corpus", "made up"),
                ("version", __version__),
                ("kind", "PER"),
                ("error", error),
            ]
            for seed, error in (("3", "0.5"), ("4", "x, y"))
        ]

    def test_order(self, write, capsys):
        """By the size, as a number, and then the model."""
        folders = [
            write("a", size=10000),
            write("b"),
            write("c", size=500, model="srn"),
            write("d", size=500),
        ]
        runs = read_runs(folders, {"error": str})
        print_results("Errors:", runs, ["error"], lambda r: [r[1]["error"]])
        title, *lines = capsys.readouterr().out.splitlines()
        assert title == "Errors:"
        cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
        assert cells[0] == ["run", "network", "corpus", "error"]
        assert cells[2] == [str(folders[1]), "cwrnn 9", "made up", "x, y"]
        networks = [row[1] for row in cells[2:]]
        assert networks == ["cwrnn 9", "cwrnn 500", "srn 500", "cwrnn 10000"]

    def test_incomplete(self, write, tmp_path, capsys):
        """Runs without results are named, and do not hide the others."""
        debugged = tmp_path / "debugged"
        debugged.mkdir()
        folders = [debugged, write("a"), write("b") / "results.csv"]
        assert [folder for folder, _ in read_runs(folders, {})] == [
            str(folders[1])
        ]
        out, err = capsys.readouterr()
        assert not out
        assert f"{debugged}: no results.csv, left out.\n" in err
        assert f"{folders[2]}: no results.csv, left out.\n" in err
        with pytest.raises(ValueError, match=f"^{debugged}: .*is no results.c"):
            read_runs([debugged], {})

    def test_refused(self, tmp_path):
        """What is no run, or is one of something else, in one sentence."""
        with pytest.raises(ValueError, match=f"^{tmp_path}: .*is no results.c"):
            read_results(tmp_path, {})
        for text in ("", "model,size\n", "seed,error\n1,2\n"):
            (tmp_path / "results.csv").write_text(text)
            with pytest.raises(ValueError, match="with the columns model, si"):
                read_results(tmp_path, {})

    def test_of_another_recipe(self, write):
        """They have other columns, which are named."""
        folder = write("a")
        assert len(read_results(folder, {"error": str})) == 2
        for measured, message in (
            ({"nmse": float}, "expected results of this recipe, .*, nmse.$"),
            ({"error": float}, "row 2, error=x, y: expected a number.$"),
        ):
            with pytest.raises(InputError, match=f"^{folder}/.*{message}"):
                read_results(folder, measured)


class TestProgram:
    """The report.py of a recipe."""

    @pytest.fixture
    def run(self, monkeypatch):
        """Runs it, and returns what it was asked to do."""

        def run(*arguments, draw=True):
            done = []

            def show(folders):
                if "none" in folders:
                    raise InputError("none: expected a run.")
                done.append(("show", folders))

            def plot(path, folders):
                if path == "none/a.png":
                    raise FileNotFoundError(path)
                done.append((path, folders))

            monkeypatch.setattr("sys.argv", ["report.py", *arguments])
            report_program(show, plot if draw else None)
            return done

        return run

    def test_asked_for(self, run):
        """A table, and a picture where there is one."""
        assert run("a", "b") == [("show", ["a", "b"])]
        assert run("a", draw=False) == [("show", ["a"])]
        assert run("a", "--plot", "p.png")[1] == ("p.png", ["a"])

    def test_refused(self, run, tmp_path, monkeypatch):
        """One sentence, and no traceback; of the picture before the table."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit, match="^Error: none: expected a run.$"):
            run("none")
        message = "^Error: --plot none/a.png/b: expected a file to write.$"
        (tmp_path / "none").touch()
        with pytest.raises(SystemExit, match=message):
            run("a", "--plot", "none/a.png/b")
        for path in ("", str(tmp_path), "a" * 241):
            with pytest.raises(SystemExit, match=f"--plot {path}: expected a "):
                run("a", "--plot", path)
        for arguments in ((), ("a", "--plot", "p.png")):
            with pytest.raises(SystemExit):
                run(*arguments, draw=False)


@pytest.mark.parametrize(
    "rows, message",
    [
        (b"lstm,x,1,TIMIT,0\n", "row 1, size=x: expected an integer.$"),
        (b"lstm,5,1,TIMIT,0\nlstm,5,1\n", "row 2, corpus=None: .* text.$"),
        (b"\xff\n", "expected CSV, in UTF-8"),
        (b"a,5,1,TIMIT,0\nb,5,1,TIMIT,0\n", "row 2, model=b: .* a, as in "),
        (b"a,5,1,TIMIT,0\na,6,1,TIMIT,0\n", "row 2, size=6: .* 5, as in "),
    ],
)
def test_damaged(tmp_path, rows, message):
    """Rows that someone has edited, and bytes that are no text."""
    header = b"\xef\xbb\xbfmodel,size,seed,corpus,version\n"
    path = tmp_path / "results.csv"
    path.write_bytes(header + b"lstm,500,1,TIMIT,0\n")
    assert read_results(tmp_path, {})[0]["model"] == "lstm"
    path.write_bytes(header + rows)
    with pytest.raises(ValueError, match=f"^{path}.*{message}"):
        read_results(tmp_path, {})


@pytest.mark.parametrize("error", ["nan", "inf", "-inf"])
def test_not_finite(tmp_path, error):
    """The error of a network is, unless it has diverged."""
    run, kinds = {"model": "a", "size": 1, "corpus": "b"}, {"error": float}
    write_results(tmp_path, run, {"seed": [1], "error": [error]})
    message = f"row 1, error={error}: expected a finite number.$"
    with pytest.raises(InputError, match=message):
        read_results(tmp_path, kinds)
    for diverged in (0, 1):
        networks = {"seed": [1], "error": [error], "diverged": [diverged]}
        write_results(tmp_path, run, networks)
        if not diverged:
            with pytest.raises(InputError, match=message):
                read_results(tmp_path, kinds)
    (row,) = read_results(tmp_path, kinds)
    assert row["error"] == error


@pytest.mark.filterwarnings("error")
def test_summary_of_few():
    """What is not defined is not made up."""
    assert summarize(np.array([0.5]))[2:4] == ["0.5000", "-"]
    assert summarize(np.array([np.nan, np.nan])) == ["2", "2", *"-----"]
