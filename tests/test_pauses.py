"""Cutting at pauses, on sound whose pauses are known."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mms_adapt.errors import OptionError
from mms_adapt.pauses import CutOptions, cut
from mms_adapt.recordings import open_recording

RATE_HZ = 16_000


def sound(*parts: tuple[str, float], noise: float = 0.001) -> NDArray[np.float32]:
    """Return tones ("~") and pauses ("_") of so many seconds."""
    random = np.random.default_rng(0)
    pieces = []
    for kind, seconds in parts:
        time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        pieces.append(0.2 * np.sin(2 * np.pi * 440 * time_s) * (kind == "~"))
    joined = np.concatenate(pieces)
    return (joined + noise * random.standard_normal(len(joined))).astype(np.float32)


def spans(samples: NDArray[np.float32], options: CutOptions | None = None) -> list[tuple[float, float]]:
    return list(cut(open_recording(samples), options).spans)


def near(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, atol=0.06))


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.02])
def test_cut_at_pauses(noise: float) -> None:
    samples = sound(("_", 1), ("~", 3), ("_", 2), ("~", 4), ("_", 1), noise=noise)
    found = cut(open_recording(samples))
    assert near(list(found.spans), [(0.9, 4.1), (5.9, 10.1)])
    assert found.pause_s == pytest.approx(11 - 3.2 - 4.2, abs=0.15) and found.short_s == 0


def test_short_pauses_join_while_it_stays_short() -> None:
    samples = sound(("~", 2), ("_", 0.5), ("~", 2), ("_", 0.5), ("~", 3), ("_", 1.5), ("~", 1))
    assert near(spans(samples), [(0, 4.6), (4.9, 8.1), (9.4, 10.5)]), spans(samples)


def test_short_pauses_never_join_beyond_the_longest() -> None:
    samples = sound(("~", 2), ("_", 0.5), ("~", 2), ("_", 0.5), ("~", 2))
    assert near(spans(samples, CutOptions(longest_s=3)), [(0, 2.1), (2.4, 4.6), (4.9, 7)])


def test_what_has_no_pause_is_cut_where_it_is_quietest() -> None:
    samples = sound(("_", 1), ("~", 25), ("_", 1))
    samples[RATE_HZ * 12 : RATE_HZ * 12 + 3200] *= 0.3  # no pause, but the quietest place of the middle
    found = spans(samples)
    assert all(stop - start <= 12 for start, stop in found)
    assert any(12.0 <= stop <= 12.25 for _, stop in found)
    assert found[0][0] == pytest.approx(0.9, abs=0.06) and found[-1][1] == pytest.approx(26.1, abs=0.06)
    assert all(one[1] == other[0] for one, other in pairwise(found))


def test_one_sound_throughout_is_cut_and_not_lost() -> None:
    found = cut(open_recording(sound(("~", 30))), CutOptions(longest_s=8))
    assert sum(stop - start for start, stop in found.spans) == pytest.approx(30, abs=0.1)
    assert all(stop - start <= 8 for start, stop in found.spans)


def test_clicks_are_passed_over_and_counted() -> None:
    found = cut(open_recording(sound(("_", 2), ("~", 0.05), ("_", 2), ("~", 3), ("_", 2))))
    assert len(found.spans) == 1 and 0.2 < found.short_s < 0.4
    whole_s = sum(stop - start for start, stop in found.spans)
    assert whole_s + found.short_s + found.pause_s == pytest.approx(9.05, abs=0.05)


@pytest.mark.parametrize("seconds", [0.01, 3])
def test_silence_gives_nothing(seconds: float) -> None:
    found = cut(open_recording(np.zeros(round(seconds * RATE_HZ), np.float32)))
    assert found.spans == () and found.pause_s == pytest.approx(seconds)


def test_a_file_longer_than_a_block_is_cut_like_an_array(tmp_path: Path) -> None:
    samples = sound(*[("~", 3), ("_", 1)] * 33)
    soundfile.write(tmp_path / "long.wav", samples, RATE_HZ, subtype="FLOAT")
    found = spans(samples)
    assert len(found) == 33
    assert list(cut(open_recording(tmp_path / "long.wav")).spans) == found


def test_bad_lengths_are_told() -> None:
    for options in ({"longest_s": 40.0}, {"longest_s": 0.5}, {"shortest_s": 0.0}, {"joined_s": -1.0}):
        with pytest.raises(OptionError, match="longest from 1 to 30"):
            CutOptions(**options)
