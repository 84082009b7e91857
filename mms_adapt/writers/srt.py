"""SubRip subtitles: one recording, its words in lines that can be read while they are heard."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mms_adapt.writers import only
from mms_adapt.writers._subtitles import blocks, clock

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".srt"
ONE_RECORDING = True


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return numbered subtitles; a new one after a pause, six seconds or sixty characters."""
    return "\n".join(
        f"{number}\n{clock(start_s, ',')} --> {clock(end_s, ',')}\n{text}\n"
        for number, (start_s, end_s, text) in enumerate(blocks(only(hypotheses, SUFFIX).words), start=1)
    )
