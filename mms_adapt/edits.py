"""Alignment of hypotheses with references, by words and by characters, with jiwer.

In: pairs of strings. Out: for each its counts and its word alignment, and how often each character was taken
for which. It does not know rates of a set, intervals, audio or files.

What is counted:

* A word is what stands between white space.
* A character is a code point of the NFC text, the single space between two words included, so that a missed
  word boundary is one character error. This is `jiwer.cer`.
* An empty reference has no words to get wrong: whatever the hypothesis says there is insertions.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

UNITS = "word=space,char=nfc+space"
_ALIGNED_AT_ONCE = 512  # utterances whose jiwer objects are alive at a time


@dataclass(frozen=True, slots=True)
class Counts:
    """Hits and errors of one unit (words or characters)."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def length(self) -> int:
        """Words or characters of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors over reference length; None where the reference is empty."""
        return self.errors / self.length if self.length else None

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True)
class Edit:
    """One step of a word alignment.

    Attributes:
        kind: "equal", "substitute", "delete" (said, not recognised) or "insert" (recognised, not said).
        reference: The reference's word; "" for an insertion.
        hypothesis: The hypothesis's word; "" for a deletion.
    """

    kind: str
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often one character was recognised as another; "" stands for nothing."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One utterance: its texts as they were compared, its counts and its word alignment."""

    utterance_id: str
    speaker: str | None
    reference: str
    hypothesis: str
    words: Counts
    characters: Counts
    alignment: tuple[Edit, ...]


def align(
    references: Sequence[str],
    hypotheses: Sequence[str],
    ids: Sequence[str],
    speakers: Sequence[str | None],
    confusions: Counter[tuple[str, str]],
) -> Iterator[UtteranceScore]:
    """Align each pair by words and by characters, one after the other.

    Args:
        references: What was said.
        hypotheses: What was recognised, in the same order.
        ids: Their names.
        speakers: Who said each.
        confusions: Character errors are added here, as (reference, hypothesis) with "" for nothing.
    """
    import jiwer

    for start in range(0, len(references), _ALIGNED_AT_ONCE):
        part = slice(start, start + _ALIGNED_AT_ONCE)
        said = [canonical(text) for text in references[part]]
        heard = [canonical(text) for text in hypotheses[part]]
        words, characters = jiwer.process_words(said, heard), jiwer.process_characters(said, heard)
        for row, (reference, hypothesis) in enumerate(zip(said, heard, strict=True)):
            alignment = tuple(_edits(words, row, keep_equal=True))
            character_errors = [(one.reference, one.hypothesis) for one in _edits(characters, row)]
            confusions.update(character_errors)
            yield UtteranceScore(
                utterance_id=ids[start + row],
                speaker=speakers[start + row],
                reference=reference,
                hypothesis=hypothesis,
                words=_counts(words, row),
                characters=_counts(characters, row),
                alignment=alignment,
            )


def canonical(text: str) -> str:
    """Return the text as it is compared: NFC, single spaces, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def most_frequent(seen: Counter[tuple[str, str]]) -> tuple[Confusion, ...]:
    """Return confusions, the most frequent first, ties in the order of their characters."""
    ordered = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(*pair, count) for pair, count in ordered)


def _edits(output: Any, row: int, *, keep_equal: bool = False) -> Iterator[Edit]:
    """Return jiwer's alignment of one row, a step for each word or character."""
    reference, hypothesis = output.references[row], output.hypotheses[row]
    for chunk in output.alignments[row]:
        if chunk.type == "equal" and not keep_equal:
            continue
        said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for pair in zip_longest(said, heard, fillvalue=""):
            yield Edit(chunk.type, *pair)


def _counts(output: Any, row: int) -> Counts:
    """Return the counts of one row: every chunk but an insertion covers words of the reference."""
    sizes = Counter[str]()
    for chunk in output.alignments[row]:
        reference_size = chunk.ref_end_idx - chunk.ref_start_idx
        sizes[chunk.type] += reference_size or chunk.hyp_end_idx - chunk.hyp_start_idx
    return Counts(sizes["equal"], sizes["substitute"], sizes["delete"], sizes["insert"])
