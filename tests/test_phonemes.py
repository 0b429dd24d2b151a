"""Phonemes as the units of CTC; the mapping is tested with the preparation."""

import pytest

from speechbrain_cwrnn.phonemes import PhonemeTokenizer


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
