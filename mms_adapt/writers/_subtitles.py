"""Lines of subtitles: words that can be read while they are heard, and when to show them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_adapt.decoders import Word

LONGEST_LINE_S, LONGEST_LINE, PAUSE_S = 6.0, 60, 0.8
SHORTEST_LINE_S = 0.5


def blocks(words: "Sequence[Word]") -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of each line; a new one after a pause, six seconds or sixty characters."""
    for start_s, end_s, line in timed(words):
        yield start_s, end_s, " ".join(one.word for one in line)


def timed(words: "Sequence[Word]") -> "Iterator[tuple[float, float, list[Word]]]":
    """Yield start, end and words of each line."""
    lines = list(_lines(words))
    for number, line in enumerate(lines, start=1):
        start_s = line[0].start_s
        next_s = lines[number][0].start_s if number < len(lines) else float("inf")
        end_s = max(line[-1].end_s, min(start_s + SHORTEST_LINE_S, next_s))
        yield start_s, end_s, line


def _lines(words: "Sequence[Word]") -> "Iterator[list[Word]]":
    line: list[Word] = []
    for one in words:
        if line and (
            one.start_s - line[-1].end_s > PAUSE_S
            or one.end_s - line[0].start_s > LONGEST_LINE_S
            or sum(len(word.word) + 1 for word in line) + len(one.word) > LONGEST_LINE
        ):
            yield line
            line = []
        line.append(one)
    if line:
        yield line


def clock(time_s: float, point: str) -> str:
    """Return a time as `01:02:03,456`, with this character before the milliseconds."""
    whole_ms = round(time_s * 1000)
    return (
        f"{whole_ms // 3_600_000:02d}:{whole_ms // 60_000 % 60:02d}:{whole_ms // 1000 % 60:02d}{point}"
        f"{whole_ms % 1000:03d}"
    )
