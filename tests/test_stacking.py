"""Adapters one on another: what the second hears, what stays as it was, how they are trained and written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import mms_adapt
from mms_adapt import backbone
from mms_adapt.adapters import stacked
from mms_adapt.backbone import Backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import stacking
from mms_adapt.errors import AdapterMismatchError, OptionError, ResumeError
from mms_adapt.evaluate import evaluate
from mms_adapt.prepared import Prepared, with_training
from mms_adapt.training import TrainConfig
from mms_adapt.transcribe import TranscribeOptions, Transcriber

OPTIONS = TranscribeOptions(device="cpu")
BATCH = tiny.padded(tiny.speech("abc de"), tiny.speech("dab"))
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("attention", {}),
    "parallel": ("bottleneck", {"width": 3, "factor": 0.7, "sublayers": ["attention", "feed_forward"]}),
    "sequential": ("bottleneck", {"width": 3, "mode": "sequential", "sublayers": ["attention"]}),
    "lora": ("lora", {"rank": 2}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stacks")


@pytest.fixture(scope="module")
def base(place: Path) -> Backbone:
    return backbone.load(tiny.backbone(place / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def data(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus", 40), place / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def held(place: Path, base: Backbone) -> dict[str, AdapterFolder]:
    return {
        f"{name}{seed}": tiny.scribbled(base, place / f"{name}{seed}", seed=seed, kind=kind, options=options)
        for name, (kind, options) in KINDS.items()
        for seed in (1, 2)
    }


def logits(base: Backbone, one: AdapterFolder) -> torch.Tensor:
    one.attach(base)
    with torch.no_grad():
        features = base.cnn(BATCH.waveforms, BATCH.sample_counts)
        return base.logits(base.encode(features, BATCH.frame_counts))


def test_the_second_hears_what_the_first_has_made(base: Backbone, held: dict[str, AdapterFolder]) -> None:
    first, second = held["attention1"], held["attention2"]
    noise = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(3))
    alone = []
    for one in (first, second):
        one.attach(base)
        alone.append(base.model.wav2vec2.encoder.layers[1].adapter_layer)
    stacking.stack(first, second).attach(base)
    both = base.model.wav2vec2.encoder.layers[1].adapter_layer
    with torch.no_grad():
        heard = noise + alone[0](noise)
        assert tiny.close(noise + both(noise), heard + alone[1](heard))
        assert not tiny.close(noise + both(noise), heard + alone[1](noise))


def test_in_sequence_behind_a_sublayer(base: Backbone, held: dict[str, AdapterFolder]) -> None:
    made = stacking.stack(held["sequential1"], held["sequential2"])
    noise = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(3))
    beside = []
    for name in ("sequential1", "sequential2"):
        held[name].attach(base)
        beside.append(base.model.wav2vec2.encoder.layers[0].attention.bottleneck)
    plain = base.model.wav2vec2.encoder.layers[0].attention.inner
    made.attach(base)
    with torch.no_grad():
        found = plain(noise)[0]
        found = found + beside[0](found)
        found = found + beside[1](found)
        assert tiny.close(base.model.wav2vec2.encoder.layers[0].attention(noise)[0], found)


@pytest.mark.parametrize("name", KINDS)
def test_a_part_that_does_nothing_changes_nothing(
    base: Backbone, held: dict[str, AdapterFolder], name: str
) -> None:
    for first, second in ((f"{name}1", "attention2"), ("lora2", f"{name}1")):
        made = stacking.stack(held[first], held[second])
        second = {key for key in made.tensors if key.startswith("stacked.1.") and "norm.weight" not in key}
        nothing = {key: 0 * one if key in second else one for key, one in made.tensors.items()}
        assert tiny.close(logits(base, replace(made, tensors=nothing)), logits(base, held[first]))
        assert not tiny.close(logits(base, made), logits(base, held[first]))


def test_kinds_at_different_places_do_not_mind_the_order(
    base: Backbone, held: dict[str, AdapterFolder]
) -> None:
    one = stacking.stack(held["lora1"], held["parallel1"])
    other = stacking.stack(held["parallel1"], held["lora1"], head="last")
    assert tiny.close(logits(base, one), logits(base, other))


@pytest.mark.parametrize("name", ["lora", "parallel"])
def test_what_reads_the_frozen_model_becomes_one_plain_adapter(
    base: Backbone, held: dict[str, AdapterFolder], name: str
) -> None:
    made = stacking.stack(held[f"{name}1"], held[f"{name}2"])
    plain = stacking.plain(made)
    assert plain.passport.kind == KINDS[name][0] and plain.passport.parents == made.passport.parents
    assert tiny.close(logits(base, plain), logits(base, made))


@pytest.mark.parametrize("name", ["attention", "sequential"])
def test_what_reads_the_first_adapter_does_not(held: dict[str, AdapterFolder], name: str) -> None:
    with pytest.raises(AdapterMismatchError, match="keep it stacked"):
        stacking.plain(stacking.stack(held[f"{name}1"], held[f"{name}2"]))


def test_it_is_one_folder_and_its_parts_come_out_to_the_bit(
    base: Backbone, held: dict[str, AdapterFolder], tmp_path: Path
) -> None:
    first, second = held["attention1"], held["lora2"]
    before = (first.path / "adapter.mdw.safetensors").read_bytes()  # type: ignore[operator]
    made = stacking.stack(first, second).save(tmp_path / "both")
    found = AdapterFolder.load(tmp_path / "both")
    assert found.passport.parents == {first.version: 1.0, second.version: 1.0}
    assert [one["adapter"] for one in found.passport.merge["parents"]] == [first.version, second.version]
    assert torch.equal(logits(base, found), logits(base, made))
    stacking.part(found, 0).save(tmp_path / "first")
    assert (tmp_path / "first" / "adapter.mdw.safetensors").read_bytes() == before
    assert stacking.part(found, 0).version == first.version
    assert (first.path / "adapter.mdw.safetensors").read_bytes() == before  # type: ignore[operator]
    third = stacking.stack(found, held["attention2"])
    assert len(third.passport.kind_options["parts"]) == 3
    assert torch.equal(logits(base, stacking.part(third, 1)), logits(base, replace(
        second, tensors={**second.tensors, **{k: v for k, v in first.tensors.items() if "lm_head" in k}}
    )))  # fmt: skip
    with pytest.raises(OptionError, match="part 2 of"):
        stacking.part(found, 2)


def test_it_stands_in_a_bank_beside_others(
    base: Backbone, held: dict[str, AdapterFolder], tmp_path: Path
) -> None:
    registry = tmp_path / "adapters"
    stacking.stack(held["attention1"], held["attention2"]).save(registry / "mdw" / "both")
    held["lora1"].save(registry / "mdw" / "low")
    waves = [tiny.speech("abca", 1), tiny.speech("dab", 2), tiny.speech("cab d", 3)]
    bank = Bank(registry, backbone=base.name, options=OPTIONS)
    asked = ["mdw/both", "mdw/low", "mdw/both"]
    voices = [bank.voice(one) for one in asked]
    features, counts = bank.engine.features(waves)
    rows = bank.engine.emissions(features, counts, [one.edition for one in voices])
    for name, row, count, wave, voice in zip(asked, rows, counts, waves, voices, strict=True):
        alone = Transcriber.load(registry / name, options=OPTIONS).emissions([wave])[0]
        assert tiny.close(row[:count, : len(voice.vocab)], torch.from_numpy(alone)), name
    weights = voices[0].edition.weights
    with pytest.raises(OptionError, match="stacked cannot be mixed"):
        stacked.mix([(0.5, weights), (0.5, weights)])


def config(base: Backbone, on: Path | None = None, **more: Any) -> TrainConfig:
    given = {"steps": 3, "batch_seconds": 4.0, "evaluate_steps": 1, **more}
    return TrainConfig(backbone=base.name, device="cpu", on=None if on is None else str(on), **given)


def test_a_second_one_is_trained_and_the_first_stays(base: Backbone, data: Prepared, tmp_path: Path) -> None:
    mms_adapt.train(data, tmp_path / "first", config(base))
    lower = AdapterFolder.load(tmp_path / "first")
    held_bytes = {one.name: one.read_bytes() for one in (tmp_path / "first").iterdir() if one.is_file()}
    speaker = [one for one in data.utterances("train") if one.speaker == "s1"]
    few = with_training(data, speaker or list(data.utterances("train"))[:8], tmp_path / "few")
    mms_adapt.train(few, tmp_path / "both", config(base, tmp_path / "first", adapter="bottleneck"))
    made = AdapterFolder.load(tmp_path / "both")
    kinds = [one["kind"] for one in made.passport.kind_options["parts"]]
    assert (made.passport.kind, kinds) == ("stacked", ["attention", "bottleneck"])
    first, second = stacking.part(made, 0), stacking.part(made, 1)
    assert first.version == lower.version and first.sha256 == lower.sha256
    assert made.passport.parents == {lower.version: 1.0, second.version: 1.0}
    assert made.passport.start == f"zero on {lower.version}"
    assert made.passport.head_start == f"frozen, of {lower.version}"
    assert held_bytes == {
        one.name: one.read_bytes() for one in (tmp_path / "first").iterdir() if one.is_file()
    }
    up = [one for name, one in second.tensors.items() if name.endswith("linear_2.weight")]
    assert up and all(bool(one.any()) for one in up)
    assert made.passport.speakers["train"] == lower.passport.speakers["train"]
    score = evaluate(tmp_path / "both", data, device="cpu")
    assert score.utterances == len(list(data.utterances("test")))
    again = mms_adapt.train(few, tmp_path / "both", config(base, tmp_path / "first", adapter="bottleneck"))
    assert again.ended == "done before"
    other = tiny.scribbled(base, tmp_path / "other", seed=9)
    replace(other, passport=lower.passport, vocab=lower.vocab).save(tmp_path / "other")
    with pytest.raises(ResumeError, match="on"):
        mms_adapt.train(few, tmp_path / "both", config(base, tmp_path / "other", adapter="bottleneck"))


def test_the_head_is_continued_where_that_is_asked_for(
    base: Backbone, data: Prepared, tmp_path: Path
) -> None:
    mms_adapt.train(data, tmp_path / "first", config(base))
    lower = AdapterFolder.load(tmp_path / "first")
    continued = config(base, tmp_path / "first", on_head="continued", start="random", adapter="lora")
    mms_adapt.train(data, tmp_path / "both", continued)
    made = AdapterFolder.load(tmp_path / "both")
    assert not torch.equal(made.tensors["lm_head.weight"], lower.tensors["lm_head.weight"])
    for name, one in stacking.tensors_of(lower, 0).items():
        assert torch.equal(made.tensors[f"stacked.0.{name}"], one)
    mms_adapt.train(data, tmp_path / "three", config(base, tmp_path / "both", steps=1))
    third = AdapterFolder.load(tmp_path / "three")
    assert [one["kind"] for one in third.passport.kind_options["parts"]] == ["attention", "lora", "attention"]


def test_an_interrupted_training_on_another_goes_on_to_the_bit(
    base: Backbone, data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_adapt import training

    mms_adapt.train(data, tmp_path / "first", config(base))
    wanted = config(base, tmp_path / "first", steps=4, checkpoint_minutes=0)
    mms_adapt.train(data, tmp_path / "whole", wanted)
    calls = 0
    learn = training.learn

    def stopping(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("stopped")
        return learn(*given, **named)

    monkeypatch.setattr(training, "learn", stopping)
    with pytest.raises(RuntimeError, match="stopped"):
        mms_adapt.train(data, tmp_path / "parted", wanted)
    monkeypatch.setattr(training, "learn", learn)
    mms_adapt.train(data, tmp_path / "parted", wanted)
    whole, parted = (AdapterFolder.load(tmp_path / name) for name in ("whole", "parted"))
    assert all(torch.equal(one, parted.tensors[name]) for name, one in whole.tensors.items())


def test_what_cannot_stand_on_another_is_refused(
    base: Backbone, data: Prepared, held: dict[str, AdapterFolder], tmp_path: Path
) -> None:
    on = str(held["attention1"].path)
    for options, says in (
        ({"on_head": "new"}, "on_head='new'"),
        ({"start": "backbone"}, "starts with zero or random"),
        ({"full_finetune": True}, "full_finetune=True"),
        ({"from_hidden": True}, "below the second adapter"),
        ({"adapter": "stacked"}, "give a plain kind"),
    ):
        with pytest.raises(OptionError, match=says):
            TrainConfig(on=on, **options)  # type: ignore[arg-type]
    with pytest.raises(AdapterMismatchError, match="the normaliser of the adapter is ''"):
        mms_adapt.train(data, tmp_path / "out", config(base, Path(on)))
    passport = replace(held["attention1"].passport, normaliser=data.normaliser)
    few = tiny.scribbled(base, tmp_path / "few", letters="ab")
    replace(few, passport=passport).save(tmp_path / "few")
    with pytest.raises(AdapterMismatchError, match="cannot write 'c'"):
        mms_adapt.train(data, tmp_path / "out", config(base, tmp_path / "few"))
    with pytest.raises(OptionError, match="holds the adapter to be trained on"):
        mms_adapt.train(data, on, config(base, Path(on)), resume=False)
    sealed = replace(passport, licence="my own terms")
    replace(held["attention1"], passport=sealed).save(tmp_path / "sealed")
    with pytest.raises(OptionError, match="nobody knows which is the stricter"):
        mms_adapt.train(data, tmp_path / "out", config(base, tmp_path / "sealed"))
    all_letters = replace(held["attention1"], passport=passport).save(tmp_path / "all")
    with pytest.raises(OptionError, match="nothing in it to be trained"):
        mms_adapt.train(data, tmp_path / "out", config(base, tmp_path / "all", adapter="head_only"))
    strange = replace(all_letters, passport=replace(passport, backbone_fingerprint="f" * 64))
    with pytest.raises(AdapterMismatchError, match="different backbones"):
        stacking.stack(strange, held["lora1"])
    with pytest.raises(OptionError, match="head='other'"):
        stacking.stack(held["lora1"], held["lora2"], head="other")
    with pytest.raises(AdapterMismatchError, match="cannot be stacked"):
        own = replace(held["lora1"], passport=replace(held["lora1"].passport, kind="mine.kind"))
        stacking.stack(own, held["lora2"])
    for parts, says in (([], "two or more"), ([{"kind": "os.path"}] * 2, "give kind"), ("ab", "two or more")):
        with pytest.raises(OptionError, match=says):
            stacked.Config(parts)  # type: ignore[arg-type]


def test_a_file_names_no_code_to_be_run(held: dict[str, AdapterFolder], tmp_path: Path) -> None:
    stacking.stack(held["lora1"], held["lora2"]).save(tmp_path / "both")
    path = tmp_path / "both" / "passport.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["kind_options"]["parts"][1]["kind"] = "antigravity.mine"
    path.write_text(json.dumps(record), encoding="utf-8")
    base = backbone.load(held["lora1"].passport.backbone, device="cpu")
    with pytest.raises(AdapterMismatchError, match="give kind, one of"):
        AdapterFolder.load(tmp_path / "both").attach(base)
