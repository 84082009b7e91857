"""What an utterance would teach, on candidates whose worth can be counted by hand."""

import doctest

import numpy as np
import pytest

from mms_adapt import novelty
from mms_adapt.errors import OptionError
from mms_adapt.novelty import Candidate, Pool, trigrams


def candidate(name: str, text: str, confidence: float = 0.5, duration_s: float = 6.0) -> Candidate:
    return Candidate(name, duration_s, tuple(text), confidence)


def vectors(*angles: float) -> novelty.Vectors:
    return np.array([[np.cos(one), np.sin(one)] for one in angles], np.float32)


def picked(pool: Pool, minutes: float, **options: object) -> list[str]:
    picks = pool.choose(minutes, **options)  # type: ignore[arg-type]
    return [pool.candidates[one.place].id for one in picks]


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(novelty).failed == 0


def test_trigrams_of_little() -> None:
    assert trigrams("") == [] and trigrams("a") == [" a "]


def test_the_least_sure_come_first_by_confidence() -> None:
    sure = [0.9, 0.2, 0.6, 0.4]
    pool = Pool([candidate(f"c{one}", "ab", one) for one in sure], vectors(0, 1, 2, 3))
    assert picked(pool, 0.3, strategy="confidence") == ["c0.2", "c0.4", "c0.6"]
    assert [one.doubt for one in pool.worths()] == pytest.approx([0, 1, 1 / 3, 2 / 3])


def test_equal_confidence_is_equal_doubt() -> None:
    pool = Pool([candidate(str(one), "ab", 0.5) for one in range(3)], vectors(0, 1, 2))
    assert [one.doubt for one in pool.worths()] == [0.5, 0.5, 0.5]


def test_what_was_heard_before_is_not_new() -> None:
    candidates = [candidate("old", "abab"), candidate("new", "cdcd")]
    sounds = vectors(0.1, 3.0)
    pool = Pool(candidates, sounds, known=[tuple("abab")] * 9, known_sounds=vectors(0.0, 0.2, -0.1))
    old, new = pool.worths(strategy="novelty")
    assert new.graphemes == pytest.approx(1.0, rel=0.1) and old.graphemes == pytest.approx(0.1, rel=0.1)
    assert new.sound > old.sound
    assert picked(pool, 0.1, strategy="novelty") == ["new"]


def test_not_ten_alike_are_chosen() -> None:
    """Nine of eleven are alike and less sure: by confidence they alone are taken, mixed takes both others."""
    alike = [candidate(f"a{one}", "abcabc", 0.1 + one / 1000) for one in range(9)]
    others = [candidate("b", "defdef", 0.5), candidate("c", "ghighi", 0.6)]
    pool = Pool([*alike, *others], vectors(*(one / 100 for one in range(9)), 2.0, 4.0))
    assert all(one.startswith("a") for one in picked(pool, 0.4, strategy="confidence"))
    mixed = picked(pool, 0.4, strategy="mixed")
    assert {"b", "c"} <= set(mixed) and len(mixed) == 4


def test_minutes_are_filled_and_not_exceeded() -> None:
    lengths = [20.0, 20.0, 20.0, 15.0, 4.0]
    candidates = [candidate(str(place), "ab", place / 10, one) for place, one in enumerate(lengths)]
    pool = Pool(candidates, vectors(*range(5)))
    assert picked(pool, 0.99, strategy="confidence") == ["0", "1", "3", "4"]  # 59 s of 59.4
    assert picked(pool, 100, strategy="confidence") == ["0", "1", "2", "3", "4"]
    for strategy in novelty.STRATEGIES:
        places = picked(pool, 1, strategy=strategy)
        assert len(places) == len(set(places))
        assert sum(lengths[int(one)] for one in places) <= 60


def test_random_depends_on_the_seed_alone() -> None:
    pool = Pool([candidate(str(one), "ab") for one in range(30)], vectors(*range(30)))
    first = picked(pool, 1, strategy="random", seed=1)
    assert first == picked(pool, 1, strategy="random", seed=1)
    assert first != picked(pool, 1, strategy="random", seed=2)


def test_random_choices_are_drawn_the_same_way_in_both_places() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 40)
    candidates = [candidate(str(place), "ab", duration_s=float(one)) for place, one in enumerate(lengths)]
    pool = Pool(candidates, vectors(*range(40)))
    for seed in range(5):
        lot = [str(one) for one in pool.by_lot(1.5, seed=seed)]
        assert lot == picked(pool, 1.5, strategy="random", seed=seed) and 5 < len(lot) < 40


def test_what_is_held_is_counted() -> None:
    candidates = [candidate("x", "abc", 0.2, 30), candidate("y", "abd", 0.4, 30), candidate("z", "", 1.0, 60)]
    pool = Pool(candidates, vectors(0, 1, 2), known=[tuple("ab")])
    held = pool.hold([0, 1])
    assert (held.utterances, held.minutes, held.confidence) == (2, 1.0, pytest.approx(0.3))
    assert held.graphemes == 2  # c and d
    assert held.trigrams == 4  # abc, bc_, abd, bd_; _ab is known
    assert held.sound is None and held.apart is not None and held.apart > 0
    assert pool.hold([2]).trigrams == 0 and pool.hold([2]).apart is None
    chance = pool.by_chance(1.0)
    assert 0 < chance.trigrams < 4 and chance.minutes == 1.0


def test_bad_options_are_told() -> None:
    pool = Pool([candidate("a", "ab", duration_s=10)], vectors(1))
    for options, says in (
        ({"minutes": 1, "strategy": "best"}, "strategy 'best' is unknown"),
        ({"minutes": float("nan")}, "minutes=nan"),
        ({"minutes": 0.1}, "shorter than the shortest utterance, 10.0 s"),
    ):
        with pytest.raises(OptionError, match=says):
            pool.choose(**options)  # type: ignore[arg-type]
