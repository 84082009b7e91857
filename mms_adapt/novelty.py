"""Which of many untranscribed utterances would teach most: what is doubtful, and what was not heard before.

In: candidates, each with the machine's draft, its confidence and a vector of its sound, and what is known
already. Out: those to transcribe, in the order in which they were picked, until the wanted minutes are full.
It does not know audio, models or files.

Three things count, each from 0 to 1, and equally: doubt, the rank of the confidence among all candidates;
novelty of the sound, the distance to the nearest sound that is known; novelty of the graphemes, the trigrams
of the draft in a second of speech, one that is known n times worth 1 / (1 + n). After each pick, that one is
known, too: a second one like it is worth less, so that not ten alike are chosen.

Source: Settles 2009, "Active learning literature survey", sections 2.1 and 2.6; the falling worth of what is
known is that of a submodular cover, Wei et al. 2013, "Using document summarization techniques for speech data
subset selection".
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from mms_adapt.disjoint import draw
from mms_adapt.errors import OptionError

STRATEGIES = ("mixed", "confidence", "novelty", "random")
Vectors = NDArray[np.float32]
_HIGH = 0.95  # a quantile of the pool, which counts as 1
_DRAWS = 20  # of random choices, to compare with


@dataclass(frozen=True, slots=True)
class Candidate:
    """An utterance that nobody has transcribed.

    Attributes:
        id: Its name, different for each.
        duration_s: Its length.
        graphemes: Those of the machine's draft, in order, " " between words.
        confidence: How sure the machine is of its draft, 0 to 1.
    """

    id: str
    duration_s: float
    graphemes: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Worth:
    """What an utterance would teach, each number from 0 to 1.

    Attributes:
        score: The mean of what the strategy counts.
        doubt: Share of the candidates of whose drafts the machine is surer.
        sound: How far its sound is from what is known.
        graphemes: How much of its draft is not known, in a second of speech.
    """

    score: float
    doubt: float
    sound: float
    graphemes: float


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate that was chosen.

    Attributes:
        place: Its place among the candidates.
        worth: What it was worth when it was chosen, beside those chosen before it.
    """

    place: int
    worth: Worth


@dataclass(frozen=True, slots=True)
class Holding:
    """What some candidates hold.

    Attributes:
        utterances: How many; of random choices, the mean, as in all that follows.
        minutes: How long.
        confidence: The mean of theirs.
        graphemes: Different graphemes in their drafts that are not known.
        trigrams: Different trigrams of graphemes in their drafts that are not known.
        sound: The mean distance to the nearest known sound, 0 to 2; None where nothing is known.
        apart: The mean distance of each to the nearest other one of them; None of fewer than two.
    """

    utterances: float
    minutes: float
    confidence: float
    graphemes: float
    trigrams: float
    sound: float | None
    apart: float | None


class Pool:
    """Candidates beside what is known.

    Args:
        candidates: At least one.
        sounds: A vector of each one's sound, `(candidates, dimensions)`.
        known: Graphemes of each transcript that is there already.
        known_sounds: Vectors of what was transcribed already, `(known, dimensions)`; none of them where
            nothing was.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        sounds: Vectors,
        *,
        known: Sequence[Sequence[str]] = (),
        known_sounds: Vectors | None = None,
    ) -> None:
        self.candidates = candidates
        heard = np.zeros((0, sounds.shape[1]), np.float32) if known_sounds is None else known_sounds
        self._sounds, self._heard = _comparable(sounds, heard)
        self._known = Counter(chain.from_iterable(map(trigrams, known)))
        self._letters = set(chain.from_iterable(known))
        self._numbers: dict[str, int] = {}
        rows = [
            [
                self._numbers.setdefault(gram, len(self._numbers))
                for gram in sorted(set(trigrams(one.graphemes)))
            ]
            for one in candidates
        ]
        self._owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        self._grams = np.fromiter(chain.from_iterable(rows), np.int64)
        self._rows = rows
        self._durations_s = np.array([one.duration_s for one in candidates])
        self._doubt = _ranks([-one.confidence for one in candidates])
        self._counts = np.array([self._known[gram] for gram in self._numbers], np.float64)
        self._nearest = _nearest(self._sounds, self._heard)
        self._scales = (_high(1 - self._nearest), _high(self._fresh(self._counts)))

    def choose(self, minutes: float, *, strategy: str = "mixed", seed: int = 0) -> list[Pick]:
        """Pick one after another until no candidate fits into the minutes that are left.

        Args:
            minutes: How much speech.
            strategy: One of `STRATEGIES`.
            seed: Another number, another random choice.

        Raises:
            OptionError: If there is no such strategy, or not one candidate is so short.
        """
        if strategy not in STRATEGIES:
            raise OptionError(f"strategy {strategy!r} is unknown (known: {', '.join(STRATEGIES)})")
        if not 0 < minutes < math.inf:
            raise OptionError(f"minutes={minutes:g}: give more than 0")
        if self._durations_s.min() > minutes * 60:
            shortest_s = self._durations_s.min()
            raise OptionError(
                f"minutes={minutes:g} is shorter than the shortest utterance, {shortest_s:.1f} s; give more"
            )
        found, left_s = [], minutes * 60
        counts, nearest = self._counts.copy(), self._nearest.copy()
        drawn = self._drawn(seed)
        free = np.ones(len(self.candidates), bool)
        while (fitting := free & (self._durations_s <= left_s + 1e-6)).any():
            worths = self._worths(counts, nearest, strategy, drawn)
            place = int(np.argmax(np.where(fitting, worths[:, 0], -1.0)))
            found.append(Pick(place, Worth(*map(float, worths[place]))))
            free[place] = False
            left_s -= self._durations_s[place]
            counts[self._rows[place]] += 1
            nearest = np.maximum(nearest, self._sounds @ self._sounds[place])
        return found

    def worths(self, *, strategy: str = "mixed", seed: int = 0) -> list[Worth]:
        """Return what each candidate would be worth as the first choice."""
        rows = self._worths(self._counts, self._nearest, strategy, self._drawn(seed))
        return [Worth(*map(float, row)) for row in rows]

    def hold(self, places: Sequence[int]) -> Holding:
        """Return what some candidates hold; at least one."""
        some = [self.candidates[place] for place in places]
        grams = {gram for one in some for gram in trigrams(one.graphemes)} - self._known.keys()
        letters = {each for one in some for each in one.graphemes} - self._letters
        vectors = self._sounds[list(places)]
        among = vectors @ vectors.T - 4 * np.eye(len(vectors), dtype=np.float32)
        return Holding(
            len(some),
            sum(one.duration_s for one in some) / 60,
            float(np.mean([one.confidence for one in some])),
            len(letters),
            len(grams),
            float(np.mean(1 - self._nearest[list(places)])) if len(self._heard) else None,
            float(np.mean(1 - among.max(axis=1))) if len(some) > 1 else None,
        )

    def by_lot(self, minutes: float, *, seed: int = 0) -> list[int]:
        """Return the places that `choose` picks with the strategy "random", without weighing anything."""
        found, left_s = [], minutes * 60
        drawn = self._drawn(seed)
        for place in np.argsort(-drawn, kind="stable").tolist():
            if self._durations_s[place] <= left_s + 1e-6:
                found.append(place)
                left_s -= self._durations_s[place]
        return found

    def by_chance(self, minutes: float, *, seed: int = 0) -> Holding:
        """Return what random choices of so many minutes hold, the mean of twenty."""
        held = [self.hold(self.by_lot(minutes, seed=seed + number)) for number in range(_DRAWS)]

        def mean(values: Iterable[float | None]) -> float | None:
            there = [one for one in values if one is not None]
            return float(np.mean(there)) if there else None

        return Holding(
            float(np.mean([one.utterances for one in held])),
            float(np.mean([one.minutes for one in held])),
            float(np.mean([one.confidence for one in held])),
            float(np.mean([one.graphemes for one in held])),
            float(np.mean([one.trigrams for one in held])),
            mean(one.sound for one in held),
            mean(one.apart for one in held),
        )

    def _drawn(self, seed: int) -> NDArray[np.float64]:
        """Return a number for each candidate that looks random, `(candidates,)`."""
        return _ranks([draw(seed, "select", one.id) for one in self.candidates])

    def _worths(
        self,
        counts: NDArray[np.float64],
        nearest: Vectors,
        strategy: str,
        drawn: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return score, doubt, sound and graphemes of each candidate, `(candidates, 4)`."""
        sound = np.clip((1 - nearest) / self._scales[0], 0, 1)
        fresh = np.clip(self._fresh(counts) / self._scales[1], 0, 1)
        parts = {
            "mixed": (self._doubt, sound, fresh),
            "confidence": (self._doubt,),
            "novelty": (sound, fresh),
            "random": (drawn,),
        }[strategy]
        return np.stack([np.mean(parts, axis=0), self._doubt, sound, fresh], axis=1)

    def _fresh(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the trigrams of each candidate are worth in a second of it, `(candidates,)`."""
        worth = 1 / (1 + counts[self._grams])
        sums = np.bincount(self._owner, worth, minlength=len(self.candidates))
        return np.asarray(sums / self._durations_s)


def trigrams(graphemes: Sequence[str]) -> list[str]:
    """Return all that stand beside one another by three, with the ends of the text as spaces.

    >>> trigrams("ab a")
    [' ab', 'ab ', 'b a', ' a ']
    """
    whole = [" ", *graphemes, " "] if graphemes else []
    return ["".join(whole[place : place + 3]) for place in range(len(whole) - 2)]


def _comparable(sounds: Vectors, heard: Vectors) -> tuple[Vectors, Vectors]:
    """Return vectors of length 1 whose product tells how alike they are, each dimension counting equally."""
    both = np.concatenate([sounds, heard]).astype(np.float32)
    both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-6)
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-6)
    return both[: len(sounds)], both[len(sounds) :]


def _nearest(sounds: Vectors, heard: Vectors) -> Vectors:
    """Return how alike each is to the most alike one of those heard; 0 where nothing was."""
    if not len(heard):
        return np.zeros(len(sounds), np.float32)
    return np.asarray((sounds @ heard.T).max(axis=1))


def _ranks(values: Sequence[object]) -> NDArray[np.float64]:
    """Return the share of the others that are lower, 0 to 1; those that are equal share the mean of it."""
    order = sorted(set(values))  # type: ignore[type-var]
    counts = Counter(values)
    below, shares = 0.0, {}
    for one in order:
        shares[one] = (below + (counts[one] - 1) / 2) / max(1, len(values) - 1)
        below += counts[one]
    return np.array([shares[one] for one in values])


def _high(values: NDArray[np.floating]) -> float:
    """Return what counts as 1; more than 0."""
    return max(float(np.quantile(values, _HIGH)), 1e-6)
