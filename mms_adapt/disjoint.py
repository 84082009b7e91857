"""What hangs together, and which speakers can make a part of their own.

In: labels and seconds by place. Out: groups and divisions of places. It does not know utterances, files or
what the labels mean; `mms_adapt.splits` does.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_DRAWS = 32
_ENOUGH = 0.8  # of the target: then no more content is taken from the others
_FEW = 3  # units: then even less may be the best
_AS_GOOD = 0.1  # of cost: then the seed decides
_VOICES, _TAKEN, _LOSS = 0.8, 1.0, 5.0  # what weighs against a right size


@dataclass(frozen=True, slots=True)
class Division:
    """A part of its own, and what both sides cannot have.

    Attributes:
        inside: Places in the part.
        lost_inside: Places of the part's speakers that are left out, since the others keep that content.
        lost_outside: Places of the other speakers that are left out, since the part keeps that content.
    """

    inside: frozenset[int]
    lost_inside: frozenset[int]
    lost_outside: frozenset[int]


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


def connected(labels: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """Group places that share a label, directly or through others.

    >>> connected([["a"], ["b"], ["a", "c"], ["c"]])
    [[0, 2, 3], [1]]
    """
    leaders = list(range(len(labels)))

    def leader(place: int) -> int:
        while leaders[place] != place:
            leaders[place] = place = leaders[leaders[place]]
        return place

    first: dict[Hashable, int] = {}
    for place, own in enumerate(labels):
        for label in own:
            one, other = sorted((leader(place), leader(first.setdefault(label, place))))
            leaders[other] = one
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(labels)):
        groups[leader(place)].append(place)
    return list(groups.values())


def draw(seed: int, *names: object) -> bytes:
    """Return bytes that look random and depend on the seed and the names alone."""
    return hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()


class Speakers:
    """Speakers with what they say, to find some that make a good part.

    Args:
        units: Places of each speaker, or of speakers who cannot be parted.
        content: What each place holds; the same number, the same sentence or sound.
        seconds: How long each place is.
        names: The units' names, for the draws.
    """

    def __init__(
        self,
        units: Sequence[Sequence[int]],
        content: Sequence[int],
        seconds: Sequence[float],
        names: Sequence[str],
    ) -> None:
        self.units, self.content, self.names = units, content, names
        self.total_s = math.fsum(seconds)
        self.sizes_s = [math.fsum(seconds[place] for place in unit) for unit in units]
        self.held = [_by_content(unit, content, seconds) for unit in units]
        self.all = _by_content(range(len(content)), content, seconds)

    def best(self, bounds: Bounds, seed: int, *, leave: int) -> Division | None:
        """Return one of the divisions of least cost among many drawn ones; None where none is in bounds.

        Args:
            bounds: What it may be like.
            seed: Start of the draws.
            leave: How many units must stay outside.
        """
        found: list[tuple[float, list[int], frozenset[int]]] = []
        seen: set[frozenset[int]] = set()
        for number in range(_DRAWS):
            for chosen in self._choices(bounds, seed, number, len(self.units) - leave):
                if frozenset(chosen) not in seen:
                    seen.add(frozenset(chosen))
                    if (plan := self._cost(chosen, bounds)) is not None:
                        found.append((plan[0], sorted(chosen), plan[1]))
        if not found:
            return None
        lowest = min(cost for cost, *_ in found)
        good = [one for one in found if one[0] <= lowest + _AS_GOOD]
        _, units, given = min(good, key=lambda one: draw(seed, *(self.names[unit] for unit in one[1])))
        return self._division(units, given)

    def _choices(self, bounds: Bounds, seed: int, number: int, most: int) -> Iterator[list[int]]:
        """Take units in a drawn order; offer the first few, the target, and each time that half was added."""
        chosen: list[int] = []
        size_s = offered_s = 0.0
        for unit in sorted(range(len(self.units)), key=lambda one: draw(seed, number, self.names[one])):
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

    def _cost(self, chosen: Sequence[int], bounds: Bounds) -> tuple[float, frozenset[int]] | None:
        """Return what a choice costs, and the shared content that is given to it: none, or enough of it."""
        inside: dict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        for unit in chosen:
            for number, (count, long_s) in self.held[unit].items():
                inside[number] = (inside[number][0] + count, inside[number][1] + long_s)
        kept_s = lost_s = 0.0
        shared = []
        for number, (count, long_s) in inside.items():
            if count == self.all[number][0]:
                kept_s += long_s
            else:
                lost_s += long_s
                shared.append((self.all[number][1] / long_s, number, long_s, self.all[number][1] - long_s))
        plans = [(self._price(chosen, kept_s, lost_s, bounds), frozenset[int]())]
        given = set()
        for _, number, long_s, outside_s in sorted(shared):  # the cheapest for the others first
            if kept_s >= _ENOUGH * bounds.target_s:
                break
            given.add(number)
            kept_s, lost_s = kept_s + long_s, lost_s + outside_s - long_s
        plans.append((self._price(chosen, kept_s, lost_s, bounds), frozenset(given)))
        price, given_best = min(plans, key=lambda plan: plan[0])
        return (price, given_best) if math.isfinite(price) else None

    def _price(self, chosen: Sequence[int], kept_s: float, lost_s: float, bounds: Bounds) -> float:
        """Weigh size, voices inside and left outside, and loss; infinite where out of bounds."""
        left_s = self.total_s - kept_s - lost_s
        if kept_s < bounds.floor_s or not kept_s or lost_s > bounds.lost_s or left_s < self.total_s / 3:
            return math.inf
        ratio = kept_s / bounds.target_s
        wrong_size = 2 * math.log(ratio) if ratio > 1 else -math.log(ratio) / 2
        sizes_s = [self.sizes_s[unit] for unit in chosen]
        voices = sum(sizes_s) ** 2 / sum(one**2 for one in sizes_s)
        taken = len(chosen) / len(self.units)  # what is left has fewer voices to learn from
        return wrong_size + _VOICES / voices + _TAKEN * taken + _LOSS * lost_s / self.total_s

    def _division(self, units: Sequence[int], given: frozenset[int]) -> Division:
        chosen = {place for unit in units for place in self.units[unit]}
        outside = set(range(len(self.content))) - chosen
        shared = {self.content[place] for place in chosen} & {self.content[place] for place in outside}
        lost_inside = frozenset(
            place for place in chosen if self.content[place] in shared and self.content[place] not in given
        )
        lost_outside = frozenset(place for place in outside if self.content[place] in given)
        return Division(frozenset(chosen - lost_inside), lost_inside, lost_outside)


def _by_content(
    places: Iterable[int], content: Sequence[int], seconds: Sequence[float]
) -> dict[int, tuple[int, float]]:
    """Return how often and how long each content comes."""
    held: dict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for place in places:
        count, long_s = held[content[place]]
        held[content[place]] = (count + 1, long_s + seconds[place])
    return dict(held)
