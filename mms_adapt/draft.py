"""A division in the making: places of utterances go from train to dev and test, or are left out.

In: what utterances have in common, as `mms_adapt.ties` tells it, and a seed. Out: where each stands. It does
not know the utterances; of them it reads one column at a time, so that a million take little memory.
`mms_adapt.splits` says what is promised and decides the order of the steps.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np

from mms_adapt import disjoint, marks
from mms_adapt.disjoint import Bounds, Mask
from mms_adapt.errors import SplitError
from mms_adapt.ties import Numbers, Ties

PARTS = ("train", "dev", "test")
_SOURCE_PARTS = {"train": r"(train|trn)", "dev": r"(dev|val|tune)", "test": r"(test|tst|eval)"}
_SMALLEST_S = 300.0  # a part by speakers may fall short of its share, to half of it or to this
_MOST_SHARE, _MOST_LOST = 2.0, 0.15
_NEAR = 0.98  # of a share: then no more sentences are drawn, or short ones would fill the rest

_CONTENT = ("sentence", "sound")  # what must not stand in two parts
_BOUND = (*_CONTENT, "session")  # what stays together in a division by sentence
NO_PART = "no_source_split"
PLACES = (*PARTS, *(f"{kind}_in_{part}" for kind in ("sentence", "sound") for part in PARTS), NO_PART)


class Draft:
    """A split in the making: everything is train at first. Arrays and masks of places are `(places,)`.

    Attributes:
        places: Where each utterance stands, as an index into `PLACES`.
    """

    def __init__(self, given: Ties, seed: int) -> None:
        """Start with everything in train.

        Args:
            given: What the utterances have in common; it stays open while this is used.
            seed: Start of all draws.
        """
        self.ties, self.seed = given, seed
        self.total_s = math.fsum(given.column("seconds"))
        self.places = np.zeros(len(given), np.uint8)  # indices into PLACES

    def part(self, name: str) -> Mask:
        """Tell what stands in a part so far."""
        found: Mask = self.places == PARTS.index(name)
        return found

    def too_few(self, missing: Sequence[str]) -> str:
        """Say why parts are empty."""
        sentences = disjoint.connected(*map(self.ties.column, _CONTENT)).max(initial=-1) + 1
        return (
            f"{len(self.places)} utterances of {sentences} sentences are too few to divide: nothing is left "
            f"for {' and '.join(missing)}"
        )

    def _held(self, held: Mask) -> tuple[Mask, Mask]:
        """Tell whose sentence, and whose sound, stands among those that are held."""
        said, heard = (
            disjoint.looked_up(disjoint.among(numbers, held), numbers)
            for numbers in map(self.ties.column, _CONTENT)
        )
        return said, heard

    def leave_out(self, lost: Mask, name: str, held: Mask) -> None:
        """Take places out, since those that are held, in a part of this name, have their content."""
        said, heard = self._held(held)
        sound, sentence = (np.uint8(PLACES.index(f"{kind}_in_{name}")) for kind in ("sound", "sentence"))
        self.places[lost] = np.where(heard & ~said, sound, sentence)[lost]

    def by_sentence(self, name: str, share: float) -> None:
        """Draw from train what shares sentence, sound or session until a share of all speech is reached."""
        target_s = share * self.total_s
        chosen = self._drawn(_BOUND, target_s)
        found_s = math.fsum(self.ties.column("seconds")[chosen])
        if not found_s or (name == "dev" and found_s > _MOST_SHARE * target_s):
            # one session, or few long ones for dev: better parts of the same sitting than hardly any
            chosen = self._drawn(_CONTENT, target_s)
        self.places[chosen] = PARTS.index(name)

    def _drawn(self, kinds: Sequence[str], target_s: float) -> Mask:
        """Draw groups of train's places that share labels; never all of them."""
        pool = self.part("train")
        groups = disjoint.connected(*(self.ties.column(kind)[pool] for kind in kinds))
        count = int(groups.max(initial=-1)) + 1
        if count < 2:
            return np.zeros_like(pool)
        firsts = disjoint.spread(disjoint.firsts(groups), pool)
        order = disjoint.draw_order(self.seed, "sentence", lambda: self._ids(firsts), count)
        sizes_s = disjoint.totals_s(groups, self.ties.column("seconds")[pool])
        found_s = 0.0
        chosen = np.zeros(count, dtype=bool)
        for group in order:
            if abs(found_s + sizes_s[group] - target_s) < abs(found_s - target_s):
                chosen[group] = True
                found_s += sizes_s[group]
            if found_s > _NEAR * target_s:
                break
        if not chosen.any() or chosen.all():
            chosen = np.arange(count) == order[np.argmin(sizes_s[order])]
        return disjoint.spread(disjoint.looked_up(chosen, groups), pool)

    def _ids(self, places: Mask) -> Iterator[str]:
        """Return the ids of some places."""
        return compress(self.ties.ids(), places.tobytes())

    def by_speaker(self, test_share: float, dev_share: float, *, forced: bool) -> bool:
        """Give test, and dev if possible, speakers of their own; False where they do not allow it.

        Raises:
            SplitError: If it is forced and they do not allow it.
        """
        tries = [self._bounds(test_share, _MOST_LOST)]
        if forced:
            tries += [
                replace(tries[0], ceiling_s=0.6 * self.total_s, lost_s=self.total_s, floor_s=floor_s)
                for floor_s in (tries[0].floor_s, 0.0)
            ]
        if not any(self._speakers("test", bounds, leave=1) for bounds in tries):
            if not forced:
                return False
            names, heard_s = [*self.ties.speakers, "unknown"], Counter[str]()  # the last is that of -1
            for number, long_s in zip(*map(self.ties.column, ("speaker", "seconds")), strict=True):
                heard_s[names[number]] += long_s
            shown = ", ".join(f"{name} {long_s / 60:.1f} min" for name, long_s in heard_s.most_common(8))
            raise SplitError(f"the speakers cannot be kept apart ({shown}): divide by sentence instead")
        self._speakers("dev", self._bounds(dev_share, _MOST_LOST / 2), leave=2)
        return True

    def _bounds(self, share: float, most_lost: float) -> Bounds:
        target_s = share * self.total_s
        floor_s = min(target_s / 2, _SMALLEST_S)
        return Bounds(target_s, floor_s, _MOST_SHARE * target_s, most_lost * self.total_s)

    def _speakers(self, name: str, bounds: Bounds, *, leave: int) -> bool:
        """Give a part speakers of its own, leaving so many to train at least; False where that cannot be."""
        pool = self.part("train")
        units, names = self._units(name, pool)
        content = disjoint.connected(*(self.ties.column(kind)[pool] for kind in _CONTENT))
        speakers = disjoint.Speakers(units, content, self.ties.column("seconds")[pool], names)
        found = speakers.best(bounds, self.seed, leave=leave)
        if found is None:
            return False
        masks = (found.inside, found.lost_inside, found.lost_outside)
        inside, lost_inside, lost_outside = (disjoint.spread(mask, pool) for mask in masks)
        self.leave_out(lost_outside, name, inside)
        self.leave_out(lost_inside, "train", pool & ~(inside | lost_inside | lost_outside))
        self.places[inside] = PARTS.index(name)
        return True

    def _units(self, name: str, pool: Mask) -> tuple[Numbers, list[str]]:
        """Return the number of each pool's place's speaker, or of those of one session, and their names."""
        speaker = self.ties.column("speaker")[pool]
        voices = disjoint.connected(speaker, self.ties.column("session")[pool])
        # where nobody says who speaks, it may be anybody: that stays in train
        known = np.zeros(voices.max(initial=-1) + 1, dtype=bool)
        known[voices[speaker >= 0]] = True
        numbers = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
        firsts = disjoint.firsts(voices) & disjoint.looked_up(known, voices)
        said = (None if number < 0 else self.ties.speakers[number] for number in speaker[firsts])
        ids = self._ids(disjoint.spread(firsts, pool))
        names = [f"{name} {speaker} {first}" for speaker, first in zip(said, ids, strict=True)]
        return disjoint.looked_up(numbers, voices), names

    def by_source(self) -> None:
        """Take the corpus's own parts; what two of them share is left out of the one that is learnt from.

        Raises:
            SplitError: If there is no train or no test.
        """
        names = [*self.ties.source_splits, None]  # the last is that of -1
        meant = np.array([PLACES.index(_source_part(name) or NO_PART) for name in names], np.uint8)
        self.places = disjoint.looked_up(meant, self.ties.column("source_split"))
        if not self.part("test").any() or not self.part("train").any():
            found = Counter(names[number] or "none" for number in self.ties.column("source_split"))
            shown = ", ".join(f"{name} ({count})" for name, count in found.most_common(8))
            raise SplitError(f"the corpus's own division lacks train or test; source_split is: {shown}")
        for name, lesser in (("test", ("train", "dev")), ("dev", ("train",))):
            held = self.part(name)
            shared = np.logical_or(*self._held(held))
            for rows in map(self.part, lesser):
                self.leave_out(rows & shared, name, held)

    def marks(self, *, leaked: bool) -> tuple[str, ...]:
        """Return what to keep in mind."""
        lost = (self.places >= len(PARTS)) & (self.places != PLACES.index(NO_PART))
        voices, sessions = (
            {name: disjoint.values(column, self.part(name)) for name in PARTS}
            for column in map(self.ties.column, ("speaker", "session"))
        )
        return marks.of(voices, sessions, leaked=leaked and bool(lost.any()))


def _source_part(source_split: str | None) -> str | None:
    """Return the part that a corpus's own name for it means, such as "train-clean-5" or "validation"."""
    for name, pattern in _SOURCE_PARTS.items():
        if re.match(pattern, (source_split or "").strip().lower()):
            return name
    return None
