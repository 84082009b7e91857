"""Error rates on what was held out, set by set.

In: the model and the sound. Out: for each set its character and phone error rate. It does not know: training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .augment import gather
from .feed import Plan, plan
from .model import Pretraining
from .sound import Labelled, Sound


@dataclass(frozen=True, slots=True)
class SetScore:
    """Errors and labels of one set; a rate is None where it has no labels."""

    set: str
    utterances: int
    duration_s: float
    character_errors: int
    characters: int
    phone_errors: int
    phones: int

    @property
    def cer(self) -> float | None:
        """Character error rate, a ratio."""
        return self.character_errors / self.characters if self.characters else None

    @property
    def per(self) -> float | None:
        """Phone error rate, a ratio."""
        return self.phone_errors / self.phones if self.phones else None


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 on a GPU, without cuDNN's attention: it makes a plan for every new shape."""
    cuda = device.type == "cuda"
    kernels = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with torch.autocast(device.type, torch.bfloat16, enabled=cuda), sdpa_kernel(kernels):
        yield


def normalise(waves: Tensor, counts: Tensor) -> Tensor:
    """Return waveforms `(batch, samples)` of zero mean and unit variance over the real samples of each."""
    real = torch.arange(waves.shape[1], device=waves.device) < counts[:, None]
    mean = (waves * real).sum(1) / counts
    centred = (waves - mean[:, None]) * real
    return centred / (centred.square().sum(1) / counts + 1e-7).sqrt()[:, None]


def greedy(logits: Tensor, counts: Sequence[int]) -> list[list[int]]:
    """Return the best path of each row of `(batch, frames, vocab)`, repeats and blanks removed."""
    best = logits.argmax(-1).cpu().numpy()
    rows = []
    for row, count in zip(best, counts, strict=True):
        kept = row[:count][np.diff(row[:count], prepend=-1) != 0]
        rows.append([int(one) for one in kept if one])
    return rows


def in_order(examples: Sequence[Labelled], batch_s: float) -> Iterator[Plan]:
    """Yield batches of examples by length, each at its own speed."""
    group: list[Labelled] = []
    for one in sorted(examples, key=lambda example: example.length):
        if group and one.length * (len(group) + 1) > batch_s * 16000:
            yield plan(group, np.ones(len(group), np.float32))
            group = []
        group.append(one)
    if group:
        yield plan(group, np.ones(len(group), np.float32))


@torch.no_grad()
def score(model: Pretraining, sound: Sound, samples: Tensor, *, batch_s: float = 400) -> list[SetScore]:
    """Return the error rates on each set's held-out part.

    Args:
        model: The model.
        sound: Examples and vocabularies.
        samples: The sound's samples on the model's device.
        batch_s: Seconds of a batch.
    """
    model.eval()
    by_set: dict[str, list[Labelled]] = defaultdict(list)
    for one in sound.examples:
        if one.held:
            by_set[one.set].append(one)
    found = []
    for name, examples in by_set.items():
        errors = {"characters": 0, "phones": 0}
        for batch in in_order(examples, batch_s):
            for field, rows in recognise(model, samples, batch).items():
                said = getattr(batch, field)
                errors[field] += sum(
                    Levenshtein.distance(a, b.tolist()) for a, b in zip(rows, said, strict=True) if len(b)
                )
        found.append(
            SetScore(
                name,
                len(examples),
                sum(one.length for one in examples) / 16000,
                errors["characters"],
                sum(len(one.characters) for one in examples),
                errors["phones"],
                sum(len(one.phones) for one in examples),
            )
        )
    model.train()
    return found


def recognise(model: Pretraining, samples: Tensor, batch: Plan) -> dict[str, list[list[int]]]:
    """Return the character and phone ids that the model hears in each row of a batch."""
    device = samples.device
    counts = torch.from_numpy(batch.counts).to(device)
    starts, lengths, speeds = (
        torch.from_numpy(a).to(device) for a in (batch.starts, batch.lengths, batch.speeds)
    )
    waves = normalise(gather(samples, starts, lengths, speeds, 320 * batch.frames), counts)
    frames = model.stock._get_feat_extract_output_lengths(counts)
    with autocast(device):
        out = model(waves, frames)
        heads = {"characters": model.stock.lm_head, "phones": model.phone_head}
        return {name: greedy(head(out.last), frames.tolist()) for name, head in heads.items()}


def table(found: Sequence[SetScore]) -> str:
    """Return the scores as lines of text."""
    lines = [f"{'held out':32s} {'utts':>5s} {'min':>6s} {'CER %':>6s} {'PER %':>6s}"]
    for one in found:
        rates = [f"{100 * rate:6.1f}" if rate is not None else "     –" for rate in (one.cer, one.per)]
        lines.append(f"{one.set:32s} {one.utterances:5d} {one.duration_s / 60:6.1f} {' '.join(rates)}")
    for name in ("cer", "per"):
        rates = [rate for one in found if (rate := getattr(one, name)) is not None]
        lines.append(f"mean {name.upper()} over sets {100 * sum(rates) / max(1, len(rates)):.1f} %")
    return "\n".join(lines)
