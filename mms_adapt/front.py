"""The frozen encoder before its layers: from audio to features, and what tells frames their place.

In: the stock modules, and audio or hidden states. Out: features and hidden states. It chooses what computes
them: `encoder` on a CPU in float32, `packed_convolutions` on a card in bfloat16 for what is only transcribed,
and the stock modules in float32 elsewhere, so also for features that a training keeps. It does not know
layers, adapters or training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mms_adapt.audio import FRAME_STRIDE, RECEPTIVE_FIELD, frame_count
from mms_adapt.encoder import Convolutions, PositionalConvolution, normalised
from mms_adapt.packed_convolutions import PackedConvolutions, PackedPositions


class Front:
    """What stands before the layers.

    Args:
        model: The stock model.
        device: Where it computes.
        dtype: Type of the large frozen matrices.
        level: Whether utterances are brought to mean zero and variance one.
        packs: Whether a card takes utterances behind each other.
    """

    def __init__(
        self, model: Any, device: torch.device, dtype: torch.dtype, *, level: bool, packs: bool
    ) -> None:
        self._extractor, self._stock = model.wav2vec2.feature_extractor, model.wav2vec2.encoder.pos_conv_embed
        self._device, self._level, self._width = device, level, int(model.config.conv_dim[-1])
        self._quick = device.type == "cpu" and dtype == torch.float32
        sizes = RECEPTIVE_FIELD, FRAME_STRIDE
        self._convolutions = Convolutions(self._extractor.conv_layers, *sizes)
        self._positions = PositionalConvolution(self._stock)
        self._on_card: tuple[PackedConvolutions, PackedPositions] | None = None
        if packs:
            convolutions = PackedConvolutions(self._extractor.conv_layers, *sizes, dtype)
            self._on_card = convolutions, PackedPositions(self._stock, dtype)

    def cnn(self, waveforms: Tensor, sample_counts: Tensor) -> Tensor:
        """Compute features in float32; see `Backbone.cnn`."""
        counts = [int(one) for one in sample_counts]
        return self._exact(
            [row[:count] for row, count in zip(waveforms.to(self._device), counts, strict=True)]
        )

    def _exact(self, rows: list[Tensor]) -> Tensor:
        """Return features of utterances that lie on the device, each `(samples,)`."""
        with torch.no_grad():
            if self._level:
                rows = [normalised(row) if len(row) else row for row in rows]
            if self._quick:
                frames = [frame_count(len(row)) for row in rows]
                features = torch.zeros(len(rows), max(frames), self._width)
                for place, row, count in zip(features, rows, frames, strict=True):
                    if count:
                        place[:count] = self._convolutions(row)
                return features
            padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            columns = self._extractor(padded)
            # `(batch, conv_dim, frames)` to `(batch, frames, conv_dim)`
            return torch.as_tensor(columns).transpose(1, 2).contiguous()

    def hear(self, waveforms: Sequence[NDArray[np.float32]]) -> tuple[Tensor, list[int]]:
        """Compute features of what is only transcribed; see `Backbone.hear`."""
        frames = [frame_count(len(one)) for one in waveforms]
        with torch.inference_mode():
            if self._on_card is None or not max(frames):
                rows = [torch.from_numpy(np.ascontiguousarray(one)) for one in waveforms]
                return self._exact([row.to(self._device, torch.float32) for row in rows]), frames
            flat, firsts = self._on_card[0](waveforms, self._device, level=self._level)
            places = torch.tensor(firsts)[:, None] + torch.arange(max(frames))
            places = places.clamp_(max=len(flat) - 1).view(-1).to(self._device, non_blocking=True)
            return flat.index_select(0, places).view(len(waveforms), max(frames), -1), frames

    def places(self, hidden: Tensor) -> Tensor:
        """Return what the positional convolution makes of hidden states `(batch, frames, hidden)`."""
        learnt = self._stock.conv.bias.requires_grad or hidden.requires_grad
        if self._on_card is not None and not learnt:
            return self._on_card[1](hidden)
        found: Tensor = self._positions(hidden) if self._quick and not learnt else self._stock(hidden)
        return found
