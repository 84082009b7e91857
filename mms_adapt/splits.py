"""Divide utterances into train, dev and test, so that what is measured is not what was learnt by heart.

In: utterances with references, as `mms_adapt.quality` gives them. Out: `Splits`: the three parts, what had to
be left out for their sake, and marks. It does not know audio, models or files.

No sentence and no identical sound stands in two parts, whatever the mode; a sentence is the reference's
letters, marks and digits, case folded. A session stays whole, except in the corpus's own division, and except
that dev may share sessions with train where it would else take too much from it.

- speaker: nobody in test speaks in train or dev. Speakers are drawn so that the test comes near its share,
  has several voices, and costs little. A sentence that test speakers share with others stays with the others,
  and their own utterances of it are left out; where too little test would remain, the sentences that cost
  training least go to the test instead. Dev gets speakers of its own where train keeps two, else sentences.
- sentence: sentences are drawn; their speakers may be anywhere.
- source: the corpus's own parts. What they share is left out of the part that is learnt from.
- auto: by speaker where the speakers allow it at a loss of at most 15 % of the speech, else by sentence.

Draws are hashes of the seed with names and ids. The result does not depend on the order of the utterances.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mms_adapt import disjoint, marks, ties
from mms_adapt.disjoint import Bounds
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.ties import Numbers, Ties

Places = NDArray[np.intp]
PARTS = ("train", "dev", "test")
MODES = ("auto", "speaker", "sentence", "source")
_SOURCE_PARTS = {"train": r"(train|trn)", "dev": r"(dev|val|tune)", "test": r"(test|tst|eval)"}
_SMALLEST_S = 300.0  # a part by speakers may fall short of its share, to half of it or to this
_MOST_SHARE, _MOST_LOST = 2.0, 0.15
_NEAR = 0.98  # of a share: then no more sentences are drawn, or short ones would fill the rest

_NO_PART = "no_source_split"
_PLACES = (*PARTS, *(f"{kind}_in_{part}" for kind in ("sentence", "sound") for part in PARTS), _NO_PART)
WHAT_TO_DO = {
    "sentence": "nothing: the same sentence would else be learnt and tested",
    "sound": "nothing: the same sound would else be learnt and tested",
    "no_source_split": "give it train, dev or test as source_split, or divide in another way",
}


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How utterances are divided.

    Attributes:
        mode: What train and test must not share beside sentences and sounds: "auto", "speaker", "sentence",
            or "source" for the corpus's own division.
        dev_share: Share of the speech, by time, by which training chooses its best step.
        test_share: Share that is scored at the end.
        seed: Another number, another split.

    Raises:
        OptionError: If a value makes no sense; it names all that do not.
    """

    mode: str = "auto"
    dev_share: float = 0.1
    test_share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if self.mode not in MODES:
            near = get_close_matches(str(self.mode), MODES, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            wrong.append(f"split {self.mode!r} is unknown{hint} (known: {', '.join(MODES)})")
        for name in ("dev_share", "test_share"):
            if not 0 < getattr(self, name) <= 0.5:
                wrong.append(f"{name}={getattr(self, name)}: give more than 0 and at most 0.5")
        if not wrong and self.dev_share + self.test_share > 0.7:
            wrong.append("dev_share and test_share together leave less than 0.3 to train on")
        if wrong:
            raise OptionError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Splits:
    """Three parts.

    Attributes:
        train: What is learnt from.
        dev: What decides when to stop.
        test: What is scored once, at the end.
        left_out: What would have stood in two parts, each with its reason.
        mode: How they were divided in the end: "speaker", "sentence" or "source".
        marks: What to keep in mind; `mms_adapt.reports` explains each.
    """

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    left_out: tuple[Quarantined, ...]
    mode: str
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each of many utterances; iterate over it beside them.

    Attributes:
        places: By utterance in the order given, an index into `names`, `(utterances,)`.
        mode: How they were divided in the end.
        marks: What to keep in mind.
        names: Parts, and reasons why an utterance is left out, such as "sentence_in_test".
    """

    places: NDArray[np.uint8]
    mode: str
    marks: tuple[str, ...]
    names: tuple[str, ...] = _PLACES

    def __iter__(self) -> Iterator[str]:
        return (self.names[place] for place in self.places)


def assign(utterances: Iterable[Utterance], options: SplitOptions | None = None) -> Splits:
    """Divide utterances into train, dev and test.

    Args:
        utterances: With references and known ends.
        options: How.

    Raises:
        SplitError: If there are too few sentences or speakers, or the corpus's own division lacks a part.
    """
    rows = sorted(utterances, key=lambda one: one.id)
    found = plan(rows, options)
    parts: dict[str, list[Utterance]] = {name: [] for name in PARTS}
    left_out = []
    for one, place in zip(rows, found, strict=True):
        if place in parts:
            parts[place].append(one)
        else:
            detail = f"source_split is {one.source_split!r}" if place == _NO_PART else repr(one.reference)
            left_out.append(Quarantined(one, place, detail, WHAT_TO_DO[place.split("_in_")[0]]))
    held = {name: tuple(part) for name, part in parts.items()}
    return Splits(**held, left_out=tuple(left_out), mode=found.mode, marks=found.marks)


def plan(utterances: Iterable[Utterance], options: SplitOptions | None = None) -> Plan:
    """Divide utterances as `assign` does without holding them: they may come one by one from a file.

    Args:
        utterances: With references and known ends; each is forgotten when the next one comes.
        options: How.

    Raises:
        SplitError: If there are too few sentences or speakers, or the corpus's own division lacks a part.
    """
    options = options or SplitOptions()
    draft = _Draft(ties.gather(utterances), options)
    mode = options.mode
    if mode == "source":
        draft.by_source()
    elif mode != "sentence" and draft.by_speaker(forced=mode == "speaker"):
        mode = "speaker"
    else:
        mode = "sentence"
        draft.by_sentence("test", options.test_share)
    if not len(draft.part("dev")):
        draft.by_sentence("dev", options.dev_share)
    if missing := [name for name in PARTS if not len(draft.part(name))]:
        raise SplitError(draft.too_few(missing))
    places = np.empty_like(draft.places)
    places[draft.ties.order] = draft.places
    return Plan(places, mode, draft.marks(leaked=mode == "source"))


def part_sha256(utterances: Iterable[Utterance]) -> str:
    """Return a hash of a part: which spans of which recordings, said by whom, with which references."""
    rows = sorted(
        json.dumps([one.id, one.recording, one.start_s, one.end_s, one.speaker, one.reference])
        for one in utterances
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


class _Draft:
    """A split in the making: everything is train at first. Arrays of places are `(places,)`."""

    def __init__(self, given: Ties, options: SplitOptions) -> None:
        self.ties, self.options = given, options
        self.total_s = math.fsum(given.seconds)
        self.places = np.zeros(len(given.ids), np.uint8)  # indices into _PLACES
        self.content = (given.sentence, given.sound)  # what must not stand in two parts
        self.bound = (*self.content, given.session)  # what stays together in a division by sentence

    def part(self, name: str) -> Places:
        """Return what stands in a part so far."""
        return np.flatnonzero(self.places == PARTS.index(name))

    def too_few(self, missing: Sequence[str]) -> str:
        """Say why parts are empty."""
        groups = disjoint.connected(*self.bound).max(initial=-1) + 1
        bound = "; sessions stay whole, so those of different days need different names"
        return (
            f"{len(self.places)} utterances of {groups} sentences or sessions are too few to divide: nothing "
            f"is left for {' and '.join(missing)}{bound if (self.ties.session >= 0).any() else ''}"
        )

    def leave_out(self, lost: Places, name: str, held: Places) -> None:
        """Take places out, since those that are held, in a part of this name, have their content."""
        said, heard = (np.isin(kind[lost], kind[held]) & (kind[lost] >= 0) for kind in self.content)
        kinds = [_PLACES.index(f"{kind}_in_{name}") for kind in ("sound", "sentence")]
        self.places[lost] = np.where(heard & ~said, *kinds)

    def by_sentence(self, name: str, share: float) -> None:
        """Draw from train what shares sentence, sound or session until a share of all speech is reached."""
        target_s = share * self.total_s
        chosen = self._drawn(self.bound, target_s)
        if name == "dev" and not 0 < math.fsum(self.ties.seconds[chosen]) <= _MOST_SHARE * target_s:
            # few long sessions: better a dev of the same sittings than hardly anything to learn from
            chosen = self._drawn(self.content, target_s)
        self.places[chosen] = PARTS.index(name)

    def _drawn(self, kinds: Sequence[Numbers], target_s: float) -> Places:
        """Draw groups of train's places that share labels; never all of them."""
        pool = self.part("train")
        groups = disjoint.connected(*(kind[pool] for kind in kinds))
        firsts = np.unique(groups, return_index=True)[1]
        sizes_s = np.bincount(groups, self.ties.seconds[pool])
        if len(sizes_s) < 2:
            return pool[:0]
        seed, ids = self.options.seed, self.ties.ids
        draws = (disjoint.draw(seed, "sentence", ids[place]) for place in pool[firsts])
        order = np.argsort(np.fromiter(draws, "S32", len(firsts)), kind="stable")
        found_s = 0.0
        chosen = []
        for group in order:
            if abs(found_s + sizes_s[group] - target_s) < abs(found_s - target_s):
                chosen.append(group)
                found_s += sizes_s[group]
            if found_s > _NEAR * target_s:
                break
        if not chosen or len(chosen) == len(sizes_s):
            chosen = [order[np.argmin(sizes_s[order])]]
        return pool[np.isin(groups, chosen)]

    def by_speaker(self, *, forced: bool) -> bool:
        """Give test, and dev if possible, speakers of their own; False where they do not allow it.

        Raises:
            SplitError: If it is forced and they do not allow it.
        """
        tries = [self._bounds(self.options.test_share, _MOST_LOST)]
        if forced:
            tries += [
                replace(tries[0], ceiling_s=0.6 * self.total_s, lost_s=self.total_s, floor_s=floor_s)
                for floor_s in (tries[0].floor_s, 0.0)
            ]
        if not any(self._speakers("test", bounds, leave=1) for bounds in tries):
            if not forced:
                return False
            names, heard_s = [*self.ties.speakers, "unknown"], Counter[str]()  # the last is that of -1
            for number, long_s in zip(self.ties.speaker, self.ties.seconds, strict=True):
                heard_s[names[number]] += long_s
            shown = ", ".join(f"{name} {long_s / 60:.1f} min" for name, long_s in heard_s.most_common(8))
            raise SplitError(f"the speakers cannot be kept apart ({shown}): divide by sentence instead")
        self._speakers("dev", self._bounds(self.options.dev_share, _MOST_LOST / 2), leave=2)
        return True

    def _bounds(self, share: float, most_lost: float) -> Bounds:
        target_s = share * self.total_s
        floor_s = min(target_s / 2, _SMALLEST_S)
        return Bounds(target_s, floor_s, _MOST_SHARE * target_s, most_lost * self.total_s)

    def _speakers(self, name: str, bounds: Bounds, *, leave: int) -> bool:
        """Give a part speakers of its own, leaving so many to train at least; False where that cannot be."""
        pool = self.part("train")
        speaker, session = self.ties.speaker[pool], self.ties.session[pool]
        voices = disjoint.connected(speaker, session)
        # where nobody says who speaks, it may be anybody: that stays in train
        known = np.unique(voices[speaker >= 0])
        numbers = np.full(voices.max(initial=-1) + 1, -1)
        numbers[known] = np.arange(len(known))
        firsts = np.unique(voices, return_index=True)[1][known]
        names = [f"{name} {self._named(place)} {self.ties.ids[place]}" for place in pool[firsts]]
        content = disjoint.connected(*(kind[pool] for kind in self.content))
        speakers = disjoint.Speakers(numbers[voices], content, self.ties.seconds[pool], names)
        found = speakers.best(bounds, self.options.seed, leave=leave)
        if found is None:
            return False
        rest = ~(found.inside | found.lost_inside | found.lost_outside)
        self.leave_out(pool[found.lost_outside], name, pool[found.inside])
        self.leave_out(pool[found.lost_inside], "train", pool[rest])
        self.places[pool[found.inside]] = PARTS.index(name)
        return True

    def _named(self, place: int) -> str | None:
        number = self.ties.speaker[place]
        return None if number < 0 else self.ties.speakers[number]

    def by_source(self) -> None:
        """Take the corpus's own parts; what two of them share is left out of the one that is learnt from.

        Raises:
            SplitError: If there is no train or no test.
        """
        names = [*self.ties.source_splits, None]  # the last is that of -1
        meant = np.array([_PLACES.index(_source_part(name) or _NO_PART) for name in names], np.uint8)
        self.places = meant[self.ties.source_split]
        if not len(self.part("test")) or not len(self.part("train")):
            found = Counter(names[number] or "none" for number in self.ties.source_split)
            shown = ", ".join(f"{name} ({count})" for name, count in found.most_common(8))
            raise SplitError(f"the corpus's own division lacks train or test; source_split is: {shown}")
        for name, lesser in (("test", ("train", "dev")), ("dev", ("train",))):
            held = self.part(name)
            for rows in map(self.part, lesser):
                shared = [np.isin(kind[rows], kind[held]) & (kind[rows] >= 0) for kind in self.content]
                self.leave_out(rows[np.logical_or(*shared)], name, held)

    def marks(self, *, leaked: bool) -> tuple[str, ...]:
        """Return what to keep in mind."""
        lost = (self.places >= len(PARTS)) & (self.places != _PLACES.index(_NO_PART))
        voices, sessions = (
            {
                name: {None if one < 0 else one for one in np.unique(column[self.part(name)]).tolist()}
                for name in PARTS
            }
            for column in (self.ties.speaker, self.ties.session)
        )
        return marks.of(voices, sessions, leaked=leaked and bool(lost.any()))


def _source_part(source_split: str | None) -> str | None:
    """Return the part that a corpus's own name for it means, such as "train-clean-5" or "validation"."""
    for name, pattern in _SOURCE_PARTS.items():
        if re.match(pattern, (source_split or "").strip().lower()):
            return name
    return None
