"""Evaluating one adapter on one part of prepared data: the score, its marks, its files."""

import json
import shutil
from pathlib import Path

import pytest
import tiny

import mms_adapt
from mms_adapt.cli import main
from mms_adapt.errors import AdapterMismatchError, OptionError, PreparedError
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.prepared import Prepared
from mms_adapt.splits import SplitOptions
from mms_adapt.training import TrainConfig, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def adapter(folder: Path, prepared: Prepared) -> Path:
    base = tiny.backbone(folder / "base")
    config = TrainConfig(
        backbone=str(base), device="cpu", steps=40, epochs=None, learning_rate=2e-2, batch_seconds=20,
        evaluate_steps=20, dropout=0.0, mask_time_share=0.0, mask_channel_share=0.0,
    )  # fmt: skip
    return train(prepared, folder / "adapter", config).folder


def test_score_and_files(adapter: Path, prepared: Prepared, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    score = evaluate(
        adapter, prepared, json=tmp_path / "score.json", report=[tmp_path / "a.html", tmp_path / "a.md"],
        device="cpu", progress=lambda *words: told.append(words),
    )  # fmt: skip
    test = prepared.utterances("test")
    assert [one.utterance_id for one in score.per_utterance] == [one.id for one in test]
    assert [one.reference for one in score.per_utterance] == [one.reference for one in test]
    assert told[-1] == ("evaluate", len(test), len(test))
    written = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    assert "mdw@" in json.dumps(written)
    assert test[0].id in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert (tmp_path / "a.md").stat().st_size > 100
    assert "|backbone:base@" in score.signature, "the folder's name, not where it lies"
    again = evaluate(str(adapter), prepared.folder, device="cpu")
    assert (again.wer, again.cer, again.signature) == (score.wer, score.cer, score.signature)
    assert evaluate(adapter, prepared, device="cpu", batch_seconds=3).cer == score.cer


def test_transcripts_are_those_of_transcribe(adapter: Path, prepared: Prepared) -> None:
    score = evaluate(adapter, prepared, device="cpu", options=EvaluateOptions(bootstrap=0))
    test = prepared.utterances("test")
    paths = [prepared.root / one.recording for one in test]
    found = mms_adapt.transcribe(paths, adapter=adapter, device="cpu")
    assert [one.text for one in found] == [one.hypothesis for one in score.per_utterance]


def test_marks_tell_what_adapter_and_data_do_not_share(
    adapter: Path, prepared: Prepared, tmp_path: Path
) -> None:
    assert not {"adapter_of_another_split", "normaliser_differs"} & set(
        evaluate(adapter, prepared, device="cpu").marks
    )
    source = prepared.root
    other = mms_adapt.prepare(
        source,
        tmp_path / "other",
        target_lang="mdw",
        normaliser="raw",
        split=SplitOptions(mode="sentence", seed=5),
    )
    marks = evaluate(adapter, other, device="cpu").marks
    assert {"adapter_of_another_split", "normaliser_differs"} <= set(marks)


def test_utterances_that_were_left_out_mark_the_score(
    adapter: Path, prepared: Prepared, tmp_path: Path
) -> None:
    assert "clips_left_out" not in evaluate(adapter, prepared, device="cpu").marks
    source = tmp_path / "source"
    shutil.copytree(prepared.root, source)
    lines = (source / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    gone = json.loads(lines[0]) | {"id": "gone", "recording": "gone.wav"}
    (source / "utterances.jsonl").write_text("\n".join([*lines, json.dumps(gone)]), encoding="utf-8")
    score = evaluate(adapter, mms_adapt.prepare(source, tmp_path / "out", target_lang="mdw"), device="cpu")
    assert "clips_left_out" in score.marks and "clips_left_out" in score.signature.rpartition("|marks:")[2]


def test_an_adapter_without_passport_is_marked(
    adapter: Path, prepared: Prepared, folder: Path, tmp_path: Path
) -> None:
    for name in ("adapter.mdw.safetensors", "vocab.json"):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    score = evaluate(tmp_path, prepared, backbone=str(folder / "base"), device="cpu")
    assert "adapter_unverified" in score.marks and "normaliser_differs" not in score.marks
    assert score.cer == evaluate(adapter, prepared, device="cpu").cer


def test_what_cannot_work_is_told(adapter: Path, prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(PreparedError, match="nowhere"):
        evaluate(adapter, tmp_path / "nowhere")
    with pytest.raises(OptionError, match="no format ends in"):
        evaluate(adapter, prepared, report=tmp_path / "a.doc")
    with pytest.raises(OptionError, match="tset"):
        evaluate(adapter, prepared, split="tset")
    corpus = tiny.corpus(tmp_path / "corpus", 40)
    lines = (corpus / "utterances.jsonl").read_text(encoding="utf-8").replace('"mdw"', '"wol"')
    (corpus / "utterances.jsonl").write_text(lines, encoding="utf-8")
    wolof = mms_adapt.prepare(corpus, tmp_path / "wolof", target_lang="wol")
    with pytest.raises(AdapterMismatchError, match=r"writes 'mdw' and .* holds 'wol'"):
        evaluate(adapter, wolof, device="cpu")


def test_the_report_has_sound_pictures_and_where_errors_are(
    adapter: Path, prepared: Prepared, tmp_path: Path
) -> None:
    path, test = tmp_path / "a.html", prepared.utterances("test")
    evaluate(adapter, prepared, device="cpu", report=path, options=EvaluateOptions(embed_audio=True))
    page = path.read_text(encoding="utf-8")
    assert page.count('"data:audio/mpeg;base64,') == page.count('"data:image/png;base64,') == len(test)
    record = tmp_path / "a.json"
    evaluate(adapter, prepared, device="cpu", report=record)
    found = json.loads(record.read_text(encoding="utf-8"))["breakdowns"]
    assert [one["name"] for one in found] == [
        "Length of the utterance",
        "Loudness",
        "Words new to the adapter",
    ]
    assert all(sum(group["utterances"] for group in one["groups"]) == len(test) for one in found[:2])
    words = sum(len((one.reference or "").split()) for one in test)
    counted = [group["words"] for group in found[2]["groups"]]
    assert sum(one["hits"] + one["substitutions"] + one["deletions"] for one in counted) == words


def test_sound_is_bounded_by_the_worst(adapter: Path, prepared: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    options = EvaluateOptions(embed_audio=True, embed_audio_mb=0.03)
    score = evaluate(adapter, prepared, device="cpu", report=path, options=options)
    page = path.read_text(encoding="utf-8")
    assert 0 < page.count('"data:audio/mpeg;base64,') < len(score.per_utterance)
    assert len(page) < 0.03e6 + 60_000


def test_integers_are_marked_and_compared_with_the_exact_model(
    adapter: Path, prepared: Prepared, tmp_path: Path
) -> None:
    paths = tmp_path / "exact.json", tmp_path / "int8.json"
    exact = evaluate(adapter, prepared, json=paths[0], device="cpu")
    coarse = evaluate(
        adapter, prepared, json=paths[1], device="cpu", options=EvaluateOptions(quantise="int8")
    )
    assert "int8" in coarse.marks and "int8" not in exact.marks
    assert mms_adapt.compare(*paths).cer == (exact.cer, coarse.cer)
    with pytest.raises(SystemExit) as stopped:
        words = ["--quantise", "int8", "--device", "cpu", "--quiet", "--json", str(tmp_path / "told.json")]
        main(["evaluate", str(adapter), str(prepared.folder), *words])
    assert stopped.value.code == 0
    assert json.loads((tmp_path / "told.json").read_text("utf-8"))["signature"] == coarse.signature
    with pytest.raises(OptionError, match="leave quantise or note out"):
        EvaluateOptions(note=True, quantise="int8")
    with pytest.raises(OptionError, match="quantise='int4': give none or int8 or fp8"):
        evaluate(adapter, prepared, device="cpu", options=EvaluateOptions(quantise="int4"))
