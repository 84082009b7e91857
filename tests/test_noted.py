"""Scores in passports: what is noted can be read, changes nothing else, and is never half written."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

import mms_adapt
from mms_adapt import backbone, files, ngram, noted, passport
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterError, AdapterMismatchError, OptionError
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.noted import NotedScore
from mms_adapt.prepared import Prepared
from mms_adapt.serving import edition
from mms_adapt.splits import SplitOptions

NOTE = EvaluateOptions(bootstrap=20, note=True)
SCORE = NotedScore(
    0.25, 0.5, 7, 20, 80, "0" * 64, "basic-1", "greedy", {}, "cpu", "float32", 120.0, "0.1.0", "a|b"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noted")


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def spelling(folder: Path) -> Path:
    base = backbone.load(tiny.backbone(folder / "base"), device="cpu")
    made = tiny.fitted(base, folder / "fitted")
    assert made.path is not None
    return made.path


@pytest.fixture
def adapter(spelling: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(spelling, tmp_path / "mdw"))


def test_a_score_is_noted_with_what_made_it(adapter: Path, prepared: Prepared) -> None:
    before = AdapterFolder.load(adapter)
    score = evaluate(adapter, prepared, device="cpu", options=NOTE)
    after = AdapterFolder.load(adapter)
    found = noted.read(after.passport)["test"]
    assert (found.cer, found.wer, found.signature) == (score.cer, score.wer, score.signature)
    assert found.split_sha256 == prepared.split_sha256["test"]
    assert (found.decoder, found.device, found.dtype) == ("greedy", "cpu", "float32")
    assert found.mms_adapt == mms_adapt.__version__ and len(found.cer_interval) == 2
    assert replace(after.passport, scores={}) == before.passport
    assert "scores" in json.loads((adapter / passport.FILE).read_text(encoding="utf-8"))


def test_without_the_word_nothing_is_noted(adapter: Path, prepared: Prepared) -> None:
    evaluate(adapter, prepared, device="cpu", options=EvaluateOptions(bootstrap=0))
    assert not passport.read(adapter).scores


def test_noting_makes_no_other_adapter_of_it(adapter: Path) -> None:
    before, seen = AdapterFolder.load(adapter), edition.stamp(adapter, whole=True)
    noted.write(adapter, "test", SCORE, sha256=before.sha256)
    after = AdapterFolder.load(adapter)
    assert (after.version, after.sha256) == (before.version, before.sha256)
    changed = {one[0] for one in set(edition.stamp(adapter, whole=True)) - set(seen)}
    assert changed == {passport.FILE}, "weights and tokens are not touched"


def test_a_decoder_is_noted_with_the_hash_of_its_file(
    adapter: Path, prepared: Prepared, tmp_path: Path
) -> None:
    lm = tmp_path / "elsewhere" / "some.arpa"
    lm.parent.mkdir()
    lm.write_text(ngram.estimate([["a", "b"], ["c", "d"]], 2).to_arpa(), encoding="utf-8")
    options = {"lm": str(lm), "lm_weight": "0.1"}
    evaluate(adapter, prepared, device="cpu", decoder="beam", decoder_options=options, options=NOTE)
    assert str(tmp_path) not in (adapter / passport.FILE).read_text(encoding="utf-8").replace(
        passport.read(adapter).backbone, ""
    )
    found = noted.read(passport.read(adapter))["test"]
    with pytest.raises(AdapterError, match="--decoder-option lm=FILE"):
        noted.options_of(adapter, found)
    assert noted.options_of(adapter, found, {"lm": lm}) == {"lm": str(lm), "lm_weight": "0.1"}
    (adapter / "some.arpa").write_text("another", encoding="utf-8")
    with pytest.raises(AdapterError, match="its hash is"):
        noted.options_of(adapter, found)


def test_what_may_not_be_noted_is_told_before_anything_is_measured(
    adapter: Path, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passport.change(adapter, lambda one: replace(one, split_sha256=prepared.split_sha256))
    other = mms_adapt.prepare(
        prepared.root, tmp_path / "other", target_lang="mdw", split=SplitOptions(mode="sentence", seed=5)
    )

    def never(*_: object) -> None:
        raise AssertionError("it was transcribed all the same")

    monkeypatch.setattr("mms_adapt.transcriber.Transcriber.waveforms", never)
    with pytest.raises(AdapterMismatchError) as error:
        evaluate(adapter, other, device="cpu", options=NOTE)
    for data in (prepared, other):
        assert data.split_sha256["test"][:12] in str(error.value)
    base = passport.read(adapter).backbone
    (adapter / passport.FILE).unlink()
    with pytest.raises(AdapterError, match=r"no passport\.json"):
        evaluate(adapter, prepared, device="cpu", backbone=base, options=NOTE)


def test_a_value_that_json_has_not_is_refused() -> None:
    with pytest.raises(OptionError, match="of the type object"):
        noted._told(object())


def test_an_adapter_that_was_replaced_meanwhile_gets_no_score(adapter: Path) -> None:
    with pytest.raises(AdapterError, match="replaced while it was measured"):
        noted.write(adapter, "test", SCORE, sha256="f" * 64)
    assert not passport.read(adapter).scores


def test_many_who_note_lose_nothing_and_readers_see_whole_passports(adapter: Path) -> None:
    sha256, wrong = AdapterFolder.load(adapter).sha256, []
    writing = threading.Event()

    def note(number: int) -> None:
        for again in range(5):
            noted.write(adapter, f"part{number}-{again}", SCORE, sha256=sha256)

    def read() -> None:
        while not writing.is_set():
            try:
                passport.read(adapter)
            except AdapterError as error:
                wrong.append(error)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=note, args=(number,)) for number in range(6)]
    reader.start()
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    writing.set()
    reader.join()
    assert not wrong
    assert len(noted.read(passport.read(adapter))) == 30


def test_a_crash_leaves_the_old_passport(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (adapter / passport.FILE).read_bytes()

    def full(path: Path, content: bytes | str) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(OSError, match="full"):
        noted.write(adapter, "test", SCORE, sha256=AdapterFolder.load(adapter).sha256)
    assert (adapter / passport.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cer": "low"}, "cer is 'low'"),
        ({"decoder": "os.system"}, "no decoder 'os.system'"),
        ({"words": None}, "words is 'None'"),
    ],
)
def test_what_is_no_score_is_refused(adapter: Path, change: dict[str, object], says: str) -> None:
    noted.write(adapter, "test", SCORE, sha256=AdapterFolder.load(adapter).sha256)
    path = adapter / passport.FILE
    record = json.loads(path.read_text(encoding="utf-8"))
    record["scores"]["test"] |= change
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(AdapterError, match=says):
        noted.read(passport.read(adapter))
