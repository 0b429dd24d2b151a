"""The binding of espeak-ng."""

import numpy as np
import pytest
from helpers import recipe_modules


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
