"""Where each token of a known text stands in the emissions: the most probable CTC path through it.

In: log-probabilities of one utterance and token ids. Out: a span of frames a token. It does not know models,
vocabularies or times in seconds.

Source: Graves et al., "Connectionist temporal classification", ICML 2006, section 4, with the maximum in
place of the sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt.errors import TextError
from mms_adapt.vocab import Vocab


@dataclass(frozen=True, slots=True)
class Span:
    """The frames of one token.

    Attributes:
        token_id: The token.
        start: Its first frame.
        end: The frame behind its last one.
        log: Mean log-probability of these frames.
        peak: Log-probability of its best frame.
    """

    token_id: int
    start: int
    end: int
    log: float
    peak: float


def align(emissions: NDArray[np.floating], token_ids: Sequence[int], blank_id: int) -> list[Span]:
    """Return the span of each token.

    Args:
        emissions: Log-probabilities, `(frames, vocab)`.
        token_ids: The text's tokens, blanks not among them.
        blank_id: The blank.

    Raises:
        TextError: If there are fewer frames than tokens need, or a token is not in the vocabulary.
    """
    frames = len(emissions)
    labels = np.asarray(token_ids, dtype=np.intp)
    if len(labels) == 0:
        return []
    if labels.min() < 0 or labels.max() >= emissions.shape[1] or (labels == blank_id).any():
        raise TextError(
            f"tokens {labels.tolist()[:10]}: a text holds ids below {emissions.shape[1]}, no blanks"
        )
    needed = Vocab.min_frames(token_ids)
    if frames < needed:
        raise TextError(
            f"{len(labels)} tokens need {needed} frames, and there are {frames}: the text is too long"
        )
    states = np.full(2 * len(labels) + 1, blank_id)  # blank, token, blank, token, …, blank
    states[1::2] = labels
    path = _best_path(emissions[:, states].astype(np.float64), _skips(states))
    spans = []
    for place, token in enumerate(labels):
        inside = np.flatnonzero(path == 2 * place + 1)
        logs = emissions[inside, token]
        spans.append(
            Span(int(token), int(inside[0]), int(inside[-1]) + 1, float(logs.mean()), float(logs.max()))
        )
    return spans


def _skips(states: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell into which states a path may come past the blank before them, `(states,)`."""
    found = np.zeros(len(states), dtype=bool)
    found[3::2] = states[3::2] != states[1:-2:2]
    return found


def _best_path(scores: NDArray[np.float64], skips: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the state of every frame on the best path, `(frames,)`, from scores `(frames, states)`."""
    frames, count = scores.shape
    best = np.full(count, -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros((frames, count), dtype=np.int8)
    for frame in range(1, frames):
        moves = np.full((3, count), -np.inf)  # stay, one on, two on
        moves[0] = best
        moves[1, 1:] = best[:-1]
        moves[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        steps[frame] = moves.argmax(axis=0)
        best = moves.max(axis=0) + scores[frame]
    state = count - 1 if best[-1] > best[-2] else count - 2
    path = np.empty(frames, dtype=np.intp)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    return path
