"""Products with frozen matrices, forwards and backwards, in the type of the matrix or in 8-bit floats.

In: a matrix `(out, in)` and rows `(frames, in)`, or gradients `(frames, out)`. Out: rows, in the type of the
matrix. The matrix gets no gradient. It does not know layers.

With 8-bit floats (e4m3: four bits of exponent, three of mantissa) each row of what is multiplied, and each
row and column of the matrix, has a scale of its own, so that its largest number is the largest there is;
products are summed in float32. A card with tensor cores for them (compute capability 8.9 and above) takes
half the time. GELU and its derivative are rounded in the pass over memory that computes them.

Source: Micikevicius et al. 2022, FP8 Formats for Deep Learning.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mms_adapt import rowwise

Norm = tuple[Tensor, Tensor]  # factors and shift


class Matrix(Protocol):
    """A frozen matrix."""

    def times(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """Return `(frames, out)` of `(frames, in)`."""
        ...

    def times_norm(self, hidden: Tensor, norm: Norm, eps: float, bias: Tensor) -> Tensor:
        """Return `(frames, out)` of the norm of `(frames, in)`, whose factors and shift are given."""
        ...

    def times_gelu(self, before: Tensor) -> Tensor:
        """Return `(frames, out)` of GELU of `(frames, in)`."""
        ...

    def back(self, gradient: Tensor) -> Tensor:
        """Return the gradient `(frames, in)` from that of what came out, `(frames, out)`."""
        ...

    def back_gelu(self, gradient: Tensor, before: Tensor) -> Tensor:
        """Return the gradient `(frames, in)` from that of GELU of what came out.

        Args:
            gradient: Of what GELU gave, `(frames, out)`; it is lost.
            before: What GELU was given.
        """
        ...


class Plain:
    """A matrix as it is.

    Args:
        weight: `(out, in)`.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def times(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """See `Matrix`."""
        return functional.linear(rows, self._weight, bias)

    def times_norm(self, hidden: Tensor, norm: Norm, eps: float, bias: Tensor) -> Tensor:
        """See `Matrix`."""
        return functional.linear(rowwise.norm(hidden, *norm, eps), self._weight, bias)

    def times_gelu(self, before: Tensor) -> Tensor:
        """See `Matrix`."""
        return rowwise.gelu(before) @ self._weight.t()

    def gelu_times(self, rows: Tensor, bias: Tensor) -> Tensor:
        """Return GELU of `(frames, out)`, for where no way back is needed.

        In bfloat16 on a card it is computed before anything is rounded, by GELU's form with tanh, which is
        off by at most 5e-4: on the whole less than rounding first would be off, and a pass over memory less.
        """
        if rows.is_cuda and rows.dtype == torch.bfloat16 and hasattr(torch, "_addmm_activation"):
            return torch._addmm_activation(bias, rows, self._weight.t(), use_gelu=True)
        return rowwise.gelu(self.times(rows, bias))

    def back(self, gradient: Tensor) -> Tensor:
        """See `Matrix`."""
        return gradient @ self._weight

    def back_gelu(self, gradient: Tensor, before: Tensor) -> Tensor:
        """See `Matrix`."""
        return rowwise.gelu_backward(gradient, before) @ self._weight


class Float8:
    """A matrix in 8-bit floats.

    Args:
        weight: `(out, in)`, both multiples of 16.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._rows, self._row_scales = rowwise.quantised(weight)
        self._columns: tuple[Tensor, Tensor] | None = None

    def _product(self, rows: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
        return _scaled(rows, scales, self._rows, self._row_scales, bias, self._weight.dtype)

    def _back(self, rows: Tensor, scales: Tensor) -> Tensor:
        if self._columns is None:  # a service never asks
            self._columns = rowwise.quantised(self._weight.t().contiguous())
        return _scaled(rows, scales, *self._columns, None, self._weight.dtype)

    def times(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """See `Matrix`."""
        return self._product(*rowwise.quantised(rows), bias)

    def times_norm(self, hidden: Tensor, norm: Norm, eps: float, bias: Tensor) -> Tensor:
        """See `Matrix`."""
        return self._product(*rowwise.norm_quantised(hidden, *norm, eps), bias)

    def times_gelu(self, before: Tensor) -> Tensor:
        """See `Matrix`."""
        return self._product(*rowwise.gelu_quantised(before), None)

    def back(self, gradient: Tensor) -> Tensor:
        """See `Matrix`."""
        return self._back(*rowwise.quantised(gradient))

    def back_gelu(self, gradient: Tensor, before: Tensor) -> Tensor:
        """See `Matrix`."""
        return self._back(*rowwise.gelu_backward_quantised(gradient, before))


def between(up: Matrix, down: Matrix, rows: Tensor, bias: Tensor) -> Tensor:
    """Return what two matrices with GELU between them make of `(frames, in)`, where no way back is needed.

    Args:
        up: The first one.
        down: The second one.
        rows: What they are given.
        bias: What is added after the first one.
    """
    if isinstance(up, Plain):
        return down.times(up.gelu_times(rows, bias), None)
    return down.times_gelu(up.times(rows, bias))


def _scaled(
    left: Tensor,
    left_scales: Tensor,
    right: Tensor,
    right_scales: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Return `(frames, out)` of 8-bit `(frames, in)` and `(out, in)` with scales `(frames,)` and `(out,)`."""
    if left.is_cuda:
        found = torch._scaled_mm(
            left,
            right.t(),
            left_scales[:, None],
            right_scales[None],
            bias,
            out_dtype=dtype,
            use_fast_accum=True,
        )
        return torch.as_tensor(found)
    exact = (left.float() @ right.float().t()) * left_scales[:, None] * right_scales
    return (exact if bias is None else exact + bias.float()).to(dtype)
