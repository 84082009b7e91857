"""Recordings as mono float32 at 16 kHz, read by span; the encoder's frame arithmetic.

In: paths and spans in seconds. Out: samples `(samples,)`, and errors that say what is wrong with a recording.
It does not know manifests, transcripts or models.

A span is read by seeking, never by decoding what stands before it. An MP3, Vorbis or Opus decoder then starts
cold: beside the samples of decoding the whole file there is no shift in time, but a difference 35 to 50 dB
below the speech (Opus at 16 kbit/s; nothing in lossless files). What matters more is that a span's samples
depend on the span alone, not on what was read before it; so every read seeks anew, also to the next sample.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mms_adapt import av_audio, containers
from mms_adapt.errors import AudioError

SAMPLE_RATE_HZ = 16_000
FRAME_STRIDE = 320
RECEPTIVE_FIELD = 400

Waveform = NDArray[np.float32]
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
_SLACK_S = 0.1  # ends of spans are rounded, and MP3s count in blocks: so much is no complaint
_MARGIN_S = 0.05  # what the resampler hears on both sides of a span
_BLOCK_S = 60  # decoded at a time, so that many channels take no more memory than one


def frame_count(sample_count: int) -> int:
    """Return how many frames the encoder's seven convolutions make of so many samples at 16 kHz.

    Their kernels (10, 3, 3, 3, 3, 2, 2) and strides (5, 2, 2, 2, 2, 2, 2) come to a receptive field of 400
    samples and a stride of 320.

    >>> [frame_count(samples) for samples in (399, 400, 719, 720, 16_000)]
    [0, 1, 1, 2, 49]
    """
    return max(0, (sample_count - RECEPTIVE_FIELD) // FRAME_STRIDE + 1)


class AudioFlaw(AudioError):
    """An `AudioError` with its reason as one word, for those who sort flaws instead of stopping.

    Attributes:
        reason: "missing_audio", "undecodable", "truncated", "not_finite" or "span_outside".
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a recording's header says.

    Attributes:
        sample_rate_hz: The file's own sample rate.
        channel_count: Channels; they are mixed down when read.
        sample_count: Samples of one channel, at the file's own rate.
    """

    sample_rate_hz: int
    channel_count: int
    sample_count: int

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.sample_count / self.sample_rate_hz


class Span(Protocol):
    """A stretch of a recording, such as an `Utterance`."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def recording(self) -> str:
        """The audio file, relative to a root."""

    @property
    def start_s(self) -> float:
        """Where it starts."""

    @property
    def end_s(self) -> float | None:
        """Where it ends; None for the recording's end."""


AnySpan = TypeVar("AnySpan", bound=Span)


class AudioFile:
    """One recording, opened once and read by span.

    Attributes:
        path: The file.
        info: What its header says.

    Raises:
        AudioError: If it is missing, not audio, empty, or its header makes no sense.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._container = containers.look(self.path)
        if self._container.unreadable:
            raise self._flaw("missing_audio", self._container.unreadable)
        self._file = self._open()
        if isinstance(self._file, av_audio.AvAudio):
            self._container = replace(self._container, missing=self._file.missing)
        rate_hz, count = int(self._file.samplerate), int(self._file.frames)
        counted = self._container.sample_count or count
        self.info = AudioInfo(rate_hz, int(self._file.channels), min(count, counted))
        wrong = ""
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            wrong = f"its header says {rate_hz} samples a second, so the file is damaged"
        elif counted - count > max(_SLACK_S * rate_hz, 0.01 * counted):
            lost = f"only {count / rate_hz:.1f} of {counted / rate_hz:.1f} s would be decoded"
            wrong = f"this MP3 does not say how long it is, and {lost}; {self._convert}"
        elif not count:
            wrong = "it holds no sound (0 samples)"
        if wrong:
            self.close()
            raise self._flaw("undecodable", wrong)

    def _open(self) -> Any:
        import soundfile

        try:
            with containers.hushed(self._container.noisy):
                return soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, TypeError, OSError) as error:
            if av_audio.is_container(self.path):
                return self._open_by_av()
            if not self.path.stat().st_size:
                raise self._flaw("undecodable", "the file is empty (0 bytes); copy it again") from error
            raise self._flaw(
                "undecodable",
                "this is no audio that can be decoded (WAV, FLAC, MP3, Ogg, Opus, AIFF and others can); "
                + self._convert,
            ) from error

    def _open_by_av(self) -> av_audio.AvAudio:
        """Open a file of a phone or camera."""
        try:
            with containers.hushed(self._container.noisy):
                return av_audio.AvAudio(self.path)
        except av_audio.NotInstalledError:
            raise self._flaw(
                "undecodable",
                "reading this kind of file needs PyAV: install it with pip install 'mms-adapt[video]', or "
                + self._convert,
            ) from None
        except av_audio.NoSoundError as error:
            raise self._flaw(
                "undecodable", f"this is no audio that can be decoded ({error}); {self._convert}"
            ) from error

    @property
    def _convert(self) -> str:
        return f"convert it, for instance with: ffmpeg -i {self.path.name} {self.path.stem}.flac"

    def _flaw(self, reason: str, message: str) -> AudioFlaw:
        return AudioFlaw(reason, f"{self.path}: {message}")

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with containers.hushed(self._container.noisy):
            self._file.close()

    def read(self, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
        """Return a span as mono samples at 16 kHz, `(samples,)`.

        Args:
            start_s: Where it starts.
            end_s: Where it ends; None for the recording's end. An end up to 0.1 s behind the recording's
                is taken for it.

        Raises:
            AudioError: If the span lies outside, the recording is cut short, or samples are no numbers.
        """
        end_s = self._checked_end(start_s, end_s)
        if self.info.sample_rate_hz == SAMPLE_RATE_HZ:
            stop = max(1, round(end_s * SAMPLE_RATE_HZ))
            samples = self._decode(min(round(start_s * SAMPLE_RATE_HZ), stop - 1), stop)
        else:
            samples = self._resampled(start_s, end_s)
        if not np.isfinite(samples).all():
            raise self._flaw("not_finite", "it holds samples that are no numbers (NaN or infinity)")
        return samples

    def _checked_end(self, start_s: float, end_s: float | None) -> float:
        """Return where a span ends in the recording, or say why it is none."""
        info = self.info
        missing = self._container.missing
        if end_s is None and missing:
            raise self._flaw("truncated", f"{missing}; copy it again from its source")
        stop_s = info.duration_s if end_s is None else end_s
        if not (0 <= start_s < stop_s and start_s < info.duration_s and stop_s <= info.duration_s + _SLACK_S):
            span = f"{start_s:.3f} to {stop_s:.3f} s lies outside: it is {info.duration_s:.3f} s long"
            if missing and stop_s > start_s >= 0:
                raise self._flaw("truncated", f"{span}, and {missing}; copy it again from its source")
            raise self._flaw("span_outside", span)
        return min(stop_s, info.duration_s)

    def _decode(self, start: int, stop: int) -> Waveform:
        """Return mono samples at the file's own rate, `(samples,)`."""
        import soundfile

        block = self.info.sample_rate_hz * _BLOCK_S
        parts: list[Waveform] = []
        decoded = 0
        try:
            with containers.hushed(self._container.noisy):
                self._file.seek(0)  # or a decoder near the place would go on warm: see the module's docstring
                self._file.seek(start)
                while decoded < stop - start:
                    piece = self._file.read(min(block, stop - start - decoded), "float32", always_2d=True)
                    if not len(piece):
                        break
                    # `(samples, channels)` to `(samples,)`
                    parts.append(piece[:, 0] if piece.shape[1] == 1 else piece.mean(axis=1))
                    decoded += len(piece)
        except (soundfile.SoundFileError, OSError) as error:
            what = str(error).removeprefix("Error : ")
            raise self._flaw("undecodable", f"decoding stops with an error: {what}") from error
        if stop - start - decoded > min(_SLACK_S * self.info.sample_rate_hz, (stop - start) / 2):
            raise self._flaw(
                "truncated",
                f"only {decoded} of {stop - start} samples can be decoded: it is cut short or damaged; copy "
                "it again from its source",
            )
        return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _resampled(self, start_s: float, end_s: float) -> Waveform:
        """Return a span at 16 kHz, the same as if all were resampled and then cut.

        Decoding starts some way before it, where a sample of the file and one at 16 kHz coincide.
        """
        import soxr

        rate_hz = self.info.sample_rate_hz
        period = rate_hz // math.gcd(rate_hz, SAMPLE_RATE_HZ)
        first = max(0, int((start_s - _MARGIN_S) * rate_hz)) // period * period
        heard = self._decode(first, min(math.ceil((end_s + _MARGIN_S) * rate_hz), self.info.sample_count))
        resampled = soxr.resample(heard, rate_hz, SAMPLE_RATE_HZ)
        offset = first * SAMPLE_RATE_HZ // rate_hz
        stop = max(1, round(end_s * SAMPLE_RATE_HZ))
        start = min(round(start_s * SAMPLE_RATE_HZ), stop - 1)
        return np.ascontiguousarray(resampled[start - offset : stop - offset], dtype=np.float32)


def probe(path: str | PathLike[str]) -> AudioInfo:
    """Look at a recording's header without decoding it.

    Raises:
        AudioError: If it is missing, not audio, empty, or its header makes no sense.
    """
    with AudioFile(path) as file:
        return file.info


def read(path: str | PathLike[str], start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    """Return a recording, or a span of it, as mono samples at 16 kHz, `(samples,)`.

    Args:
        path: The recording.
        start_s: Where the span starts.
        end_s: Where it ends; None for the recording's end.

    Raises:
        AudioError: If it cannot be read whole and sound; see `AudioFile`.
    """
    with AudioFile(path) as file:
        return file.read(start_s, end_s)


def read_utterances(
    utterances: Iterable[AnySpan], root: str | PathLike[str]
) -> Iterator[tuple[AnySpan, Waveform]]:
    """Read utterances one by one in the order given, holding one in memory.

    A recording stays open while consecutive utterances share it. The samples do not depend on the order.

    Args:
        utterances: What to read.
        root: The folder that their recordings are relative to.

    Yields:
        Each utterance with its samples at 16 kHz, `(samples,)`.

    Raises:
        AudioError: If one cannot be read; the message names it.
    """
    file: AudioFile | None = None
    try:
        for one in utterances:
            path = Path(root) / one.recording
            try:
                if file is None or file.path != path:
                    if file is not None:
                        file.close()
                        file = None
                    file = AudioFile(path)
                samples = file.read(one.start_s, one.end_s)
            except AudioFlaw as flaw:
                raise AudioFlaw(flaw.reason, f"utterance {one.id}: {flaw}") from flaw
            yield one, samples
    finally:
        if file is not None:
            file.close()
