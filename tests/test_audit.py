"""Registries are listed with what is broken; adapters are verified and compared; scores are found again."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

import mms_adapt
from mms_adapt import backbone, passport
from mms_adapt.audit import difference, listing, verification
from mms_adapt.audit.difference import diff
from mms_adapt.audit.verification import verify
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition.merging import merge
from mms_adapt.errors import (
    AdapterError,
    AdapterMismatchError,
    BackboneError,
    LanguageError,
    OptionError,
    RegistryError,
)
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.language_model import build, install, tune
from mms_adapt.prepared import Prepared
from mms_adapt.splits import SplitOptions
from mms_adapt.training import TrainConfig, train

NOTE = EvaluateOptions(bootstrap=20, note=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def prepared(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus", 40), place / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def base(place: Path) -> Backbone:
    return backbone.load(tiny.backbone(place / "base"), device="cpu")


@pytest.fixture(scope="module")
def trained(place: Path, base: Backbone, prepared: Prepared) -> Path:
    config = TrainConfig(
        backbone=base.name, device="cpu", steps=40, epochs=None, learning_rate=2e-2, batch_seconds=20,
        evaluate_steps=20, dropout=0.0, mask_time_share=0.0, mask_channel_share=0.0,
    )  # fmt: skip
    return train(prepared, place / "trained", config).folder


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "registry" / "mdw"))


# listing


def test_a_registry_is_listed_with_its_broken_adapters(
    adapter: Path, base: Backbone, place: Path, tmp_path: Path
) -> None:
    root = adapter.parent
    tiny.scribbled(base, root / "wol" / "north", "wol")
    tiny.scribbled(base, root / "wol" / "south", "wol")
    (root / "wol" / "half").mkdir()
    (root / "wol" / "half" / "metrics.jsonl").touch()
    damaged = tiny.scribbled(base, root / "chr", "chr").path
    assert damaged is not None
    content = bytearray((damaged / "adapter.chr.safetensors").read_bytes())
    content[-1] ^= 1
    (damaged / "adapter.chr.safetensors").write_bytes(content)
    tiny.scribbled(base, root / "aka", "twi")
    stock = tiny.scribbled(base, root / "ita", "ita").path
    assert stock is not None
    (stock / passport.FILE).unlink()
    (root / "eng").mkdir()
    (root / "eng" / passport.FILE).write_text("{", encoding="utf-8")
    (root / "deu").symlink_to(place / "trained")
    (root / "deu2").mkdir()
    (root / ".hidden").mkdir()
    found = {one.name: one for one in listing.rows(root)}
    assert list(found) == [
        "aka",
        "chr",
        "deu",
        "deu2",
        "eng",
        "ita",
        "mdw",
        "wol/half",
        "wol/north",
        "wol/south",
    ]
    states = {name: one.state for name, one in found.items()}
    assert [name for name, state in states.items() if state == "whole"] == ["mdw", "wol/north", "wol/south"]
    for name, says in (
        ("aka", "it belongs under twi/"),
        ("chr", "its hash differs"),
        ("deu", "leads out of the registry"),
        ("deu2", "no passport.json and no adapter"),
        ("eng", "it cannot be read"),
        ("ita", "nothing can be verified"),
        ("wol/half", "a training that has not ended"),
    ):
        assert says in states[name]


def test_a_row_tells_what_there_is_to_know(adapter: Path, prepared: Prepared, base: Backbone) -> None:
    before = listing.rows(adapter.parent)[0]
    assert (before.target_lang, before.language, before.kind) == ("mdw", "Mbosi", "attention")
    whole = AdapterFolder.load(adapter)
    assert before.numbers == sum(one.numel() for one in whole.tensors.values())
    assert before.version == whole.version
    assert before.minutes == whole.passport.minutes["train"]
    assert before.dev_cer == whole.passport.metrics["best_dev_cer"] and before.test_cer is None
    assert (before.backbone_state, before.licence) == ("known", "cc0-1.0")
    score = evaluate(adapter, prepared, device="cpu", options=NOTE)
    after = listing.rows(adapter.parent)[0]
    assert after == replace(before, test_cer=score.cer)
    assert listing.rows(adapter) == [after]


def test_backbones_are_told_apart(adapter: Path, base: Backbone, tmp_path: Path) -> None:
    def state(*backbones: str, **fields: object) -> str:
        passport.change(adapter, lambda one: replace(one, **fields))
        return listing.rows(adapter.parent, backbones=backbones)[0].backbone_state

    other = tiny.backbone(tmp_path / "other", seed=1)
    fingerprint = backbone.load(other, device="cpu").fingerprint
    assert state(backbone=str(other)) == "other"
    assert state(backbone_parents=[fingerprint]) == "sibling"
    assert state(backbone="facebook/mms-1b-all", backbone_parents=[]) == "not here"
    assert state(base.name) == "known"
    assert state(backbone_fingerprint="") == "unknown"
    with pytest.raises(BackboneError, match="no such folder"):
        listing.rows(adapter.parent, backbones=["nowhere"])


def test_a_language_is_chosen_and_mistakes_are_told(adapter: Path, tmp_path: Path) -> None:
    assert [one.name for one in listing.rows(adapter.parent, target_lang="mdw")] == ["mdw"]
    with pytest.raises(RegistryError, match="did you mean mdw"):
        listing.rows(adapter.parent, target_lang="mdy")
    with pytest.raises(LanguageError, match="deu"):
        listing.rows(adapter.parent, target_lang="de")
    with pytest.raises(RegistryError, match="no such registry"):
        listing.rows(tmp_path / "nowhere")


def test_listing_files_without_numbers_takes_no_torch(adapter: Path) -> None:
    passport.change(adapter, lambda one: replace(one, backbone="not/here"))
    code = (
        "import sys; from mms_adapt.audit import listing;"
        f"assert listing.rows({str(adapter.parent)!r})[0].state == 'whole';"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_adapter_is_shown_whole(adapter: Path, base: Backbone, tmp_path: Path) -> None:
    found = listing.show(adapter)
    assert found.passport == passport.read(adapter) and found.row.state == "whole"
    assert found.tokens == AdapterFolder.load(adapter).vocab.tokens
    (adapter / passport.FILE).unlink()
    assert listing.show(adapter).row.state.startswith("no passport.json")
    with pytest.raises(AdapterError, match="no such adapter folder"):
        listing.show(tmp_path / "nowhere")


# verification


def states(found: verification.Verification) -> dict[str, str]:
    return {one.name: one.state for one in found.checks}


def test_a_whole_adapter_is_verified(adapter: Path) -> None:
    found = verify(adapter)
    assert found.good and found.version == AdapterFolder.load(adapter).version
    assert states(found) == {
        "passport": "ok",
        "file adapter.mdw.safetensors": "ok",
        "file vocab.json": "ok",
        "numbers": "ok",
        "backbone": "ok",
        "scores": "not checked",
    }


def test_every_wrong_file_is_told(adapter: Path) -> None:
    (adapter / "vocab.json").write_text("{}", encoding="utf-8")
    (adapter / "adapter.mdw.safetensors").unlink()
    found = verify(adapter)
    assert not found.good
    assert [one.name for one in found.checks if one.state == "wrong"] == [
        "file adapter.mdw.safetensors",
        "file vocab.json",
    ]
    (adapter / passport.FILE).write_text("[]", encoding="utf-8")
    assert states(verify(adapter)) == {"passport": "wrong"}


def test_numbers_that_are_none_are_told(adapter: Path) -> None:
    whole = AdapterFolder.load(adapter)
    name = next(one for one in whole.tensors if "linear_1.weight" in one)
    spoilt = torch.full_like(whole.tensors[name], float("nan"))
    replace(whole, tensors={**whole.tensors, name: spoilt}).save(adapter)
    found = verify(adapter)
    assert states(found)["numbers"] == "wrong" and "not finite" in found.checks[-1].detail


def test_another_backbone_is_told_and_none_is_fetched(adapter: Path, tmp_path: Path) -> None:
    other = tiny.backbone(tmp_path / "other", seed=1)
    found = verify(adapter, backbone=str(other))
    assert not found.good and states(found)["backbone"] == "wrong"
    passport.change(adapter, lambda one: replace(one, backbone="facebook/mms-1b-all"))
    found = verify(adapter)
    assert found.good and states(found)["backbone"] == "not checked"


def test_the_noted_score_is_found_again(adapter: Path, prepared: Prepared) -> None:
    score = evaluate(adapter, prepared, device="cpu", options=NOTE)
    found = verify(adapter, prepared)
    assert found.good and found.score is not None
    assert (found.score.split, found.score.source) == ("test", "evaluate --note")
    assert found.score.found_cer == found.score.reported_cer == score.cer
    assert found.score.signature == score.signature and found.score.tolerance == 1e-4


def test_a_score_that_was_made_up_is_found_out(adapter: Path, prepared: Prepared) -> None:
    evaluate(adapter, prepared, device="cpu", options=NOTE)
    record = json.loads((adapter / passport.FILE).read_text(encoding="utf-8"))
    record["scores"]["test"]["cer"] -= 0.02
    (adapter / passport.FILE).write_text(json.dumps(record), encoding="utf-8")
    found = verify(adapter, prepared)
    assert not found.good and all(one.state != "wrong" for one in found.checks)
    assert verify(adapter, prepared, tolerance=0.03).good
    with pytest.raises(OptionError, match="tolerance=-1"):
        verify(adapter, prepared, tolerance=-1)


def test_a_score_is_measured_with_its_own_decoder(adapter: Path, prepared: Prepared) -> None:
    evaluate(adapter, prepared, device="cpu", options=NOTE)
    model = build(prepared).model
    install(adapter, model, tune(adapter, prepared, model, device="cpu"))
    found = verify(adapter, prepared).score
    assert found is not None and found.agrees, "it was greedy, before there was a language model"
    evaluate(adapter, prepared, device="cpu", options=NOTE)
    found = verify(adapter, prepared).score
    assert found is not None and found.agrees and "decoder:beam" in found.signature


def test_the_score_of_training_is_found_again(adapter: Path, prepared: Prepared) -> None:
    found = verify(adapter, prepared)
    assert found.good and found.score is not None
    assert (found.score.split, found.score.source, found.score.tolerance) == ("dev", "training", 1e-4)
    assert found.score.reported_cer == passport.read(adapter).metrics["best_dev_cer"]
    with pytest.raises(AdapterError, match="--split test --note"):
        verify(adapter, prepared, split="test")


def test_other_data_is_refused_with_both_hashes(adapter: Path, prepared: Prepared, tmp_path: Path) -> None:
    evaluate(adapter, prepared, device="cpu", options=NOTE)
    other = mms_adapt.prepare(
        prepared.root, tmp_path / "other", target_lang="mdw", split=SplitOptions(mode="sentence", seed=5)
    )
    with pytest.raises(AdapterMismatchError) as error:
        verify(adapter, other)
    for data in (prepared, other):
        assert data.split_sha256["test"][:12] in str(error.value)


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no such adapter folder"):
        verify(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    found = verify(tmp_path / "empty")
    assert not found.good and "no adapter folder" in found.checks[-1].detail


# difference


def test_an_adapter_does_not_differ_from_itself(adapter: Path) -> None:
    found = diff(adapter, adapter)
    assert found.same and not found.passport and not found.incomparable
    assert {one.relative for one in found.layers} == {0.0}
    assert all(one.cosine == pytest.approx(1) for one in found.layers)


def test_a_noted_score_alone_is_a_difference_of_the_passport(
    adapter: Path, trained: Path, prepared: Prepared
) -> None:
    evaluate(adapter, prepared, device="cpu", options=NOTE)
    found = diff(trained, adapter)
    assert found.same_weights and found.same_tokens and not found.same
    assert {one.field.split(".")[0] for one in found.passport} == {"scores"}


def test_layers_are_compared_one_by_one(base: Backbone, tmp_path: Path) -> None:
    one = tiny.scribbled(base, tmp_path / "one", seed=1)
    tensors = {name: 1.5 * tensor if ".layers.1." in name else tensor for name, tensor in one.tensors.items()}
    found = {each.place: each for each in diff(one, replace(one, tensors=tensors)).layers}
    assert list(found) == ["layer 0", "layer 1", "layer 2", "head"]
    assert [round(each.relative, 6) for each in found.values()] == [0, 0.5, 0, 0]
    assert found["layer 1"].cosine == pytest.approx(1)
    far = diff(one, tiny.scribbled(base, tmp_path / "two", seed=2)).layers
    assert all(each.relative > 0.5 and each.cosine is not None and each.cosine < 0.9 for each in far)


def test_layers_are_in_the_order_of_their_numbers() -> None:
    names = [f"wav2vec2.encoder.layers.{number}.adapter_layer.norm.bias" for number in (10, 9, 1)]
    assert sorted(names, key=difference._order) == names[::-1]
    assert sorted(["layer 10", "layer 2"], key=difference._order) == ["layer 2", "layer 10"]


def test_heads_go_by_token(base: Backbone, tmp_path: Path) -> None:
    one = tiny.scribbled(base, tmp_path / "one", letters="abd", seed=1)
    other = tiny.scribbled(base, tmp_path / "other", letters="bcd", seed=1)
    found = diff(one, other)
    assert (found.tokens_first, found.tokens_second, found.reordered) == (("a",), ("c",), False)
    assert "rows of tokens that both have" in found.incomparable
    wider = merge([one, other], [1.0, 1.0]).save(tmp_path / "merged")
    told = diff(one, wider)
    assert [each.place for each in told.layers] == ["layer 0", "layer 1", "layer 2", "head"]
    assert "of layer 0, layer 1, layer 2, not all is in both" in told.incomparable
    assert {each.field for each in told.passport} >= {"kind_options.size", "merge.method", "start"}


def test_the_same_change_of_a_matrix_is_the_same(base: Backbone, tmp_path: Path) -> None:
    one = tiny.scribbled(base, tmp_path / "one", seed=1, kind="lora", options={"rank": 2})
    tensors = {
        name: tensor * (2.0 if ".lora_A." in name else 0.5 if ".lora_B." in name else 1.0)
        for name, tensor in one.tensors.items()
    }
    found = diff(one, replace(one, tensors=tensors))
    assert not found.same_weights and max(each.relative for each in found.layers) < 1e-6
    attention = tiny.scribbled(base, tmp_path / "attention", seed=1)
    told = diff(one, attention)
    assert [each.place for each in told.layers] == ["head"] and "heads alone" in told.incomparable


def test_who_was_heard_by_both_is_counted(base: Backbone, tmp_path: Path) -> None:
    one, other = (
        replace(made, passport=replace(made.passport, speakers=speakers, split_sha256=hashes))
        for made, speakers, hashes in (
            (tiny.scribbled(base, tmp_path / "a"), {"train": ["p1", "p2"], "dev": ["p3"]}, {"train": "x"}),
            (tiny.scribbled(base, tmp_path / "b"), {"train": ["p2", "p3"]}, {"train": "x", "test": "y"}),
        )
    )
    found = diff(one, other)
    told = {
        each.part: (each.speakers, each.only_first, each.only_second, each.same_data) for each in found.heard
    }
    assert told == {"train": (1, 1, 1, True), "dev": (0, 1, 0, None), "test": (0, 0, 0, None)}
    assert found.crossed == 1
    assert difference.diff(one, one).crossed == 0
