"""Decoders turn emissions into a `Hypothesis`, one module a kind.

Each module here exports `build(vocab, **options)`, whose result has `decode(emissions, frame_counts)`:
emissions are log-probabilities `(batch, frames, vocab)` as a numpy array or a torch tensor on any device, and
frames at or behind an utterance's frame count are never looked at. Adding a decoder is adding a module;
`mms_adapt.plugins` finds it by its name. Decoders do not know models, adapters or audio.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Token:
    """One recognised grapheme or word boundary: where it stands and how sure that is (0 to 1)."""

    token: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word: where it stands and how sure that is (0 to 1)."""

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A language that may be spoken.

    Attributes:
        place: Its place in the registry.
        probability: How probable it is, by all that was asked (0 to 1); of all candidates together 1.
        adapters: How probable the adapters alone found it; None where nobody else was asked.
        lid: What MMS-LID alone said, among all languages that it knows; None where it does not know this one,
            or was not asked.
    """

    place: str
    probability: float
    adapters: float | None = None
    lid: float | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was recognised in one recording.

    Attributes:
        text: The words, single spaces between them; "" where nothing was said.
        tokens: Graphemes and word boundaries ("|") in order.
        words: Words in order.
        confidence: Geometric mean over the tokens, 0 to 1; of an empty text, over its blank frames.
        target_lang: The adapter's language.
        adapter: Which version of which adapter wrote this.
        recording: The audio file, where there is one.
        duration_s: Length of the audio.
        candidates: Where the language was not given: those that may be spoken, the most likely first.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    target_lang: str = ""
    adapter: str = ""
    recording: str = ""
    duration_s: float = 0.0
    candidates: tuple[Candidate, ...] = ()


class Decoder(Protocol):
    """What `build` of a decoder's module returns."""

    def decode(self, emissions: Any, frame_counts: Sequence[int]) -> list[Hypothesis]:
        """Decode a batch.

        Args:
            emissions: Log-probabilities, `(batch, frames, vocab)`.
            frame_counts: Real frames of each row, `(batch,)`.

        Returns:
            One hypothesis a row.
        """
        ...


def geometric_mean(confidences: Iterable[float]) -> float:
    """Return the geometric mean; 1.0 of nothing, since nothing was left to doubt."""
    logs = [math.log(max(one, 1e-30)) for one in confidences]
    return math.exp(math.fsum(logs) / len(logs)) if logs else 1.0


def join(parts: Iterable[tuple[float, Hypothesis]]) -> Hypothesis:
    """Return consecutive hypotheses of one recording as one.

    Args:
        parts: Where each part starts in the recording, in seconds, and its hypothesis. Parts meet at word
            ends.

    Returns:
        The whole, its times counted from the recording's start.
    """
    tokens: list[Token] = []
    words: list[Word] = []
    texts: list[str] = []
    empty: list[float] = []
    for start_s, part in parts:
        tokens += [
            replace(one, start_s=one.start_s + start_s, end_s=one.end_s + start_s) for one in part.tokens
        ]
        words += [
            replace(one, start_s=one.start_s + start_s, end_s=one.end_s + start_s) for one in part.words
        ]
        if part.text:
            texts.append(part.text)
        else:
            empty.append(part.confidence)
    confidence = geometric_mean(one.confidence for one in tokens) if tokens else min(empty, default=1.0)
    return Hypothesis(" ".join(texts), tuple(tokens), tuple(words), confidence)
