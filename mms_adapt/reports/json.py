"""The report as JSON: the score with its parts, and what the evaluation knows beside it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from mms_adapt.reports import Report

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".json"


def render(report: Report) -> str:
    """Return the score's own JSON with the report's fields beside it."""
    record = json.loads(report.score.to_json())
    per_utterance = record.pop("per_utterance")
    for row, clip in zip(per_utterance, report.clips, strict=bool(report.clips)):
        row |= {"duration_s": round(clip.duration_s, 3), "confidence": round(clip.confidence, 4)}
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
        "per_utterance": per_utterance,
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def render_comparison(found: "Comparison") -> str:
    """Return everything that two scores tell of each other."""
    return found.to_json()
