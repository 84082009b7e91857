"""The pre-trained model: loaded, checked, frozen, and asked for features, hidden states and logits.

In: a name, then audio. Out: a `Backbone`. It does not know transformers' classes, languages, adapters' files
or training.

Frozen means frozen: nothing of it requires a gradient, the convolutions are never in a graph, and since a
graph begins at the lowest trained adapter, what lies below it keeps nothing for a backward pass.

On a GPU with bfloat16 the large frozen matrices are bfloat16 and the encoder runs under autocast; adapters
that are trained, head and logits stay float32, and so do the convolutions where their frames are kept for a
training. On a CPU everything is float32. float16 is never computed with.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mms_adapt import encoder_layer, layers, pretrained, quantise, rowwise, stock
from mms_adapt.device import choose_device
from mms_adapt.errors import BackboneError
from mms_adapt.front import Front
from mms_adapt.layers import FrozenLayer, again
from mms_adapt.masks import Masks, means, real, seen
from mms_adapt.packed import Narrow, Packing
from mms_adapt.pretrained import Pretrained
from mms_adapt.recorded import Player

if TYPE_CHECKING:
    from mms_adapt.encoder_layer import Adapt
    from mms_adapt.vocab import Vocab


@dataclass(frozen=True)
class Start:
    """Weights of an adapter and a head that a backbone brings along.

    Attributes:
        tensors: By name, as in `adapter.<target_lang>.safetensors`.
        vocab: The tokens of the head's rows; None where they are not known.
    """

    tensors: dict[str, Tensor]
    vocab: "Vocab | None"


class Backbone:
    """A frozen model, into which one adapter at a time is put.

    Attributes:
        name: What the user called it.
        source: Its files.
        fingerprint: Hash of its frozen weights as they are stored.
        licence: The licence of its weights, where it is known.
        model: The stock model.
        device: Where it computes.
        dtype: Type of the large frozen matrices.
        hidden_size: Channels of the encoder.
        layer_count: Layers of the encoder.
        conv_dim: Channels of the features.
        adapter_size: Channels inside an adapter of MMS's kind.
        checkpointing: Whether layers keep their input alone for the backward pass, and compute the rest anew:
            much less memory, a third more arithmetic.
        packing: Whether layers take real frames alone, where they can; on a GPU in bfloat16.
        player: Records packed layers and plays them again, for one thread; None where nothing is recorded.
    """

    def __init__(self, source: Pretrained, model: Any, fingerprint: str, device: torch.device) -> None:
        self.name, self.source, self.fingerprint = source.name, source, fingerprint
        self.licence, self.model, self.device = source.licence, model, device
        config = model.config
        self.hidden_size, self.layer_count = int(config.hidden_size), int(config.num_hidden_layers)
        self.conv_dim, self.adapter_size = int(config.conv_dim[-1]), int(config.adapter_attn_dim)
        self._encoder = model.wav2vec2.encoder
        self.dtype: torch.dtype = self._encoder.layers[0].attention.q_proj.weight.dtype
        self._as_loaded = [(module, dict(module._modules)) for module in model.modules()]
        self.checkpointing = False
        self.packing = device.type == "cuda" and self.dtype == torch.bfloat16 and rowwise.quick()
        self._front = Front(model, device, self.dtype, level=source.do_normalize, packs=self.packing)
        self._frozen: list[FrozenLayer | None] = [FrozenLayer(layer) for layer in self._encoder.layers]
        self._compute: layers.Core = layers.compute
        self.player: Player | None = None

    def compile(self) -> None:
        """Compile the layers, each as a whole, instead of packing; the first steps take longer."""
        self.packing = False
        self._compute = layers.compiled()

    def quantise(self, how: str) -> None:
        """Multiply the encoder's large matrices in 8 bits, for good; to be asked before adapters are put in.

        Args:
            how: "none"; "int8", on a CPU; or "fp8", on a card that has 8-bit floats, where the layers' inner
                places have no adapters.

        Raises:
            OptionError: If the model is not on such a device, or still learns.
        """
        if how == "none":
            return
        if how == "fp8":
            layers.to_float8(self._frozen if self.packing else [None], self.device)
            return
        quantise.encoder(self.model)
        self._frozen = [None] * self.layer_count  # they hold the matrices
        self._as_loaded = [(module, dict(module._modules)) for module in self.model.modules()]

    def bare(self) -> None:
        """Take out whatever was put in since loading; adapters and head are those of the checkpoint again."""
        self.player = None
        for module, children in self._as_loaded:
            module._modules.clear()
            module._modules.update(children)

    def strip(self) -> None:
        """Take out every adapter, the checkpoint's own too, so that each call brings those of its rows."""
        self.bare()
        for layer in self._encoder.layers:
            layer.adapter_layer = None

    def put_head(self, vocab_size: int) -> None:
        """Put in a new head of zeros for so many tokens; it is to be filled."""
        head = nn.Linear(self.hidden_size, vocab_size, device=self.device, dtype=torch.float32)
        for parameter in head.parameters():
            nn.init.zeros_(parameter).requires_grad_(False)
        self.model.lm_head = head
        self.model.config.vocab_size = vocab_size

    def start(self, target_lang: str | None = None) -> Start:
        """Return the weights of the adapter that the checkpoint holds, or of a language beside it.

        Args:
            target_lang: The language; what `model.safetensors` itself holds where not given.

        Raises:
            BackboneError: If there is none.
        """
        if target_lang is not None:
            return Start(self.source.adapter(target_lang), self.source.vocab(target_lang))
        found = {name: one for name, one in self.source.tensors() if pretrained.is_owned(name)}
        if not any(".adapter_layer." in name for name in found):
            raise BackboneError(f"backbone {self.name}: its checkpoint holds no adapter; start with zero")
        return Start(found, self.source.vocab())

    def own_vocab(self) -> "Vocab | None":
        """Return the tokens of the checkpoint's own head; None where they are not known."""
        return self.source.vocab()

    def _here(self) -> AbstractContextManager[Any]:
        """Make its card the current one, where kernels are started; every thread has one of its own."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the encoder computes."""
        if self.dtype == torch.bfloat16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def cnn(self, waveforms: Tensor, sample_counts: Tensor) -> Tensor:
        """Compute what the convolutions make of audio; no gradient passes.

        Args:
            waveforms: Audio at 16 kHz, padded behind, `(batch, samples)`.
            sample_counts: Real samples of each row, `(batch,)`.

        Returns:
            Features `(batch, frames, conv_dim)`; those behind a row's frame count mean nothing.
        """
        return self._front.cnn(waveforms, sample_counts)

    def hear(self, waveforms: Sequence[NDArray[np.float32]]) -> tuple[Tensor, list[int]]:
        """Compute what the convolutions make of audio that is to be transcribed, on a card in bfloat16.

        Args:
            waveforms: Audio at 16 kHz, each `(samples,)`.

        Returns:
            Features `(batch, frames, conv_dim)` and the frame count of each row.
        """
        with self._here():
            return self._front.hear(waveforms)

    def encode(
        self,
        features: Tensor,
        frame_counts: Tensor,
        *,
        masks: Masks | None = None,
        below: int | None = None,
        adapt: "Adapt | None" = None,
    ) -> Tensor:
        """Compute the encoder's hidden states. What stands behind a row's frame count has no effect.

        Args:
            features: What `cnn` gave, `(batch, frames, conv_dim)`; or, with `below`, what `prefix` gave,
                `(batch, frames, hidden)`.
            frame_counts: Real frames of each row, `(batch,)`; on the CPU, no copy has to be waited for.
            masks: What SpecAugment hides: of the projected features, or of the hidden states that were given,
                where a hidden frame becomes the mean of its row's.
            below: The layer at which to begin; None to begin with features.
            adapt: What changes the layers for the rows of this call, in a backbone without adapters.

        Returns:
            Hidden states `(batch, frames, hidden)`; those behind a row's frame count mean nothing.
        """
        with self._here(), self.autocast():
            if below is None:
                hidden = self._embedded(features, frame_counts, masks)
            else:
                hidden = features.to(self.device, self.dtype, non_blocking=True)
                hidden = hidden if masks is None else masks.hide(hidden, means(hidden, frame_counts))
            if adapt is None:
                hidden = self._through(hidden, frame_counts, below or 0, self.layer_count)
            else:
                hidden = self._adapted(hidden, frame_counts, adapt)
            return torch.as_tensor(self._encoder.layer_norm(hidden))

    def prefix(self, features: Tensor, frame_counts: Tensor, below: int) -> Tensor:
        """Compute the hidden states `(batch, frames, hidden)` that layer `below` gets; no gradient passes.

        Args:
            features: What `cnn` gave, `(batch, frames, conv_dim)`.
            frame_counts: Real frames of each row, `(batch,)`.
            below: How many layers they have passed.
        """
        with torch.no_grad(), self._here(), self.autocast():
            hidden = self._embedded(features, frame_counts, None)
            return self._through(hidden, frame_counts, 0, below)

    def _embedded(self, features: Tensor, frame_counts: Tensor, masks: Masks | None) -> Tensor:
        """Project features, hide what SpecAugment hides, and tell frames their place."""
        features = features.to(self.device, torch.float32, non_blocking=True)
        frames = features.shape[1]
        hidden: Tensor = self.model.wav2vec2.feature_projection(features)[0]
        if masks is not None:
            vector = getattr(self.model.wav2vec2, "masked_spec_embed", None)
            hidden = masks.hide(hidden, torch.zeros_like(hidden[0, 0]) if vector is None else vector)
        if int(frame_counts.min()) < frames:
            hidden = hidden.masked_fill(~real(frame_counts, frames, self.device)[..., None], 0)
        return hidden + self._front.places(hidden)

    def _adapted(self, hidden: Tensor, frame_counts: Tensor, adapt: "Adapt") -> Tensor:
        """Pass hidden states `(batch, frames, hidden)` through layers without adapters of their own."""
        whole = self._packable(frame_counts, 0, self.layer_count)
        narrow = adapt.narrow(self.layer_count) if whole else None
        if narrow is not None:
            return self._packed(hidden.to(self.dtype), frame_counts, whole, *narrow)
        attention = seen(frame_counts, hidden.shape[1], self.device, self.dtype)
        for number, layer in enumerate(self._encoder.layers):
            hidden = encoder_layer.run(layer, number, hidden, attention, adapt)
        return hidden

    def _packable(self, frame_counts: Tensor, first: int, last: int) -> list[FrozenLayer]:
        """Return these layers where all of them can be packed, else none."""
        if not self.packing or not int(frame_counts.max()):
            return []
        found = [one for one in self._frozen[first:last] if one is not None and one.packs()]
        return found if len(found) == last - first else []

    def _through(self, hidden: Tensor, frame_counts: Tensor, first: int, last: int) -> Tensor:
        """Pass hidden states `(batch, frames, hidden)` through layers."""
        hidden = hidden.to(self.dtype)
        if whole := self._packable(frame_counts, first, last):
            return self._packed(hidden, frame_counts, whole, *layers.folded(whole))
        attention = seen(frame_counts, hidden.shape[1], self.device, self.dtype)
        for layer, frozen in list(zip(self._encoder.layers, self._frozen, strict=True))[first:last]:
            keep = not (self.checkpointing and torch.is_grad_enabled())
            if frozen is not None and frozen.serves():
                with torch.autocast(self.device.type, enabled=False):
                    rest = hidden, attention, self._compute
                    hidden = frozen(*rest) if keep else again(frozen, *rest)
            else:
                hidden = layer(hidden, attention_mask=attention) if keep else again(layer, hidden, attention)
        return hidden

    def _packed(
        self,
        hidden: Tensor,
        frame_counts: Tensor,
        frozen: Sequence[FrozenLayer],
        adapters: Sequence[Narrow | None],
        groups: Sequence[int] | None,
    ) -> Tensor:
        """Pass hidden states `(batch, frames, hidden)` through layers without their padding.

        Args:
            hidden: Hidden states.
            frame_counts: Real frames of each row.
            frozen: The layers.
            adapters: What each of them has.
            groups: The adapter of each row, where they differ.
        """
        packing = Packing(frame_counts, hidden.shape[1], self.device, groups)
        keep = not (self.checkpointing and torch.is_grad_enabled())
        flat = packing.pack(hidden)
        with torch.autocast(self.device.type, enabled=False):
            played = None
            if keep and groups is None and self.player is not None:
                played = self.player.play(frozen, flat, packing, adapters)
            if played is not None:
                return packing.unpack(played)
            for one, adapter in zip(frozen, adapters, strict=True):
                flat = (
                    one.packed(flat, packing, adapter) if keep else again(one.packed, flat, packing, adapter)
                )
            return packing.unpack(flat)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits `(batch, frames, vocab)` of hidden states `(batch, frames, hidden)`, in float32."""
        head = self.model.lm_head
        return nn.functional.linear(hidden.float(), head.weight, head.bias)


def load(name: str | PathLike[str], *, device: str = "auto", dtype: torch.dtype | None = None) -> Backbone:
    """Load a model and freeze it.

    Args:
        name: "embedded", a folder, or a name on the hub such as facebook/mms-1b-all.
        device: "auto", "cpu", "cuda" or "cuda:1".
        dtype: Type of the large frozen matrices; where not given, float32 on a CPU, bfloat16 on a GPU.

    Raises:
        BackboneError: If it is not there, not whole, or of another architecture.
        OptionError: If this machine has no such device.
    """
    source = pretrained.find(name)
    where = choose_device(device)
    if dtype is None:
        half = where.type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = torch.bfloat16 if half else torch.float32
    if where.type == "cuda" and where.index is not None:
        torch.cuda.set_device(where)  # kernels are started on the current card
    tensors = dict(source.tensors())
    fingerprint = pretrained.fingerprint(tensors.items())
    model = stock.build(source, tensors, dtype).to(where)
    return Backbone(source, model, fingerprint, where)
