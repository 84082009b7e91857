"""SpecAugment and dropout, drawn on the device from one generator, whose state is part of a checkpoint.

In: frame counts, shapes and a generator. Out: masks. It does not know models or features.

Source: Park et al. 2019, SpecAugment; as in wav2vec 2.0 the masks hide projected features.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from mms_adapt.masks import Masks


@dataclass(frozen=True)
class Shares:
    """How much is hidden.

    Attributes:
        time: Share of frames in masks, overlaps counted twice.
        time_length: Frames of a mask; an utterance shorter than two of them gets shorter ones.
        channels: Share of channels in masks.
        channel_length: Channels of a mask.
        dropout: Share of hidden states that dropout makes zero.
    """

    time: float
    time_length: int
    channels: float
    channel_length: int
    dropout: float = 0.0


@dataclass(frozen=True)
class Draw:
    """What is asked for one batch.

    Attributes:
        frame_counts: Real frames of each row, `(batch,)`.
        frames: Frames of the batch.
        shares: How much is hidden.
        generator: Where the random numbers come from; its device is that of the masks.
    """

    frame_counts: Tensor
    frames: int
    shares: Shares
    generator: torch.Generator


def draw(asked: Sequence[Draw], hidden_size: int) -> tuple[Masks, Tensor | None]:
    """Draw the masks of one batch, or of several, whose rows are put below each other.

    The numbers of each come from its own generator as if it were alone: first for frames, then for channels,
    then for dropout. What they mean is computed for all together, since on a card each small step takes as
    long as a large one.

    Args:
        asked: The batches.
        hidden_size: Channels.

    Returns:
        The masks, and which hidden states `(batch, frames, hidden)` dropout keeps; None for all.
    """
    device, frames = asked[0].generator.device, max(one.frames for one in asked)
    rows = [len(one.frame_counts) for one in asked]
    dropping = any(one.shares.dropout for one in asked)
    alone = len(asked) == 1
    random = torch.ones(sum(rows), frames, hidden_size, device=device) if dropping and not alone else None
    numbers: tuple[list[Tensor], list[Tensor]] = ([], [])
    start = 0
    for one, count in zip(asked, rows, strict=True):
        shares, generator = one.shares, one.generator
        kinds = (
            (one.frames, shares.time, shares.time_length),
            (hidden_size, shares.channels, shares.channel_length),
        )
        for (size, share, length), found in zip(kinds, numbers, strict=True):
            most = int(share * size / length + 1) if share > 0 else -1
            found.append(torch.rand(count, most + 1, generator=generator, device=device))
        if shares.dropout:
            if random is None or one.frames < frames:
                part = torch.rand(count, one.frames, hidden_size, generator=generator, device=device)
                if random is None:
                    random = part
                else:
                    random[start : start + count, : one.frames] = part
            else:  # the same numbers, drawn where they stay
                random[start : start + count].uniform_(generator=generator)
        start += count
    counts = torch.cat([one.frame_counts for one in asked]).to(device, non_blocking=True)
    # what each row's batch asks for, in one transfer: `(5, batch)`
    each = torch.tensor([astuple(one.shares) for one in asked]).repeat_interleave(torch.tensor(rows), 0)
    time, time_length, channels, channel_length, dropout = each.t().to(device, non_blocking=True)
    masks = Masks(
        _spans(counts, frames, time, time_length, numbers[0]),
        _spans(torch.full_like(counts, hidden_size), hidden_size, channels, channel_length, numbers[1]),
    )
    return masks, None if random is None else random >= dropout[:, None, None]


def _spans(counts: Tensor, size: int, share: Tensor, length: Tensor, numbers: Sequence[Tensor]) -> Tensor:
    """Return random spans, bool `(batch, size)`, within each row's count `(batch,)`.

    Args:
        counts: The counts.
        size: Where a row ends at the latest.
        share: Share in spans, `(batch,)`.
        length: Of a span, `(batch,)`.
        numbers: Random numbers of batches, each `(rows, spans + 1)`; none for no spans.
    """
    most = max(one.shape[1] for one in numbers) - 1
    if most < 1:
        return torch.zeros(len(counts), size, dtype=torch.bool, device=counts.device)
    random = torch.cat(
        [one if one.shape[1] > most else pad(one, (0, most + 1 - one.shape[1])) for one in numbers]
    )
    lengths = torch.minimum(length, counts // 2)
    # as many as the share asks for, the fraction decided by chance
    wanted = torch.floor(share * counts / length + random[:, 0])
    starts = torch.floor(random[:, 1:] * (counts - lengths + 1)[:, None])  # `(batch, spans)`
    starts = torch.where(torch.arange(most, device=counts.device) < wanted[:, None], starts, float(size))
    places = torch.arange(size, device=counts.device)
    inside = (places >= starts[..., None]) & (places < (starts + lengths[:, None])[..., None])
    return inside.any(dim=1)  # `(batch, spans, size)` to `(batch, size)`


def dropped(hidden: Tensor, kept: Tensor | None, share: float | Tensor) -> Tensor:
    """Return hidden states `(batch, frames, hidden)` of which a share is zero and the rest is larger."""
    return hidden if kept is None else hidden * kept / (1 - share)
