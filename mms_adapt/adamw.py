"""AdamW over the rows of a matrix, each row as if it were alone.

In: weights, gradients and what AdamW remembers, each `(rows, weights)`, and a few numbers for every row. Out:
the same tensors, changed. In a card's memory that is one pass over them, elsewhere plain torch, which is also
what the kernel is tested against. It does not know what the rows are.

Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.
"""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from mms_adapt import rowwise

BETAS = (0.9, 0.999)
EPS = 1e-8


@dataclass(frozen=True)
class Factors:
    """Numbers of each row, float32 `(rows,)`.

    Attributes:
        good: 1 for a row that is changed, 0 for one of which nothing is; its gradient may be anything.
        shorter: What gradients are multiplied by.
        keep: What weights are multiplied by.
        size: Learning rate, for means that are not corrected for their number of steps.
        root: What the root of the squares is divided by, for their number of steps.
    """

    good: Tensor
    shorter: Tensor
    keep: Tensor
    size: Tensor
    root: Tensor


def _on(tensor: Tensor) -> ModuleType | None:
    if not (tensor.is_cuda and tensor.dtype == torch.float32 and rowwise.quick()):
        return None
    from mms_adapt import stack_kernels

    return stack_kernels


def norms(gradient: Tensor) -> Tensor:
    """Return the norm of each row of `(rows, weights)`."""
    if (quick := _on(gradient)) is not None:
        found: Tensor = quick.norms(gradient)
        return found
    return torch.as_tensor(torch.linalg.vector_norm(gradient, dim=1))


def update(flat: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, factors: Factors) -> None:
    """Change weights and what is remembered; all `(rows, weights)`, contiguous.

    Args:
        flat: The weights.
        gradient: Their gradients.
        mean: Running means of the gradients.
        square: Running means of their squares.
        factors: The numbers of each row.
    """
    if (quick := _on(flat)) is not None:
        numbers = (factors.good, factors.shorter, factors.keep, factors.size, factors.root)
        quick.update(flat, gradient, mean, square, numbers, BETAS, EPS)
        return
    good, shorter, keep, size, root = (
        one[:, None] for one in (factors.good, factors.shorter, factors.keep, factors.size, factors.root)
    )
    # a row that is not changed gets a gradient of 0, and factors that leave its numbers as they are
    gradient = torch.where(good > 0, gradient, 0.0).mul_(shorter)
    mean.lerp_(gradient, (1 - BETAS[0]) * good)
    square.mul_(torch.where(good > 0, BETAS[1], 1.0))
    square.addcmul_(gradient, gradient, value=1 - BETAS[1])
    change = torch.sqrt(square, out=gradient).div_(root).add_(EPS)
    torch.div(mean, change, out=change).mul_(size * good)
    flat.mul_(torch.where(good > 0, keep, 1.0)).sub_(change)
