"""The dev set: what decides which step was the best one.

In: dev utterances and their features. Out: error rates, computed as `evaluate` computes them, and the loss.
It does not know training, and the test set is never read here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mms_adapt import plugins, text
from mms_adapt.batches import Batches, Example, Features, Frames
from mms_adapt.manifest import Utterance
from mms_adapt.scoring import Score, score
from mms_adapt.vocab import Vocab


@dataclass(frozen=True, slots=True)
class Measured:
    """How good an adapter is on the dev set.

    Attributes:
        cer: Character error rate. Characters outside the vocabulary count as errors.
        wer: Word error rate.
        loss: CTC loss a token, over the utterances that CTC can align.
    """

    cer: float
    wer: float
    loss: float


class Hearing(Protocol):
    """A backbone with an adapter in it."""

    def encode(self, features: Tensor, frame_counts: Tensor, *, below: int | None = None) -> Tensor:
        """Return hidden states `(batch, frames, hidden)`, as `Backbone.encode` does."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits `(batch, frames, vocab)`."""


class DevSet:
    """Dev utterances, ready to be measured again and again.

    Args:
        utterances: With references; at least one of them has a word.
        vocab: The tokens.
        normaliser: Name of the rule by which references were made; it cleans hypotheses, too.
        target_lang: The language.
        features: Where features come from.
        frames: Tells an utterance's frames.
        batch_seconds: Speech in a batch.
        below: The layer whose input `features` gives; None where it gives features.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        vocab: Vocab,
        *,
        normaliser: str,
        target_lang: str,
        features: Features,
        frames: Frames,
        batch_seconds: float,
        below: int | None = None,
    ) -> None:
        examples = [
            Example(
                one.id,
                str(one.audio_sha256),
                tuple(vocab.encode(one.reference or "", unknown="unk")),
                ((1.0, frames(str(one.audio_sha256), 1.0)),),
            )
            for one in utterances
        ]
        self._references = {one.id: one.reference or "" for one in utterances}
        self._normalise = text.get(normaliser, target_lang=target_lang)
        self._vocab, self._below = vocab, below
        self._batches = Batches(examples, features, batch_seconds=batch_seconds)
        self._decoder = plugins.load("decoders", "greedy").build(vocab)
        self.audio_s = sum(one.duration_s for one in utterances)

    def measure(self, backbone: Hearing) -> Measured:
        """Decode all of it and compare."""
        made, loss = self.score(backbone, bootstrap=0)
        return Measured(made.cer, made.wer, loss)

    def score(self, backbone: Hearing, *, bootstrap: int = 1000, seed: int = 0) -> tuple[Score, float]:
        """Decode all of it and compare; return rates with their intervals, and the CTC loss a token.

        Args:
            backbone: The backbone with an adapter in it.
            bootstrap: Draws for the intervals; 0 for none.
            seed: Start of their random numbers.
        """
        found: dict[str, str] = {}
        loss = labels = 0.0
        for plan in self._batches.in_order():
            batch = self._batches.load(plan)
            with torch.no_grad():
                hidden = backbone.encode(batch.features, batch.frame_counts, below=self._below)
                emissions = backbone.logits(hidden).log_softmax(dim=-1)
                losses = ctc_losses(
                    emissions, batch.frame_counts, batch.labels, batch.label_counts, self._vocab.blank_id
                )
            possible = torch.tensor([_possible(one, frames) for one, _, frames in plan])
            loss += float(losses.cpu()[possible].sum())
            labels += float(batch.label_counts[possible].sum())
            texts = self._decoder.decode(emissions, batch.frame_counts.tolist())
            found.update({name: one.text for name, one in zip(batch.ids, texts, strict=True)})
        made = score(
            list(self._references.values()),
            [self._normalise(found[name]) for name in self._references],
            bootstrap=bootstrap,
            seed=seed,
        )
        return made, loss / max(labels, 1.0)


def ctc_losses(
    emissions: Tensor, frame_counts: Tensor, labels: Tensor, label_counts: Tensor, blank_id: int
) -> Tensor:
    """Return the CTC loss of each row, `(batch,)`; infinite where the labels cannot be aligned.

    Args:
        emissions: Log-probabilities, `(batch, frames, vocab)`.
        frame_counts: Real frames of each row, `(batch,)`.
        labels: Ids, padded, `(batch, tokens)`.
        label_counts: Real labels of each row, `(batch,)`.
        blank_id: The blank.
    """
    device = emissions.device
    return functional.ctc_loss(
        emissions.transpose(0, 1),  # `(frames, batch, vocab)`
        labels.to(device, non_blocking=True),
        frame_counts.cpu(),  # where torch needs them: on a GPU, each would be waited for
        label_counts.cpu(),
        blank=blank_id,
        reduction="none",
        zero_infinity=False,
    )


def _possible(example: Example, frames: int) -> bool:
    return bool(example.labels) and frames >= Vocab.min_frames(example.labels)
