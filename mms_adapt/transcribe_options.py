"""How recordings go through a model: what a user may choose.

In: options. Out: checked options. It does not know models or recordings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mms_adapt import longform
from mms_adapt.errors import OptionError

QUANTISE = ("none", "int8")


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How recordings go through the model.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:1".
        decoder: A module of `mms_adapt.decoders`, or a dotted name of your own; "auto" is the adapter's own
            choice, which is greedy where it was not tuned.
        decoder_options: What its `build` takes; with "auto", what differs from the adapter's own.
        batch_seconds: Seconds of audio in a forward pass, padding included; bounds the memory.
        cut: How long recordings are cut: at "pauses", or into windows that "overlap".
        window_s: Recordings longer than this are cut; no part is longer. Where not given, 8 seconds with
            pauses, 30 with overlap.
        usual_s: How long a part should be where there are pauses enough; with pauses.
        overlap_s: Seconds that a window hears again of the one before it; with overlap.
        quantise: "none", or "int8": 8-bit integers in the encoder on a CPU, quicker and a little less exact.
        allow_sibling: Go on where the backbone is the adapter's own after further training, or before it.
    """

    device: str = "auto"
    decoder: str = "auto"
    decoder_options: Mapping[str, Any] | None = None
    batch_seconds: float = 120.0
    cut: str = "pauses"
    window_s: float | None = None
    usual_s: float = 4.0
    overlap_s: float = 4.0
    quantise: str = "none"
    allow_sibling: bool = False

    def __post_init__(self) -> None:
        wrong = []
        if not self.batch_seconds > 0:
            wrong.append(f"batch_seconds={self.batch_seconds}: give more than 0")
        if self.cut not in longform.CUTS:
            wrong.append(f"cut={self.cut!r}: give {' or '.join(longform.CUTS)}")
        if not 1 <= self.longest_s <= 600:
            wrong.append(f"window_s={self.window_s}: give 1 to 600 seconds")
        if self.cut == "overlap" and not 0 < self.overlap_s < self.longest_s / 2:
            wrong.append(f"overlap_s={self.overlap_s}: give more than 0 and less than half of window_s")
        if self.cut == "pauses" and not 0 < self.usual_s < self.longest_s:
            wrong.append(f"usual_s={self.usual_s}: give more than 0 and less than window_s")
        if self.quantise not in QUANTISE:
            wrong.append(f"quantise={self.quantise!r}: give {' or '.join(QUANTISE)}")
        if wrong:
            raise OptionError("; ".join(wrong))

    @property
    def longest_s(self) -> float:
        """The longest part of a recording that is heard at once."""
        return self.window_s if self.window_s is not None else 30.0 if self.cut == "overlap" else 8.0
