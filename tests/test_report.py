"""Whole files, tables and figures."""

import numpy as np
import pytest

from speechbrain_cwrnn.report import save_figure, summarize, whole_file


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

    def test_figure(self, tmp_path):
        """A figure is written as PNG whatever its name, and closed."""
        import matplotlib.pyplot as plt

        figure = plt.figure()
        save_figure(figure, tmp_path / "picture")
        assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
        assert not plt.fignum_exists(figure.number)


@pytest.mark.filterwarnings("error")
def test_summary_of_few():
    """What is not defined is not made up."""
    assert summarize(np.array([0.5]))[2:4] == ["0.5000", "-"]
    assert summarize(np.array([np.nan, np.nan])) == ["2", "2", *"-----"]
