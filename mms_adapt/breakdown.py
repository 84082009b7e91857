"""Where the errors are: by length, by loudness, by words that training never showed, by grapheme.

In: scored utterances, and a number or a set of words beside them. Out: `Breakdown`s and a `Matrix`, counts
all of them. It does not know audio, training or what a report looks like.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from mms_adapt.edits import Confusion, Counts, UtteranceScore

_GROUPS, _LEAST = 4, 5  # groups at most; utterances in each at least
_LETTERS = 20


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the utterances, or of their words, together.

    Attributes:
        name: What they have in common.
        utterances: How many they are.
        words: Their words.
        characters: Their characters; None where words are grouped.
    """

    name: str
    utterances: int
    words: Counts
    characters: Counts | None = None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All utterances, or all words of the references, in groups.

    Attributes:
        name: What they are grouped by.
        note: What the reader must know of it.
        groups: From the least to the most.
    """

    name: str
    note: str
    groups: tuple[Group, ...]


def by_number(
    scored: Sequence[UtteranceScore], values: Sequence[float], *, name: str, unit: str, note: str = ""
) -> Breakdown:
    """Divide utterances into up to four groups of about equal size, by a number.

    Args:
        scored: The utterances.
        values: The number of each.
        name: What it is.
        unit: Its unit.
        note: What the reader must know of it.
    """
    numbers = np.asarray(values, dtype=np.float64)
    count = min(_GROUPS, max(1, len(scored) // _LEAST))
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, count + 1))) if len(scored) else np.zeros(0)
    places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(0, len(edges) - 2))
    groups = []
    for place in range(max(1, len(edges) - 1)):
        inside = np.flatnonzero(places == place).tolist()
        if inside:
            low, high = numbers[inside].min(), numbers[inside].max()
            groups.append(_group(f"{low:.1f} to {high:.1f} {unit}", [scored[one] for one in inside]))
    return Breakdown(name, note, tuple(groups))


def _group(name: str, scored: Sequence[UtteranceScore]) -> Group:
    words = sum((one.words for one in scored), Counts())
    return Group(name, len(scored), words, sum((one.characters for one in scored), Counts()))


def by_novelty(scored: Iterable[UtteranceScore], known: AbstractSet[str]) -> Breakdown:
    """Divide the words of the references into those that training showed and those that it did not.

    Args:
        scored: The utterances.
        known: The words of the training transcripts.
    """
    kinds: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    holding: dict[bool, set[int]] = {True: set(), False: set()}
    for place, one in enumerate(scored):
        for edit in one.alignment:
            if edit.kind != "insert":
                kinds[edit.reference in known][edit.kind] += 1
                holding[edit.reference in known].add(place)
    groups = [
        Group(name, len(holding[kind]), Counts(found["equal"], found["substitute"], found["delete"], 0))
        for kind, name in ((True, "heard in training"), (False, "never heard in training"))
        if (found := kinds[kind])
    ]
    note = "Of the words that were said: which went wrong. Words that were added belong to neither."
    return Breakdown("Words new to the adapter", note, tuple(groups))


@dataclass(frozen=True, slots=True)
class Matrix:
    """How often each character was recognised as which; "" stands for nothing.

    Attributes:
        characters: Those most often involved in an error, the most frequent first; "" is the last.
        counts: `counts[said][recognised]`, in that order; where both are the same, it was right.
        totals: How often each was said, or, for "", how often something was added.
    """

    characters: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    totals: tuple[int, ...]

    def share(self, said: int, recognised: int) -> float:
        """Return the share of a row that a cell holds; 0 where the row is empty."""
        return self.counts[said][recognised] / self.totals[said] if self.totals[said] else 0.0


def matrix(
    scored: Iterable[UtteranceScore], confusions: Sequence[Confusion], *, limit: int = _LETTERS
) -> Matrix:
    """Return the confusion matrix of the characters with most errors.

    Args:
        scored: The utterances, for how often each character was said.
        confusions: Every kind of error, with its count.
        limit: So many characters at most.
    """
    said = Counter(character for one in scored for character in one.reference)
    errors, involved, lost = dict[tuple[str, str], int](), Counter[str](), Counter[str]()
    for one in confusions:
        errors[one.reference, one.hypothesis] = one.count
        lost[one.reference] += one.count
        for character in filter(None, (one.reference, one.hypothesis)):
            involved[character] += one.count
    ordered = sorted(involved, key=lambda character: (-involved[character], character))
    characters = (*ordered[:limit], "")
    rows = tuple(
        tuple(
            said[row] - lost[row] if row == column and row else errors.get((row, column), 0)
            for column in characters
        )
        for row in characters
    )
    totals = tuple(said[one] if one else lost[""] for one in characters)
    return Matrix(characters, rows, totals)
