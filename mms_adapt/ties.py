"""What utterances have in common, as numbers by place, so that a million of them take little memory.

In: utterances one by one. Out: `Ties`, columns of numbers in the order of the ids, one at a time. It does not
know what is made of them; `mms_adapt.draft` divides by them.

Of sentences and sounds, 64-bit hashes are compared. That two different ones among a million are taken for
the same has a chance of one in thirty million, and would keep them together, no more.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mms_adapt.columns import Columns
from mms_adapt.disjoint import spans
from mms_adapt.manifest import Utterance

Numbers = NDArray[np.int32]
_KINDS = {"order": "i", "seconds": "d", "speaker": "i", "session": "i", "source_split": "i"}
_HASHES = {"sentence": "Q", "sound": "Q"}


class Ties:
    """Columns by place, each `(places,)`; places are in the alphabetical order of the ids.

    In "seconds" stands how long each utterance is, in "order" where it stood among those given. In the other
    columns, equal numbers are equal values; below 0, there is none:

    - "speaker": Who speaks.
    - "session": Which sitting.
    - "source_split": The corpus's own part.
    - "sentence": What is said, but for case and punctuation.
    - "sound": The hash of the sound.

    Close it, or use it as a context: what it holds is in a temporary file.

    Attributes:
        speakers: Names of the speakers, by number.
        source_splits: Names of the corpus's own parts, by number.

    Raises:
        SplitError: If there is no room for the temporary file.
    """

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        """Take down what utterances have in common; they themselves are not kept.

        Args:
            utterances: With references and known ends.
        """
        names: tuple[dict[str, int], ...] = ({}, {}, {})
        self._columns = Columns(_KINDS | _HASHES, _rows(utterances, names))
        self.speakers, _, self.source_splits = map(list, names)
        for kind in _HASHES:
            self._columns[kind] = _numbered(self._columns[kind])

    def __len__(self) -> int:
        return len(self._columns)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, a new array each time."""
        return self._columns[name]

    def ids(self) -> Iterator[str]:
        """Return the utterances' ids one by one."""
        return self._columns.texts()

    def close(self) -> None:
        """Give the temporary file back."""
        self._columns.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _rows(
    utterances: Iterable[Utterance], names: tuple[dict[str, int], ...]
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Return the id of each utterance and its row; names of speakers and the like get numbers."""
    for number, one in enumerate(utterances):
        values = (one.speaker, one.session, one.source_split)
        labels = (
            -1 if value is None else known.setdefault(value, len(known))
            for value, known in zip(values, names, strict=True)
        )
        said = _hash(sentence_key(one.reference or ""))
        heard = _hash(one.audio_sha256) if one.audio_sha256 else 0
        yield one.id, (number, one.duration_s, *labels, said, heard)


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
    known = np.sort(hashes)
    fresh = np.ones(len(known), dtype=bool)
    fresh[1:] = known[1:] != known[:-1]
    known = known[fresh]
    numbers = np.empty(len(hashes), np.int32)
    for part in spans(len(hashes)):
        numbers[part] = np.searchsorted(known, hashes[part])
    numbers[hashes == 0] = -1
    return numbers
