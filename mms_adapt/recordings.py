"""Recordings from outside, files or arrays alike, that can be read by span.

In: paths and numpy arrays as a user has them. Out: a `Source` whose `read` gives mono float32 at 16 kHz. It
knows neither models nor manifests; decoding is `mms_adapt.audio`'s.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt import audio
from mms_adapt.audio import RECEPTIVE_FIELD, SAMPLE_RATE_HZ
from mms_adapt.errors import AudioError

Waveform = NDArray[np.float32]
Recording = str | PathLike[str] | NDArray[Any]
_LOUDEST = 2.0**31  # 32-bit integers written as floats; what is louder overflows in the model
SILENT_PEAK = 1e-4  # three steps of 16-bit audio: what lies below is the recorder's silence


@dataclass(frozen=True, slots=True)
class Source:
    """A recording that can be read by span.

    Attributes:
        name: The file, or "" for an array.
        sample_count: Samples at 16 kHz.
        samples: Those of an array, at 16 kHz; None for a file.
    """

    name: str
    sample_count: int
    samples: Waveform | None

    def read(self, start: int, stop: int) -> Waveform:
        """Return the samples from start up to stop, `(stop - start,)`."""
        with self.reading() as read:
            return read(start, stop)

    @contextmanager
    def reading(self) -> "Iterator[Callable[[int, int], Waveform]]":
        """Give such a `read` for many spans, the file being opened once."""
        if self.samples is not None:
            samples = self.samples
            yield lambda start, stop: samples[start:stop]
            return
        with audio.AudioFile(self.name) as file:

            def read(start: int, stop: int) -> Waveform:
                if start == 0 and stop == self.sample_count:
                    found = file.read()
                else:
                    found = file.read(start / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ)
                missing = stop - start - len(found)  # a sample or two where the file has another rate
                return np.pad(found, (0, missing)) if missing > 0 else found[: stop - start]

            yield read


def open_recording(recording: Recording, sample_rate_hz: int = SAMPLE_RATE_HZ, place: int = 0) -> Source:
    """Look at a file or an array without reading a file's audio.

    Args:
        recording: A path, or samples `(samples,)`.
        sample_rate_hz: Sample rate of an array; a file knows its own.
        place: Its number in the caller's list, for errors.

    Returns:
        The recording, to be read by span.

    Raises:
        AudioError: If it cannot be opened, or an array is not one channel of finite numbers.
    """
    if isinstance(recording, np.ndarray):
        samples = _checked(recording, sample_rate_hz, place)
        return Source("", len(samples), samples)
    if not isinstance(recording, str | PathLike):
        raise AudioError(
            f"audio[{place}] is a {type(recording).__name__}: give a path, a numpy array or a list of them"
        )
    info = audio.probe(Path(recording))
    return Source(fspath(recording), round(info.sample_count * SAMPLE_RATE_HZ / info.sample_rate_hz), None)


def _checked(samples: NDArray[Any], sample_rate_hz: int, place: int) -> Waveform:
    """Return an array as float32 at 16 kHz, `(samples,)`."""
    if samples.ndim != 1:
        raise AudioError(
            f"audio[{place}] has the shape {samples.shape}: one channel, (samples,), is expected; "
            "take one channel or the mean of them"
        )
    if samples.dtype.kind == "i":
        samples = samples / np.float32(np.iinfo(samples.dtype).max)
    if samples.dtype.kind != "f":
        raise AudioError(
            f"audio[{place}] holds {samples.dtype}: floats in -1 to 1, or integers, are expected"
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"audio[{place}] holds numbers that are not finite (NaN or infinity)")
    if len(samples) and float(np.abs(samples).max()) > _LOUDEST:
        raise AudioError(
            f"audio[{place}] goes up to {np.abs(samples).max():.3g}: floats in -1 to 1 are expected"
        )
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if sample_rate_hz == SAMPLE_RATE_HZ or not len(samples):
        return samples
    if not isinstance(sample_rate_hz, int | float | np.integer):
        raise AudioError(f"sample_rate_hz={sample_rate_hz!r}: give a number, the array's samples in a second")
    if not 1000 <= sample_rate_hz <= 768_000:
        raise AudioError(f"sample_rate_hz={sample_rate_hz}: give the array's samples in a second")
    import soxr

    resampled: Waveform = soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
    return resampled


def is_silent(samples: Waveform) -> bool:
    """Tell whether nothing can be heard: too short for one frame, or flat."""
    if len(samples) < RECEPTIVE_FIELD:
        return True
    return float(np.abs(samples - samples.mean(dtype=np.float64)).max()) < SILENT_PEAK
