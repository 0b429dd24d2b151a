"""The tutorial runs, and shows what it is committed with.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def shown(cell):
    """What a cell prints, and the kinds of its pictures.

    Numbers with decimals depend on the machine.
    """
    outputs = cell.get("outputs", [])
    printed = "".join(o.text for o in outputs if "text" in o)
    pictures = [sorted(o.data) for o in outputs if "data" in o]
    return re.sub(r"\d+\.\d+", "...", printed), pictures


@pytest.mark.slow
def test_runs(tmp_path):
    """From top to bottom, anywhere, and leaves nothing behind."""
    assert TUTORIAL.stat().st_size < 300_000
    committed = nbformat.read(TUTORIAL, as_version=4)
    notebook = copy.deepcopy(committed)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, resources=resources).execute()
    for now, before in zip(notebook.cells, committed.cells):
        assert shown(now) == shown(before), now.source
    text = str(notebook)
    for result in (r"unheard voices: ([\d.]+) %", r"mean ([\d.]+) %"):
        (error,) = re.findall(result, text)
        assert float(error) < 40
    assert not list(tmp_path.iterdir())
