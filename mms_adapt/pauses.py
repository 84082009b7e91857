"""Where people pause, and long recordings cut there into stretches of the size of an utterance.

In: a recording, read a minute at a time. Out: stretches in seconds, which do not overlap. It goes by loudness
alone and knows neither models nor languages: music and noise are stretches, too.

A pause is where the loudness is near the recording's own floor. Stretches beside a short pause are joined
while they stay short; one without a pause is cut where it is quietest.

`stretches` cuts recordings, too, for a model that transcribes them: block by block as they are heard, at
whole frames, and with nothing passed over that may be a word. Stretches here are for people who transcribe:
the floor is the whole recording's, and what is too short for an utterance is passed over and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError
from mms_adapt.recordings import Source

FRAME_S = 0.02
_FRAME = round(FRAME_S * SAMPLE_RATE_HZ)
_BLOCK_S = 60
_SILENT_DB = -100.0
_FLOOR, _LOUD = 0.05, 0.9  # of the frames lie below
_ABOVE_FLOOR_DB, _BELOW_LOUD_DB, _LEAST_DB = 6.0, 30.0, 3.0
_SHORT_PAUSE_S, _JOINED_PAUSE_S = 0.3, 0.8
_MARGIN_S = 0.1  # kept of a pause on both sides
_SMOOTH = 5  # frames


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How long stretches are.

    Attributes:
        longest_s: None is longer.
        joined_s: Stretches beside a short pause are joined up to this, or the longest if that is less.
        shortest_s: What is shorter is passed over.
    """

    longest_s: float = 12.0
    joined_s: float = 6.0
    shortest_s: float = 0.6

    def __post_init__(self) -> None:
        if not (
            0 < self.shortest_s < self.longest_s <= 30 and 0 < self.joined_s <= 30 and self.longest_s >= 1
        ):
            raise OptionError(
                f"shortest_s={self.shortest_s:g}, joined_s={self.joined_s:g}, longest_s={self.longest_s:g}: "
                "give seconds above 0, the longest from 1 to 30 and more than the shortest"
            )


@dataclass(frozen=True, slots=True)
class Stretches:
    """A recording that was cut.

    Attributes:
        spans: Start and end of each stretch in seconds, in order.
        pause_s: Seconds in pauses.
        short_s: Seconds in stretches that are too short to be utterances.
    """

    spans: tuple[tuple[float, float], ...]
    pause_s: float
    short_s: float


def cut(source: Source, options: CutOptions | None = None) -> Stretches:
    """Cut a recording at its pauses.

    Args:
        source: The recording.
        options: How long the stretches are to be.

    Raises:
        AudioError: If it cannot be read.
    """
    return at_pauses(levels_db(source), source.sample_count / SAMPLE_RATE_HZ, options or CutOptions())


def levels_db(source: Source) -> NDArray[np.float64]:
    """Return the loudness of every 20 ms in decibels of full scale, `(levels,)`."""
    block = _BLOCK_S * SAMPLE_RATE_HZ
    parts = [np.zeros(0)]
    for start in range(0, source.sample_count, block):
        samples = source.read(start, min(start + block, source.sample_count))
        rows = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)  # `(levels, samples)`
        power = rows.var(axis=1, dtype=np.float64)
        parts.append(10 * np.log10(np.maximum(power, 10 ** (_SILENT_DB / 10))))
    return np.concatenate(parts)


def at_pauses(levels: NDArray[np.float64], duration_s: float, options: CutOptions) -> Stretches:
    """Cut where levels `(levels,)` of a recording are low."""
    if not len(levels) or levels.max() <= _SILENT_DB:
        return Stretches((), duration_s, 0.0)
    smooth = np.convolve(np.pad(levels, _SMOOTH // 2, mode="edge"), np.ones(_SMOOTH) / _SMOOTH, mode="valid")
    runs = _runs(smooth > _threshold_db(smooth), round(_SHORT_PAUSE_S / FRAME_S))
    pieces = [piece for run in runs for piece in _shorter(*run, smooth, options)]
    spans = _joined(_with_margins(pieces, duration_s), options)
    kept = tuple(one for one in spans if one[1] - one[0] >= options.shortest_s)
    whole_s = sum(stop - start for start, stop in spans)
    kept_s = sum(stop - start for start, stop in kept)
    return Stretches(kept, max(0.0, duration_s - whole_s), whole_s - kept_s)


def _threshold_db(levels: NDArray[np.float64]) -> float:
    """Return the level of the loudest pause; below all where there are none."""
    floor, loud = np.quantile(levels, (_FLOOR, _LOUD))
    if loud - floor < _LEAST_DB:  # it is one sound throughout
        return float(levels.min()) - 1
    return float(min(max(floor + _ABOVE_FLOOR_DB, loud - _BELOW_LOUD_DB), loud - _LEAST_DB))


def _runs(loud: NDArray[np.bool_], pause: int) -> list[tuple[int, int]]:
    """Return first and last frame of what is loud, across pauses of fewer frames than so many."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    found: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if found and start - found[-1][1] < pause:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def _shorter(
    start: int, stop: int, levels: NDArray[np.float64], options: CutOptions
) -> list[tuple[int, int]]:
    """Cut a run at its quietest place, away from its ends, until no part is too long."""
    longest = int((options.longest_s - 2 * _MARGIN_S) / FRAME_S)
    waiting, found = [(start, stop)], []
    while waiting:
        first, last = waiting.pop()
        if last - first <= longest:
            found.append((first, last))
            continue
        quarter = (last - first) // 4
        middle = first + quarter + int(np.argmin(levels[first + quarter : last - quarter]))
        waiting += [(middle, last), (first, middle)]
    return found


def _with_margins(pieces: Sequence[tuple[int, int]], duration_s: float) -> list[tuple[float, float]]:
    """Return pieces in seconds, each with a little of the pauses beside it."""
    times = [(first * FRAME_S, last * FRAME_S) for first, last in pieces]
    ends = [0.0, *(stop for _, stop in times), duration_s]
    starts = [0.0, *(start for start, _ in times), duration_s]
    return [
        (
            round(max(start - _MARGIN_S, (ends[place] + start) / 2 if place else 0.0), 3),
            round(
                min(
                    stop + _MARGIN_S, (starts[place + 2] + stop) / 2 if place + 1 < len(times) else duration_s
                ),
                3,
            ),
        )
        for place, (start, stop) in enumerate(times)
    ]


def _joined(spans: Sequence[tuple[float, float]], options: CutOptions) -> list[tuple[float, float]]:
    """Join neighbours with a short pause between them, while they stay short."""
    found: list[tuple[float, float]] = []
    for start_s, stop_s in spans:
        near = found and start_s - found[-1][1] < _JOINED_PAUSE_S - 2 * _MARGIN_S
        if near and stop_s - found[-1][0] <= min(options.joined_s, options.longest_s):
            found[-1] = (found[-1][0], stop_s)
        else:
            found.append((start_s, stop_s))
    return found
