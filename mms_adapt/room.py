"""How much speech goes through the model at a time: as much as the device has room for.

In: what a pass of so many frames takes, and what may be taken. Out: frames. It does not know models or data.

What learning sees is the batch. Where it does not fit, it goes through in pieces whose gradients are added
up, which changes what is learnt by no more than rounding; how large a card is never decides what comes out.
"""

from collections.abc import Callable
from contextlib import suppress

import torch

_SPARE = 0.9  # of what seems to fit: memory comes in blocks
GIB = 1 << 30


class Room:
    """The frames that go through at a time; it shrinks when they turn out to be too many.

    Args:
        most_frames: So many at first, padding included; None for a whole batch.
    """

    def __init__(self, most_frames: int | None = None) -> None:
        self.most_frames = most_frames
        self.halvings = 0

    def halve(self, tried: int, longest: int) -> bool:
        """Let half as much through from now on; tell whether that is less than before.

        Args:
            tried: The frames that were too many, padding included.
            longest: Frames of the longest row, which cannot be divided.
        """
        if tried <= longest:
            return False
        self.most_frames = max(longest, min(tried, self.most_frames or tried) // 2)
        self.halvings += 1
        return True


def fitting(take: Callable[[int], int], frames: int, limit_bytes: int) -> int:
    """Return how many frames fit.

    Args:
        take: Computes a pass of so many rows and returns the most memory that was in use meanwhile.
        frames: Frames of a row; the longest there is, since attention takes more for long ones.
        limit_bytes: What may be in use.

    Returns:
        Frames, padding included; at least those of one row.
    """
    one, three = take(1), take(3)
    each = max(1.0, (three - one) / (2 * frames))
    left = limit_bytes - (one - each * frames)
    return max(frames, int(_SPARE * left / each))


def card_limit(device: torch.device, most_gib: float | None) -> int:
    """Return the bytes that may be in use on a card: what is free or ours, or less if so asked."""
    free, _ = torch.cuda.mem_get_info(device)
    limit = free + torch.cuda.memory_reserved(device)
    return limit if most_gib is None else min(limit, round(most_gib * GIB))


def most_in_use(device: torch.device, work: Callable[[], object]) -> int:
    """Do work on a card, and return the most memory that was in use; what there was if it was too much."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    with suppress(torch.OutOfMemoryError):
        work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
