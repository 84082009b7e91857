"""Prefix beam search: the most probable texts, with an n-gram model and hot words where given.

In: emissions. Out: hypotheses; times and confidences are those of the best path through the text that was
found. Its answer for an utterance does not depend on the others of its batch.

Every text has the probability of all paths that give it, times that of the language model to the power of
`lm_weight`, times a bonus a token, times what its hot words add. Source: Hannun et al., "First-pass large
vocabulary continuous speech recognition using bi-directional recurrent DNNs", 2014, algorithm 1.
"""

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt import ngram
from mms_adapt.decoders import _hot_words, _search
from mms_adapt.decoders._search import NEVER, Search
from mms_adapt.errors import OptionError
from mms_adapt.ngram import END, Model, NGram
from mms_adapt.open_vocabulary import OpenVocabulary

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab


LARGEST = 20.0  # a weight or bonus
WIDTH = 64  # where nothing else is said


@dataclass(frozen=True)
class Options:
    """How wide the search is, and what the language model counts.

    Attributes:
        lm: An ARPA file, or a model. One of graphemes holds the word delimiter "|"; any other is of words.
        lm_weight: Power of the language model's probability.
        bonus: Added to the logarithm for every token of the language model, so that long texts are not
            punished for their length.
        beam_width: Texts that are kept after each frame.
        token_floor: Tokens whose log-probability in a frame is lower are not tried there.
        hot_words: What each occurrence of a word adds to the logarithm of a text's probability; or a file of
            a word a line, with a weight behind it where that is not 3.
        words: An ARPA file, or a model, of words, which stands beside an `lm` of graphemes: words that it
            knows come from it, and the others are spelt.
        words_share: Probability that a word comes from there, 0 to less than 1.
    """

    lm: NGram | str | PathLike[str] | None = None
    lm_weight: float = 0.5
    bonus: float = 0.5
    beam_width: int = WIDTH
    token_floor: float = -8.0
    hot_words: Mapping[str, float] | str | PathLike[str] | None = None
    words: NGram | str | PathLike[str] | None = None
    words_share: float = 0.3

    def __post_init__(self) -> None:
        wrong = []
        if self.words is not None and self.lm is None:
            wrong.append("words: they stand beside a model of graphemes, so give lm, too")
        if not 0 <= self.words_share < 1:
            wrong.append(f"words_share={self.words_share}: give 0 to less than 1")
        if not 0 <= self.lm_weight <= LARGEST:
            wrong.append(f"lm_weight={self.lm_weight}: give 0 to 20")
        if not -LARGEST <= self.bonus <= LARGEST:
            wrong.append(f"bonus={self.bonus}: give -20 to 20")
        if not 1 <= self.beam_width <= 10_000:
            wrong.append(f"beam_width={self.beam_width}: give 1 to 10000")
        if not self.token_floor < 0:
            wrong.append(f"token_floor={self.token_floor}: give a log-probability below 0")
        if wrong:
            raise OptionError("; ".join(wrong))


def build(vocab: "Vocab", **options: Any) -> "Beam":
    """Return the decoder for a vocabulary.

    Args:
        vocab: The adapter's vocabulary.
        options: Fields of `Options`; numbers may be words of a command line.

    Raises:
        OptionError: If an option is unknown or makes no sense.
        TextError: If the language model cannot be read.
    """
    kinds: dict[str, Callable[[Any], Any]] = {
        "lm": _search.as_given,
        "lm_weight": float,
        "bonus": float,
        "beam_width": int,
        "token_floor": float,
        "hot_words": _search.as_given,
        "words": _search.as_given,
        "words_share": float,
    }
    return Beam(vocab, Options(**_search.values("beam", kinds, options)))


_SLACK = 1e-3  # by so much more than 1 a file's probabilities may be rounded, to the power of a weight


class _Text:
    """A text that may have been said: a token behind another text."""

    __slots__ = ("context", "hot", "parent", "score", "token", "word")

    def __init__(
        self, parent: "_Text | None", token: int, word: str, context: Any, score: float, hot: int
    ) -> None:
        self.parent, self.token, self.word, self.context, self.score = parent, token, word, context, score
        self.hot = hot

    def ids(self) -> list[int]:
        """Return its tokens."""
        found: list[int] = []
        one: _Text | None = self
        while one is not None and one.parent is not None:
            found.append(one.token)
            one = one.parent
        return found[::-1]


class Beam(Search):
    """Prefix beam search over one vocabulary."""

    def __init__(self, vocab: "Vocab", options: Options) -> None:
        super().__init__(vocab)
        self.options = options
        self.lm, words = map(_model, (options.lm, options.words))
        self.model: Model | None = self.lm
        delimiter = self.tokens[self.delimiter_id]
        if self.lm is not None and words is not None:
            self.model = OpenVocabulary(self.lm, words, options.words_share, vocab.spell, delimiter)
        self.by_grapheme = self.lm is not None and delimiter in self.lm.tokens
        self.hot = _hot_words.HotWords(vocab, _hot_words.of(options.hot_words or {}))

    @property
    def _most(self) -> float:
        """The most that one more token can add to a text's score: a language model adds nothing."""
        return max(0.0, self.options.bonus) + 2 * self.hot.largest + _SLACK

    def weighted(self, lm_weight: float, bonus: float, beam_width: int | None = None) -> "Beam":
        """Return the decoder with the same models, counted otherwise, and of another width where given."""
        found, width = copy(self), beam_width or self.options.beam_width
        found.options = replace(self.options, lm_weight=lm_weight, bonus=bonus, beam_width=width)
        return found

    def search(self, logs: NDArray[np.float64]) -> list[int]:
        """Return the tokens of the best text, from log-probabilities `(frames, vocab)`."""
        start = None if self.model is None else self.model.start
        root = _Text(None, -1, "", start, 0.0, _hot_words.ROOT)
        known: dict[tuple[_Text, int], _Text] = {}
        beams: dict[_Text, tuple[float, float]] = {root: (0.0, NEVER)}  # ending in a blank; in its token
        for frame in logs:
            tried = np.flatnonzero(frame >= self.options.token_floor)
            steps = [(int(one), float(frame[one])) for one in tried if one != self.blank_id]
            beams = self._kept(self._next(beams, steps, float(frame[self.blank_id]), known))
        return self._best(beams)

    def _next(
        self,
        beams: dict[_Text, tuple[float, float]],
        steps: list[tuple[int, float]],
        blank: float,
        known: dict[tuple[_Text, int], _Text],
    ) -> dict[_Text, tuple[float, float]]:
        """Return the texts after one more frame, but longer ones that could not be among the best."""
        found: dict[_Text, list[float]] = {}
        least = self._least(beams, steps, blank) - self._most
        for text, (in_blank, in_token) in beams.items():
            both = _add(in_blank, in_token)
            here = found.setdefault(text, [NEVER, NEVER])
            here[0] = _add(here[0], both + blank)
            for token, log in steps:
                if token == self.delimiter_id and text.token in (self.delimiter_id, -1):
                    # a second word boundary, or one before the first word, changes nothing
                    place = 1 if text.token == token else 0
                    here[place] = _add(here[place], both + log)
                    continue
                if token == text.token:
                    here[1] = _add(here[1], in_token + log)
                    if in_blank == NEVER:
                        continue
                longer = known.get((text, token))
                reached = (in_blank if token == text.token else both) + log
                if reached + text.score < least and (longer is None or longer not in beams):
                    continue
                if longer is None:
                    longer = known[text, token] = self._longer(text, token)
                there = found.setdefault(longer, [NEVER, NEVER])
                there[1] = _add(there[1], reached)
        return {text: (pair[0], pair[1]) for text, pair in found.items()}

    def _least(
        self, beams: dict[_Text, tuple[float, float]], steps: list[tuple[int, float]], blank: float
    ) -> float:
        """Return what a text must reach to be among the best: the least that one has that stays."""
        if len(beams) < self.options.beam_width:
            return NEVER
        logs = dict(steps)
        least = math.inf
        for text, (in_blank, in_token) in beams.items():
            stays = _add(in_blank, in_token) + blank
            if text.token in logs:
                stays = _add(stays, in_token + logs[text.token])
            least = min(least, stays + text.score + self.hot.ahead(text.hot))
        return least

    def _kept(self, beams: dict[_Text, tuple[float, float]]) -> dict[_Text, tuple[float, float]]:
        """Return the best texts."""
        if len(beams) <= self.options.beam_width:
            return beams
        ahead = self.hot.ahead
        ranked = sorted(
            beams.items(),
            key=lambda pair: _add(*pair[1]) + pair[0].score + ahead(pair[0].hot),
            reverse=True,
        )
        return dict(ranked[: self.options.beam_width])

    def _best(self, beams: dict[_Text, tuple[float, float]]) -> list[int]:
        """Return the best text's tokens; a word boundary at its end changes nothing."""
        whole: dict[_Text, float] = {}
        for text, pair in beams.items():
            bare = text.parent if text.token == self.delimiter_id and text.parent else text
            whole[bare] = _add(whole.get(bare, NEVER), _add(*pair))
        return max(whole, key=lambda text: whole[text] + self._ended(text)).ids()

    def _longer(self, text: _Text, token: int) -> _Text:
        """Return a text with one more token, and what the language model and the hot words say of it."""
        written, boundary = self.tokens[token], token == self.delimiter_id
        hot = _hot_words.ROOT if boundary else self.hot.step(text.hot, token)
        added = self.hot.weight(text.hot) if boundary else 0.0
        if self.lm is None or self.by_grapheme:
            score, context = self._scored(text, written)
            return _Text(text, token, "", context, score + added, hot)
        if not boundary:
            return _Text(text, token, text.word + written, text.context, text.score, hot)
        score, context = self._scored(text, text.word)
        return _Text(text, token, "", context, score + added, hot)

    def _ended(self, text: _Text) -> float:
        """Return the score of a text that goes no further."""
        added = self.hot.weight(text.hot)
        if self.lm is None:
            return text.score + added
        if self.by_grapheme or not text.word:
            return self._scored(text, END)[0] - self.options.bonus + added
        score, context = self._scored(text, text.word)
        return score + self.options.lm_weight * self.lm.log(context, END) + added

    def _scored(self, text: _Text, token: str) -> tuple[float, Any]:
        """Return score and context behind one more token of the language model."""
        if self.model is None:
            return text.score, text.context
        log, context = self.model.step(text.context, token)
        return text.score + self.options.lm_weight * log + self.options.bonus, context


def _model(given: NGram | str | PathLike[str] | None) -> NGram | None:
    """Return a language model that may be a file."""
    return given if given is None or isinstance(given, NGram) else ngram.read(given)


def _add(left: float, right: float) -> float:
    """Return the logarithm of the sum of two numbers given by theirs."""
    if left < right:
        left, right = right, left
    return left if right == NEVER else left + math.log1p(math.exp(right - left))
