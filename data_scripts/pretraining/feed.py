"""Batches without end: which examples, how long, with which labels; the same for the same seed.

In: examples and the share of the time that each set is to have. Out: plans, one after the other, that need
no sound to be made. It does not know: samples, the model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sound import Labelled

SHARES = {
    "eng-librispeech-train-clean-5": 0.20,
    "eng-speechocean762": 0.11,
    "eng-cathy-arctic": 0.07,
    "eng-ljspeech-part1": 0.05,
    "deu-kerstin": 0.13,
    "fas-commonvoice-subset": 0.12,
    "cmn-syllables": 0.03,
    "eng-asterisk-prompts": 0.02,
    "fra-asterisk-prompts": 0.05,
    "spa-asterisk-prompts": 0.05,
    "rus-asterisk-prompts": 0.05,
    "synthetic": 0.25,
}
"""Share of the time heard, before it is scaled to the sets at hand."""

WIDTHS = (*range(32, 192, 16), *range(192, 2000, 32))
"""Frames that a batch may have; few, since a GPU plans kernels and lays out memory once for each shape."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One batch.

    Attributes:
        starts: First sample of each span, `(batch,)`.
        lengths: Samples of each span at its own speed, `(batch,)`.
        speeds: How much faster it is to be heard, `(batch,)`.
        characters: Character ids of each, maybe none.
        phones: Phone ids of each, maybe none.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    speeds: NDArray[np.float32]
    characters: list[NDArray[np.int32]]
    phones: list[NDArray[np.int32]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each as heard, `(batch,)`."""
        return (self.lengths / self.speeds).astype(np.int64)

    @property
    def frames(self) -> int:
        """Frames of the batch, padding included: more than any utterance has."""
        return width_of(int(self.counts.max()))


def width_of(sample_count: int) -> int:
    """Return the smallest of `WIDTHS` that holds so many samples; its last frame is never a real one."""
    return WIDTHS[bisect_left(WIDTHS, sample_count / 320)]


def plan(examples: Sequence[Labelled], speeds: NDArray[np.float32]) -> Plan:
    """Return a batch of these examples at these speeds `(batch,)`."""
    return Plan(
        np.array([one.start for one in examples]),
        np.array([one.length for one in examples]),
        speeds,
        [one.characters for one in examples],
        [one.phones for one in examples],
    )


def batches(
    examples: Sequence[Labelled],
    *,
    batch_s: float,
    seed: int,
    slowest: float,
    fastest: float,
    shares: dict[str, float] | None = None,
) -> Iterator[Plan]:
    """Yield batches of examples of about one length and of always the same size for it, sets mixed.

    Args:
        examples: Training examples.
        batch_s: Seconds of a batch, padding included.
        seed: Start of the random numbers.
        slowest: Lowest speed.
        fastest: Highest speed.
        shares: Share of the time for each set; `SHARES` where not given.
    """
    rng = np.random.default_rng(seed)
    by_set: dict[str, list[Labelled]] = defaultdict(list)
    for one in examples:
        by_set[one.set].append(one)
    wanted = shares or SHARES
    names = [name for name in sorted(by_set) if wanted.get(name, 0) > 0]
    mean_length = {name: np.mean([one.length for one in by_set[name]]) for name in names}
    draws = np.array([wanted[name] / mean_length[name] for name in names])
    queues: dict[str, list[Labelled]] = {name: [] for name in names}
    waiting: dict[int, list[tuple[Labelled, float]]] = defaultdict(list)
    while True:
        chosen = rng.choice(len(names), 1000, p=draws / draws.sum())
        for number, speed in zip(chosen, rng.uniform(slowest, fastest, 1000), strict=True):
            queue = queues[names[number]]
            if not queue:
                queue += [by_set[names[number]][i] for i in rng.permutation(len(by_set[names[number]]))]
            one = queue.pop()
            width = width_of(int(one.length / speed))
            group = waiting[width]
            group.append((one, speed))
            if (len(group) + 1) * width * 320 > batch_s * 16000:
                yield plan([e for e, _ in group], np.array([s for _, s in group], np.float32))
                waiting[width] = []
