"""A language model that knows words and spells those it does not know.

In: a model of words and one of graphemes, both of the same text. Out: the probability of each further
grapheme. It does not know audio, emissions or where the text comes from.

The next word of a sentence comes from the model of words with the probability `share`, and is spelt by the
model of graphemes otherwise, or where the model of words would say that it is unknown. What is told is the
exact probability of the next grapheme under that mixture: all words that go on as the one begun are summed,
so that a search hears of a word at its first grapheme and not at its end. Source: Bisani and Ney, "Open
vocabulary speech recognition with flat hybrid models", Interspeech 2005, for words beside what spells them;
Ortmanns, Ney and Eiden, "Language-model look-ahead for large vocabulary speech recognition", ICSLP 1996, for
the sums.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mms_adapt.errors import OptionError
from mms_adapt.ngram import BEGIN, END, UNKNOWN, Gram, Model, NGram

_LAST = "\U0010ffff"  # sorts behind every grapheme
_MOST_BYTES = 64 << 20  # for probabilities of words that were asked for lately


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a sentence.

    Attributes:
        history: The words before the one begun, as many as matter.
        spelt: The graphemes of the word begun.
        low: The first word of the vocabulary that goes on so.
        high: Behind the last one.
        graphemes: The context for the model of graphemes.
        log_spelling: Logarithm of the probability of `spelt` as the model of graphemes has it.
        log_both: Logarithm of the probability of `spelt` from either model.
    """

    history: Gram
    spelt: Gram
    low: int
    high: int
    graphemes: Gram
    log_spelling: float = 0.0
    log_both: float = 0.0


@dataclass(frozen=True, slots=True)
class _Next:
    """What may come behind some words.

    Attributes:
        below: Probability of all words before a place in the vocabulary, `(words + 1,)`, given that there is
            a further word.
        unknown: Probability of one that the model of words does not know, likewise.
        ended: Probability that there is none.
    """

    below: NDArray[np.float64]
    unknown: float
    ended: float


class OpenVocabulary(Model):
    """Words, and graphemes for those that are unknown.

    Args:
        graphemes: Model of graphemes, with a delimiter between words.
        words: Model of words.
        share: Probability that the next word comes from the model of words, 0 to 1 and less than 1.
        spell: Returns a word's graphemes; a word with one that the model of graphemes lacks is left out.
        delimiter: The token between words.

    Raises:
        OptionError: If `share` is no such number, or the model of graphemes has no delimiter.
    """

    def __init__(
        self,
        graphemes: NGram,
        words: NGram,
        share: float,
        spell: Callable[[str], Sequence[str]],
        delimiter: str,
    ) -> None:
        if not 0 <= share < 1:
            raise OptionError(f"words_share={share}: give 0 to less than 1")
        if delimiter not in graphemes.tokens:
            raise OptionError(
                f"words stands beside an lm of graphemes, and lm has no {delimiter!r} among its tokens"
            )
        self.graphemes, self.words, self.share, self.delimiter = graphemes, words, share, delimiter
        spellings = {tuple(spell(one)): one for one in sorted(words.tokens)}
        known = graphemes.tokens - {delimiter}
        spelt = sorted((one, word) for one, word in spellings.items() if one and known.issuperset(one))
        self._spelt = [graphemes for graphemes, _ in spelt]
        self._word = [word for _, word in spelt]
        self._index = {word: place for place, word in enumerate(self._word)}
        self._seen: dict[Gram, tuple[NDArray[np.int64], NDArray[np.float64]]] = self._continuations()
        kept = max(16, _MOST_BYTES // (8 * len(spelt) + 8))
        self._next: Callable[[Gram], _Next] = lru_cache(maxsize=kept)(self._reckoned)

    def with_share(self, share: float) -> "OpenVocabulary":
        """Return it with another share; both use the same tables."""
        found = copy(self)
        found.share = share
        return found

    @property
    def start(self) -> Place:
        """The place before a sentence."""
        return Place((BEGIN,), (), 0, len(self._spelt), (BEGIN,))

    def step(self, place: Place, token: str) -> tuple[float, Place]:
        """Return the natural logarithm of a grapheme's probability, and the place behind it.

        Args:
            place: Where it is to stand.
            token: A grapheme, the delimiter, or the end of a sentence.
        """
        spelling = place.log_spelling + self.graphemes.log(place.graphemes, token)
        context = self.graphemes.shortened((*place.graphemes, token))
        behind = self._next(place.history)
        if token in (self.delimiter, END):
            return self._ended(place, token, spelling, context, behind)
        spelt = (*place.spelt, token)
        low, high = place.low, place.high
        if low < high:
            low = bisect_left(self._spelt, spelt, low, high)
            high = bisect_left(self._spelt, (*spelt, _LAST), low, high)
        known = float(behind.below[high] - behind.below[low]) if low < high else 0.0
        both = self._mixed(known, behind.unknown, spelling)
        return both - place.log_both, Place(place.history, spelt, low, high, context, spelling, both)

    def _ended(
        self, place: Place, token: str, spelling: float, context: Gram, behind: _Next
    ) -> tuple[float, Place]:
        """Return the same of the end of a word."""
        whole = place.low < place.high and self._spelt[place.low] == place.spelt
        word = self._word[place.low] if whole else UNKNOWN
        history = self.words.shortened((*place.history, word))
        known = 0.0
        if whole:
            ended = self._next(history).ended
            known = float(behind.below[place.low + 1] - behind.below[place.low])
            known *= ended if token == END else 1 - ended
        both = self._mixed(known, behind.unknown, spelling)
        return both - place.log_both, Place(history, (), 0, len(self._spelt), context)

    def _mixed(self, known: float, unknown: float, log_spelling: float) -> float:
        """Return the logarithm of a probability from either model."""
        spelt = math.log(1 - self.share * (1 - unknown)) + log_spelling
        if self.share * known <= 0:
            return spelt
        word = math.log(self.share * known)
        high, low = (word, spelt) if word > spelt else (spelt, word)
        return high + math.log1p(math.exp(low - high))

    def _reckoned(self, history: Gram) -> _Next:
        """Return what may come behind some words."""
        chances = self._chances(history)
        ended = math.exp(self.words.log(history, END))
        ended = min(ended, 1 - 1e-6)
        # as a file is rounded, its words and the end may sum to more than 1
        below = np.concatenate([[0.0], np.cumsum(chances)]) / max(1 - ended, float(chances.sum()))
        return _Next(below, max(0.0, 1.0 - float(below[-1])), ended)

    def _chances(self, history: Gram) -> NDArray[np.float64]:
        """Return the probability of every word of the vocabulary behind others, `(words,)`."""
        if history:
            left = math.exp(self.words.backoffs.get(history, 0.0))
            found = left * self._chances(history[1:])
        else:
            found = np.zeros(len(self._spelt))
        if history in self._seen:
            places, chances = self._seen[history]
            found[places] = chances
        return found

    def _continuations(self) -> dict[Gram, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return places and probabilities of the words that were seen behind others."""
        found: dict[Gram, tuple[list[int], list[float]]] = {}
        for gram, log in self.words.logs.items():
            place = self._index.get(gram[-1])
            if place is not None:
                places, logs = found.setdefault(gram[:-1], ([], []))
                places.append(place)
                logs.append(log)
        return {
            context: (np.array(places), np.exp(np.array(logs))) for context, (places, logs) in found.items()
        }
