"""Long recordings in windows: where to cut, how to stitch emissions, where a piece may be decoded.

In: sample counts and emissions, window after window. Out: windows, and pieces of emissions that follow one
another without gap or overlap. It keeps one window and one piece in memory, whatever the recording's length.
It does not know models, audio files or text.

Windows start at multiples of the frame stride, so a frame of a window is a frame of the recording.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError

Emissions = NDArray[np.float32]
PIECE_FRAMES = 3_000  # decode about a minute at a time
LONGEST_PIECE_FRAMES = 15_000  # and never wait longer than five minutes for a word to end
PAUSE_FRAMES = 20  # so long a pause, 0.4 s, ends a word


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording.

    Attributes:
        start: First sample, a multiple of the frame stride.
        stop: The sample behind the last one.
    """

    start: int
    stop: int

    @property
    def first_frame(self) -> int:
        """The recording's frame that is the window's frame 0."""
        return self.start // FRAME_STRIDE


def cut(sample_count: int, window_s: float, overlap_s: float) -> Iterator[Window]:
    """Cover a recording with overlapping windows; the last one is longer than the overlap.

    Args:
        sample_count: Samples of the recording.
        window_s: Length of a window in seconds.
        overlap_s: How much of it the next one hears again.

    Yields:
        The windows in order.

    Raises:
        OptionError: If the overlap leaves no way forward.
    """
    frame_hz = SAMPLE_RATE_HZ / FRAME_STRIDE
    window, overlap = (round(one * frame_hz) * FRAME_STRIDE for one in (window_s, overlap_s))
    if not 0 < overlap < window / 2:
        raise OptionError(
            f"window_s={window_s}, overlap_s={overlap_s}: the overlap must be more than 0 and less than "
            "half of the window"
        )
    start = 0
    while sample_count - start > window:
        yield Window(start, start + window)
        start += window - overlap
    yield Window(start, sample_count)


def stitch(windows: Iterable[tuple[int, Emissions]], blank_id: int) -> Iterator[Emissions]:
    """Join the emissions of overlapping windows, each seam where both hear a pause.

    Args:
        windows: First frame and emissions `(frames, vocab)` of each window in order.
        blank_id: The token of a pause.

    Yields:
        Emissions `(frames, vocab)` that follow one another.
    """
    held: Emissions | None = None
    held_first = 0
    for first, emissions in windows:
        if held is None:
            held, held_first = emissions, first
            continue
        kept = first - held_first
        shared = len(held) - kept
        seam = _seam(held[kept:, blank_id], emissions[:shared, blank_id])
        yield held[: kept + seam]
        held, held_first = emissions[seam:], first + seam
    if held is not None:
        yield held


def _seam(left: NDArray[np.float32], right: NDArray[np.float32]) -> int:
    """Return the cut in the overlap where both windows are surest of the blank on both sides.

    Only the middle half is looked at: at its ends a window hears too little of what is beside it.

    Args:
        left: Log-probability of the blank in the earlier window, `(frames,)`.
        right: The same in the later one, `(frames,)`.
    """
    count = min(len(left), len(right))
    low, high = max(1, count // 4), max(2, count - count // 4)
    both = left[:count].astype(np.float64) + right[:count]
    sure = both[low - 1 : high - 1] + both[low:high]  # `(cuts,)`
    distance = np.abs(np.arange(low, low + len(sure)) - count / 2)
    best = np.flatnonzero(sure >= sure.max() - 1e-3)
    return int(low + best[np.argmin(distance[best])])


def at_word_ends(
    pieces: Iterable[Emissions], blank_id: int, delimiter_id: int
) -> Iterator[tuple[int, Emissions]]:
    """Gather pieces and cut them anew behind word boundaries, so that each can be decoded alone.

    A pause is made a word boundary: a model that learnt from single utterances has never seen one where a
    speaker stops. Where no word ends for five minutes, the cut is at a pause.

    Args:
        pieces: Emissions `(frames, vocab)` that follow one another.
        blank_id: The token of a pause.
        delimiter_id: The token of a word boundary.

    Yields:
        First frame and emissions of each piece.
    """
    held: list[Emissions] = []
    first = held_frames = 0
    for piece in pieces:
        held.append(piece)
        held_frames += len(piece)
        if held_frames < PIECE_FRAMES:
            continue
        gathered = _with_boundaries(np.concatenate(held), blank_id, delimiter_id)
        end = _last_end(gathered.argmax(axis=1), delimiter_id)
        if not end and held_frames >= LONGEST_PIECE_FRAMES:
            end = _last_end(gathered.argmax(axis=1), blank_id) or held_frames
        if end:
            yield first, gathered[:end]
            first += end
        held, held_frames = [gathered[end:]], held_frames - end
    if held_frames:
        yield first, _with_boundaries(np.concatenate(held), blank_id, delimiter_id)


def _with_boundaries(emissions: Emissions, blank_id: int, delimiter_id: int) -> Emissions:
    """Swap blank and word boundary in the middle of every pause between letters, in place."""
    ids = emissions.argmax(axis=1)
    spoken = np.flatnonzero(ids != blank_id)
    left, right = spoken[:-1], spoken[1:]
    pauses = (right - left > PAUSE_FRAMES) & (ids[left] != delimiter_id) & (ids[right] != delimiter_id)
    middles = (left[pauses] + right[pauses]) // 2
    emissions[middles[:, None], [[blank_id, delimiter_id]]] = emissions[
        middles[:, None], [[delimiter_id, blank_id]]
    ]
    return emissions


def _last_end(ids: NDArray[np.int64], wanted: int) -> int:
    """Return the frame behind the last finished run of a token; 0 where there is none."""
    ends = np.flatnonzero((ids[:-1] == wanted) & (ids[1:] != wanted))
    return int(ends[-1]) + 1 if len(ends) else 0
