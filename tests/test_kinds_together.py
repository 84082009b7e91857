"""Adapters of every kind in one batch: each row gives what its own adapter gives alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from mms_adapt import backbone, plugins
from mms_adapt.adapters import _narrow, attention
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.serving.edition import Blend, opening
from mms_adapt.tensor_file import Views
from mms_adapt.transcribe import TranscribeOptions, Transcriber

OPTIONS = TranscribeOptions(device="cpu")
# name in the registry: kind and options
HELD: dict[str, tuple[str, dict[str, Any]]] = {
    "mms": ("attention", {}),
    "top": ("attention", {"layers": 1}),
    "beside": ("bottleneck", {"width": 3, "sublayers": ["attention", "feed_forward"], "factor": 0.7}),
    "behind": ("bottleneck", {"width": 3, "mode": "sequential", "layers": 2}),
    "low": ("lora", {"rank": 2}),
    "lower": ("lora", {"rank": 2, "alpha": 1.0, "targets": ["q_proj", "output_dense"], "layers": 2}),
    "head": ("head_only", {}),
    "over": (
        "stacked",
        {
            "parts": [
                {"kind": "attention", "options": {"size": 4, "layers": 2}},
                {"kind": "bottleneck", "options": {"width": 3, "mode": "sequential"}},
                {"kind": "lora", "options": {"rank": 2}},
                {"kind": "attention", "options": {"size": 3}},
                {"kind": "lora", "options": {"rank": 1, "targets": ["v_proj"]}},
            ]
        },
    ),
}
WAVES = [tiny.speech(tiny.sentence(seed), seed) for seed in range(len(HELD))]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kinds")
    base = backbone.load(tiny.backbone(place / "base", seed=1), device="cpu")
    for seed, (name, (kind, options)) in enumerate(HELD.items()):
        folder = place / "adapters" / "mdw" / name
        tiny.scribbled(base, folder, letters="abcd"[: 2 + seed % 3], seed=seed, kind=kind, options=options)
        tiny.scribbled(base, place / "second" / name, seed=seed + 50, kind=kind, options=options)
    return place / "adapters"


@pytest.fixture(scope="module")
def bank(registry: Path) -> Bank:
    return Bank(registry, options=OPTIONS)


def emissions(one: Bank, asked: list[str | Blend]) -> list[torch.Tensor]:
    voices = [one.voice(blend) for blend in asked]
    features, counts = one.engine.features(WAVES[: len(asked)])
    found = one.engine.emissions(features, counts, [voice.edition for voice in voices])
    return [row[:count, : len(voice.vocab)] for row, count, voice in zip(found, counts, voices, strict=True)]


def test_every_kind_of_the_package_is_held() -> None:
    assert {kind for kind, _ in HELD.values()} == set(plugins.names("adapters"))


def test_rows_of_all_kinds_give_what_each_gives_alone(bank: Bank, registry: Path) -> None:
    together = emissions(bank, [f"mdw/{name}" for name in HELD])
    for name, row, wave in zip(HELD, together, WAVES, strict=True):
        alone = Transcriber.load(registry / "mdw" / name, options=OPTIONS).emissions([wave])[0]
        assert tiny.close(row, torch.from_numpy(alone)), name


def test_a_row_does_not_depend_on_the_kinds_of_the_others(bank: Bank) -> None:
    names = [f"mdw/{name}" for name in HELD]
    mixed, single = emissions(bank, names), emissions(bank, ["mdw/low"] * len(names))
    assert tiny.close(mixed[list(HELD).index("low")], single[list(HELD).index("low")])


@pytest.mark.parametrize("name", [name for name in HELD if name != "head"])
def test_a_strength_goes_through_the_bank(bank: Bank, registry: Path, name: str) -> None:
    place = f"mdw/{name}"
    full, half = (emissions(bank, [one])[0] for one in (place, Blend(((place, 0.5),))))
    assert not torch.allclose(full, half)
    one = AdapterFolder.load(registry / "mdw" / name)
    ups = {
        key: 0.5 * tensor if key.rpartition(".adapter_layer.")[2].startswith("linear_2")
        or ".bottleneck.linear_2" in key or "lora_B" in key else tensor
        for key, tensor in one.tensors.items()
    }  # fmt: skip
    base = backbone.load(bank.backbone.name, device="cpu")
    halved = replace(one, tensors=ups)
    halved.attach(base)
    alone = Transcriber(base, halved, OPTIONS).emissions([WAVES[0]])[0]
    assert tiny.close(half, torch.from_numpy(alone))


def test_mixes_within_a_kind_and_not_across(bank: Bank) -> None:
    for pair in (("low", "lower"), ("mms", "top")):
        blend = Blend(tuple((f"mdw/{name}", 0.5) for name in pair))
        assert emissions(bank, [blend])[0].isfinite().all()
    with pytest.raises(OptionError, match="only adapters of one kind"):
        bank.voice(Blend((("mdw/low", 0.5), ("mdw/mms", 0.5))))
    with pytest.raises(OptionError, match="different places cannot be mixed"):
        bank.voice(Blend((("mdw/beside", 0.5), ("mdw/behind", 0.5))))


@pytest.mark.parametrize("name", ["beside", "low", "head", "over"])
def test_what_has_no_place_is_refused(registry: Path, name: str) -> None:
    one = AdapterFolder.load(registry / "mdw" / name)
    kind = plugins.load("adapters", one.passport.kind)
    config = kind.Config(**one.passport.kind_options)
    more = {**one.tensors, "wav2vec2.encoder.layers.0.other.weight": torch.zeros(2)}
    with pytest.raises(AdapterMismatchError, match="has no place"):
        kind.weights(more, config, 32, 3)
    if name != "head":
        without = {key: tensor for key, tensor in one.tensors.items() if key != sorted(one.tensors)[-1]}
        with pytest.raises(AdapterMismatchError):
            kind.weights(without, config, 32, 3)


@pytest.mark.parametrize("name", [name for name in HELD if name not in ("top", "over")])
def test_an_edition_is_made_on_the_device_that_it_is_for(bank: Bank, registry: Path, name: str) -> None:
    """Shapes only: on a device without numbers. Those whose lower layers are looked at need numbers."""
    with opening(registry / "mdw" / name, "mdw", bank.backbone) as opened:
        there = opened.on(torch.device("meta"), torch.bfloat16)
        here = opened.on(torch.device("cpu"), torch.float32)
    assert there.weights.shape == here.weights.shape and there.weights.first_layer == here.weights.first_layer
    assert all(one.device.type == "meta" and one.dtype == torch.bfloat16 for one in there.weights.tensors)
    assert [(one.shape, one.dtype, one.stride()[-1]) for one in (here.head, here.head_bias)] == [
        (one.shape, one.dtype, 1) for one in (there.head, there.head_bias)
    ]
    assert there.head.device.type == "meta" and opened.byte_count > 0


def test_what_is_folded_here_is_what_a_device_would_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = _narrow.shapes(32, 5).values()
    layers = [[torch.randn(shape, generator=random) for shape in shapes] for _ in range(3)]
    parts = list(zip(*layers, strict=True))
    found = _narrow.folded(parts)
    for number, (gain, shift, down, down_bias, up, up_bias) in enumerate(layers):
        inward, inner, outward = (one[number] for one in found)
        assert torch.equal(inward[:5], down * gain) and not inward[5:].any()
        assert torch.equal(inner[0, :5], torch.addmv(down_bias, down, shift))
        assert inner[0, 5] == 1 and not inner[0, 6:].any()
        assert torch.equal(outward[:5], up.t()) and torch.equal(outward[5], up_bias) and not outward[6:].any()
    monkeypatch.setattr(_narrow, "_folded_here", None)
    monkeypatch.setattr(_narrow, "_HERE", "another")
    for one, other in zip(found, _narrow.folded(parts), strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("layers", ["all", 5])
@pytest.mark.parametrize("alike", [True, False])
def test_what_lies_in_one_memory_becomes_the_same_adapter(
    monkeypatch: pytest.MonkeyPatch, layers: int | str, alike: bool
) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = _narrow.shapes(32, 5)
    held = {
        name: torch.randn(shape, generator=random)
        for each in attention._names(12)
        for name, shape in zip(each, shapes.values(), strict=True)
    }
    for each in attention._names(12)[: 0 if layers == "all" else 7]:
        for name, part in zip(each, shapes, strict=True):
            held[name] = torch.full_like(held[name], float(part == "norm.weight"))
    order = sorted(held) if alike else sorted(held, key=len)  # as the format has them, or some other way
    whole = torch.cat([held[name].flatten() for name in order])
    views = Views(whole, {name: tuple(held[name].shape) for name in order})
    assert (views.together(attention._names(12)) is not None) == alike
    config = attention.Config(size=5, layers=layers)
    expected = attention.weights(held, config, 32, 12)
    here = attention.weights(views, config, 32, 12)
    monkeypatch.setattr(_narrow, "_HERE", "another")
    there = attention.weights(views, config, 32, 12)
    assert expected.first_layer == here.first_layer == there.first_layer == (0 if layers == "all" else 7)
    for one, other, third in zip(expected.tensors, here.tensors, there.tensors, strict=True):
        assert torch.allclose(one, other, atol=1e-5) and torch.allclose(one, third, atol=1e-5)
    if layers != "all":
        views[attention._names(12)[6][1]][3] = 0.5
        with pytest.raises(AdapterMismatchError, match="layer 6 belongs to those without an adapter"):
            attention.weights(views, config, 32, 12)
