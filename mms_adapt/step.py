"""One step of a training: from a batch to changed weights.

In: a task and a batch. Out: the loss and whether it was good, both still on the device. It does not know the
loop.

Nothing here waits for the device: a step whose loss or gradient is not finite changes nothing, which the
optimiser finds out by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mms_adapt import augment
from mms_adapt.batches import Batch, pieces
from mms_adapt.devset import ctc_losses
from mms_adapt.errors import TrainingError
from mms_adapt.masks import Masks
from mms_adapt.room import Room, card_limit, fitting, most_in_use
from mms_adapt.task import Task


@dataclass(frozen=True)
class Outcome:
    """What a step gave, on the device.

    Attributes:
        loss: The loss a token.
        good: Whether loss and gradient were finite, so that something was learnt.
    """

    loss: Tensor
    good: Tensor


@dataclass(frozen=True)
class Chance:
    """What was drawn for a batch.

    Attributes:
        masks: What SpecAugment hides.
        kept: Which hidden states dropout keeps, `(batch, frames, hidden)`; None for all.
        share: The share that it drops, `(batch, 1, 1)`.
    """

    masks: Masks
    kept: Tensor | None
    share: Tensor

    def take(self, rows: Sequence[int], frames: int) -> "Chance":
        """Return what was drawn for some rows."""
        count, longest = self.masks.time.shape
        if frames == longest and list(rows) == list(range(count)):
            return self
        places = torch.tensor(rows).to(self.masks.time.device, non_blocking=True)
        kept = None if self.kept is None else self.kept[places, :frames]
        masks = Masks(self.masks.time[places, :frames], self.masks.channels[places])
        return Chance(masks, kept, self.share[places])

    def dropped(self, hidden: Tensor) -> Tensor:
        """Return hidden states `(batch, frames, hidden)` of which a share is zero and the rest is larger."""
        return augment.dropped(hidden, self.kept, self.share)


def learn(task: Task, batch: Batch, rate: float, *, first: bool) -> Outcome:
    """Learn from one batch.

    Raises:
        TrainingError: If at the first step something gets no gradient, or something gets one that is frozen;
            or if the device has no room for one utterance.
    """
    chance = drawn([task], [batch])
    task.optimiser.zero_grad(set_to_none=True)
    tokens = int(batch.label_counts.sum())
    frames = batch.frame_counts.tolist()
    mine = task.team.rows(frames) if task.team.size > 1 else list(range(len(frames)))

    def work(rows: Sequence[int]) -> Tensor:
        part, luck = batch, chance
        if len(rows) < len(frames):
            part = batch.take(rows)
            luck = chance.take(rows, part.features.shape[1])
        hidden = task.backbone.encode(part.features, part.frame_counts, masks=luck.masks, below=task.below)
        logits = task.backbone.logits(luck.dropped(hidden))
        loss = batch_loss(logits, part, task.data.vocab.blank_id)
        return loss * (int(part.label_counts.sum()) / tokens)

    loss = torch.zeros((), device=task.backbone.device)
    if mine:
        player = task.backbone.player
        spare = (lambda: False) if player is None else player.give_up
        loss = loss + backwards(work, mine, frames, task.room, lambda: task.optimiser.zero_grad(True), spare)
        if first:
            _check_gradients(task)
    if task.team.size > 1:
        for one in task.trained.values():
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad
        task.team.add_up([*(one.grad for one in task.trained.values() if one.grad is not None), loss])
    norm = nn.utils.clip_grad_norm_(task.trained.values(), task.config.max_gradient_norm)
    good = torch.isfinite(loss) & torch.isfinite(norm)
    task.optimiser.found_inf = (~good).float()  # type: ignore[attr-defined]
    for group in task.optimiser.param_groups:
        group["lr"] = rate
    task.optimiser.step()
    return Outcome(loss, good)


def make_room(task: Task) -> None:
    """Measure what a pass takes on a card, and choose how much goes through at a time.

    Where the options say how much, or on a CPU, nothing is measured: what turns out to be too much is halved.
    """
    device, config = task.backbone.device, task.config
    if task.room.most_frames is not None or device.type != "cuda":
        return
    frames = max(count for one in task.batches.examples for _, count in one.frames)
    width = task.backbone.conv_dim if task.below is None else task.backbone.hidden_size

    def take(rows: int) -> int:
        features = torch.zeros(rows, frames, width, dtype=torch.float16)
        one = torch.ones(rows, dtype=torch.long)
        batch = Batch(features, one * frames, one[:, None], one, ("",) * rows)

        def work() -> None:
            hidden = task.backbone.encode(features, batch.frame_counts, below=task.below)
            batch_loss(task.backbone.logits(hidden), batch, 0).backward()  # type: ignore[no-untyped-call]

        found = most_in_use(device, work)
        task.optimiser.zero_grad(set_to_none=True)
        return found

    task.room.most_frames = fitting(take, frames, card_limit(device, config.max_memory_gib))


def drawn(tasks: Sequence[Task], batches: Sequence[Batch]) -> Chance:
    """Draw masks and dropout for a batch, or for a batch of each task, the rows below each other."""
    asked = []
    for task, batch in zip(tasks, batches, strict=True):
        config = task.config
        shares = augment.Shares(
            config.mask_time_share or 0.0,
            config.mask_time_length,
            config.mask_channel_share or 0.0,
            config.mask_channel_length,
            config.dropout or 0.0,
        )
        frames = batch.features.shape[1]
        asked.append(augment.Draw(batch.frame_counts, frames, shares, task.generator))
    masks, kept = augment.draw(asked, tasks[0].backbone.hidden_size)
    counts = torch.tensor([len(batch.ids) for batch in batches])
    dropped = torch.tensor([one.shares.dropout for one in asked]).repeat_interleave(counts)
    return Chance(masks, kept, dropped.to(masks.time.device, non_blocking=True)[:, None, None])


def backwards(
    work: Callable[[Sequence[int]], Tensor],
    rows: Sequence[int],
    frame_counts: Sequence[int],
    room: Room,
    undo: Callable[[], object],
    spare: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Compute the gradients of some rows in as many pieces as are needed; return their loss.

    Args:
        work: Gives the loss of some rows.
        rows: The rows.
        frame_counts: Frames of every row.
        room: How much goes through at a time; less from now on where it was too much.
        undo: Forgets gradients, before all is done again.
        spare: Lets go of memory that is not needed, before less goes through; tells whether there was some.

    Raises:
        TrainingError: If there is no room for one row.
    """
    while True:
        counts = [frame_counts[one] for one in rows]
        groups = pieces(counts, room.most_frames)
        try:
            total = None
            for group in groups:
                loss = work([rows[one] for one in group])
                loss.backward()  # type: ignore[no-untyped-call]
                total = loss.detach() if total is None else total + loss.detach()
            return torch.zeros(()) if total is None else total
        except torch.OutOfMemoryError as error:
            tried = max(len(group) * max(counts[one] for one in group) for group in groups)
            if not spare() and not room.halve(tried, max(counts)):
                raise TrainingError(
                    f"the device has no room for one utterance of {max(counts) / 49:.0f} s: train with less "
                    "memory (--lean), or only the topmost layers (--layers top:12), or leave out long "
                    "utterances when preparing (--max-utterance-s)"
                ) from error
        undo()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def batch_loss(logits: Tensor, batch: Batch, blank_id: int) -> Tensor:
    """Return the CTC loss of a batch a token, from logits `(batch, frames, vocab)`."""
    losses = ctc_losses(
        logits.log_softmax(dim=-1), batch.frame_counts, batch.labels, batch.label_counts, blank_id
    )
    return losses.sum() / int(batch.label_counts.sum())


def _check_gradients(task: Task) -> None:
    without = [name for name, one in task.trained.items() if one.grad is None]
    frozen = [
        name
        for name, one in task.backbone.model.named_parameters()
        if name not in task.trained and (one.requires_grad or one.grad is not None)
    ]
    if without or frozen:
        raise TrainingError(
            f"gradients do not reach what is trained alone: {len(without)} tensors have none"
            f"{f', such as {without[0]}' if without else ''}, and {len(frozen)} frozen ones have one"
            f"{f', such as {frozen[0]}' if frozen else ''}; the adapter's kind is at fault"
        )
