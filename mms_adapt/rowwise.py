"""Arithmetic of single frames: sums, norms and narrow adapters, forwards and backwards.

In: matrices `(frames, channels)`. Out: others of that shape. In a card's memory each is one kernel of
`kernels`, elsewhere plain torch, which is also what the kernels are tested against. It does not know layers.
"""

from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import gelu as exact_gelu
from torch.nn.functional import layer_norm

_LARGEST = 448.0  # of an 8-bit float of the type e4m3
_WIDEST = 128  # channels of the left side of `outer`


@cache
def _kernels() -> ModuleType | None:
    """Return the kernels where Triton is there, which is wherever torch for CUDA is, but not on Windows."""
    try:
        from mms_adapt import kernels
    except ImportError:
        return None
    return kernels


def fits(narrow: Tensor) -> bool:
    """Tell whether `outer` takes so wide a left side, `(frames, width)`: it holds it whole."""
    return narrow.shape[1] <= _WIDEST


def quick() -> bool:
    """Tell whether a card would compute with kernels."""
    return _kernels() is not None


def _on(tensor: Tensor) -> ModuleType | None:
    return _kernels() if tensor.is_cuda else None


def _narrow_kernels() -> ModuleType:
    from mms_adapt import narrow_kernels

    return narrow_kernels


def add_norm(
    left: Tensor, right: Tensor, bias: Tensor, gain: Tensor | None, shift: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a sum, its norm, and what the norm multiplied each frame by.

    Args:
        left: One part, `(frames, channels)`.
        right: The other.
        bias: Added to every frame, `(channels,)`.
        gain: The norm's factors, `(channels,)`; None for a norm without factors and shift.
        shift: Its shift.
        eps: What it adds to a variance.

    Returns:
        `(frames, channels)` twice, and `(frames,)`, which means something only where gain is None.
    """
    if (quick := _on(left)) is not None:
        found: tuple[Tensor, Tensor, Tensor] = quick.add_norm(left, right, bias, gain, shift, eps)
        return found
    total = left + right + bias
    inverse = (total.float().var(dim=1, correction=0) + eps).rsqrt()
    return total, layer_norm(total, total.shape[1:], gain, shift, eps), inverse


def norm(given: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Return the norm of `(frames, channels)` over channels.

    Args:
        given: The frames.
        gain: Its factors, `(channels,)`.
        shift: What it adds.
        eps: What it adds to a variance.
    """
    if (quick := _on(given)) is not None:
        found: Tensor = quick.norm(given, gain, shift, eps)[0]
        return found
    return layer_norm(given, given.shape[1:], gain, shift, eps)


def gelu(given: Tensor) -> Tensor:
    """Return GELU of `(frames, channels)`."""
    if (quick := _on(given)) is not None:
        found: Tensor = quick.gelu(given)
        return found
    return exact_gelu(given)


def gelu_backward(gradient: Tensor, before: Tensor) -> Tensor:
    """Return the gradient of what GELU was given, from that of what it gave, which is lost."""
    if (quick := _on(gradient)) is not None:
        found: Tensor = quick.gelu_backward(gradient, before)
        return found
    return torch.as_tensor(torch.ops.aten.gelu_backward.grad_input(gradient, before, grad_input=gradient))


def norm_backward(gradient: Tensor, given: Tensor, gain: Tensor, more: Tensor, eps: float) -> Tensor:
    """Return the gradient of what a norm was given, and add another to it.

    Args:
        gradient: Of what the norm gave, `(frames, channels)`.
        given: What it was given.
        gain: Its factors, `(channels,)`.
        more: What is added, `(frames, channels)`.
        eps: What it adds to a variance.
    """
    if (quick := _on(given)) is not None:
        found: Tensor = quick.norm_backward(gradient, given, gain, more, eps)
        return found
    normed = layer_norm(given, given.shape[1:], eps=eps)
    inverse = (given.float().var(dim=1, correction=0) + eps).rsqrt()
    return more + _through_norm(gradient * gain, normed, inverse)


def widen(narrow: Tensor, matrix: Tensor, of_frame: Tensor | None, more: Tensor) -> Tensor:
    """Return the product of a narrow matrix with a small one, added to something.

    Args:
        narrow: `(frames, width)`.
        matrix: `(width, channels)`; with `of_frame`, `(matrices, width, channels)`.
        of_frame: Which matrix each frame has, `(frames,)`, never less than the one before.
        more: What is added to, `(frames, channels)`.
    """
    if _on(more) is not None:
        found: Tensor = _narrow_kernels().widen(narrow, matrix, of_frame, more)
        return found
    return more + _product(narrow, matrix, of_frame)


def widen_norm_backward(
    narrow: Tensor,
    matrix: Tensor,
    of_frame: Tensor | None,
    normed: Tensor,
    inverse: Tensor,
    more: Tensor,
) -> Tensor:
    """Return the gradient of what a norm without factors was given, that of what it gave being a product.

    Args:
        narrow: One side of the product, `(frames, width)`.
        matrix: The other, as for `widen`.
        of_frame: As for `widen`.
        normed: What the norm gave, `(frames, channels)`.
        inverse: What it multiplied each frame by, `(frames,)`.
        more: What is added, `(frames, channels)`.
    """
    if _on(more) is not None:
        found: Tensor = _narrow_kernels().widen_norm_backward(narrow, matrix, of_frame, normed, inverse, more)
        return found
    return more + _through_norm(_product(narrow, matrix, of_frame), normed, inverse)


def bias_relu(narrow: Tensor, inner: Tensor, of_frame: Tensor) -> Tensor:
    """Return ReLU of narrow frames to which their own bias is added, in their place.

    Args:
        narrow: `(frames, width)`, contiguous; it is lost.
        inner: The biases, `(biases, width)`, each contiguous; they may lie apart.
        of_frame: Which bias each frame has, `(frames,)`.
    """
    if _on(narrow) is not None:
        found: Tensor = _narrow_kernels().bias_relu(narrow, inner, of_frame)
        return found
    return narrow.add_(inner.index_select(0, of_frame)).relu_()


def relu_backward(gradient: Tensor, narrow: Tensor, used: int) -> Tensor:
    """Return the gradient before ReLU, zero in all channels but the first ones that are used.

    Args:
        gradient: Of what ReLU gave, `(frames, width)`, contiguous; it is lost.
        narrow: What it gave.
        used: How many channels are used.
    """
    if _on(gradient) is not None:
        found: Tensor = _narrow_kernels().relu_backward(gradient, narrow, used)
        return found
    gradient.mul_(narrow > 0)
    gradient[:, used:] = 0
    return gradient


def outer(left: Tensor, right: Tensor, borders: Tensor, out: Tensor, sums: Tensor | None) -> None:
    """Write the sums over the frames of each group of the products of two sides; for a card alone.

    Args:
        left: One side, `(frames, width)`.
        right: The other, `(frames, channels)`.
        borders: Where groups begin and end, int32 `(groups + 1,)`.
        out: Where the sums are written, float32 `(groups, width, channels)`.
        sums: Where those of the left side alone are written, float32 `(groups, width)`.
    """
    _narrow_kernels().outer(left, right, borders, out, sums)


def quantised(given: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows as 8-bit floats, and what each is to be multiplied by.

    Args:
        given: `(rows, channels)`, contiguous.

    Returns:
        float8_e4m3fn `(rows, channels)` and float32 `(rows,)`.
    """
    if (quick := _on(given)) is not None:
        found: tuple[Tensor, Tensor] = quick.quantised(given, _LARGEST)
        return found
    rows = given.float()
    scales = (rows.abs().amax(dim=1) / _LARGEST).clamp_min(1e-12)
    return (rows / scales[:, None]).to(torch.float8_e4m3fn), scales


def norm_quantised(given: Tensor, gain: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the same of the norm of rows; see `norm`."""
    if (quick := _on(given)) is not None:
        found: tuple[Tensor, Tensor] = quick.norm(given, gain, shift, eps, _LARGEST)
        return found
    return quantised(norm(given.float(), gain.float(), shift.float(), eps))


def gelu_quantised(before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of GELU of rows."""
    if (quick := _on(before)) is not None:
        found: tuple[Tensor, Tensor] = quick.quantised(before, _LARGEST, gelu=True)
        return found
    return quantised(exact_gelu(before.float()))


def gelu_backward_quantised(gradient: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of the gradient of what GELU was given, from that of what it gave.

    Args:
        gradient: Of what GELU gave, `(rows, channels)`.
        before: What it was given.
    """
    if (quick := _on(gradient)) is not None:
        found: tuple[Tensor, Tensor] = quick.quantised(gradient, _LARGEST, before=before)
        return found
    return quantised(torch.ops.aten.gelu_backward(gradient.float(), before.float()))


def _product(narrow: Tensor, matrix: Tensor, of_frame: Tensor | None) -> Tensor:
    if of_frame is None:
        return narrow @ matrix
    return (narrow[:, None] @ matrix[of_frame])[:, 0]


def _through_norm(gradient: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """Return the gradient before a norm without factors."""
    level = gradient.mean(dim=1, keepdim=True)
    slope = (gradient * normed).mean(dim=1, keepdim=True)
    return inverse[:, None].to(gradient.dtype) * (gradient - level - normed * slope)
