"""Plain text: one recording a line, nothing but what was said."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".txt"
ONE_RECORDING = False


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a line for each hypothesis."""
    return "".join(f"{one.text}\n" for one in hypotheses)
