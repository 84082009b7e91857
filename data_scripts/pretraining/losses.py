"""What pre-training asks of the model: characters, phones twice, agreement of two views, log-mel first.

In: the model's outputs and a batch's labels. Out: one loss and its parts. It does not know: sound, sampling.

Source: CTC, Graves et al. 2006. The phone loss of a middle layer: Lee and Watanabe, "Intermediate loss
regularization for CTC-based speech recognition", ICASSP 2021. Agreement: Yao et al., "CR-CTC: Consistency
regularization on CTC for improved speech recognition", ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

BLANK = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts."""

    characters: float = 0.5
    phones: float = 0.5
    middle: float = 0.3
    agreement: float = 0.2
    first: float = 0.1


def ctc(streams: Sequence[tuple[Tensor, Tensor, list[NDArray[np.int32]]]]) -> list[Tensor]:
    """Return the CTC loss of several streams, each summed over its rows and divided by its labels.

    Args:
        streams: Log-probabilities `(batch, frames, vocab)`, frame counts `(batch,)` on the CPU, labels
            of each row. Rows without labels are not counted; rows with more labels than frames add nothing.

    Returns:
        One scalar a stream. All go through one call, since one call on the device costs as much as three.
    """
    width = max(one.shape[2] for one, _, _ in streams)
    chosen = [[i for i, row in enumerate(labels) if len(row)] for _, _, labels in streams]
    kept = [
        F.pad(one if len(rows) == len(one) else one[rows], (0, width - one.shape[2]), value=-1e4)
        for (one, _, _), rows in zip(streams, chosen, strict=True)
    ]
    labels = [
        row for (_, _, rows), places in zip(streams, chosen, strict=True) for row in (rows[i] for i in places)
    ]
    lengths = np.array([len(row) for row in labels])
    padded = np.zeros((len(labels), max(lengths, default=1)), np.int64)
    for target, row in zip(padded, labels, strict=True):
        target[: len(row)] = row
    device = streams[0][0].device
    losses = F.ctc_loss(
        torch.cat(kept).transpose(0, 1),  # `(frames, rows, vocab)`
        torch.from_numpy(padded).to(device, non_blocking=True),
        torch.cat([counts[rows] for (_, counts, _), rows in zip(streams, chosen, strict=True)]),
        torch.from_numpy(lengths),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    found, start = [], 0
    for rows in chosen:
        end = start + len(rows)
        found.append(losses[start:end].sum() / max(1, int(lengths[start:end].sum())))
        start = end
    return found


def agreement(log_probabilities: Tensor, real: Tensor, label_count: int) -> Tensor:
    """Return how far the two views of each utterance are apart, per label.

    Args:
        log_probabilities: `(2 * batch, frames, vocab)`, the second views behind the first.
        real: Frames that are no padding, `(2 * batch, frames)`.
        label_count: What the sum is divided by, as CTC's is.
    """
    a, b = log_probabilities.chunk(2)
    either = _divergence(a, b) + _divergence(b, a)  # `(batch, frames)`
    return 0.5 * (either * real.chunk(2)[0]).sum() / label_count


def _divergence(fixed: Tensor, moved: Tensor) -> Tensor:
    fixed = fixed.detach()
    return (fixed.exp() * (fixed - moved)).sum(-1)


def hidden_frames(counts: Tensor, width: int, share: float, longest: int) -> Tensor:
    """Return which frames are hidden from the model, `(batch, width)`: spans of random length.

    Args:
        counts: Frames of each row, `(batch,)`.
        width: Frames of the longest.
        share: About so much of each row.
        longest: Frames of the longest span.
    """
    batch, device = len(counts), counts.device
    spans = max(1, round(2 * share * width / longest))
    starts = torch.rand(batch, spans, 1, device=device) * counts[:, None, None]
    lengths = torch.rand(batch, spans, 1, device=device) * longest
    # a short row gets fewer of the spans that the longest one needs
    used = torch.rand(batch, spans, 1, device=device) < counts[:, None, None] / width
    place = torch.arange(width, device=device)
    return ((place >= starts) & (place < starts + lengths) & used).any(1)
