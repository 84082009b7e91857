"""Batches: which utterances go through the model together, in which order, at which speed.

In: utterances, a vocabulary, and where features come from. Out: `Batch`es. The plan of an epoch follows from
the seed and the epoch's number alone, so a run that was interrupted goes on with the same batches. It does
not know audio or models.

An utterance that CTC cannot align, because it has fewer frames than its labels need, never gets into a batch;
it is counted and named, also where only a higher speed makes it so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mms_adapt.audio import SAMPLE_RATE_HZ, frame_count
from mms_adapt.errors import TrainingError
from mms_adapt.manifest import Utterance
from mms_adapt.vocab import Vocab

Features = Callable[[str, float], NDArray[np.float16]]
Frames = Callable[[str, float], int]
Padded = Callable[[Sequence[tuple[str, float]]], tuple[Tensor, Tensor]]
_JITTER = 0.1  # lengths count as so much longer or shorter when utterances of like length are put together


@dataclass(frozen=True)
class Batch:
    """Utterances that go through the model together.

    Attributes:
        features: Half precision, padded with zeros, `(batch, frames, conv_dim)`; or the hidden states where
            training begins, `(batch, frames, hidden)`.
        frame_counts: Real frames of each row, `(batch,)`.
        labels: Ids, padded with zeros, `(batch, tokens)`.
        label_counts: Real labels of each row, `(batch,)`.
        ids: The utterances.
    """

    features: Tensor
    frame_counts: Tensor
    labels: Tensor
    label_counts: Tensor
    ids: tuple[str, ...]

    @property
    def audio_s(self) -> float:
        """Seconds of speech in it, padding not counted."""
        return float(self.frame_counts.sum()) * 320 / SAMPLE_RATE_HZ

    def take(self, rows: Sequence[int]) -> "Batch":
        """Return some of its rows as a batch of their own, no wider than they need."""
        places = torch.tensor(rows)
        counts, label_counts = self.frame_counts[places], self.label_counts[places]
        return Batch(
            self.features[places.to(self.features.device, non_blocking=True), : int(counts.max())],
            counts,
            self.labels[places, : int(label_counts.max())],
            label_counts,
            tuple(self.ids[one] for one in rows),
        )


def pieces(frame_counts: Sequence[int], most_frames: int | None) -> list[list[int]]:
    """Divide rows into groups of like length that go through the model one after the other.

    Args:
        frame_counts: Frames of each row.
        most_frames: At most so many frames in a group, padding included; None for one group. A longer row is
            one alone.

    Returns:
        The rows of each group; as they stand where they are one group.
    """
    rows = list(range(len(frame_counts)))
    if most_frames is None or len(rows) * max(frame_counts) <= most_frames:
        return [rows]
    groups: list[list[int]] = []
    for row in sorted(rows, key=lambda one: (-frame_counts[one], one)):
        if not groups or (len(groups[-1]) + 1) * frame_counts[groups[-1][0]] > most_frames:
            groups.append([])
        groups[-1].append(row)
    return groups


@dataclass(frozen=True)
class Example:
    """One utterance that can be learnt from.

    Attributes:
        id: The utterance.
        audio_sha256: Hash of its sound.
        labels: Ids of its reference.
        frames: Its frames at each speed at which CTC can align it, as (speed, frames).
    """

    id: str
    audio_sha256: str
    labels: tuple[int, ...]
    frames: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Selection:
    """What can be learnt from, and what cannot.

    Attributes:
        examples: Those that can.
        impossible: Ids of those with fewer frames than their labels need, at every speed.
        impossible_when_fast: Ids of those that are so at some speeds only, at which they are not used.
        empty: Ids of those without a single label.
    """

    examples: tuple[Example, ...]
    impossible: tuple[str, ...]
    impossible_when_fast: tuple[str, ...]
    empty: tuple[str, ...]


def select(
    utterances: Sequence[Utterance],
    vocab: Vocab,
    frames: Frames,
    *,
    speeds: Sequence[float] = (1.0,),
    unknown: str = "error",
) -> Selection:
    """Sort out what CTC can align.

    Args:
        utterances: Prepared utterances.
        vocab: Their tokens.
        frames: Tells an utterance's frames by the hash of its sound and the speed.
        speeds: The speeds that are used.
        unknown: What a character outside the vocabulary becomes, as in `Vocab.encode`.

    Raises:
        VocabError: If a reference holds a character outside the vocabulary and `unknown` is "error".
    """
    examples: list[Example] = []
    impossible: list[str] = []
    when_fast: list[str] = []
    empty: list[str] = []
    for one in utterances:
        labels = tuple(vocab.encode(one.reference or "", unknown=unknown))
        key, needed = str(one.audio_sha256), Vocab.min_frames(labels)
        possible = tuple(
            (speed, count) for speed in speeds if (count := frames(key, speed)) >= max(needed, 1)
        )
        if not labels:
            empty.append(one.id)
        elif not possible:
            impossible.append(one.id)
        else:
            examples.append(Example(one.id, key, labels, possible))
            if len(possible) < len(speeds):
                when_fast.append(one.id)
    return Selection(tuple(examples), tuple(impossible), tuple(when_fast), tuple(empty))


Plan = list[list[tuple[Example, float, int]]]


class Batches:
    """The batches of a set of examples, epoch by epoch.

    Args:
        examples: What goes in.
        features: Where their features come from.
        batch_seconds: Speech in a batch, padding included.
        seed: Another number, another order.
        padded: Gives the features of several utterances in one tensor, with their frame counts; made from
            `features` where not given.

    Raises:
        TrainingError: If there is no example.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        features: Features,
        *,
        batch_seconds: float,
        seed: int = 0,
        padded: Padded | None = None,
    ) -> None:
        if not examples:
            raise TrainingError("there is no utterance that a batch could be made of")
        self.examples, self._features, self._seed = tuple(examples), features, seed
        self._padded = padded or self._together
        self._most_frames = frame_count(round(batch_seconds * SAMPLE_RATE_HZ))

    def plan(self, epoch: int) -> Plan:
        """Return the batches of an epoch as (example, speed, frames), each example once, in random order."""
        random = np.random.default_rng([self._seed, epoch])
        chosen = [one.frames[random.integers(len(one.frames))] for one in self.examples]
        lengths = np.array([count for _, count in chosen])
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER, len(lengths))
        batches = self._cut(np.argsort(lengths * jitter, kind="stable"), chosen)
        return [batches[place] for place in random.permutation(len(batches))]

    def in_order(self) -> Plan:
        """Return all examples at their first speed, by length; the same every time."""
        chosen = [one.frames[0] for one in self.examples]
        return self._cut(np.argsort([count for _, count in chosen], kind="stable"), chosen)

    def _cut(self, order: NDArray[np.intp], chosen: Sequence[tuple[float, int]]) -> Plan:
        """Cut an order into batches that stay within the bound; a longer utterance is one alone."""
        batches: Plan = []
        longest = 0
        for place in order:
            speed, count = chosen[place]
            longest = max(longest, count)
            if not batches or (len(batches[-1]) + 1) * longest > self._most_frames:
                batches.append([])
                longest = count
            batches[-1].append((self.examples[place], speed, count))
        return batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Return an epoch's batches, from a place in its plan on."""
        return map(self.load, self.plan(epoch)[start:])

    def load(self, items: Sequence[tuple[Example, float, int]]) -> Batch:
        """Return one batch of a plan."""
        features, frame_counts = self._padded([(one.audio_sha256, speed) for one, speed, _ in items])
        labels = [torch.tensor(one.labels) for one, _, _ in items]
        return Batch(
            features,
            frame_counts,
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(one) for one in labels]),
            tuple(one.id for one, _, _ in items),
        )

    def _together(self, keys: Sequence[tuple[str, float]]) -> tuple[Tensor, Tensor]:
        rows = [torch.from_numpy(self._features(*key).copy()) for key in keys]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return padded, torch.tensor([len(one) for one in rows])
