"""Long recordings as one stream of emissions, in flat memory: cut, heard, put together again.

In: a recording that can be read by span, and a function that hears waveforms. Out: emissions that follow one
another from the recording's first frame to its last. It knows neither models nor how emissions are decoded.
"""

import ctypes
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mms_adapt import stretches, windows
from mms_adapt.audio import SAMPLE_RATE_HZ, frame_count
from mms_adapt.recordings import Source, Waveform
from mms_adapt.stretches import Speech, Stretch
from mms_adapt.windows import Emissions, Window

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab

Hear = Callable[[Sequence[Waveform]], list[Emissions]]
Progress = Callable[..., None]
CUTS = ("pauses", "silero", "overlap")
_CERTAIN, _IMPOSSIBLE = 0.0, -100.0  # log-probabilities of the blank and of all else where nothing sounds
Part = TypeVar("Part", Stretch, Window)
_SILENCE = 3_000  # frames of silence that are made at a time


def silence(frames: int, vocab: "Vocab") -> Emissions:
    """Return emissions `(frames, vocab)` that are sure of the blank."""
    found = np.full((frames, len(vocab.tokens)), _IMPOSSIBLE, np.float32)
    found[:, vocab.blank_id] = _CERTAIN
    return found


def at_pauses(
    source: Source, hear: Hear, vocab: "Vocab", *, longest_s: float, usual_s: float,
    batch_seconds: float, speech: Speech | None = None, progress: Progress | None = None,
) -> Iterator[Emissions]:  # fmt: skip
    """Hear what is between the pauses, stretch by stretch.

    Args:
        source: The recording.
        hear: Gives emissions `(frames, vocab)` of each waveform `(samples,)`.
        vocab: The tokens.
        longest_s: No stretch is longer.
        usual_s: How long one should be where there are pauses enough.
        batch_seconds: Seconds of audio that are heard at once.
        speech: Tells which frames are speech; by loudness where None.
        progress: Called with ("transcribe", seconds done, seconds in all).

    Yields:
        Emissions `(frames, vocab)` that follow one another.
    """
    reached, whole = 0, frame_count(source.sample_count)
    with source.reading() as read:
        found = stretches.stretches(read, source.sample_count, longest_s, usual_s, speech)
        for group in _groups(found, batch_seconds):
            rows = hear([read(one.heard_start, one.heard_stop) for one in group])
            for one, row in zip(group, rows, strict=True):
                yield from _silences(one.first_frame - reached, vocab)
                yield row[one.kept]
                reached = one.first_frame + len(row[one.kept])
            _give_back()
            _tell(progress, group[-1].stop, source)
        yield from _silences(whole - reached, vocab)
    _tell(progress, source.sample_count, source)


def overlapping(
    source: Source, hear: Hear, vocab: "Vocab", *, window_s: float, overlap_s: float,
    batch_seconds: float, progress: Progress | None = None,
) -> Iterator[Emissions]:  # fmt: skip
    """Hear windows of one length that overlap, and join them where both are sure that nothing is said.

    Args:
        source: The recording.
        hear: Gives emissions `(frames, vocab)` of each waveform `(samples,)`.
        vocab: The tokens.
        window_s: Length of a window.
        overlap_s: How much of it the next one hears again.
        batch_seconds: Seconds of audio that are heard at once.
        progress: Called with ("transcribe", seconds done, seconds in all).

    Returns:
        Emissions `(frames, vocab)` that follow one another.
    """

    def heard() -> Iterator[tuple[int, Emissions]]:
        with source.reading() as read:
            cuts = windows.cut(source.sample_count, window_s, overlap_s)
            for group in _groups(cuts, batch_seconds):
                rows = hear([read(one.start, one.stop) for one in group])
                yield from ((one.first_frame, row) for one, row in zip(group, rows, strict=True))
                _give_back()
                _tell(progress, group[-1].stop, source)

    return windows.stitch(heard(), vocab.blank_id)


def _groups(parts: Iterator[Part], batch_seconds: float) -> Iterator[list[Part]]:
    """Gather parts of a recording that are heard at once."""
    group: list[Part] = []
    total = 0
    for one in parts:
        length = one.stop - one.start
        if group and total + length > batch_seconds * SAMPLE_RATE_HZ:
            yield group
            group, total = [], 0
        group.append(one)
        total += length
    if group:
        yield group


def _give_back() -> None:
    """Give free memory back to the system, where its C library keeps it.

    Batches have as many sizes as a recording has pauses. glibc keeps what was freed of each, in pieces into
    which the next batch does not fit, so that an hour would take a few hundred MB more than a minute.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None where the C library is another."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
    return found


def _silences(frames: int, vocab: "Vocab") -> Iterator[Emissions]:
    for start in range(0, frames, _SILENCE):
        yield silence(min(_SILENCE, frames - start), vocab)


def _tell(progress: Progress | None, samples: int, source: Source) -> None:
    if progress:
        total = math.ceil(source.sample_count / SAMPLE_RATE_HZ)
        progress("transcribe", min(total, math.ceil(samples / SAMPLE_RATE_HZ)), total, "seconds of audio")
