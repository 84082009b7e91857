"""Arithmetic of single frames that a card does in one pass over memory, written in Triton.

In: matrices `(frames, channels)` in a card's memory, contiguous. Out: others of that shape. One program takes
one frame or a few, which stay in registers between reading and writing; sums are float32. It does not know
layers; `rowwise` has the same functions in plain torch and chooses between the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_MANY = 2048  # numbers that one program takes, where their places do not matter


@triton.jit
def _standard(found, real, size, eps):
    """Return a frame with mean zero and variance one, and what it was multiplied by for that."""
    apart = tl.where(real, found - tl.sum(found, axis=0) / size, 0.0)
    scale = tl.rsqrt(tl.sum(apart * apart, axis=0) / size + eps)
    return apart * scale, scale


@triton.jit
def _add_norm(
    left, right, bias, gain, shift, total, normed, inverse, size, eps,
    AFFINE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    real = at < size
    here = row * size + at
    found = tl.load(left + here, mask=real, other=0.0).to(tl.float32)
    found += tl.load(right + here, mask=real, other=0.0).to(tl.float32)
    found += tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    kept = found.to(total.dtype.element_ty)
    tl.store(total + here, kept, mask=real)
    found = kept.to(tl.float32)  # the norm sees what is kept, as the backward pass will
    apart, scale = _standard(found, real, size, eps)
    if AFFINE:
        apart *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
        apart += tl.load(shift + at, mask=real, other=0.0).to(tl.float32)
    else:
        tl.store(inverse + row, scale)
    tl.store(normed + here, apart.to(normed.dtype.element_ty), mask=real)


@triton.jit
def _below(level):
    """Return the normal distribution up to a level, to 1.5e-7, and the exponential of its density.

    Source: Abramowitz and Stegun 1964, formula 7.1.26; the library's own erf takes longer than the memory.
    """
    falls = tl.exp(-0.5 * level * level)
    near = 1.0 / (1.0 + 0.3275911 * 0.7071067811865476 * tl.abs(level))
    tail = 1.061405429 * near - 1.453152027
    tail = (tail * near + 1.421413741) * near - 0.284496736
    tail = 0.5 * (tail * near + 0.254829592) * near * falls
    return tl.where(level < 0, tail, 1.0 - tail), falls


@triton.jit
def _value(given, before, here, real, GELU: tl.constexpr, BACK: tl.constexpr):
    """Return numbers, GELU of them, or a gradient through GELU."""
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    if GELU:
        below, _ = _below(found)
        found *= below
    if BACK:
        level = tl.load(before + here, mask=real, other=0.0).to(tl.float32)
        below, falls = _below(level)
        found *= below + level * 0.3989422804014327 * falls
    return found


@triton.jit
def _pass(given, before, out, count, GELU: tl.constexpr, BACK: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    found = _value(given, before, at, at < count, GELU, BACK)
    tl.store(out + at, found.to(out.dtype.element_ty), mask=at < count)


@triton.jit
def _norm(
    given, gain, shift, out, scales, size, eps, most, QUANTISED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    real = at < size
    here = row * size + at
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    apart, _ = _standard(found, real, size, eps)
    apart *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
    apart += tl.load(shift + at, mask=real, other=0.0).to(tl.float32)
    if QUANTISED:
        scale = tl.maximum(tl.max(tl.abs(apart), axis=0) / most, 1e-12)
        tl.store(scales + row, scale)
        apart *= 1.0 / scale
    tl.store(out + here, apart.to(out.dtype.element_ty), mask=real)


@triton.jit
def _norm_backward(gradient, given, gain, more, out, size, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    real = at < size
    here = row * size + at
    # all is asked for before the first sum, behind which the program would wait for each anew
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    inner = tl.load(gradient + here, mask=real, other=0.0).to(tl.float32)
    inner *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
    result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    apart, scale = _standard(found, real, size, eps)
    level = tl.sum(inner, axis=0) / size
    slope = tl.sum(inner * apart, axis=0) / size
    result += scale * (inner - level - apart * slope)
    tl.store(out + here, result.to(out.dtype.element_ty), mask=real)


def add_norm(
    left: Tensor, right: Tensor, bias: Tensor, gain: Tensor | None, shift: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `rowwise.add_norm`."""
    rows, size = left.shape
    total, normed = torch.empty_like(left), torch.empty_like(left)
    inverse = torch.empty(rows, dtype=torch.float32, device=left.device)
    affine = gain is not None
    _add_norm[(rows,)](
        left, right, bias, gain if affine else bias, shift if affine else bias, total, normed, inverse,
        size, eps, AFFINE=affine, BLOCK=triton.next_power_of_2(size), num_warps=4,
    )  # fmt: skip
    return total, normed, inverse


def norm_backward(gradient: Tensor, given: Tensor, gain: Tensor, more: Tensor, eps: float) -> Tensor:
    """See `rowwise.norm_backward`."""
    rows, size = given.shape
    out = torch.empty_like(given)
    _norm_backward[(rows,)](
        gradient, given, gain, more, out, size, eps, BLOCK=triton.next_power_of_2(size), num_warps=4
    )
    return out


@triton.jit
def _quantise(
    given, before, out, scales, size, most, GELU: tl.constexpr, BACK: tl.constexpr,
    FIRST: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, FIRST)
    found = _value(given, before, row * size + at, at < size, GELU, BACK)
    largest = tl.max(tl.abs(found), axis=0)
    if REST:  # a size that is no power of two, in two parts
        more_at = FIRST + tl.arange(0, REST)
        more = _value(given, before, row * size + more_at, more_at < size, GELU, BACK)
        largest = tl.maximum(largest, tl.max(tl.abs(more), axis=0))
    scale = tl.maximum(largest / most, 1e-12)
    tl.store(scales + row, scale)
    tl.store(out + row * size + at, (found * (1.0 / scale)).to(out.dtype.element_ty), mask=at < size)
    if REST:
        more *= 1.0 / scale
        tl.store(out + row * size + more_at, more.to(out.dtype.element_ty), mask=more_at < size)


def gelu(given: Tensor) -> Tensor:
    """See `rowwise.gelu`."""
    out, count = torch.empty_like(given), given.numel()
    _pass[(triton.cdiv(count, _MANY),)](
        given, given, out, count, GELU=True, BACK=False, BLOCK=_MANY, num_warps=4
    )
    return out


def gelu_backward(gradient: Tensor, before: Tensor) -> Tensor:
    """See `rowwise.gelu_backward`."""
    count = gradient.numel()
    _pass[(triton.cdiv(count, _MANY),)](
        gradient, before, gradient, count, GELU=False, BACK=True, BLOCK=_MANY, num_warps=4
    )
    return gradient


def norm(
    given: Tensor, gain: Tensor, shift: Tensor, eps: float, most: float | None = None
) -> tuple[Tensor, Tensor]:
    """See `rowwise.norm` and, with `most`, `rowwise.norm_quantised`."""
    rows, size = given.shape
    out = torch.empty_like(given, dtype=given.dtype if most is None else torch.float8_e4m3fn)
    scales = torch.empty(rows, dtype=torch.float32, device=given.device)
    _norm[(rows,)](
        given, gain, shift, out, scales, size, eps, most or 1.0, QUANTISED=most is not None,
        BLOCK=triton.next_power_of_2(size), num_warps=4,
    )  # fmt: skip
    return out, scales


def quantised(
    given: Tensor, most: float, *, gelu: bool = False, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `rowwise.quantised`, `gelu_quantised` and, with `before`, `gelu_backward_quantised`."""
    rows, size = given.shape
    out = torch.empty(rows, size, dtype=torch.float8_e4m3fn, device=given.device)
    scales = torch.empty(rows, dtype=torch.float32, device=given.device)
    first = int(triton.next_power_of_2(size))
    first = first if first == size or first <= 256 else first // 2
    rest = int(triton.next_power_of_2(size - first)) if size > first else 0
    back = before is not None
    _quantise[(rows,)](
        given, before if back else given, out, scales, size, most, GELU=gelu, BACK=back,
        FIRST=first, REST=rest, num_warps=8 if size > 2048 else 4,
    )  # fmt: skip
    return out, scales
