"""Adapters of many languages as few matrices and back, as one by one; and what a card computes for them."""

import pytest
import torch
from torch import Tensor

from mms_adapt import folding, packed, rowwise
from mms_adapt.packed import Packing

HIDDEN, SIZE, LAYERS, LANGUAGES = 48, 4, 3, 5
SHAPES = ((HIDDEN,), (HIDDEN,), (SIZE, HIDDEN), (SIZE,), (HIDDEN, SIZE), (HIDDEN,))
CARD = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


def laid(seed: int, device: str = "cpu") -> tuple[Tensor, folding.Parts]:
    """Weights of all languages, and the parts, which are views."""
    total = LAYERS * sum(torch.Size(one).numel() for one in SHAPES)
    flat = torch.randn(LANGUAGES, total + 7, generator=torch.Generator().manual_seed(seed)).to(device)
    parts, start = [], 0
    for shape in SHAPES:
        end = start + LAYERS * torch.Size(shape).numel()
        parts.append(flat[:, start:end].view(LANGUAGES, LAYERS, *shape))
        start = end
    return flat, tuple(parts)


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("places", [None, [1, 3]])
def test_many_together_are_what_each_is_alone(device: str, places: list[int] | None) -> None:
    _, parts = laid(0, device)
    total, gradients = laid(1, device)
    before = total.clone()
    present = None if places is None else torch.tensor(places, device=device)
    found = folding.folded(parts, present, torch.float32)
    sinks = [torch.randn(one.shape, device=device) for one in found]
    folding.spread(sinks, parts, gradients, present)
    _, were = laid(1, device)
    for at, place in enumerate(places or range(LANGUAGES)):
        leaves = [one[place].clone().requires_grad_() for one in parts]
        alone = packed.fold([tuple(layer) for layer in zip(*leaves, strict=True)])
        for layer, one in enumerate(alone):
            for matrix, many, sink in zip((one.inward, one.inner, one.outward), found, sinks, strict=True):
                torch.testing.assert_close(many[layer, at], matrix, rtol=1e-5, atol=1e-5)
                (matrix * sink[layer, at]).sum().backward(retain_graph=True)
        for gradient, was, leaf in zip(gradients, were, leaves, strict=True):
            assert leaf.grad is not None
            torch.testing.assert_close(gradient[place] - was[place], leaf.grad, rtol=1e-4, atol=1e-4)
    others = [one for one in range(LANGUAGES) if one not in (places or range(LANGUAGES))]
    assert total[others].equal(before[others])


def test_layers_that_are_not_used_get_no_gradient() -> None:
    _, parts = laid(0)
    total, gradients = laid(1)
    before = total.clone()
    anchor = torch.zeros(1, requires_grad=True)
    layers = folding.fold(anchor, parts, gradients, None, torch.float32, whole=False)
    assert layers[1].sinks is not None
    layers[1].sinks[1].fill_(2.0)  # what a layer does in its backward pass
    layers[1].inner.sum().backward()
    assert anchor.grad is None
    for number, (gradient, was) in enumerate(zip(gradients, laid(1)[1], strict=True)):
        assert gradient[:, [0, 2]].equal(was[:, [0, 2]])
        assert gradient[:, 1].equal(was[:, 1]) is (number not in (1, 2, 3)), "shift, way down, its bias"
    assert not total.equal(before)
    with torch.no_grad():
        assert folding.fold(anchor, parts, gradients, None, torch.float32, whole=True)[0].sinks is None


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("counts", [[70, 3, 0, 260], [333]])
def test_narrow_frames(device: str, counts: list[int]) -> None:
    torch.manual_seed(0)
    exact = device == "cpu"
    kind, near = (torch.float32, 1e-5) if exact else (torch.bfloat16, 2e-2)
    frames, width, groups = sum(counts), 24, len(counts)
    packing = Packing(torch.tensor(counts), max(counts), torch.device(device), range(groups))
    narrow, gradient = (torch.randn(frames, width).to(device, kind) for _ in range(2))
    wide, bias = (
        torch.randn(frames, 96).to(device, kind),
        torch.randn(groups, 2, width).to(device, kind)[:, 1],
    )
    owner = torch.arange(groups).repeat_interleave(torch.tensor(counts)).to(device)
    made = rowwise.bias_relu(narrow.clone(), bias, packing.group_of_frame)
    torch.testing.assert_close(made.float(), (narrow + bias[owner]).relu().float(), rtol=near, atol=near)
    before = rowwise.relu_backward(gradient.clone(), made, 17)
    expected = gradient * (made > 0)
    expected[:, 17:] = 0
    assert before.equal(expected)
    out, sums = (torch.empty(groups, width, *more, device=device) for more in ((96,), ()))
    packing.outer_each(before, wide, out, sums)
    for group in range(groups):
        mine = owner == group
        left, right = before[mine].double(), wide[mine].double()
        torch.testing.assert_close(out[group].double(), left.t() @ right, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(sums[group].double(), left.sum(0), rtol=1e-3, atol=1e-3)
    broken = rowwise.bias_relu(torch.full_like(narrow, torch.nan), bias, packing.group_of_frame)
    assert broken.isnan().all(), "what is no number was hidden"
