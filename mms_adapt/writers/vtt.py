"""WebVTT subtitles, as browsers show them beside a player: one recording.

Source: WebVTT: The Web Video Text Tracks Format, W3C, sections 4.2.1 and 4.2.2: what could be taken for
markup is escaped.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mms_adapt.writers import only
from mms_adapt.writers._subtitles import blocks, clock

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".vtt"
ONE_RECORDING = True


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return cues; a new one after a pause, six seconds or sixty characters."""
    cues = [
        f"{clock(start_s, '.')} --> {clock(end_s, '.')}\n{_escaped(text)}\n"
        for start_s, end_s, text in blocks(only(hypotheses, SUFFIX).words)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
