"""MMS-LID beside the adapters: what is combined how, checkpoints of the stock layout, and what is none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

from mms_adapt import backbone
from mms_adapt.bank import Bank
from mms_adapt.cli import main
from mms_adapt.decoders import Candidate
from mms_adapt.errors import BackboneError, OptionError
from mms_adapt.serving.identify import Spoken, combine, elsewhere
from mms_adapt.serving.mms_lid import MmsLid
from mms_adapt.transcribe import TranscribeOptions, transcribe, transcribe_stream

WAVE = np.concatenate([tiny.speech(tiny.sentence(seed), seed) for seed in range(4)])
CPU = torch.device("cpu")
CODES = tiny.LID_CODES


@pytest.fixture(scope="module")
def lid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.lid(tmp_path_factory.mktemp("lid") / "lid")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    base = backbone.load(tiny.backbone(folder / "base", seed=1), device="cpu")
    for seed, code in enumerate(("mdw", "wol", "chr")):
        tiny.scribbled(base, folder / "adapters" / code, code, seed=seed)
    return folder / "adapters"


def ranked(**shares: float) -> list[Candidate]:
    return [Candidate(place, share) for place, share in shares.items()]


def by_place(found: tuple[Candidate, ...]) -> dict[str, Candidate]:
    return {one.place: one for one in found}


def test_where_both_know_the_languages_probabilities_are_multiplied() -> None:
    found = combine(ranked(mdw=0.6, wol=0.4), Spoken(CODES, (0.1, 0.0, 0.9)))
    said = {"mdw": 0.99 * 0.1 + 0.005, "wol": 0.99 * 0.9 + 0.005}
    whole = 0.6 * said["mdw"] + 0.4 * said["wol"]
    assert [one.place for one in found] == ["wol", "mdw"]
    assert found[0].probability == pytest.approx(0.4 * said["wol"] / whole)
    assert (found[0].adapters, found[0].lid) == (0.4, 0.9)
    assert elsewhere(found) == pytest.approx(0)


def test_a_language_that_it_does_not_know_keeps_the_adapters_probability() -> None:
    found = by_place(combine(ranked(mdw=0.3, wol=0.5, chr=0.2), Spoken(CODES, (0.97, 0.02, 0.01))))
    assert found["chr"].probability == 0.2 and found["chr"].lid is None
    assert found["mdw"].probability > 0.75
    assert sum(one.probability for one in found.values()) == pytest.approx(1)
    alone = combine(ranked(mdw=0.3, chr=0.7), Spoken(CODES, (0.99, 0.0, 0.01)))
    assert [one.probability for one in alone] == pytest.approx([0.7, 0.3])
    none = combine(ranked(chr=0.7, kab=0.3), Spoken(CODES, (0.9, 0.05, 0.05)))
    assert [one.probability for one in none] == [0.7, 0.3] and elsewhere(none) == 1.0


def test_the_more_it_hears_something_else_the_less_it_counts() -> None:
    adapters = ranked(mdw=0.5, wol=0.5)
    sure, lost = (combine(adapters, Spoken(CODES, given)) for given in ((0.9, 0.0, 0.1), (0.09, 0.9, 0.01)))
    assert sure[0].probability > 0.85 and 0.5 < lost[0].probability < 0.55
    assert elsewhere(lost) == pytest.approx(0.9)
    assert elsewhere(adapters) is None
    certain = combine(ranked(mdw=1e-9, wol=1 - 1e-9), Spoken(CODES, (1.0, 0.0, 0.0)))
    assert all(np.isfinite(one.probability) for one in certain)


def test_codes_with_scripts_names_and_wider_codes_are_found() -> None:
    spoken = Spoken(("azj-script_latin", "ara", "cmn", "yue"), (0.1, 0.2, 0.3, 0.4))
    assert spoken.of("azj-script_cyrillic") == 0.1 and spoken.of("azj/north") == 0.1
    assert spoken.of("arb") == 0.2 and spoken.of("cmn") == 0.3
    assert spoken.of("zho") == pytest.approx(0.7)
    assert spoken.of("mdw") is None and spoken.of("qaa") is None
    found = by_place(
        combine([Candidate("mdw/north", 0.6), Candidate("mdw/south", 0.4)], Spoken(CODES, (1, 0, 0)))
    )
    assert found["mdw/north"].probability == pytest.approx(0.6) and elsewhere(tuple(found.values())) == 0


@pytest.mark.parametrize("changes", [{}, {"use_weighted_layer_sum": True}, {"adapter_attn_dim": 4}])
def test_it_says_what_the_stock_model_says(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = tiny.lid(tmp_path / "lid", **changes)
    stock = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        values = extractor(WAVE, sampling_rate=16_000, return_tensors="pt").input_values
        expected = stock(values).logits[0].softmax(-1).numpy()
    found = MmsLid(folder, CPU).hear(WAVE)
    assert found.codes == CODES and sum(found.probabilities) == pytest.approx(1)
    assert np.allclose(found.probabilities, expected, atol=1e-5)


def test_a_bank_asks_it_and_tells_what_each_said(registry: Path, lid: Path) -> None:
    alone = {one.place: one for one in Bank(registry, options=TranscribeOptions(device="cpu")).identify(WAVE)}
    bank = Bank(registry, options=TranscribeOptions(device="cpu", lid=lid))
    found = bank.identify(WAVE)
    spoken = MmsLid(lid, CPU).hear(WAVE)
    assert found == combine(list(alone.values()), spoken)
    assert {one.place: one.adapters for one in found} == {
        place: one.probability for place, one in alone.items()
    }
    assert by_place(found)["chr"].lid is None and by_place(found)["mdw"].lid == spoken.probabilities[0]
    assert (
        transcribe(WAVE, target_lang="auto", registry=registry, device="cpu", lid=str(lid)).candidates
        == found
    )
    silent = bank.identify(np.zeros(16_000, np.float32))
    assert {one.lid for one in silent} == {None}


def test_what_is_no_checkpoint_is_told_in_one_sentence(registry: Path, lid: Path, tmp_path: Path) -> None:
    def refused(name: Path, says: str) -> None:
        with pytest.raises(BackboneError, match=says) as caught:
            transcribe(WAVE, target_lang="auto", registry=registry, device="cpu", lid=name)
        assert str(caught.value).startswith((f"MMS-LID {name}", f"MMS-LID {str(name)!r}", str(name)))

    def copy(name: str, **changes: object) -> Path:
        folder = Path(shutil.copytree(lid, tmp_path / name))
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
        return folder

    refused(tmp_path / "nowhere" / "at" / "all", "there is no such folder; give a folder with .*mms-lid-126")
    refused(registry.parent / "base", r"architectures is \['Wav2Vec2ForCTC'\]")
    refused(copy("labels", id2label={"0": "LABEL_0", "1": "LABEL_1"}), "names no languages .*LABEL_0")
    refused(copy("few", id2label={"0": "mdw"}), "1 of them")
    refused(copy("more", id2label=dict(enumerate(("mdw", "wol", "eng", "fra")))), "does not fit the weights")
    refused(copy("deeper", num_hidden_layers=4), "weights are missing")
    refused(copy("other", model_type="hubert"), "model_type is 'hubert'")
    folder = copy("rate")
    settings = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    settings["sampling_rate"] = 8000
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    refused(folder, "it hears 8000 Hz")
    folder = copy("pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "model.safetensors is missing")
    folder = copy("cut")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(folder / ".." / "cut", "no whole safetensors file")


def test_it_is_for_languages_that_are_to_be_found_out(registry: Path, lid: Path) -> None:
    for options in ({"target_lang": "mdw"}, {"mix": {"mdw": 0.5, "wol": 0.5}}):
        with pytest.raises(OptionError, match="give target_lang='auto' or several languages"):
            transcribe(WAVE, registry=registry, device="cpu", lid=lid, **options)  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="leave lid out"):
        next(transcribe_stream(WAVE, target_lang="mdw", registry=registry, device="cpu", lid=lid))


def test_the_command_tells_what_each_said(
    registry: Path, lid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, WAVE, 16_000, subtype="FLOAT")

    def run(*words: str) -> int:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["transcribe", str(clip), "--registry", str(registry), "--quiet", "--device", "cpu", *words])
        return int(stopped.value.code or 0)

    assert run("--target-lang", "auto", "--lid", str(lid), "--format", "json") == 0
    shown = capsys.readouterr()
    assert "adapters alone" in shown.err and "MMS-LID:" in shown.err
    assert {"place", "probability", "adapters", "lid"} == set(json.loads(shown.out)[0]["candidates"][0])
    assert run("--target-lang", "chr", "--lid", str(lid)) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert (
        run("--target-lang", "mdw,chr", "--lid", str(tiny.lid(tmp_path / "far", ("eng", "fra", "deu")))) == 0
    )
    told = capsys.readouterr().err
    assert "it does not know this one" in told and "100 % to languages that are no candidates" in told


def test_the_command_chooses_how_long_recordings_are_cut(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    long = np.concatenate([WAVE, np.zeros(8_000, np.float32)] * 12)
    soundfile.write(clip, long, 16_000, subtype="FLOAT")

    def run(cut: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            words = ["--registry", str(registry), "--target-lang", "mdw", "--quiet", "--device", "cpu"]
            main(["transcribe", str(clip), *words, "--cut", cut])
        shown = capsys.readouterr()
        return int(stopped.value.code or 0), shown.out.strip(), shown.err

    for cut in ("pauses", "overlap"):
        expected = transcribe(long, target_lang="mdw", registry=registry, device="cpu", cut=cut)
        assert run(cut)[:2] == (0, expected.text)
    assert run("pauses")[1] != run("overlap")[1]
    code, _, told = run("pause")
    assert code == 2 and "did you mean pauses?" in told.replace("\n", " ")
