"""What is worth a look in a corpus: one `Finding` a kind, with its threshold, examples and what to do.

In: the utterances that can be used, as `mms_adapt.quality` completed them, and what was measured of them.
Out: findings. Nothing is decoded or read here, nothing is left out of a corpus, and the same input gives the
same findings in the same order. It does not know files, parts of a split or models.

    kinds.py      severity, words and advice of every kind
    sounds.py     level, clipping, noise, bandwidth; pace.py: characters a second
    repeats.py    the same sound or sentence twice; prints.py and similar.py find what is nearly the same
    writing.py    characters and scripts; scripts.py tells one script from another
    speakers.py   who speaks how much
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from mms_adapt.findings import pace, repeats, sounds, speakers, writing
from mms_adapt.findings.kinds import SEVERITIES, Example, Finding, Heard, Thresholds, finding
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.measure import Measurement

__all__ = ["Example", "Finding", "Heard", "Thresholds", "detect", "left_out", "pair", "to_json"]

_DETECTORS = (
    sounds.clipped,
    sounds.faint,
    sounds.noisy,
    sounds.low_rate,
    sounds.narrow_band,
    pace.uneven,
    repeats.of_sound,
    repeats.of_sentences,
    writing.other_script,
    writing.look_alikes,
    writing.rare_characters,
    writing.unicode_forms,
    writing.digits,
    speakers.imbalance,
)


def pair(utterances: Iterable[Utterance], measurements: Iterable[Measurement]) -> tuple[Heard, ...]:
    """Put utterances and their measurements together; what has only one of the two is passed over."""
    by_id = {one.utterance_id: one for one in measurements}
    return tuple(Heard(one, by_id[one.id]) for one in utterances if one.id in by_id)


def detect(
    utterances: Iterable[Utterance],
    measurements: Iterable[Measurement],
    thresholds: Thresholds | None = None,
) -> tuple[Finding, ...]:
    """Look for everything that is known to go wrong.

    Args:
        utterances: Those that can be used, with references, real ends and hashes.
        measurements: What was measured of them; others are passed over.
        thresholds: From where on something is found.

    Returns:
        One finding a kind where there is any, the most severe first.
    """
    heard, thresholds = pair(utterances, measurements), thresholds or Thresholds()
    found = [one for detector in _DETECTORS for one in detector(heard, thresholds)]
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))


def left_out(
    quarantined: Sequence[Quarantined], limits: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """Return a finding for each reason why utterances cannot be used, the most frequent first.

    Args:
        quarantined: Utterances with their reasons.
        limits: The threshold of a reason, where it has one.
    """
    reasons: dict[str, list[Quarantined]] = {}
    for one in quarantined:
        reasons.setdefault(one.reason, []).append(one)
    return tuple(
        finding(
            reason,
            [Example(one.utterance.id, one.detail) for one in same],
            threshold=(limits or {}).get(reason),
            what_to_do=same[0].what_to_do,
        )
        for reason, same in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def to_json(findings: Iterable[Finding], **about: object) -> str:
    """Return findings as JSON, with all ids and, before them, what else is known.

    Args:
        findings: What was found.
        about: Further fields, such as the corpus.
    """
    records = [asdict(one) | {"count": one.count} for one in findings]
    return json.dumps({"format": 1, **about, "findings": records}, ensure_ascii=False, indent=1) + "\n"
