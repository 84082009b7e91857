"""One adapter on one part of prepared data: transcribe it, score it, write score and report.

In: an adapter folder and prepared data. Out: a `Score`, and files where asked. It does not know how audio
becomes text, how texts are compared, or what a report looks like.
"""

import base64
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import audio, breakdown, language, noted, reports, text
from mms_adapt.breakdown import Breakdown
from mms_adapt.decoders import Hypothesis
from mms_adapt.edits import canonical
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.inspection.spectrogram import png
from mms_adapt.manifest import Utterance
from mms_adapt.measure import measure
from mms_adapt.passport import file_sha256
from mms_adapt.prepared import Prepared
from mms_adapt.recordings import Waveform
from mms_adapt.reports import Clip, Exclusion, Report
from mms_adapt.scoring import Conditions, Score, score
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Progress, Transcriber

_HELD_S = 1200.0  # audio held at a time, so that batches can be made by length: 77 MB
_PLAYER_BYTES_A_SECOND = 11_000  # of MP3 at 16 kHz and a spectrogram as base64, rather too many
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What an evaluation does beside transcribing.

    Attributes:
        bootstrap: Draws for the 95 % intervals; 0 for none.
        seed: Start of their random numbers.
        embed_audio: Put the sound of utterances, and its spectrogram, into an HTML report.
        embed_audio_mb: At most so much of it; those with most errors come first.
        allow_sibling: Go on where the backbone is the adapter's own after further training, or before it; the
            score is marked.
        note: Write the score into the adapter's passport, in place of the last one of the same part, with all
            that is needed to measure it again.
        quantise: "none", "int8" on a CPU, or "fp8" on a card: 8-bit numbers in the encoder; the score is
            marked.
    """

    bootstrap: int = 1000
    seed: int = 0
    embed_audio: bool = False
    embed_audio_mb: float = 24.0
    allow_sibling: bool = False
    note: bool = False
    quantise: str = "none"

    def __post_init__(self) -> None:
        if self.note and self.quantise != "none":
            raise OptionError(
                f"quantise={self.quantise!r}: a passport tells scores of the exact model; leave quantise or "
                "note out"
            )


def evaluate(
    adapter: str | PathLike[str],
    prepared: Prepared | str | PathLike[str],
    *,
    split: str = "test",
    json: str | PathLike[str] | None = None,
    report: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    decoder: str = "auto",
    decoder_options: Mapping[str, Any] | None = None,
    device: str = "auto",
    backbone: str | None = None,
    batch_seconds: float = 120.0,
    options: EvaluateOptions | None = None,
    progress: Progress | None = None,
) -> Score:
    """Measure word and character error rate on one part of prepared data.

    Args:
        adapter: Adapter folder.
        prepared: What `prepare` returned, or its folder.
        split: The part: "test", or "dev".
        json: Write the score here, as JSON.
        report: Write a report here, or several; the ending chooses the format (.html, .md, .json, .txt).
        decoder: A module of `mms_adapt.decoders`; "auto" is the adapter's own choice.
        decoder_options: What its `build` takes; with "auto", what differs from the adapter's own.
        device: "auto", "cpu", "cuda" or "cuda:1".
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        batch_seconds: Seconds of audio in a forward pass.
        options: Intervals, sound, and whether the passport is to tell the score.
        progress: Called with ("evaluate", done, total) as utterances are done.

    Raises:
        AdapterMismatchError: If the adapter is of another language or backbone.
        OptionError: If a report's ending is of no known format.
        ScoringError: If no reference of the part holds a word.
        SplitError: If the part is empty.
    """
    chosen, data = options or EvaluateOptions(), Prepared.of(prepared)
    wanted = reports.formats(report, json=json)
    through = TranscribeOptions(device, decoder, decoder_options, batch_seconds,
        quantise=chosen.quantise, allow_sibling=chosen.allow_sibling)  # fmt: skip
    utterances = _utterances(data, split)
    transcriber = Transcriber.load(adapter, backbone=backbone, options=through)
    transcriber.check_language(data.target_lang, f"{data.folder}", "evaluate an adapter on")
    note = _noting(transcriber, data, split) if chosen.note else None
    began_s = time.perf_counter()
    levels_db: list[float] = []
    hypotheses = list(_transcribed(transcriber, utterances, data, progress, levels_db if wanted else None))
    elapsed_s = time.perf_counter() - began_s
    found = _scored(utterances, hypotheses, data, _conditions(transcriber, data, split), chosen)
    if note is not None:
        note(found)
    if wanted:
        clips = [Clip(one.duration_s, one.confidence) for one in hypotheses]
        if chosen.embed_audio:
            clips = _with_sound(clips, found, utterances, data, chosen.embed_audio_mb)
        made = _report(transcriber, data, found, split, elapsed_s, clips, levels_db)
        for path, format in wanted:
            reports.write(path, format, made)
    return found


def _scored(
    utterances: Sequence[Utterance],
    hypotheses: Sequence[Hypothesis],
    data: Prepared,
    conditions: Conditions,
    options: EvaluateOptions,
) -> Score:
    """Score hypotheses cleaned as the references were."""
    normalise = text.get(data.normaliser, target_lang=data.target_lang)
    return score(
        [one.reference or "" for one in utterances],
        [normalise(one.text) for one in hypotheses],
        utterance_ids=[one.id for one in utterances],
        speakers=[one.speaker for one in utterances],
        conditions=conditions,
        bootstrap=options.bootstrap,
        seed=options.seed,
    )


def _noting(transcriber: Transcriber, data: Prepared, split: str) -> Callable[[Score], None]:
    """Return what writes a score into the passport, after making sure that it may stand there."""
    adapter, backbone = transcriber.adapter, transcriber.backbone
    split_sha256, decoder = data.split_sha256[split], transcriber.decoder_name
    noted.check(adapter, split, split_sha256, decoder, adapter.relation(backbone))

    def note(found: Score) -> None:
        record = noted.of(
            found,
            split_sha256=split_sha256,
            normaliser=data.normaliser,
            decoder=decoder,
            decoder_options=transcriber.decoder_options,
            device=backbone.device.type,
            dtype=str(backbone.dtype).removeprefix("torch."),
            batch_seconds=transcriber.options.batch_seconds,
        )
        noted.write(adapter.path or Path(), split, record, sha256=adapter.sha256)

    return note


def _report(
    transcriber: Transcriber,
    data: Prepared,
    found: Score,
    split: str,
    elapsed_s: float,
    clips: Sequence[Clip],
    levels_db: Sequence[float],
) -> Report:
    """Gather what a report shows."""
    return Report(
        score=found,
        target_lang=data.target_lang,
        language=language.name(data.target_lang),
        split=split,
        speech_s=sum(one.duration_s for one in clips),
        elapsed_s=elapsed_s,
        adapter=transcriber.version,
        backbone=transcriber.backbone.name,
        source=data.corpus,
        licence=data.licence or "",
        excluded=_exclusions(data),
        clips=tuple(clips),
        breakdowns=tuple(_breakdowns(found, clips, levels_db, data)),
    )


def _breakdowns(
    found: Score, clips: Sequence[Clip], levels_db: Sequence[float], data: Prepared
) -> list[Breakdown]:
    """Say where the errors are: in long or short, loud or faint utterances, in words that are new."""
    known = {word for one in data.utterances("train") for word in canonical(one.reference or "").split()}
    loud = "The level of loud vowels, in decibels of full scale."
    lengths_s = [clip.duration_s for clip in clips]
    return [
        breakdown.by_number(found.per_utterance, lengths_s, name="Length of the utterance", unit="s"),
        breakdown.by_number(found.per_utterance, levels_db, name="Loudness", unit="dB", note=loud),
        breakdown.by_novelty(found.per_utterance, known),
    ]


def _utterances(data: Prepared, split: str) -> Sequence[Utterance]:
    utterances = data.utterances(split)
    if not utterances:
        raise SplitError(f"{data.folder}: the {split} set is empty, so there is nothing to measure")
    return utterances


def _transcribed(
    transcriber: Transcriber,
    utterances: Sequence[Utterance],
    data: Prepared,
    progress: Progress | None,
    levels_db: list[float] | None,
) -> Iterator[Hypothesis]:
    """Transcribe in the manifest's order, every recording decoded once, some minutes held at a time.

    How loud each is, is added to `levels_db` where that is given.
    """
    held: list[Waveform] = []
    held_s = 0.0
    done = 0
    for _, samples in audio.read_utterances(utterances, data.root):
        held.append(samples)
        if levels_db is not None:
            levels_db.append(measure(samples).level_db)
        held_s += len(samples) / audio.SAMPLE_RATE_HZ
        if held_s >= _HELD_S:
            yield from transcriber.waveforms(held)
            done += len(held)
            if progress:
                progress("evaluate", done, len(utterances))
            held, held_s = [], 0.0
    yield from transcriber.waveforms(held)
    if progress:
        progress("evaluate", len(utterances), len(utterances))


def _conditions(transcriber: Transcriber, data: Prepared, split: str) -> Conditions:
    """Gather what made the score, and the marks that adapter and data give each other."""
    passport = transcriber.adapter.passport
    split_sha256 = data.split_sha256[split]
    marks = list(data.marks)
    if any(True for _ in data.quarantined()):
        marks.append("clips_left_out")
    if dict(passport.split_sha256).get(split) != split_sha256:
        marks.append("adapter_of_another_split")
    if not passport.verified:
        marks.append("adapter_unverified")
    elif passport.normaliser != data.normaliser:
        marks.append("normaliser_differs")
    if transcriber.adapter.relation(transcriber.backbone) == "sibling":
        marks.append("backbone_sibling")
    if transcriber.options.quantise != "none":
        marks.append(transcriber.options.quantise)
    given = transcriber.decoder_options
    return Conditions(
        normaliser=data.normaliser,
        split=split,
        split_sha256=split_sha256,
        adapter=transcriber.version,
        backbone=f"{_backbone_name(transcriber)}@{transcriber.backbone.fingerprint[:12]}",
        decoder=transcriber.decoder_name,
        decoder_options=",".join(f"{name}={_told(given[name])}" for name in sorted(given)),
        marks=tuple(marks),
    )


def _backbone_name(transcriber: Transcriber) -> str:
    """Return the backbone's name; of a folder, not where it lies, since scores are passed on."""
    name = transcriber.backbone.name
    return Path(name).resolve().name if Path(name).is_dir() else name


def _told(value: object) -> str:
    """Return an option's value; of a file, its name and what it holds."""
    if isinstance(value, str | PathLike) and Path(value).is_file():
        return f"{Path(value).name}@{file_sha256(Path(value))[:12]}"
    return str(value)


def _exclusions(data: Prepared) -> tuple[Exclusion, ...]:
    """Count what preparation set aside, the most frequent reason first."""
    gone = list(data.quarantined())
    counts = Counter(one.reason for one in gone)
    return tuple(
        Exclusion(
            reason,
            count,
            tuple(one.utterance.id for one in gone if one.reason == reason)[:_EXAMPLES],
            next(one.what_to_do for one in gone if one.reason == reason),
        )
        for reason, count in counts.most_common()
    )


def _with_sound(
    clips: Sequence[Clip], found: Score, utterances: Sequence[Utterance], data: Prepared, most_mb: float
) -> list[Clip]:
    """Return the clips with players, those of most word errors first, until the bound is reached."""
    left = most_mb * 1e6
    chosen: set[str] = set()
    worst = sorted(range(len(clips)), key=lambda place: -found.per_utterance[place].words.errors)
    for place in worst:
        left -= clips[place].duration_s * _PLAYER_BYTES_A_SECOND
        if left < 0:
            break
        chosen.add(utterances[place].id)
    wanted = [one for one in utterances if one.id in chosen]
    sounds = {
        one.id: (player(samples), picture(samples))
        for one, samples in audio.read_utterances(wanted, data.root)
    }
    return [
        Clip(clip.duration_s, clip.confidence, *sounds.get(one.id, (None, None)))
        for clip, one in zip(clips, utterances, strict=True)
    ]


def picture(samples: Waveform) -> str:
    """Return the spectrogram of audio at 16 kHz, `(samples,)`, as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png(samples)).decode('ascii')}"


def player(samples: Waveform) -> str:
    """Return audio at 16 kHz, `(samples,)`, as a data URI that every browser plays."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, audio.SAMPLE_RATE_HZ, format="MP3", compression_level=0.8)
    return f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
