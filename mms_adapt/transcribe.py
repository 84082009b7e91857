"""Audio to text: files, arrays or lists of them, of any length, with one adapter.

In: recordings and the adapter's folder or language. Out: a `Hypothesis` for each. Recordings up to one
window are read whole and batched by length; longer ones are read from disk window by window and never held
in memory. It does not know training, references or scores.

What is shorter than one receptive field of the encoder, or silent, gives an empty text, and the model is not
asked: normalised silence is loud noise to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mms_adapt import backbone as backbone_module
from mms_adapt import passport, plugins, windows
from mms_adapt import registry as registry_module
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ, frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Decoder, Hypothesis, join
from mms_adapt.errors import AdapterMismatchError, BackboneError, OptionError
from mms_adapt.recordings import Recording, Source, Waveform, is_silent, open_recording

if TYPE_CHECKING:
    import torch

Progress = Callable[..., None]
_CERTAIN, _IMPOSSIBLE = 0.0, -100.0  # log-probabilities of the blank and of all else where nothing sounds


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How recordings go through the model.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:1".
        decoder: A module of `mms_adapt.decoders`, or a dotted name of your own; "auto" is the adapter's own
            choice, which is greedy where it was not tuned.
        decoder_options: What its `build` takes; with "auto", what differs from the adapter's own.
        batch_seconds: Seconds of audio in a forward pass, padding included; bounds the memory.
        window_s: Recordings longer than this go through in windows of this length.
        overlap_s: Seconds that a window hears again of the one before it.
        allow_sibling: Go on where the backbone is the adapter's own after further training, or before it.
    """

    device: str = "auto"
    decoder: str = "auto"
    decoder_options: Mapping[str, Any] | None = None
    batch_seconds: float = 120.0
    window_s: float = 30.0
    overlap_s: float = 4.0
    allow_sibling: bool = False

    def __post_init__(self) -> None:
        wrong = []
        if not self.batch_seconds > 0:
            wrong.append(f"batch_seconds={self.batch_seconds}: give more than 0")
        if not 1 <= self.window_s <= 600:
            wrong.append(f"window_s={self.window_s}: give 1 to 600 seconds")
        if not 0 < self.overlap_s < self.window_s / 2:
            wrong.append(f"overlap_s={self.overlap_s}: give more than 0 and less than half of window_s")
        if wrong:
            raise OptionError("; ".join(wrong))


@overload
def transcribe(
    audio: Recording, *, target_lang: str | None = ..., registry: str | PathLike[str] = ...,
    adapter: str | PathLike[str] | None = ..., backbone: str | None = ..., sample_rate_hz: int = ...,
    progress: Progress | None = ..., **options: Any,
) -> Hypothesis: ...  # fmt: skip
@overload
def transcribe(
    audio: Sequence[Recording], *, target_lang: str | None = ..., registry: str | PathLike[str] = ...,
    adapter: str | PathLike[str] | None = ..., backbone: str | None = ..., sample_rate_hz: int = ...,
    progress: Progress | None = ..., **options: Any,
) -> list[Hypothesis]: ...  # fmt: skip
def transcribe(
    audio: Recording | Sequence[Recording],
    *,
    target_lang: str | None = None,
    registry: str | PathLike[str] = "adapters",
    adapter: str | PathLike[str] | None = None,
    backbone: str | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    progress: Progress | None = None,
    **options: Any,
) -> Hypothesis | list[Hypothesis]:
    """Write what is said in a recording, or in each of a list.

    Args:
        audio: A file's path, samples `(samples,)` in -1 to 1, or a list of such.
        target_lang: The language; its adapter is looked for in the registry.
        registry: Folder of adapters, `REGISTRY/<target_lang>/`.
        adapter: An adapter folder, instead of language and registry.
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        sample_rate_hz: Sample rate of arrays; files know their own.
        progress: Called with ("transcribe", done, total) after every batch.
        options: Fields of `TranscribeOptions`, such as `device`, `decoder`, `batch_seconds`.

    Returns:
        A hypothesis, or a list of them in the order given.

    Raises:
        OptionError: If neither language nor adapter is given, or an option makes no sense.
        RegistryError: If the registry has no adapter of the language.
        AdapterMismatchError: If the adapter was trained on another backbone.
        AudioError: If a recording cannot be read or holds no numbers.
    """
    several = isinstance(audio, list | tuple)
    recordings: list[Recording] = list(audio) if several else [audio]  # type: ignore[arg-type,list-item]
    known = set(TranscribeOptions.__dataclass_fields__)
    if options.keys() - known:
        raise OptionError(
            f"unknown options {', '.join(sorted(options.keys() - known))}; known: {', '.join(sorted(known))}"
        )
    chosen = TranscribeOptions(**options)
    if adapter is None:
        if target_lang is None:
            raise OptionError("which adapter? Give target_lang (with registry), or adapter")
        adapter = registry_module.find(registry, target_lang)
    transcriber = Transcriber.load(adapter, backbone=backbone, options=chosen)
    found = transcriber.recordings(recordings, sample_rate_hz=sample_rate_hz, progress=progress)
    return found if several else found[0]


class Transcriber:
    """A backbone with one adapter and a decoder, loaded once and asked often.

    Attributes:
        adapter: The adapter's folder as it was read.
        backbone: The backbone with the adapter in it.
        options: How recordings go through.
        vocab: The adapter's vocabulary.
        version: The adapter's language and hash; "unverified" where nobody noted its backbone.
        decoder_name: The decoder, "auto" resolved.
        decoder_options: Its options.
    """

    def __init__(self, backbone: Backbone, adapter: AdapterFolder, options: TranscribeOptions) -> None:
        self.backbone, self.adapter, self.options = backbone, adapter, options
        self.vocab = adapter.vocab
        self.version = f"{adapter.passport.target_lang}@{adapter.sha256[:12]}"
        if not adapter.passport.verified:
            self.version += " unverified"
        name = options.decoder
        own: dict[str, Any] = {}
        if name == "auto":
            name, own = passport.decoder_of(adapter.path or Path(), adapter.passport)
        self.decoder_name, self.decoder_options = name, {**own, **(options.decoder_options or {})}
        build = plugins.load("decoders", name).build
        self.decoder: Decoder = build(adapter.vocab, **self.decoder_options)
        self.batch_samples = int(options.batch_seconds * SAMPLE_RATE_HZ)
        self.window_samples = int(options.window_s * SAMPLE_RATE_HZ)

    @classmethod
    def load(
        cls,
        adapter: str | PathLike[str],
        *,
        backbone: str | None = None,
        options: TranscribeOptions | None = None,
    ) -> "Transcriber":
        """Open an adapter folder and the backbone it was trained on.

        Raises:
            AdapterError: If the folder is not a whole adapter, or has no passport and no backbone is given.
            AdapterMismatchError: If the backbone is another one.
        """
        chosen = options or TranscribeOptions()
        folder = AdapterFolder.load(Path(adapter))
        base = backbone_module.load(backbone or folder.backbone_name, device=chosen.device)
        folder.attach(base, allow_sibling=chosen.allow_sibling)
        return cls(base, folder, chosen)

    def recordings(
        self,
        recordings: Sequence[Recording],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        progress: Progress | None = None,
    ) -> list[Hypothesis]:
        """Transcribe files and arrays of any length, in the order given."""
        sources = [open_recording(one, sample_rate_hz, place) for place, one in enumerate(recordings)]
        found: list[Hypothesis | None] = [None] * len(sources)
        short = [place for place, one in enumerate(sources) if one.sample_count <= self.window_samples]
        done = 0
        for batch in _batches([sources[place].sample_count for place in short], self.batch_samples):
            places = [short[one] for one in batch]
            waveforms = [sources[place].read(0, sources[place].sample_count) for place in places]
            for place, hypothesis in zip(places, self.waveforms(waveforms), strict=True):
                found[place] = hypothesis
            done += len(places)
            if progress:
                progress("transcribe", done, len(sources))
        for place in sorted(set(range(len(sources))) - set(short)):
            found[place] = self._long(sources[place], progress if len(sources) == 1 else None)
            done += 1
            if progress and len(sources) > 1:
                progress("transcribe", done, len(sources))
        return [
            replace(one, recording=source.name, duration_s=source.sample_count / SAMPLE_RATE_HZ)
            for one, source in zip(found, sources, strict=True)
            if one is not None
        ]

    def waveforms(self, waveforms: Sequence[Waveform]) -> list[Hypothesis]:
        """Transcribe utterances that are in memory, each in one pass, batched by length.

        Args:
            waveforms: Mono audio at 16 kHz, `(samples,)` each, of at most about a window.

        Returns:
            Hypotheses in the order given.
        """
        found = [self._signed(Hypothesis("")) for _ in waveforms]
        for places, emissions, counts in self._sounding(waveforms):
            for place, one in zip(places, self.decoder.decode(emissions, counts), strict=True):
                found[place] = self._signed(one)
        return [
            replace(one, duration_s=len(samples) / SAMPLE_RATE_HZ)
            for one, samples in zip(found, waveforms, strict=True)
        ]

    def emissions(self, waveforms: Sequence[Waveform]) -> "list[windows.Emissions]":
        """Return log-probabilities of utterances that are in memory, before any decoding.

        Args:
            waveforms: Mono audio at 16 kHz, `(samples,)` each, of at most about a window.

        Returns:
            Emissions `(frames, vocab)` each, in the order given; sure of the blank where nothing sounds.
        """
        found = [self._silence(frame_count(len(one))) for one in waveforms]
        for places, emissions, counts in self._sounding(waveforms):
            for place, row, count in zip(places, emissions.float().cpu().numpy(), counts, strict=True):
                found[place] = row[:count]
        return found

    def check_language(self, target_lang: str, where: str, doing: str) -> None:
        """Make sure that the adapter writes the language of the data.

        Raises:
            AdapterMismatchError: If it writes another one.
        """
        written = self.adapter.passport.target_lang
        if written != target_lang:
            raise AdapterMismatchError(
                f"the adapter writes {written!r} and {where} holds {target_lang!r}: {doing} data of its own "
                "language"
            )

    def _sounding(
        self, waveforms: Sequence[Waveform]
    ) -> "Iterator[tuple[list[int], torch.Tensor, list[int]]]":
        """Yield places, log-probabilities and frame counts of those that sound, batch by batch."""
        sounding = [place for place, one in enumerate(waveforms) if not is_silent(one)]
        for batch in _batches([len(waveforms[place]) for place in sounding], self.batch_samples):
            places = [sounding[one] for one in batch]
            yield places, *self._emissions([waveforms[place] for place in places])

    def _signed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, target_lang=self.adapter.passport.target_lang, adapter=self.version)

    def _emissions(self, waveforms: Sequence[Waveform]) -> "tuple[torch.Tensor, list[int]]":
        """Return log-probabilities `(batch, frames, vocab)` of one batch and its frame counts."""
        import torch

        counts = [len(one) for one in waveforms]
        padded = torch.zeros(len(waveforms), max(counts))
        for row, one in zip(padded, waveforms, strict=True):
            row[: len(one)] = torch.from_numpy(np.ascontiguousarray(one))
        frame_counts = [frame_count(count) for count in counts]
        with torch.inference_mode():
            features = self.backbone.cnn(padded.to(self.backbone.device), torch.tensor(counts))
            hidden = self.backbone.encode(features, torch.tensor(frame_counts))
            emissions = self.backbone.logits(hidden).float().log_softmax(dim=-1)
        for row, frames in enumerate(frame_counts):
            if not bool(torch.isfinite(emissions[row, :frames]).all()):
                raise BackboneError(
                    f"the model gave numbers that are not finite for {counts[row] / SAMPLE_RATE_HZ:.1f} s of "
                    "audio: the backbone or the adapter is broken, or its precision too low; try float32"
                )
        return emissions, frame_counts

    def _long(self, source: Source, progress: Progress | None) -> Hypothesis:
        """Transcribe a recording window by window, in flat memory."""
        blank_id, delimiter_id = self.vocab.blank_id, self.vocab.delimiter_id
        stitched = windows.stitch(self._windows(source, progress), blank_id)
        frame_s = FRAME_STRIDE / SAMPLE_RATE_HZ
        parts = (
            (first * frame_s, self.decoder.decode(piece[None], [len(piece)])[0])
            for first, piece in windows.at_word_ends(stitched, blank_id, delimiter_id)
        )
        return self._signed(join(parts))

    def _windows(self, source: Source, progress: Progress | None) -> Iterator[tuple[int, windows.Emissions]]:
        """Return first frame and emissions `(frames, vocab)` of every window in order."""
        cuts = list(windows.cut(source.sample_count, self.options.window_s, self.options.overlap_s))
        at_once = max(1, self.batch_samples // self.window_samples)
        for start in range(0, len(cuts), at_once):
            group = cuts[start : start + at_once]
            waveforms = [source.read(one.start, one.stop) for one in group]
            sounding = [place for place, one in enumerate(waveforms) if not is_silent(one)]
            heard: dict[int, windows.Emissions] = {}
            if sounding:
                emissions, counts = self._emissions([waveforms[place] for place in sounding])
                rows = emissions.float().cpu().numpy()
                heard = {place: row[:count] for place, row, count in zip(sounding, rows, counts, strict=True)}
            for place, one in enumerate(group):
                quiet = frame_count(one.stop - one.start)
                yield one.first_frame, heard[place] if place in heard else self._silence(quiet)
            if progress:
                progress("transcribe", min(start + at_once, len(cuts)), len(cuts))

    def _silence(self, frames: int) -> windows.Emissions:
        """Return emissions `(frames, vocab)` that are sure of the blank."""
        emissions = np.full((frames, len(self.vocab.tokens)), _IMPOSSIBLE, np.float32)
        emissions[:, self.vocab.blank_id] = _CERTAIN
        return emissions


def _batches(sample_counts: Sequence[int], batch_samples: int) -> Iterator[list[int]]:
    """Group places by length, longest first, so that a padded group stays within the bound."""
    group: list[int] = []
    longest = 0
    for place in sorted(range(len(sample_counts)), key=lambda one: -sample_counts[one]):
        if group and (len(group) + 1) * longest > batch_samples:
            yield group
            group = []
        longest = sample_counts[place] if not group else longest
        group.append(place)
    if group:
        yield group
