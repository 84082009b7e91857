"""What the narrow middle of adapters computes on a card, written in Triton.

In: frames `(frames, width)` with few channels and `(frames, channels)`, in a card's memory, contiguous, of
one adapter or of several, those of each behind each other. Out: products with the adapters' matrices, and
sums over frames, in float32. It does not know layers; `rowwise` and `packed` have the same in plain torch.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_FRAMES, _COLUMNS = 64, 128  # of one product


@triton.jit
def _narrow(narrow, row, there, WIDTH: tl.constexpr, ROOM: tl.constexpr):
    inner = tl.arange(0, ROOM)
    real = there[:, None] & (inner < WIDTH)[None, :]
    return tl.load(narrow + row[:, None] * WIDTH + inner[None, :], mask=real, other=0.0)


@triton.jit
def _owners(of_frame, row, there):
    """Return whose matrix each frame has, the first of them and the last."""
    own = tl.load(of_frame + row, mask=there, other=-1)
    last = tl.max(own, axis=0)
    return own, tl.min(tl.where(there, own, last), axis=0), last


@triton.jit
def _part(
    given, matrix, own, first, last, column, fits, size, apart,
    WIDTH: tl.constexpr, MANY: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    """Return the products `(frames, columns)` of narrow frames with some columns of their own matrices.

    Matrices lie `apart` numbers from each other.
    """
    inner = tl.arange(0, ROOM)
    here = inner[:, None] * size + column[None, :]
    real = (inner < WIDTH)[:, None] & fits[None, :]
    if MANY:  # frames of one matrix lie behind each other, so there are mostly one or two here
        found = tl.zeros((own.shape[0], column.shape[0]), dtype=tl.float32)
        for one in range(first, last + 1):
            mine = tl.where((own == one)[:, None], given, 0.0)
            part = tl.load(matrix + tl.cast(one, tl.int64) * apart + here, mask=real, other=0.0)
            found = tl.dot(mine.to(part.dtype), part, found)
    else:
        found = tl.dot(given, tl.load(matrix + here, mask=real, other=0.0))
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
    given = _narrow(narrow, row, there, WIDTH, ROOM)
    own, first, last = row, 0, 0
    if MANY:
        own, first, last = _owners(of_frame, row, there)
    if MANY and first != last:
        found = _part(given, matrix, own, first, last, column, fits, size, apart, WIDTH, True, ROOM)
    else:  # all of one matrix, which is quicker
        matrix += tl.cast(first, tl.int64) * apart
        found = _part(given, matrix, own, first, last, column, fits, size, apart, WIDTH, False, ROOM)
    found += tl.load(more + here, mask=real, other=0.0).to(tl.float32)
    tl.store(out + here, found.to(out.dtype.element_ty), mask=real)


@triton.jit
def _norm_behind(
    given, matrix, own, first, last, normed, inverse, more, out, row, there, size, apart,
    WIDTH: tl.constexpr, MANY: tl.constexpr, ROOM: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    level = tl.zeros((FRAMES,), dtype=tl.float32)
    slope = tl.zeros((FRAMES,), dtype=tl.float32)
    for start in range(0, size, COLUMNS):  # the products are cheap, so they are taken twice and not kept
        column = start + tl.arange(0, COLUMNS)
        fits = column < size
        real = there[:, None] & fits[None, :]
        inner = _part(given, matrix, own, first, last, column, fits, size, apart, WIDTH, MANY, ROOM)
        plain = tl.load(normed + row[:, None] * size + column[None, :], mask=real, other=0.0).to(tl.float32)
        level += tl.sum(inner, axis=1)
        slope += tl.sum(inner * plain, axis=1)
    level /= size
    slope /= size
    scale = tl.load(inverse + row, mask=there, other=0.0)
    for start in range(0, size, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        fits = column < size
        real = there[:, None] & fits[None, :]
        here = row[:, None] * size + column[None, :]
        inner = _part(given, matrix, own, first, last, column, fits, size, apart, WIDTH, MANY, ROOM)
        plain = tl.load(normed + here, mask=real, other=0.0).to(tl.float32)
        result = tl.load(more + here, mask=real, other=0.0).to(tl.float32)
        result += scale[:, None] * (inner - level[:, None] - plain * slope[:, None])
        tl.store(out + here, result.to(out.dtype.element_ty), mask=real)


@triton.jit
def _widen_norm_backward(
    narrow, matrix, of_frame, normed, inverse, more, out, rows, size, apart, WIDTH: tl.constexpr,
    MANY: tl.constexpr, ROOM: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    there = row < rows
    given = _narrow(narrow, row, there, WIDTH, ROOM)
    own, first, last = row, 0, 0
    if MANY:
        own, first, last = _owners(of_frame, row, there)
    if MANY and first != last:
        _norm_behind(
            given, matrix, own, first, last, normed, inverse, more, out, row, there, size, apart,
            WIDTH, True, ROOM, FRAMES, COLUMNS,
        )  # fmt: skip
    else:
        _norm_behind(
            given, matrix + tl.cast(first, tl.int64) * apart, own, first, last, normed, inverse, more, out,
            row, there, size, apart, WIDTH, False, ROOM, FRAMES, COLUMNS,
        )  # fmt: skip


@triton.jit
def _relu(narrow, inner, of_frame, count, apart, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < count
    own = tl.load(of_frame + at // WIDTH, mask=real, other=0)
    found = tl.load(narrow + at, mask=real, other=0.0).to(tl.float32)
    found += tl.load(inner + own * apart + at % WIDTH, mask=real, other=0.0).to(tl.float32)
    found = tl.where(found < 0, 0.0, found)  # what is no number stays none
    tl.store(narrow + at, found.to(narrow.dtype.element_ty), mask=real)


@triton.jit
def _relu_backward(gradient, narrow, count, used, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < count
    level = tl.load(narrow + at, mask=real, other=0.0).to(tl.float32)
    nothing = (level <= 0) | (at % WIDTH >= used)
    found = tl.load(gradient + at, mask=real, other=0.0)
    tl.store(gradient + at, tl.where(nothing, 0.0, found).to(gradient.dtype.element_ty), mask=real)


@triton.jit
def _outer(
    left, right, ends, out, sums, size, WIDTH: tl.constexpr, SUMS: tl.constexpr, ROOM: tl.constexpr,
    FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inner = tl.arange(0, ROOM)
    inside, fits = inner < WIDTH, column < size
    first, last = tl.load(ends + group), tl.load(ends + group + 1)
    found = tl.zeros((ROOM, COLUMNS), dtype=tl.float32)
    total = tl.zeros((ROOM,), dtype=tl.float32)
    for start in range(first, last, FRAMES):
        frame = tl.cast(start, tl.int64) + tl.arange(0, FRAMES)
        there = frame < last
        one = tl.load(
            left + frame[None, :] * WIDTH + inner[:, None], mask=inside[:, None] & there[None, :], other=0.0
        )
        other = tl.load(
            right + frame[:, None] * size + column[None, :], mask=there[:, None] & fits[None, :], other=0.0
        )
        found = tl.dot(one, other, found)
        if SUMS:
            total += tl.sum(one.to(tl.float32), axis=1)
    row = group * WIDTH + inner
    to = tl.cast(row, tl.int64)[:, None] * size + column[None, :]
    tl.store(out + to, found, mask=inside[:, None] & fits[None, :])
    if SUMS:
        tl.store(sums + row, total, mask=inside & (tl.program_id(0) == 0))


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


def bias_relu(narrow: Tensor, inner: Tensor, of_frame: Tensor) -> Tensor:
    """See `rowwise.bias_relu`."""
    count = narrow.numel()
    _relu[(triton.cdiv(count, 1024),)](
        narrow, inner, of_frame, count, inner.stride(0), WIDTH=narrow.shape[1], BLOCK=1024, num_warps=4
    )
    return narrow


def relu_backward(gradient: Tensor, narrow: Tensor, used: int) -> Tensor:
    """See `rowwise.relu_backward`."""
    count = gradient.numel()
    _relu_backward[(triton.cdiv(count, 1024),)](
        gradient, narrow, count, used, WIDTH=narrow.shape[1], BLOCK=1024, num_warps=4
    )
    return gradient


def outer(left: Tensor, right: Tensor, ends: Tensor, out: Tensor, sums: Tensor | None) -> None:
    """See `rowwise.outer`."""
    width, size = left.shape[1], right.shape[1]
    _outer[(triton.cdiv(size, _COLUMNS), len(out))](
        left, right, ends, out, out if sums is None else sums, size, WIDTH=width, SUMS=sums is not None,
        ROOM=_room(width), FRAMES=_FRAMES, COLUMNS=_COLUMNS, num_warps=4,
    )  # fmt: skip
