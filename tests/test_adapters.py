"""Every kind of adapter found keeps the contract: the identity at first, owns what trains, is saved whole."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch

from mms_adapt import backbone, checkpoint, plugins
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import OptionError
from mms_adapt.passport import Passport

# A new kind is added here with the options that its Config needs on the tiny model.
OPTIONS: dict[str, dict[str, Any]] = {
    "attention": {"size": 4},
    "bottleneck": {"reduction": 8, "sublayers": ["attention", "feed_forward"]},
    "head_only": {},
    "lora": {"rank": 2},
    "stacked": {
        "parts": [
            {"kind": "attention", "options": {"size": 4}},
            {"kind": "bottleneck", "options": {"width": 3, "mode": "sequential"}},
            {"kind": "attention", "options": {"size": 2, "layers": 2}},
            {"kind": "lora", "options": {"rank": 2}},
            {"kind": "lora", "options": {"rank": 1, "targets": ["output_dense"]}},
        ]
    },
}
BATCH = tiny.padded(tiny.speech("abc de"), tiny.speech("fgh"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("models") / "tiny"), device="cpu")


@pytest.fixture(params=plugins.names("adapters"))
def kind(request: pytest.FixtureRequest) -> ModuleType:
    assert request.param in OPTIONS, f"add OPTIONS[{request.param!r}] in {__file__}"
    return plugins.load("adapters", request.param)


def name_of(kind: ModuleType) -> str:
    return kind.__name__.rpartition(".")[2]


def put(base: Backbone, kind: ModuleType, **options: Any) -> dict[str, torch.nn.Parameter]:
    base.bare()
    kind.attach(base.model, kind.Config(**{**OPTIONS[name_of(kind)], **options}))
    base.put_head(7)
    base.model.lm_head.requires_grad_(True)
    return checkpoint.owned(base.model, kind)


def hidden(base: Backbone) -> torch.Tensor:
    features = base.cnn(BATCH.waveforms, BATCH.sample_counts)
    return base.encode(features, BATCH.frame_counts)


def logits(base: Backbone) -> torch.Tensor:
    with torch.no_grad():
        return base.logits(hidden(base))


def train(base: Backbone, parameters: dict[str, torch.nn.Parameter], seed: int) -> None:
    """Take a few large steps in a random direction."""
    torch.manual_seed(seed)
    trained = [one for one in parameters.values() if one.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.3)
    for _ in range(3):
        optimiser.zero_grad()
        found = base.logits(hidden(base))
        (found * torch.randn_like(found)).mean().backward()
        with torch.no_grad():
            for one in trained:
                one.grad = one.grad + 0.1 * torch.randn_like(one) if one.grad is not None else None
        optimiser.step()


def folder(base: Backbone, kind: ModuleType, parameters: dict[str, torch.nn.Parameter]) -> AdapterFolder:
    passport = Passport(
        "mdw",
        name_of(kind),
        asdict(kind.Config(**OPTIONS[name_of(kind)])),
        backbone=base.name,
        backbone_fingerprint=base.fingerprint,
    )
    return AdapterFolder(passport, tiny.build(["ab"]), checkpoint.collect(parameters))


def test_it_exports_what_a_kind_exports(kind: ModuleType) -> None:
    assert is_dataclass(kind.Config) and kind.Config.__dataclass_params__.frozen
    assert kind.__doc__ and kind.attach.__doc__ and kind.owns.__doc__
    options = asdict(kind.Config(**OPTIONS[name_of(kind)]))
    assert kind.Config(**json.loads(json.dumps(options))) == kind.Config(**options)


def test_it_starts_as_the_identity(base: Backbone, kind: ModuleType) -> None:
    base.bare()
    for layer in base.model.wav2vec2.encoder.layers:
        layer.adapter_layer = None
    without = hidden(base)
    put(base, kind)
    assert torch.equal(hidden(base), without)


def test_only_owned_tensors_and_the_head_train(base: Backbone, kind: ModuleType) -> None:
    base.bare()
    before = {name: one.clone() for name, one in base.model.named_parameters()}
    parameters = put(base, kind)
    trained = {name for name, one in base.model.named_parameters() if one.requires_grad}
    assert trained and trained <= set(parameters)
    assert {one.dtype for one in parameters.values()} == {torch.float32}
    start = {name: one.detach().clone() for name, one in parameters.items()}
    train(base, parameters, seed=1)
    for name, one in base.model.named_parameters():
        if name in trained:
            assert one.grad is not None and not torch.equal(one, start[name]), name
        elif name in before and name not in parameters:
            assert one.grad is None and torch.equal(one, before[name]), name


def test_saved_and_loaded_it_is_bit_equal_and_adapters_switch(
    base: Backbone, kind: ModuleType, tmp_path: Path
) -> None:
    found = {}
    for name, seed in (("a", 1), ("b", 2)):
        parameters = put(base, kind)
        train(base, parameters, seed)
        folder(base, kind, parameters).save(tmp_path / name)
        found[name] = logits(base)
    assert not torch.equal(found["a"], found["b"])
    for name in ("a", "b", "a"):
        one = AdapterFolder.load(tmp_path / name)
        one.attach(base)
        assert torch.equal(logits(base), found[name])
        assert not [name for name, one in base.model.named_parameters() if one.requires_grad]


def test_bare_takes_it_out(base: Backbone, kind: ModuleType) -> None:
    base.bare()
    before = logits(base)
    train(base, put(base, kind), seed=3)
    base.bare()
    assert torch.equal(logits(base), before)


def test_in_lower_layers_an_absent_adapter_is_exactly_the_identity(base: Backbone) -> None:
    parameters = put(base, attention, layers=1)
    trained = {name for name, one in parameters.items() if one.requires_grad}
    assert {int(name.split(".")[3]) for name in trained if "adapter" in name} == {2}
    assert {int(name.split(".")[3]) for name in parameters if "adapter" in name} == {0, 1, 2}
    train(base, parameters, seed=4)
    first = logits(base)
    written = folder(base, attention, parameters)
    base.bare()
    for name, tensor in written.tensors.items():
        if "layers.0." in name or "layers.1." in name:
            assert torch.equal(tensor, torch.ones(32) if name.endswith("norm.weight") else tensor * 0)
    put(base, attention)  # as in stock transformers: in every layer, and in two of them it adds nothing
    checkpoint.fill(checkpoint.owned(base.model, attention), written.tensors)
    assert torch.equal(logits(base), first)


def test_the_random_start_follows_the_seed_and_not_the_number_of_layers(base: Backbone) -> None:
    name = "wav2vec2.encoder.layers.2.adapter_layer.linear_1.weight"
    first = put(base, attention, seed=5)[name].detach().clone()
    assert torch.equal(put(base, attention, seed=5, layers=1)[name], first)
    assert not torch.equal(put(base, attention, seed=6)[name], first)
    assert 0.1 < float(first.std()) * 32**0.5 < 2


@pytest.mark.parametrize(
    ("options", "says"),
    [({"size": 0}, "size=0"), ({"layers": 0}, "layers=0"), ({"layers": "some"}, "'some'")],
)
def test_bad_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        attention.Config(**{"size": 4, **options})


def test_more_layers_than_there_are(base: Backbone) -> None:
    with pytest.raises(OptionError, match="the backbone has 3 layers"):
        put(base, attention, layers=4)
