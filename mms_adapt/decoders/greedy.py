"""The best token of every frame: repeats collapse, blanks fall away.

In: emissions. Out: hypotheses with times and confidences. It knows no language model; its answer for an
utterance does not depend on the others of its batch.

Times are those of the frames in which a token is the best one. CTC fires briefly, so a token's end is rather
early; a word's start and end are those of its first and last token.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ
from mms_adapt.decoders import Hypothesis, Token, Word, geometric_mean
from mms_adapt.errors import OptionError, VocabError

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab

FRAME_S = FRAME_STRIDE / SAMPLE_RATE_HZ
_UNSPOKEN = frozenset({"<pad>", "<s>", "</s>", "<unk>"})  # tokens of MMS's vocabularies that are no text


def build(vocab: "Vocab", **options: object) -> "Greedy":
    """Return the decoder for a vocabulary.

    Args:
        vocab: The adapter's vocabulary.
        options: None are known.

    Returns:
        The decoder.

    Raises:
        OptionError: If any option is given.
    """
    if options:
        raise OptionError(f"the decoder 'greedy' takes no options; given: {', '.join(sorted(options))}")
    return Greedy(vocab)


class Greedy:
    """Best-path decoding over one vocabulary."""

    def __init__(self, vocab: "Vocab") -> None:
        self.tokens = tuple(vocab.tokens)
        self.blank_id, self.delimiter_id = vocab.blank_id, vocab.delimiter_id
        unspoken = {number for number, token in enumerate(self.tokens) if token in _UNSPOKEN}
        self.skipped = np.zeros(len(self.tokens), dtype=bool)
        self.skipped[[self.blank_id, *unspoken]] = True

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
        if not emissions.shape[0] or not emissions.shape[1]:
            return [Hypothesis("") for _ in frame_counts]
        ids, probabilities = _best(emissions)
        rows = zip(ids, probabilities, map(int, frame_counts), strict=True)
        return [self._row(row[:count], sure[:count]) for row, sure, count in rows]

    def check(self, emissions: Any, frame_counts: Sequence[int]) -> None:
        """Make sure that emissions are of this vocabulary.

        Raises:
            VocabError: If they are not.
        """
        shape = tuple(emissions.shape)
        if len(shape) != 3 or shape[2] != len(self.tokens) or shape[0] != len(frame_counts):
            raise VocabError(
                f"emissions {shape} with {len(frame_counts)} frame counts do not fit a vocabulary of "
                f"{len(self.tokens)} tokens: expected (batch, frames, {len(self.tokens)})"
            )

    def _row(self, ids: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Hypothesis:
        """Decode one utterance from its best ids and their probabilities, both `(frames,)`."""
        if not len(ids):
            return Hypothesis("")
        starts = np.flatnonzero(np.diff(ids, prepend=-1))  # `(runs,)`
        ends = np.append(starts[1:], len(ids))
        peaks = np.maximum.reduceat(probabilities, starts)
        kept = ~self.skipped[ids[starts]]
        runs = zip(ids[starts][kept], starts[kept], ends[kept], peaks[kept], strict=True)
        tokens = tuple(
            Token(self.tokens[number], float(start) * FRAME_S, float(end) * FRAME_S, float(peak))
            for number, start, end, peak in runs
        )
        words = tuple(words_of(tokens, self.tokens[self.delimiter_id]))
        sure = (one.confidence for one in tokens) if tokens else map(float, probabilities)
        return Hypothesis(" ".join(one.word for one in words), tokens, words, geometric_mean(sure))


def _best(emissions: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the best id of every frame and its probability, `(batch, frames)` each.

    A tensor is reduced where it lies, so that two numbers a frame travel and not a vocabulary.
    """
    if isinstance(emissions, np.ndarray):
        ids = emissions.argmax(axis=-1)
        best = np.take_along_axis(emissions, ids[..., None], axis=-1)[..., 0]
    else:
        values, indices = emissions.detach().max(dim=-1)
        ids, best = indices.cpu().numpy(), values.float().cpu().numpy()
    return ids.astype(np.int64), np.exp(best.astype(np.float64))


def words_of(tokens: Iterable[Token], delimiter: str) -> Iterable[Word]:
    """Group tokens between word boundaries."""
    inside: list[Token] = []
    for one in [*tokens, Token(delimiter, 0.0, 0.0, 1.0)]:
        if one.token != delimiter:
            inside.append(one)
        elif inside:
            written = unicodedata.normalize("NFC", "".join(part.token for part in inside))
            sure = geometric_mean(part.confidence for part in inside)
            yield Word(written, inside[0].start_s, inside[-1].end_s, sure)
            inside = []
