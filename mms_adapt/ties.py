"""What utterances have in common, as numbers by place, so that a million of them take little memory.

In: utterances one by one. Out: `Ties`, columns of numbers in the order of the ids. It does not know what is
made of them; `mms_adapt.splits` divides by them.

Of sentences and sounds, 64-bit hashes are compared. That two different ones among a million are taken for
the same has a chance of one in thirty million, and would keep them together, no more.
"""

import hashlib
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt.manifest import Utterance

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Ties:
    """Columns by place, each `(places,)`. Equal numbers are equal values; below 0, there is none.

    Attributes:
        ids: The utterances' ids, in alphabetical order.
        order: Where each stood among those given.
        seconds: How long each is.
        speaker: Who speaks.
        session: Which sitting.
        source_split: The corpus's own part.
        sentence: What is said, but for case and punctuation.
        sound: The hash of the sound.
        speakers: Names of the speakers, by number.
        source_splits: Names of the corpus's own parts, by number.
    """

    ids: Sequence[str]
    order: NDArray[np.intp]
    seconds: NDArray[np.float64]
    speaker: Numbers
    session: Numbers
    source_split: Numbers
    sentence: Numbers
    sound: Numbers
    speakers: Sequence[str]
    source_splits: Sequence[str]


def gather(utterances: Iterable[Utterance]) -> Ties:
    """Take down what utterances have in common; they themselves are not kept.

    Args:
        utterances: With references and known ends.
    """
    ids: list[str] = []
    seconds, hashes = array("d"), (array("Q"), array("Q"))
    columns = (array("i"), array("i"), array("i"))
    names: tuple[dict[str, int], ...] = ({}, {}, {})
    for one in utterances:
        ids.append(one.id)
        seconds.append(one.duration_s)
        values = (one.speaker, one.session, one.source_split)
        for value, column, known in zip(values, columns, names, strict=True):
            column.append(-1 if value is None else known.setdefault(value, len(known)))
        hashes[0].append(_hash(sentence_key(one.reference or "")))
        hashes[1].append(_hash(one.audio_sha256) if one.audio_sha256 else 0)
    order = np.argsort(np.array(ids, dtype=object), kind="stable")
    speaker, session, source_split = (np.frombuffer(one, np.int32)[order] for one in columns)
    sentence, sound = (_numbered(np.frombuffer(one, np.uint64)[order]) for one in hashes)
    return Ties(
        ids=[ids[place] for place in order],
        order=order,
        seconds=np.frombuffer(seconds, np.float64)[order],
        speaker=speaker,
        session=session,
        source_split=source_split,
        sentence=sentence,
        sound=sound,
        speakers=list(names[0]),
        source_splits=list(names[2]),
    )


def sentence_key(reference: str) -> str:
    """Return what makes a sentence the same as another: its letters, marks and digits, case folded."""
    folded = unicodedata.normalize("NFC", reference.casefold())
    letters = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in folded)
    return " ".join(letters.split()) or folded


def _hash(text: str) -> int:
    """Return a number above 0."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest()) or 1


def _numbered(hashes: NDArray[np.uint64]) -> Numbers:
    """Return small numbers instead of hashes; -1 for 0."""
    numbers = np.unique(hashes, return_inverse=True)[1]
    return np.where(hashes == 0, -1, numbers).astype(np.int32)
