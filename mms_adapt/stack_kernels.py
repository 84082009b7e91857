"""What many adapters in one pass need beside the layers' own arithmetic, written in Triton.

In: weights of many languages in a card's memory, a row a language. Out: the same as layers compute them,
their gradients, and the weights changed by a step. It does not know layers or training; `adamw` and `folding`
have the same in plain torch and choose between the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 2048  # weights that one program takes at a time
_BLOCKS = 16  # blocks of one partial sum


@triton.jit
def _squares(gradient, sums, size, parts, BLOCK: tl.constexpr, BLOCKS: tl.constexpr):
    part, row = tl.program_id(0), tl.program_id(1)
    gradient += row.to(tl.int64) * size
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for block in range(BLOCKS):
        at = (part.to(tl.int64) * BLOCKS + block) * BLOCK + tl.arange(0, BLOCK)
        found = tl.load(gradient + at, mask=at < size, other=0.0)
        total += found * found
    tl.store(sums + row * parts + part, tl.sum(total, axis=0))


@triton.jit
def _update(
    flat, gradient, mean, square, good, shorter, keep, size_of, root, size, new, kept, newer, eps,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1)
    if tl.load(good + row) > 0:  # of another row nothing is read, whatever its gradient
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        real = at < size
        here = row.to(tl.int64) * size + at
        found = tl.load(gradient + here, mask=real, other=0.0) * tl.load(shorter + row)
        level = tl.load(mean + here, mask=real, other=0.0)
        level += new * (found - level)
        tl.store(mean + here, level, mask=real)
        power = tl.load(square + here, mask=real, other=0.0) * kept + newer * found * found
        tl.store(square + here, power, mask=real)
        change = level / (tl.sqrt_rn(power) / tl.load(root + row) + eps)
        weight = tl.load(flat + here, mask=real, other=0.0) * tl.load(keep + row)
        tl.store(flat + here, weight - change * tl.load(size_of + row), mask=real)


@triton.jit
def _place(present, count, apart, SOME: tl.constexpr):
    """Return the layer of a program, where its language's weights begin, and its number among matrices."""
    layer, number = tl.program_id(0), tl.program_id(1)
    language = number
    if SOME:
        language = tl.load(present + number)
    return layer, tl.cast(language, tl.int64) * apart, tl.cast(layer, tl.int64) * count + number


@triton.jit
def _fold(
    gain, shift, down, down_bias, up, up_bias, present, inward, inner, outward, count, hidden, apart,
    SOME: tl.constexpr, WIDTH: tl.constexpr, ROOM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    layer, begin, here = _place(present, count, apart, SOME)
    row = tl.arange(0, ROWS)
    inside, kept = row < WIDTH, row < WIDTH + ROOM
    wide, matrix, here = begin + layer * hidden, begin + layer * WIDTH * hidden, here * (WIDTH + ROOM)
    bias = tl.load(down_bias + begin + layer * WIDTH + row, mask=inside, other=0.0)
    for start in range(0, hidden, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        fits = column < hidden
        to = (here + row[:, None]) * hidden + column[None, :]
        way = tl.load(
            down + matrix + row[:, None] * hidden + column[None, :],
            mask=inside[:, None] & fits[None, :], other=0.0,
        )  # fmt: skip
        bias += tl.sum(way * tl.load(shift + wide + column, mask=fits, other=0.0)[None, :], axis=1)
        way *= tl.load(gain + wide + column, mask=fits, other=0.0)[None, :]
        tl.store(inward + to, way.to(inward.dtype.element_ty), mask=kept[:, None] & fits[None, :])
        back = tl.load(
            up + matrix + column[:, None] * WIDTH + row[None, :],
            mask=fits[:, None] & inside[None, :], other=0.0,
        )  # fmt: skip
        last = tl.load(up_bias + wide + column, mask=fits, other=0.0)[None, :]
        back = tl.where((row == WIDTH)[:, None], last, tl.trans(back))
        tl.store(outward + to, back.to(outward.dtype.element_ty), mask=kept[:, None] & fits[None, :])
    bias = tl.where(row == WIDTH, 1.0, bias)
    tl.store(inner + here + row, bias.to(inner.dtype.element_ty), mask=kept)


@triton.jit
def _more(where, found, mask):
    tl.store(where, tl.load(where, mask=mask, other=0.0) + found, mask=mask)


@triton.jit
def _spread(
    inward, inner, outward, gain, shift, down, to_gain, to_shift, to_down, to_down_bias, to_up, to_up_bias,
    present, count, hidden, apart,
    SOME: tl.constexpr, WIDTH: tl.constexpr, ROOM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    layer, begin, here = _place(present, count, apart, SOME)
    row = tl.arange(0, ROWS)
    inside = row < WIDTH
    wide, matrix, here = begin + layer * hidden, begin + layer * WIDTH * hidden, here * (WIDTH + ROOM)
    bias = tl.load(inner + here + row, mask=inside, other=0.0)
    _more(to_down_bias + begin + layer * WIDTH + row, bias, inside)
    for start in range(0, hidden, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        fits = column < hidden
        real = inside[:, None] & fits[None, :]
        at = (here + row[:, None]) * hidden + column[None, :]
        place = matrix + row[:, None] * hidden + column[None, :]
        found = tl.load(inward + at, mask=real, other=0.0)
        way = tl.load(down + place, mask=real, other=0.0)
        _more(to_gain + wide + column, tl.sum(found * way, axis=0), fits)
        _more(to_shift + wide + column, tl.sum(bias[:, None] * way, axis=0), fits)
        found *= tl.load(gain + wide + column, mask=fits, other=0.0)[None, :]
        found += bias[:, None] * tl.load(shift + wide + column, mask=fits, other=0.0)[None, :]
        _more(to_down + place, found, real)
        back = tl.trans(tl.load(outward + at, mask=real, other=0.0))
        place = matrix + column[:, None] * WIDTH + row[None, :]
        _more(to_up + place, back, fits[:, None] & inside[None, :])
        last = tl.load(outward + (here + WIDTH) * hidden + column, mask=fits, other=0.0)
        _more(to_up_bias + wide + column, last, fits)


def norms(gradient: Tensor) -> Tensor:
    """See `adamw.norms`."""
    rows, size = gradient.shape
    parts = triton.cdiv(size, _BLOCK * _BLOCKS)
    sums = torch.empty(rows, parts, dtype=torch.float32, device=gradient.device)
    _squares[(parts, rows)](gradient, sums, size, parts, BLOCK=_BLOCK, BLOCKS=_BLOCKS, num_warps=8)
    return sums.sum(dim=1).sqrt_()


def update(
    flat: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    factors: tuple[Tensor, ...],
    betas: tuple[float, float],
    eps: float,
) -> None:
    """See `adamw.update`."""
    rows, size = flat.shape
    _update[(triton.cdiv(size, _BLOCK), rows)](
        flat, gradient, mean, square, *factors, size, 1 - betas[0], betas[1], 1 - betas[1], eps,
        BLOCK=_BLOCK, num_warps=8,
    )  # fmt: skip


def _tiles(width: int, room: int) -> dict[str, int]:
    """Return how much of a matrix one program takes."""
    rows = max(16, int(triton.next_power_of_2(width + room)))
    return {"WIDTH": width, "ROOM": room, "ROWS": rows, "COLUMNS": max(16, 4096 // rows)}


def folded(
    parts: tuple[Tensor, ...], present: Tensor | None, dtype: torch.dtype, room: int
) -> tuple[Tensor, ...]:
    """See `folding.folded`."""
    languages, layers, width, hidden = parts[2].shape
    count = languages if present is None else len(present)
    inward, outward = (
        torch.empty(layers, count, width + room, hidden, dtype=dtype, device=parts[0].device)
        for _ in range(2)
    )
    inner = torch.empty(layers, count, width + room, dtype=dtype, device=parts[0].device)
    _fold[(layers, count)](
        *parts, inner if present is None else present, inward, inner, outward, count, hidden,
        parts[0].stride(0), SOME=present is not None, **_tiles(width, room), num_warps=8,
    )  # fmt: skip
    return inward, inner, outward


def spread(
    sinks: list[Tensor], parts: tuple[Tensor, ...], gradients: tuple[Tensor, ...], present: Tensor | None
) -> None:
    """See `folding.spread`."""
    layers, count, rows, hidden = sinks[0].shape
    width = parts[2].shape[2]
    _spread[(layers, count)](
        *sinks, *parts[:3], *gradients, sinks[1] if present is None else present, count, hidden,
        parts[0].stride(0), SOME=present is not None, **_tiles(width, rows - width), num_warps=8,
    )  # fmt: skip
