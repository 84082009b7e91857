"""Drafts of utterances, and a vector of the sound of each, from one pass through the model.

In: a `Transcriber` and waveforms. Out: a `Draft` for each, in the order given. The vector is the mean of the
encoder's hidden states over the utterance, and their spread: who speaks, through which microphone, and which
sounds are made. It does not know what drafts are good for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from mms_adapt.audio import SAMPLE_RATE_HZ, Waveform
from mms_adapt.decoders import Hypothesis
from mms_adapt.errors import BackboneError
from mms_adapt.recordings import is_silent
from mms_adapt.transcriber import Transcriber

_AT_ONCE = 64  # utterances held in memory, to be batched by length


@dataclass(frozen=True, slots=True)
class Draft:
    """What the machine makes of an utterance.

    Attributes:
        hypothesis: What it reads.
        sound: A vector of how it sounds, `(2 * hidden,)`; None where nothing sounds.
    """

    hypothesis: Hypothesis
    sound: NDArray[np.float32] | None


def write_drafts(
    transcriber: Transcriber,
    waveforms: Iterable[Waveform],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Draft]:
    """Write drafts of utterances that are read one after another.

    Args:
        transcriber: The model with its adapter.
        waveforms: Mono audio at 16 kHz, `(samples,)` each, of at most about a window.
        progress: Called with how many are done.

    Raises:
        BackboneError: If the model gives numbers that are not finite.
    """
    found: list[Draft] = []
    waiting = iter(waveforms)
    while some := list(islice(waiting, _AT_ONCE)):
        drafts = [Draft(Hypothesis("", duration_s=len(one) / SAMPLE_RATE_HZ), None) for one in some]
        sounding = sorted(
            (place for place, one in enumerate(some) if not is_silent(one)),
            key=lambda place: len(some[place]),
        )
        while sounding:
            fitting = max(1, transcriber.batch_samples // len(some[sounding[-1]]))
            sounding, places = sounding[:-fitting], sounding[-fitting:]
            for place, draft in zip(places, _batch(transcriber, [some[one] for one in places]), strict=True):
                drafts[place] = draft
        found += drafts
        if progress:
            progress(len(found))
    return found


def _batch(transcriber: Transcriber, waveforms: list[Waveform]) -> list[Draft]:
    """Write drafts of a batch."""
    backbone = transcriber.backbone
    sample_counts = [len(one) for one in waveforms]
    with torch.inference_mode():
        features, counts = backbone.hear(waveforms)
        hidden = backbone.encode(features, torch.tensor(counts)).float()  # `(batch, frames, hidden)`
        emissions = backbone.logits(hidden).log_softmax(dim=-1)
        spread = [row[:count].std(dim=0, correction=0) for row, count in zip(hidden, counts, strict=True)]
        means = [row[:count].mean(dim=0) for row, count in zip(hidden, counts, strict=True)]
        sounds = torch.cat([torch.stack(means), torch.stack(spread)], dim=1).cpu().numpy()
    if not np.isfinite(sounds).all():
        raise BackboneError(
            "the model gave numbers that are not finite: the backbone or the adapter is broken, or its "
            "precision too low; try float32"
        )
    return [
        Draft(replace(hypothesis, duration_s=count / SAMPLE_RATE_HZ), sound)
        for hypothesis, count, sound in zip(
            transcriber.decoder.decode(emissions, counts), sample_counts, sounds, strict=True
        )
    ]
