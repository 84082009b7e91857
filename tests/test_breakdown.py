"""Where the errors are: groups hold every utterance and word once; the matrix adds up."""

from collections import Counter

import numpy as np
import pytest

from mms_adapt import edits
from mms_adapt.breakdown import by_novelty, by_number, matrix
from mms_adapt.edits import UtteranceScore, most_frequent


def scored(pairs: list[tuple[str, str]]) -> tuple[list[UtteranceScore], Counter[tuple[str, str]]]:
    confusions: Counter[tuple[str, str]] = Counter()
    said, heard = zip(*pairs, strict=True) if pairs else ((), ())
    names = [str(place) for place in range(len(pairs))]
    return list(edits.align(said, heard, names, [None] * len(pairs), confusions)), confusions


def test_groups_are_of_about_equal_size_and_hold_all() -> None:
    rows, _ = scored([("a b", "a b" if place < 50 else "a c") for place in range(100)])
    found = by_number(rows, list(range(100)), name="Length", unit="s")
    assert [one.utterances for one in found.groups] == [25, 25, 25, 25]
    assert [one.words.rate for one in found.groups] == [0, 0, 0.5, 0.5]
    assert found.groups[0].name == "0.0 to 24.0 s" and found.groups[3].name == "75.0 to 99.0 s"
    assert sum(one.characters.length for one in found.groups if one.characters) == 300


@pytest.mark.parametrize("count", [0, 1, 4, 9, 23])
@pytest.mark.parametrize("equal", [True, False])
def test_few_or_equal_numbers_make_fewer_groups(count: int, equal: bool) -> None:
    rows, _ = scored([("a", "a")] * count)
    values = np.zeros(count) if equal else np.arange(count)
    found = by_number(rows, list(values), name="Length", unit="s")
    assert sum(one.utterances for one in found.groups) == count
    assert len(found.groups) == (0 if not count else 1 if equal else max(1, count // 5))


def test_words_that_training_showed_stand_apart() -> None:
    rows, _ = scored([("the cat sat", "the dog sat uh"), ("cat", "cat"), ("new the", "the")])
    known, new = by_novelty(rows, {"the", "sat"}).groups
    assert (known.name, known.words.length, known.words.errors, known.utterances) == (
        "heard in training", 3, 0, 2,
    )  # fmt: skip
    assert (new.words.length, new.words.errors, new.words.insertions, new.utterances) == (3, 2, 0, 3)
    assert not by_novelty([], set()).groups


def test_the_matrix_adds_up() -> None:
    rows, confusions = scored([("abba", "abea"), ("ab", "a"), ("c", "cd")])
    found = matrix(rows, most_frequent(confusions))
    assert found.characters == ("b", "d", "e", "")
    assert found.counts[0] == (1, 0, 1, 1) and found.totals[0] == 3, "b: right, for e, missed"
    assert found.counts[3] == (0, 1, 0, 0) and found.totals[3] == 1, "d was added"
    assert found.share(0, 3) == pytest.approx(1 / 3) and found.share(1, 1) == 0.0
    small = matrix(rows, most_frequent(confusions), limit=1)
    assert small.characters == ("b", "") and small.counts == ((1, 1), (0, 0))


def test_no_error_makes_an_empty_matrix() -> None:
    rows, confusions = scored([("ab", "ab")])
    assert matrix(rows, most_frequent(confusions)).characters == ("",)
