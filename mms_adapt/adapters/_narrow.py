"""What the kinds with a narrow middle compute: norm, down to few channels, ReLU, up again.

In: the tensors of such layers. Out: the same as few matrices, the norm's factors in the way down and the way
up's bias in a channel of its own; and what rows of a batch get from matrices of their own. It does not know
where in a layer they stand.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from mms_adapt import packed
from mms_adapt.tensor_file import Views

PARTS = ("norm.weight", "norm.bias", "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias")
_HERE = "cpu"
Folded = tuple[Tensor, Tensor, Tensor]
Part = Tensor | Sequence[Tensor]  # of all layers: `(layers, ...)`, or one of each


def shapes(hidden_size: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every part."""
    wide, narrow = hidden_size, width
    sizes = [(wide,), (wide,), (narrow, wide), (narrow,), (wide, narrow), (wide,)]
    return dict(zip(PARTS, sizes, strict=True))


def parted(tensors: Mapping[str, Tensor], names: Sequence[Sequence[str]]) -> list[Part]:
    """Return each part of all layers; names are those of each layer, in the order of `PARTS`."""
    if isinstance(tensors, Views) and tensors.whole.device.type != _HERE:
        together = tensors.together(names)
        if together is not None:
            return list(together)
    return [[tensors[name].float() for name in same] for same in zip(*names, strict=True)]


def beside(part: Part) -> Tensor:
    """Return a part of all layers as `(layers, ...)`."""
    return part if isinstance(part, Tensor) else torch.stack(list(part))


def folded(parts: Sequence[Part]) -> Folded:
    """Return what the six parts, in the order of `PARTS`, compute in each layer, as three matrices.

    Args:
        parts: Those of all layers, on any device; the result is there, too.

    Returns:
        Down `(layers, width + 8, hidden)`, its bias `(layers, 1, width + 8)`, and up with its bias
        `(layers, width + 8, hidden)`; what is added to the width is zero but for one channel, which is
        always 1, and whose row of the way up is the bias: one product less in every layer.
    """
    if parts[2][0].device.type == _HERE:
        return _folded_here(parts)
    inward, inner, outward = packed.folded([beside(one) for one in parts])
    return inward, inner[:, None], outward


def _folded_here(parts: Sequence[Part]) -> Folded:
    """Return the same in main memory, every number written once, to where it stays.

    numpy writes them: torch would divide such work among threads, which wait for each other where a processor
    is busy, and a processor is: opening an adapter means hashing it.
    """
    layers = list(zip(*parts, strict=True))
    count, (width, hidden) = len(layers), layers[0][2].shape
    inward, outward = (np.empty((count, width + packed.ROOM, hidden), np.float32) for _ in range(2))
    inner = torch.zeros(count, 1, width + packed.ROOM)
    for into, bias, out, held in zip(inward, inner[:, 0, :width].unbind(), outward, layers, strict=True):
        torch.addmv(held[3], held[2], held[1], out=bias)
        gain, _, down, _, up, up_bias = (one.numpy() for one in held)
        np.multiply(down, gain, out=into[:width])
        into[width:] = 0.0
        out[:width], out[width], out[width + 1 :] = up.T, up_bias, 0.0
    inner[:, 0, width] = 1.0
    return torch.from_numpy(inward), inner, torch.from_numpy(outward)


def mixed(parts: Sequence[tuple[float, Folded]]) -> Folded:
    """Return the weighted sum of what several give, as one with their channels side by side."""
    downs, biases, ups = zip(*(one for _, one in parts), strict=True)
    scaled = [up * factor for (factor, _), up in zip(parts, ups, strict=True)]
    return torch.cat(downs, dim=1), torch.cat(biases, dim=2), torch.cat(scaled, dim=1)


def stacked(tensors: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Put tensors of several adapters side by side, `(adapters, layers, ...)`; one alone is not copied."""
    return tuple(torch.stack(same) if len(same) > 1 else same[0][None] for same in zip(*tensors, strict=True))


def gave(source: Tensor, found: Tensor, tensors: Sequence[Tensor], which: Tensor) -> Tensor:
    """Return `found` with what every row's own matrices make of `source`, both `(batch, frames, hidden)`.

    Args:
        source: What is read.
        found: What the result is added to.
        tensors: Down, bias and up of one layer, `(adapters, ...)`.
        which: The adapter of every row, int64 `(batch,)`.
    """
    down, bias, up = (one.index_select(0, which) for one in tensors)
    with torch.autocast(found.device.type, enabled=False):
        source, found = source.to(down.dtype), found.to(down.dtype)
        normed = layer_norm(source, source.shape[-1:])
        narrow = torch.baddbmm(bias, normed, down.transpose(1, 2)).relu_()  # `(batch, frames, width + 8)`
        return torch.baddbmm(found, narrow, up)
