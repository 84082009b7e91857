"""The backbone's forward pass written for the speed of a GPU, over the weights of the stock model.

In: waveforms. Out: hidden states and logits, equal to `Wav2Vec2ForCTC`'s (a test keeps that). The
convolutions are matrix products over views, and everything between keeps the precision of its input.

It does not know: data, losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from .augment import LAG_COUNT, MEL_COUNT


def configuration(vocab_count: int, **changes: object) -> Wav2Vec2Config:
    """Return the shape of the embedded backbone: MMS's architecture at 11 million parameters.

    Args:
        vocab_count: Tokens of the character head.
        changes: Other values, for tests.
    """
    options: dict[str, object] = {
        "vocab_size": vocab_count,
        "hidden_size": 256,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "conv_dim": (128, 128, 192, 256, 256, 256, 256),
        "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2, 2, 2),
        "conv_bias": True,
        "feat_extract_norm": "layer",
        "feat_extract_activation": "gelu",
        "do_stable_layer_norm": True,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        "adapter_attn_dim": 16,
        "add_adapter": False,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
        "ctc_loss_reduction": "mean",
        "layerdrop": 0.0,
        "mask_time_prob": 0.05,
        "mask_feature_prob": 0.0,
    }
    return Wav2Vec2Config(**{**options, **changes})


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one pass gives.

    Attributes:
        first: Output of the convolutions, `(batch, frames, conv_dim)`.
        middle: Hidden state of the middle layer, `(batch, frames, hidden)`.
        last: Hidden state behind the last norm, `(batch, frames, hidden)`.
    """

    first: Tensor
    middle: Tensor
    last: Tensor


class _Halve(torch.autograd.Function):
    """A convolution of stride 2 and kernel 2 or 3 over the rows of a matrix, as products without copies.

    Frames two by two are one row of twice the width, so the first two taps are one product over a view, and
    the third is another over the left half of the rows below.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return `(rows / 2, out)` of `(rows, channels)`; the last row's third tap reads zero."""
        channels = x.shape[1]
        pairs = x.view(-1, 2 * channels)
        taps = weight.to(x.dtype).permute(2, 1, 0)  # `(kernel, channels, out)`
        two = taps[:2].reshape(2 * channels, -1)
        y = torch.addmm(bias.to(x.dtype), pairs, two)
        if len(taps) == 3:
            y[:-1].addmm_(pairs[1:, :channels], taps[2])
        ctx.save_for_backward(x, taps)
        ctx.kept = weight.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of input, weight and bias."""
        (dy,) = gradients
        x, taps = ctx.saved_tensors
        channels = x.shape[1]
        pairs = x.view(-1, 2 * channels)
        two = taps[:2].reshape(2 * channels, -1)
        dx = dy @ two.T
        dtaps = [(pairs.T @ dy).view(2, channels, -1)]
        if len(taps) == 3:
            dx[1:, :channels].addmm_(dy[:-1], taps[2].T)
            dtaps.append((pairs[1:, :channels].T @ dy[:-1])[None])
        dbias = dy.new_ones(1, len(dy)) @ dy  # much quicker than a sum over so many rows
        dweight = torch.cat(dtaps).permute(2, 1, 0)
        return dx.view(x.shape), dweight.to(ctx.kept), dbias[0].to(ctx.kept)


def _first_convolution(waves: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `(samples / 5, out)` of a kernel of 10 at stride 5, the bias as a further tap on ones."""
    fives = waves.view(-1, 5)
    below = F.pad(fives[1:], (0, 0, 0, 1))
    ones = F.pad(fives.new_ones(len(fives), 1), (0, 5))
    slices = torch.cat([fives, below, ones], 1)  # `(samples / 5, 16)`
    return F.linear(slices, F.pad(torch.cat([weight[:, 0], bias[:, None]], 1), (0, 5)))


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the layer norm in the precision of `x`; autocast would make it float32, twice the bytes."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, x.shape[-1:], weight.to(x.dtype), bias.to(x.dtype))


def _convolutions(waves: Tensor, parameters: list[list[Tensor]]) -> Tensor:
    """Return `(batch, samples / 320, channels)` of waveforms `(batch, samples)`.

    All rows are one long sound: with a multiple of 320 samples in each, the frames of all strides fall on the
    same places in every row, and only the last frame of a row reads the next row's samples.
    """
    x = waves.reshape(-1)
    for number, (weight, bias, norm_weight, norm_bias) in enumerate(parameters):
        x = _Halve.apply(x, weight, bias) if number else _first_convolution(x, weight, bias)
        x = F.gelu(_norm(x, norm_weight, norm_bias))
    return x.view(len(waves), waves.shape[1] // 320, -1)


def _layer(x: Tensor, blocked: Tensor, heads: int, dropout: float, p: list[Tensor]) -> Tensor:
    """Return one transformer layer's output of the residual stream `(batch, frames, hidden)`.

    Args:
        x: Residual stream.
        blocked: Added to attention scores, `(batch, 1, 1, frames)`: 0 or minus infinity.
        heads: Attention heads.
        dropout: Its probability; 0 outside training.
        p: Norm, query, key, value, output, norm, two linear maps: a weight and a bias each.
    """
    batch, frames, hidden = x.shape
    a = _norm(x, p[0], p[1])
    qkv = F.linear(a, torch.cat([p[2], p[4], p[6]]), torch.cat([p[3], p[5], p[7]]))
    q, k, v = qkv.view(batch, frames, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
    mask = blocked.to(q.dtype).expand(batch, heads, frames, frames)
    a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    a = F.linear(a.transpose(1, 2).reshape(batch, frames, hidden), p[8], p[9])
    x = x + F.dropout(a, dropout)
    f = _norm(x, p[10], p[11])
    f = F.dropout(F.gelu(F.linear(f, p[12], p[13])), dropout)
    return x + F.dropout(F.linear(f, p[14], p[15]), dropout)


def _place(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Return GELU of a grouped convolution over time of `(batch, frames, hidden)`, of the same length.

    Blocks of 32 frames are multiplied with the kernel laid out as a band matrix: on a GPU a grouped
    convolution with a long kernel and few channels takes many times as long.
    """
    batch, frames, hidden = x.shape
    width, kernel, block = hidden // groups, weight.shape[2], 32
    reach = block + kernel - 1
    blocks = -(-frames // block)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    padded = F.pad(x, (0, 0, kernel // 2, blocks * block - frames + kernel - 1 - kernel // 2))
    slices = padded.unfold(1, reach, block).view(batch, blocks, groups, width, reach)
    slices = slices.permute(2, 0, 1, 4, 3).reshape(groups, batch * blocks, reach * width)
    # row r of the band holds the kernel r places further on: a row of reach + 1, read in steps of reach
    row = F.pad(weight.to(x.dtype), (0, reach + 1 - kernel))  # `(hidden, width, reach + 1)`
    band = row.repeat(1, 1, block)[..., : block * reach].view(groups, width, width, block, reach)
    band = band.permute(0, 4, 2, 3, 1).reshape(groups, reach * width, block * width)
    out = torch.bmm(slices, band).view(groups, batch, blocks * block, width)
    out = out.permute(1, 2, 0, 3).reshape(batch, blocks * block, hidden)[:, :frames]
    return F.gelu(out + bias.to(out.dtype))


def _adapt(x: Tensor, p: list[Tensor]) -> Tensor:
    """Return the residual stream with what an adapter adds: norm, down, up."""
    a = _norm(x, p[0], p[1])
    return x + F.linear(F.relu(F.linear(a, p[2], p[3])), p[4], p[5])


def _pair(module: nn.Module) -> list[Tensor]:
    return [module.weight, module.bias]  # type: ignore[list-item]


class Pretraining(nn.Module):
    """The stock model with the heads that pre-training needs beside its own."""

    def __init__(self, config: Wav2Vec2Config, phone_count: int, *, middle: int = 8) -> None:
        super().__init__()
        self.stock = Wav2Vec2ForCTC(config)
        self.middle = middle
        hidden = config.hidden_size
        self.first_head = nn.Linear(config.conv_dim[-1], MEL_COUNT + LAG_COUNT)
        self.middle_norm = nn.LayerNorm(hidden)
        self.middle_head = nn.Linear(hidden, phone_count)
        self.phone_head = nn.Linear(hidden, phone_count)
        for layer in self.stock.wav2vec2.encoder.layers:  # an adapter at rest adds nothing
            nn.init.zeros_(layer.adapter_layer.linear_2.weight)
            nn.init.zeros_(layer.adapter_layer.linear_2.bias)

    def convolve(self, waves: Tensor) -> Tensor:
        """Return the output of the convolutions, `(batch, frames, conv_dim)`."""
        layers = self.stock.wav2vec2.feature_extractor.conv_layers
        parameters = [[*_pair(one.conv), *_pair(one.layer_norm)] for one in layers]
        return _convolutions(waves, parameters)

    def forward(
        self,
        waves: Tensor,
        counts: Tensor,
        *,
        masked: Tensor | None = None,
        dropout: float = 0.0,
        adapted: bool = False,
    ) -> Outputs:
        """Return hidden states.

        Args:
            waves: Normalised waveforms, `(batch, samples)`, a multiple of 320 that leaves each row a frame of
                padding.
            counts: Frames of each, `(batch,)`.
            masked: Frames to be hidden, `(batch, frames)`.
            dropout: Its probability.
            adapted: Let the adapters work.
        """
        first = self.convolve(waves)
        return Outputs(first, *self.encode(first, counts, masked=masked, dropout=dropout, adapted=adapted))

    def encode(
        self, first: Tensor, counts: Tensor, *, masked: Tensor | None, dropout: float, adapted: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the middle and the last hidden state, `(batch, frames, hidden)` each."""
        inner = self.stock.wav2vec2
        projection, encoder = inner.feature_projection, inner.encoder
        x = projection.projection(_norm(first, *_pair(projection.layer_norm)))
        x = F.dropout(x, dropout)
        if masked is not None:
            x = torch.where(masked[..., None], inner.masked_spec_embed.to(x.dtype), x)
        real = torch.arange(x.shape[1], device=x.device) < counts[:, None]
        x = x * real[..., None]
        x = F.dropout(x + self._position(x), dropout)
        blocked = torch.zeros(real.shape, device=x.device).masked_fill(~real, -torch.inf)[:, None, None]
        middle = x
        for number, layer in enumerate(encoder.layers):
            attention, feed = layer.attention, layer.feed_forward
            parts = (
                layer.layer_norm,
                attention.q_proj,
                attention.k_proj,
                attention.v_proj,
                attention.out_proj,
            )
            parts += (layer.final_layer_norm, feed.intermediate_dense, feed.output_dense)
            p = [tensor for part in parts for tensor in _pair(part)]
            x = _layer(x, blocked, self.stock.config.num_attention_heads, dropout, p)
            if adapted:
                adapter = layer.adapter_layer
                x = _adapt(x, [*_pair(adapter.norm), *_pair(adapter.linear_1), *_pair(adapter.linear_2)])
            if number + 1 == self.middle:
                middle = x
        return middle, _norm(x, *_pair(encoder.layer_norm))

    def _position(self, x: Tensor) -> Tensor:
        """Return the convolutional position embedding of `(batch, frames, hidden)`."""
        convolution = self.stock.wav2vec2.encoder.pos_conv_embed.conv
        return _place(x, convolution.weight, convolution.bias, convolution.groups)
