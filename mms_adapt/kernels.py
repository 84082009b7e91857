"""Arithmetic of single frames that a card does in one pass over memory, written in Triton.

In: matrices `(frames, channels)` in a card's memory, contiguous. Out: others of that shape. One program takes
one frame or a few, which stay in registers between reading and writing; sums are float32. It does not know
layers; `rowwise` has the same functions in plain torch and chooses between the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_FRAMES = 4  # of one program, where a small matrix is read for each


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
    mean = tl.sum(found, axis=0) / size
    apart = tl.where(real, found - mean, 0.0)
    scale = tl.rsqrt(tl.sum(apart * apart, axis=0) / size + eps)
    apart *= scale
    if AFFINE:
        apart *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
        apart += tl.load(shift + at, mask=real, other=0.0).to(tl.float32)
    else:
        tl.store(inverse + row, scale)
    tl.store(normed + here, apart.to(normed.dtype.element_ty), mask=real)


@triton.jit
def _norm_backward(gradient, given, gain, more, out, size, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    real = at < size
    here = row * size + at
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    mean = tl.sum(found, axis=0) / size
    apart = tl.where(real, found - mean, 0.0)
    scale = tl.rsqrt(tl.sum(apart * apart, axis=0) / size + eps)
    apart *= scale
    inner = tl.load(gradient + here, mask=real, other=0.0).to(tl.float32)
    inner *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
    level = tl.sum(inner, axis=0) / size
    slope = tl.sum(inner * apart, axis=0) / size
    result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    result += scale * (inner - level - apart * slope)
    tl.store(out + here, result.to(out.dtype.element_ty), mask=real)


@triton.jit
def _widen(
    narrow, matrix, of_frame, more, out, rows, size, WIDTH: tl.constexpr, USED: tl.constexpr,
    MANY: tl.constexpr, FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    at = tl.arange(0, BLOCK)
    there = row < rows
    real = there[:, None] & (at < size)[None, :]
    here = row[:, None] * size + at[None, :]
    found = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    if MANY:
        begins = tl.load(of_frame + row, mask=there, other=0).to(tl.int64) * WIDTH * size
    for channel in tl.static_range(USED):
        value = tl.load(narrow + row * WIDTH + channel, mask=there, other=0.0).to(tl.float32)
        if MANY:
            part = tl.load(matrix + begins[:, None] + channel * size + at[None, :], mask=real, other=0.0)
            found += value[:, None] * part.to(tl.float32)
        else:
            part = tl.load(matrix + channel * size + at, mask=at < size, other=0.0).to(tl.float32)
            found += value[:, None] * part[None, :]
    tl.store(out + here, found.to(out.dtype.element_ty), mask=real)


@triton.jit
def _widen_norm_backward(
    narrow, matrix, of_frame, normed, inverse, more, out, rows, size, WIDTH: tl.constexpr, USED: tl.constexpr,
    MANY: tl.constexpr, FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    at = tl.arange(0, BLOCK)
    there = row < rows
    real = there[:, None] & (at < size)[None, :]
    here = row[:, None] * size + at[None, :]
    inner = tl.zeros((FRAMES, BLOCK), dtype=tl.float32)
    if MANY:
        begins = tl.load(of_frame + row, mask=there, other=0).to(tl.int64) * WIDTH * size
    for channel in tl.static_range(USED):
        value = tl.load(narrow + row * WIDTH + channel, mask=there, other=0.0).to(tl.float32)
        if MANY:
            part = tl.load(matrix + begins[:, None] + channel * size + at[None, :], mask=real, other=0.0)
            inner += value[:, None] * part.to(tl.float32)
        else:
            part = tl.load(matrix + channel * size + at, mask=at < size, other=0.0).to(tl.float32)
            inner += value[:, None] * part[None, :]
    apart = tl.load(normed + here, mask=real, other=0.0).to(tl.float32)
    scale = tl.load(inverse + row, mask=there, other=0.0)
    level = tl.sum(inner, axis=1) / size
    slope = tl.sum(inner * apart, axis=1) / size
    result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    result += scale[:, None] * (inner - level[:, None] - apart * slope[:, None])
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


def widen(narrow: Tensor, matrix: Tensor, used: int, of_frame: Tensor | None, more: Tensor) -> Tensor:
    """See `rowwise.widen`."""
    rows, size = more.shape
    out = torch.empty_like(more)
    _widen[(triton.cdiv(rows, _FRAMES),)](
        narrow, matrix, narrow if of_frame is None else of_frame, more, out, rows, size,
        WIDTH=narrow.shape[1], USED=used, MANY=of_frame is not None, FRAMES=_FRAMES,
        BLOCK=triton.next_power_of_2(size), num_warps=8,
    )  # fmt: skip
    return out


def widen_norm_backward(
    narrow: Tensor,
    matrix: Tensor,
    used: int,
    of_frame: Tensor | None,
    normed: Tensor,
    inverse: Tensor,
    more: Tensor,
) -> Tensor:
    """See `rowwise.widen_norm_backward`."""
    rows, size = more.shape
    out = torch.empty_like(more)
    _widen_norm_backward[(triton.cdiv(rows, _FRAMES),)](
        narrow, matrix, narrow if of_frame is None else of_frame, normed, inverse, more, out, rows, size,
        WIDTH=narrow.shape[1], USED=used, MANY=of_frame is not None, FRAMES=_FRAMES,
        BLOCK=triton.next_power_of_2(size), num_warps=8,
    )  # fmt: skip
    return out


@triton.jit
def _quantise(
    given, before, out, scales, size, most,
    GELU: tl.constexpr, BACK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    real = at < size
    here = row * size + at
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    if GELU:
        found = 0.5 * found * (1.0 + tl.erf(found * 0.7071067811865476))
    if BACK:
        level = tl.load(before + here, mask=real, other=0.0).to(tl.float32)
        below = 0.5 * (1.0 + tl.erf(level * 0.7071067811865476))
        found *= below + level * 0.3989422804014327 * tl.exp(-0.5 * level * level)
    scale = tl.maximum(tl.max(tl.abs(found), axis=0) / most, 1e-12)
    tl.store(scales + row, scale)
    tl.store(out + here, (found / scale).to(out.dtype.element_ty), mask=real)


def quantised(
    given: Tensor, most: float, *, gelu: bool = False, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `rowwise.quantised`, `gelu_quantised` and, with `before`, `gelu_backward_quantised`."""
    rows, size = given.shape
    out = torch.empty(rows, size, dtype=torch.float8_e4m3fn, device=given.device)
    scales = torch.empty(rows, dtype=torch.float32, device=given.device)
    back = before is not None
    _quantise[(rows,)](
        given, before if back else given, out, scales, size, most, GELU=gelu, BACK=back,
        BLOCK=triton.next_power_of_2(size), num_warps=8 if size > 2048 else 4,
    )  # fmt: skip
    return out, scales
