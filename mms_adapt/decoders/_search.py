"""What decoders share that search for a text: batches, tokens that are no text, times and confidences.

In: emissions, and options as a command line has them. Out: hypotheses with the text that a kind's `search`
finds; times and confidences are those of the best path through it. It does not know how texts are searched.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt.align import align
from mms_adapt.decoders import Hypothesis, Token, geometric_mean
from mms_adapt.decoders.greedy import FRAME_S, Greedy, words_of
from mms_adapt.errors import OptionError

NEVER = -math.inf


def values(
    decoder: str, kinds: Mapping[str, Callable[[Any], Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a decoder's options in their types.

    Args:
        decoder: Its name, for errors.
        kinds: What makes an option out of what was given, by name; `as_given` leaves it.
        options: What was given; numbers may be words of a command line.

    Raises:
        OptionError: If an option is unknown, or no number where one is wanted.
    """
    if unknown := sorted(options.keys() - kinds.keys()):
        raise OptionError(f"the decoder {decoder!r} takes {', '.join(kinds)}; given: {', '.join(unknown)}")
    found = {}
    for name, value in options.items():
        try:
            found[name] = kinds[name](value)
        except (TypeError, ValueError):
            raise OptionError(f"{name}={value!r}: give a number") from None
    return found


def as_given(value: Any) -> Any:
    """Return an option that is no number."""
    return value


class Search(Greedy):
    """A search over one vocabulary; a kind says how."""

    def search(self, logs: NDArray[np.float64]) -> list[int]:
        """Return the tokens of the best text, from log-probabilities `(frames, vocab)`."""
        raise NotImplementedError

    def decode(self, emissions: Any, frame_counts: Sequence[int]) -> list[Hypothesis]:
        """Decode a batch.

        Args:
            emissions: Log-probabilities, `(batch, frames, vocab)`, numpy or torch.
            frame_counts: Real frames of each row, `(batch,)`.

        Returns:
            One hypothesis a row.

        Raises:
            VocabError: If the emissions' last axis is not this vocabulary.
        """
        self.check(emissions, frame_counts)
        if not isinstance(emissions, np.ndarray):
            emissions = emissions.detach().float().cpu().numpy()
        rows = zip(emissions, map(int, frame_counts), strict=True)
        return [self._hypothesis(row[:count].astype(np.float64)) for row, count in rows]

    def _hypothesis(self, logs: NDArray[np.float64]) -> Hypothesis:
        """Decode one utterance from log-probabilities `(frames, vocab)`."""
        return self._aligned(logs, self.search(self._spoken(logs)) if len(logs) else [])

    def _aligned(self, logs: NDArray[np.float64], ids: Sequence[int]) -> Hypothesis:
        """Return a text's tokens as a hypothesis, with times from log-probabilities `(frames, vocab)`."""
        if not len(logs):
            return Hypothesis("")
        if not ids:
            return Hypothesis("", confidence=geometric_mean(map(float, np.exp(logs.max(axis=1)))))
        spans = align(self._spoken(logs), list(ids), self.blank_id)
        tokens = tuple(
            Token(self.tokens[one.token_id], one.start * FRAME_S, one.end * FRAME_S, math.exp(one.peak))
            for one in spans
        )
        words = tuple(words_of(tokens, self.tokens[self.delimiter_id]))
        sure = geometric_mean(one.confidence for one in tokens)
        return Hypothesis(" ".join(one.word for one in words), tokens, words, sure)

    def bounded(self, tokens: Iterable[int]) -> list[int]:
        """Return a text's tokens with one boundary between words, and none at its ends."""
        text: list[int] = []
        for token in tokens:
            if token != self.delimiter_id or (text and text[-1] != token):
                text.append(token)
        return text[:-1] if text and text[-1] == self.delimiter_id else text

    def _spoken(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-probabilities in which tokens that are no text count as blanks."""
        found = logs.copy()
        found[:, self.blank_id] = np.logaddexp.reduce(logs[:, self.skipped], axis=1)
        others = self.skipped.copy()
        others[self.blank_id] = False
        found[:, others] = NEVER
        return found
