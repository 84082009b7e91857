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
from mms_adapt.masks import Masks
from mms_adapt.room import Room
from mms_adapt.stack import Stack
from mms_adapt.step import Chance, backwards, drawn
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
    chances = {place: drawn(tasks[place], batch) for place, batch in batches.items()}
    tokens = {place: int(batch.label_counts.sum()) for place, batch in batches.items()}
    every = [(place, row) for place, batch in batches.items() for row in range(len(batch.ids))]
    frames = [int(batches[place].frame_counts[row]) for place, row in every]
    losses = torch.zeros(len(tasks), device=device)

    def work(rows: Sequence[int]) -> Tensor:
        chosen = [every[one] for one in rows]
        batch = _joined(batches, chosen, device)
        chance = _chance(chances, chosen, batch)
        stack.choose([place for place, _ in chosen])
        task = tasks[chosen[0][0]]
        hidden = task.backbone.encode(
            batch.features, batch.frame_counts, masks=chance.masks, below=task.below
        )
        shares = torch.tensor([1 - chances[place].share for place, _ in chosen])
        shares = shares.to(device, non_blocking=True)
        if chance.kept is not None:
            hidden = hidden * chance.kept / shares[:, None, None]
        emissions = stack.logits(hidden).log_softmax(dim=-1)
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


def _chance(chances: dict[int, Chance], chosen: Sequence[tuple[int, int]], batch: Batch) -> Chance:
    """Return what was drawn for rows of several batches; behind a row's frames nothing matters."""
    frames = batch.features.shape[1]
    first = next(iter(chances.values()))
    device, hidden = first.masks.time.device, first.masks.channels.shape[1]
    time = torch.zeros(len(chosen), frames, dtype=torch.bool, device=device)
    dropping = any(one.kept is not None for one in chances.values())
    kept = torch.ones(len(chosen), frames, hidden, dtype=torch.bool, device=device) if dropping else None
    for at, (place, row) in enumerate(chosen):
        one = chances[place]
        count = min(frames, one.masks.time.shape[1])
        time[at, :count] = one.masks.time[row, :count]
        if kept is not None and one.kept is not None:
            kept[at, :count] = one.kept[row, :count]
    channels = torch.stack([chances[place].masks.channels[row] for place, row in chosen])
    return Chance(Masks(time, channels), kept, 0.0)
