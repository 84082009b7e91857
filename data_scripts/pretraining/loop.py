"""The training loop of the embedded backbone: by the clock, with checkpoints to go on from.

In: the sound and options. Out: a checkpoint. It does not know: files of corpora, the exported form.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Wav2Vec2ForCTC

from . import lineage
from .augment import FirstTargets, Strength, gather, spoil
from .feed import Plan, batches
from .losses import Weights, agreement, ctc, hidden_frames
from .model import Pretraining, configuration
from .scores import normalise, score, table
from .sound import Sound


@dataclass(frozen=True, slots=True)
class Options:
    """How it is trained.

    Attributes:
        minutes: Time of training, over all resumptions, at the end of which the learning rate is zero.
        batch_s: Seconds of a batch, both views together.
        learning_rate: Peak.
        warm_up: Share of the time in which it rises.
        weight_decay: Of AdamW.
        dropout: Probability, everywhere.
        views: 1, or 2 to train on the agreement of two views of each utterance.
        hidden_share: About so much of each utterance is hidden.
        hidden_longest: Frames of the longest hidden span.
        masked_from: Share of the time from which on frames are hidden.
        first_steps: Steps in which only the convolutions are trained, to give log-mel and pitch.
        middle: Layer behind which phones are asked for too.
        synthetic_share: Share of synthetic speech in the time heard.
        frozen_from: Share of the time from which on the convolutions stay as they are, which makes steps
            quicker; 1 for never.
        seed: Start of all random numbers.
        weights: Of the losses.
        strength: Of the augmentation.
        changes: Other values of the model's configuration.
    """

    minutes: float
    batch_s: float = 800.0
    learning_rate: float = 2e-3
    warm_up: float = 0.04
    weight_decay: float = 0.02
    dropout: float = 0.1
    views: int = 2
    hidden_share: float = 0.25
    hidden_longest: int = 24
    masked_from: float = 0.1
    first_steps: int = 500
    middle: int = 8
    synthetic_share: float = 0.25
    frozen_from: float = 1.0
    seed: int = 0
    weights: Weights = field(default_factory=Weights)
    strength: Strength = field(default_factory=Strength)
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """Where the training is."""

    step: int = 0
    elapsed_s: float = 0.0
    heard_s: float = 0.0


class Training:
    """A model in training on one device."""

    def __init__(self, sound: Sound, options: Options, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        torch.set_float32_matmul_precision("high")
        self.sound, self.options, self.device = sound, options, device
        config = configuration(len(sound.characters), **options.changes)
        self.model = Pretraining(config, len(sound.phones), middle=options.middle).to(device)
        self.targets = FirstTargets().to(device)
        self.samples = torch.from_numpy(sound.samples).to(device)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("adapter_layer" not in name)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        decayed = [p for p in self.trained if p.dim() > 1]
        others = [p for p in self.trained if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": options.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=options.learning_rate,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
        )
        self.state = _State()
        self.before: list[dict[str, Any]] = []

    def begin_from(self, finished: Path) -> None:
        """Take the weights of a finished training as the start of another one.

        Args:
            finished: A checkpoint, or the folder that `export` made of one; that holds no heads for phones,
                which begin anew.

        Raises:
            FileNotFoundError: If nothing tells what it has heard.
            ValueError: If its vocabularies are others.
        """
        self.before = lineage.read(finished)
        if not finished.is_dir():
            saved = torch.load(finished, map_location=self.device, weights_only=True)
            self._check(finished, saved)
            self.model.load_state_dict(saved["model"])
            return
        vocab = json.loads((finished / "vocab.json").read_text(encoding="utf-8"))["mul"]
        if tuple(sorted(vocab, key=vocab.__getitem__)) != self.sound.characters:
            raise ValueError(f"{finished} has another character vocabulary: give another folder")
        stock = Wav2Vec2ForCTC.from_pretrained(finished, dtype=torch.float32, local_files_only=True)
        self.model.stock.load_state_dict(stock.state_dict())

    def run(
        self,
        checkpoint: Path,
        *,
        stop_after_s: float = math.inf,
        report_s: float = 15.0,
        score_s: float = math.inf,
    ) -> bool:
        """Train until the time is up, or for this call's share of it.

        Args:
            checkpoint: Gone on from where it exists; written every two minutes and at the end.
            stop_after_s: Seconds of this call.
            report_s: Seconds between lines of progress.
            score_s: Seconds between looks at what was held out, which count as no time of training.

        Returns:
            Whether the training is finished.
        """
        if checkpoint.exists():
            self._restore(checkpoint)
        options, state = self.options, self.state
        feed = batches(
            [one for one in self.sound.examples if not one.held],
            batch_s=options.batch_s / options.views,
            seed=options.seed + state.step,
            slowest=options.strength.slowest,
            fastest=options.strength.fastest,
            shares=_shares(options.synthetic_share),
        )
        began = last = saved = scored = time.monotonic()
        base_s, parts, steps, heard_s = state.elapsed_s, [], 0, 0.0
        self.model.train()
        while (done := state.elapsed_s / (60 * options.minutes)) < 1:
            batch = next(feed)
            parts.append(self._step(batch, done))
            state.step, steps = state.step + 1, steps + 1
            heard_s += float(batch.counts.sum()) / 16000 * options.views
            if steps % 20 == 0 or self.device.type == "cpu":
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                now = time.monotonic()
                state.elapsed_s = base_s + now - began
                if now - last > report_s:
                    self._report(parts, steps, heard_s, now - last, done)
                    state.heard_s += heard_s
                    last, parts, steps, heard_s = now, [], 0, 0.0
                if now - scored > score_s:
                    print(self.scores().splitlines()[-2], flush=True)
                    scored = time.monotonic()
                    began, last = began + scored - now, last + scored - now
                if now - saved > 120:
                    self._save(checkpoint)
                    saved = now
                if now - began > stop_after_s:
                    break
        state.heard_s += heard_s
        self._save(checkpoint)
        return state.elapsed_s >= 60 * options.minutes

    def _step(self, batch: Plan, done: float) -> Tensor:
        """Train on one batch and return the parts of the loss, `(5,)`, on the device."""
        options, views = self.options, self.options.views
        first_only = self.state.step < options.first_steps
        rate = options.learning_rate * min(1.0, done / options.warm_up, 0.5 + 0.5 * math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = max(rate, 1e-3 * options.learning_rate) if not first_only else options.learning_rate
        frozen = done >= options.frozen_from
        if frozen:
            for module in (self.model.stock.wav2vec2.feature_extractor, self.model.first_head):
                module.requires_grad_(False)
        waves, counts = self._hear(batch)
        frame_counts = (counts - 400).div(
            320, rounding_mode="floor"
        ) + 1  # exact for these kernels and strides
        targets = None if frozen else self.targets(waves)
        normal = normalise(waves, counts)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if first_only and targets is not None:
                first = self.model.convolve(normal)
                parts = torch.stack([self._first_loss(first, targets, frame_counts)])
                loss = parts[0]
            else:
                masked = None
                if done >= options.masked_from:
                    share, longest = options.hidden_share, options.hidden_longest
                    masked = hidden_frames(frame_counts, batch.frames, share, longest)
                out = self.model(normal, frame_counts, masked=masked, dropout=options.dropout)
                logits = (
                    self.model.stock.lm_head(out.last),
                    self.model.phone_head(out.last),
                    self.model.middle_head(self.model.middle_norm(out.middle)),
                )
                loss, parts = self._losses(out.first, targets, frame_counts, logits, batch, views)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        return F.pad(parts.detach(), (0, 5 - len(parts)))

    def _hear(self, batch: Plan) -> tuple[Tensor, Tensor]:
        """Return augmented waveforms `(views * batch, samples)` and their counts."""
        to = {"device": self.device, "non_blocking": True}
        repeat = self.options.views
        starts, lengths, speeds, counts = (
            torch.from_numpy(np.tile(a, repeat)).to(**to)
            for a in (batch.starts, batch.lengths, batch.speeds, batch.counts)
        )
        waves = gather(self.samples, starts, lengths, speeds, 320 * batch.frames)
        return spoil(waves, counts, self.options.strength), counts

    def _first_loss(self, first: Tensor, targets: Tensor, frame_counts: Tensor) -> Tensor:
        width = targets.shape[1]
        real = torch.arange(width, device=self.device) < frame_counts[:, None]
        error = (self.model.first_head(first).float() - targets).square().mean(-1)
        return (error * real).sum() / real.sum()

    def _losses(
        self,
        first: Tensor,
        targets: Tensor | None,
        frame_counts: Tensor,
        logits: tuple[Tensor, Tensor, Tensor],
        batch: Plan,
        views: int,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and its parts: characters, phones, middle phones, agreement, first."""
        weights = self.options.weights
        characters, phones, middle = (one.float().log_softmax(-1) for one in logits)
        counts = torch.from_numpy(np.tile((batch.counts - 400) // 320 + 1, views))
        spelled, said = batch.characters * views, batch.phones * views
        parts = ctc([(characters, counts, spelled), (phones, counts, said), (middle, counts, said)])
        zero = torch.zeros((), device=self.device)
        apart = zero
        if views == 2 and weights.agreement:
            real = torch.arange(batch.frames, device=self.device) < frame_counts[:, None]
            label_count = sum(map(len, said))
            spelt = torch.tensor([len(row) > 0 for row in spelled], device=self.device)
            apart = 0.5 * agreement(phones, real, label_count)
            apart = apart + 0.5 * agreement(characters, real & spelt[:, None], label_count)
        first_loss = zero if targets is None else self._first_loss(first, targets, frame_counts)
        values = [*parts, apart, first_loss]
        factors = [weights.characters, weights.phones, weights.middle, weights.agreement, weights.first]
        loss = sum((f * v for f, v in zip(factors, values, strict=True)), zero)
        return loss, torch.stack(values)

    def _report(self, parts: list[Tensor], steps: int, heard_s: float, took_s: float, done: float) -> None:
        means = torch.stack(parts).mean(0).tolist()
        if not all(map(math.isfinite, means)):
            raise FloatingPointError(f"step {self.state.step}: the loss is not finite: {means}")
        names = ("characters", "phones", "middle", "agreement", "first")
        losses = " ".join(f"{name} {value:.3f}" for name, value in zip(names, means, strict=True))
        print(
            f"{100 * done:5.1f} % step {self.state.step:6d} {losses} | {steps / took_s:.1f} steps/s, "
            f"{heard_s / took_s:.0f} audio-s/s",
            flush=True,
        )

    def scores(self) -> str:
        """Return the table of error rates on what was held out."""
        self.found = score(self.model, self.sound, self.samples)
        return table(self.found)

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "state": asdict(self.state),
                "characters": self.sound.characters,
                "phones": self.sound.phones,
                "options": asdict(self.options),
            },
            unfinished,
        )
        unfinished.rename(path)

    def _check(self, path: Path, saved: dict[str, Any]) -> None:
        if (tuple(saved["characters"]), tuple(saved["phones"])) != (self.sound.characters, self.sound.phones):
            raise ValueError(f"{path} was trained with other vocabularies: give another folder, or delete it")

    def _restore(self, path: Path) -> None:
        saved = torch.load(path, map_location=self.device, weights_only=True)
        self._check(path, saved)
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state = _State(**saved["state"])
        print(f"going on from step {self.state.step}, {self.state.elapsed_s / 60:.1f} minutes in", flush=True)


def _shares(synthetic: float) -> dict[str, float]:
    """Return the sets' shares with this much synthetic speech."""
    from .feed import SHARES
    from .sound import SYNTHETIC

    real = {name: share for name, share in SHARES.items() if name != SYNTHETIC}
    scale = (1 - synthetic) / sum(real.values())
    return {**{name: share * scale for name, share in real.items()}, SYNTHETIC: synthetic}
