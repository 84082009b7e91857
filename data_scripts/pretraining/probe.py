"""What a backbone is worth: error rates after adapting it to other languages for a moment, on one GPU.

In: the model and folders of corpora in the `utterances.jsonl` layout. Out: for each corpus and amount of
training speech the character error rate on sentences not trained on. It is a quick relative of what
`mms-adapt train` does, for choosing between backbones; figures for people come from `mms-adapt evaluate`.

It does not know: pre-training.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from .augment import gather
from .feed import Plan, batches
from .labels import characters
from .losses import ctc, hidden_frames
from .model import Pretraining
from .pack import draw
from .scores import autocast, greedy, in_order, normalise
from .sound import SPECIALS, Labelled

HELD_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """How the moment's adaptation goes.

    Attributes:
        steps: Steps of training.
        batch_s: Seconds of a batch.
        learning_rate: Peak.
        dropout: Probability.
        hidden_share: About so much of each utterance is hidden.
        full: Train the whole transformer, not adapters alone.
    """

    steps: int = 800
    batch_s: float = 80.0
    learning_rate: float = 2e-3
    dropout: float = 0.0
    hidden_share: float = 0.1
    full: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One language's sound `(samples,)`, training and held-out examples, and tokens."""

    name: str
    samples: Tensor
    train: list[Labelled]
    held: list[Labelled]
    tokens: tuple[str, ...]


def read_target(folder: Path, device: torch.device) -> Target:
    """Read the recordings at hand of a corpus; utterances of absent recordings are left out."""
    with (folder / "utterances.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if (folder / row["recording"]).exists()]
    starts: dict[str, int] = {}
    parts, end = [], 0
    for name in dict.fromkeys(row["recording"] for row in rows):
        parts.append(soundfile.read(folder / name, dtype="int16")[0])
        starts[name], end = end, end + len(parts[-1])
    spelled = [characters(row["transcript"]) for row in rows]
    held = [draw("".join(one)) < HELD_SHARE for one in spelled]
    tokens = (
        *SPECIALS,
        *sorted({c for one, h in zip(spelled, held, strict=True) if not h for c in one} - {"|"}),
    )
    ids = {token: number for number, token in enumerate(tokens)}
    examples = [
        Labelled(
            folder.name,
            starts[row["recording"]] + round(row["start_s"] * 16000),
            round((row["end_s"] - row["start_s"]) * 16000),
            np.array([ids.get(c, 3) for c in one], np.int32),
            np.array([], np.int32),
            h,
        )
        for row, one, h in zip(rows, spelled, held, strict=True)
        if one and row["end_s"] - row["start_s"] > 0.3
    ]
    order = sorted((one for one in examples if not one.held), key=lambda one: draw(str(one.start)))
    samples = torch.from_numpy(np.concatenate(parts)).to(device)
    return Target(folder.name, samples, order, [one for one in examples if one.held], tokens)


def probe(
    model: Pretraining, tokens: tuple[str, ...], target: Target, minutes: float, options: ProbeOptions
) -> float:
    """Return the character error rate after adapting to so many minutes of a language.

    Args:
        model: The backbone; it is left as it is.
        tokens: Those of its character head.
        target: The language.
        minutes: Speech to learn from.
        options: How.
    """
    device = target.samples.device
    model = copy.deepcopy(model).train()
    chosen, total_s = [], 0.0
    for one in target.train:
        if total_s < 60 * minutes:
            chosen.append(one)
            total_s += one.length / 16000
    head = _head(model, tokens, target.tokens).to(device)
    trained = _thaw(model, full=options.full)
    parameters = [*trained, *head.parameters()]
    rate = options.learning_rate * (0.2 if options.full else 1)
    optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    feed = batches(
        chosen, batch_s=options.batch_s, seed=0, slowest=0.9, fastest=1.1, shares={target.name: 1.0}
    )
    for step in range(options.steps):
        done = step / options.steps
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50, 2 * (1 - done))
        batch = next(feed)
        first, frames = _convolved(model, target.samples, batch)
        masked = hidden_frames(frames, first.shape[1], options.hidden_share, 12)
        with autocast(device):
            _, last = model.encode(first, frames, masked=masked, dropout=options.dropout, adapted=True)
            logits = head(last)
        (loss,) = ctc([(logits.float().log_softmax(-1), frames.cpu(), batch.characters)])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return _held_error(model.eval(), head, target)


def _thaw(model: Pretraining, *, full: bool) -> list[Tensor]:
    """Let the adapters learn, or the whole transformer, and return their parameters."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    inner = model.stock.wav2vec2
    if full:
        trained = [*inner.encoder.parameters(), *inner.feature_projection.parameters()]
    else:
        trained = [p for layer in inner.encoder.layers for p in layer.adapter_layer.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    return trained


def _head(model: Pretraining, known: tuple[str, ...], wanted: tuple[str, ...]) -> nn.Linear:
    """Return a head whose rows of known characters are the backbone's."""
    old = model.stock.lm_head
    head = nn.Linear(old.in_features, len(wanted))
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    ids = {token: number for number, token in enumerate(known)}
    with torch.no_grad():
        for row, token in enumerate(wanted):
            if token in ids:
                head.weight[row] = old.weight[ids[token]]
                head.bias[row] = old.bias[ids[token]]
            else:
                head.bias[row] = math.log(1 / len(wanted))
    return head


@torch.no_grad()
def _convolved(model: Pretraining, samples: Tensor, batch: Plan) -> tuple[Tensor, Tensor]:
    device = samples.device
    starts, lengths, speeds, counts = (
        torch.from_numpy(a).to(device) for a in (batch.starts, batch.lengths, batch.speeds, batch.counts)
    )
    waves = normalise(gather(samples, starts, lengths, speeds, 320 * batch.frames), counts)
    with autocast(device):
        return model.convolve(waves), model.stock._get_feat_extract_output_lengths(counts)


@torch.no_grad()
def _held_error(model: Pretraining, head: nn.Linear, target: Target) -> float:
    errors = labels = 0
    for batch in in_order(target.held, 400):
        first, frames = _convolved(model, target.samples, batch)
        with autocast(first.device):
            _, last = model.encode(first, frames, masked=None, dropout=0.0, adapted=True)
            rows = greedy(head(last), frames.tolist())
        errors += sum(
            Levenshtein.distance(a, b.tolist()) for a, b in zip(rows, batch.characters, strict=True)
        )
        labels += sum(map(len, batch.characters))
    return errors / labels
