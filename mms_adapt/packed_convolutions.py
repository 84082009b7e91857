"""The frozen encoder's convolutions on a card, over utterances that lie behind each other.

In: stock modules with their weights, and audio or hidden states in a card's memory. Out: what the modules
give, to the rounding of bfloat16. It does not know models, adapters or training; `encoder` does the same on a
CPU.

Utterances begin at multiples of the stride of all convolutions together, so one product a convolution does
them all, and what a frame sees of the utterance behind its own is a frame that nobody asks for. A product
over frames that lie side by side needs no copy; where a kernel is longer than its stride it is two, since a
matrix whose rows overlap is none for cuBLAS. The positional convolution, 128 frames wide, is products over
every 128th frame, once for each place between two of them.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_PIECE_SAMPLES = 160 * 16_000  # of a batch, that go to the card at a time


class PackedConvolutions:
    """The convolutions from samples to frames, with layer norms between them.

    Args:
        layers: The stock module's layers.
        receptive_field: Samples that one frame sees.
        stride: Samples between frames.
        dtype: Type of products.
    """

    def __init__(self, layers: nn.ModuleList, receptive_field: int, stride: int, dtype: torch.dtype) -> None:
        self.receptive_field, self.stride, self._dtype = receptive_field, stride, dtype
        self._layers: list[Any] = list(layers)
        self._parts: list[tuple[Tensor, ...]] | None = None

    def _ready(self) -> list[tuple[Tensor, ...]]:
        """Return weight `(kernel * in, out)`, and bias, factors and shift in float32, of each layer."""
        if self._parts is None:
            parts = []
            with torch.inference_mode(False), torch.no_grad():
                for number, layer in enumerate(self._layers):
                    weight = layer.conv.weight.permute(2, 1, 0).reshape(-1, layer.conv.out_channels)
                    weight = weight.to(self._dtype if number else torch.float32).contiguous()
                    norm, bias = layer.layer_norm, layer.conv.bias
                    bias = torch.zeros_like(norm.bias) if bias is None else bias
                    parts.append((weight, *(one.detach().float() for one in (bias, norm.weight, norm.bias))))
            self._parts = parts
        return self._parts

    def __call__(
        self, waveforms: Sequence[NDArray[np.float32]], device: torch.device, *, level: bool
    ) -> tuple[Tensor, list[int]]:
        """Return the frames `(frames, conv_dim)` of all utterances, and where each begins.

        Args:
            waveforms: Audio at 16 kHz, each `(samples,)`.
            device: A card.
            level: Whether each is brought to mean zero and variance one.
        """
        found: list[Tensor] = []
        firsts: list[int] = []
        reached = 0
        for piece in _pieces(waveforms):
            frames, own = self._together(piece, device, level)
            firsts += [reached + one for one in own]
            found.append(frames)
            reached += len(frames)
        return (found[0] if len(found) == 1 else torch.cat(found)), firsts

    def _together(
        self, waveforms: Sequence[NDArray[np.float32]], device: torch.device, level: bool
    ) -> tuple[Tensor, list[int]]:
        """Return the same for utterances that go to the card in one transfer."""
        slots = [-(-max(len(one), 1) // self.stride) for one in waveforms]
        firsts = np.concatenate([[0], np.cumsum(slots)]).tolist()
        flat = torch.empty(firsts[-1] * self.stride + self.receptive_field, pin_memory=device.type == "cuda")
        written = flat.numpy()  # torch divides each copy among threads, which wait for each other
        for first, following, one in zip(firsts[:-1], firsts[1:], waveforms, strict=True):
            end = first * self.stride + len(one)
            written[first * self.stride : end] = one
            written[end : following * self.stride] = 0
        written[firsts[-1] * self.stride :] = 0
        samples = flat.to(device, non_blocking=True)
        kernels = _kernels()
        if level:
            places = torch.tensor([firsts[:-1], [len(one) for one in waveforms]])
            places[0] *= self.stride
            begins, counts = places.to(device)
            kernels.level(samples, begins, counts.clamp(min=1), max(1, *map(len, waveforms)))
        return self._frames(samples, kernels), firsts[:-1]

    def _frames(self, samples: Tensor, kernels: ModuleType) -> Tensor:
        hidden = samples
        for number, (layer, (weight, *rest)) in enumerate(zip(self._layers, self._ready(), strict=True)):
            stride, eps = layer.conv.stride[0], layer.layer_norm.eps
            if number:
                hidden = kernels.norm_gelu(product(hidden, weight, stride), *rest, eps)
            else:
                hidden = kernels.first(samples, weight, *rest, stride, eps, self._dtype)
        return hidden


def _pieces(waveforms: Sequence[NDArray[np.float32]]) -> Iterator[Sequence[NDArray[np.float32]]]:
    """Cut a batch, so that the card begins with some utterances while the next are laid side by side."""
    first = held = 0
    for number, one in enumerate(waveforms):
        held += len(one)
        if held >= _PIECE_SAMPLES:
            yield waveforms[first : number + 1]
            first, held = number + 1, 0
    if first < len(waveforms):
        yield waveforms[first:]


def product(hidden: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return a convolution over frames `(frames, in)` that lie side by side, without its bias.

    Args:
        hidden: The frames, contiguous.
        weight: `(kernel * in, out)`.
        stride: Frames between the places of the kernel.
    """
    width = hidden.shape[1]
    kernel = len(weight) // width
    height, near = (len(hidden) - kernel) // stride + 1, min(stride, kernel)
    rows = hidden.as_strided((height, near * width), (stride * width, 1))
    found = rows @ weight[: near * width]
    for start in range(near, kernel, stride):
        end = min(start + stride, kernel)
        offset = hidden.storage_offset() + start * width
        more = hidden.as_strided((height, (end - start) * width), (stride * width, 1), offset)
        found.addmm_(more, weight[start * width : end * width])
    return found


class PackedPositions:
    """The grouped convolution that tells frames their place.

    Args:
        module: The stock module, weight norm included.
        dtype: Type of products.
    """

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        self._conv, self._activation, self._dtype = module.conv, module.activation, dtype
        self._kernel, self._groups = int(module.conv.kernel_size[0]), int(module.conv.groups)
        self._matrices: tuple[Tensor, Tensor | None] | None = None

    def _ready(self) -> tuple[Tensor, Tensor | None]:
        """Return the kernel as matrices `(groups, kernel * in, out)`, and the bias `(groups * out,)`."""
        if self._matrices is None:
            with torch.inference_mode(False), torch.no_grad():
                weight = self._conv.weight  # `(groups * out, in, kernel)`
                split = weight.view(self._groups, -1, *weight.shape[1:]).permute(0, 3, 2, 1)
                bias = self._conv.bias
                self._matrices = (
                    split.reshape(self._groups, -1, split.shape[-1]).to(self._dtype).contiguous(),
                    None if bias is None else bias.detach().to(self._dtype),
                )
        return self._matrices

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return what is added to hidden states `(batch, frames, hidden)`, of the same shape."""
        batch, frames, size = hidden.shape
        matrices, bias = self._ready()
        kernel, groups, width = self._kernel, self._groups, size // self._groups
        left = kernel // 2
        apart = frames + left  # from one utterance to the next: zeros between them serve both
        blocks = -(-batch * apart // kernel)
        spaced = hidden.new_zeros(groups, (blocks + 1) * kernel, width, dtype=self._dtype)
        inside = spaced[:, left : left + batch * apart].view(groups, batch, apart, width)
        inside[:, :, :frames] = hidden.view(batch, frames, groups, width).permute(2, 0, 1, 3)
        found = spaced.new_empty(blocks * kernel, groups, width)
        for group in range(groups):
            # `(kernel, blocks, kernel * in)`: what every 128th frame sees, from each place between two on
            seen = spaced[group].as_strided(
                (kernel, blocks, kernel * width),
                (width, kernel * width, 1),
                spaced[group].storage_offset(),
            )
            into = found.as_strided((kernel, blocks, width), (size, kernel * size, 1), group * width)
            torch.bmm(seen, matrices[group].expand(kernel, -1, -1), out=into)
        flat = found.view(-1, size)[: batch * apart].view(batch, apart, size)[:, :frames]
        activated: Tensor = self._activation(flat if bias is None else flat + bias)
        return activated


def _kernels() -> ModuleType:
    from mms_adapt import conv_kernels

    return conv_kernels
