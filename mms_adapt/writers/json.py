"""JSON: everything that a hypothesis holds, with times in seconds."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".json"
ONE_RECORDING = False


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a list with an object for each hypothesis."""
    return json.dumps([_rounded(asdict(one)) for one in hypotheses], ensure_ascii=False, indent=1) + "\n"


def _rounded(value: Any) -> Any:
    """Return times and confidences with four decimals, in whatever they stand."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
