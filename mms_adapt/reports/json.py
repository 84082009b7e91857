"""The report as JSON: the score with its parts, and what the evaluation knows beside it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from mms_adapt.errors import OptionError
from mms_adapt.reports import Report

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".json"
_AT_ONCE = 500  # utterances that are in memory once more


def render(report: Report) -> str:
    """Return the score's own JSON with the report's fields beside it."""
    return "".join(pieces(report))


def pieces(report: Report) -> Iterator[str]:
    """Yield it, some utterances at a time, each a line."""
    record = json.loads(replace(report.score, per_utterance=()).to_json())
    del record["per_utterance"]
    record |= {
        "target_lang": report.target_lang,
        "language": report.language,
        "split": report.split,
        "speech_s": round(report.speech_s, 3),
        "elapsed_s": round(report.elapsed_s, 3),
        "adapter": report.adapter,
        "backbone": report.backbone,
        "source": report.source,
        "licence": report.licence,
        "excluded": [asdict(one) for one in report.excluded],
        "excluded_count": report.excluded_count,
        "breakdowns": [asdict(one) for one in report.breakdowns],
    }
    yield json.dumps(record, ensure_ascii=False, indent=1).removesuffix("\n}")
    yield ',\n "per_utterance": ['
    for place, row in enumerate(_rows(report)):
        yield f"{',' if place else ''}\n  {json.dumps(row, ensure_ascii=False)}"
    yield "\n ]\n}\n"


def _rows(report: Report) -> Iterator[dict[str, object]]:
    """Yield the utterances as the score's own JSON has them, with what their clips tell."""
    score, clips = replace(report.score, per_speaker=(), character_confusions=()), report.clips
    if clips and len(clips) != len(score.per_utterance):
        raise OptionError(
            f"{len(clips)} clips for {len(score.per_utterance)} utterances: give one for each, or none"
        )
    for start in range(0, len(score.per_utterance), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = json.loads(replace(score, per_utterance=score.per_utterance[part]).to_json())["per_utterance"]
        for row, clip in zip_longest(rows, clips[part]):
            if clip is not None:
                row |= {"duration_s": round(clip.duration_s, 3), "confidence": round(clip.confidence, 4)}
            yield row


def render_comparison(found: "Comparison") -> str:
    """Return everything that two scores tell of each other."""
    return found.to_json()
