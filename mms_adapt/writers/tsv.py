"""A table with tabs, for spreadsheets and scripts: a word a line, with the recording and the confidence."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".tsv"
ONE_RECORDING = False
_COLUMNS = ("recording", "start_s", "end_s", "word", "confidence")


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a line of column names, then a line for each word."""
    rows = [
        (
            _flat(each.recording),
            f"{one.start_s:.3f}",
            f"{one.end_s:.3f}",
            _flat(one.word),
            f"{one.confidence:.4f}",
        )
        for each in hypotheses
        for one in each.words
    ]
    return "".join("\t".join(row) + "\n" for row in (_COLUMNS, *rows))


def _flat(text: str) -> str:
    """Return a text without what would end a field or a line."""
    return re.sub(r"[\t\r\n]+", " ", text)
