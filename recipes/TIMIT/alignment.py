"""Words and phones of a sentence and their times, from espeak-ng's events.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import re

import numpy as np

from speechbrain_cwrnn.errors import InputError

# TIMIT's labels for the phonemes of espeak-ng, without their stress.
PHONES = {
    # Stops and affricates, with their closures
    **{"b": "bcl b", "d": "dcl d", "g": "gcl g", "p": "pcl p", "k": "kcl k"},
    **{"t": "tcl t", "t2": "tcl t", "t[": "tcl t", "t#": "dx", "?": "q"},
    **{"tS": "tcl ch", "dZ": "dcl jh"},
    # Fricatives
    **{"f": "f", "v": "v", "T": "th", "D": "dh", "s": "s", "z": "z"},
    **{"S": "sh", "Z": "zh", "h": "hh"},
    # Nasals, liquids and glides
    **{"m": "m", "n": "n", "n-": "en", "N": "ng", "l": "l", "@L": "el"},
    **{"r": "r", "r-": "r", "w": "w", "w#": "w", "j": "y", ";": "y"},
    # Vowels
    **{"i:": "iy", "i": "iy", "I": "ih", "I2": "ix", "I#": "ix", "E": "eh"},
    **{"a": "ae", "aa": "ae", "A:": "aa", "A@": "aa", "0": "aa", "V": "ah"},
    **{"O:": "ao", "O2": "ao", "O@": "ao", "o@": "ao", "U": "uh", "u:": "uw"},
    **{"3:": "er", "IR": "er", "VR": "er", "3": "ax", "a#": "ax", "@": "ax"},
    **{"@-": "ax", "@2": "ax", "@5": "ax", "e@": "eh", "i@3": "ih", "U@": "uh"},
    # Diphthongs
    **{"eI": "ey", "aI": "ay", "aI2": "ay", "aI3": "ay", "OI": "oy"},
    **{"aU": "aw", "oU": "ow", "aI@": "ay ax", "i@": "iy ax"},
}
# What differs in an accent: only the American one has the r of "far", "bird",
# "near"; the "a" of "after" is long in the south of England.
PHONES_OF_ACCENT = {
    "en": {"aa": "aa"},
    "en-gb-x-rp": {"aa": "aa"},
    "en-us": {
        **{"3": "axr", "aI3": "ay axr", "A@": "aa r", "O@": "ao r"},
        **{"o@": "ao r", "e@": "eh r", "i@3": "ih r", "U@": "uh r"},
    },
}

# In samples at the rate of espeak-ng: 5, 59 and 30 ms.
MIN_CLOSURE, MAX_CLOSURE, MIN_LIQUID = 110, 1300, 660


def align(text, samples, events, phones):
    """Words and phones of a sentence, and when they are spoken.

    Arguments
    ---------
    text : str
        The sentence.
    samples : numpy.ndarray
        The speech [T], with silence before and after.
    events : list
        The phonemes: mnemonic, position of their word in the text (from 1),
        and first sample.
    phones : dict
        TIMIT's labels for each mnemonic.

    Returns
    -------
    words : list
        First sample, first one thereafter, and word.
    phones : list
        First sample, first one thereafter, and label.

    Example
    -------
    >>> samples = np.repeat([0, 1, 0, 1, 0], 1000)
    >>> events = [("'i:", 1, 1000), ("t", 1, 3000), ("_:", 5, 4000)]
    >>> words, phones = align("Eat.", samples, events, PHONES)
    >>> words
    [(1000, 4000, 'eat')]
    >>> [f"{start} {what}" for start, stop, what in phones]
    ['0 h#', '1000 iy', '2000 tcl', '3000 t', '4000 h#']
    """
    segments = []
    spans = find_spans(text, samples, events, phones)
    for (start, labels, word), (stop, *_) in zip(
        spans, [*spans[1:], (len(samples),)]
    ):
        bounds = np.linspace(start, stop, len(labels) + 1).astype(int).tolist()
        for start, stop, what in zip(bounds, bounds[1:], labels):
            if segments and segments[-1][2:] == (what, word):
                # The r of "near" and the one after it are one in "nearing".
                start = segments.pop()[0]
            segments.append((start, stop, what, word))

    words = {m.start() + 1: m[0] for m in re.finditer(r"\w+", text.lower())}
    times = {}
    for start, stop, _, word in segments:
        if word is not None:
            times[word] = (times.get(word, (start,))[0], stop)
    if list(times) != list(words):
        raise InputError(
            f"text={text!r}: expected words that espeak-ng speaks one by one."
        )
    return (
        [(*times[position], word) for position, word in words.items()],
        [segment[:3] for segment in segments],
    )


def find_spans(text, samples, events, phones):
    """The spans of the phonemes, and what is in them.

    Arguments
    ---------
    text, samples, events, phones :
        As those of `align`.

    Returns
    -------
    list
        First sample, labels, and position of the word (from 1), None for
        silence. A span ends where the next one starts.
    """
    spans = [(0, ["h#"], None)]
    stops = [start for _, _, start in events[1:]] + [len(samples)]
    for (mnemonic, word, start), stop in zip(events, stops):
        mnemonic = mnemonic.lstrip("',%=")
        before, _, word_before = spans[-1]
        if mnemonic.startswith("_"):
            if stop > start and word_before is not None:
                spans.append((start, ["pau"], None))
            continue
        if mnemonic not in phones:
            raise InputError(
                f"text={text!r}: expected phonemes that TIMIT has labels for, "
                f"got {mnemonic!r} of espeak-ng."
            )
        labels = phones[mnemonic].split()
        if labels[0].endswith("cl"):
            # Where the closure is silent, the event is at its end.
            sound = np.flatnonzero(samples[before:start])
            silence = start - before - (sound[-1] + 1 if len(sound) else 0)
            if not len(sound):
                silence //= 2
            if silence >= MIN_CLOSURE:
                closure = start - min(silence, MAX_CLOSURE)
                spans.append((closure, [labels.pop(0)], word))
        spans.append((start, labels, word))
    spans[-1] = (spans[-1][0], ["h#"], None)

    merged = []
    for span, (stop, *_) in zip(spans, [*spans[1:], (len(samples),)]):
        start, labels, word = span
        if (
            labels[0] in ("l", "r")
            and stop - start < MIN_LIQUID
            and word == merged[-1][2]
        ):
            # After a vowel it is part of that, mostly or at all.
            merged[-1][1].extend(labels)
        else:
            merged.append(span)
    return merged
