"""CTM, as NIST's sclite and Kaldi read it: a word a line, with the recording and the confidence.

Recordings are named by their files without ending, white space in them as "_"; the channel is always 1.

Source: NIST SCTK, doc/infmts.htm, "ctm".
"""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".ctm"
ONE_RECORDING = False


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a line for each word: recording, channel, start, length, word, confidence."""
    return "".join(
        f"{_name(each.recording)} 1 {one.start_s:.2f} {one.end_s - one.start_s:.2f} {one.word} "
        f"{one.confidence:.4f}\n"
        for each in hypotheses
        for one in each.words
    )


def _name(recording: str) -> str:
    return re.sub(r"\s+", "_", PurePath(recording).stem) or "unnamed"
