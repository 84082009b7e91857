"""What the convolutions of the encoder do beside their matrix products, written in Triton.

In: audio, or what a product gave, in a card's memory, contiguous. Out: frames `(frames, channels)`. Sums are
float32, and nothing is rounded between a convolution's bias, its norm and GELU. It does not know modules;
`packed_convolutions` puts these together.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mms_adapt.kernels import _below

_CHUNK = 4096  # samples of one partial sum


@triton.jit
def _normed_gelu(found, at, real, gain, shift, size, eps):
    """Return GELU of the norm of `(frames, channels)` over channels; those that are not real are zero."""
    mean = tl.sum(found, axis=1) / size
    apart = tl.where(real[None, :], found - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(apart * apart, axis=1) / size + eps)
    apart *= scale[:, None]
    apart *= tl.load(gain + at, mask=real, other=0.0)[None, :]
    apart += tl.load(shift + at, mask=real, other=0.0)[None, :]
    below, _ = _below(apart)
    return apart * below


@triton.jit
def _first(
    samples, weight, bias, gain, shift, out, frames, size, eps,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    at = tl.arange(0, BLOCK)
    there, real = row < frames, at < size
    found = tl.zeros((FRAMES, BLOCK), dtype=tl.float32)
    for tap in tl.static_range(KERNEL):
        heard = tl.load(samples + row * STRIDE + tap, mask=there, other=0.0)
        found += heard[:, None] * tl.load(weight + tap * size + at, mask=real, other=0.0)[None, :]
    found += tl.load(bias + at, mask=real, other=0.0)[None, :]
    found = _normed_gelu(found, at, real, gain, shift, size, eps)
    here = row[:, None] * size + at[None, :]
    tl.store(out + here, found.to(out.dtype.element_ty), mask=there[:, None] & real[None, :])


@triton.jit
def _norm_gelu(
    given, bias, gain, shift, frames, size, eps, FRAMES: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    at = tl.arange(0, BLOCK)
    there, real = row < frames, at < size
    here = row[:, None] * size + at[None, :]
    mask = there[:, None] & real[None, :]
    found = tl.load(given + here, mask=mask, other=0.0).to(tl.float32)
    found += tl.load(bias + at, mask=real, other=0.0)[None, :]
    found = _normed_gelu(found, at, real, gain, shift, size, eps)
    tl.store(given + here, found.to(given.dtype.element_ty), mask=mask)


@triton.jit
def _sums(samples, begins, counts, means, sums, chunks, CHUNK: tl.constexpr, SQUARES: tl.constexpr):
    row, chunk = tl.program_id(0), tl.program_id(1)
    at = chunk * CHUNK + tl.arange(0, CHUNK)
    real = at < tl.load(counts + row)
    found = tl.load(samples + tl.load(begins + row) + at, mask=real, other=0.0)
    if SQUARES:
        found = tl.where(real, found - tl.load(means + row), 0.0)
        found *= found
    tl.store(sums + row * chunks + chunk, tl.sum(found, axis=0))


@triton.jit
def _level(samples, begins, counts, means, scales, CHUNK: tl.constexpr):
    row, chunk = tl.program_id(0), tl.program_id(1)
    at = chunk * CHUNK + tl.arange(0, CHUNK)
    real = at < tl.load(counts + row)
    here = samples + tl.load(begins + row) + at
    found = tl.load(here, mask=real, other=0.0)
    tl.store(here, (found - tl.load(means + row)) * tl.load(scales + row), mask=real)


def level(samples: Tensor, begins: Tensor, counts: Tensor, longest: int) -> None:
    """Bring each utterance to mean zero and variance one, in its place, as `encoder.normalised` does.

    Args:
        samples: All of them, float32 `(samples,)`.
        begins: Where each begins, int64 `(batch,)`.
        counts: Samples of each, int64 `(batch,)`.
        longest: The most samples of one.
    """
    chunks = triton.cdiv(longest, _CHUNK)
    grid = (len(counts), chunks)
    sums = torch.empty(grid, dtype=torch.float32, device=samples.device)
    means = torch.zeros(len(counts), dtype=torch.float32, device=samples.device)
    _sums[grid](samples, begins, counts, means, sums, chunks, CHUNK=_CHUNK, SQUARES=False)
    torch.div(sums.sum(1), counts, out=means)
    _sums[grid](samples, begins, counts, means, sums, chunks, CHUNK=_CHUNK, SQUARES=True)
    scales = torch.rsqrt(sums.sum(1) / counts + 1e-7)
    _level[grid](samples, begins, counts, means, scales, CHUNK=_CHUNK)


def first(
    samples: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, stride: int, eps: float,
    dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """Return GELU of the norm of the first convolution, `(frames, channels)`.

    Args:
        samples: float32 `(samples,)`.
        weight: float32 `(kernel, channels)`.
        bias: float32 `(channels,)`, as are `gain` and `shift` of the norm.
        gain: The norm's factors.
        shift: What it adds.
        stride: Samples between frames.
        eps: What the norm adds to a variance.
        dtype: The type that comes out.
    """
    kernel, size = weight.shape
    frames = (len(samples) - kernel) // stride + 1
    out = torch.empty(frames, size, dtype=dtype, device=samples.device)
    block = triton.next_power_of_2(size)
    at_once = max(1, 4096 // block)
    _first[(triton.cdiv(frames, at_once),)](
        samples, weight, bias, gain, shift, out, frames, size, eps,
        KERNEL=kernel, STRIDE=stride, FRAMES=at_once, BLOCK=block, num_warps=8,
    )  # fmt: skip
    return out


def norm_gelu(found: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Add a bias to `(frames, channels)` and take GELU of its norm, in its place."""
    frames, size = found.shape
    block = triton.next_power_of_2(size)
    at_once = max(1, 2048 // block)
    _norm_gelu[(triton.cdiv(frames, at_once),)](
        found, bias, gain, shift, frames, size, eps, FRAMES=at_once, BLOCK=block, num_warps=4
    )
    return found
