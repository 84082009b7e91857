"""The frozen model: equal to stock, padding without effect, nothing trains, bad models are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2FeatureExtractor

from mms_adapt import backbone, device, pretrained
from mms_adapt.audio import frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.encoder import BLOCK_FRAMES, Convolutions, PositionalConvolution
from mms_adapt.errors import BackboneError, LanguageError, OptionError
from mms_adapt.masks import Masks

WAVES = [tiny.speech("abc de"), tiny.speech("fgh abc dd bb"), tiny.speech("a"), tiny.speech("")[:500]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def base(folder: Path) -> Backbone:
    return backbone.load(folder, device="cpu")


def logits(base: Backbone, batch: tiny.Padded) -> torch.Tensor:
    features = base.cnn(batch.waveforms, batch.sample_counts)
    return base.logits(base.encode(features, batch.frame_counts))


def test_logits_equal_stock(folder: Path, base: Backbone) -> None:
    batch = tiny.padded(*WAVES)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    inputs = extractor(WAVES, padding=True, return_tensors="pt", sampling_rate=tiny.RATE_HZ)
    found = logits(base, batch)
    with torch.no_grad():
        stock = tiny.model()(**inputs).logits
    assert found.shape == stock.shape
    for row, count in enumerate(batch.frame_counts):
        assert tiny.close(found[row, :count], stock[row, :count])


def test_a_batch_equals_one_by_one_and_padding_may_hold_anything(base: Backbone) -> None:
    batch = tiny.padded(*WAVES)
    together = logits(base, batch)
    noisy = batch.waveforms.clone()
    features = base.cnn(batch.waveforms, batch.sample_counts)
    for row, (samples, frames) in enumerate(zip(batch.sample_counts, batch.frame_counts, strict=True)):
        noisy[row, samples:] = 9.0
        features[row, frames:] = 9.0
        alone = logits(base, tiny.padded(WAVES[row]))[0]
        assert tiny.close(together[row, :frames], alone)
    dirty = base.logits(base.encode(features, batch.frame_counts))
    from_noise = logits(base, tiny.Padded(noisy, batch.sample_counts, batch.frame_counts))
    for row, frames in enumerate(batch.frame_counts):
        assert torch.equal(together[row, :frames], from_noise[row, :frames])
        assert torch.equal(together[row, :frames], dirty[row, :frames])


def test_too_short_for_a_frame_is_finite_and_harms_nobody(base: Backbone) -> None:
    short = tiny.padded(WAVES[0], np.zeros(300, np.float32))
    found = logits(base, short)
    assert torch.isfinite(found).all()
    assert tiny.close(found[0], logits(base, tiny.padded(WAVES[0]))[0])


@pytest.mark.parametrize("normalise", [True, False])
def test_audio_is_normalised_row_by_row_as_stock_does(tmp_path: Path, normalise: bool) -> None:
    folder = tiny.backbone(tmp_path / "b")
    settings = {"do_normalize": normalise, "sampling_rate": tiny.RATE_HZ, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    base = backbone.load(folder, device="cpu")
    loud = [3 * WAVES[0] + 0.2, WAVES[1]]
    extractor = Wav2Vec2FeatureExtractor(**settings)
    inputs = extractor(loud, padding=True, return_tensors="pt", sampling_rate=tiny.RATE_HZ)
    batch = tiny.padded(*loud)
    found = base.cnn(batch.waveforms, batch.sample_counts)
    with torch.no_grad():
        stock = tiny.model().wav2vec2.feature_extractor(inputs["input_values"]).transpose(1, 2)
    for row, count in enumerate(batch.frame_counts):
        assert tiny.close(found[row, :count], stock[row, :count])


@pytest.mark.parametrize(
    "samples", [400, 719, 720, 16_000, BLOCK_FRAMES * 320 + 80, BLOCK_FRAMES * 320 + 400, 130_000]
)
def test_quick_convolutions_equal_stock(samples: int) -> None:
    extractor = tiny.model().wav2vec2.feature_extractor
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    with torch.no_grad():
        found = Convolutions(extractor.conv_layers, 400, 320)(wave)
        stock = extractor(wave[None])[0].T
    assert found.shape == stock.shape == (frame_count(samples), 24)
    assert tiny.close(found, stock)


@pytest.mark.parametrize("frames", [1, 2, 32, 33, 34, 66, 200])
@pytest.mark.parametrize("kernel", [16, 15])
def test_quick_positions_equal_stock(frames: int, kernel: int) -> None:
    module = tiny.model(num_conv_pos_embeddings=kernel).wav2vec2.encoder.pos_conv_embed
    hidden = torch.randn(3, frames, 32, generator=torch.Generator().manual_seed(frames))
    with torch.no_grad():
        assert tiny.close(PositionalConvolution(module)(hidden), module(hidden))


def test_frozen_means_frozen(base: Backbone) -> None:
    assert not [name for name, one in base.model.named_parameters() if one.requires_grad]
    assert not base.model.training
    batch = tiny.padded(*WAVES)
    features = base.cnn(batch.waveforms.requires_grad_(), batch.sample_counts)
    assert not features.requires_grad
    assert base.encode(features, batch.frame_counts).grad_fn is None
    base.put_head(7)
    assert not [name for name, one in base.model.named_parameters() if one.requires_grad]
    base.model.requires_grad_(True)
    assert not base.prefix(features, batch.frame_counts, 1).requires_grad


def test_layers_below_the_lowest_trained_adapter_keep_nothing(base: Backbone) -> None:
    batch = tiny.padded(*WAVES[:2])
    features = base.cnn(batch.waveforms, batch.sample_counts)
    kept = []
    for layer in base.model.wav2vec2.encoder.layers:
        for parameter in base.model.parameters():
            parameter.requires_grad_(False)
        layer.adapter_layer.requires_grad_(True)
        sizes: list[int] = []

        def count(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda one: one):
            base.encode(features, batch.frame_counts)
        kept.append(sum(sizes))
    assert kept[0] > 1.6 * kept[1] > 1.6 * 1.6 * kept[2] > 0


def test_masks_hide_frames_and_channels(base: Backbone) -> None:
    batch = tiny.padded(*WAVES[:2])
    features = base.cnn(batch.waveforms, batch.sample_counts)
    frames = features.shape[1]
    time, channels = torch.zeros(2, frames, dtype=torch.bool), torch.zeros(2, 32, dtype=torch.bool)
    plain = base.encode(features, batch.frame_counts)
    assert torch.equal(plain, base.encode(features, batch.frame_counts, masks=Masks(time, channels)))
    time[0, 10:20] = True
    hidden = base.encode(features, batch.frame_counts, masks=Masks(time, channels))
    changed = features.clone()
    changed[0, 10:20] = 5.0
    assert torch.equal(hidden, base.encode(changed, batch.frame_counts, masks=Masks(time, channels)))
    assert not torch.equal(hidden[0], plain[0]) and tiny.close(hidden[1], plain[1])
    inputs = tiny.model()
    with torch.no_grad():
        projected = inputs.wav2vec2.feature_projection(features)[0]
        projected[time] = inputs.wav2vec2.masked_spec_embed
        mask = torch.arange(frames) < batch.frame_counts[:, None]
        stock = inputs.wav2vec2.encoder(projected, attention_mask=mask).last_hidden_state
    assert tiny.close(hidden[0, : batch.frame_counts[0]], stock[0, : batch.frame_counts[0]])


def test_fingerprint_is_of_the_frozen_weights_alone(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    first = pretrained.fingerprint(tensors.items())
    assert backbone.load(folder, device="cpu").fingerprint == first
    assert pretrained.fingerprint(reversed(tensors.items())) == first
    head = {**tensors, "lm_head.weight": tensors["lm_head.weight"] + 1}
    assert pretrained.fingerprint(head.items()) == first
    adapter = "wav2vec2.encoder.layers.1.adapter_layer.linear_1.weight"
    assert pretrained.fingerprint({**tensors, adapter: tensors[adapter] + 1}.items()) == first
    name = "wav2vec2.encoder.layers.1.attention.q_proj.weight"
    one_bit = tensors[name].clone()
    one_bit.view(torch.int32)[0, 0] ^= 1
    for other in (one_bit, tensors[name].half(), tensors[name].T.contiguous(), tensors[name].reshape(-1)):
        assert pretrained.fingerprint({**tensors, name: other}.items()) != first
    renamed = {key.replace("q_proj.weight", "q_proj.waight"): one for key, one in tensors.items()}
    assert pretrained.fingerprint(renamed.items()) != first


def test_old_names_of_weight_norm_are_the_same_model(folder: Path, tmp_path: Path) -> None:
    other = tiny.backbone(tmp_path / "b")
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    tensors = load_file(other / "model.safetensors")
    for new, old in names.items():
        tensors = {name.replace(new, old): one for name, one in tensors.items()}
    assert any(name.endswith("weight_g") for name in tensors)
    save_file(tensors, other / "model.safetensors")
    assert backbone.load(other, device="cpu").fingerprint == backbone.load(folder, device="cpu").fingerprint


def test_half_precision_on_disk_is_computed_in_float32(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "b")
    tensors = {name: one.half() for name, one in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    base = backbone.load(folder, device="cpu")
    assert {one.dtype for one in base.model.parameters()} == {torch.float32}
    assert torch.isfinite(logits(base, tiny.padded(*WAVES))).all()


def test_in_bfloat16_only_the_large_matrices_are(folder: Path, base: Backbone) -> None:
    """What a GPU does, here on the CPU: autocast, with adapters, head and norms in float32."""
    half = backbone.load(folder, device="cpu", dtype=torch.bfloat16)
    small = {name for name, one in half.model.named_parameters() if one.dtype == torch.float32}
    assert half.fingerprint == base.fingerprint and half.dtype == torch.bfloat16
    assert not any(name.endswith(("q_proj.weight", "dense.weight")) for name in small)
    assert all(name in small for name, _ in half.model.named_parameters() if pretrained.is_owned(name))
    batch = tiny.padded(*WAVES)
    features, expected = (one.cnn(batch.waveforms, batch.sample_counts) for one in (half, base))
    for row, count in enumerate(batch.frame_counts):
        assert tiny.close(features[row, :count], expected[row, :count])
    for one in half.model.parameters():
        one.requires_grad_(one.dtype == torch.float32 and one.ndim == 2)
    found, exact = logits(half, batch), logits(base, batch)
    assert found.dtype == torch.float32
    for row, count in enumerate(batch.frame_counts):
        difference = (found.detach() - exact)[row, :count]
        assert float(difference.norm() / exact[row, :count].norm()) < 0.05
    found.sum().backward()
    gradient = half.model.wav2vec2.encoder.layers[0].adapter_layer.linear_1.weight.grad
    assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all() and gradient.any()


def test_bare_takes_out_whatever_was_put_in(base: Backbone) -> None:
    batch = tiny.padded(*WAVES)
    first = logits(base, batch)
    layers = base.model.wav2vec2.encoder.layers
    layers[0].adapter_layer = None
    layers[1].attention.q_proj = torch.nn.Linear(32, 32)
    layers[2].extra = torch.nn.Linear(1, 1)
    base.put_head(7)
    assert logits(base, batch).shape[-1] == 7
    base.bare()
    assert torch.equal(logits(base, batch), first)
    assert not hasattr(layers[2], "extra")


def test_a_model_without_adapters_of_its_own_is_welcome(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "b")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: one for name, one in tensors.items() if not pretrained.is_owned(name)}
    save_file(kept, folder / "model.safetensors")
    base = backbone.load(folder, device="cpu")
    assert torch.isfinite(logits(base, tiny.padded(*WAVES))).all()
    with pytest.raises(BackboneError, match="holds no adapter"):
        base.start()
    with pytest.raises(BackboneError, match=r"there is no adapter\.mdw\.safetensors"):
        base.start("mdw")
    with pytest.raises(LanguageError):
        base.start("../../evil")


def test_licence_and_facts(base: Backbone, folder: Path) -> None:
    assert (base.licence, base.hidden_size, base.layer_count) == ("cc0-1.0", 32, 3)
    assert (base.conv_dim, base.adapter_size, base.name) == (24, 4, str(folder))
    vocab = base.own_vocab()
    assert vocab is not None and vocab.tokens == tiny.ENGLISH.tokens


def change_config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), encoding="utf-8")

    return change


def change_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


LAYER = "wav2vec2.encoder.layers.1.attention.q_proj.weight"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (change_config(do_stable_layer_norm=False), "adapters would silently be absent"),
        (change_config(adapter_attn_dim=None), "adapter_attn_dim is not set"),
        (change_config(feat_extract_norm="group"), "feat_extract_norm"),
        (change_config(model_type="hubert"), "hubert"),
        (change_config(conv_stride=[5, 2, 2, 2, 2, 2, 1]), "160 samples"),
        (change_config(hidden_size=64), "does not fit"),
        (change_weights(lambda one: one.pop(LAYER)), f"1 weights are missing, such as {LAYER}"),
        (
            change_weights(lambda one: one.update(stray=torch.ones(1))),
            "weights are unexpected, such as str",
        ),
        (
            change_weights(lambda one: one.pop("wav2vec2.encoder.layers.1.adapter_layer.norm.bias")),
            "weights are missing, such as wav2vec2.encoder.layers.1.adapter_layer.norm.bias",
        ),
        (pickled, "never from pickles"),
        (cut_short, "cut short"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: this file is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "processor_config.json"),
    ],
)
def test_what_is_no_backbone_is_refused(spoil: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "b")
    spoil(folder)
    with pytest.raises(BackboneError, match=says.replace("(", r"\(")):
        backbone.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../nowhere"])
def test_a_name_that_leads_nowhere(name: str) -> None:
    with pytest.raises(BackboneError, match="there is no such folder"):
        backbone.load(name)


def test_an_offline_machine_gets_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackboneError, match=r"facebook/mms-1b-none: .*offline"):
        backbone.load("facebook/mms-1b-none")


def test_devices() -> None:
    assert device.choose_device("cpu").type == "cpu"
    for wrong in ("gpu", "cuda:99", "mps", "meta"):
        with pytest.raises(OptionError, match=wrong):
            device.choose_device(wrong)
