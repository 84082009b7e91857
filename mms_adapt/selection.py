"""Which untranscribed recordings to transcribe next, as ELAN documents with the machine's draft.

In: recordings, an adapter, and what is transcribed already. Out: a folder of

    NAME.eaf           one a recording: the tier "text" to be filled, "draft" and "draft-confidence" beside it
    NAME.wav           a copy of the recording
    selection.jsonl    every stretch that was considered, with its draft and what it is worth

which `prepare` reads when somebody has filled the tier "text". The drafts never become transcripts by
themselves. It does not know how stretches are found, drafted or weighed.
"""

import json as json_module
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from mms_adapt import audio, correction, files, pauses
from mms_adapt import registry as registry_module
from mms_adapt.audio import AnySpan, Waveform
from mms_adapt.correction import Stretch
from mms_adapt.drafts import Draft, write_drafts
from mms_adapt.errors import AudioError, CorpusError, OptionError
from mms_adapt.manifest import Utterance, evenly
from mms_adapt.media import AUDIO
from mms_adapt.novelty import STRATEGIES, Candidate, Holding, Pick, Pool, Worth
from mms_adapt.pauses import CutOptions
from mms_adapt.prepared import Prepared
from mms_adapt.recordings import open_recording
from mms_adapt.splits import PARTS
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

Progress = Callable[..., None]
_TOUCH_S = 0.2  # more of a stretch than this lies in an utterance that is transcribed: so is the stretch
_KNOWN_MINUTES = 20.0  # of transcribed speech that is listened to, to know what is new


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen to be transcribed.

    Attributes:
        folder: Where the documents are.
        target_lang: The language.
        adapter: Which version of which adapter wrote the drafts.
        strategy: How was chosen.
        documents: The ELAN documents.
        stretches: All that were considered, in the order of recordings and time.
        chosen: What the chosen ones hold.
        by_chance: What random choices of as many minutes hold, the mean of twenty.
        passed_over: Seconds that were not considered, by reason.
    """

    folder: Path
    target_lang: str
    adapter: str
    strategy: str
    documents: tuple[Path, ...]
    stretches: tuple[Stretch, ...]
    chosen: Holding
    by_chance: Holding
    passed_over: Mapping[str, float]

    def to_json(self) -> str:
        """Return it as JSON, without the stretches that were not chosen."""
        record = asdict(self)
        record["stretches"] = [one for one in record["stretches"] if one["rank"] is not None]
        return json_module.dumps(record, ensure_ascii=False, indent=1, default=str) + "\n"


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of a recording before anybody has listened to it."""

    id: str
    recording: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class SelectOptions:
    """How stretches are cut, drafted and chosen.

    Attributes:
        strategy: "mixed", "confidence", "novelty" or "random"; see `mms_adapt.novelty`.
        seed: Start of random choices.
        cutting: How long the stretches are.
        through: How they go through the model.
    """

    strategy: str = "mixed"
    seed: int = 0
    cutting: CutOptions = field(default_factory=CutOptions)
    through: TranscribeOptions = field(default_factory=TranscribeOptions)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise OptionError(f"strategy {self.strategy!r} is unknown (known: {', '.join(STRATEGIES)})")


def select(
    recordings: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    minutes: float = 20.0,
    target_lang: str | None = None,
    registry: str | PathLike[str] = "adapters",
    adapter: str | PathLike[str] | None = None,
    prepared: Prepared | str | PathLike[str] | None = None,
    backbone: str | None = None,
    options: SelectOptions | None = None,
    json: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Choose the untranscribed speech that would teach most, and write it for a person to transcribe.

    Args:
        recordings: Audio files, and folders whose audio files are meant.
        out: Folder to write; it must not be there yet, or be empty.
        minutes: How much speech to choose.
        target_lang: The language; its adapter is looked for in the registry.
        registry: Folder of adapters, `REGISTRY/<target_lang>/`.
        adapter: An adapter folder, instead of language and registry.
        prepared: The data that the adapter learnt from: tells what is new, and what is transcribed already
            and is passed over.
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        options: How stretches are cut, drafted and chosen.
        json: Write what was chosen here, as JSON.
        progress: Called with (stage, done, total, note).

    Raises:
        AdapterMismatchError: If the adapter is of another language or backbone.
        AudioError: If a recording cannot be read.
        CorpusError: If there is no recording, or nothing in them to transcribe.
        OptionError: If an option makes no sense, or the folder holds something already.
        RegistryError: If the registry has no adapter of the language.
    """
    chosen, folder = options or SelectOptions(), Path(out)
    _check(folder, minutes)
    paths = _audio_files(recordings, folder)
    if adapter is None:
        if target_lang is None:
            raise OptionError("which adapter? Give target_lang (with registry), or adapter")
        adapter = registry_module.find(registry, target_lang)
    data = None if prepared is None else Prepared.of(prepared)
    transcriber = Transcriber.load(adapter, backbone=backbone, options=chosen.through)
    doing = "choose with an adapter of the language, for"
    if target_lang is not None:
        transcriber.check_language(target_lang, "target_lang", doing)
    if data is not None:
        transcriber.check_language(data.target_lang, str(data.folder), doing)
    found = _selected(paths, folder, minutes, transcriber, data, chosen, progress)
    if json is not None:
        files.write(Path(json), found.to_json().encode("utf-8", "replace"))
    return found


def _selected(
    paths: Sequence[Path],
    folder: Path,
    minutes: float,
    transcriber: Transcriber,
    data: Prepared | None,
    options: SelectOptions,
    progress: Progress | None,
) -> Selection:
    """Cut, listen, choose and write."""
    passed_over: dict[str, float] = defaultdict(float)
    spans = list(_spans(paths, options.cutting, data, passed_over, progress))
    drafts = _listen(spans, Path(), transcriber, "listen", progress)
    heard = [(one, draft) for one, draft in zip(spans, drafts, strict=True) if draft.sound is not None]
    silent = (
        one.end_s - one.start_s for one, draft in zip(spans, drafts, strict=True) if draft.sound is None
    )
    passed_over["nothing sounds"] += sum(silent)
    if not heard:
        raise CorpusError(f"{_named(paths)}: nothing to transcribe: {_reasons(passed_over)}")
    known, root = (data.utterances("train"), data.root) if data else ((), Path())
    pool = _pool([one for one, _ in heard], [one for _, one in heard], known, root, transcriber, progress)
    picks = pool.choose(minutes, strategy=options.strategy, seed=options.seed)
    stretches = _stretches(heard, picks, pool.worths(strategy=options.strategy, seed=options.seed))
    return Selection(
        folder=folder,
        target_lang=transcriber.adapter.passport.target_lang,
        adapter=transcriber.version,
        strategy=options.strategy,
        documents=correction.write(folder, stretches),
        stretches=stretches,
        chosen=pool.hold([one.place for one in picks]),
        by_chance=pool.by_chance(minutes, seed=options.seed),
        passed_over={why: round(seconds, 3) for why, seconds in passed_over.items() if seconds > 0},
    )


def pool_of(
    spans: Sequence[AnySpan],
    root: Path,
    transcriber: Transcriber,
    *,
    known: Sequence[Utterance] = (),
    progress: Progress | None = None,
) -> Pool:
    """Let an adapter draft stretches that are cut already, to choose from.

    Args:
        spans: What could be transcribed; something sounds in each.
        root: The folder that their recordings are relative to, and those of `known`.
        transcriber: The model with its adapter.
        known: What is transcribed already.
        progress: Called with (stage, done, total).

    Raises:
        AudioError: If a recording cannot be read, or nothing sounds in a stretch.
    """
    drafts = _listen(spans, root, transcriber, "listen", progress)
    return _pool(spans, drafts, known, root, transcriber, progress)


def _check(folder: Path, minutes: float) -> None:
    wrong = []
    if not 0 < minutes < 1e6:
        wrong.append(f"minutes={minutes:g}: give more than 0")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        wrong.append(f"{folder} exists, and may hold somebody's corrections; write to another folder")
    if wrong:
        raise OptionError("; ".join(wrong))


def _audio_files(recordings: Sequence[str | PathLike[str]], out: Path) -> list[Path]:
    """Return audio files and those in folders and below, each once."""
    found: dict[Path, Path] = {}
    for given in map(Path, recordings):
        inside = [given]
        if given.is_dir():
            inside = sorted(one for one in given.rglob("*") if one.suffix.lower() in AUDIO and one.is_file())
            if not inside:
                raise CorpusError(f"{given}: there is no recording in it ({', '.join(AUDIO)})")
        for one in inside:
            found.setdefault(one.resolve(), one)
    if not found:
        raise OptionError("no recordings are given: name audio files, or folders of them")
    return [one for place, one in found.items() if out.resolve() not in place.parents]


def _spans(
    paths: Sequence[Path],
    options: CutOptions,
    data: Prepared | None,
    passed_over: dict[str, float],
    progress: Progress | None,
) -> Iterator[_Span]:
    """Cut recordings at their pauses, and pass over what is transcribed already."""
    transcribed: dict[Path, list[tuple[float, float]]] = defaultdict(list)
    if data is not None:
        for one in (each for part in PARTS for each in data.utterances(part)):
            there = transcribed[(data.root / one.recording).resolve()]
            there.append((one.start_s, one.start_s + one.duration_s))
    for number, path in enumerate(paths):
        if progress:
            progress("cut", number, len(paths), path.name)
        found = pauses.cut(open_recording(path), options)
        passed_over["pauses"] += found.pause_s
        passed_over["too short"] += found.short_s
        for start_s, end_s in found.spans:
            both = (min(end_s, stop) - max(start_s, start) for start, stop in transcribed[path.resolve()])
            if any(seconds > _TOUCH_S for seconds in both):
                passed_over["transcribed already"] += end_s - start_s
                continue
            yield _Span(f"{path.as_posix()}:{start_s:.2f}", path.as_posix(), start_s, end_s)
    if progress:
        progress("cut", len(paths), len(paths))


def _listen(
    spans: Sequence[AnySpan], root: Path, transcriber: Transcriber, stage: str, progress: Progress | None
) -> list[Draft]:
    """Draft stretches that are read from the disk one after another."""

    def waveforms() -> Iterator[Waveform]:
        yield from (samples for _, samples in audio.read_utterances(spans, root))

    def report(done: int) -> None:
        if progress:
            progress(stage, done, len(spans))

    return write_drafts(transcriber, waveforms(), progress=report)


def _pool(
    spans: Sequence[AnySpan],
    drafts: Sequence[Draft],
    known: Sequence[Utterance],
    root: Path,
    transcriber: Transcriber,
    progress: Progress | None,
) -> Pool:
    """Put drafts beside what is known."""
    split = transcriber.vocab.orthography.split
    heard = evenly(known, _KNOWN_MINUTES) if known else []
    sounds = [one.sound for one in _listen(heard, root, transcriber, "known", progress)]
    if silent := [one.id for one, draft in zip(spans, drafts, strict=True) if draft.sound is None]:
        raise AudioError(f"{silent[0]}: nothing sounds there; leave it out")
    return Pool(
        [
            Candidate(
                one.id,
                draft.hypothesis.duration_s,
                tuple(split(draft.hypothesis.text)),
                draft.hypothesis.confidence,
            )
            for one, draft in zip(spans, drafts, strict=True)
        ],
        np.stack([one.sound for one in drafts if one.sound is not None]),
        known=[split(one.reference or "") for one in known],
        known_sounds=np.stack(kept) if (kept := [one for one in sounds if one is not None]) else None,
    )


def _stretches(
    heard: Sequence[tuple[_Span, Draft]], picks: Sequence[Pick], worths: Sequence[Worth]
) -> tuple[Stretch, ...]:
    chosen = {one.place: (number, one.worth) for number, one in enumerate(picks, start=1)}
    return tuple(
        Stretch(
            id=one.id,
            recording=one.recording,
            start_s=one.start_s,
            end_s=one.end_s,
            draft=draft.hypothesis.text,
            confidence=draft.hypothesis.confidence,
            worth=chosen[place][1] if place in chosen else worths[place],
            rank=chosen[place][0] if place in chosen else None,
        )
        for place, (one, draft) in enumerate(heard)
    )


def _named(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"


def _reasons(passed_over: Mapping[str, float]) -> str:
    return ", ".join(f"{seconds:.1f} s {why}" for why, seconds in passed_over.items() if seconds > 0)
