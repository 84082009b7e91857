"""The arithmetic of the frozen encoder's two convolutional parts, where torch's own is slow on a CPU.

In: stock modules with their weights, and audio or hidden states. Out: what the modules themselves give, to a
few times 1e-6. It does not know models, adapters or training, and serves frozen weights in float32 on a CPU
alone; elsewhere the stock modules are used.

A convolution over frames that lie side by side in memory is a matrix product with a strided view, without a
copy; and the positional convolution, whose kernel is 128 frames wide, takes a fifth of the time in the
frequency domain.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_FRAMES = 150  # the convolutions take so many frames at a time, which stay in the cache of a core


def normalised(samples: Tensor) -> Tensor:
    """Return one utterance with mean zero and variance one, as the stock feature extractor does.

    Args:
        samples: Its real samples alone, `(samples,)`.
    """
    samples = samples.float()
    return (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)


class Convolutions:
    """The seven convolutions from samples to frames, with layer norms between them.

    Args:
        layers: The stock module's layers.
        receptive_field: Samples that one frame sees.
        stride: Samples between frames.
    """

    def __init__(self, layers: nn.ModuleList, receptive_field: int, stride: int) -> None:
        self.receptive_field, self.stride = receptive_field, stride
        self._layers: list[Any] = list(layers)
        # `(out, in, kernel)` to `(kernel * in, out)`
        self._weights = [
            layer.conv.weight.detach().permute(2, 1, 0).reshape(-1, layer.conv.out_channels).contiguous()
            for layer in self._layers
        ]

    def __call__(self, samples: Tensor) -> Tensor:
        """Return the frames of one utterance, `(frames, conv_dim)`, from `(samples,)`."""
        return torch.cat([self._block(one) for one in self._blocks(samples)])

    def _blocks(self, samples: Tensor) -> Iterator[Tensor]:
        """Cut into blocks that overlap by what a frame sees beside its stride."""
        frames = (len(samples) - self.receptive_field) // self.stride + 1
        for first in range(0, frames, BLOCK_FRAMES):
            last = min(first + BLOCK_FRAMES, frames) - 1
            yield samples[first * self.stride : last * self.stride + self.receptive_field]

    def _block(self, samples: Tensor) -> Tensor:
        hidden = samples.contiguous()[:, None]  # `(samples, 1)`
        for layer, weight in zip(self._layers, self._weights, strict=True):
            kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
            width, height = hidden.shape[1], (hidden.shape[0] - kernel) // stride + 1
            # the first `stride` frames of every kernel are whole rows; the rest begin where the next row does
            near = stride if width > 1 else kernel
            rows = hidden.as_strided((height, near * width), (stride * width, 1))
            found = rows @ weight[: near * width]
            if kernel > near:
                offset = hidden.storage_offset() + near * width
                rest = hidden.as_strided((height, (kernel - near) * width), (stride * width, 1), offset)
                found.addmm_(rest, weight[near * width :])
            if layer.conv.bias is not None:
                found += layer.conv.bias
            hidden = layer.activation(layer.layer_norm(found))
        return hidden


class PositionalConvolution:
    """The grouped convolution that tells frames their place, by overlapping blocks of Fourier transforms.

    Args:
        module: The stock module, weight norm included.
    """

    def __init__(self, module: Any) -> None:
        self._conv, self._activation = module.conv, module.activation
        self._kernel = int(module.conv.kernel_size[0])
        self._length = 3 * self._kernel
        self._hop = self._length - self._kernel + 1
        self._spectrum: Tensor | None = None

    def _weights(self) -> Tensor:
        """Return the kernel's spectrum, `(frequencies, groups, in, out)`."""
        if self._spectrum is None:
            with torch.inference_mode(False), torch.no_grad():
                weight = self._conv.weight  # `(groups * out, in, kernel)`
                spectrum = torch.fft.rfft(weight, n=self._length).conj()
                split = spectrum.view(self._conv.groups, -1, weight.shape[1], spectrum.shape[-1])
                self._spectrum = split.permute(3, 0, 2, 1).contiguous()
        return self._spectrum

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return what is added to hidden states `(batch, frames, hidden)`, of the same shape."""
        batch, frames, size = hidden.shape
        weights = self._weights()
        groups = weights.shape[1]
        blocks = -(-frames // self._hop)
        left = self._kernel // 2
        right = (blocks - 1) * self._hop + self._length - frames - left
        padded = functional.pad(hidden, (0, 0, left, right))
        # `(batch, blocks, length, hidden)`
        cut = padded.as_strided(
            (batch, blocks, self._length, size),
            (padded.stride(0), self._hop * size, size, 1),
        )
        spectrum = torch.fft.rfft(cut, dim=2)
        count = spectrum.shape[2]
        # `(batch, blocks, frequencies, groups * in)` to `(frequencies, groups, batch * blocks, in)`
        split = spectrum.view(batch * blocks, count, groups, -1).permute(1, 2, 0, 3)
        product = torch.matmul(split, weights)
        # and back to `(batch, blocks, frequencies, hidden)`
        joined = product.permute(2, 0, 1, 3).reshape(batch, blocks, count, size)
        found = torch.fft.irfft(joined, n=self._length, dim=2)[:, :, : self._hop]
        found = found.reshape(batch, blocks * self._hop, size)[:, :frames]
        if self._conv.bias is not None:
            found = found + self._conv.bias
        activated: Tensor = self._activation(found)
        return activated
