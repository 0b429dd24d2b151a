"""The binding of espeak-ng."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import RECIPES, recipe_modules


@pytest.fixture(scope="module")
def espeak():
    """The module, as the folder of the recipe sees it."""
    with recipe_modules("TIMIT", "espeak") as modules:
        yield modules.espeak


def test_speech(espeak):
    """Samples, and phonemes with the place of their word and their start."""
    ((one, events), (two, _)) = espeak.speak(
        "en-us+m1", (150, 50, 50), ["Eat it.", "Yes."]
    )
    assert one.dtype == two.dtype == np.int16
    assert 0.3 < len(one) / espeak.SAMPLE_RATE < 2
    phonemes, words, starts = zip(*events)
    assert [p.lstrip("',") for p in phonemes[:4]] == ["i:", "t", "I", "t"]
    assert words[:4] == (1, 1, 5, 5)
    assert list(starts) == sorted(starts) and starts[-1] <= len(one)


def test_settings(espeak):
    """They reach the library."""
    espeak.speak("en+m1", (150, 40, 60), ["Yes."])
    library = espeak.load_espeak()
    settings = [library.espeak_GetParameter(n, 1) for n in (1, 3, 4)]
    assert settings == [150, 40, 60]


def test_unknown_voice(espeak):
    """An error of the library is not passed over."""
    with pytest.raises(RuntimeError, match="VoiceByName .* for xx-xx"):
        espeak.speak("xx-xx", (150, 50, 50), ["Yes."])


def test_version(espeak):
    """That of the library."""
    assert espeak.version().startswith("1.")


def test_deep_folder(tmp_path):
    """It speaks, wherever its data are; there is one library per process."""
    package = pytest.importorskip("espeakng_loader")
    folder = tmp_path / ("deep" * 50)
    folder.mkdir()
    (folder / "espeak-ng-data").symlink_to(package.get_data_path())
    script = f"""
import espeak, espeakng_loader
espeakng_loader.get_data_path = lambda: {str(folder / "espeak-ng-data")!r}
((samples, _),) = espeak.speak("en-gb-x-rp+f1", (150, 50, 50), ["Yes."])
print(len(samples))
"""
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=RECIPES / "TIMIT",
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(output.stdout) > 5000


def test_deep_folder_elsewhere(espeak, tmp_path):
    """Where a folder has no other name, one sentence tells why."""
    none = tmp_path / "none"
    assert espeak.short_path("x" * 159, none) == b"x" * 159
    with pytest.raises(
        ValueError, match="xx: expected a path of less than 160"
    ):
        espeak.short_path("x" * 160, none)
