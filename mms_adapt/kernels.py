"""Arithmetic of single frames that a card does in one pass over memory, written in Triton.

In: matrices `(frames, channels)` in a card's memory, contiguous. Out: others of that shape. One program takes
one frame or a few, which stay in registers between reading and writing; sums are float32. It does not know
layers; `rowwise` has the same functions in plain torch and chooses between the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_FRAMES, _COLUMNS = 64, 128  # of one product with a narrow matrix
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
    found = tl.load(given + here, mask=real, other=0.0).to(tl.float32)
    apart, scale = _standard(found, real, size, eps)
    inner = tl.load(gradient + here, mask=real, other=0.0).to(tl.float32)
    inner *= tl.load(gain + at, mask=real, other=0.0).to(tl.float32)
    level = tl.sum(inner, axis=0) / size
    slope = tl.sum(inner * apart, axis=0) / size
    result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    result += scale * (inner - level - apart * slope)
    tl.store(out + here, result.to(out.dtype.element_ty), mask=real)


@triton.jit
def _part(
    narrow, matrix, of_frame, row, there, column, fits, size, apart,
    WIDTH: tl.constexpr, MANY: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    """Return the products `(frames, columns)` of narrow frames with some columns of their own matrices.

    Matrices lie `apart` numbers from each other.
    """
    inner = tl.arange(0, ROOM)
    inside = inner < WIDTH
    given = tl.load(
        narrow + row[:, None] * WIDTH + inner[None, :], mask=there[:, None] & inside[None, :], other=0.0
    )
    here = inner[:, None] * size + column[None, :]
    real = inside[:, None] & fits[None, :]
    if MANY:  # frames of one matrix lie behind each other, so there are mostly one or two here
        own = tl.load(of_frame + row, mask=there, other=-1)
        last = tl.max(own, axis=0)
        first = tl.min(tl.where(there, own, last), axis=0)
        found = tl.zeros((row.shape[0], column.shape[0]), dtype=tl.float32)
        for one in range(first, last + 1):
            mine = tl.where((own == one)[:, None], given, 0.0)
            part = tl.load(matrix + tl.cast(one, tl.int64) * apart + here, mask=real, other=0.0)
            found = tl.dot(mine.to(part.dtype), part, found)
    else:
        part = tl.load(matrix + here, mask=real, other=0.0)
        found = tl.dot(given, part)
    return found


@triton.jit
def _widen(
    narrow, matrix, of_frame, more, out, rows, size, apart, WIDTH: tl.constexpr, MANY: tl.constexpr,
    ROOM: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    there, fits = row < rows, column < size
    real = there[:, None] & fits[None, :]
    here = row[:, None] * size + column[None, :]
    found = _part(narrow, matrix, of_frame, row, there, column, fits, size, apart, WIDTH, MANY, ROOM)
    found += tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    tl.store(out + here, found.to(out.dtype.element_ty), mask=real)


@triton.jit
def _widen_norm_backward(
    narrow, matrix, of_frame, normed, inverse, more, out, rows, size, apart, WIDTH: tl.constexpr,
    MANY: tl.constexpr, ROOM: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    there = row < rows
    level = tl.zeros((FRAMES,), dtype=tl.float32)
    slope = tl.zeros((FRAMES,), dtype=tl.float32)
    for start in range(0, size, COLUMNS):  # the products are cheap, so they are taken twice and not kept
        column = start + tl.arange(0, COLUMNS)
        fits = column < size
        real = there[:, None] & fits[None, :]
        inner = _part(narrow, matrix, of_frame, row, there, column, fits, size, apart, WIDTH, MANY, ROOM)
        given = tl.load(normed + row[:, None] * size + column[None, :], mask=real, other=0.0).to(tl.float32)
        level += tl.sum(inner, axis=1)
        slope += tl.sum(inner * given, axis=1)
    level /= size
    slope /= size
    scale = tl.load(inverse + row, mask=there, other=0.0)
    for start in range(0, size, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        fits = column < size
        real = there[:, None] & fits[None, :]
        here = row[:, None] * size + column[None, :]
        inner = _part(narrow, matrix, of_frame, row, there, column, fits, size, apart, WIDTH, MANY, ROOM)
        given = tl.load(normed + here, mask=real, other=0.0).to(tl.float32)
        result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
        result += scale[:, None] * (inner - level[:, None] - given * slope[:, None])
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


def widen(narrow: Tensor, matrix: Tensor, of_frame: Tensor | None, more: Tensor) -> Tensor:
    """See `rowwise.widen`."""
    rows, size = more.shape
    out = torch.empty_like(more)
    width, many = narrow.shape[1], of_frame is not None
    _widen[(triton.cdiv(rows, _FRAMES), triton.cdiv(size, _COLUMNS))](
        narrow, matrix, of_frame if many else narrow, more, out, rows, size, matrix.stride(0),
        WIDTH=width, MANY=many, ROOM=_room(width), FRAMES=_FRAMES, COLUMNS=_COLUMNS, num_warps=4,
    )  # fmt: skip
    return out


def widen_norm_backward(
    narrow: Tensor,
    matrix: Tensor,
    of_frame: Tensor | None,
    normed: Tensor,
    inverse: Tensor,
    more: Tensor,
) -> Tensor:
    """See `rowwise.widen_norm_backward`."""
    rows, size = more.shape
    out = torch.empty_like(more)
    width, many = narrow.shape[1], of_frame is not None
    _widen_norm_backward[(triton.cdiv(rows, _FRAMES),)](
        narrow, matrix, of_frame if many else narrow, normed, inverse, more, out, rows, size,
        matrix.stride(0), WIDTH=width, MANY=many, ROOM=_room(width), FRAMES=_FRAMES, COLUMNS=_COLUMNS,
        num_warps=4,
    )  # fmt: skip
    return out


def _room(width: int) -> int:
    """Return how much of the narrow side a product takes: a power of two, at least 16."""
    return max(16, int(triton.next_power_of_2(width)))


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
