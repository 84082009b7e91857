"""torchaudio's beam search on a CUDA device, without a language model.

In: emissions on the device, or anywhere. Out: hypotheses, as `beam` gives them without a model: the sum over
the paths of a text decides, where `greedy` takes the best path. It needs a CUDA device and torchaudio (the
extra "gpu"), which is imported when a decoder is built and not before.

The search is torchaudio's `models.decoder.cuda_ctc_decoder`. It takes the blank for token 0, so tokens change
places with it on the way in and back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mms_adapt.decoders import Hypothesis, _search
from mms_adapt.decoders._search import Search
from mms_adapt.errors import OptionError

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab

# The kernel of its first step (`first_matrix__bitonic_topk_kernel`, torchaudio 2.11) writes 20 bytes a text
# into shared memory, of which it has asked for 8. What is granted is a multiple of 128, so 6 texts have room;
# with 7 the whole process ends.
_WIDEST = 6


@dataclass(frozen=True)
class Options:
    """How wide the search is.

    Attributes:
        beam_width: Texts that are kept after each frame, 1 to 6, and at most as many as there are tokens.
        blank_skip: Frames in which the blank is more probable are passed over; 1 passes over none.
    """

    beam_width: int = _WIDEST
    blank_skip: float = 0.95

    def __post_init__(self) -> None:
        wrong = []
        if not 1 <= self.beam_width <= _WIDEST:
            wrong.append(
                f"beam_width={self.beam_width}: give 1 to {_WIDEST}, for which its kernels have room"
            )
        if not 0 < self.blank_skip <= 1:
            wrong.append(f"blank_skip={self.blank_skip}: give more than 0, and at most 1")
        if wrong:
            raise OptionError("; ".join(wrong))


def build(vocab: "Vocab", **options: Any) -> "TorchaudioCuda":
    """Return the decoder for a vocabulary.

    Args:
        vocab: The adapter's vocabulary.
        options: Fields of `Options`; numbers may be words of a command line.

    Raises:
        OptionError: If there is no CUDA device, torchaudio does not load, or an option makes no sense.
    """
    kinds: dict[str, Callable[[Any], Any]] = {"beam_width": int, "blank_skip": float}
    return TorchaudioCuda(vocab, Options(**_search.values("torchaudio_cuda", kinds, options)))


def _factory() -> Any:
    """Return torchaudio's function that builds the search."""
    import torch

    if not torch.cuda.is_available():
        raise OptionError(
            "the decoder 'torchaudio_cuda' runs on a CUDA device alone, and there is none; take 'greedy' or "
            "'beam'"
        )
    try:
        from torchaudio.models.decoder import cuda_ctc_decoder
    except (ImportError, OSError, RuntimeError) as error:
        raise OptionError(
            f"the decoder 'torchaudio_cuda' needs a torchaudio that fits this torch, which does not load "
            f"({error}): install it with pip install 'mms-adapt[gpu]', or take 'greedy' or 'beam'"
        ) from error
    return cuda_ctc_decoder


class TorchaudioCuda(Search):
    """torchaudio's search over one vocabulary."""

    def __init__(self, vocab: "Vocab", options: Options) -> None:
        super().__init__(vocab)
        self.options = options
        order = list(range(len(self.tokens)))
        order[0], order[self.blank_id] = order[self.blank_id], order[0]
        self._order = order  # of the tokens, as the search sees them; its own inverse
        # of a width less than the vocabulary's, since the search wants it so
        self._search = _factory()(
            [self.tokens[one] for one in order], nbest=1, beam_size=min(options.beam_width, len(order)),
            blank_skip_threshold=options.blank_skip,
        )  # fmt: skip

    def decode(self, emissions: Any, frame_counts: Sequence[int]) -> list[Hypothesis]:
        """Decode a batch, on the device.

        Args:
            emissions: Log-probabilities, `(batch, frames, vocab)`, numpy or torch.
            frame_counts: Real frames of each row, `(batch,)`.

        Returns:
            One hypothesis a row.

        Raises:
            VocabError: If the emissions' last axis is not this vocabulary.
        """
        import torch

        self.check(emissions, frame_counts)
        counts = [int(one) for one in frame_counts]
        if not emissions.shape[0] or not emissions.shape[1] or not max(counts):
            return [Hypothesis("") for _ in counts]
        rows = emissions.detach() if isinstance(emissions, torch.Tensor) else torch.from_numpy(emissions)
        logs = rows.float().cpu().numpy().astype(np.float64)
        spoken = np.stack([self._spoken(row) for row in np.nan_to_num(logs, nan=0.0)])[..., self._order]
        for row, count in enumerate(counts):
            spoken[row, count:] = 0.0
        given = torch.from_numpy(np.maximum(spoken, -1e4).astype(np.float32)).cuda().contiguous()
        lengths = torch.tensor(counts, dtype=torch.int32, device=given.device)
        found = self._search(given, lengths)
        return [
            self._aligned(logs[row, :count], self._ids(best[0].tokens) if count else [])
            for row, (count, best) in enumerate(zip(counts, found, strict=True))
        ]

    def _ids(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens of a text in this vocabulary's order, one boundary between words."""
        return self.bounded(self._order[int(one)] for one in tokens)
