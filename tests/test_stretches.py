"""Stretches between pauses: nothing that sounds is left out, cuts fall into pauses, memory stays flat."""

from itertools import pairwise

import numpy as np
import pytest

from mms_adapt import stretches as module
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ, frame_count
from mms_adapt.errors import OptionError
from mms_adapt.stretches import Stretch, Waveform, stretches


def recording(*parts: tuple[str, float], seed: int = 0) -> Waveform:
    """Return loud ("x") and quiet ("-") noise, each for so many seconds."""
    random = np.random.default_rng(seed)
    loudness = {"x": 0.1, "-": 0.0005}
    found = [loudness[kind] * random.standard_normal(int(length_s * 16_000)) for kind, length_s in parts]
    return np.concatenate(found).astype(np.float32)


def cut(samples: Waveform, longest_s: float = 5.0, usual_s: float = 1.0) -> list[Stretch]:
    return list(stretches(lambda start, stop: samples[start:stop], len(samples), longest_s, usual_s))


def test_cuts_fall_into_pauses() -> None:
    spoken = [(1.5, 4.0), (5.0, 8.2), (10.2, 11.9), (13.0, 15.0)]
    parts, reached = [], 0.0
    for start_s, stop_s in spoken:
        parts += [("-", start_s - reached), ("x", stop_s - start_s)]
        reached = stop_s
    found = cut(recording(*parts, ("-", 3.0)))
    assert len(found) == 4
    for one, (start_s, stop_s) in zip(found, spoken, strict=True):
        assert one.start / SAMPLE_RATE_HZ == pytest.approx(start_s - 0.3, abs=0.05)
        assert one.stop / SAMPLE_RATE_HZ == pytest.approx(stop_s + 0.3, abs=0.05)
        assert one.heard_start == one.start
        assert frame_count(one.heard_stop - one.heard_start) == (one.stop - one.start) // FRAME_STRIDE


@pytest.mark.parametrize("seed", range(5))
def test_everything_that_sounds_is_heard_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [("x-"[number % 2], float(random.uniform(0.2, 9))) for number in range(25)]
    samples = recording(*parts, seed=seed)
    found = cut(samples)
    kept = np.zeros(len(samples) + FRAME_STRIDE, dtype=int)
    for one in found:
        assert one.start % FRAME_STRIDE == one.heard_start % FRAME_STRIDE == 0
        assert 0.1 * SAMPLE_RATE_HZ < one.stop - one.start <= 5 * SAMPLE_RATE_HZ
        assert one.heard_start <= one.start and one.heard_stop <= len(samples)
        kept[one.start : one.stop] += 1
        frames = frame_count(one.heard_stop - one.heard_start)
        # the very last frames need samples that are not there
        assert one.kept.stop <= frames + 2 * (one.stop >= len(samples) - FRAME_STRIDE)
    assert kept.max() == 1
    assert not (kept[: len(samples)] == 0)[np.abs(samples) > 0.01].any()
    assert all(left.stop <= right.start for left, right in pairwise(found))


def test_speech_without_pauses_is_cut_where_it_is_quietest_and_heard_beyond() -> None:
    samples = recording(("x", 20.0))
    samples[int(3.2 * 16_000) : int(3.4 * 16_000)] *= 0.3
    found = cut(samples)
    assert found[0].stop / SAMPLE_RATE_HZ == pytest.approx(3.3, abs=0.1)
    for left, right in pairwise(found):
        assert left.stop == right.start
        assert left.heard_stop - left.stop >= 0.5 * SAMPLE_RATE_HZ
        assert right.start - right.heard_start == 0.5 * SAMPLE_RATE_HZ
    assert found[-1].stop >= len(samples)


def test_even_sound_has_no_pauses_and_nothing_gives_nothing() -> None:
    assert sum(one.stop - one.start for one in cut(recording(("-", 12.0)))) >= 12 * SAMPLE_RATE_HZ
    assert cut(np.zeros(0, np.float32)) == []
    with pytest.raises(OptionError, match="longest more than the usual"):
        cut(np.zeros(10, np.float32), 2.0, 2.0)


def test_it_holds_little_and_reads_once() -> None:
    asked: list[tuple[int, int]] = []
    whole = recording(*[("x", 3.0), ("-", 1.0)] * 100)

    def read(start: int, stop: int) -> Waveform:
        asked.append((start, stop))
        return whole[start:stop]

    ahead: list[int] = []
    for one in stretches(read, len(whole), 5.0, 1.0):
        ahead.append(asked[-1][1] - one.stop)
    assert asked[0][0] == 0 and asked[-1][1] == len(whole)
    assert all(left[1] == right[0] for left, right in pairwise(asked))
    assert max(ahead) <= 31 * SAMPLE_RATE_HZ
    assert module._BLOCK * FRAME_STRIDE == 30 * SAMPLE_RATE_HZ
