"""How well adapters do on some minutes of prepared data, one after the other, the sound read once.

In: prepared data, a backbone, adapters of any kind. Out: error rates and losses. It chooses nothing, and the
test set is never read here.
"""

import math
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mms_adapt.backbone import Backbone
from mms_adapt.batches import Batches, Example
from mms_adapt.cache import FeatureCache
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.devset import DevSet, Measured, ctc_losses
from mms_adapt.errors import AdapterMismatchError, OptionError, SplitError
from mms_adapt.manifest import evenly
from mms_adapt.prepared import Prepared
from mms_adapt.scoring import Score
from mms_adapt.vocab import Vocab


class Trial:
    """Some minutes of the training or dev set, ready for any number of adapters.

    Args:
        prepared: The data.
        backbone: The backbone.
        split: "dev", or "train".
        minutes: At most so much, evenly taken.
        batch_seconds: Speech in a batch; how rates are rounded depends on it.
        cache: Folder for features; `.cache` in the prepared folder where not given.

    Raises:
        OptionError: If the part is neither of the two.
        SplitError: If it holds no word.
    """

    def __init__(
        self,
        prepared: Prepared | str | PathLike[str],
        backbone: Backbone,
        *,
        split: str = "dev",
        minutes: float = 10.0,
        batch_seconds: float = 32.0,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        if split not in ("train", "dev"):
            raise OptionError(f"split={split!r}: adapters are chosen on train or dev, never on test")
        self.data, self.backbone, self.split = Prepared.of(prepared), backbone, split
        self._batch_seconds = batch_seconds
        self._utterances = evenly(self.data.utterances(split), minutes)
        if not any((one.reference or "").strip() for one in self._utterances):
            raise SplitError(f"{self.data.folder}: the {split} set holds no word to measure on")
        folder = Path(cache) if cache else Path(self.data.folder) / ".cache"
        self._cache = FeatureCache(folder, backbone, {1.0})
        self._cache.fill(self._utterances, self.data.root)

    @property
    def utterance_count(self) -> int:
        """Utterances that are measured."""
        return len(self._utterances)

    def measure(self, adapter: AdapterFolder, *, allow_sibling: bool = False) -> Measured:
        """Put an adapter into the backbone and measure it as training measures the dev set.

        Raises:
            AdapterMismatchError: If it is of another backbone or language.
        """
        return self._with(adapter, allow_sibling).measure(self.backbone)

    def score(
        self, adapter: AdapterFolder, *, allow_sibling: bool = False, bootstrap: int = 1000, seed: int = 0
    ) -> tuple[Score, float]:
        """Measure an adapter as `measure` does; return rates with their intervals, and the loss a token.

        Raises:
            AdapterMismatchError: If it is of another backbone or language.
        """
        made = self._with(adapter, allow_sibling)
        return made.score(self.backbone, bootstrap=bootstrap, seed=seed)

    def hear(self, number: int) -> Tensor:
        """Put one utterance alone through the backbone as it is, to hidden states `(1, frames, hidden)`."""
        one = self._utterances[number]
        features = torch.from_numpy(np.array(self._cache.features(str(one.audio_sha256), 1.0)))
        with torch.no_grad():
            return self.backbone.encode(features[None], torch.tensor([len(features)]))

    @property
    def speech_s(self) -> float:
        """Speech that is heard."""
        return sum(one.duration_s for one in self._utterances)

    @property
    def utterances(self) -> int:
        """Utterances that are heard."""
        return len(self._utterances)

    def _with(self, adapter: AdapterFolder, allow_sibling: bool) -> DevSet:
        """Put an adapter into the backbone, and return what measures it."""
        if adapter.passport.target_lang != self.data.target_lang:
            raise AdapterMismatchError(
                f"{adapter.path}: it writes {adapter.passport.target_lang!r}, and {self.data.folder} holds "
                f"{self.data.target_lang!r}"
            )
        adapter.attach(self.backbone, allow_sibling=allow_sibling)
        return DevSet(
            self._utterances,
            adapter.vocab,
            normaliser=self.data.normaliser,
            target_lang=self.data.target_lang,
            features=self._cache.features,
            frames=self._cache.frames,
            batch_seconds=self._batch_seconds,
        )

    def nearness(self, adapter: AdapterFolder, *, allow_sibling: bool = False) -> float:
        """Return how badly another language's adapter hears this one: its CTC loss a token.

        References are read in the characters that both write; each of the others costs as much as one drawn
        by chance from the adapter's tokens, beside what its sound costs.

        Args:
            adapter: The adapter, of any language.
            allow_sibling: Go on where it is of a sibling of the backbone.

        Raises:
            AdapterMismatchError: If it is of another backbone.
        """
        adapter.attach(self.backbone, allow_sibling=allow_sibling)
        places = {token: place for place, token in enumerate(adapter.vocab.tokens)}
        examples, missing, tokens = [], 0, 0
        for one in self._utterances:
            written = [
                self.data.vocab.tokens[id]
                for id in self.data.vocab.encode(one.reference or "", unknown="unk")
            ]
            labels = tuple(places[token] for token in written if token in places)
            frames = self._cache.frames(str(one.audio_sha256), 1.0)
            if labels and frames >= Vocab.min_frames(labels):
                examples.append(Example(one.id, str(one.audio_sha256), labels, ((1.0, frames),)))
                missing, tokens = missing + len(written) - len(labels), tokens + len(written)
        if not examples:
            return math.inf
        batches = Batches(examples, self._cache.features, batch_seconds=self._batch_seconds)
        loss = missing * math.log(len(adapter.vocab))
        for plan in batches.in_order():
            batch = batches.load(plan)
            with torch.no_grad():
                hidden = self.backbone.encode(batch.features, batch.frame_counts)
                emissions = self.backbone.logits(hidden).log_softmax(dim=-1)
                losses = ctc_losses(
                    emissions, batch.frame_counts, batch.labels, batch.label_counts, adapter.vocab.blank_id
                )
            loss += float(losses.sum())
        return loss / tokens
