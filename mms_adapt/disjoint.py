"""What hangs together, and which speakers can make a part of their own.

In: labels and seconds by place, as arrays. Out: groups and divisions of places. It does not know utterances,
files or what the labels mean; `mms_adapt.splits` does.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]  # whole numbers
Seconds = NDArray[np.float64]

_DRAWS = 32
_ENOUGH = 0.8  # of the target: then no more content is taken from the others
_FEW = 3  # units: then even less may be the best
_AS_GOOD = 0.1  # of cost: then the seed decides
_VOICES, _TAKEN, _LOSS = 0.8, 1.0, 5.0  # what weighs against a right size


@dataclass(frozen=True, slots=True)
class Division:
    """A part of its own, and what both sides cannot have: masks by place, `(places,)`.

    Attributes:
        inside: Places in the part.
        lost_inside: Places of the part's speakers that are left out, since the others keep that content.
        lost_outside: Places of the other speakers that are left out, since the part keeps that content.
    """

    inside: NDArray[np.bool_]
    lost_inside: NDArray[np.bool_]
    lost_outside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a part may be like.

    Attributes:
        target_s: Its best size.
        floor_s: Its smallest size.
        ceiling_s: Its largest size.
        lost_s: What may be left out on both sides for its sake.
    """

    target_s: float
    floor_s: float
    ceiling_s: float
    lost_s: float


def connected(*kinds: Numbers) -> Numbers:
    """Group places that share a label of a kind, directly or through others.

    Args:
        kinds: A label for every place, `(places,)`; below 0 for none.

    Returns:
        The number of each place's group, `(places,)`; groups are numbered by their first places.

    >>> connected(np.array([0, 1, 0, 2]), np.array([-1, -1, 5, 5])).tolist()
    [0, 1, 0, 0]
    """
    labelled = [np.flatnonzero(kind >= 0) for kind in kinds]
    labels = [np.unique(kind[own], return_inverse=True)[1] for kind, own in zip(kinds, labelled, strict=True)]
    first = np.arange(len(kinds[0]))  # the first place that is known to hang together with each
    while True:
        before = first.copy()
        for own, label in zip(labelled, labels, strict=True):
            least = np.full(label.max(initial=-1) + 1, len(first))
            np.minimum.at(least, label, first[own])
            np.minimum.at(first, first[own], least[label])  # what it was so far hangs together with it, too
            first[own] = np.minimum(first[own], least[label])
        first = first[first]
        if np.array_equal(first, before):
            return np.unique(first, return_inverse=True)[1]


def draw(seed: int, *names: object) -> bytes:
    """Return bytes that look random and depend on the seed and the names alone."""
    return hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()


class Speakers:
    """Speakers with what they say, to find some that make a good part.

    Args:
        units: The number of each place's speaker, or of speakers who cannot be parted, `(places,)`; below 0
            for those who stay outside.
        content: What each place holds, `(places,)`; the same number, the same sentence or sound.
        seconds: How long each place is, `(places,)`.
        names: The units' names, for the draws.
    """

    def __init__(self, units: Numbers, content: Numbers, seconds: Seconds, names: Sequence[str]) -> None:
        self.units, self.content, self.names = units, content, names
        self.total_s = math.fsum(seconds)
        self.all_count, self.all_s = np.bincount(content), np.bincount(content, seconds)
        own = np.flatnonzero(units >= 0)
        self.sizes_s: list[float] = np.bincount(units[own], seconds[own], len(names)).tolist()
        # what each unit holds, how often and how long: rows sorted by unit
        pairs, at, self.held_count = np.unique(
            units[own].astype(np.int64) * len(self.all_s) + content[own],
            return_inverse=True,
            return_counts=True,
        )
        self.held, self.held_s = pairs % max(1, len(self.all_s)), np.bincount(at, seconds[own])
        self.starts = np.searchsorted(pairs, np.arange(len(names) + 1) * len(self.all_s))

    def best(self, bounds: Bounds, seed: int, *, leave: int) -> Division | None:
        """Return one of the divisions of least cost among many drawn ones; None where none is in bounds.

        Args:
            bounds: What it may be like.
            seed: Start of the draws.
            leave: How many units must stay outside.
        """
        found: list[tuple[float, list[int]]] = []
        seen: set[frozenset[int]] = set()
        for number in range(_DRAWS):
            for chosen in self._choices(bounds, seed, number, len(self.names) - leave):
                if frozenset(chosen) not in seen:
                    seen.add(frozenset(chosen))
                    if math.isfinite(cost := self._cost(chosen, bounds)[0]):
                        found.append((cost, sorted(chosen)))
        if not found:
            return None
        lowest = min(cost for cost, _ in found)
        good = [units for cost, units in found if cost <= lowest + _AS_GOOD]
        units = min(good, key=lambda one: draw(seed, *(self.names[unit] for unit in one)))
        return self._division(units, self._cost(units, bounds)[1])

    def _choices(self, bounds: Bounds, seed: int, number: int, most: int) -> Iterator[list[int]]:
        """Take units in a drawn order; offer the first few, the target, and each time that half was added."""
        chosen: list[int] = []
        size_s = offered_s = 0.0
        for unit in sorted(range(len(self.names)), key=lambda one: draw(seed, number, self.names[one])):
            if len(chosen) >= most:
                break
            if size_s + self.sizes_s[unit] <= bounds.ceiling_s:
                chosen.append(unit)
                reached = size_s < bounds.target_s <= size_s + self.sizes_s[unit]
                size_s += self.sizes_s[unit]
                if reached or len(chosen) <= _FEW or size_s > 1.5 * offered_s:
                    offered_s = size_s
                    yield list(chosen)
        if chosen:
            yield chosen

    def _cost(self, chosen: Sequence[int], bounds: Bounds) -> tuple[float, Numbers]:
        """Return what a choice costs, and the shared content that is given to it: none, or enough of it."""
        rows = np.concatenate([np.arange(self.starts[unit], self.starts[unit + 1]) for unit in chosen])
        inside, at = np.unique(self.held[rows], return_inverse=True)
        inside_s = np.bincount(at, self.held_s[rows])
        whole = np.bincount(at, self.held_count[rows]) == self.all_count[inside]
        kept_s, lost_s = math.fsum(inside_s[whole]), math.fsum(inside_s[~whole])
        shared, shared_s = inside[~whole], inside_s[~whole]
        cheapest = np.argsort(self.all_s[shared] / shared_s, kind="stable")  # for the others
        shared, shared_s = shared[cheapest], shared_s[cheapest]
        reached_s = kept_s + np.cumsum(shared_s) - shared_s
        given = shared[: np.count_nonzero(reached_s < _ENOUGH * bounds.target_s)]
        given_s = math.fsum(shared_s[: len(given)])
        taken_s = math.fsum(self.all_s[given]) - given_s
        none = self._price(chosen, kept_s, lost_s, bounds)
        some = self._price(chosen, kept_s + given_s, lost_s + taken_s - given_s, bounds)
        return (none, given[:0]) if none <= some else (some, given)

    def _price(self, chosen: Sequence[int], kept_s: float, lost_s: float, bounds: Bounds) -> float:
        """Weigh size, voices inside and left outside, and loss; infinite where out of bounds."""
        left_s = self.total_s - kept_s - lost_s
        if kept_s < bounds.floor_s or not kept_s or lost_s > bounds.lost_s or left_s < self.total_s / 3:
            return math.inf
        ratio = kept_s / bounds.target_s
        wrong_size = 2 * math.log(ratio) if ratio > 1 else -math.log(ratio) / 2
        sizes_s = [self.sizes_s[unit] for unit in chosen]
        voices = sum(sizes_s) ** 2 / sum(one**2 for one in sizes_s)
        taken = len(chosen) / len(self.names)  # what is left has fewer voices to learn from
        return wrong_size + _VOICES / voices + _TAKEN * taken + _LOSS * lost_s / self.total_s

    def _division(self, units: Sequence[int], given: Numbers) -> Division:
        inside = np.isin(self.units, units)
        here, there, kept = np.zeros((3, len(self.all_s)), dtype=bool)
        here[self.content[inside]], there[self.content[~inside]], kept[given] = True, True, True
        lost_inside = inside & (here & there & ~kept)[self.content]
        return Division(inside & ~lost_inside, lost_inside, ~inside & kept[self.content])
