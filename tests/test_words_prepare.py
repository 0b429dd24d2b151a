"""The manifests of words, from any copy of TIMIT."""

import doctest
import json
import shutil
from collections import Counter

import pytest
from tiny_timit import (
    SENTENCES,
    TEST_SPEAKERS,
    TRAIN_SPEAKERS,
    check_word,
    read,
    state,
)

pytest_plugins = "timit_fixtures"


def test_docstrings(prepare):
    """Their examples run."""
    failures, attempted = doctest.testmod(prepare.words_prepare)
    assert attempted >= 1 and not failures


class TestExamples:
    """Which examples of words are taken, and how they are cut."""

    def test_cut_by_the_times(self, words, out, timit):
        """The audio of an example is that of its word, from end to end."""
        chosen = ["making", "subway", "lucky", "rare", "odd", "she"]
        words(timit, words=chosen)
        manifests = read(out)
        entries = {**manifests["train"], **manifests["test"]}
        assert len(entries) == 7 * len(chosen)
        for entry in entries.values():
            check_word(entry)

    @pytest.mark.parametrize(
        "options, train, test",
        [({}, 5, 2), ({"num_train": 3}, 3, 2), ({"num_test": 4}, 5, 4)],
    )
    def test_numbers(self, words, out, timit, options, train, test):
        """So many examples of each word, by default 5 and 2."""
        assert words(timit, **options) is True
        for name, number in (("train", train), ("test", test)):
            counts = Counter(e["word"] for e in read(out)[name].values())
            assert counts == {"making": number, "subway": number}

    def test_all_examples(self, words, out, timit):
        """Exactly as many as there are is enough, also for all of them."""
        words(timit, words=["rare", "making"], num_train=7, num_test=1)
        manifests = read(out)
        entries = [*manifests["train"].values(), *manifests["test"].values()]
        rare = {
            (entry["spk_id"], entry["start"])
            for entry in entries
            if entry["word"] == "rare"
        }
        assert rare == {
            (s.speaker, start)
            for s in SENTENCES
            for start, _, word, _ in s.words
            if word.lower() == "rare"
        }

    def test_speakers_differ(self, words, out, timit):
        """Of TRAIN and TEST alike, all different where there are enough."""
        seen = set()
        for seed in range(12):
            words(timit, words=["making", "lucky"], seed=seed)
            manifests = read(out)
            speakers = {"making": [], "lucky": []}
            for entries in manifests.values():
                for entry in entries.values():
                    speakers[entry["word"]].append(entry["spk_id"])
            for names in speakers.values():
                assert len(set(names)) == len(names) == 7
            # No others say this word, and one says it five times.
            assert {*speakers["lucky"]} == {*TRAIN_SPEAKERS, "mdab0", "fpas0"}
            seen |= set(speakers["making"])
        assert seen == {*TRAIN_SPEAKERS, *TEST_SPEAKERS}

    def test_speakers_repeat(self, words, out, timit):
        """As seldom as they can, and later than all others come."""
        for seed in range(20):
            words(timit, words=["odd", "rare"], seed=seed)
            manifests = read(out)
            counts = {"odd": Counter(), "rare": Counter()}
            for entries in manifests.values():
                for entry in entries.values():
                    counts[entry["word"]][entry["spk_id"]] += 1
            assert sorted(counts["odd"].values()) == [1] * 5 + [2]
            assert sorted(counts["rare"].values()) == [1, 2, 2, 2]
            (twice,) = (s for s, n in counts["odd"].items() if n == 2)
            of_odd = [
                entry["spk_id"]
                for name in ("train", "test")
                for entry in manifests[name].values()
                if entry["word"] == "odd"
            ]
            assert of_odd[0] == of_odd[6] == twice

    def test_none_in_both(self, words, out, timit):
        """What is tested was not trained on, also where speakers repeat."""
        for seed in range(10):
            words(timit, words=["odd", "rare", "making"], seed=seed)
            manifests = read(out)
            train, test = (
                {(e["wav"], e["start"]) for e in manifests[name].values()}
                for name in ("train", "test")
            )
            assert (len(train), len(test)) == (15, 6)
            assert not train & test

    def test_seed(self, words, out, timit):
        """It alone decides what is drawn."""
        drawn = []
        for seed in (0, 1, 0):
            words(timit, seed=seed)
            drawn.append(read(out))
            shutil.rmtree(out)
        assert drawn[0] == drawn[2] != drawn[1]
        words(timit)
        assert read(out) == drawn[0]

    def test_words_are_independent(self, words, out, timit):
        """The examples of a word are the same, whatever the others."""

        def of_word(word):
            return {
                (name, key): entry
                for name, entries in read(out).items()
                for key, entry in entries.items()
                if entry["word"] == word
            }

        words(timit, words=["making", "subway"])
        making, subway = of_word("making"), of_word("subway")
        words(timit, words=["rare", "subway", "odd", "making"])
        assert making == of_word("making") and subway == of_word("subway")

    def test_split_by_speaker(self, words, out, timit):
        """Where all speakers say all words, none is in both, whichever of them
        are drawn; and fewer examples to learn from are some of the others."""
        splits = set()
        for seed in range(5):
            of_seed = []
            for num_train in (4, 5):
                words(timit, num_train=num_train, seed=seed)
                train, test = (
                    [entry["spk_id"] for entry in read(out)[name].values()]
                    for name in ("train", "test")
                )
                # Of two words.
                for speakers, number in ((train, num_train), (test, 2)):
                    assert [*Counter(speakers).values()] == [2] * number
                assert not {*train} & {*test}
                of_seed.append(train)
            assert {*of_seed[0]} < {*of_seed[1]}
            splits.add(tuple(sorted({*train})))
        assert len(splits) > 1

    def test_sentences_of_all(self, words, out, timit, timit_sample):
        """What all speakers read, and of it what more than half of them did."""
        for folder in (timit, timit_sample):
            assert words(folder, words="sa") is True
            manifests = read(out)
            assert {e["word"] for e in manifests["train"].values()} == {
                *("she", "had", "your", "dark", "suit")
            }
            for name, number in (("train", 5), ("test", 2)):
                entries = manifests[name].values()
                assert {*Counter(e["word"] for e in entries).values()} == {
                    number
                }
                assert {*Counter(e["spk_id"] for e in entries).values()} == {5}
                assert all(entry["wav"][-7:-4] in "sa1SA1" for entry in entries)
            assert words(folder, words="sa") is False

    @pytest.mark.parametrize(
        "same",
        [
            [["making", "subway"], ["odd", "rare"]],
            [["making"], ["subway", "odd", "rare"]],
            ["MAKING", "Subway", "odd", "RARE"],
            [["Making", "SUBWAY", "Odd", "Rare"]],
        ],
    )
    def test_lists(self, words, out, timit, same):
        """In groups or not, and in any case, they are the same words."""
        words(timit, words=same)
        manifests, before = read(out), state(out)
        assert words(timit, words=["making", "subway", "odd", "rare"]) is False
        assert state(out) == before
        shutil.rmtree(out)
        words(timit, words=["making", "subway", "odd", "rare"])
        assert read(out) == manifests

    def test_groups(self, prepare):
        """The words in the groups that they are given in, or in one."""
        group_words = prepare.words_prepare.group_words
        assert group_words(["A", "b"]) == [["a", "b"]]
        assert group_words([["A", "b"], ["C"]]) == [["a", "b"], ["c"]]


class TestRewriting:
    """Manifests are written when they have to be."""

    @pytest.mark.parametrize(
        "options",
        [
            {"words": ["making", "odd"]},
            {"words": ["subway", "making"]},
            {"num_train": 4},
            {"num_test": 1},
            {"seed": 5},
        ],
    )
    def test_other_options(self, words, out, timit, options):
        """Other words, another order of them, other numbers or seeds."""
        words(timit)
        before, manifests = state(out), read(out)
        assert words(timit, **options) is True
        assert all(state(out)[name] != time for name, time in before.items())
        assert read(out) != manifests or "words" in options
        ((name, _),) = options.items()
        for path in out.glob("*_options.json"):
            noted = json.loads(path.read_text())["options"]
            assert noted[name] == options[name]
        assert words(timit, **options) is False

    def test_another_copy(self, words, out, linked):
        """They point to that one."""
        words(linked)
        other = linked.rename(linked.with_name("other"))
        assert words(other) is True
        entries = [e for m in read(out).values() for e in m.values()]
        assert all(entry["wav"].startswith(f"{other}/") for entry in entries)


class TestBadInput:
    """One clear sentence, and no manifest."""

    @pytest.mark.parametrize(
        "listed, message",
        [
            (["making", "subways", "rare"], "8 examples .* found subways 0.$"),
            (["lucky", "Lacking", "she"], "found lacking 0.$"),
            (["making", "don't", "suitor", "Suits"], "suitor 0, suits 0.$"),
        ],
    )
    def test_not_in_the_data(self, refused, words, timit, listed, message):
        """All of them are listed, and none of those that are there."""
        message = f"^words: expected at least .*{message}"
        refused(message, words, timit, words=listed, num_test=3)

    def test_no_sentences_of_all(self, refused, words, linked):
        """Nothing that all speakers read."""
        for place in linked.glob("*/*/*"):
            path = place.resolve()
            place.unlink()
            place.mkdir()
            for file in path.glob("S[IX]*"):
                (place / file.name).symlink_to(file)
        message = f"^words=sa: expected recordings of SA1 and SA2 in {linked}"
        refused(message, words, linked, words="sa")

    def test_too_few_examples(self, refused, words, timit):
        """All words that have too few of them, with their numbers."""
        message = (
            f"^words: expected at least 11 examples of each in {timit} .as "
            f"`--words sa` has, of all speakers., found rare 8, she 10, none "
            f"0.$"
        )
        listed = ["rare", "making", "she", "lucky", "none", "odd"]
        refused(message, words, timit, words=listed, num_test=6)

    @pytest.mark.parametrize(
        "listed, message",
        [
            ([], r"^words=\[\]: expected a list of words"),
            (None, "^words=None: expected a list of words"),
            ("making", "^words=making: expected a list of words"),
            ({"making": 1}, "^words=.*: expected a list of words"),
            (["making"], r"^words=\['making'\]: expected at least two words"),
            ([["making"]], "^words=.*: expected at least two words"),
            ([[], []], "^words=.*: expected at least two words"),
            (["making", "subway", "Making"], r"once, got \['making'\] twice"),
            ([["odd", "rare"], ["rare"]], r"once, got \['rare'\] twice"),
            (["making", True], "got True .YAML .*: put it in quotes"),
            (["making", 7], "lists of words, got 7 .YAML .* in quotes"),
            (["making", None], "lists of words, got None .YAML .* in quotes"),
            ([["making", "subway"], [False]], "lists of words, got False "),
            ([["making", "subway"], "odd"], "lists of words, got 'odd' "),
            (["making", ""], "lists of words, got '' "),
            (["making", "the subway"], "lists of words, got 'the subway' "),
            (["making", "subway "], "lists of words, got 'subway ' "),
            (["making", ["subway"]], r"lists of words, got \['subway'\] "),
        ],
    )
    def test_lists_of_words(self, refused, words, timit, listed, message):
        """Not words, or not enough, or twice, told before data is read."""
        for folder in (timit, timit / "nowhere"):
            refused(message, words, folder, words=listed)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"num_train": 0}, "^num_train=0, num_test=2: expected at least 1"),
            ({"num_test": 0}, "^num_train=5, num_test=0: expected at least 1"),
            ({"num_test": -1}, "^num_train=5, num_test=-1: expected at least"),
        ],
    )
    def test_numbers(self, refused, words, timit, options, message):
        """No examples."""
        refused(message, words, timit, **options)
