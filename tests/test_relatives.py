"""Where adapters start: near relatives are found by measurement; siblings of a backbone are known."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import tiny
import torch

import mms_adapt
from mms_adapt import backbone, relatives
from mms_adapt.backbone import Backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterMismatchError, OptionError, RegistryError, SiblingError
from mms_adapt.prepared import Prepared
from mms_adapt.training import TrainConfig
from mms_adapt.transcribe import TranscribeOptions, Transcriber
from mms_adapt.trial import Trial


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("relatives")


@pytest.fixture(scope="module")
def base(place: Path) -> Backbone:
    return backbone.load(tiny.backbone(place / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def data(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus"), place / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def held(place: Path, base: Backbone) -> Path:
    """A registry: a relative that can spell, one that cannot, and the language itself."""
    good = tiny.fitted(base, place / "registry" / "mdw")
    for code, factor in (("wol", 1.0), ("aka", 0.0)):
        tensors = {
            name: one * factor if name == "lm_head.weight" else one for name, one in good.tensors.items()
        }
        AdapterFolder(replace(good.passport, target_lang=code), good.vocab, tensors).save(
            place / "registry" / code
        )
    return place / "registry"


def config(base: Backbone, held: Path, start: str) -> TrainConfig:
    return TrainConfig(backbone=base.name, device="cpu", start=start, relatives=str(held), steps=1)


def test_the_nearest_is_the_one_that_hears_it_best(base: Backbone, data: Prepared, held: Path) -> None:
    ranked = relatives.rank(data, base, held)
    assert [one.adapter.passport.target_lang for one in ranked] == ["wol", "aka"]
    assert ranked[0].loss < ranked[1].loss - 0.5


def test_characters_that_it_cannot_write_cost(base: Backbone, data: Prepared, held: Path) -> None:
    trial = Trial(data, base, split="train")
    one = AdapterFolder.load(held / "wol")
    # not so sure of itself, so that it is better than chance
    tensors = {
        name: 0.15 * part if name.startswith("lm_head") else part for name, part in one.tensors.items()
    }
    known = trial.nearness(AdapterFolder(one.passport, one.vocab, tensors))
    renamed = tiny.build(["abyz"])
    assert len(renamed) == len(one.vocab)
    assert known < trial.nearness(AdapterFolder(one.passport, renamed, tensors))
    strange = trial.nearness(AdapterFolder(one.passport, tiny.build(["wxyz"]), tensors))
    assert strange > known


def test_an_adapter_starts_from_the_nearest(
    base: Backbone, data: Prepared, held: Path, tmp_path: Path
) -> None:
    result = mms_adapt.train(data, tmp_path / "out", replace(config(base, held, "auto"), learning_rate=1e-9))
    made, near = AdapterFolder.load(tmp_path / "out"), AdapterFolder.load(held / "wol")
    assert made.passport.start.startswith(f"auto: wol ({near.sha256[:12]}, losses wol ")
    assert made.passport.head_start == "shared (9 of 9 tokens)"
    assert result.steps == 1
    for name, one in near.tensors.items():
        assert torch.allclose(made.tensors[name], one, atol=1e-6), name


def test_a_named_relative_and_a_random_start(base: Backbone, data: Prepared, held: Path) -> None:
    found = relatives.chosen(data, base, config(base, held, "language:aka"))
    assert found is not None and found.name.startswith("language:aka (")
    assert relatives.chosen(data, base, config(base, held, "language:bom")) is None
    assert relatives.chosen(data, base, config(base, held, "random")) is None
    from mms_adapt.start import begin

    begun = begin(base, config(base, held, "random"), data.vocab)
    up = [one for name, one in begun.parameters.items() if name.endswith("linear_2.weight")]
    assert up and all(0.01 < float(one.detach().std()) < 0.04 for one in up)


def test_what_does_not_fit_is_refused(base: Backbone, data: Prepared, held: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no adapter of another language of the kind lora"):
        relatives.rank(data, base, held, kind="lora")
    with pytest.raises(OptionError, match="name the folder"):
        TrainConfig(start="auto")
    with pytest.raises(OptionError, match="never on test"):
        Trial(data, base, split="test")


@pytest.fixture(scope="module")
def sibling(place: Path, base: Backbone) -> Path:
    """The backbone after further training, as its folder tells."""
    folder = tiny.backbone(place / "later", seed=1)
    shutil.copyfile(base.source.weights[0], place / "earlier.safetensors")
    record = {"trainings": [{"fingerprint": base.fingerprint}, {"state": {}}]}
    (folder / "pretraining.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_sibling_is_known_and_asked_about(
    base: Backbone, held: Path, sibling: Path, data: Prepared
) -> None:
    later, other = backbone.load(sibling, device="cpu"), AdapterFolder.load(held / "mdw")
    assert (other.relation(base), other.relation(later)) == ("same", "sibling")
    with pytest.raises(AdapterMismatchError, match=r"they are siblings.*--allow-sibling"):
        other.attach(later)
    other.attach(later, allow_sibling=True)
    assert torch.equal(later.model.lm_head.weight, other.tensors["lm_head.weight"])
    from mms_adapt.evaluate import EvaluateOptions, evaluate

    with pytest.raises(AdapterMismatchError, match="siblings"):
        evaluate(held / "mdw", data, backbone=str(sibling), device="cpu")
    options = EvaluateOptions(bootstrap=0, allow_sibling=True)
    score = evaluate(held / "mdw", data, backbone=str(sibling), device="cpu", options=options)
    assert "backbone_sibling" in score.marks


def test_results_and_passports_say_sibling(
    base: Backbone, held: Path, sibling: Path, data: Prepared, tmp_path: Path
) -> None:
    one, wave = AdapterFolder.load(held / "wol"), tiny.speech("abca")
    through = TranscribeOptions(device="cpu", allow_sibling=True)
    strict = replace(through, allow_sibling=False)
    at_home = Transcriber.load(held / "wol", options=through).recordings([wave])[0]
    assert at_home.adapter == one.version
    moved = Transcriber.load(held / "wol", backbone=str(sibling), options=through)
    assert moved.recordings([wave])[0].adapter == f"{one.version} sibling"
    with pytest.raises(SiblingError, match="they are siblings"):
        Bank(held, backbone=sibling, options=strict).transcribe([(wave, "wol")])
    (found,) = Bank(held, backbone=sibling, options=through).transcribe([(wave, "wol")])
    assert found.adapter == f"{one.version} sibling"
    later = replace(config(base, held, "language:wol"), backbone=str(sibling))
    with pytest.raises(SiblingError, match="allow_sibling=True"):
        mms_adapt.train(data, tmp_path / "refused", later)
    mms_adapt.train(data, tmp_path / "out", replace(later, allow_sibling=True))
    assert AdapterFolder.load(tmp_path / "out").passport.start.endswith("named, of a sibling backbone)")
    assert AdapterFolder.load(tmp_path / "out").passport.backbone_fingerprint != base.fingerprint
    auto = replace(later, start="auto")
    with pytest.raises(RegistryError, match="siblings"):
        relatives.chosen(data, backbone.load(sibling, device="cpu"), auto)
    ranked = relatives.rank(data, backbone.load(sibling, device="cpu"), held, allow_sibling=True)
    assert {one.adapter.passport.target_lang for one in ranked} == {"wol", "aka"}
    upon = replace(later, start="zero", relatives=None, on=str(held / "mdw"))
    with pytest.raises(SiblingError, match="they are siblings"):
        mms_adapt.train(data, tmp_path / "upon", upon)
    mms_adapt.train(data, tmp_path / "upon", replace(upon, allow_sibling=True))
    passport = AdapterFolder.load(tmp_path / "upon").passport
    assert passport.start == f"zero on {AdapterFolder.load(held / 'mdw').version} sibling"
    # what stands on it is made for the later backbone, and says so
    assert passport.backbone_fingerprint == backbone.load(sibling, device="cpu").fingerprint


def test_a_person_at_the_terminal_is_asked(
    held: Path, sibling: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from mms_adapt import cli

    soundfile.write(tmp_path / "a.wav", tiny.speech("abca"), tiny.RATE_HZ)
    words = ["transcribe", str(tmp_path / "a.wav"), "--adapter", str(held / "mdw"), "--device", "cpu"]
    words += ["--backbone", str(sibling), "--quiet", "--format", "json"]
    asked: list[str] = []

    def run(answer: bool | None, *more: str) -> tuple[object, str]:
        monkeypatch.setattr(cli.sys.stdin, "isatty", lambda: answer is not None)
        monkeypatch.setattr(cli.sys.stderr, "isatty", lambda: answer is not None)
        monkeypatch.setattr(cli.typer, "confirm", lambda text, **_: asked.append(text) or answer)
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, *more])
        said = capsys.readouterr()
        return stopped.value.code, said.out + said.err

    assert run(None)[0] == 1 and not asked
    code, said = run(False)
    assert code == 1 and "they are siblings" in said and len(asked) == 1
    assert "Go on all the same?" in asked[0] and "they are siblings" in asked[0]
    code, said = run(True)
    assert code == 0 and " sibling" in said and len(asked) == 2
    assert run(None, "--yes")[0] == 0 and len(asked) == 2


def test_a_stranger_is_refused_even_so(place: Path, held: Path) -> None:
    other = backbone.load(tiny.backbone(place / "other", seed=2), device="cpu")
    one = AdapterFolder.load(held / "mdw")
    assert one.relation(other) == "other"
    with pytest.raises(AdapterMismatchError, match="give the backbone that it was trained on"):
        one.attach(other, allow_sibling=True)
