"""Windows over long recordings: what they cover, and that stitching gives back what one pass gives."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from mms_adapt import windows
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ, frame_count
from mms_adapt.errors import OptionError
from mms_adapt.windows import Emissions, Window, at_word_ends, cut, stitch

BLANK, DELIMITER, VOCAB = 0, 4, 9


def speech(frames: int, seed: int = 0) -> Emissions:
    """Return log-probabilities `(frames, VOCAB)` of letters, pauses and word boundaries."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(frames, VOCAB))
    for start in range(0, frames, 7):
        logits[start : start + 2, generator.choice([BLANK, DELIMITER, 6, 7, 8])] += 8
        logits[start + 2 : start + 7, BLANK] += 9
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("sample_count", [1, 399, 16_000, 480_000, 480_001, 480_319, 911_999, 3_200_123])
def test_windows_cover_every_sample_and_frame(sample_count: int) -> None:
    found = list(cut(sample_count, 30.0, 4.0))
    assert found[0].start == 0
    assert found[-1].stop == sample_count
    for left, right in pairwise(found):
        assert left.stop - right.start == 4 * SAMPLE_RATE_HZ
        assert right.start % FRAME_STRIDE == 0
        assert right.stop > left.stop
    last = found[-1]
    assert last.first_frame + frame_count(last.stop - last.start) == frame_count(sample_count)


@pytest.mark.parametrize(("window_s", "overlap_s"), [(10, 0), (10, 5), (4, 9), (0, 0), (10, -1)])
def test_windows_that_lead_nowhere_are_refused(window_s: float, overlap_s: float) -> None:
    with pytest.raises(OptionError, match="overlap"):
        list(cut(10**6, window_s, overlap_s))


@pytest.mark.parametrize("frames", [200, 449, 1000, 2345])
def test_stitching_equal_windows_gives_back_the_whole(frames: int) -> None:
    whole = speech(frames)
    parts = [(start, whole[start : start + 250]) for start in range(0, max(1, frames - 50), 200)]
    pieces = list(stitch(parts, BLANK))
    assert np.array_equal(np.concatenate(pieces), whole)


def test_a_seam_falls_into_a_pause() -> None:
    """What a window hears at its ends is noise: the seam leaves it out, and never cuts a letter."""
    whole, noise = speech(450), speech(450, seed=9)
    left, right = whole[:250].copy(), whole[200:].copy()
    left[-12:], right[:12] = noise[:12], noise[:12]
    pieces = list(stitch([(0, left), (200, right)], BLANK))
    assert np.array_equal(np.concatenate(pieces), whole)
    seam = len(pieces[0])
    assert set(whole[seam - 1 : seam + 1].argmax(1)) == {BLANK}


def test_a_letter_that_windows_hear_a_frame_apart_is_neither_lost_nor_doubled() -> None:
    quiet = np.full((100, VOCAB), -9.0, np.float32)
    quiet[:, BLANK] = -0.01
    left, right = quiet.copy(), quiet.copy()
    left[74, 6], left[74, BLANK] = -0.01, -9  # frame 74 of the recording
    right[25, 6], right[25, BLANK] = -0.01, -9  # frame 75
    whole = np.concatenate(list(stitch([(0, left), (50, right)], BLANK)))
    assert len(whole) == 150
    assert (whole.argmax(1) == 6).sum() == 1


def collapsed(emissions: Emissions) -> list[int]:
    ids = emissions.argmax(1)
    return [int(one) for one in ids[np.diff(ids, prepend=-1) != 0] if one != BLANK]


def test_pieces_end_behind_words_and_decode_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PIECE_FRAMES", 100)
    whole = speech(1500)
    pieces = list(at_word_ends(np.array_split(whole, 31), BLANK, DELIMITER))
    assert len(pieces) > 5
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), whole)
    assert [first for first, _ in pieces] == list(np.cumsum([0, *(len(piece) for _, piece in pieces)])[:-1])
    assert all(piece[-1].argmax() == DELIMITER for _, piece in pieces[:-1])
    assert [one for _, piece in pieces for one in collapsed(piece)] == collapsed(whole)


def test_pieces_without_a_word_end_do_not_grow_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PIECE_FRAMES", 100)
    monkeypatch.setattr(windows, "LONGEST_PIECE_FRAMES", 200)
    monkeypatch.setattr(windows, "PAUSE_FRAMES", 10_000)
    whole = speech(1000)
    whole[:, DELIMITER] = -99

    def stream() -> Iterator[Emissions]:
        yield from np.array_split(whole, 20)

    pieces = list(at_word_ends(stream(), BLANK, DELIMITER))
    assert max(len(piece) for _, piece in pieces) <= 250
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), whole)


def test_a_pause_ends_a_word_and_nothing_else_changes() -> None:
    whole = np.full((120, VOCAB), -9.0, np.float32)
    whole[:, BLANK] = -0.01
    for frame, token in ((5, 6), (25, 7), (46, 8), (70, DELIMITER), (100, 6)):
        whole[frame, [BLANK, token]] = -9.0, -0.01
    ((first, found),) = at_word_ends([whole[:50].copy(), whole[50:].copy()], BLANK, DELIMITER)
    # 19 blanks are no pause; 20 are one; beside a boundary none is needed
    assert collapsed(found) == [6, 7, DELIMITER, 8, DELIMITER, 6]
    changed = np.flatnonzero((found != whole).any(axis=1))
    assert first == 0 and changed.tolist() == [35]
    assert np.array_equal(np.sort(found[35]), np.sort(whole[35]))


def test_nothing_gives_nothing() -> None:
    assert list(cut(0, 30, 4)) == [Window(0, 0)]
    assert not list(stitch([], BLANK))
    assert not list(at_word_ends([], BLANK, DELIMITER))
