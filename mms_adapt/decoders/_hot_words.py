"""Words that are expected, such as names: what the beam decoder adds for each that a text holds.

In: words with weights, as a mapping or a file. Out: a tree of tokens to walk along while a text grows. It
does not know probabilities or how texts are searched.
"""

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mms_adapt.errors import OptionError

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab

WEIGHT = 3.0
LARGEST_WEIGHT = 20.0
ROOT, OUTSIDE = 0, -1


class HotWords:
    """A tree of words' tokens; `ROOT` is where a word begins, `OUTSIDE` where no hot word leads.

    Args:
        vocab: The adapter's vocabulary.
        words: Weight of each word: what its every occurrence adds to the logarithm of a text's probability.

    Raises:
        OptionError: If a word is none, or cannot be written with the vocabulary, or a weight makes no sense.
    """

    def __init__(self, vocab: "Vocab", words: Mapping[str, Any]) -> None:
        wrong: list[str] = []
        self._next: dict[tuple[int, int], int] = {}
        self._weights: dict[int, float] = {}
        self._ahead: list[float] = [0.0]
        for word, weight in words.items():
            problem = _problem(vocab, word, weight)
            if problem:
                wrong.append(problem)
            else:
                self._add(vocab.encode(word), float(weight))
        if wrong:
            raise OptionError("; ".join(wrong))
        self.largest = max([0.0, *self._weights.values()])

    def _add(self, token_ids: list[int], weight: float) -> None:
        place = ROOT
        for reached, token in enumerate(token_ids, start=1):
            place = self._next.setdefault((place, token), len(self._ahead))
            if place == len(self._ahead):
                self._ahead.append(0.0)
            self._ahead[place] = max(self._ahead[place], weight * reached / len(token_ids))
        self._weights[place] = weight

    def step(self, place: int, token: int) -> int:
        """Return where one more token of a word leads."""
        return self._next.get((place, token), OUTSIDE)

    def weight(self, place: int) -> float:
        """Return what a word that ends here adds; 0 where it is no hot word."""
        return self._weights.get(place, 0.0)

    def ahead(self, place: int) -> float:
        """Return what an unfinished word is worth while texts are compared: a share of what it may become."""
        return self._ahead[place] if place > ROOT else 0.0


def of(given: Mapping[str, float] | str | PathLike[str]) -> dict[str, float]:
    """Return words and weights from what a user gives.

    Args:
        given: A mapping; or a file with a word a line, and its weight behind it where it is not 3.

    Raises:
        OptionError: If the file cannot be read, or a line is none.
    """
    if isinstance(given, Mapping):
        return dict(given)
    path = Path(given)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"hot words: {path} cannot be read as text in UTF-8: {error}") from error
    found: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        if not parts or line.lstrip().startswith("#"):
            continue
        try:
            (word, weight) = (parts[0], float(parts[1])) if len(parts) == 2 else (parts[0], WEIGHT)
        except ValueError:
            parts = []
        if len(parts) not in (1, 2):
            raise OptionError(f"{path}:{number}: {line.strip()!r}: write a word, or a word and its weight")
        found[word] = weight
    return found


def _problem(vocab: "Vocab", word: str, weight: Any) -> str:
    """Say why a word cannot be hot; "" where it can."""
    if not word or word.split() != [word] or vocab.tokens[vocab.delimiter_id] in word:
        return f"hot word {word!r}: give single words, without spaces"
    if unknown := vocab.unknown(word):
        return f"hot word {word!r}: the adapter cannot write {' '.join(map(repr, sorted(unknown)))}"
    if not (isinstance(weight, int | float) and math.isfinite(weight) and abs(weight) <= LARGEST_WEIGHT):
        return f"hot word {word!r}: weight {weight!r}: give a number from -20 to 20"
    return ""
