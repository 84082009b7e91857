"""One step of a training: from a batch to changed weights.

In: a task and a batch. Out: the loss, or None where nothing was learnt from it. It does not know the loop.
"""

import math

from torch import Tensor, nn

from mms_adapt import augment
from mms_adapt.batches import Batch
from mms_adapt.devset import ctc_losses
from mms_adapt.errors import TrainingError
from mms_adapt.task import Task


def learn(task: Task, batch: Batch, rate: float, *, first: bool) -> float | None:
    """Learn from one batch; return its loss a token, or None where it is not finite and nothing was learnt.

    Raises:
        TrainingError: If at the first step something gets no gradient, or something gets one that is frozen.
    """
    config, backbone = task.config, task.backbone
    masks = augment.draw(
        batch.frame_counts,
        batch.features.shape[1],
        backbone.hidden_size,
        task.generator,
        time_share=config.mask_time_share or 0.0,
        time_length=config.mask_time_length,
        channel_share=config.mask_channel_share or 0.0,
        channel_length=config.mask_channel_length,
    )
    task.optimiser.zero_grad(set_to_none=True)
    hidden = backbone.encode(batch.features, batch.frame_counts, masks=masks)
    hidden = augment.dropped(hidden, config.dropout or 0.0, task.generator)
    loss = batch_loss(backbone.logits(hidden), batch, task.data.vocab.blank_id)
    value = float(loss.detach())
    if not math.isfinite(value):
        return None
    loss.backward()  # type: ignore[no-untyped-call]
    if first:
        _check_gradients(task)
    norm = float(nn.utils.clip_grad_norm_(task.trained.values(), config.max_gradient_norm))
    if not math.isfinite(norm):
        return None
    for group in task.optimiser.param_groups:
        group["lr"] = rate
    task.optimiser.step()
    return value


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
