"""Licence and consent by speaker and recording; withdrawing a speaker, and the adapters that heard her."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeCorpus
from test_prepare import files, make, rows
from typer.testing import CliRunner

import mms_adapt
from mms_adapt import ledger, passport
from mms_adapt.cli import app
from mms_adapt.errors import CorpusError, OptionError, PreparedError
from mms_adapt.manifest import Utterance
from mms_adapt.passport import Passport
from mms_adapt.prepared import Prepared
from mms_adapt.splits import PARTS


def one(speaker: str | None = "s1", recording: str = "all.wav", licence: str | None = None) -> Utterance:
    return Utterance("u1", recording, 0.0, 1.0, "a word", "xho", speaker=speaker, licence=licence)


def write(folder: Path, *lines: str) -> ledger.Ledger:
    folder.mkdir(exist_ok=True)
    (folder / ledger.FILE).write_text("\n".join(lines), encoding="utf-8")
    return ledger.read(folder)


def test_a_line_about_less_outweighs_one_about_more_and_a_later_one_an_earlier(tmp_path: Path) -> None:
    assert ledger.read(tmp_path) == ledger.Ledger()
    rules = write(
        tmp_path, "\ufeffSpeaker,recording,Licence,consent,note", "s1,,CC0,yes,", "s2,,old,,",
        "s2,,new,research,x", "s1,b.wav,CC BY,only in class,", "", ",c.wav,,NO,",
    )  # fmt: skip
    assert rules.of(one()) == ("CC0", "yes", False)
    assert rules.of(one(recording="b.wav")) == ("CC BY", "only in class", False)
    assert rules.of(one("s2")) == ("new", "research", False)
    assert rules.of(one("s3", licence="own")) == ("own", None, False)
    assert rules.of(one("s1", "c.wav")) == ("CC0", "NO", True)
    assert rules.of(one(None)) == (None, None, False)
    assert [entry.line for entry in ledger.unused(rules, [one(), one("s2")])] == [5, 7]


def test_a_refusal_is_not_outweighed(tmp_path: Path) -> None:
    rules = write(tmp_path, "speaker,recording,consent", "s1,,no", "s1,all.wav,yes")
    assert rules.of(one())[2]


def test_quoted_fields_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    rules = write(tmp_path, "speaker,licence", '"s,1","CC BY,', 'by her name"', "s2,CC0")
    assert rules.of(one("s,1"))[0] == "CC BY,\nby her name"
    assert {entry.line for entry in rules.entries} == {3, 4}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["name,age", "x,3"], r"ledger\.csv:1: the columns are name, age; needed are speaker or recording"),
        ([""], "the columns are missing"),
        (["speaker,licence", "s1"], r"ledger\.csv:2: 1 fields, where the first line names 2"),
        (["speaker,licence", ",CC0"], r"ledger\.csv:2: neither a speaker nor a recording"),
        (["speaker,licence", '"s1,CC0'], "cannot be read"),
    ],
)
def test_a_broken_ledger_is_one_clear_error(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(CorpusError, match=says):
        write(tmp_path, *lines)


def test_a_ledger_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_bytes("speaker,licence\nJosé,CC0".encode("latin-1"))
    with pytest.raises(CorpusError, match="CSV in UTF-8"):
        ledger.read(tmp_path)


def speakers(prepared: Prepared) -> set[str | None]:
    return {each.speaker for part in PARTS for each in prepared.utterances(part)}


def test_preparing_keeps_to_the_ledger(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    source = make_corpus(rows(licence="CC0"), seconds=0.6)
    write(source, "speaker,licence,consent", "s1,CC BY,yes", "s2,,no", "s9,,yes")
    prepared = make(source, tmp_path / "out")
    assert speakers(prepared) == {f"s{n}" for n in range(8)} - {"s2"}
    assert {(each.utterance.speaker, each.reason) for each in prepared.quarantined()} == {
        ("s2", "no_consent")
    }
    assert prepared.counts["left_out"] == {"no_consent": 5} and prepared.licence == "CC BY; CC0"
    assert "ledger.csv:4: no utterance is of s9" in prepared.counts["notes"]
    shares = {each["speaker"]: each for each in json.loads((prepared.folder / "ledger.json").read_text())}
    assert set(shares) == speakers(prepared)
    assert (shares["s1"]["licences"], shares["s1"]["consent"]) == (["CC BY"], ["yes"])
    assert sum(sum(each["utterances"].values()) for each in shares.values()) == 35
    with pytest.raises(CorpusError, match="none of the 40 utterances may be used"):
        write(source, "recording,consent", "all.wav,withdrawn")
        make(source, tmp_path / "none")


@pytest.fixture
def prepared(make_corpus: MakeCorpus, tmp_path: Path) -> Prepared:
    """Eight speakers, and a ninth with a letter of her own whose only other utterance cannot be used."""
    fields = [
        *rows(),
        {"transcript": "ñandu oh", "speaker": "s9"},
        {"recording": "gone.wav", "speaker": "s9"},
    ]
    source = make_corpus(fields, seconds=0.6)
    return make(source, tmp_path / "out")


def train_speaker(prepared: Prepared) -> str:
    return next(each.speaker for each in prepared.utterances("train") if each.speaker not in (None, "s9"))


def test_a_speaker_who_withdraws_is_gone(prepared: Prepared) -> None:
    (prepared.folder / ".cache").mkdir()
    (prepared.folder / ".cache" / "features.f16").write_bytes(b"her voice")
    before = {part: prepared.utterances(part) for part in PARTS}
    result = mms_adapt.withdraw(prepared.folder, speaker="s9")
    assert sum(result.utterances.values()) == 1 and result.quarantined == 1
    for part in PARTS:
        assert result.prepared.utterances(part) == tuple(x for x in before[part] if x.speaker != "s9")
    assert "ñ" not in result.prepared.vocab.tokens
    assert not list(result.prepared.quarantined()) and result.prepared.counts["left_out"] == {}
    everything = b"".join(files(prepared.folder).values())
    assert b"s9" not in everything and "ñ".encode() not in everything
    assert not (prepared.folder / ".cache").exists()
    assert Prepared.load(prepared.folder) == result.prepared
    assert sum(result.prepared.counts["utterances"].values()) == 40
    with pytest.raises(OptionError, match="'s9' has been withdrawn already"):
        mms_adapt.withdraw(prepared.folder, speaker="s9")


def test_preparing_again_leaves_her_out(prepared: Prepared) -> None:
    mms_adapt.withdraw(prepared.folder, speaker="s9")
    again = make(prepared.root, prepared.folder, overwrite=True)
    assert "s9" not in speakers(again) and again.withdrawn == (ledger.pseudonym("s9"),)
    assert again.counts["left_out"] == {"withdrawn": 2}
    assert "ñandu" not in (prepared.folder / "quarantine.jsonl").read_text(encoding="utf-8")
    (prepared.folder / "prepared.json").write_text("{broken", encoding="utf-8")
    with pytest.raises(PreparedError, match="nobody knows who has withdrawn"):
        make(prepared.root, prepared.folder, overwrite=True)


def test_an_unknown_speaker_is_named_beside_those_there_are(prepared: Prepared) -> None:
    with pytest.raises(OptionError, match=r"no utterance is by 's99'; its speakers are s9, …"):
        mms_adapt.withdraw(prepared.folder, speaker="s99")
    with pytest.raises(OptionError, match="nowhere: there is no such folder of adapters"):
        mms_adapt.withdraw(prepared.folder, speaker="s9", adapters=["nowhere"])
    assert "s9" in speakers(Prepared.load(prepared.folder))


def test_the_only_training_speaker_cannot_be_taken_out(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    source = make_corpus([row | {"speaker": "s0"} for row in rows()], seconds=0.6)
    made = make(source, tmp_path / "out")
    before = files(made.folder)
    with pytest.raises(PreparedError, match="every training utterance is by 's0'"):
        mms_adapt.withdraw(made.folder, speaker="s0")
    assert files(made.folder) == before


def adapter(folder: Path, **fields: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / passport.FILE).write_text(
        Passport("xho", "attention", {}, **fields).to_json(), encoding="utf-8"
    )
    return folder


def test_adapters_that_heard_her_are_listed(prepared: Prepared, tmp_path: Path) -> None:
    speaker, registry = train_speaker(prepared), tmp_path / "adapters"
    label = ledger.pseudonym(speaker)
    named = adapter(registry / "xho" / "named", speakers={"train": [label], "dev": []})
    same = adapter(registry / "xho" / "same", split_sha256=dict(prepared.split_sha256))
    other = adapter(
        registry / "xho" / "other", speakers={"train": ["0" * 16]}, split_sha256={"train": "0", "dev": "0"}
    )
    stranger = adapter(registry / "zul")
    result = mms_adapt.withdraw(prepared.folder, speaker=speaker, adapters=[registry, named])
    found = {each.folder: each for each in result.adapters}
    assert set(found) == {named, same} and result.unknown == (stranger,) and other not in found
    assert found[named].surely and found[named].parts == ("train",)
    assert not found[same].surely and "train" in found[same].parts


def test_on_the_command_line(prepared: Prepared, tmp_path: Path) -> None:
    speaker = train_speaker(prepared)
    adapter(tmp_path / "adapters" / "xho", speakers={"train": [ledger.pseudonym(speaker)]})
    words = ["withdraw", str(prepared.folder), "--speaker", speaker, "--adapters", str(tmp_path / "adapters")]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert f"taken out: utterances of {speaker}" in found.output
    assert f"heard her: {tmp_path / 'adapters' / 'xho'} (train; its passport names her)" in found.output
    assert f"{speaker},no" in found.output
