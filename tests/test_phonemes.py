"""Phonemes as the units of CTC; the mapping is tested with the preparation."""

import pytest

from speechbrain_cwrnn.phonemes import PhonemeTokenizer, map_phonemes


@pytest.mark.parametrize("phn_set", [60, 48, 39])
def test_tokenizer(phn_set):
    """As many units as phonemes, none is the blank, and back again."""
    tokenizer = PhonemeTokenizer(phn_set)
    text = " ".join(tokenizer.phonemes[1:])
    numbers = tokenizer.encode_as_ids(text)
    assert numbers == list(range(1, phn_set + 1))
    assert tokenizer.decode_ids(numbers) == text
    assert tokenizer.decode_ids([]) == ""


def test_unknown_set():
    """It names those that there are."""
    with pytest.raises(ValueError, match="phn_set=50: expected 60, 48 or 39"):
        PhonemeTokenizer(50)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda t: t.decode_ids([-1]), "ids=-1: expected an integer, 0 or m"),
        (
            lambda t: t.decode_ids([1, 40]),
            r"ids=\[1, 40\]: expected at most 39",
        ),
        (lambda t: t.decode_ids([1.0]), "ids=1.0: expected an integer"),
        (
            lambda t: t.encode_as_ids(["sh"]),
            r"text=\['sh'\]: expected a string",
        ),
        (lambda t: t.encode_as_ids("sh xx"), "expected some of aa .*, got xx"),
        (
            lambda t: map_phonemes("sh iy", 39),
            "labels='sh iy': expected a list",
        ),
        (lambda t: map_phonemes(["xx"], 39), "TIMIT's 61 labels, got 'xx'"),
    ],
)
def test_bad_input(call, message):
    """One sentence."""
    with pytest.raises(ValueError, match=message):
        call(PhonemeTokenizer(39))
