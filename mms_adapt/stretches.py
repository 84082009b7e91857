"""Where a long recording pauses, and the stretches of speech between, found block by block.

In: a function that reads samples. Out: stretches that a model can hear one by one, in order. Pauses between
them are left out. It holds about a minute of loudness, whatever the recording's length, and knows neither
models nor files. It goes by loudness, or by what somebody tells it is speech.

A model that learnt from single utterances hears what is about as long best (benchmarks/bench_longform.py).

`pauses` cuts recordings, too, for another reader: a person, who is to be given whole sentences to transcribe.
It compares with the loudness of the whole recording and passes over what is too short. Here a model listens:
whatever may be a word must be heard, places are whole frames so that emissions can be put together again, a
cut through sound is heard beyond, and what is read block by block has no whole to compare with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import FRAME_STRIDE, RECEPTIVE_FIELD, SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError

Waveform = NDArray[np.float32]
Levels = NDArray[np.float64]
Mask = NDArray[np.bool_]
Speech = Callable[[Waveform], Mask]
_FRAME_HZ = SAMPLE_RATE_HZ // FRAME_STRIDE
_BLOCK = 30 * _FRAME_HZ  # frames whose loudness is compared with each other
_QUIET, _RANGE = 0.35, 2.0  # share of a block's range that counts as quiet; a range below 9 dB has no pauses
_NEAR = 2.8  # a stretch without a frame within 12 dB of the loudest is not heard alone
_MARGIN = 15  # quiet frames that are heard before and behind a stretch
_CLICK = 4  # a stretch with no more sounding frames holds no word
_LULL = 15  # frames: a pause to cut at is looked for at this width
_BESIDE = 25  # frames heard beyond a cut through sound
_TAIL = RECEPTIVE_FIELD - FRAME_STRIDE


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is between two pauses.

    Attributes:
        start: Its first sample, a multiple of the frame stride.
        stop: The sample behind its last one, a multiple of the frame stride too.
        heard_start: Where hearing begins: before `start` where no pause is there.
        heard_stop: Where hearing ends.
    """

    start: int
    stop: int
    heard_start: int
    heard_stop: int

    @property
    def first_frame(self) -> int:
        """The recording's frame with which the stretch begins."""
        return self.start // FRAME_STRIDE

    @property
    def kept(self) -> slice:
        """Its frames among those that are heard."""
        before = (self.start - self.heard_start) // FRAME_STRIDE
        return slice(before, before + (self.stop - self.start) // FRAME_STRIDE)


def stretches(
    read: Callable[[int, int], Waveform],
    sample_count: int,
    longest_s: float,
    usual_s: float,
    speech: Speech | None = None,
) -> Iterator[Stretch]:
    """Cut a recording at its pauses: the last that comes in the usual time, else the first behind it.

    Where none comes before a stretch is longest, it is cut at the quietest place.

    Args:
        read: Gives the samples from the first up to the second place, `(samples,)`.
        sample_count: Samples of the recording.
        longest_s: No stretch is longer.
        usual_s: How long a stretch should be where there are pauses enough.
        speech: Tells of a block `(samples,)` which frames `(frames,)` are speech; by loudness where None.

    Yields:
        Stretches in order, which do not overlap.

    Raises:
        OptionError: If the longest is not longer than the usual.
    """
    if not 0 < usual_s < longest_s:
        raise OptionError(f"longest_s={longest_s}, usual_s={usual_s}: give the longest more than the usual")
    usual, longest = (max(1, round(one * _FRAME_HZ)) for one in (usual_s, longest_s))
    count = -(-sample_count // FRAME_STRIDE)
    ahead = _Ahead(read, sample_count, speech)
    start, through_sound = 0, False
    while start < count:
        levels, sounds, loud = ahead.look(start, min(count, start + longest + _LULL))
        first = int(sounds.argmax()) if sounds.any() else len(sounds)
        if first > _MARGIN:
            start, through_sound = start + first - _MARGIN, False
            continue
        pause = _pause(sounds[:longest], loud, usual)
        last = count - start <= longest and not pause
        stop = count if last else start + (pause or _lull(levels, usual // 2, longest))
        heard = np.flatnonzero(sounds[: stop - start])
        end = min(stop, start + (int(heard[-1]) + 1 if len(heard) else 0) + _MARGIN)
        before = _BESIDE if through_sound else 0
        through_sound = end == stop and not last
        behind = _BESIDE if through_sound else 0
        if len(heard) > _CLICK:
            yield Stretch(
                start * FRAME_STRIDE,
                end * FRAME_STRIDE,
                max(0, start - before) * FRAME_STRIDE,
                min(sample_count, (end + behind) * FRAME_STRIDE + _TAIL),
            )
        start = stop


class _Ahead:
    """The loudness of the frames ahead, and which of them sound, and which are as loud as speech here."""

    def __init__(
        self, read: Callable[[int, int], Waveform], sample_count: int, speech: Speech | None
    ) -> None:
        self._read, self._sample_count, self._speech = read, sample_count, speech
        self._first = self._reached = 0
        self._levels, self._sounds, self._loud = np.zeros(0), np.zeros(0, bool), np.zeros(0, bool)

    def look(self, start: int, stop: int) -> tuple[Levels, Mask, Mask]:
        """Return all three of the frames from start up to stop."""
        while self._reached < stop:
            self._more(start)
        inside = slice(start - self._first, stop - self._first)
        return self._levels[inside], self._sounds[inside], self._loud[inside]

    def _more(self, start: int) -> None:
        """Read one more block, and forget what is before `start`."""
        first = self._reached * FRAME_STRIDE
        samples = self._read(first, min(self._sample_count, first + _BLOCK * FRAME_STRIDE))
        levels = _levels(samples)
        low, high = np.percentile(levels, (5, 90))
        wide = high - low >= _RANGE
        if self._speech is None:
            sounds = levels >= (low + _QUIET * (high - low) if wide else -np.inf)
            loud = levels >= high - _NEAR
        else:
            sounds = loud = self._speech(samples)
        gone = max(0, start - self._first)
        self._levels = np.concatenate([self._levels[gone:], levels])
        self._sounds = np.concatenate([self._sounds[gone:], sounds])
        self._loud = np.concatenate([self._loud[gone:], loud])
        self._first += gone
        self._reached += len(levels)


def _levels(samples: Waveform) -> Levels:
    """Return the logarithm of each frame's power over three frames, `(frames,)`."""
    padded = np.pad(samples, (0, -len(samples) % FRAME_STRIDE))
    power = np.square(padded.reshape(-1, FRAME_STRIDE), dtype=np.float64).mean(axis=1)
    return np.convolve(np.pad(np.log(power + 1e-9), 1, mode="edge"), np.ones(3) / 3, mode="valid")


def _pause(sounds: Mask, loud: Mask, usual: int) -> int:
    """Return the middle of the last pause of `_LULL` frames that comes in time, else of the first; or 0.

    Breath and noise before the first loud frame are not cut off: a model hears words in them when nothing
    else is there to compare them with.
    """
    edges = np.flatnonzero(np.diff(sounds.astype(np.int8), prepend=1, append=1))
    starts, stops = edges[::2], edges[1::2]
    long = (stops - starts >= _LULL) & (starts > _MARGIN)
    long &= np.cumsum(loud)[starts - 1] > _CLICK
    middles = (starts[long] + stops[long]) // 2
    if not len(middles):
        return 0
    return int(max(middles[middles <= usual], default=middles[0]))


def _lull(levels: Levels, low: int, high: int) -> int:
    """Return the middle of the quietest `_LULL` frames between two places."""
    half = _LULL // 2
    first = max(0, low - half)
    sums = np.convolve(levels[first : high + half + 1], np.ones(_LULL), mode="valid")
    return first + half + int(sums.argmin())
