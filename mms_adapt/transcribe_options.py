"""How recordings go through a model: what a user may choose.

In: options. Out: checked options. It does not know models or recordings.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os import PathLike
from typing import Any

from mms_adapt import longform
from mms_adapt.errors import OptionError

QUANTISE = ("none", "int8", "fp8")
# of a part, in seconds: where training is not known; what is ever chosen; beside an utterance of the training
_USUAL_S, _LEAST_S, _MOST_S, _BESIDE_TRAINING = 4.0, 4.0, 10.0, 1.3


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How recordings go through the model.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:1".
        decoder: A module of `mms_adapt.decoders`, or a dotted name of your own; "auto" is the adapter's own
            choice, which is greedy where it was not tuned.
        decoder_options: What its `build` takes; with "auto", what differs from the adapter's own.
        batch_seconds: Seconds of audio in a forward pass, padding included; bounds the memory.
        cut: How long recordings are cut: at "pauses" of loudness; where "silero" hears
            nobody speak, which needs the extra "vad"; or into windows that "overlap".
        window_s: Recordings longer than this are cut; no part is longer. Where not given, twice the usual
            with pauses, 30 seconds with overlap.
        usual_s: How long a part should be where there are pauses enough; with pauses. Where not given, what
            the adapter's training makes best: see `fitted`.
        overlap_s: Seconds that a window hears again of the one before it; with overlap.
        quantise: "none"; "int8": 8-bit integers in the encoder on a CPU; or "fp8": 8-bit floats there, on a
            card that has them. Quicker and a little less exact.
        lid: A checkpoint of MMS-LID, a folder or a name such as facebook/mms-lid-126, that is asked beside
            the adapters where the language is to be found out.
        allow_sibling: Go on where the backbone is the adapter's own after further training, or before it.
    """

    device: str = "auto"
    decoder: str = "auto"
    decoder_options: Mapping[str, Any] | None = None
    batch_seconds: float = 120.0
    cut: str = "pauses"
    window_s: float | None = None
    usual_s: float | None = None
    overlap_s: float = 4.0
    quantise: str = "none"
    allow_sibling: bool = False
    lid: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        lengths = {
            name: getattr(self, name) for name in ("batch_seconds", "window_s", "usual_s", "overlap_s")
        }
        wrong = [
            f"{name}={value!r}: give a number of seconds"
            for name, value in lengths.items()
            if not isinstance(value, int | float)
            and (value is not None or name not in ("window_s", "usual_s"))
        ]
        if wrong:
            raise OptionError("; ".join(wrong))
        if not 0 < self.batch_seconds < math.inf:
            wrong.append(f"batch_seconds={self.batch_seconds}: give more than 0, and an end")
        if self.cut not in longform.CUTS:
            near = get_close_matches(str(self.cut).casefold(), longform.CUTS, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            wrong.append(f"cut={self.cut!r}: give {' or '.join(longform.CUTS)}{hint}")
        if not 1 <= self.longest_s <= 600:
            wrong.append(f"window_s={self.window_s}: give 1 to 600 seconds")
        if self.cut == "overlap" and not 0 < self.overlap_s < self.longest_s / 2:
            wrong.append(f"overlap_s={self.overlap_s}: give more than 0 and less than half of window_s")
        if self.cut != "overlap" and self.usual_s is not None and not 0 < self.usual_s < self.longest_s:
            wrong.append(f"usual_s={self.usual_s}: give more than 0 and less than window_s")
        if self.quantise not in QUANTISE:
            wrong.append(f"quantise={self.quantise!r}: give {' or '.join(QUANTISE)}")
        if wrong:
            raise OptionError("; ".join(wrong))

    @property
    def longest_s(self) -> float:
        """The longest part of a recording that is heard at once."""
        if self.window_s is not None:
            return self.window_s
        return 30.0 if self.cut == "overlap" else 2 * (self.usual_s or _USUAL_S)

    def fitted(
        self, utterance_s: float | None, part_s: tuple[float, float] | None = None
    ) -> "TranscribeOptions":
        """Return options with the length of parts that suits an adapter, where none is asked for.

        A model hears best what is about as long as what it learnt from: a little more than one utterance.

        Args:
            utterance_s: Mean length of the utterances that it was trained on; None where that is not known.
            part_s: Usual and longest part, where they were chosen on a dev set.
        """
        if self.usual_s is not None:
            return self
        if part_s is not None and self.window_s is None and self.cut != "overlap":
            return replace(self, usual_s=part_s[0], window_s=part_s[1])
        usual_s = _USUAL_S
        if part_s is not None:
            usual_s = part_s[0]
        elif utterance_s is not None:
            usual_s = min(max(_BESIDE_TRAINING * utterance_s, _LEAST_S), _MOST_S)
        if self.window_s is not None:
            usual_s = min(usual_s, self.window_s / 2)
        return replace(self, usual_s=usual_s)
