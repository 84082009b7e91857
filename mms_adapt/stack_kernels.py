"""What many adapters in one pass need beside the layers' own arithmetic, written in Triton.

In: weights of many languages in a card's memory, a row a language. Out: the same, changed by a step. It does
not know layers or training; `adamw` has the same functions in plain torch and chooses between the two.
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
