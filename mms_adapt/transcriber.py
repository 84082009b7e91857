"""Audio to text with one adapter, loaded once and asked often: files and arrays of any length.

In: recordings and the adapter's folder. Out: a `Hypothesis` for each. Recordings up to one
window are read whole and batched by length; longer ones are read from disk piece by piece and never held
in memory. It does not know training, references or scores.

What is shorter than one receptive field of the encoder, or silent, gives an empty text, and the model is not
asked: normalised silence is loud noise to it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mms_adapt import backbone as backbone_module
from mms_adapt import longform, passport, plugins, windows
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ, frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Decoder, Hypothesis, join
from mms_adapt.errors import AdapterMismatchError, BackboneError
from mms_adapt.recordings import Recording, Source, Waveform, is_silent, open_recording
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.voice_activity import Silero

if TYPE_CHECKING:
    import torch

Progress = Callable[..., None]
_CPU_BATCH_S = 30.0  # of a long recording: a processor is no quicker with more, and takes more memory


class Transcriber:
    """A backbone with one adapter and a decoder, loaded once and asked often.

    Attributes:
        adapter: The adapter's folder as it was read.
        backbone: The backbone with the adapter in it.
        options: How recordings go through, with what suits the adapter where nothing was asked for.
        vocab: The adapter's vocabulary.
        version: The adapter's language and hash; "unverified" where nobody noted its backbone, "sibling"
            where that is an earlier or later state of this one.
        decoder_name: The decoder, "auto" resolved.
        decoder_options: Its options.
    """

    def __init__(self, backbone: Backbone, adapter: AdapterFolder, options: TranscribeOptions) -> None:
        options = options.fitted(adapter.passport.utterance_s, adapter.passport.part_s)
        self.backbone, self.adapter, self.options = backbone, adapter, options
        self.vocab = adapter.vocab
        self.version = adapter.version_on(backbone)
        name = options.decoder
        own: dict[str, Any] = {}
        if name == "auto":
            name, own = passport.decoder_of(adapter.path or Path(), adapter.passport)
        given = options.decoder_options or {}
        if "lm" in given:  # the words of the adapter's own model stand beside that alone
            own = {key: value for key, value in own.items() if key not in ("words", "words_share")}
        self.decoder_name, self.decoder_options = name, {**own, **given}
        if options.decoder == "auto" and name == "greedy" and self.decoder_options.get("hot_words"):
            self.decoder_name = name = "beam"  # greedy knows no words
        build = plugins.load("decoders", name).build
        self.decoder: Decoder = build(adapter.vocab, **self.decoder_options)
        self.batch_samples = int(options.batch_seconds * SAMPLE_RATE_HZ)
        self.window_samples = int(options.longest_s * SAMPLE_RATE_HZ)

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
        base.quantise(chosen.quantise)
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
        for batch in by_length([sources[place].sample_count for place in short], self.batch_samples):
            places = [short[one] for one in batch]
            waveforms = [sources[place].read(0, sources[place].sample_count) for place in places]
            for place, hypothesis in zip(places, self.waveforms(waveforms), strict=True):
                found[place] = hypothesis
            done += len(places)
            if progress:
                progress("transcribe", done, len(sources))
        for place in sorted(set(range(len(sources))) - set(short)):
            parts = self._parts(sources[place], progress if len(sources) == 1 else None)
            found[place] = self._signed(join(parts))
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
        found = [longform.silence(frame_count(len(one)), self.vocab) for one in waveforms]
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
        for batch in by_length([len(waveforms[place]) for place in sounding], self.batch_samples):
            places = [sounding[one] for one in batch]
            yield places, *self._emissions([waveforms[place] for place in places])

    def _signed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, target_lang=self.adapter.passport.target_lang, adapter=self.version)

    def _emissions(self, waveforms: Sequence[Waveform]) -> "tuple[torch.Tensor, list[int]]":
        """Return log-probabilities `(batch, frames, vocab)` of one batch and its frame counts."""
        import torch

        with torch.inference_mode():
            features, frame_counts = self.backbone.hear(waveforms)
            hidden = self.backbone.encode(features, torch.tensor(frame_counts))
            emissions = self.backbone.logits(hidden).float().log_softmax(dim=-1)
            frames = torch.arange(emissions.shape[1])
            behind = frames >= torch.tensor(frame_counts)[:, None]  # `(batch, frames)`
            fine = torch.isfinite(emissions).all(dim=-1) | behind.to(emissions.device)
        for one, good in zip(waveforms, fine.all(dim=1).tolist(), strict=True):
            if not good:
                raise BackboneError(
                    f"the model gave numbers that are not finite for {len(one) / SAMPLE_RATE_HZ:.1f} s of "
                    "audio: the backbone or the adapter is broken, or its precision too low; try float32"
                )
        return emissions, frame_counts

    def stream(
        self, recording: Recording, *, sample_rate_hz: int = SAMPLE_RATE_HZ, progress: Progress | None = None
    ) -> Iterator[Hypothesis]:
        """Transcribe a recording of any length piece by piece, as it is heard, in flat memory.

        Yields:
            A hypothesis for about every minute, its times counted from the recording's start; together they
            are what `recordings` gives.
        """
        source = open_recording(recording, sample_rate_hz)
        if source.sample_count <= self.window_samples:
            yield self.recordings([recording], sample_rate_hz=sample_rate_hz, progress=progress)[0]
            return
        for part in self._parts(source, progress):
            yield replace(self._signed(join([part])), recording=source.name, duration_s=part[1].duration_s)

    def _parts(self, source: Source, progress: Progress | None) -> Iterator[tuple[float, Hypothesis]]:
        """Yield where each piece of a long recording starts, in seconds, and its hypothesis."""
        chosen, vocab = self.options, self.vocab
        at_once_s = chosen.batch_seconds
        if self.backbone.device.type == "cpu":
            at_once_s = min(at_once_s, _CPU_BATCH_S)
        common: dict[str, Any] = {"batch_seconds": at_once_s, "progress": progress}
        if chosen.cut == "overlap":
            heard = longform.overlapping(
                source, self.emissions, vocab, window_s=chosen.longest_s, overlap_s=chosen.overlap_s, **common
            )
        else:
            heard = longform.at_pauses(
                source, self.emissions, vocab,
                longest_s=chosen.longest_s, usual_s=chosen.usual_s or chosen.longest_s / 2,
                speech=Silero() if chosen.cut == "silero" else None, **common,
            )  # fmt: skip
        frame_s = FRAME_STRIDE / SAMPLE_RATE_HZ
        for first, piece in windows.at_word_ends(heard, vocab.blank_id, vocab.delimiter_id):
            found = self.decoder.decode(piece[None], [len(piece)])[0]
            yield first * frame_s, replace(found, duration_s=len(piece) * frame_s)


def by_length(sample_counts: Sequence[int], batch_samples: int) -> Iterator[list[int]]:
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
