"""Characters a second that are far from what is usual: the text, or the span, is of something else.

In: utterances with what was measured. Out: at most one finding. It does not know samples or words.

Pauses do not count. What is usual still depends on the length, and speakers differ: so it is the median of
utterances with about as much speech, corrected by the speaker's own median where there is enough of her, and
a deviation is measured in robust standard deviations of such utterances. They are not grouped by their texts'
lengths, or a wrong text would stand among others of its own length.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mms_adapt.findings.kinds import Example, Finding, Heard, Thresholds, finding
from mms_adapt.manifest import shown

_ENOUGH = 30  # utterances, of a corpus or of a speaker
_NEIGHBOURS, _MOST_BINS = 30, 20
_ROBUST = 1.4826  # from the median deviation to a normal distribution's standard deviation
_LEAST_SPREAD = 0.05  # of the logarithm: a synthetic voice keeps time better than any span is cut

Numbers = NDArray[np.float64]


def uneven(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find utterances that are spoken far too fast or too slowly for their text."""
    heard = [one for one in heard if one.measurement.character_count]
    if len(heard) < _ENOUGH:
        return
    durations = np.log([one.measurement.sound.spoken_s for one in heard])
    paces = np.log([one.measurement.characters_per_s for one in heard])
    usual = _by_duration(durations, paces)
    usual += _by_speaker([one.utterance.speaker for one in heard], paces - usual)
    off = paces - usual
    spread = np.maximum(_ROBUST * _by_duration(durations, np.abs(off)), _LEAST_SPREAD)
    scores = off / spread
    found = (np.abs(scores) > thresholds.pace_z) & (np.abs(off) > np.log(thresholds.pace_factor))
    worst = sorted(np.flatnonzero(found), key=lambda place: (-abs(scores[place]), heard[place].utterance.id))
    if worst:
        yield finding(
            "pace",
            [Example(heard[place].utterance.id, _told(heard[place], usual[place])) for place in worst],
            threshold=thresholds.pace_z,
        )


def _told(one: Heard, usual: float) -> str:
    found, text = one.measurement.characters_per_s, shown(one.utterance.reference or "")
    return f"{found:.1f} characters a second, where {np.exp(usual):.1f} are usual: {text}"


def _by_duration(durations: Numbers, values: Numbers) -> Numbers:
    """Return for each place the median of the values of places with about its duration."""
    order = np.argsort(durations, kind="stable")
    bins = np.array_split(order, min(_MOST_BINS, max(1, len(order) // _NEIGHBOURS)))
    centres = np.array([durations[places].mean() for places in bins])
    medians = np.array([np.median(values[places]) for places in bins])
    return np.asarray(np.interp(durations, centres, medians))


def _by_speaker(speakers: Sequence[str | None], values: Numbers) -> Numbers:
    """Return for each place the median of its speaker's values; 0 where there are too few of them."""
    places_of: dict[str, list[int]] = defaultdict(list)
    for place, speaker in enumerate(speakers):
        if speaker is not None:
            places_of[speaker].append(place)
    found = np.zeros(len(values))
    for places in places_of.values():
        if len(places) >= _ENOUGH:
            found[places] = np.median(values[places])
    return found
