"""Attention of frames side by side: each row to itself, forwards and backwards, kernels included."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softmax

from mms_adapt import attending, rowwise

CARD = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
ROWS = [[37, 150, 1], [64, 128], [5, 0, 260, 0]]


def expected(three: Tensor, counts: list[int]) -> Tensor:
    """Return what attention is by its definition."""
    parts = []
    for row in three.split(counts):
        query, key, value = row.permute(1, 2, 0, 3)  # `(3, heads, frames, channels)`
        scores = query @ key.transpose(1, 2) / three.shape[3] ** 0.5
        parts.append((softmax(scores, dim=-1) @ value).transpose(0, 1))
    return torch.cat(parts)


def off(found: Tensor, exact: Tensor) -> float:
    found, exact = found.detach().double(), exact.detach()
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("counts", ROWS)
@pytest.mark.parametrize("channels", [80, 64, 8, 96])
@pytest.mark.parametrize("way", ["kernels", "varlen"])
@pytest.mark.parametrize("device", ["cpu", CARD])
def test_a_row_attends_to_itself(
    device: str, way: str, channels: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "varlen":
        if device == "cpu":
            pytest.skip("one way on a CPU")
        monkeypatch.setattr(rowwise, "_kernels", lambda: None)
    torch.manual_seed(channels)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    # sharp attention in some rows: scores of dozens
    factors = torch.linspace(0.2, 2, sum(counts))[:, None, None, None]
    three = torch.randn(sum(counts), 3, 2, channels) * factors
    three = three.to(device, dtype).requires_grad_()
    gradient = torch.randn(sum(counts), 2, channels).to(device, dtype)
    ends = [sum(counts[:number]) for number in range(len(counts) + 1)]
    borders = torch.tensor(ends, dtype=torch.int32, device=device)
    found = attending.hear(three, borders, ends, max(counts) + 70)
    (back,) = torch.autograd.grad(found, three, gradient)
    exact = three.detach().double().requires_grad_()
    whole = expected(exact, counts)
    (gradients,) = torch.autograd.grad(whole, exact, gradient.double())
    assert found.shape == whole.shape and found.dtype == dtype and back.shape == three.shape
    bound = 3e-6 if dtype == torch.float32 else 1e-2
    assert off(found, whole) < bound and off(back, gradients) < 2 * bound


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_kernels_write_every_frame_and_nothing_else() -> None:
    kernels = attending._kernels()
    assert kernels is not None
    counts = [70, 3, 129]
    ends = [0, 70, 73, 202]
    borders = torch.tensor(ends, dtype=torch.int32, device="cuda")
    three = torch.randn(210, 3, 2, 80, device="cuda").bfloat16()
    three[202:] = float("nan")  # of no row
    out, levels = kernels.hear(three, borders, max(counts))
    back = kernels.hear_backward(torch.ones_like(out), three, out, levels, borders, max(counts))
    assert torch.isfinite(out[:202]).all() and torch.isfinite(back[:202]).all()
    alone, _ = kernels.hear(three[70:73].contiguous(), borders.new_tensor([0, 3]), 3)
    assert torch.equal(out[70:73], alone), "a row depends on its neighbours"
