"""What hangs together, and which speakers can make a part of their own.

In: labels and seconds by place, as arrays. Out: groups and divisions of places. It does not know utterances,
files or what the labels mean; `mms_adapt.splits` does.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]  # whole numbers
Seconds = NDArray[np.float64]
Mask = NDArray[np.bool_]

_AT_A_TIME = 1 << 16  # places
_DRAW_BYTES = 8  # of a draw are compared first
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

    inside: Mask
    lost_inside: Mask
    lost_outside: Mask


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


def spans(count: int) -> Iterator[slice]:
    """Return slices that cover so many places, each short enough for arrays of passing use."""
    return (slice(start, start + _AT_A_TIME) for start in range(0, count, _AT_A_TIME))


def connected(*kinds: Numbers) -> Numbers:
    """Group places that share a label of a kind, directly or through others.

    Args:
        kinds: A small label for every place, `(places,)`; below 0 for none.

    Returns:
        The number of each place's group, `(places,)`; groups are numbered by their first places.

    >>> connected(np.array([0, 1, 0, 2]), np.array([-1, -1, 5, 5])).tolist()
    [0, 1, 0, 0]
    """
    first = np.arange(len(kinds[0]), dtype=np.int32)  # the first place known to hang together with each
    while any([_met(kind, first) for kind in kinds]):
        for part in spans(len(first)):
            first[part] = first[first[part]]
    numbers = np.cumsum(first == np.arange(len(first), dtype=np.int32), dtype=np.int32) - np.int32(1)
    return looked_up(numbers, first)


def _met(kind: Numbers, first: Numbers) -> bool:
    """Bring together the places that share a label of a kind; tell whether any were apart."""
    least = np.full(kind.max(initial=-1) + 1, len(first), np.int32)
    apart = False
    for part in spans(len(kind) if len(least) else 0):
        own = kind[part] >= 0
        np.minimum.at(least, kind[part][own].astype(np.intp), first[part][own])
    for part in spans(len(kind) if len(least) else 0):
        own = np.flatnonzero(kind[part] >= 0) + part.start
        before, now = first[own], least[kind[own]]
        if (now < before).any():
            apart = True
            np.minimum.at(
                first, before.astype(np.intp), now
            )  # what it was so far hangs together with it, too
            first[own] = np.minimum(first[own], now)
    return apart


def looked_up(values: NDArray[Any], places: Numbers) -> NDArray[Any]:
    """Return the value at each of many places, `(places,)`; at -1, the last one."""
    found = np.empty(len(places), values.dtype)
    for part in spans(len(places)):
        found[part] = values[places[part]]
    return found


def totals_s(labels: Numbers, seconds: Seconds, count: int | None = None) -> Seconds:
    """Add up the seconds of each label, `(labels,)`, place by place; those below 0 are left out."""
    found = np.zeros(labels.max(initial=-1) + 1 if count is None else count)
    for part in spans(len(labels)):
        own = labels[part] >= 0
        np.add.at(found, labels[part][own].astype(np.intp), seconds[part][own])
    return found


def firsts(groups: Numbers) -> Mask:
    """Tell where a group comes for the first time, `(places,)`; they are numbered by first places."""
    found = np.ones(len(groups), dtype=bool)
    most = np.maximum.accumulate(groups)
    found[1:] = most[1:] > most[:-1]
    return found


def spread(chosen: Mask, pool: Mask) -> Mask:
    """Return a mask of the places in a pool, `(pool,)`, as one of all places."""
    found = np.zeros_like(pool)
    found[pool] = chosen
    return found


def among(numbers: Numbers, held: Mask) -> Mask:
    """Tell of each number whether it stands at a place that is held, `(numbers + 1,)`; the last is of -1."""
    found = np.zeros(numbers.max(initial=-1) + 2, dtype=bool)
    for part in spans(len(numbers)):
        found[numbers[part][held[part]]] = True
    found[-1] = False
    return found


def values(numbers: Numbers, held: Mask) -> set[int | None]:
    """Return what stands at the places that are held, None for what is below 0."""
    found: set[int | None] = set(np.flatnonzero(among(numbers, held)).tolist())
    return found | {None} if (numbers[held] < 0).any() else found


def draw(seed: int, *names: object) -> bytes:
    """Return bytes that look random and depend on the seed and the names alone."""
    return hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()


def draw_order(seed: int, kind: str, names: Callable[[], Iterable[str]], count: int) -> Numbers:
    """Return the places of so many names in the order of their draws.

    Args:
        seed: Start of the draws.
        kind: What is drawn.
        names: Gives the names, each time that it is called.
        count: How many there are.
    """
    starts = (int.from_bytes(draw(seed, kind, name)[:_DRAW_BYTES]) for name in names())
    keys = np.fromiter(starts, np.uint64, count)
    order = np.argsort(keys, kind="stable")
    rows = (keys[order[part.start : part.stop + 1]] for part in spans(count))
    if any((row[1:] == row[:-1]).any() for row in rows):  # hardly ever: then all that was drawn decides
        draws = np.fromiter((draw(seed, kind, name) for name in names()), "S32", count)
        order = np.argsort(draws, kind="stable")
    return order.astype(np.int32)


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
        self.sizes_s: list[float] = totals_s(units, seconds, len(names)).tolist()
        all_s = totals_s(content, seconds)
        owner, shared = _owners(content, units, len(all_s))
        self.alone_s = _sums(owner, all_s, len(names))
        self.shared = np.flatnonzero(shared)  # content of several units, or of one and of those outside
        self.all_s = all_s[self.shared]
        del all_s, owner
        self._hold(seconds, len(shared))

    def _hold(self, seconds: Seconds, contents: int) -> None:
        """Note which shared content each unit holds, how often and how long: rows sorted by unit."""
        numbers = np.full(contents, -1, np.int32)
        numbers[self.shared] = np.arange(len(self.shared), dtype=np.int32)
        content = looked_up(numbers, self.content)
        self.all_count = np.bincount(content[content >= 0], minlength=len(self.shared))
        own = (content >= 0) & (self.units >= 0)
        pairs, at, counts = np.unique(
            self.units[own].astype(np.int64) * len(self.shared) + content[own],
            return_inverse=True,
            return_counts=True,
        )
        self.held_count, self.held_s = counts.astype(np.int32), np.bincount(at, seconds[own])
        self.held = (pairs % max(1, len(self.shared))).astype(np.int32)
        self.starts = np.searchsorted(pairs, np.arange(len(self.names) + 1) * len(self.shared))

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
        alone_s = (one for unit in chosen for one in self.alone_s[unit])
        kept_s, lost_s = math.fsum(chain(alone_s, inside_s[whole])), math.fsum(inside_s[~whole])
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
        chosen = np.zeros(len(self.names) + 1, dtype=bool)  # the last is that of -1
        chosen[list(units)] = True
        inside = looked_up(chosen, self.units)
        here, there, kept = np.zeros((3, self.content.max(initial=-1) + 1), dtype=bool)
        for part in spans(len(inside)):
            content, own = self.content[part], inside[part]
            here[content[own]], there[content[~own]] = True, True
        kept[self.shared[given]] = True
        lost_inside = inside & looked_up(here & there & ~kept, self.content)
        return Division(inside & ~lost_inside, lost_inside, ~inside & looked_up(kept, self.content))


def _owners(content: Numbers, units: Numbers, count: int) -> tuple[Numbers, Mask]:
    """Return whose alone each content is, or -1, and whether several share it, `(content,)`."""
    least, most = np.full(count, np.iinfo(np.int32).max, np.int32), np.full(count, -1, np.int32)
    for part in spans(len(content)):
        label = content[part].astype(np.intp)
        np.minimum.at(least, label, units[part])
        np.maximum.at(most, label, units[part])
    shared = least != most
    most[shared] = -1
    return most, shared


def _sums(owner: Numbers, seconds: Seconds, count: int) -> list[list[float]]:
    """Return of each owner what adds up to exactly what is its own, as few numbers."""
    found: list[list[float]] = [[] for _ in range(count)]
    for part in spans(len(owner)):
        order = np.argsort(owner[part], kind="stable")
        units, starts = np.unique(owner[part][order], return_index=True)
        for unit, own in zip(units, np.split(seconds[part][order], starts[1:]), strict=True):
            if unit >= 0:
                found[unit] = _exactly(np.concatenate([found[unit], own]))
    return found


def _exactly(values: Seconds) -> list[float]:
    """Return few numbers whose sum, unrounded, is that of many."""
    found: list[float] = []
    while rest := math.fsum(chain(values, (-one for one in found))):
        found.append(rest)
    return found
