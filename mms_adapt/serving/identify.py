"""Which of several languages is spoken, from what their adapters make of the first seconds.

In: the emissions of each candidate and, where it has one, its language model of graphemes; and what MMS-LID
says, where that was asked. Out: candidates with probabilities, the most likely first. It does not know audio,
adapters or models.

How sure an adapter is of its letters says little: a wrong one is often as sure. What tells languages apart is
whether the letters make words of the language, so adapters that `mms-adapt tune` gave a language model are
told apart best; where a candidate has none, only the letters count, and the answer is much less certain. The
weights are those of a logistic regression over the dev sets of five languages, and docs/serving.md says how
often it is right.

MMS-LID (a classifier of sound by language) and the adapters judge by different things, so where both know the
candidates, their probabilities are multiplied, as those of independent witnesses are. Two things keep this
honest. A classifier is as sure about a language that it never learnt as about its own, so it says nothing for
or against candidates that it does not know: these keep the adapters' probability alone, and it only divides
anew what the adapters gave to those that it knows. And what it gives to languages that are no candidates is
spread evenly over those it knows: the more it hears something else, the less it counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt import language
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ
from mms_adapt.decoders import Candidate
from mms_adapt.decoders.greedy import Greedy
from mms_adapt.ngram import NGram
from mms_adapt.vocab import Vocab

_WITH_MODEL = (1.83, 12.48, 7.94, 3.24)
_WITHOUT = (8.71, 13.10, 15.01, 0.0)
_CALIBRATED_S = 2.5  # so much audio is worth what the weights say; more is worth its square root
_DOUBT = 0.01  # share of the cases in which nothing is believed
_NOTHING = -3.0  # log-probability of a letter where there is none


@dataclass(frozen=True)
class Heard:
    """What one candidate's adapter made of the audio.

    Attributes:
        letters: Mean log-probability of the letters it wrote, each where it is surest.
        spoken: Minus the mean probability of the blank.
        rate: Letters a frame.
        words: Log-probability a letter by its language model; None where it has none.
    """

    letters: float
    spoken: float
    rate: float
    words: float | None

    def score(self, with_model: bool) -> float:
        """Return the logarithm of how likely the language is, up to a constant that candidates share."""
        weights = _WITH_MODEL if with_model else _WITHOUT
        values = (self.letters, self.spoken, self.rate, self.words or 0.0)
        return sum(weight * value for weight, value in zip(weights, values, strict=True))


def hear(emissions: NDArray[np.float32], vocab: Vocab, model: NGram | None) -> Heard:
    """Return what an adapter made of audio.

    Args:
        emissions: Its log-probabilities, `(frames, vocab)`.
        vocab: Its vocabulary.
        model: Its language model of graphemes, where it has one.
    """
    found = Greedy(vocab).decode(emissions[None], [len(emissions)])[0].tokens
    logs = [math.log(max(one.confidence, 1e-30)) for one in found]
    words = model.sentence([one.token for one in found]) / (len(found) + 1) if model else None
    return Heard(
        sum(logs) / len(logs) if logs else _NOTHING,
        -float(np.exp(emissions[:, vocab.blank_id]).mean()),
        len(found) / len(emissions),
        words,
    )


def rank(places: Sequence[str], heard: Sequence[Heard], frames: int) -> tuple[Candidate, ...]:
    """Return candidates with their probabilities, the most likely first.

    Args:
        places: The candidates.
        heard: What each made of the same audio; nothing where nothing sounds, so that all are as likely.
        frames: Length of the audio.
    """
    if not heard:
        return tuple(Candidate(one, 1 / len(places)) for one in sorted(places))
    with_model = all(one.words is not None for one in heard)
    sharpness = math.sqrt(frames * FRAME_STRIDE / SAMPLE_RATE_HZ / _CALIBRATED_S)
    scores = np.array([sharpness * one.score(with_model) for one in heard])
    shares = np.exp(scores - scores.max())
    shares = (1 - _DOUBT) * shares / shares.sum() + _DOUBT / len(places)
    found = [Candidate(place, float(share)) for place, share in zip(places, shares, strict=True)]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.place)))


@dataclass(frozen=True)
class Spoken:
    """What MMS-LID says of a recording.

    Attributes:
        codes: The languages that it knows, ISO 639-3.
        probabilities: How probable it finds each, `(codes,)`; together 1.
    """

    codes: tuple[str, ...]
    probabilities: tuple[float, ...]

    def of(self, place: str) -> float | None:
        """Return the probability of a candidate; None where it does not know the language.

        Scripts do not count. Where it does not know the very code, a macrolanguage stands for its members
        ("ara" for arb), and all members that it knows for their macrolanguage.
        """
        code = _code(place)
        own = {number for number, one in enumerate(self.codes) if one.partition("-")[0] == code}
        if not own and not language.is_private(code):
            own = {
                number for number, one in enumerate(self.codes) if language.means(one.partition("-")[0], code)
            }
        return min(1.0, sum(self.probabilities[number] for number in own)) if own else None


def combine(ranked: Sequence[Candidate], spoken: Spoken) -> tuple[Candidate, ...]:
    """Return candidates with what both adapters and MMS-LID make of them, the most likely first.

    Among the candidates that MMS-LID knows, P = A(known) * A * L / sum(A * L): A is the adapters'
    probability, A(known) the sum of it, and L what MMS-LID says, with what it gives to languages that are no
    candidates spread evenly, and the same doubt as the adapters have. Others keep A.

    Args:
        ranked: What `rank` gave.
        spoken: What MMS-LID says of the same audio.
    """
    said = {one.place: spoken.of(one.place) for one in ranked}
    known = [one for one in ranked if said[one.place] is not None]
    by_code = {_code(one.place): said[one.place] or 0.0 for one in known}
    spread = max(0.0, 1 - sum(by_code.values())) / max(1, len(by_code))
    doubt = _DOUBT / max(1, len(by_code))
    both = {
        one.place: one.probability * ((1 - _DOUBT) * (by_code[_code(one.place)] + spread) + doubt)
        for one in known
    }
    whole = sum(one.probability for one in known) / max(sum(both.values()), 1e-300)
    found = [
        Candidate(
            one.place,
            whole * both[one.place] if one.place in both else one.probability,
            one.probability,
            said[one.place],
        )
        for one in ranked
    ]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.place)))


def elsewhere(candidates: Sequence[Candidate]) -> float | None:
    """Return how probable MMS-LID finds languages that are no candidates; None where it was not asked."""
    said = {_code(one.place): one.lid for one in candidates if one.lid is not None}
    asked = any(one.adapters is not None for one in candidates)
    return max(0.0, 1 - sum(said.values())) if asked else None


def _code(place: str) -> str:
    """Return the language of a place in a registry, without name and script."""
    return place.partition("/")[0].partition("-")[0]
