"""Divide utterances into train, dev and test, so that what is measured is not what was learnt by heart.

In: utterances with references, as `mms_adapt.quality` gives them. Out: `Splits`: the three parts, what had to
be left out for their sake, and marks. It does not know audio, models or files.

No sentence and no identical sound stands in two parts, whatever the mode; a sentence is the reference's
letters, marks and digits, case folded. A session stays whole, except in the corpus's own division, where
there is but one, and except that dev may share sessions with train where it would else take too much from it.

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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mms_adapt import draft
from mms_adapt.draft import NO_PART, PLACES, Draft
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.ties import Ties

PARTS = draft.PARTS
MODES = ("auto", "speaker", "sentence", "source")
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
    names: tuple[str, ...] = PLACES

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
            detail = f"source_split is {one.source_split!r}" if place == NO_PART else repr(one.reference)
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
    with Ties(utterances) as found:
        made = Draft(found, options.seed)
        mode = options.mode
        if mode == "source":
            made.by_source()
        elif mode != "sentence" and made.by_speaker(
            options.test_share, options.dev_share, forced=mode == "speaker"
        ):
            mode = "speaker"
        else:
            mode = "sentence"
            made.by_sentence("test", options.test_share)
        if not made.part("dev").any():
            made.by_sentence("dev", options.dev_share)
        if missing := [name for name in PARTS if not made.part(name).any()]:
            raise SplitError(made.too_few(missing))
        places = np.empty_like(made.places)
        places[found.column("order")] = made.places
        return Plan(places, mode, made.marks(leaked=mode == "source"))


def part_sha256(utterances: Iterable[Utterance]) -> str:
    """Return a hash of a part: which spans of which recordings, said by whom, with which references."""
    rows = sorted(
        json.dumps([one.id, one.recording, one.start_s, one.end_s, one.speaker, one.reference])
        for one in utterances
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
