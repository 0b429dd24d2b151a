"""What is said about the package in several places is the same.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import re
import subprocess
import sys
from pathlib import Path

from speechbrain_cwrnn import __version__

ROOT = Path(__file__).parent.parent


def test_version():
    """What pip installs, and the newest entry in the changelog."""
    run = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split()[-1:] == [__version__], run.stderr
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *_ = re.findall(r"^## \[(.*)\]", changelog, re.MULTILINE)
    released, dev, _ = __version__.partition(".dev")
    assert newest == ("Unreleased" if dev else released)


def test_oldest_versions():
    """The lower bounds of setup.py are the versions that CI runs with."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    oldest = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    promised = re.findall(r'"(\w+)>=([\d.]+)[,"]', setup)
    tested = re.findall(r"^(\w+)==([\d.]+)$", oldest, re.MULTILINE)
    assert len(promised) > 1 and tested == promised
