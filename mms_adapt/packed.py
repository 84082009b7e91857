"""The encoder's layers over frames that lie side by side, without padding, while their matrices are frozen.

In: weights of stock layers, adapters of MMS's kind, and hidden states `(frames, hidden)` of all rows of a
batch one behind the other. Out: what the layers themselves give, to rounding. It does not know models,
adapters' files or training.

What it saves: nothing is computed for padding, attention needs no mask, and heads are not moved about in
memory. The backward pass is written out: matrices get no gradient, so what they were given is not kept, norms
are computed anew from their input, and each sum of gradients is taken where one of them is made. Kept of a
layer are its input, query, key, value and what attention made of them, what the feed-forward block got and
its activation before GELU, and the adapter's normed input.

Source: packing as in Krell et al. 2021, Efficient Sequence Packing without Cross-contamination.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from mms_adapt import attending, rowwise
from mms_adapt.products import Matrix, between

Weights = tuple[Tensor, ...]
_ADAPTER_EPS = 1e-5  # of the norm in an adapter of MMS's kind
# channels added inside an adapter, since matrix products like multiples of 8; one of them is always 1, and
# its row of the way up is the bias
ROOM = 8


@dataclass(frozen=True)
class Narrow:
    """The adapter of one layer, or the adapters, where rows of the batch have different ones.

    Attributes:
        inward: The way down, the norm's factors in it, `(size + 8, hidden)`, before it `adapters` if several.
        inner: What is added there, `(size + 8,)` or `(adapters, size + 8)`; 1 for the channel of the bias.
        outward: The way up, as `inward`.
        sinks: Where the gradients of the three are written, float32; None where they are returned.
    """

    inward: Tensor
    inner: Tensor
    outward: Tensor
    sinks: tuple[Tensor, Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Layer:
    """A frozen layer.

    Attributes:
        norms: Factors and shift of the norm before attention, and of that before the feed-forward block.
        biases: Of query, key and value together, of attention's way out, of the feed-forward block's two.
        joined: Query, key and value, `(3 * hidden, hidden)`.
        out: Attention's way out, `(hidden, hidden)`.
        up: Into the feed-forward block, `(intermediate, hidden)`.
        down: Out of it, `(hidden, intermediate)`.
    """

    norms: tuple[Tensor, Tensor, Tensor, Tensor]
    biases: tuple[Tensor, Tensor, Tensor, Tensor]
    joined: Matrix
    out: Matrix
    up: Matrix
    down: Matrix


class Packing:
    """Where the real frames of a batch stand: those of one adapter behind each other, row by row.

    Args:
        frame_counts: Real frames of each row, `(batch,)`, on the CPU.
        frames: Frames of a padded row.
        device: Where the batch lies.
        groups: The adapter of each row, numbered from 0, each there at least once; each row its own where
            not given.
    """

    def __init__(
        self, frame_counts: Tensor, frames: int, device: torch.device, groups: Sequence[int] | None = None
    ) -> None:
        counts, rows = frame_counts.long(), torch.arange(len(frame_counts))
        self._shape, self.longest, self._device = (len(counts), frames), int(counts.max()), device
        of_group = counts
        if groups is not None:
            numbers = torch.tensor(groups)
            rows = numbers.argsort(stable=True)
            counts = counts[rows]
            of_group = torch.zeros(int(numbers.max()) + 1, dtype=torch.long)
            of_group.index_add_(0, numbers[rows], counts)
        self._of_group, self.count = of_group, int(counts.sum())
        self.borders, self.ends = self._ends(counts)  # of rows, `(batch + 1,)`
        grouped = groups is not None
        self._group_ends, self._group_borders = self._ends(of_group) if grouped else (self.borders, self.ends)
        self._places: Tensor | None = None
        if self.count < len(counts) * frames or not rows.equal(torch.arange(len(rows))):
            before = rows * frames - functional.pad(counts.cumsum(0), (1, -1))
            places = torch.arange(self.count) + before.repeat_interleave(counts)
            self._places = places.to(device, non_blocking=True)

    def _ends(self, counts: Tensor) -> tuple[Tensor, list[int]]:
        """Return where parts of so many frames begin and end, on the device and here."""
        borders = functional.pad(counts.cumsum(0), (1, 0)).int()
        return borders.to(self._device, non_blocking=True), borders.tolist()

    @cached_property
    def group_of_frame(self) -> Tensor:
        """The adapter of each frame, `(frames,)`; asked for only where there are several."""
        groups = torch.arange(len(self._of_group), dtype=torch.int32).repeat_interleave(self._of_group)
        return groups.to(self._device, non_blocking=True)

    def pack(self, hidden: Tensor) -> Tensor:
        """Return the real frames `(frames, hidden)` of `(batch, frames, hidden)`."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        return flat if self._places is None else flat.index_select(0, self._places)

    def unpack(self, flat: Tensor) -> Tensor:
        """Return them in their places `(batch, frames, hidden)`; zeros behind a row's frames."""
        if self._places is not None:
            padded = flat.new_zeros(self._shape[0] * self._shape[1], flat.shape[1])
            flat = padded.index_copy(0, self._places, flat)
        return flat.view(*self._shape, -1)

    def attend(self, three: Tensor) -> Tensor:
        """Let each row's frames look at that row.

        Args:
            three: Queries, keys and values, `(frames, 3, heads, channels)`.

        Returns:
            `(frames, heads, channels)`.
        """
        return attending.hear(three, self.borders, self.ends, self.longest)

    def times(self, flat: Tensor, matrices: Tensor) -> Tensor:
        """Return the product of `(frames, left)` with `(left, right)`, or with each frame's adapter's own."""
        if matrices.ndim == 2:
            return flat @ matrices
        if flat.is_cuda and flat.dtype == torch.bfloat16:
            # what it gives lies apart where a row is no multiple of 16 bytes
            return functional.grouped_mm(flat, matrices, offs=self._group_ends[1:]).contiguous()
        borders = zip(self._group_borders[:-1], self._group_borders[1:], matrices, strict=True)
        return torch.cat([flat[start:end] @ matrix for start, end, matrix in borders])

    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the sum over frames of the products of `(frames, left)` and `(frames, right)`."""
        if left.is_cuda and left.dtype != torch.float32:
            return torch.mm(left.t(), right, out_dtype=torch.float32)
        return left.t() @ right

    def outer_each(self, left: Tensor, right: Tensor, out: Tensor, sums: Tensor | None) -> None:
        """Write that of each adapter's frames, float32 `(adapters, left, right)`.

        Args:
            left: One side.
            right: The other.
            out: Where it is written.
            sums: Where the sums of the left side over frames are written, `(adapters, left)`.
        """
        if left.is_cuda and left.dtype == torch.bfloat16 and rowwise.quick() and rowwise.fits(left):
            rowwise.outer(left, right, self._group_ends, out, sums)
            return
        borders = zip(self._group_borders[:-1], self._group_borders[1:], strict=True)
        for number, (start, end) in enumerate(borders):
            out[number] = left[start:end].t() @ right[start:end]
            if sums is not None:
                sums[number] = left[start:end].sum(0, dtype=torch.float32)


def fold(adapters: list[Weights]) -> list[Narrow]:
    """Return adapters of several layers as they are computed, with what carries gradients back to them.

    Args:
        adapters: Norm's factors and shift, way down and its bias, way up and its bias, of each layer.
    """
    inward, inner, outward = folded([torch.stack(same) for same in zip(*adapters, strict=True)])
    return [Narrow(*one) for one in zip(inward, inner, outward, strict=True)]


def folded(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same for parts of all layers together, each `(layers, ...)`.

    Returns:
        Down `(layers, size + 8, hidden)`, its bias `(layers, size + 8)`, and up with its bias
        `(layers, size + 8, hidden)`; what is added to the size is zero but for one channel.
    """
    gain, shift, down, down_bias, up, up_bias = parts
    layers, size, _ = down.shape
    inner = functional.pad(down_bias + (down @ shift[..., None])[..., 0], (0, ROOM))
    inner[:, size] = 1.0
    inward = functional.pad(down * gain[:, None], (0, 0, 0, ROOM))
    outward = torch.cat(
        [up.transpose(1, 2), up_bias[:, None], up.new_zeros(layers, ROOM - 1, up.shape[1])], 1
    )
    return inward, inner, outward


def run(
    hidden: Tensor, packing: Packing, layer: Layer, adapter: Narrow | None, heads: int, eps: float
) -> Tensor:
    """Return what a layer makes of hidden states `(frames, hidden)`.

    Args:
        hidden: What goes in, in the type of the matrices.
        packing: Where the rows begin and end.
        layer: Its norms and matrices.
        adapter: Its adapter, where it has one.
        heads: Heads of the attention.
        eps: What the norms add to a variance.
    """
    kept, three = _Project.apply(hidden, layer, heads, eps)  # type: ignore[no-untyped-call]
    seen = packing.attend(three).reshape(hidden.shape)
    inside: Weights = ()
    sinks = None
    if adapter is not None:
        inside, sinks = (adapter.inward, adapter.inner, adapter.outward), adapter.sinks
    # the lowest adapter's own gradients need nothing of what is below it
    learnt = torch.is_grad_enabled() and hidden.requires_grad
    found: Tensor = _Rest.apply(kept, seen, learnt, eps, layer, packing, sinks, *inside)  # type: ignore[no-untyped-call]
    return found


class _Project(Function):
    """Norm, then query, key and value; the input goes through, so that its gradients meet here."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, layer: Layer, heads: int, eps: float) -> tuple[Tensor, ...]:
        """Return the input, and query, key and value, `(frames, 3, heads, channels)`."""
        three = layer.joined.times_norm(hidden, layer.norms[:2], eps, layer.biases[0])
        ctx.save_for_backward(hidden)
        ctx.layer, ctx.eps = layer, eps
        return hidden, three.view(len(hidden), 3, heads, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the input."""
        (hidden,) = ctx.saved_tensors
        more, three = gradients
        nothing = (None,) * 3
        if not ctx.needs_input_grad[0]:
            return None, *nothing
        inner = ctx.layer.joined.back(three.reshape(len(hidden), -1))
        gain = ctx.layer.norms[0]
        return rowwise.norm_backward(inner, hidden, gain, more.contiguous(), ctx.eps), *nothing


class _Rest(Function):
    """What follows attention: its way out, the feed-forward block, the adapter."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        seen: Tensor,
        learnt: bool,
        eps: float,
        layer: Layer,
        packing: Packing,
        sinks: tuple[Tensor, Tensor, Tensor] | None,
        *inside: Tensor,
    ) -> Tensor:
        """Return the layer's output `(frames, hidden)`."""
        _, out_bias, up_bias, down_bias = layer.biases
        given = layer.out.times(seen, None)
        middle, normed, _ = rowwise.add_norm(hidden, given, out_bias, *layer.norms[2:], eps)
        before = None
        if learnt:
            before = layer.up.times(normed, up_bias)
            wide = layer.down.times_gelu(before)
        else:
            wide = between(layer.up, layer.down, normed, up_bias)
        ctx.eps, ctx.layer, ctx.packing, ctx.sinks = eps, layer, packing, sinks
        if not inside:
            ctx.save_for_backward(middle, before)
            return middle + (wide + down_bias)
        inward, inner, outward = (one.to(hidden.dtype) for one in inside)
        total, plain, inverse = rowwise.add_norm(middle, wide, down_bias, None, None, _ADAPTER_EPS)
        if inward.ndim == 2:
            of_frame, narrow = None, torch.addmm(inner, plain, inward.t()).relu_()
        else:
            of_frame = packing.group_of_frame
            narrow = rowwise.bias_relu(packing.times(plain, inward.transpose(1, 2)), inner, of_frame)
        ctx.save_for_backward(middle, before, plain, inverse, narrow, inward, outward)
        return rowwise.widen(narrow, outward, of_frame, total)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input, of what attention made, and of the adapter."""
        gradient = gradients[0].contiguous()
        layer: Layer = ctx.layer
        middle, before, *rest = ctx.saved_tensors
        inside: tuple[Tensor | None, ...] = ()
        if rest:
            below = ctx.needs_input_grad[0]
            gradient, inside = _adapter_backward(ctx.packing, gradient, rest, below, ctx.sinks)
        nothing = (None, None, None, None, None, *inside)
        if not ctx.needs_input_grad[0]:
            return None, None, *nothing
        inner = layer.up.back_gelu(layer.down.back(gradient), before)
        onward = rowwise.norm_backward(inner, middle, layer.norms[2], gradient, ctx.eps)
        return onward, layer.out.back(onward), *nothing


def _adapter_backward(
    packing: Packing,
    gradient: Tensor,
    kept: list[Tensor],
    below: bool,
    sinks: tuple[Tensor, Tensor, Tensor] | None,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return the gradient before an adapter, where something `below` needs it, and those of its tensors."""
    plain, inverse, narrow, inward, outward = kept
    each, used = inward.ndim == 3, inward.shape[-2] - ROOM
    back = packing.times(gradient, outward.transpose(-1, -2))  # `(frames, size + 8)`
    back = rowwise.relu_backward(back, narrow, used)
    inside: tuple[Tensor | None, ...]
    if each:
        to_inward, to_inner, to_outward = sinks or (
            torch.empty(shape, device=back.device) for shape in (inward.shape, inward.shape[:2], inward.shape)
        )
        packing.outer_each(narrow, gradient, to_outward, None)
        packing.outer_each(back, plain, to_inward, to_inner)
        inside = (None, None, None) if sinks else (to_inward, to_inner, to_outward)
    else:
        inner = back.sum(0, dtype=torch.float32)
        inside = packing.outer(back, plain).float(), inner, packing.outer(narrow, gradient).float()
    if below:
        of_frame = packing.group_of_frame if each else None
        gradient = rowwise.widen_norm_backward(back, inward, of_frame, plain, inverse, gradient)
    return gradient, inside
