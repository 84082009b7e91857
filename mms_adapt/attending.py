"""Attention of frames that lie side by side, each to the frames of its own row.

In: queries, keys and values of all rows together, and where rows begin and end. Out: what each frame hears,
with a way back. In a card's memory it is a kernel of `attention_kernels`, or torch's FlashAttention-2 where
heads are wider or Triton is missing; elsewhere one row goes after the other. It does not know layers.
"""

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import scaled_dot_product_attention

from mms_adapt import rowwise

_WIDEST = 96  # channels of a head that the kernels have room for, on small cards too


def _kernels() -> ModuleType:
    from mms_adapt import attention_kernels

    return attention_kernels


def hear(three: Tensor, borders: Tensor, ends: Sequence[int], longest: int) -> Tensor:
    """Let each row's frames attend to that row; products are divided by the root of the channels.

    Args:
        three: Queries, keys and values, `(frames, 3, heads, channels)`.
        borders: Where rows begin and end, int32 `(rows + 1,)`, on the same device.
        ends: The same on the CPU.
        longest: Frames of a row at most.

    Returns:
        `(frames, heads, channels)`.
    """
    if not three.is_cuda or three.dtype == torch.float32:
        return _one_by_one(three, ends)
    if not rowwise.quick() or three.shape[3] > _WIDEST:
        from torch.nn.attention.varlen import varlen_attn

        query, key, value = three.unbind(1)
        found: Any = varlen_attn(query, key, value, borders, borders, longest, longest)
        return torch.as_tensor(found)
    return torch.as_tensor(_Hear.apply(three, borders, longest))  # type: ignore[no-untyped-call]


def _one_by_one(three: Tensor, ends: Sequence[int]) -> Tensor:
    # cut at once: a slice's gradient would be a whole matrix of zeros around it
    lengths = [end - start for start, end in pairwise(ends)]
    parts = []
    for row in zip(*(torch.split(one, lengths) for one in three.unbind(1)), strict=True):
        # `(frames, heads, channels)` to `(heads, frames, channels)` and back
        query, key, value = (one.transpose(0, 1) for one in row)
        parts.append(scaled_dot_product_attention(query, key, value).transpose(0, 1))
    return torch.cat(parts)


class _Hear(Function):
    """The kernels, with their way back."""

    @staticmethod
    def forward(ctx: Any, three: Tensor, borders: Tensor, longest: int) -> Tensor:
        """Return what frames hear, `(frames, heads, channels)`."""
        found, levels = _kernels().hear(three, borders, longest)
        ctx.save_for_backward(three, found, levels, borders)
        ctx.longest = longest
        return torch.as_tensor(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of queries, keys and values."""
        three, found, levels, borders = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        return _kernels().hear_backward(gradient, three, found, levels, borders, ctx.longest), None, None
