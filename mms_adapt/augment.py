"""SpecAugment and dropout, drawn on the device from one generator, whose state is part of a checkpoint.

In: frame counts, shapes and a generator. Out: masks. It does not know models or features.

Source: Park et al. 2019, SpecAugment; as in wav2vec 2.0 the masks hide projected features.
"""

import torch
from torch import Tensor

from mms_adapt.masks import Masks


def draw(
    frame_counts: Tensor,
    frames: int,
    hidden_size: int,
    generator: torch.Generator,
    *,
    time_share: float,
    time_length: int,
    channel_share: float,
    channel_length: int,
) -> Masks:
    """Draw the masks of one batch.

    Args:
        frame_counts: Real frames of each row, `(batch,)`.
        frames: Frames of the batch.
        hidden_size: Channels.
        generator: Where the random numbers come from; its device is that of the masks.
        time_share: Share of frames in masks, overlaps counted twice.
        time_length: Frames of a mask; an utterance shorter than two of them gets shorter ones.
        channel_share: Share of channels in masks.
        channel_length: Channels of a mask.
    """
    counts = frame_counts.to(generator.device, non_blocking=True)
    channels = torch.full_like(counts, hidden_size)
    return Masks(
        _spans(counts, frames, time_share, time_length, generator),
        _spans(channels, hidden_size, channel_share, channel_length, generator),
    )


def _spans(counts: Tensor, size: int, share: float, length: int, generator: torch.Generator) -> Tensor:
    """Return random spans of equal length, bool `(batch, size)`, within each row's count `(batch,)`."""
    most = int(share * size / length + 1) if share > 0 else 0
    if not most:
        return torch.zeros(len(counts), size, dtype=torch.bool, device=counts.device)
    lengths = torch.minimum(torch.full_like(counts, length), counts // 2)
    random = torch.rand(len(counts), most + 1, generator=generator, device=counts.device)
    # as many as the share asks for, the fraction decided by chance
    wanted = torch.floor(share * counts / length + random[:, 0])
    starts = torch.floor(random[:, 1:] * (counts - lengths + 1)[:, None])  # `(batch, spans)`
    starts = torch.where(torch.arange(most, device=counts.device) < wanted[:, None], starts, float(size))
    places = torch.arange(size, device=counts.device)
    inside = (places >= starts[..., None]) & (places < (starts + lengths[:, None])[..., None])
    return inside.any(dim=1)  # `(batch, spans, size)` to `(batch, size)`


def kept(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor | None:
    """Draw which hidden states `(batch, frames, hidden)` dropout keeps; None for all."""
    return torch.rand(shape, generator=generator, device=generator.device) >= share if share else None


def dropped(hidden: Tensor, kept: Tensor | None, share: float) -> Tensor:
    """Return hidden states `(batch, frames, hidden)` of which a share is zero and the rest is larger."""
    return hidden if kept is None else hidden * kept / (1 - share)
