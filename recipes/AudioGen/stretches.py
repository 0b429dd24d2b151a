"""Stretches of TIMIT's sentences that are voiced, or are not.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
import random
from collections import defaultdict

from timit_prepare import (
    count_samples,
    find_corpus,
    find_utterances,
    read_segments,
)

from speechbrain_cwrnn.errors import InputError

# 20 ms: two to four periods of most voices, and as many samples as the paper's
# targets have.
LENGTH = 320
# Full vowels, and the fricatives without voice.
PHONES = {
    "voiced": "iy ih eh ey ae aa ah ao aw ay ow oy uh uw ux er".split(),
    "unvoiced": "s sh f th".split(),
}


def choose_stretches(data_folder, kind, number=5, seed=0):
    """The middle of phones of different speakers.

    Arguments
    ---------
    data_folder : str
        A copy of TIMIT, or NLTK's sample of it.
    kind : {"voiced", "unvoiced"}
        Of which phones.
    number : int
        How many.
    seed : int
        Of the choice of the speakers, and of one phone of each.

    Returns
    -------
    dict
        A manifest for train.py.
    """
    places = defaultdict(list)
    for utterance in find_utterances(find_corpus(data_folder)):
        length = count_samples(utterance.wav)
        # The last phone may end after the audio.
        for start, stop, phone in read_segments(utterance, ".phn", math.inf):
            first = (start + min(stop, length) - LENGTH) // 2
            if phone in PHONES[kind] and first >= start:
                name = f"{phone}_{utterance.id}"
                places[utterance.speaker].append((name, utterance.wav, first))
    if len(places) < number:
        raise InputError(
            f"--sample {data_folder}: expected {number} speakers with {kind} "
            f"phones of at least {LENGTH} samples, found {len(places)}."
        )
    chooser = random.Random(seed)
    chosen = [
        chooser.choice(places[speaker])
        for speaker in sorted(chooser.sample(sorted(places), number))
    ]
    return {
        name: {"wav": str(wav), "start": first, "stop": first + LENGTH}
        for name, wav, first in chosen
    }
