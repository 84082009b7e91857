"""Frames side by side: equal to the padded layers and to stock, forwards and backwards, kernels included."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from mms_adapt import backbone, layers, packed, rowwise
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.layers import FrozenLayer
from mms_adapt.packed import Packing

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


def with_adapters(folder: Path, count: int | str, device: str = "cpu") -> Backbone:
    made = backbone.load(folder, device=device)
    made.bare()
    attention.attach(made.model, attention.Config(4, layers=count, seed=1))
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in made.model.parameters():
            if one.requires_grad:
                one.add_((0.3 * torch.randn(one.shape, generator=random)).to(one.device))
    return made


def learnt(base: Backbone, counts: Tensor, *, below: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return hidden states of the real frames, and the gradients of a loss over them."""
    random = torch.Generator().manual_seed(7)
    width = base.conv_dim if below is None else base.hidden_size
    features = torch.randn(len(counts), int(counts.max()), width, generator=random)
    base.model.zero_grad()
    hidden = base.encode(features, counts, below=below)
    real = torch.arange(hidden.shape[1]) < counts[:, None]
    (
        hidden[real].float() ** 2 * torch.linspace(0.5, 1, hidden.shape[2], device=hidden.device)
    ).mean().backward()
    gradients = {
        name: one.grad.clone() for name, one in base.model.named_parameters() if one.grad is not None
    }
    return hidden.detach()[real], gradients


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(
        float((found[name] - one).norm() / one.norm()) for name, one in expected.items() if float(one.norm())
    )


@pytest.mark.parametrize("counts", [[9, 9, 9], [5, 13, 1], [4, 0, 11]])
@pytest.mark.parametrize("count", ["all", 1])
def test_packed_equals_stock(
    folder: Path, count: int | str, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, frames = with_adapters(folder, count), torch.tensor(counts)
    below = None if count == "all" else base.layer_count - 1
    monkeypatch.setattr(FrozenLayer, "serves", lambda self: False)
    expected, stocks = learnt(base, frames, below=below)
    monkeypatch.undo()
    base.packing = True
    called: list[int] = []
    run = packed.run
    monkeypatch.setattr(packed, "run", lambda *given: called.append(1) or run(*given))
    for base.checkpointing in (False, True):
        found, gradients = learnt(base, frames, below=below)
        assert tiny.close(found, expected) and len(gradients) == len(stocks) > 0
        assert apart(gradients, stocks) < 1e-4
    assert len(called) == (base.layer_count - (below or 0)) * 3, "something was not packed"


def test_another_kind_or_a_trained_matrix_is_not_packed(folder: Path) -> None:
    base = with_adapters(folder, "all")
    base.packing = True
    layer = base.model.wav2vec2.encoder.layers[0]
    assert all(one is not None and one.packs() for one in base._frozen)
    layer.adapter_layer.forward = lambda hidden: 2 * hidden
    assert base._frozen[0] is not None and not base._frozen[0].packs()
    del layer.adapter_layer.forward
    layer.feed_forward.output_dense.weight.requires_grad_(True)
    assert not base._frozen[0].packs()


def test_pack_and_back() -> None:
    hidden = torch.arange(24.0).view(3, 4, 2)
    packing = Packing(torch.tensor([2, 4, 1]), 4, CPU)
    flat = packing.pack(hidden)
    assert flat.tolist() == [*hidden[0, :2].tolist(), *hidden[1].tolist(), hidden[2, 0].tolist()]
    back = packing.unpack(flat)
    assert back[0, :2].equal(hidden[0, :2]) and back[1].equal(hidden[1]) and not back[2, 1:].any()
    assert packing.borders.tolist() == [0, 2, 6, 7] and packing.group_of_frame.tolist() == [
        0,
        0,
        1,
        1,
        1,
        1,
        2,
    ]
    even = Packing(torch.tensor([4, 4, 4]), 4, CPU)
    assert even.pack(hidden).data_ptr() == hidden.data_ptr()


def test_each_row_through_its_own_adapter(folder: Path) -> None:
    base, counts = with_adapters(folder, "all"), torch.tensor([5, 3, 7])
    frozen = base._frozen[0]
    assert frozen is not None
    random = torch.Generator().manual_seed(1)
    own = [
        tuple(
            (torch.randn(one.shape, generator=random) * 0.3).requires_grad_() for one in layers._tensors(part)
        )
        for part in [frozen.adapter()] * 3
    ]
    hidden = torch.randn(15, base.hidden_size, generator=random).requires_grad_()
    packing = Packing(counts, 7, CPU)
    folds = [packed.fold([one])[0] for one in own]
    many = packed.Narrow(
        *(torch.stack([getattr(one, name) for one in folds]) for name in ("inward", "inner", "outward"))
    )
    found = frozen.packed(hidden, packing, many)
    (found**2).sum().backward()
    gradients = [one.grad.clone() for tensors in own for one in tensors if one.grad is not None]
    assert hidden.grad is not None
    below = hidden.grad.clone()
    for tensors in own:
        for one in tensors:
            one.grad = None
    hidden.grad = None
    parts = []
    for part, count, fold in zip(
        hidden.split(counts.tolist()), counts, [packed.fold([one])[0] for one in own], strict=True
    ):
        parts.append(frozen.packed(part, Packing(count[None], int(count), CPU), fold))
    (torch.cat(parts) ** 2).sum().backward()
    assert torch.allclose(found, torch.cat(parts), atol=1e-5)
    again = [one.grad for tensors in own for one in tensors if one.grad is not None]
    assert len(again) == len(gradients) == 18
    assert all(
        torch.allclose(left, right, rtol=1e-3, atol=1e-4)
        for left, right in zip(gradients, again, strict=True)
    )
    assert torch.allclose(below, hidden.grad, rtol=1e-3, atol=1e-4)


def test_backward_passes_are_those_of_torch() -> None:
    torch.manual_seed(0)
    given, gain, more, gradient = (torch.randn(5, 12, dtype=torch.float64) for _ in range(4))
    gain = gain[0]
    leaf = given.clone().requires_grad_()
    layer_norm(leaf, (12,), gain).backward(gradient)
    assert leaf.grad is not None
    assert torch.allclose(
        rowwise.norm_backward(gradient, given, gain, more, 1e-5), more + leaf.grad, rtol=1e-6
    )
    narrow, matrix = torch.randn(5, 3, dtype=torch.float64), torch.randn(3, 12, dtype=torch.float64)
    total, normed, inverse = rowwise.add_norm(given, more, gain, None, None, 1e-5)
    leaf = total.clone().requires_grad_()
    layer_norm(leaf, (12,)).backward(narrow @ matrix)
    found = rowwise.widen_norm_backward(narrow, matrix, None, normed, inverse, more)
    assert leaf.grad is not None and torch.allclose(found, more + leaf.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("frames", "size"), [(7, 48), (1000, 1280), (333, 96)])
def test_kernels_equal_torch(frames: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, device="cuda").bfloat16()

    left, right, gradient = some(frames, size), some(frames, size), some(frames, size)
    bias, gain, shift = some(size), some(size), some(size)
    narrow, matrix, matrices = some(frames, 24), some(24, size), some(3, 2, 24, size)[:, 1]
    narrow[:, 17:] = 0
    of_frame = torch.arange(frames, device="cuda", dtype=torch.int32) * 3 // frames
    inverse = torch.rand(frames, device="cuda") + 0.5

    def everything(kind: torch.dtype) -> list[Tensor]:
        a, b, g, c, d, e, n, m, mm = (
            one.to(kind) for one in (left, right, gradient, bias, gain, shift, narrow, matrix, matrices)
        )
        total, normed, _ = rowwise.add_norm(a, b, c, d, e, 1e-5)
        _, plain, scale = rowwise.add_norm(a, b, c, None, None, 1e-5)
        return [
            total,
            normed,
            plain,
            scale,
            rowwise.norm_backward(g, a, d, b, 1e-5),
            rowwise.widen(n, m, None, a),
            rowwise.widen(n, mm, of_frame, a),
            rowwise.widen_norm_backward(n, m, None, a, inverse, b),
            rowwise.widen_norm_backward(n, mm, of_frame, a, inverse, b),
        ]

    quick = everything(torch.bfloat16)
    monkeypatch.setattr(rowwise, "_kernels", lambda: None)
    for found, expected in zip(quick, everything(torch.float64), strict=True):
        assert float((found.double() - expected).norm() / expected.norm()) < 6e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("counts", [[90, 90, 90], [50, 130, 1], [40, 0, 110]])
def test_on_a_card_packed_is_as_near_to_float32_as_padded(folder: Path, counts: list[int]) -> None:
    exact, gradients = learnt(with_adapters(folder, "all"), torch.tensor(counts))
    base = with_adapters(folder, "all", "cuda")
    assert base.packing, "packing is not on by itself"
    found, packs = learnt(base, torch.tensor(counts))
    base.packing = False
    padded, pads = learnt(base, torch.tensor(counts))

    def off(one: Tensor) -> float:
        return float((one.float().cpu() - exact).norm() / exact.norm())

    assert off(found) < 1.5 * off(padded) + 1e-3

    def far(some: dict[str, Tensor]) -> float:
        left, right = (
            torch.cat([side[name].reshape(-1).cpu() for name in gradients]) for side in (some, gradients)
        )
        return float((left - right).norm() / right.norm())

    assert far(packs) < 1.5 * far(pads) + 1e-3
