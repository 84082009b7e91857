"""One language in a bank: an edition of its adapter with its decoder, through the engine that all share.

In: an edition and the engine. Out: what a `Transcriber` gives, long recordings included. It does not know
where editions come from.
"""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

from mms_adapt.decoders import Hypothesis
from mms_adapt.ngram import NGram
from mms_adapt.recordings import Waveform
from mms_adapt.serving.edition import Edition, stamp
from mms_adapt.serving.engine import Engine
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

if TYPE_CHECKING:
    import torch


class Voice(Transcriber):
    """One edition with its decoder, in a bank's engine. It never changes.

    Args:
        engine: The backbone, shared by all.
        edition: The edition.
        options: How recordings go through.
    """

    def __init__(self, engine: Engine, edition: Edition, options: TranscribeOptions) -> None:
        super().__init__(engine.backbone, edition.adapter, options)
        self.engine, self.edition, self.version = engine, edition, edition.version

    @property
    def byte_count(self) -> int:
        """Memory that its weights take."""
        return self.edition.byte_count

    @property
    def spelling(self) -> NGram | None:
        """The language model of graphemes that its decoder has; None where it has none."""
        model = getattr(self.decoder, "lm", None)
        return model if isinstance(model, NGram) and getattr(self.decoder, "by_grapheme", False) else None

    @property
    def current(self) -> bool:
        """Whether the folder still holds the edition that was read from it."""
        path = self.adapter.path
        return path is not None and stamp(path) == self.edition.stamp

    def moved(self, edition: Edition) -> "Voice":
        """Return it with the same weights elsewhere, or with others."""
        found = copy(self)
        found.edition, found.version = edition, edition.version
        return found

    def decoded(self, emissions: "torch.Tensor", frame_counts: Sequence[int]) -> list[Hypothesis]:
        """Return hypotheses of emissions `(batch, frames, width)` that a mixed batch gave."""
        own = emissions[..., : len(self.vocab)]
        return [self._signed(one) for one in self.decoder.decode(own, frame_counts)]

    def empty(self) -> Hypothesis:
        """Return what is written where nothing sounds."""
        return self._signed(Hypothesis(""))

    def _emissions(self, waveforms: Sequence[Waveform]) -> "tuple[torch.Tensor, list[int]]":
        features, counts = self.engine.features(waveforms)
        found = self.engine.emissions(features, counts, [self.edition] * len(counts))
        return found[..., : len(self.vocab)], counts
