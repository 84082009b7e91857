"""Sliders: exact at their ends, the best chosen on dev alone, nothing written over."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

import mms_adapt
from mms_adapt import backbone, pictures
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.cli import main
from mms_adapt.composition import merging, stacking
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.evaluate import evaluate
from mms_adapt.prepared import Prepared
from mms_adapt.slider import Slide
from mms_adapt.trial import Trial


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slide")


@pytest.fixture(scope="module")
def base(place: Path) -> Backbone:
    return backbone.load(tiny.backbone(place / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def data(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus", 40), place / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def good(place: Path, base: Backbone) -> AdapterFolder:
    """One that spells with a head fitted to a weak adapter: stronger or weaker, it hears worse."""
    plain = tiny.fitted(base, place / "fitted")
    up = {
        name: 0.01 * torch.randn(one.shape, generator=torch.Generator().manual_seed(len(name)))
        if name.endswith("linear_2.weight")
        else one
        for name, one in plain.tensors.items()
    }
    return replace(plain, tensors=up).save(place / "good")


def test_the_best_is_the_lowest_on_dev_and_the_plain_one_is_always_there(
    base: Backbone, data: Prepared, good: AdapterFolder, tmp_path: Path
) -> None:
    assert good.path is not None
    found = mms_adapt.slide(good.path, data, last=1.5, steps=3, device="cpu", svg=tmp_path / "a.svg")
    assert [one.at for one in found.points] == [0.0, 0.75, 1.0, 1.5]
    assert found.point(found.best).cer == min(one.cer for one in found.points)
    measured = Trial(data, base).measure(good)
    assert (found.point(1.0).cer, found.point(1.0).wer) == (measured.cer, measured.wer)
    interval = found.point(1.0).cer_interval
    assert interval is not None and interval.low <= measured.cer <= interval.high
    bare = replace(good, tensors={
        name: one if "lm_head" in name or not name.endswith(("linear_2.weight", "linear_2.bias")) else 0 * one
        for name, one in good.tensors.items()
    })  # fmt: skip
    assert found.points[0].cer == Trial(data, base).measure(bare).cer
    assert found.tested == () and found.installed is None
    drawing = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg") and drawing.count("<circle") == 8 and f"at {found.best:g}<" in drawing
    picture = pictures.slide(found)
    assert picture.svg == drawing and f"at the strength {found.best:g}, the lowest" in str(picture)


def test_what_is_installed_is_the_best_and_nothing_is_written_over(
    base: Backbone, data: Prepared, good: AdapterFolder, tmp_path: Path
) -> None:
    assert good.path is not None
    before = {one.name: one.read_bytes() for one in good.path.iterdir()}
    out, record = tmp_path / "out", tmp_path / "slide.json"
    found = mms_adapt.slide(
        good.path, data, first=0.5, last=2, steps=2, device="cpu", install=out, test=True, json=record
    )
    made = AdapterFolder.load(tmp_path / "out")
    assert made.passport.parents == {good.version: found.best}
    assert made.passport.merge["slide"]["at"] == found.best
    assert made.passport.merge["slide"]["among"] == [0.5, 1.0, 2.0]
    assert Trial(data, base).measure(made).cer == found.point(found.best).cer
    assert [one.at for one in found.tested] == list(dict.fromkeys((1.0, found.best)))
    assert found.tested[0].cer == evaluate(good.path, data, device="cpu", decoder="greedy").cer
    assert found.tested[-1].cer == evaluate(tmp_path / "out", data, device="cpu", decoder="greedy").cer
    assert Slide.from_json(record.read_text(encoding="utf-8")) == found
    with pytest.raises(OptionError, match="not what slide --json writes"):
        Slide.from_json("{}")
    written = json.loads(record.read_text(encoding="utf-8"))
    assert written["best"] == found.best and len(written["points"]) == 3
    for taken in (tmp_path / "out", good.path):
        with pytest.raises(OptionError, match="it is there already"):
            mms_adapt.slide(good.path, data, device="cpu", install=taken)
    assert before == {one.name: one.read_bytes() for one in good.path.iterdir()}


def test_the_share_of_two(base: Backbone, data: Prepared, good: AdapterFolder, tmp_path: Path) -> None:
    assert good.path is not None
    bad = tiny.scribbled(base, tmp_path / "bad", seed=4)
    replace(bad, passport=replace(bad.passport, normaliser=good.passport.normaliser)).save(tmp_path / "bad")
    found = mms_adapt.slide(good.path, data, other=tmp_path / "bad", steps=3, device="cpu")
    assert [one.at for one in found.points] == [0.0, 0.5, 1.0] and found.method == "concatenate"
    trial = Trial(data, base)
    for at, one in ((0.0, good), (1.0, AdapterFolder.load(tmp_path / "bad"))):
        assert found.point(at).cer == trial.measure(one).cer
    assert found.best != 1.0


def test_the_strength_of_one_part_of_a_stack(base: Backbone, data: Prepared, good: AdapterFolder) -> None:
    second = merging.merge([good], [0.5])
    made = stacking.stack(good, second)
    without = merging.strength(made, 0.0, part=-1)
    features = base.cnn(*(getattr(tiny.padded(tiny.speech("abcd")), name) for name in
                          ("waveforms", "sample_counts")))  # fmt: skip
    counts = torch.tensor([features.shape[1]])

    def logits(one: AdapterFolder) -> torch.Tensor:
        one.attach(base)
        with torch.no_grad():
            return base.logits(base.encode(features, counts))

    assert tiny.close(logits(without), logits(good))
    assert not tiny.close(logits(made), logits(good))
    assert tiny.close(logits(merging.strength(made, 1.0)), logits(made))
    bare = merging.merge([good], [0.0])
    assert tiny.close(logits(merging.strength(made, 0.0)), logits(bare))
    assert without.passport.merge["part"] == 1
    with pytest.raises(OptionError, match="part 2 of"):
        merging.strength(made, 0.5, part=2)
    with pytest.raises(OptionError, match="part 0 of"):
        merging.strength(good, 0.5, part=0)
    with pytest.raises(AdapterMismatchError, match="then stack"):
        merging.merge([made.sealed(), merging.strength(made, 0.5).sealed()])


def test_bad_places_are_told_at_once(data: Prepared, good: AdapterFolder) -> None:
    assert good.path is not None
    for options, says in (
        ({"first": 1.0, "last": 0.5}, "the lower one first"),
        ({"first": -1.0}, "from 0 to 10"),
        ({"steps": 1}, "steps=1"),
        ({"other": good.path, "last": 2.0}, "shares of two adapters go from 0 to 1"),
        ({"other": good.path, "part": 0}, "leave out the second"),
    ):
        with pytest.raises(OptionError, match=says):
            mms_adapt.slide(good.path, data, device="cpu", **options)  # type: ignore[arg-type]


def test_the_commands(
    data: Prepared, good: AdapterFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def told(*words: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(one) for one in words])
        said = capsys.readouterr()
        return f"{stopped.value.code} {said.out}{said.err}"

    folder = data.folder
    out = tmp_path / "out"
    said = told(
        *("slide", good.path, folder, "--from", 0.5, "--to", 1.5, "--steps", 3, "--test", "--quiet"),
        *("--json", tmp_path / "s.json", "--svg", tmp_path / "s.svg", "--install", out),
    )
    assert said.startswith("0 ") and "<- lowest CER" in said and "test at 1: CER" in said
    assert f"installed: {out}" in said and f"written: {tmp_path / 's.svg'}" in said
    assert "it is there already" in told("slide", good.path, folder, "--install", out)
    assert told("slide", good.path).startswith("2 ")
    stacked = tmp_path / "stacked"
    said = told("stack", good.path, out, "--out", stacked)
    assert f"on {good.version}, written with the head of {good.version}" in said and "kind stacked" in said
    assert "it is there already" in told("stack", good.path, out, "--out", stacked)
    assert "keep it stacked" in told("stack", good.path, out, "--out", tmp_path / "plain", "--plain")
    said = told("slide", stacked, folder, "--part", -1, "--steps", 2, "--quiet", "--device", "cpu")
    assert said.startswith("0 ") and "--test tells what it is worth" in said
