"""Sound in containers that soundfile cannot open: m4a, mp4, mov, 3gp, mkv, webm, wma, aac. By PyAV, an extra.

In: a path. Out: an object with the few members of `soundfile.SoundFile` that `mms_adapt.audio` uses. It does
not know spans in seconds, 16 kHz or utterances.

A read begins a little before its place, so that the decoder is warm there, with a decoder of its own, since
some keep more than they forget when told to: so it depends on its place alone.
Where a container counts in milliseconds (mkv, webm), places are exact to one. Raw AAC holds no times at all:
there, everything before a place is decoded, and the coder's own first 1024 samples stay in.
"""

from collections.abc import Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WARM_UP_S = 0.25
_GAP_S = 0.05  # so much between two frames is a gap, which is silence; less is rounding
_SLACK_S = 0.1


class NotInstalledError(Exception):
    """PyAV is missing."""


class NoSoundError(Exception):
    """There is no sound track that PyAV could decode; the message says why."""


def is_container(path: str | PathLike[str]) -> bool:
    """Whether a file begins as such a container does."""
    with Path(path).open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return True
    raw_aac = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return head.startswith((b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75")) or raw_aac


class AvAudio:
    """The first sound track of a file.

    Attributes:
        samplerate: Samples a second.
        channels: Channels.
        frames: Samples of one channel.
        missing: What is missing at its end, in words; "" where nothing is.

    Raises:
        NotInstalledError: If PyAV is not installed.
        NoSoundError: If it holds no sound that can be decoded.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            import av
        except ImportError as error:
            raise NotInstalledError from error
        self._av, self._path = av, str(path)
        self._frames: Iterator[Any] = iter(())
        self._rest: NDArray[np.float32] = np.zeros((0, 1), np.float32)
        self._position, self._next, self._warm = 0, 0, False
        try:
            self._open()
            end_s, declared_s = self._end_s(), self._declared_s()
            self._rewind(0)
            first = next(self._frames, None)
        except (av.error.FFmpegError, ValueError) as error:
            self.close()
            raise NoSoundError(_said(error)) from error
        except NoSoundError:
            self.close()
            raise
        if first is None:
            self.close()
            raise NoSoundError("its sound track holds nothing that can be decoded")
        self.samplerate, self.channels = int(first.sample_rate), len(first.layout.channels)
        lost_s = (declared_s or 0.0) - end_s
        self.missing = ""
        if lost_s > _SLACK_S:
            self.missing = f"its sound ends after {end_s:.1f} of {declared_s:.1f} s"
        self.frames = round(min(end_s, declared_s or end_s) * self.samplerate)

    def _open(self) -> None:
        """Open the file anew, with a fresh decoder."""
        self._container: Any = self._av.open(self._path)
        if not self._container.streams.audio:
            raise NoSoundError("it holds no sound track")
        self._stream: Any = self._container.streams.audio[0]
        self._timed = self._container.format.name != "aac"

    def close(self) -> None:
        """Close the file."""
        if (container := getattr(self, "_container", None)) is not None:
            container.close()

    def seek(self, sample: int) -> None:
        """Read on from this sample."""
        self._position, self._warm = sample, False

    def read(self, count: int, dtype: str = "float32", *, always_2d: bool = True) -> NDArray[np.float32]:
        """Return up to so many samples, `(samples, channels)`; fewer at the end.

        Raises:
            OSError: If they cannot be decoded.
        """
        if dtype != "float32" or not always_2d:
            raise ValueError(f"dtype={dtype!r}, always_2d={always_2d}: only float32 and always_2d are there")
        parts: list[NDArray[np.float32]] = []
        try:
            if not self._warm:
                self._rewind(self._position)
            while count:
                if not len(self._rest):
                    frame = next(self._frames, None)
                    if frame is None:
                        break
                    self._take(frame)
                    continue
                piece, self._rest = self._rest[:count], self._rest[count:]
                parts.append(piece)
                count -= len(piece)
                self._position += len(piece)
        except self._av.error.FFmpegError as error:
            raise OSError(_said(error)) from error
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def _declared_s(self) -> float | None:
        """Return how long the header says that the track is; None where it does not say, or only guesses."""
        if not self._timed or self._stream.duration is None:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def _end_s(self) -> float:
        """Return where the last packet ends; nothing is decoded."""
        end, base = 0, self._stream.time_base
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
        return float(end * base) if base is not None else 0.0

    def _rewind(self, sample: int) -> None:
        """Let decoding begin some way before a sample."""
        self.close()
        self._open()
        self._rest = np.zeros((0, 1), np.float32)
        self._next, self._warm = 0, True  # `_next` is the sample that the decoder gives next
        base = self._stream.time_base
        place = max(0, int((sample / self.samplerate - _WARM_UP_S) / base)) if self._timed and sample else 0
        if place:
            self._container.seek(place, stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)
        if place and (first := next(self._frames, None)) is not None:
            self._next = self._place(first)
            self._frames = chain([first], self._frames)

    def _place(self, frame: Any) -> int:
        """Return the sample that a frame says to begin at."""
        return round(float(frame.pts * frame.time_base) * self.samplerate)

    def _take(self, frame: Any) -> None:
        """Keep what of a frame stands at the reader's place or behind it; a gap before it is silence."""
        if frame.sample_rate != self.samplerate or len(frame.layout.channels) != self.channels:
            raise OSError(
                f"the sound changes from {self.samplerate} samples a second and {self.channels} channels to "
                f"{frame.sample_rate} and {len(frame.layout.channels)} on the way"
            )
        sound = _floats(frame, self.channels)
        if self._timed and frame.pts is not None:
            gap = self._place(frame) - self._next
            if gap > _GAP_S * self.samplerate:
                sound = np.concatenate([np.zeros((gap, self.channels), np.float32), sound])
        begins = self._next
        self._next += len(sound)
        self._rest = sound[max(0, self._position - begins) :]


def _floats(frame: Any, channels: int) -> NDArray[np.float32]:
    """Return a frame as `(samples, channels)` in -1 to 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype.kind == "u":
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / -float(np.iinfo(values.dtype).min)
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
