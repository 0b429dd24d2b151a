"""Find examples of words in a copy of TIMIT, and describe them in manifests.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import random
from collections import Counter
from pathlib import Path

from timit_prepare import (
    SA,
    SAMPLE_RATE,
    check_audio,
    count_samples,
    find_corpus,
    find_utterances,
    is_prepared,
    read_segments,
    write_manifests,
)
from tqdm import tqdm

from speechbrain_cwrnn.errors import InputError


def prepare_words(
    data_folder,
    save_json_train,
    save_json_test,
    words,
    num_train=5,
    num_test=2,
    seed=0,
    in_use=False,
):
    """Write manifests of examples of words, cut by the times in .WRD files.

    The examples come from TRAIN and TEST alike, of different speakers as far
    as there are. A seed draws an order of the speakers, the same for all words:
    the first of those who say a word are to learn from, the next for the test.
    So words that all speakers say are split by speaker, and those for the test
    with a smaller num_train are still among those to learn from with a larger
    one. All is checked before anything is written, and nothing is written
    where the manifests are there, made with the same options.

    Arguments
    ---------
    data_folder : str
        A copy of TIMIT.
    save_json_train : str
        The manifest of the examples for training.
    save_json_test : str
        That of those for the test.
    words : list
        The words, or lists of them; or "sa", for all of the sentences SA1 and
        SA2, which all speakers read.
    num_train : int
        Examples of each word for training.
    num_test : int
        Examples of each word for the test.
    seed : int
        Another seed draws other examples.
    in_use : bool
        Whether something was trained with the manifests that are there, so
        that writing others is an error, unless the data have only moved.

    Returns
    -------
    bool
        Whether anything was written.
    """
    words = [word for group in group_words(words) for word in group]
    if num_train < 1 or num_test < 1:
        raise InputError(
            f"num_train={num_train}, num_test={num_test}: expected at least 1."
        )
    manifests = [save_json_train, save_json_test]
    options = {
        "data_folder": str(Path(data_folder).absolute()),
        "words": words or "sa",
        "num_train": num_train,
        "num_test": num_test,
        "seed": seed,
    }
    if is_prepared(manifests, options):
        check_audio(manifests)
        return False
    examples = find_words(data_folder, words)
    number = num_train + num_test
    lacking = {w: len(e) for w, e in examples.items() if len(e) < number}
    if lacking:
        counts = ", ".join(f"{word} {n}" for word, n in lacking.items())
        raise InputError(
            f"words: expected at least {number} examples of each in "
            f"{data_folder} (as `--words sa` has, of all speakers), found "
            f"{counts}."
        )
    train, test = {}, {}
    for word, found in examples.items():
        chosen = order_examples(found, f"{seed} {word}", seed)
        train.update(chosen[:num_train])
        test.update(chosen[num_train:number])
    write_manifests(manifests, [train, test], options, in_use)
    return True


def group_words(words):
    """The words in their groups, which are checked.

    Arguments
    ---------
    words : list
        The words, or lists of them, or "sa".

    Returns
    -------
    list
        Lists of words in lower case, one list where there were no groups; none
        for "sa", whose words the data tell.

    Example
    -------
    >>> group_words(["Making", "subway"])
    [['making', 'subway']]
    """
    if words == "sa":
        return []
    if not isinstance(words, list) or not words:
        raise InputError(
            f"words={words}: expected a list of words, lists of them, or sa."
        )
    groups = words if isinstance(words[0], list) else [words]
    for group in groups:
        for word in group if isinstance(group, list) else [group]:
            is_word = isinstance(word, str) and word.split() == [word]
            if not isinstance(group, list) or not is_word:
                raise InputError(
                    f"words: expected words, or lists of words, got {word!r} "
                    f"(YAML takes some words for values: put it in quotes)."
                )
    groups = [[word.lower() for word in group] for group in groups]
    counts = Counter(word for group in groups for word in group)
    twice = [word for word, number in counts.items() if number > 1]
    if twice:
        raise InputError(f"words: expected each word once, got {twice} twice.")
    if len(counts) < 2:
        raise InputError(f"words={words}: expected at least two words.")
    return groups


def find_words(data_folder, words):
    """All examples of words, as pairs of name and manifest entry; where no
    words are given, those of the sentences that all speakers read."""
    examples = {word: [] for word in words}
    utterances = find_utterances(find_corpus(data_folder))
    if not words:
        utterances = [u for u in utterances if u.sentence in SA]
        if not utterances:
            raise InputError(
                f"words=sa: expected recordings of SA1 and SA2 in "
                f"{data_folder}, found none."
            )
    for utterance in tqdm(utterances, desc="words", unit="file"):
        length = count_samples(utterance.wav)
        for start, stop, word in read_segments(utterance, ".wrd", length):
            word = word.lower()
            if word in words or not words:
                entry = {
                    "wav": str(utterance.wav),
                    "start": start,
                    "stop": stop,
                    "duration": (stop - start) / SAMPLE_RATE,
                    "word": word,
                    "spk_id": utterance.speaker,
                }
                name = f"{word}_{utterance.id}_{start}"
                examples.setdefault(word, []).append((name, entry))
    if words:
        return examples
    # Somebody may have read another word.
    speakers = {utterance.speaker for utterance in utterances}
    return {
        word: found
        for word, found in sorted(examples.items())
        if len(found) > len(speakers) / 2
    }


def order_examples(examples, own_seed, seed):
    """The examples of a word in the order in which they are taken: one of each
    speaker, then another one of each, and so on."""
    ranked, times = [], Counter()
    for name, entry in random.Random(own_seed).sample(examples, len(examples)):
        speaker = entry["spk_id"]
        place = random.Random(f"{seed} {speaker}").random()
        ranked.append((times[speaker], place, name, entry))
        times[speaker] += 1
    ranked.sort(key=lambda example: example[:2])
    return [(name, entry) for _, _, name, entry in ranked]
