"""What the kinds with a narrow middle compute: norm, down to few channels, ReLU, up again.

In: the tensors of such layers. Out: the same as few matrices, the norm's factors in the way down and the way
up's bias in a channel of its own; and what rows of a batch get from matrices of their own. It does not know
where in a layer they stand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from mms_adapt import packed

PARTS = ("norm.weight", "norm.bias", "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias")
Folded = tuple[Tensor, Tensor, Tensor]


def shapes(hidden_size: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every part."""
    wide, narrow = hidden_size, width
    sizes = [(wide,), (wide,), (narrow, wide), (narrow,), (wide, narrow), (wide,)]
    return dict(zip(PARTS, sizes, strict=True))


def folded(layers: Sequence[Sequence[Tensor]]) -> Folded:
    """Return what the six parts of each layer, in the order of `PARTS`, compute, as three matrices.

    Every number is written once, to where it stays: opening an adapter waits for this.

    Returns:
        Down `(layers, width + 8, hidden)`, its bias `(layers, 1, width + 8)`, and up with its bias
        `(layers, width + 8, hidden)`; what is added to the width is zero but for one channel, which is
        always 1, and whose row of the way up is the bias: one product less in every layer.
    """
    count, (width, hidden) = len(layers), layers[0][2].shape
    inward = torch.empty(count, width + packed.ROOM, hidden)
    inner = torch.zeros(count, 1, width + packed.ROOM)
    outward = torch.empty(count, width + packed.ROOM, hidden)
    inward[:, width:] = 0.0
    outward[:, width + 1 :] = 0.0
    ways = (inward[:, :width], inner[:, 0, :width], outward[:, :width])
    for layer, down, bias, up in zip(layers, *(one.unbind() for one in ways), strict=True):
        torch.mul(layer[2], layer[0], out=down)
        torch.addmv(layer[3], layer[2], layer[1], out=bias)
        up.copy_(layer[4].t())
    inner[:, 0, width] = 1.0
    torch.stack([layer[5] for layer in layers], out=outward[:, width])
    return inward, inner, outward


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
