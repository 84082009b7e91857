"""Narrow adapters of many languages as packed layers compute them, and gradients back to where the parts lie.

In: the parts of all adapters, `(languages, layers, ...)`. Out: few matrices, `(layers, languages, ...)`, in
the type of the layers; and the other way round, gradients of these added to gradients of the parts. In a
card's memory each is one pass, elsewhere plain torch, which is also what the kernels are tested against. It
does not know what the languages are.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mms_adapt import packed, rowwise
from mms_adapt.packed import ROOM, Narrow

Parts = tuple[Tensor, ...]
"""Norm's factors and shift, way down and its bias, way up and its bias, each `(languages, layers, ...)`."""


def fold(
    anchor: Tensor,
    parts: Parts,
    gradients: Parts,
    present: Tensor | None,
    dtype: torch.dtype,
    *,
    whole: bool,
) -> list[Narrow]:
    """Return the adapters of every layer; a backward pass adds to the gradients of the parts.

    Args:
        anchor: Something that requires a gradient, so that there is a backward pass; it gets none.
        parts: The parts; numbers along the last axis lie side by side.
        gradients: Where their gradients are added up.
        present: The languages that are wanted, `(languages,)`; None for all.
        dtype: What comes out.
        whole: Whether all layers will be used; the others get gradients of zero.
    """
    count = len(parts[0]) if present is None else len(present)
    layers, size, hidden = parts[2].shape[1:]
    shapes = ((size + ROOM, hidden), (size + ROOM,), (size + ROOM, hidden))
    sinks: list[Tensor] = []
    if torch.is_grad_enabled():
        make = torch.empty if whole else torch.zeros
        sinks = [make(layers, count, *one, device=parts[0].device) for one in shapes]
    every = _Fold.apply(anchor, parts, gradients, present, dtype, sinks)  # type: ignore[no-untyped-call]
    found = []
    for number, layer in enumerate(zip(every[::3], every[1::3], every[2::3], strict=True)):
        sink = (sinks[0][number], sinks[1][number], sinks[2][number]) if sinks else None
        found.append(Narrow(*layer, sink))
    return found


class _Fold(Function):
    """The way there and back; gradients come by way of memory that the layers write to."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        parts: Parts,
        gradients: Parts,
        present: Tensor | None,
        dtype: torch.dtype,
        sinks: list[Tensor],
    ) -> Parts:
        """Return three matrices of the first layer, then of the second, and so on."""
        ctx.set_materialize_grads(False)
        ctx.given = parts, gradients, present, sinks
        ways = folded(parts, present, dtype)
        return tuple(one for layer in zip(*ways, strict=True) for one in layer)

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> tuple[None, ...]:
        """Add to the gradients of the parts."""
        parts, gradients, present, sinks = ctx.given
        ctx.given = None
        spread(sinks, parts, gradients, present)
        return (None,) * 6


def _on(parts: Parts) -> ModuleType | None:
    if not (parts[0].is_cuda and rowwise.quick()):
        return None
    from mms_adapt import stack_kernels

    return stack_kernels


def folded(parts: Parts, present: Tensor | None, dtype: torch.dtype) -> Parts:
    """Return what the parts compute, as three matrices.

    Returns:
        Down `(layers, languages, size + 8, hidden)`, its bias `(layers, languages, size + 8)`, and up with
        its bias, as the way down; what is added to the size is zero but for one channel.
    """
    if (quick := _on(parts)) is not None:
        found: Parts = quick.folded(parts, present, dtype, ROOM)
        return found
    some = _chosen(parts, present)
    both = some[0].shape[:2]  # layers and languages
    ways = packed.folded([one.flatten(0, 1) for one in some])
    return tuple(one.view(*both, *one.shape[1:]).to(dtype) for one in ways)


def spread(sinks: list[Tensor], parts: Parts, gradients: Parts, present: Tensor | None) -> None:
    """Add to the gradients of the parts, from those of the three matrices, both in float32.

    Args:
        sinks: Gradients of what `folded` gave.
        parts: The parts.
        gradients: Their gradients, which are added to.
        present: As for `folded`.
    """
    if (quick := _on(parts)) is not None:
        quick.spread(sinks, parts, gradients, present)
        return
    inward, inner, outward = sinks
    gain, shift, down, *_ = _chosen(parts, present)
    size = down.shape[2]
    inward, inner = inward[:, :, :size], inner[:, :, :size, None]
    found = (
        (inward * down).sum(dim=2),
        (inner * down).sum(dim=2),
        inward * gain[:, :, None] + inner * shift[:, :, None],
        inner[..., 0],
        outward[:, :, :size].transpose(2, 3),
        outward[:, :, size],
    )
    for total, one in zip(gradients, found, strict=True):
        own = one.transpose(0, 1)  # `(layers, languages, ...)` to `(languages, layers, ...)`
        if present is None:
            total.add_(own)
        else:
            total.index_add_(0, present, own)


def _chosen(parts: Parts, present: Tensor | None) -> Parts:
    """Return the parts of the languages that are wanted, `(layers, languages, ...)`."""
    some = parts if present is None else tuple(one.index_select(0, present) for one in parts)
    return tuple(one.transpose(0, 1) for one in some)
