"""Measuring: known sounds give known figures, whatever their volume or where they begin."""

import numpy as np
import pytest
import soxr
from conftest import noise
from numpy.typing import NDArray

from mms_adapt.measure import FLOOR_DB, Measurement, Sound, measure

Samples = NDArray[np.float32]


def voiced(seconds: float, seed: int = 0) -> Samples:
    """A buzz of many harmonics that changes like syllables do: 3.5 a second, with pauses between."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    knots = np.arange(0, seconds + 0.3, 0.2)
    pitch = np.interp(time, knots, draw.uniform(100, 150, len(knots)))
    loudness = np.interp(time, knots, draw.uniform(0.3, 1, len(knots)))
    loudness *= np.clip(2 * np.sin(7 * np.pi * time), 0, 1)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    sound = np.zeros(len(time))
    for harmonic in range(1, 45):
        formants = np.interp(time, knots, draw.random(len(knots)))
        sound += formants / (1 + 0.4 * harmonic) * np.sin(harmonic * phase)
    return (0.12 * sound * loudness + draw.normal(size=len(time)) * 3e-4).astype(np.float32)


def sine(level: float, hz: float = 1000.0, seconds: float = 1.0) -> Samples:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


def test_levels_are_those_of_the_sound() -> None:
    found = measure(sine(0.5))
    assert found.duration_s == 1.0
    assert found.peak_db == pytest.approx(-6.02, abs=0.02)
    assert found.level_db == pytest.approx(-9.03, abs=0.1), "a sine's mean square is half its peak's"
    assert found.noise_db == pytest.approx(found.level_db, abs=0.2)
    half = np.concatenate([sine(0.5), sine(0.0005)])
    assert measure(half).noise_db == pytest.approx(-69.03, abs=0.2)
    assert measure(half).level_db == pytest.approx(-9.03, abs=0.1)


def test_digital_silence_has_a_floor_and_no_fingerprint_bits() -> None:
    found = measure(np.zeros(32_000, np.float32))
    assert (found.peak_db, found.level_db, found.noise_db) == (FLOOR_DB, FLOOR_DB, FLOOR_DB)
    assert found.clipped_share == 0 and not found.fingerprint.any() and len(found.fingerprint)


@pytest.mark.parametrize("count", [1, 2, 319, 511, 512, 513, 10_111, 10_112])
def test_short_sounds_can_be_measured(count: int) -> None:
    found = measure(noise(1.0)[:count])
    assert found.duration_s == count / 16_000
    assert all(np.isfinite([found.peak_db, found.level_db, found.noise_db, found.treble_db]))
    assert found.fingerprint.dtype == np.uint16 and len(found.fingerprint) == (count == 10_112)


@pytest.mark.parametrize("gain", [1.0, 0.05])
@pytest.mark.parametrize("share", [0.02, 0.05])
def test_cut_waves_crowd_at_the_ceiling_whatever_the_volume(share: float, gain: float) -> None:
    sound = voiced(4.0)
    ceiling = float(np.quantile(np.abs(sound), 1 - share))
    cut = np.clip(sound, -ceiling, ceiling) * gain / ceiling
    assert measure(sound).clipped_share < 0.006
    assert share / 2 < measure(cut).clipped_share < share, "the half of them upwards, and what was as loud"
    one_sided = np.minimum(sound, np.float32(np.quantile(sound, 1 - share)))
    assert measure(one_sided).clipped_share > 0.006


def test_a_telephone_leaves_no_treble() -> None:
    sound = voiced(2.0) + noise(2.0) * np.float32(0.05)
    narrow = soxr.resample(soxr.resample(sound, 16_000, 8_000), 8_000, 16_000).astype(np.float32)
    assert measure(narrow).treble_db < -60 < -40 < measure(sound).treble_db


def differing(one: Sound, other: Sound) -> float:
    count = min(len(one.fingerprint), len(other.fingerprint))
    bits = np.unpackbits((one.fingerprint[:count] ^ other.fingerprint[:count]).view(np.uint8))
    return float(bits.mean())


def test_a_fingerprint_is_of_the_sound_not_of_its_volume_or_start() -> None:
    sound = voiced(4.0)
    found = measure(sound)
    assert len(found.fingerprint) == 169, "199 frames, less 20 of a stretch and 10 of the later one"
    assert differing(found, measure(sound * np.float32(0.25))) == 0
    assert differing(found, measure(sound[40:])) < 0.1
    assert differing(found, measure(np.round(sound * 2000).astype(np.float32) / 2000)) < 0.15
    assert differing(found, measure(voiced(4.0, seed=1))) > 0.3


def test_pace_is_characters_by_time_without_pauses() -> None:
    sound = np.concatenate([sine(0.5), sine(0.005), sine(0.4)])
    found = measure(sound)
    assert found.duration_s == 3 and found.spoken_s == pytest.approx(2, abs=0.05)
    assert Measurement("u", 16_000, 1, 30, found).characters_per_s == pytest.approx(15, rel=0.03)
    assert measure(np.zeros(16_000, np.float32)).spoken_s == 1
