"""Praat's TextGrid in its long text form: one recording, a tier of words, empty between them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mms_adapt.writers import only

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".TextGrid"
ONE_RECORDING = True


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a TextGrid whose intervals cover the recording without gaps."""
    hypothesis = only(hypotheses, SUFFIX)
    end_s = max([hypothesis.duration_s, *(one.end_s for one in hypothesis.words)])
    intervals = list(_intervals(hypothesis, end_s))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end_s:.6f}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "words"',
        "        xmin = 0",
        f"        xmax = {end_s:.6f}",
        f"        intervals: size = {len(intervals)}",
    ]
    for number, (start_s, stop_s, word) in enumerate(intervals, start=1):
        quoted = word.replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start_s:.6f}",
            f"            xmax = {stop_s:.6f}",
            f'            text = "{quoted}"',
        ]
    return "\n".join(lines) + "\n"


def _intervals(hypothesis: "Hypothesis", end_s: float) -> Iterator[tuple[float, float, str]]:
    """Return start, end and word of every interval; the word is "" where nothing is said."""
    reached_s = 0.0
    for one in hypothesis.words:
        if one.start_s > reached_s:
            yield reached_s, one.start_s, ""
        yield one.start_s, one.end_s, one.word
        reached_s = one.end_s
    if end_s > reached_s or not hypothesis.words:
        yield reached_s, end_s, ""
