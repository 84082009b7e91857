"""What a card computes otherwise than a CPU, against plain torch in float32; and the same code on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional

from mms_adapt import backbone, packed_convolutions, products, rowwise
from mms_adapt.audio import FRAME_STRIDE, RECEPTIVE_FIELD
from mms_adapt.backbone import Backbone
from mms_adapt.encoder import normalised
from mms_adapt.errors import OptionError
from mms_adapt.packed_convolutions import PackedConvolutions, PackedPositions
from mms_adapt.products import Float8, Plain
from mms_adapt.recipe import TrainConfig

CARD = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
WAVES = [tiny.speech(tiny.sentence(seed), seed) for seed in range(5)]


class _Plainly:
    """The kernels of the convolutions, in plain torch."""

    @staticmethod
    def level(samples: Tensor, begins: Tensor, counts: Tensor, longest: int) -> None:
        assert longest == int(counts.max())
        for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
            samples[begin : begin + count] = normalised(samples[begin : begin + count])

    @staticmethod
    def norm_gelu(found: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
        normed = functional.layer_norm(found.float() + bias, gain.shape, gain, shift, eps)
        return functional.gelu(normed).to(found.dtype)

    @classmethod
    def first(
        cls, samples: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, stride: int,
        eps: float, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        rows = samples.unfold(0, len(weight), stride) @ weight
        return cls.norm_gelu(rows, bias, gain, shift, eps).to(dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


def placed(base: Backbone, device: str) -> Any:
    return base.model.wav2vec2.to(device)


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("piece", [10**9, 50_000, 1])
def test_convolutions_of_utterances_behind_each_other_are_the_stock_ones(
    folder: Path, piece: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_convolutions, "_PIECE_SAMPLES", piece)
    base = backbone.load(folder, device="cpu")
    exact = base.cnn(
        nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in WAVES], batch_first=True),
        torch.tensor([len(one) for one in WAVES]),
    )
    stock = placed(base, device)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    if device == "cpu":
        monkeypatch.setattr(packed_convolutions, "_kernels", lambda: _Plainly)
    layers = stock.feature_extractor.conv_layers
    own = PackedConvolutions(layers, RECEPTIVE_FIELD, FRAME_STRIDE, dtype)
    nothing = np.zeros(0, np.float32)
    found, firsts = own([*WAVES, nothing], torch.device(device), level=True)
    assert len(firsts) == len(WAVES) + 1 and firsts[-1] < len(found)
    for row, (expected, first, wave) in enumerate(zip(exact, firsts[:-1], WAVES, strict=True)):
        count = (len(wave) - RECEPTIVE_FIELD) // FRAME_STRIDE + 1
        here = found[first : first + count].float().cpu()
        apart = float((here - expected[:count]).norm() / expected[:count].norm())
        assert apart < (1e-5 if device == "cpu" else 2e-2), row


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("frames", [1, 30, 150])
def test_positions_are_the_stock_ones(folder: Path, device: str, frames: int) -> None:
    base = backbone.load(folder, device="cpu")
    torch.manual_seed(0)
    hidden = torch.randn(3, frames, base.hidden_size)
    with torch.no_grad():
        expected = base.model.wav2vec2.encoder.pos_conv_embed(hidden)
    module = placed(base, device).encoder.pos_conv_embed
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.no_grad():
        found = PackedPositions(module, dtype)(hidden.to(device)).float().cpu()
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < (1e-5 if device == "cpu" else 2e-2)


@pytest.mark.parametrize("device", ["cpu", CARD])
def test_products_of_8_bit_floats_are_near(device: str) -> None:
    if device == "cuda" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this card has no 8-bit floats")
    torch.manual_seed(0)
    weight = (torch.randn(96, 64) * torch.logspace(-2, 0, 96)[:, None]).bfloat16().to(device)
    rows = (torch.randn(50, 64) * torch.logspace(-3, 3, 50)[:, None]).bfloat16().to(device)
    gradient, bias = torch.randn(50, 96).bfloat16().to(device), torch.randn(96).bfloat16().to(device)
    before = torch.randn(50, 64).bfloat16().to(device)
    after = torch.randn(50, 96).bfloat16().to(device)
    plain, coarse = Plain(weight.double()), Float8(weight)

    def near(found: Tensor, expected: Tensor) -> None:
        off = (found.double() - expected).norm(dim=1) / expected.norm(dim=1)
        assert found.dtype == torch.bfloat16 and 1e-4 < float(off.max()) < 0.08

    near(coarse.times(rows, None), plain.times(rows.double(), None))
    near(coarse.times(rows[25:], bias), plain.times(rows[25:].double(), bias.double()))
    near(coarse.times_gelu(before), plain.times_gelu(before.double()))
    near(coarse.back(gradient), plain.back(gradient.double()))
    near(coarse.back_gelu(gradient, after), plain.back_gelu(gradient.double(), after.double()))


def test_rows_of_zeros_stay_zeros() -> None:
    found, scales = rowwise.quantised(torch.zeros(2, 16))
    assert not found.float().any() and torch.isfinite(scales).all()


def test_where_there_are_no_8_bit_floats_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = backbone.load(folder, device="cpu")
    with pytest.raises(OptionError, match="quantise='fp8' is for bfloat16 on a card"):
        base.quantise("fp8")
    base.packing = True
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(base._frozen[0], "even_to", lambda multiple: False)
    with pytest.raises(OptionError, match="multiple of 16 channels"):
        base.quantise("fp8")
    for wrong in ({"compile": True}, {"full_finetune": True}):
        with pytest.raises(OptionError, match="quantise='fp8': it is for frozen layers"):
            TrainConfig(quantise="fp8", **wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="quantise='fp4': give none or fp8"):
        TrainConfig(quantise="fp4")


@pytest.mark.parametrize("device", ["cpu", CARD])
def test_a_layer_in_8_bit_floats_is_near_the_layer(
    folder: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = backbone.load(folder, device=device)
    base.packing = True
    base.bare()
    counts = torch.tensor([20, 13])
    features = torch.randn(2, 20, base.conv_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = base.encode(features, counts)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        used: list[int] = []
        times = products._scaled
        monkeypatch.setattr(products, "_scaled", lambda *given: used.append(1) or times(*given))
        base.quantise("fp8")
        coarse = base.encode(features, counts)
    real = torch.arange(20) < counts[:, None]
    off = float((coarse[real].float() - exact[real].float()).norm() / exact[real].float().norm())
    assert len(used) == 4 * base.layer_count and 1e-5 < off < 0.1
