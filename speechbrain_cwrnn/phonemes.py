"""The phonemes of TIMIT, and sets of fewer.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.checks import check_integer
from speechbrain_cwrnn.errors import InputError

# TIMIT's 61 labels. The glottal stop q is in none of the sets; the others are
# mapped as by Lee and Hon (1989): from 60 to 48, and those to 39.
LABELS = """
    aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er
    ey f g gcl h# hh hv ih ix iy jh k kcl l m n ng nx ow oy p pau pcl q r s sh
    t tcl th uh uw ux v w y z zh
""".split()
TO_48 = {
    **{"ax-h": "ax", "axr": "er", "em": "m", "eng": "ng", "hv": "hh"},
    **{"nx": "n", "ux": "uw", "h#": "sil", "pau": "sil"},
    **dict.fromkeys(["bcl", "dcl", "gcl"], "vcl"),
    **dict.fromkeys(["pcl", "tcl", "kcl"], "cl"),
}
TO_39 = {
    **{"ao": "aa", "ax": "ah", "ix": "ih", "el": "l", "en": "n", "zh": "sh"},
    **dict.fromkeys(["cl", "vcl", "epi"], "sil"),
}


def map_phonemes(labels, phn_set):
    """TIMIT's labels as phonemes of one of the smaller sets.

    Arguments
    ---------
    labels : list of str
        Some of TIMIT's 61.
    phn_set : {60, 48, 39}
        The set. Silences that follow each other are merged, except in the
        set of 60, which has several kinds.

    Returns
    -------
    list of str
        The phonemes; q is left out.

    Example
    -------
    >>> map_phonemes(["h#", "q", "ao", "tcl", "t", "pau", "h#"], 39)
    ['sil', 'aa', 'sil', 't', 'sil']
    """
    if phn_set not in (60, 48, 39):
        raise InputError(f"phn_set={phn_set}: expected 60, 48 or 39.")
    if isinstance(labels, str):
        raise InputError(f"labels={labels!r}: expected a list of them.")
    unknown = [label for label in labels if label not in LABELS]
    if unknown:
        raise InputError(f"expected TIMIT's 61 labels, got {unknown[0]!r}.")
    phonemes = [label for label in labels if label != "q"]
    if phn_set <= 48:
        phonemes = [TO_48.get(phoneme, phoneme) for phoneme in phonemes]
    if phn_set == 39:
        phonemes = [TO_39.get(phoneme, phoneme) for phoneme in phonemes]
    return [
        phoneme
        for before, phoneme in zip([None, *phonemes], phonemes)
        if not before == phoneme == "sil"
    ]


class PhonemeTokenizer:
    """Numbers for phonemes, with 0 left to the blank of CTC.

    It has the methods of SentencePiece's processor that CTC needs, so that
    `EncoderASR` takes it for a tokenizer.

    Arguments
    ---------
    phn_set : {60, 48, 39}
        The set of phonemes. Its order is alphabetical.

    Example
    -------
    >>> tokenizer = PhonemeTokenizer(39)
    >>> tokenizer.encode_as_ids("sil sh iy")
    [31, 30, 18]
    >>> tokenizer.decode_ids([31, 30, 18])
    'sil sh iy'
    """

    def __init__(self, phn_set=39):
        phonemes = {
            p for label in LABELS for p in map_phonemes([label], phn_set)
        }
        self.phonemes = ["<blank>", *sorted(phonemes)]
        self.numbers = {p: n for n, p in enumerate(self.phonemes)}

    def encode_as_ids(self, text):
        """The numbers of phonemes that are separated by spaces."""
        if not isinstance(text, str):
            raise InputError(
                f"text={text!r}: expected a string of phonemes with spaces."
            )
        phonemes = text.split()
        for phoneme in phonemes:
            if phoneme not in self.numbers:
                known = " ".join(self.phonemes[1:])
                raise InputError(f"expected some of {known}, got {phoneme}.")
        return [self.numbers[phoneme] for phoneme in phonemes]

    def decode_ids(self, ids):
        """The phonemes of numbers, separated by spaces."""
        numbers = [check_integer("ids", number, least=0) for number in ids]
        largest = len(self.phonemes) - 1
        if any(number > largest for number in numbers):
            raise InputError(f"ids={numbers}: expected at most {largest}.")
        return " ".join(self.phonemes[number] for number in numbers)
