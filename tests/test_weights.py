"""Weights of a merge, found on the dev set: the best mixture is found, all that was tried is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

import mms_adapt
from mms_adapt import backbone, trial
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import weights
from mms_adapt.composition.weights import Tried, search
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.prepared import Prepared


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def base(folder: Path) -> Backbone:
    return backbone.load(tiny.backbone(folder / "base"), device="cpu")


@pytest.fixture(scope="module")
def good(base: Backbone, folder: Path) -> AdapterFolder:
    return tiny.fitted(base, folder / "good")


@pytest.fixture(scope="module")
def bad(base: Backbone, folder: Path) -> AdapterFolder:
    made = tiny.scribbled(base, folder / "bad", seed=5)
    return replace(made, passport=replace(made.passport, normaliser="basic-1", licence="mine")).save(
        folder / "bad"
    )


def test_the_grid_holds_every_mixture_once() -> None:
    two, three = weights.grid(2, 0.25), weights.grid(3, 0.25)
    assert (len(two), len(set(three))) == (5, 15)
    assert all(sum(one) == 1 and min(one) >= 0 for one in (*two, *three))
    near = weights.around((0.75, 0.25, 0.0), 0.125)
    assert len(near) == 4 and all(sum(one) == 1 and min(one) >= 0 for one in near)
    assert (0.625, 0.25, 0.125) in near and (0.75, 0.125, 0.125) in near


def test_at_equal_rates_and_above_chance_the_loss_tells() -> None:
    one, two, three = Tried((1, 0), 0.99, 1, 3.0), Tried((0, 1), 1.4, 1, 2.0), Tried((0.5, 0.5), 0.5, 1, 9.0)
    assert weights.best([one, two]) is two
    assert weights.best([one, two, three]) is three


def test_the_better_adapter_gets_the_weight(
    base: Backbone, good: AdapterFolder, bad: AdapterFolder, prepared: Prepared, tmp_path: Path
) -> None:
    told: list[tuple[object, ...]] = []
    found = search([bad, good], prepared, base, licence="mine", progress=lambda *words: told.append(words))
    assert found.best.weights[1] >= 0.5
    assert found.best.cer <= min(one.cer for one in found.tried)
    assert {(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)} <= {one.weights for one in found.tried}
    assert len({one.weights for one in found.tried}) == len(found.tried) == len(told) <= 9
    alone = trial.Trial(prepared, base).measure(good)
    corner = next(one for one in found.tried if one.weights == (0.0, 1.0))
    assert (corner.cer, corner.loss) == pytest.approx((alone.cer, alone.loss), abs=1e-5)
    saved = found.adapter.save(tmp_path / "out")
    again = AdapterFolder.load(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "passport.json").read_text(encoding="utf-8"))["merge"]["search"]
    assert record["split"] == "dev" and record["split_sha256"] == prepared.split_sha256["dev"]
    assert [tuple(one["weights"]) for one in record["tried"]] == [one.weights for one in found.tried]
    rates = trial.Trial(prepared, base).measure(again)
    assert rates.cer == pytest.approx(found.best.cer, abs=1e-6) and again.version == saved.version


def test_an_adapter_without_weight_leaves_nothing_behind(good: AdapterFolder, bad: AdapterFolder) -> None:
    made = weights.merged([good, bad], (1.0, 0.0))
    assert made.passport.parents == {good.version: 1.0}
    assert made.passport.licence == good.passport.licence


def test_the_test_set_is_never_read(
    base: Backbone,
    good: AdapterFolder,
    bad: AdapterFolder,
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = Prepared.utterances

    def utterances(self: Prepared, split: str) -> object:
        asked.append(split)
        return real(self, split)

    monkeypatch.setattr(Prepared, "utterances", utterances)
    monkeypatch.setattr(weights, "STEPS", (1.0,))
    search([good, bad], prepared, base, licence="mine")
    assert set(asked) == {"dev"}


def test_three_are_searched_too(
    base: Backbone,
    good: AdapterFolder,
    bad: AdapterFolder,
    prepared: Prepared,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    third = tiny.scribbled(base, folder / "third", seed=6)
    third = replace(third, passport=replace(third.passport, normaliser="basic-1"))
    monkeypatch.setattr(weights, "STEPS", (0.5, 0.25))
    found = search([third, good, bad], prepared, base, licence="mine")
    assert 6 < len(found.tried) <= 12 and len(found.best.weights) == 3
    assert found.best.weights[1] == max(found.best.weights)


def test_what_makes_no_sense_is_told_before_anything_is_measured(
    base: Backbone,
    good: AdapterFolder,
    bad: AdapterFolder,
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was measured all the same")

    monkeypatch.setattr(trial.Trial, "measure", never)
    with pytest.raises(OptionError, match="1 adapters: weights are searched for 2 or 3"):
        search([good], prepared, base)
    with pytest.raises(AdapterMismatchError, match="'mdw', and the merge is to write 'wol'"):
        search([good, bad], prepared, base, target_lang="wol")
    with pytest.raises(OptionError, match="licence"):
        search([good, bad], prepared, base)
    with pytest.raises(OptionError, match="comes twice"):
        search([good, good], prepared, base)
