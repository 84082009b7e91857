"""Findings about who speaks how much.

In: utterances with what was measured. Out: at most one finding. It does not know parts of a split.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from mms_adapt.findings.kinds import Example, Finding, Heard, Thresholds, finding


def imbalance(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find a speaker who has most of the speech, where there are others."""
    own: dict[str | None, list[Heard]] = defaultdict(list)
    for one in heard:
        own[one.utterance.speaker].append(one)
    seconds = {name: math.fsum(one.utterance.duration_s for one in found) for name, found in own.items()}
    known = [name for name in seconds if name is not None]
    if len(known) < 2:
        return
    most = max(known, key=lambda name: (seconds[name], name))
    share = seconds[most] / math.fsum(seconds.values())
    if share > thresholds.speaker_share:
        detail = f"{most}: {seconds[most] / 60:.1f} min, {share:.0%} of the speech of {len(known)} speakers"
        examples = [Example(one.utterance.id, detail) for one in own[most]]
        yield finding("speaker_imbalance", examples, threshold=thresholds.speaker_share)
