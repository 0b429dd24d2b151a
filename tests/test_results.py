"""RESULTS.md, and what it says of the paper's claims."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest
from helpers import read_csv

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import write_csv

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """The scripts find each other."""
    monkeypatch.syspath_prepend(ROOT / "results")
    yield
    for name in ("claims", "collect"):
        sys.modules.pop(name, None)


@pytest.fixture
def claims():
    """The module that checks them."""
    return importlib.import_module("claims")


def test_is_what_was_measured():
    """It is what the script makes of what is committed."""
    collect = importlib.import_module("collect")
    written = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert written == collect.collect()


def test_links_lead_somewhere():
    """Pictures and folders are there."""
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link


def generation(model, size, nmse, diverged=0, task="music", variant="paper"):
    """A row of the study."""
    names = ["task", "variant", "model", "size", "nmse", "diverged"]
    values = [task, variant, model, size, nmse, diverged]
    return dict(zip(names, map(str, values)))


def test_generation(claims):
    """The order is told by medians of what is left; of others nothing is
    taken."""
    rows = [
        *(generation("cwrnn", 1000, x) for x in (0.004, 0.006, 0.2)),
        *(generation("lstm", 1000, x) for x in (0.03, 0.04, 0.05)),
        *(generation("srn", 1000, x) for x in (0.45, 0.47)),
        generation("srn", 1000, "nan", diverged=1),
        generation("cwrnn", 1000, 9, task="speech"),
        generation("lstm", 1000, 0, variant="clipped"),
        *(generation("cwrnn", 100, x) for x in (0.5, 0.5)),
        *(generation("lstm", 100, x) for x in (0.1, 0.1)),
        *(generation("srn", 100, x) for x in (0.6, 0.6)),
    ]
    order, *models = claims.check_generation(rows)
    assert order[1] == ("by the median, so at 1 of 2 sizes", "not reproduced")
    cwrnn, lstm, srn = (found for _, found in models)
    assert cwrnn == (
        "0.0700 +- 0.1126 (median 0.0060; 0 of 3 diverged)",
        "not reproduced",
    )
    assert lstm == (
        "0.0400 +- 0.0100 (median 0.0400; 0 of 3 diverged)",
        "reproduced",
    )
    # Near enough, but for one that diverged.
    assert srn == (
        "0.4600 +- 0.0141 (median 0.4600; 1 of 3 diverged)",
        "not reproduced",
    )


def test_words(claims):
    """The means of what did not diverge, by corpus and protocol."""

    def row(model, size, error, diverged=0, protocol="paper"):
        names = ["task", "protocol", "model", "size", "test_error", "diverged"]
        values = ["sample", protocol, model, size, error, diverged]
        return dict(zip(names, map(str, values)))

    rows = [
        *(row("cwrnn", 500, 0.3), row("lstm", 500, 0.4), row("srn", 500, 0.5)),
        *(row("cwrnn", 10000, 0.2), row("cwrnn", 10000, 0.3)),
        *(row("lstm", 10000, 0.2), row("srn", 10000, 0.3)),
        row("lstm", 10000, 0.9, diverged=1),
        *(
            row(model, 500, error, protocol="equal")
            for model, error in (("cwrnn", 0.1), ("lstm", 0.2), ("srn", 0.15))
        ),
    ]
    (_, paper), (_, equal) = claims.check_words(rows)
    assert paper == (
        "sample, paper protocol: so at 1 of 2 sizes tried; at 10000, CW-RNN "
        "25.0, LSTM 20.0, plain RNN 30.0 %",
        "not reproduced",
    )
    assert equal[0].startswith("sample, equal protocol: so at 1 of 1 sizes")
    assert equal[1] == "reproduced"


def test_parameters(claims):
    """(g + 1) / 2g of 8 groups."""
    _, (found, verdict) = claims.check_parameters()
    assert found.startswith("0.5625,") and verdict == "reproduced"


def test_memory(claims):
    """Of the rate that was chosen by validation, the longest delay learnt."""

    def rows(layer, delay, rate, valid, test):
        names = ["task", "layer", "delay", "rate", "valid", "test"]
        values = ["first", layer, delay, rate, valid]
        return [dict(zip(names, map(str, [*values, t]))) for t in test]

    given = [
        *rows("CW-RNN", 10, 0.1, 1.0, [0.9, 1.0, 0.2]),
        *rows("CW-RNN", 1, 0.1, 1.0, [0.9, 1.0, 1.0]),
        *rows("CW-RNN", 100, 0.1, 0.8, [1.0, 1.0, 1.0]),
        *rows("CW-RNN", 100, 0.3, 0.9, [0.8, 0.8, 1.0]),
        *rows("LSTM", 10, 0.1, 1.0, [0.8, 0.8, 1.0]),
        *rows("plain RNN", 10, 0.1, 1.0, [0.1, 0.1, 0.1]),
    ]
    ((_, (found, verdict)),) = claims.check_memory(given)
    assert found.endswith("tried: CW-RNN 10, LSTM none, plain RNN none")
    assert verdict == "reproduced"
    given += rows("LSTM", 10, 0.3, 1.1, [1.0, 1.0, 1.0])
    ((_, (found, verdict)),) = claims.check_memory(given)
    assert found.endswith("tried: CW-RNN 10, LSTM 10, plain RNN none")
    assert verdict == "not reproduced"
    # The rate that more networks have was chosen by the first of them.
    given += rows("plain RNN", 10, 0.3, 0.6, [0.9, 1.0, 0.2, 1.0])
    ((_, (found, _)),) = claims.check_memory(given)
    assert found.endswith("LSTM 10, plain RNN 10")


def test_nest(tmp_path):
    """Headings go down a level, pictures are found from above."""
    collect = importlib.import_module("collect")
    text = "\n    python study.py\n\n## sample\n\n![Errors](a.png)\n"
    assert collect.nest(text, "results/words") == (
        "    python study.py\n\n### sample\n\n![Errors](results/words/a.png)\n"
    )


class TestDamaged:
    """What studies have not written, or not to the end, is one sentence, and
    RESULTS.md stays as it was."""

    @pytest.fixture
    def collect(self, tmp_path, monkeypatch):
        """Collects what is in a copy of the results."""
        module = importlib.import_module("collect")
        for name in [name for *_, names in module.STUDIES for name in names]:
            (tmp_path / "results" / name).mkdir(parents=True)
            for path in (ROOT / "results" / name).glob("study.*"):
                shutil.copy(path, tmp_path / "results" / name)
        monkeypatch.setattr(module, "FOLDER", tmp_path / "results")
        (tmp_path / "RESULTS.md").write_text("before")
        return module

    def test_whole(self, collect, tmp_path):
        """What is not damaged is written."""
        collect.main()
        assert (tmp_path / "RESULTS.md").read_text() == collect.collect()

    @pytest.mark.parametrize(
        "change", ["gone", "folder", "", "\xff", "a,b\n1,2"]
    )
    @pytest.mark.parametrize(
        "name",
        [
            *("generation/study.csv", "words/study.csv", "memory/study.csv"),
            *("memory/study.md", "phonemes/study.md"),
        ],
    )
    def test_file(self, collect, tmp_path, name, change):
        """It is named."""
        path = tmp_path / "results" / name
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change != "gone":
            path.write_text(change, encoding="latin-1")
        with pytest.raises(InputError, match=f"^{path}: expected "):
            collect.main()
        assert (tmp_path / "RESULTS.md").read_text() == "before"

    @pytest.mark.parametrize(
        "study, column",
        [("generation", "nmse"), ("words", "test_error"), ("memory", "test")],
    )
    @pytest.mark.parametrize("text", ["x", "nan", "inf"])
    def test_cell(self, collect, tmp_path, study, column, text):
        """Each number is finite, where no network has diverged."""
        path = tmp_path / "results" / study / "study.csv"
        rows = read_csv(path)
        rows[3] |= (
            {column: text, "diverged": "0"}
            if study != "memory"
            else {column: text}
        )
        write_csv(path, list(rows[0]), [row.values() for row in rows])
        message = f"^{path}, row 4, {column}={text}: expected a (finite )?numb"
        with pytest.raises(InputError, match=message):
            collect.main()

    @pytest.mark.parametrize(
        "study, column, value",
        [
            *(("generation", "model", "lstm"), ("generation", "size", "1000")),
            *(("words", "model", "srn"), ("memory", "layer", "CW-RNN")),
        ],
    )
    def test_part(self, collect, tmp_path, study, column, value):
        """Networks that are not there are named."""
        path = tmp_path / "results" / study / "study.csv"
        rows = [row for row in read_csv(path) if row[column] != value]
        write_csv(path, list(rows[0]), [row.values() for row in rows])
        message = f"^{study}/study.csv: expected .* none of .*{value}"
        with pytest.raises(InputError, match=message):
            collect.main()


def test_readme():
    """The numbers of its table are those of RESULTS.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    table = readme[readme.index("| | error, in |") :]
    numbers = re.findall(r"\d+\.\d+", table[: table.index("\n\n")])
    assert len(numbers) >= 9
    for number in numbers:
        assert re.search(rf"[ [|]{re.escape(number)}[ ,|\]]", results), number


@pytest.mark.parametrize(
    "corpus, folder",
    [
        ("sample", "phonemes"),
        ("sample_relu", "phonemes-relu"),
        ("sample_folds", "phonemes-folds"),
        ("synthetic", "phonemes-synthetic"),
    ],
)
def test_ctc_readme(corpus, folder):
    """Its tables are those of the studies."""
    readme = ROOT / "recipes" / "TIMIT" / "ASR" / "CTC" / "README.md"
    _, _, table = readme.read_text().partition(f"<!-- {corpus} -->\n\n")
    table, _, _ = table.partition(f"\n<!-- /{corpus} -->")
    study = (ROOT / "results" / folder / "study.md").read_text()
    assert table.count("\n") > 3 and table in study
