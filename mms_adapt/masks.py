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

    def hide(self, hidden: Tensor, vector: Tensor | None) -> Tensor:
        """Return hidden states `(batch, frames, hidden)` in which it is hidden.

        Args:
            hidden: Hidden states.
            vector: The model's mask vector, `(hidden,)`; zeros where not given.
        """
        filler = torch.zeros_like(hidden[0, 0]) if vector is None else vector.to(hidden.dtype)
        return torch.where(self.time[..., None], filler, hidden).masked_fill(self.channels[:, None], 0)


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
