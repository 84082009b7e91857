"""8-bit integers in the encoder: what they compute, what they leave alone; frames stay independent."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from mms_adapt import backbone, quantise
from mms_adapt.bank import Bank
from mms_adapt.errors import OptionError
from mms_adapt.quantise import Int8Linear
from mms_adapt.transcribe import TranscribeOptions, Transcriber, transcribe


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantised")
    tiny.fitted(backbone.load(tiny.backbone(folder / "base", seed=1), device="cpu"), folder / "mdw")
    return folder / "mdw"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("onednn", [True, False])
def test_it_is_integer_arithmetic_with_a_scale_a_row(
    bias: bool, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if onednn and not quantise.has_onednn():
        pytest.skip("torch has no oneDNN on this processor")
    monkeypatch.setattr(quantise, "has_onednn", lambda: onednn)
    most = quantise.largest()
    torch.manual_seed(0)
    linear = nn.Linear(48, 32, bias=bias)
    hidden = torch.randn(2, 5, 48) * torch.tensor([1.0, 100.0])[:, None, None]
    found = Int8Linear(linear)(hidden)

    def rounded(rows: np.ndarray, most: float = 127) -> tuple[np.ndarray, np.ndarray]:
        scale = np.abs(rows).max(axis=-1, keepdims=True) / most
        return np.rint(rows / scale).astype(np.int64), scale

    weights, row_scale = rounded(linear.weight.detach().numpy())
    values, frame_scale = rounded(hidden.numpy(), most)
    expected = (values @ weights.T) * frame_scale * row_scale[:, 0]
    if bias:
        expected = expected + linear.bias.detach().numpy()
    assert np.allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    exact = linear(hidden).detach()
    error = float((found - exact).norm() / exact.norm())
    assert 1e-4 < error < 0.02


def test_sums_of_the_largest_integers_do_not_overflow() -> None:
    linear = nn.Linear(256, 8, bias=False)
    with torch.no_grad():
        linear.weight.fill_(1.0)
    found = Int8Linear(linear)(torch.ones(1, 3, 256))
    assert np.allclose(found.numpy(), 256.0, rtol=1e-6)


def test_a_frame_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(1)
    layer = Int8Linear(nn.Linear(48, 32))
    loud, quiet = 1000 * torch.randn(1, 4, 48), torch.randn(1, 4, 48)
    assert torch.equal(layer(torch.cat([loud, quiet]))[1], layer(quiet)[0])
    assert layer(torch.zeros(1, 3, 48)).isfinite().all()
    assert layer(torch.zeros(1, 0, 48)).shape == (1, 0, 32)


def test_it_replaces_the_encoders_layers_and_nothing_else(adapter: Path) -> None:
    model = Transcriber.load(adapter, options=TranscribeOptions(device="cpu", quantise="int8")).backbone.model
    changed = [name for name, one in model.named_modules() if isinstance(one, Int8Linear)]
    assert len(changed) == 6 * tiny.SHAPE["num_hidden_layers"]
    kept = [name for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    assert any("adapter_layer" in name for name in kept) and "lm_head" in kept
    assert not [name for name in kept if ".attention." in name or ".feed_forward." in name]


def test_texts_stay_close_and_batches_equal_one_by_one(adapter: Path) -> None:
    waves = [tiny.speech(tiny.sentence(seed), seed) for seed in range(12)]
    exact = Transcriber.load(adapter, options=TranscribeOptions(device="cpu"))
    coarse = Transcriber.load(adapter, options=TranscribeOptions(device="cpu", quantise="int8"))
    far = [np.abs(a - b).max() for a, b in zip(exact.emissions(waves), coarse.emissions(waves), strict=True)]
    assert 0 < max(far) < 3
    together = [one.text for one in coarse.waveforms(waves)]
    assert together == [coarse.waveforms([one])[0].text for one in waves]
    same = sum(a.text == b for a, b in zip(exact.waveforms(waves), together, strict=True))
    assert same >= 6


def test_what_cannot_be_quantised_is_told(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="quantise='int4': give none or int8 or fp8"):
        transcribe(tiny.speech("ab"), adapter=adapter, device="cpu", quantise="int4")
    base = backbone.load(tiny.backbone(tmp_path / "base"), device="cpu")
    base.model.wav2vec2.encoder.layers[1].attention.q_proj.weight.requires_grad_(True)
    with pytest.raises(OptionError, match="learns nothing"):
        quantise.encoder(base.model)
    base = backbone.load(tmp_path / "base", device="cpu", dtype=torch.bfloat16)
    with pytest.raises(OptionError, match=r"bfloat16 on cpu: leave it out"):
        quantise.encoder(base.model)


def test_a_bank_computes_with_integers_too(adapter: Path, tmp_path: Path) -> None:

    shutil.copytree(adapter, tmp_path / "registry" / "mdw")
    waveform = tiny.speech("ab ba")
    options = TranscribeOptions(device="cpu", quantise="int8")
    bank = Bank(tmp_path / "registry", options=options)
    assert any(isinstance(one, Int8Linear) for one in bank.backbone.model.modules())
    one = Transcriber.load(adapter, options=options).emissions([waveform])[0]
    other = bank.voice("mdw").emissions([waveform])[0]
    assert np.allclose(one, other, atol=1e-3)
