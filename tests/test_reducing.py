"""Fewer channels inside: exact where they suffice, never worse with speech than without, the loss told."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.nn.functional import layer_norm

import mms_adapt
from mms_adapt import backbone
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import narrow, reducing
from mms_adapt.composition.calibration import Speech
from mms_adapt.composition.merging import merge
from mms_adapt.composition.narrow import Narrow
from mms_adapt.composition.reducing import Moments
from mms_adapt.errors import OptionError
from mms_adapt.prepared import Prepared

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("attention", {"layers": 2}),
    "parallel": ("bottleneck", {"width": 4, "factor": 0.7, "sublayers": ["attention", "feed_forward"]}),
    "sequential": ("bottleneck", {"width": 4, "mode": "sequential"}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reducing")


@pytest.fixture(scope="module")
def base(place: Path) -> Backbone:
    return backbone.load(tiny.backbone(place / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def data(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus", 30), place / "prepared", target_lang="mdw")


def random_place(seed: int, width: int = 12, hidden: int = 16) -> Narrow:
    random = torch.Generator().manual_seed(seed)
    shapes = ((width, hidden), (width,), (hidden, width), (hidden,))
    return Narrow(*(torch.randn(shape, generator=random, dtype=torch.double) for shape in shapes))


def heard(one: Narrow, seed: int = 0, frames: int = 400, lively: int = 4) -> tuple[torch.Tensor, Moments]:
    """Normed frames that live in few directions, as speech does, and the moments of the channels."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(lively, one.down.shape[1], generator=random, dtype=torch.double)
    states = torch.randn(frames, lively, generator=random, dtype=torch.double) @ mixing
    normed = layer_norm(states, states.shape[-1:])
    inside = one.inside(normed)
    centred = inside - inside.mean(dim=0)
    return normed, Moments(frames, inside.mean(dim=0), centred.T @ centred / frames)


def error(one: Narrow, made: Narrow, normed: torch.Tensor) -> float:
    return float((made(normed) - one(normed)).norm() / one(normed).norm())


@pytest.mark.parametrize("width", [1, 3, 6, 9])
@pytest.mark.parametrize("seed", range(6))
def test_speech_is_never_worse_than_none_where_it_was_heard(seed: int, width: int) -> None:
    one = random_place(seed)
    normed, moments = heard(one, seed)
    free = reducing.reduced({"a": one}, width).places["a"]
    found = reducing.reduced({"a": one}, width, {"a": moments})
    assert found.places["a"].width == free.width == width
    told = found.by_place["a"]
    assert math.isclose(told, error(one, found.places["a"], normed), rel_tol=1e-6, abs_tol=1e-9)
    assert told <= error(one, free, normed) + 1e-12
    compared = reducing.reduced({"a": one}, width, {"a": moments}, fitted=False)
    assert math.isclose(compared.by_place["a"], error(one, free, normed), rel_tol=1e-6)


def test_with_enough_channels_it_is_exact() -> None:
    first, copies = random_place(1, width=4), torch.tensor([2.0, 0.5, 3.0, 1.5], dtype=torch.double)
    # four channels, and four that are multiples of them: relu(c a) = c relu(a)
    both = Narrow(
        torch.cat([first.down, copies[:, None] * first.down]),
        torch.cat([first.down_bias, copies * first.down_bias]),
        torch.cat([first.up, random_place(2, width=4).up], dim=1),
        first.up_bias,
    )
    normed, moments = heard(both, lively=8)
    for width, exact in ((4, True), (3, False), (8, True), (20, True)):
        found = reducing.reduced({"a": both}, width, {"a": moments})
        assert (found.by_place["a"] < 1e-6) is exact
        assert (error(both, found.places["a"], normed) < 1e-6) is exact
    dead = replace(both, down_bias=both.down_bias - 1e3 * (torch.arange(8) > 1))
    _, silent = heard(dead)
    assert reducing.reduced({"a": dead}, 2, {"a": silent}).by_place["a"] < 1e-6
    assert reducing.by_size(dead, 2) == [0, 1]


def test_the_moments_of_a_gaussian() -> None:
    one = random_place(5)
    states = torch.randn(200_000, 16, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    inside = one.inside(states - states.mean(dim=1, keepdim=True))
    mean, variance = reducing._gaussian(one)
    assert torch.allclose(mean, inside.mean(dim=0), rtol=0.02, atol=0.02)
    assert torch.allclose(variance, inside.var(dim=0), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", KINDS)
def test_a_merge_is_reduced_on_speech(base: Backbone, data: Prepared, tmp_path: Path, name: str) -> None:
    kind, options = KINDS[name]
    both = [
        tiny.scribbled(base, tmp_path / f"{seed}", seed=seed, kind=kind, options=options) for seed in (1, 2)
    ]
    whole = merge(both, [0.6, 0.4])
    speech = Speech(data, base, minutes=0.2)
    made = merge(both, [0.6, 0.4], method="reduce", rank=5, calibration=speech).save(tmp_path / "made")
    free = merge(both, [0.6, 0.4], method="reduce", rank=5)
    told = made.passport.merge
    assert told["chosen_by"] == "speech" and free.passport.merge["chosen_by"] == "numbers"
    assert told["speech"]["split"] == "train" and told["speech"]["utterances"] > 4
    assert made.passport.kind_options["size" if kind == "attention" else "width"] == 5
    assert len(told["error_by_place"]) == (2 if name == "attention" else 6 if name == "parallel" else 3)
    # the error that is told is that of what is added, frame by frame, and less than without speech
    fitted, _ = speech.moments(whole)
    places = [narrow.read(kind, one.passport.kind_options, one.tensors) for one in (whole, made, free)]
    found = reducing.reduced(places[0], 5, fitted)
    assert math.isclose(told["error"], found.error or 0.0, rel_tol=1e-9)
    compared = reducing.reduced(places[0], 5, fitted, fitted=False).by_place
    assert all(one <= compared[at] + 1e-9 for at, one in told["error_by_place"].items())
    assert 0 < told["error"] <= told["error_elsewhere"] * 1.5
    again = merge(both, [0.6, 0.4], method="reduce", rank=8, calibration=speech)
    assert again.passport.merge["error"] == 0.0
    AdapterFolder.load(tmp_path / "made").attach(base)


def test_the_moments_are_those_of_the_layers_own_input(
    base: Backbone, data: Prepared, tmp_path: Path
) -> None:
    one = tiny.scribbled(base, tmp_path / "one", seed=3)
    fitted, held_out = Speech(data, base, minutes=0.2).moments(one)
    one.attach(base)
    seen: dict[int, list[torch.Tensor]] = {}
    for number, layer in enumerate(base.model.wav2vec2.encoder.layers):
        adapter = layer.adapter_layer
        plain = adapter.forward
        adapter.forward = lambda hidden, number=number, plain=plain, adapter=adapter: (
            seen.setdefault(number, []).append(torch.relu(adapter.linear_1(adapter.norm(hidden)))[0]),
            plain(hidden),
        )[1]
    from mms_adapt.trial import Trial

    trial = Trial(data, base, split="train", minutes=0.2)
    for number in range(trial.utterances):
        trial.hear(number)
    for number in range(3):
        rows = seen[number]
        name = f"wav2vec2.encoder.layers.{number}.adapter_layer."
        for moments, chosen in (
            (fitted[name], [row for at, row in enumerate(rows) if at % 4 != 3]),
            (held_out[name], rows[3::4]),
        ):
            frames = torch.cat(chosen).double()
            assert moments.frames == len(frames)
            assert torch.allclose(moments.mean, frames.mean(dim=0), atol=1e-5)
            assert torch.allclose(moments.covariance, torch.cov(frames.T, correction=0), atol=1e-4)
    base.bare()


def test_what_does_not_fit_is_refused(base: Backbone, data: Prepared, tmp_path: Path) -> None:
    both = [tiny.scribbled(base, tmp_path / f"{seed}", seed=seed) for seed in (1, 2)]
    low = tiny.scribbled(base, tmp_path / "low", kind="lora", options={"rank": 2})
    speech = Speech(data, base, minutes=0.1)
    for adapters, options, says in (
        (both, {"rank": 0, "method": "reduce"}, "rank=0"),
        (both, {"calibration": speech}, "for the method reduce"),
        ([low], {"calibration": speech, "method": "reduce"}, "the kinds attention and bottleneck"),
    ):
        with pytest.raises(OptionError, match=says):
            merge(adapters, **options)
    with pytest.raises(OptionError, match="never on test"):
        Speech(data, base, split="test")
    assert merge(both, method="reduce").passport.kind_options["size"] == 4
