"""Words, phones and their times, from the events of espeak-ng."""

import doctest

import numpy as np
import pytest
from helpers import recipe_modules


@pytest.fixture(scope="module")
def alignment():
    """The module, as the folder of the recipe sees it."""
    with recipe_modules("TIMIT", "alignment") as modules:
        yield modules.alignment


def test_docstrings(alignment):
    """Their examples run."""
    failures, attempted = doctest.testmod(alignment)
    assert attempted >= 3 and not failures


class TestLabels:
    """From the events of espeak-ng to those of TIMIT's files."""

    @pytest.fixture
    def labels(self, alignment):
        """Phones of events (mnemonic, position of the word, first sample),
        in speech that is silent where told."""

        def label(text, events, silent=(), accent="en"):
            samples = np.ones(10000)
            for start, stop in [(0, 1000), (8000, 10000), *silent]:
                samples[start:stop] = 0
            phones = alignment.PHONES | alignment.PHONES_OF_ACCENT[accent]
            events = [*events, ("_:", len(text), 8000), ("_", 9, 9000)]
            words, phones = alignment.align(text, samples, events, phones)
            return words, [(start, what) for start, _, what in phones[1:-1]]

        return label

    def test_closures(self, labels):
        """In the silence before the event if there is some, not too much."""
        events = [("a", 1, 1000), ("t", 1, 3000), ("i:", 1, 4000)]
        two = [(1000, "ae"), (3000, "tcl"), (3500, "t"), (4000, "iy")]
        assert labels("x.", events)[1] == two
        assert labels("x.", events, [(2950, 3000)])[1] == two
        two[1:3] = [(2600, "tcl"), (3000, "t")]
        assert labels("x.", events, [(2600, 3000)])[1] == two
        two[1] = (1700, "tcl")
        assert labels("x.", events, [(1200, 3000)])[1] == two

    def test_closure_after_pause(self, labels):
        """It leaves at least half of the pause."""
        events = [("a", 1, 1000), ("_:", 2, 3000), ("tS", 4, 3500)]
        words, phones = labels("x, x.", events, [(3000, 3500)])
        assert phones[1:] == [(3000, "pau"), (3250, "tcl"), (3500, "ch")]
        assert words == [(1000, 3000, "x"), (3250, 8000, "x")]

    def test_empty_pause(self, labels):
        """It is none."""
        events = [("a", 1, 1000), ("_", 2, 3000), ("s", 3, 3000)]
        assert labels("x x.", events)[1] == [(1000, "ae"), (3000, "s")]

    def test_liquids(self, labels):
        """One that has no time of its own takes half of the vowel's."""
        events = [("oU", 1, 1000), ("l", 1, 3000), ("z", 1, 3400)]
        shared = [(1000, "ow"), (2200, "l"), (3400, "z")]
        assert labels("x.", events)[1] == shared
        events[2] = ("z", 1, 3000)
        assert labels("x.", events)[1][1:] == [(2000, "l"), (3000, "z")]
        events[2] = ("z", 1, 4000)
        assert labels("x.", events)[1][1] == (3000, "l")
        events[1:] = [("l", 3, 3000), ("z", 3, 3400)]
        assert labels("x x.", events)[1][1] == (3000, "l")

    def test_accents(self, labels):
        """The r of "near" is spoken in America, and but once in "nearing"."""
        events = [("'n", 1, 1000), (",i@3", 1, 3000), ("r", 1, 4000)]
        ih_r = [(1000, "n"), (3000, "ih"), (3500, "r")]
        assert labels("x.", events, accent="en-us")[1] == ih_r
        assert labels("x.", events)[1] == [*ih_r[:2], (4000, "r")]
        assert labels("x.", [("aa", 1, 1000)])[1] == [(1000, "aa")]
        assert labels("x.", [("aa", 1, 1000)], accent="en-us")[1] == [
            (1000, "ae")
        ]

    def test_unknown_phoneme(self, labels):
        """It is not dropped."""
        with pytest.raises(ValueError, match="'x.': expected .* got 'R2' of"):
            labels("x.", [("'R2", 1, 1000)])

    @pytest.mark.parametrize("text", ["x x.", "x, x x."])
    def test_words_that_run_together(self, labels, text):
        """It is not known where the second one starts."""
        events = [("a", 1, 1000), ("s", 1, 3000)]
        with pytest.raises(ValueError, match="speaks one by one"):
            labels(text, events)
