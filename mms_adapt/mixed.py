"""Batches of several languages through one encoder: rows of like length together, of whichever language.

In: a stack of adapters, and a batch of each language. Out: gradients and losses, each language's as if it had
been alone. It does not know the loop.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from mms_adapt.batches import Batch
from mms_adapt.devset import ctc_losses
from mms_adapt.room import Room
from mms_adapt.stack import Stack
from mms_adapt.step import backwards, drawn
from mms_adapt.task import Task


def gradients(stack: Stack, tasks: Sequence[Task], batches: dict[int, Batch], room: Room) -> Tensor:
    """Compute the gradients of one batch of each language; return the loss a token of each, `(languages,)`.

    Args:
        stack: The adapters; their gradients are set.
        tasks: The languages' trainings.
        batches: The batches by place.
        room: How much goes through at a time.
    """
    device = stack.flat.device
    chance = drawn([tasks[place] for place in batches], list(batches.values()))
    tokens = {place: int(batch.label_counts.sum()) for place, batch in batches.items()}
    every = [(place, row) for place, batch in batches.items() for row in range(len(batch.ids))]
    frames = [int(batches[place].frame_counts[row]) for place, row in every]
    losses = torch.zeros(len(tasks), device=device)

    def work(rows: Sequence[int]) -> Tensor:
        chosen = [every[one] for one in rows]
        batch = _joined(batches, chosen, device)
        luck = chance.take(rows, batch.features.shape[1])
        stack.choose([place for place, _ in chosen])
        task = tasks[chosen[0][0]]
        hidden = task.backbone.encode(batch.features, batch.frame_counts, masks=luck.masks, below=task.below)
        emissions = stack.logits(luck.dropped(hidden)).log_softmax(dim=-1)
        blank = task.data.vocab.blank_id
        found = ctc_losses(emissions, batch.frame_counts, batch.labels, batch.label_counts, blank)
        weights = torch.tensor([1 / tokens[place] for place, _ in chosen]).to(device, non_blocking=True)
        losses.index_add_(0, stack.rows, found.detach() * weights)
        return (found * weights).sum()

    def undo() -> None:
        stack.forget()
        losses.zero_()

    undo()
    with warnings.catch_warnings():  # a stack's rows are not contiguous, which it says once
        warnings.filterwarnings("ignore", "grad and param do not obey", UserWarning)
        backwards(work, range(len(every)), frames, room, undo)
    return losses


def _joined(batches: dict[int, Batch], chosen: Sequence[tuple[int, int]], device: torch.device) -> Batch:
    """Return rows of several batches as one."""
    counts = torch.stack([batches[place].frame_counts[row] for place, row in chosen])
    labels = torch.stack([batches[place].label_counts[row] for place, row in chosen])
    width = next(iter(batches.values())).features.shape[2]
    features = torch.zeros(len(chosen), int(counts.max()), width, dtype=torch.float16, device=device)
    ids = torch.zeros(len(chosen), int(labels.max()), dtype=torch.long)
    for at, (place, row) in enumerate(chosen):
        one, frames, tokens = batches[place], int(counts[at]), int(labels[at])
        features[at, :frames].copy_(one.features[row, :frames], non_blocking=True)
        ids[at, :tokens] = one.labels[row, :tokens]
    return Batch(features, counts, ids, labels, tuple(batches[place].ids[row] for place, row in chosen))
