"""Findings about the sound itself: clipped, faint, noisy, of a low rate, without treble.

In: utterances with what was measured. Out: at most one finding each. It does not know samples.
"""

from collections.abc import Callable, Iterator, Sequence

from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.findings.kinds import Example, Finding, Heard, Thresholds, finding
from mms_adapt.measure import Measurement


def clipped(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find waves whose tops were cut off."""
    limit = thresholds.clipped_share
    yield from _worst(
        "clipped",
        heard,
        limit,
        lambda one: one.sound.clipped_share - limit,
        lambda one: (
            f"{one.sound.clipped_share:.1%} of the samples at the ceiling, {one.sound.peak_db:.1f} dB"
        ),
    )


def faint(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find speech of a very low level."""
    limit = thresholds.faint_db
    yield from _worst(
        "faint",
        heard,
        limit,
        lambda one: limit - one.sound.level_db,
        lambda one: f"vowels at {one.sound.level_db:.0f} dB of full scale",
    )


def noisy(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find speech that hardly rises above its background."""
    limit = thresholds.noise_db
    yield from _worst(
        "noisy",
        heard,
        limit,
        lambda one: limit - (one.sound.level_db - one.sound.noise_db),
        lambda one: f"vowels at {one.sound.level_db:.0f} dB, pauses at {one.sound.noise_db:.0f} dB",
    )


def low_rate(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find files of fewer samples a second than the model hears."""
    del thresholds
    yield from _worst(
        "low_rate",
        heard,
        float(SAMPLE_RATE_HZ),
        lambda one: SAMPLE_RATE_HZ - one.sample_rate_hz,
        lambda one: f"{one.sample_rate_hz} samples a second",
    )


def narrow_band(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find speech without treble in a file that could hold it."""
    limit = thresholds.treble_db
    yield from _worst(
        "narrow_band",
        [one for one in heard if one.measurement.sample_rate_hz >= SAMPLE_RATE_HZ],
        limit,
        lambda one: limit - one.sound.treble_db,
        lambda one: f"{one.sound.treble_db:.0f} dB above 4.4 kHz, at {one.sample_rate_hz} samples a second",
    )


def _worst(
    kind: str,
    heard: Sequence[Heard],
    threshold: float,
    excess: Callable[[Measurement], float],
    detail: Callable[[Measurement], str],
) -> Iterator[Finding]:
    """Yield a finding of all utterances with an excess above 0, the largest first, if there are any."""
    found = [(excess(one.measurement), one) for one in heard]
    worst = sorted((pair for pair in found if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].utterance.id))
    if worst:
        examples = [Example(one.utterance.id, detail(one.measurement)) for _, one in worst]
        yield finding(kind, examples, threshold=threshold)
