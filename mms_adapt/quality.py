"""Which utterances can be learnt from and scored; for each other one, why not.

In: utterances, the folder of their recordings, the normaliser and graphemes of their references. Out:
`Findings`: utterances with their references, real ends and a hash of their sound; those left out, each with a
reason; and what was measured. Every recording is decoded, once, so that surprises come now and not in
training.

Nothing is dropped without a reason. It does not know parts (train, dev, test) or vocabularies; the same sound
under two ids is no flaw, but the split must know of it.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mms_adapt._version import __version__
from mms_adapt.audio import SAMPLE_RATE_HZ, AudioFile, AudioFlaw, AudioInfo, Waveform, frame_count
from mms_adapt.errors import OptionError
from mms_adapt.journal import Journal
from mms_adapt.manifest import Quarantined, Utterance, shown
from mms_adapt.measure import Measurement, measure
from mms_adapt.orthography import Orthography
from mms_adapt.text import Normaliser
from mms_adapt.vocab import Vocab

Progress = Callable[..., None]
_AT_A_TIME = 100  # utterances of one recording that one thread decodes before it reports

WHAT_TO_DO = {
    "missing_audio": "put the recording there, or correct its name where the corpus gives it",
    "undecodable": "copy the recording again from its source, or convert it to WAV or FLAC",
    "truncated": "copy the recording again from its source; its end is missing",
    "not_finite": "export the recording again; it holds numbers that are no sound",
    "span_outside": "look at start_s and end_s: they are seconds within the recording",
    "silent": "nothing can be heard there: look at the span, the file, or the recorder's channel",
    "empty_transcript": "write down what is said, or leave it; notes in brackets are not speech",
    "too_short": "join it with its neighbour, or leave it",
    "too_long": "cut it at pauses into spans of a few seconds each",
    "ctc_impossible": "the text is too long for the time: look at the span, or whether it is the text of "
    "another recording",
}


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """What an utterance must be like to be used.

    Attributes:
        min_utterance_s: Shorter ones are left out; a model hears too little of them to learn from.
        max_utterance_s: Longer ones are left out; they take the memory of a whole batch.
        silence_db: An utterance is silent where its loudest sample, without a constant offset, stays below
            this, in decibels of full scale. The default is three steps of 16-bit audio.
        let_in: Ids of utterances that are used all the same, however long or faint they are.

    Raises:
        OptionError: If a value makes no sense; it names all that do not.
    """

    min_utterance_s: float = 0.25
    max_utterance_s: float = 30.0
    silence_db: float = -80.0
    let_in: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = []
        if not 0.025 <= self.min_utterance_s <= 10:
            wrong.append(f"min_utterance_s={self.min_utterance_s}: give 0.025 (one frame) to 10 seconds")
        if not self.min_utterance_s < self.max_utterance_s <= 600:
            wrong.append(f"max_utterance_s={self.max_utterance_s}: give more than min_utterance_s, up to 600")
        if not -200 <= self.silence_db <= 0:
            wrong.append(f"silence_db={self.silence_db}: give -200 to 0")
        if wrong:
            raise OptionError("; ".join(wrong))

    @property
    def limits(self) -> dict[str, float]:
        """The thresholds of those reasons that have one."""
        return {
            "silent": self.silence_db,
            "too_short": self.min_utterance_s,
            "too_long": self.max_utterance_s,
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a corpus.

    Attributes:
        kept: What can be used, in the order given, with reference, real end and hash of the sound.
        quarantined: What is left out, in the order given.
        with_digits: Ids of the kept whose reference holds digits, which hide how a number is said.
        same_sound: Ids of the kept whose sound another one has, too.
        measurements: Of all that were decoded and are not too short, in the order given; of those left out
            after that, too.
    """

    kept: tuple[Utterance, ...]
    quarantined: tuple[Quarantined, ...]
    with_digits: tuple[str, ...]
    same_sound: tuple[str, ...]
    measurements: tuple[Measurement, ...] = ()

    def why_none(self) -> str:
        """Say why nothing of a corpus can be used, where that is so."""
        reasons = Counter(one.reason for one in self.quarantined)
        shown = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        most = reasons.most_common(1)[0][0]
        first = next(one for one in self.quarantined if one.reason == most)
        example = f"{first.utterance.id}: {first.detail}; {first.what_to_do}"
        return f"none of the {len(self.quarantined)} utterances can be used: {shown}. For instance {example}"


def inspect(
    utterances: Iterable[Utterance],
    root: str | PathLike[str],
    *,
    normaliser: Normaliser,
    orthography: Orthography | None = None,
    options: QualityOptions | None = None,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Check utterances: their transcripts, recordings and spans, and whether the two fit each other.

    Args:
        utterances: What to check.
        root: The folder that their recordings are relative to.
        normaliser: From transcript to reference.
        orthography: Graphemes of more than one character.
        options: What is asked of an utterance.
        journal: What an interrupted check of the same files has found; it is carried on.
        progress: Called with ("check", done, total, note) as recordings are decoded.

    Returns:
        What can be used and what is left out; nothing falls between.

    Raises:
        OptionError: If an utterance to be let in is unknown, or nothing can be done with it.
    """
    given = list(utterances)
    check = _Check(Path(root), normaliser, orthography or Orthography(), options or QualityOptions())
    results: dict[int, _Checked] = {}
    heard_s = 0.0
    pool = ThreadPoolExecutor(max(1, min(2, os.cpu_count() or 1)))
    try:
        stretches = list(_stretches(given))
        rows = [[given[place] for place in places] for places in stretches]
        decoded = pool.map(lambda row: check.noted(row, journal), rows)
        for places, (key, checked) in zip(stretches, decoded, strict=True):
            if journal is not None and key and journal.get(key) is None:
                journal.put(key, [one.record() for one in checked])
            results.update(zip(places, checked, strict=True))
            heard_s += sum(one.result.duration_s for one in checked if isinstance(one.result, Utterance))
            if progress:
                progress("check", len(results), len(given), f"{heard_s / 60:.1f} min")
    finally:
        pool.shutdown(cancel_futures=True)  # whoever stops it does not wait for hours of audio
    checked = [results[place] for place in range(len(given))]
    in_order = [one.result for one in checked]
    kept = tuple(one for one in in_order if isinstance(one, Utterance))
    quarantined = tuple(one for one in in_order if isinstance(one, Quarantined))
    _check_let_in(check.options, given, quarantined)
    by_sound: dict[str | None, list[str]] = defaultdict(list)
    for one in kept:
        by_sound[one.audio_sha256].append(one.id)
    return Findings(
        kept,
        quarantined,
        tuple(one.id for one in kept if any(map(str.isdigit, one.reference or ""))),
        tuple(name for names in by_sound.values() if len(names) > 1 for name in names),
        tuple(one.measured for one in checked if one.measured is not None),
    )


def _check_let_in(
    options: QualityOptions, given: Sequence[Utterance], quarantined: Sequence[Quarantined]
) -> None:
    """Complain where what somebody wants to let in is not there, or cannot be used at all."""
    if not options.let_in:
        return
    reasons = {one.id: "" for one in given}
    reasons |= {one.utterance.id: f"{one.reason}, {one.detail}; {one.what_to_do}" for one in quarantined}
    wrong = [
        f"{shown(one)} cannot be let in ({reasons.get(one, 'there is no such utterance')})"
        for one in options.let_in
        if reasons.get(one, "?")
    ]
    if wrong:
        raise OptionError("; ".join(wrong))


def _stretches(utterances: Sequence[Utterance]) -> Iterator[list[int]]:
    """Group places by recording, in the order of their spans: each file is read from front to back."""
    by_recording: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(utterances):
        by_recording[one.recording].append(place)
    for places in by_recording.values():
        places.sort(key=lambda place: utterances[place].start_s)
        for first in range(0, len(places), _AT_A_TIME):
            yield places[first : first + _AT_A_TIME]


@dataclass(frozen=True, slots=True)
class _Checked:
    """An utterance that can be used or is left out, with what was measured of it, where it was decoded."""

    result: Utterance | Quarantined
    measured: Measurement | None = None

    def record(self) -> list[Any]:
        """Return what was found as JSON holds it, without what the utterance itself says."""
        one = self.result
        found: list[Any]
        if isinstance(one, Quarantined):
            found = [one.reason, one.detail]
        else:
            found = [None, one.end_s, one.reference, one.audio_sha256]
        return [found, None if self.measured is None else self.measured.record()]

    @classmethod
    def of(cls, given: Utterance, record: list[Any]) -> "_Checked":
        """Return what `record` gave of the same utterance."""
        (reason, *found), measured = record
        heard = None if measured is None else Measurement.of(measured)
        if reason is not None:
            return cls(_left_out(given, reason, *found), heard)
        end_s, reference, audio_sha256 = found
        return cls(replace(given, end_s=end_s, reference=reference, audio_sha256=audio_sha256), heard)


@dataclass(frozen=True, slots=True)
class _Check:
    root: Path
    normaliser: Normaliser
    orthography: Orthography
    options: QualityOptions

    def noted(
        self, utterances: Sequence[Utterance], journal: Journal | None
    ) -> tuple[str | None, list[_Checked]]:
        """Check utterances of one recording, or return what the journal holds of them, with its key."""
        if journal is None:
            return None, self.stretch(utterances)
        try:
            stat = (self.root / utterances[0].recording).stat()
        except (OSError, ValueError):
            return None, self.stretch(utterances)
        about = [
            __version__, self.normaliser.signature, self.normaliser.target_lang, self.orthography.graphemes,
            asdict(self.options), stat.st_size, stat.st_mtime_ns, [asdict(one) for one in utterances],
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        if (records := journal.get(key)) is None:
            return key, self.stretch(utterances)
        return key, [_Checked.of(*pair) for pair in zip(utterances, records, strict=True)]

    def stretch(self, utterances: Sequence[Utterance]) -> list[_Checked]:
        """Check utterances of one recording."""
        try:
            with AudioFile(self.root / utterances[0].recording) as file:
                return [self._one(one, file) for one in utterances]
        except AudioFlaw as flaw:
            return [_Checked(_left_out(one, flaw.reason, str(flaw))) for one in utterances]

    def _one(self, utterance: Utterance, file: AudioFile) -> _Checked:
        reference = self.normaliser(utterance.transcript)
        if not reference:
            empty = (
                f"transcript {utterance.transcript[:60]!r}, nothing left of it by {self.normaliser.signature}"
            )
            return _Checked(_left_out(utterance, "empty_transcript", empty))
        end_s = file.info.duration_s if utterance.end_s is None else utterance.end_s
        duration_s, options = end_s - utterance.start_s, self.options
        let_in = utterance.id in options.let_in
        if duration_s > options.max_utterance_s and end_s <= file.info.duration_s + 1 and not let_in:
            found = f"{duration_s:.1f} s; at most {options.max_utterance_s:g} s are used"
            return _Checked(_left_out(utterance, "too_long", found))
        try:
            samples = file.read(utterance.start_s, utterance.end_s)
        except AudioFlaw as flaw:
            return _Checked(_left_out(utterance, flaw.reason, str(flaw)))
        duration_s = len(samples) / SAMPLE_RATE_HZ
        if duration_s < options.min_utterance_s and not let_in:
            found = f"{duration_s:.3f} s; at least {options.min_utterance_s:g} s are used"
            return _Checked(_left_out(utterance, "too_short", found))
        heard = replace(utterance, end_s=min(end_s, file.info.duration_s), reference=reference)
        return self._heard(utterance, heard, samples, file.info)

    def _heard(self, given: Utterance, heard: Utterance, samples: Waveform, info: AudioInfo) -> _Checked:
        """Judge and measure what was decoded."""
        reference = heard.reference or ""
        graphemes = self.orthography.split(reference)
        letters = sum(one != " " for one in graphemes)
        measured = Measurement(given.id, info.sample_rate_hz, info.channel_count, letters, measure(samples))
        loudest_db, options = _loudest_db(samples), self.options
        if loudest_db < options.silence_db and given.id not in options.let_in:
            found = f"its loudest sample is at {loudest_db:.0f} dB"
            if info.channel_count > 1:
                found += f", the mean of {info.channel_count} channels, which may cancel out: export one"
            return _Checked(_left_out(given, "silent", found), measured)
        needed, frames = Vocab.min_frames(graphemes), frame_count(len(samples))
        if frames < needed:
            duration_s = len(samples) / SAMPLE_RATE_HZ
            found = f"{needed} frames for {reference[:60]!r}, and {duration_s:.2f} s give {frames}"
            return _Checked(_left_out(given, "ctc_impossible", found), measured)
        return _Checked(replace(heard, audio_sha256=sound_sha256(samples)), measured)


def _left_out(utterance: Utterance, reason: str, detail: str) -> Quarantined:
    return Quarantined(utterance, reason, detail, WHAT_TO_DO[reason])


def _loudest_db(samples: Waveform) -> float:
    """Return the level of the loudest sample of `(samples,)`, without its constant offset."""
    peak = float(np.abs(samples - samples.mean(dtype=np.float64)).max())
    return 20 * float(np.log10(max(peak, 1e-10)))


def sound_sha256(samples: Waveform) -> str:
    """Return a hash of `(samples,)` at 16 kHz as 16-bit samples, so that no rounding behind them matters."""
    steps = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
    return hashlib.sha256(steps.tobytes()).hexdigest()
