"""Alignment of a known text: the best path of all paths, its spans, and what cannot be aligned."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from mms_adapt.align import align
from mms_adapt.errors import TextError


def emissions(frames: int, vocab: int, seed: int) -> NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(size=(frames, vocab)) * 2
    found: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 1], [2, 2, 1]])
def test_it_is_the_best_of_all_paths(labels: list[int]) -> None:
    for seed in range(8):
        logs = emissions(6, 3, seed)

        def total(path: tuple[int, ...], logs: NDArray[np.float64] = logs) -> float:
            return sum(float(logs[frame, one]) for frame, one in enumerate(path))

        fitting = [
            path
            for path in itertools.product(range(3), repeat=6)
            if [one for one, _ in itertools.groupby(path) if one] == labels
        ]
        best = max(fitting, key=total)
        spans = align(logs, labels, 0)
        path = np.zeros(6, dtype=int)
        for span in spans:
            path[span.start : span.end] = span.token_id
        assert tuple(path) == best
        assert [span.token_id for span in spans] == labels
        for span in spans:
            assert span.log == pytest.approx(logs[span.start : span.end, span.token_id].mean())
            assert span.peak == pytest.approx(logs[span.start : span.end, span.token_id].max())


def test_no_text_has_no_spans() -> None:
    assert align(emissions(4, 3, 0), [], 0) == []


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(TextError, match="3 tokens need 5 frames, and there are 4"):
        align(emissions(4, 3, 0), [1, 1, 1], 0)
    assert len(align(emissions(5, 3, 0), [1, 1, 1], 0)) == 3
    for labels in ([0], [3], [-1]):
        with pytest.raises(TextError, match="ids below 3, no blanks"):
            align(emissions(4, 3, 0), labels, 0)


def test_it_equals_torchaudio_where_that_loads() -> None:
    torchaudio = pytest.importorskip("torchaudio", reason="torchaudio is not installed")
    torch = pytest.importorskip("torch")
    logs = emissions(40, 6, 1).astype(np.float32)
    labels = [1, 1, 3, 2, 5, 5, 4]
    found, _ = torchaudio.functional.forced_align(torch.tensor(logs)[None], torch.tensor([labels]), blank=0)
    path = np.zeros(40, dtype=int)
    for span in align(logs, labels, 0):
        path[span.start : span.end] = span.token_id
    assert path.tolist() == found[0].tolist()
