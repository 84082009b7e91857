"""The sound of the worst examples, to be heard and seen on a page that loads nothing.

In: an `Inspection` and its recordings. Out: a `Clip` by utterance, as data URIs: lossless, since a flaw that
is to be judged must not be the codec's. It does not know the page.
"""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mms_adapt.audio import SAMPLE_RATE_HZ, AudioFile, Waveform
from mms_adapt.errors import AudioError
from mms_adapt.inspection.spectrogram import png

if TYPE_CHECKING:
    from mms_adapt.inspection import Inspection
    from mms_adapt.manifest import Utterance

LONGEST_S = 8.0
EACH = 3  # examples of a finding that are played
_MOST_BYTES = 8_000_000
_UNHEARD = {"no_consent", "withdrawn", "speaker_imbalance"}


@dataclass(frozen=True, slots=True)
class Clip:
    """An utterance, or its beginning, to be heard and seen.

    Attributes:
        audio_uri: FLAC, as a `data:` URI.
        image_uri: Its spectrogram as PNG, as a `data:` URI.
        shown_s: How much of it.
        whole: Whether that is all.
    """

    audio_uri: str
    image_uri: str
    shown_s: float
    whole: bool


def gather(inspection: "Inspection") -> Mapping[str, Clip]:
    """Return clips of the first examples of every finding, by id, up to some megabytes.

    Those that cannot be decoded are not among them.
    """
    known = {one.id: one for one in inspection.utterances}
    known |= {one.utterance.id: one.utterance for one in inspection.quarantined}
    clips: dict[str, Clip] = {}
    size = 0
    for name in dict.fromkeys(_wanted(inspection)):
        if size > _MOST_BYTES:
            break
        try:
            clips[name] = _clip(known[name], inspection)
        except AudioError:
            continue
        size += len(clips[name].audio_uri) + len(clips[name].image_uri)
    return clips


def _wanted(inspection: "Inspection") -> Iterator[str]:
    """Yield ids: the first example of every finding, then the second of every one, and so on."""
    for rank in range(EACH):
        for one in inspection.findings:
            if one.kind not in _UNHEARD and rank < len(one.examples):
                example = one.examples[rank]
                yield example.utterance_id
                if example.other_id is not None:
                    yield example.other_id


def _clip(utterance: "Utterance", inspection: "Inspection") -> Clip:
    with AudioFile(inspection.root / utterance.recording) as file:
        end_s = file.info.duration_s if utterance.end_s is None else utterance.end_s
        samples = file.read(utterance.start_s, min(end_s, utterance.start_s + LONGEST_S))
    whole = end_s - utterance.start_s <= LONGEST_S
    sound, picture = _uri("audio/flac", _flac(samples)), _uri("image/png", png(samples))
    return Clip(sound, picture, len(samples) / SAMPLE_RATE_HZ, whole)


def _flac(samples: Waveform) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
