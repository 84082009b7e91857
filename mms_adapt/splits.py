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
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from mms_adapt import disjoint
from mms_adapt.disjoint import Bounds
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.manifest import Quarantined, Utterance

PARTS = ("train", "dev", "test")
MODES = ("auto", "speaker", "sentence", "source")
_SOURCE_PARTS = {"train": r"(train|trn)", "dev": r"(dev|val|tune)", "test": r"(test|tst|eval)"}
_SMALLEST_S = 300.0  # a part by speakers may fall short of its share, to half of it or to this
_MOST_SHARE, _MOST_LOST = 2.0, 0.15
_NEAR = 0.98  # of a share: then no more sentences are drawn, or short ones would fill the rest

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


def assign(utterances: Iterable[Utterance], options: SplitOptions | None = None) -> Splits:
    """Divide utterances into train, dev and test.

    Args:
        utterances: With references and known ends.
        options: How.

    Raises:
        SplitError: If there are too few sentences or speakers, or the corpus's own division lacks a part.
    """
    options = options or SplitOptions()
    draft = _Draft(sorted(utterances, key=lambda one: one.id), options)
    mode = options.mode
    if mode == "source":
        draft.by_source()
    elif mode != "sentence" and draft.by_speaker(forced=mode == "speaker"):
        mode = "speaker"
    else:
        mode = "sentence"
        draft.by_sentence("test", options.test_share)
    if not draft.part("dev"):
        draft.by_sentence("dev", options.dev_share)
    parts = {name: tuple(draft.part(name)) for name in PARTS}
    if missing := [name for name in PARTS if not parts[name]]:
        bound = "; sessions stay whole, so those of different days need different names"
        raise SplitError(
            f"{len(draft.given)} utterances of {draft.sentence_count()} sentences or sessions are too few to "
            f"divide: nothing is left for {' and '.join(missing)}"
            f"{bound if any(one.session for one in draft.given) else ''}"
        )
    leaked = mode == "source" and any(one.reason != "no_source_split" for one in draft.left_out)
    left_out = tuple(sorted(draft.left_out, key=lambda one: one.utterance.id))
    return Splits(**parts, left_out=left_out, mode=mode, marks=marks_of(parts, leaked=leaked))


def part_sha256(utterances: Iterable[Utterance]) -> str:
    """Return a hash of a part: which spans of which recordings, said by whom, with which references."""
    rows = sorted(
        json.dumps([one.id, one.recording, one.start_s, one.end_s, one.speaker, one.reference])
        for one in utterances
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


class _Draft:
    """A split in the making: everything is train at first."""

    def __init__(self, given: Sequence[Utterance], options: SplitOptions) -> None:
        self.given, self.options = given, options
        self.total_s = math.fsum(one.duration_s for one in given)
        self.parts = dict.fromkeys((one.id for one in given), "train")
        self.left_out: list[Quarantined] = []

    def part(self, name: str) -> list[Utterance]:
        """Return what stands in a part so far."""
        return [one for one in self.given if self.parts.get(one.id) == name]

    def sentence_count(self) -> int:
        """Return how many groups can be divided by sentence at most."""
        return len(disjoint.connected([_bound(one) for one in self.given]))

    def leave_out(self, utterance: Utterance, kind: str, other: str = "") -> None:
        """Take an utterance out, since `other` holds its sentence or sound, or it belongs nowhere."""
        del self.parts[utterance.id]
        detail = repr(utterance.reference) if other else f"source_split is {utterance.source_split!r}"
        reason = f"{kind}_in_{other}" if other else kind
        self.left_out.append(Quarantined(utterance, reason, detail, WHAT_TO_DO[kind]))

    def by_sentence(self, name: str, share: float) -> None:
        """Draw from train what shares sentence, sound or session until a share of all speech is reached."""
        target_s = share * self.total_s
        chosen = self._drawn([_bound(one) for one in self.part("train")], target_s)
        if name == "dev" and not 0 < math.fsum(one.duration_s for one in chosen) <= _MOST_SHARE * target_s:
            # few long sessions: better a dev of the same sittings than hardly anything to learn from
            chosen = self._drawn([_content(one) for one in self.part("train")], target_s)
        self.parts.update((one.id, name) for one in chosen)

    def _drawn(self, labels: Sequence[list[tuple[str, str]]], target_s: float) -> list[Utterance]:
        """Draw groups of train's utterances that share labels; never all of them."""
        pool = self.part("train")
        bundles = [[pool[place] for place in places] for places in disjoint.connected(labels)]
        if len(bundles) < 2:
            return []
        bundles.sort(key=lambda bundle: disjoint.draw(self.options.seed, "sentence", bundle[0].id))
        found_s = 0.0
        chosen: list[list[Utterance]] = []
        for bundle in bundles:
            size_s = math.fsum(one.duration_s for one in bundle)
            if abs(found_s + size_s - target_s) < abs(found_s - target_s):
                chosen.append(bundle)
                found_s += size_s
            if found_s > _NEAR * target_s:
                break
        if not chosen or len(chosen) == len(bundles):
            chosen = [min(bundles, key=lambda bundle: math.fsum(one.duration_s for one in bundle))]
        return [one for bundle in chosen for one in bundle]

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
            minutes = Counter[str]()
            for one in self.given:
                minutes[one.speaker or "unknown"] += round(one.duration_s)
            shown = ", ".join(f"{name} {long_s / 60:.1f} min" for name, long_s in minutes.most_common(8))
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
        units = [
            places
            for places in disjoint.connected([_voice(one) for one in pool])
            # where nobody says who speaks, it may be anybody: that stays in train
            if any(pool[place].speaker is not None for place in places)
        ]
        content = [0] * len(pool)
        for number, places in enumerate(disjoint.connected([_content(one) for one in pool])):
            for place in places:
                content[place] = number
        seconds = [one.duration_s for one in pool]
        names = [f"{name} {pool[unit[0]].speaker} {pool[unit[0]].id}" for unit in units]
        found = disjoint.Speakers(units, content, seconds, names).best(bounds, self.options.seed, leave=leave)
        if found is None:
            return False
        here = {label for place in found.inside for label in _content(pool[place])}
        for place in found.lost_outside:
            self.leave_out(pool[place], _kind(pool[place], here), name)
        lost = found.inside | found.lost_inside | found.lost_outside
        there = {label for place in set(range(len(pool))) - lost for label in _content(pool[place])}
        for place in found.lost_inside:
            self.leave_out(pool[place], _kind(pool[place], there), "train")
        self.parts.update((pool[place].id, name) for place in found.inside)
        return True

    def by_source(self) -> None:
        """Take the corpus's own parts; what two of them share is left out of the one that is learnt from.

        Raises:
            SplitError: If there is no train or no test.
        """
        for one in self.given:
            if (name := _source_part(one.source_split)) is not None:
                self.parts[one.id] = name
            else:
                self.leave_out(one, "no_source_split")
        if not self.part("test") or not self.part("train"):
            found = Counter(one.source_split or "none" for one in self.given)
            shown = ", ".join(f"{name} ({count})" for name, count in found.most_common(8))
            raise SplitError(f"the corpus's own division lacks train or test; source_split is: {shown}")
        for name, lesser in (("test", ("train", "dev")), ("dev", ("train",))):
            held = {label for one in self.part(name) for label in _content(one)}
            for one in [one for other in lesser for one in self.part(other)]:
                if not held.isdisjoint(_content(one)):
                    self.leave_out(one, _kind(one, held), name)


def _content(utterance: Utterance) -> list[tuple[str, str]]:
    """Return what must not stand in two parts: the sentence and the sound."""
    labels = [("sentence", sentence_key(utterance.reference or ""))]
    return labels + ([("sound", utterance.audio_sha256)] if utterance.audio_sha256 else [])


def sentence_key(reference: str) -> str:
    """Return what makes a sentence the same as another: its letters, marks and digits, case folded."""
    folded = unicodedata.normalize("NFC", reference.casefold())
    letters = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in folded)
    return " ".join(letters.split()) or folded


def _voice(utterance: Utterance) -> list[tuple[str, str]]:
    """Return what tells whose voice it is."""
    found = (("speaker", utterance.speaker), ("session", utterance.session))
    return [(kind, value) for kind, value in found if value is not None]


def _bound(utterance: Utterance) -> list[tuple[str, str]]:
    """Return what keeps utterances together in a division by sentence."""
    return [*_content(utterance), *(one for one in _voice(utterance) if one[0] == "session")]


def _kind(utterance: Utterance, held: set[tuple[str, str]]) -> str:
    """Return whether it is the sentence or the sound that the other side holds."""
    return next((label[0] for label in _content(utterance) if label in held), "sentence")


def _source_part(source_split: str | None) -> str | None:
    """Return the part that a corpus's own name for it means, such as "train-clean-5" or "validation"."""
    for name, pattern in _SOURCE_PARTS.items():
        if re.match(pattern, (source_split or "").strip().lower()):
            return name
    return None


def marks_of(parts: Mapping[str, Sequence[Utterance]], *, leaked: bool) -> tuple[str, ...]:
    """Return what the parts themselves tell one to keep in mind."""
    voices = {name: {one.speaker for one in part} for name, part in parts.items()}
    known = {name: found - {None} for name, found in voices.items()}
    everybody = voices["train"] | voices["dev"] | voices["test"]
    marks: list[str] = []
    if len(everybody) == 1 and None not in everybody:
        marks.append("one_speaker")
    elif known["test"] & known["train"]:
        marks.append("test_shares_speakers")
    elif known["dev"] & known["train"]:
        marks.append("dev_shares_speakers")
    if None in everybody:
        marks.append("unknown_speakers")
    sessions = {name: {one.session for one in part} - {None} for name, part in parts.items()}
    marks += [f"{name}_shares_sessions" for name in ("test", "dev") if sessions[name] & sessions["train"]]
    if leaked:
        marks.append("source_split_leaked")
    return tuple(marks)
