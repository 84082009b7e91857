"""Which frames and channels of a padded batch are there, and which are hidden.

In: frame counts and what SpecAugment drew. Out: masks, and hidden states in which something is hidden. It
does not know models or training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mms_adapt.layers import added


@dataclass(frozen=True)
class Masks:
    """What SpecAugment hides from the encoder in one batch.

    Attributes:
        time: Frames that become the model's mask vector, bool `(batch, frames)`.
        channels: Channels that become zero, bool `(batch, hidden)`.
    """

    time: Tensor
    channels: Tensor

    def hide(self, hidden: Tensor, filler: Tensor) -> Tensor:
        """Return hidden states `(batch, frames, hidden)` in which it is hidden.

        Args:
            hidden: Hidden states.
            filler: What hidden frames become: a vector, `(hidden,)`, or each row's own, `(batch, 1, hidden)`.
        """
        filled = torch.where(self.time[..., None], filler.to(hidden.dtype), hidden)
        return filled.masked_fill(self.channels[:, None], 0)


def means(hidden: Tensor, frame_counts: Tensor) -> Tensor:
    """Return the mean of each row's real frames, `(batch, 1, hidden)`, from `(batch, frames, hidden)`."""
    there = real(frame_counts, hidden.shape[1], hidden.device)[..., None]
    total = hidden.float().masked_fill(~there, 0).sum(dim=1, keepdim=True)
    return total / frame_counts.clamp(min=1).to(hidden.device, non_blocking=True)[:, None, None]


def real(frame_counts: Tensor, frames: int, device: torch.device) -> Tensor:
    """Return which frames are real, bool `(batch, frames)`."""
    counts = frame_counts.to(device, non_blocking=True)
    return torch.arange(frames, device=device) < counts[:, None]


def seen(frame_counts: Tensor, frames: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """Return what attention adds, `(batch, 1, frames, frames)`, so that only real frames are heard."""
    if int(frame_counts.min()) >= frames:
        return None
    # a row without a single frame attends to all, since attending to nothing gives NaN
    heard = real(frame_counts, frames, device)
    if int(frame_counts.min()) == 0:
        heard = heard | (frame_counts.to(device) == 0)[:, None]
    return added(heard, frames, dtype)
