"""Folders of ELAN documents: tiers, speakers, recordings, what is passed over; real ones to prepared data."""

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from annotations import TierOf, eaf_bytes, real_annotations
from conftest import noise

from mms_adapt.cli import main
from mms_adapt.corpora import Gathered, Skipped, elan, gather
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.prepare import prepare


def put(root: Path, name: str, *tiers: TierOf, link: str | None = "x.wav", **options: Any) -> Path:
    """Write a document with a link to a recording."""
    media = [] if link is None else [{"MEDIA_URL": link}]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(eaf_bytes(*tiers, media=media, **options))
    return root


def gathered(root: Path, lang: str = "abz", **options: str) -> Gathered:
    return gather(elan, root, lang, options=options)


def shown(found: Gathered) -> list[tuple[str, str, float, float | None]]:
    return [(one.id, one.transcript, one.start_s, one.end_s) for one in found.utterances]


TEXT = TierOf("Text", [(660, 2570, "one two"), (2570, 3000, "three")], attributes={"PARTICIPANT": "SL"})


def test_annotations_become_utterances(tmp_path: Path) -> None:
    put(tmp_path, "b/day 1.eaf", TEXT, licence="CC BY 4.0")
    put(
        tmp_path,
        "a.EAF",
        TierOf("Text@AB", [(0, 1500, "four\nfive")]),
        TierOf("Trad@AB", [(0, 1500, "cinq")]),
    )
    found = gathered(tmp_path)
    assert shown(found) == [
        ("a.EAF:a1", "four\nfive", 0.0, 1.5),
        ("b/day 1.eaf:a1", "one two", 0.66, 2.57),
        ("b/day 1.eaf:a2", "three", 2.57, 3.0),
    ]
    assert [one.speaker for one in found.utterances] == ["AB", "SL", "SL"]
    assert [one.session for one in found.utterances] == ["a", "b/day 1", "b/day 1"]
    assert [one.licence for one in found.utterances] == [None, "CC BY 4.0", "CC BY 4.0"]
    assert [one.recording for one in found.utterances] == ["x.wav", "b/x.wav", "b/x.wav"]
    assert {one.target_lang for one in found.utterances} == {"abz"}
    assert found.skipped == {Skipped("other_tier", "translation"): 1}
    assert found.notes[0].startswith(
        "transcripts are from the tiers 'Text@AB' (1), 'Text' (2), chosen by name"
    )
    assert "tiers passed over: translation: 'Trad@AB'" in found.notes
    assert gathered(tmp_path / "b" / "day 1.eaf").utterances[0].id == "day 1.eaf:a1"


def test_whose_tier_it_is(tmp_path: Path) -> None:
    ref = TierOf("ref@B", [(0, 500, "r1"), (600, 900, "r2")], attributes={"PARTICIPANT": "Ben"})
    put(tmp_path, "a.eaf", ref, TierOf("tx@X", [("a1", "mine")], "Symbolic_Association", "ref@B"))
    put(
        tmp_path,
        "b.eaf",
        TierOf("ref@B", [(0, 500, "")]),
        TierOf("tx", [("a1", "his")], "Symbolic_Association", "ref@B"),
    )
    put(tmp_path, "c.eaf", TierOf("Wodjo", [(0, 500, "nobody's")]))
    put(tmp_path, "d.eaf", TierOf("tx", [(0, 500, "round")], parent="tx2"), TierOf("tx2", parent="tx"))
    assert [one.speaker for one in gathered(tmp_path).utterances] == ["Ben", "B", None, None]


def test_subdivisions_are_joined_with_the_times_of_their_parent(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.eaf",
        TierOf("ref", [(0, 1000, "R1"), (2000, 2500, "R2"), (3000, 3100, "R3")]),
        TierOf(
            "wd",
            [("a1", "one"), ("a1", ""), ("a1", "two"), ("a2", "three"), ("a3", "")],
            "Symbolic_Subdivision",
            "ref",
        ),
    )
    found = gathered(tmp_path, tiers="wd")
    assert shown(found) == [("a.eaf:a4", "one two", 0.0, 1.0), ("a.eaf:a7", "three", 2.0, 2.5)]
    assert found.skipped == {Skipped("other_tier", "not asked for"): 3, Skipped("empty_annotation"): 1}


def test_what_is_no_utterance_is_counted(tmp_path: Path) -> None:
    rows = [
        (0, 500, ""), (600, 700, " \n"), (700, 800, "xxx"), (800, 900, "***"), (1000, 900, "back"),
        (1100, 1100, "flat"), (1200, 1300, "good xxx one"), (1400, None, "open"),
    ]  # fmt: skip
    put(tmp_path, "a.eaf", TierOf("tx", rows))
    found = gathered(tmp_path)
    assert shown(found) == [("a.eaf:a7", "good xxx one", 1.2, 1.3)]
    assert found.skipped == {
        Skipped("empty_annotation"): 2,
        Skipped("not_transcribed", "'xxx'"): 1,
        Skipped("not_transcribed", "'***'"): 1,
        Skipped("ends_before_it_starts"): 1,
        Skipped("no_time"): 1,
        Skipped("no_duration"): 1,
    }
    assert any(one.startswith("transcripts with places that are not written down") for one in found.notes)


def test_the_documents_zero_may_be_elsewhere_in_the_recording(tmp_path: Path) -> None:
    media = [{"MEDIA_URL": "a.mp4", "TIME_ORIGIN": "9000"}, {"MEDIA_URL": "x.wav", "TIME_ORIGIN": "-1000"}]
    (tmp_path / "a.eaf").write_bytes(
        eaf_bytes(TierOf("tx", [(0, 500, "lost"), (1000, 1500, "kept")]), media=media)
    )
    (tmp_path / "x.wav").touch()
    found = gathered(tmp_path)
    assert shown(found) == [("a.eaf:a2", "kept", 0.0, 0.5)]
    assert found.skipped == {Skipped("before_the_recording"): 1}


def test_times_that_nobody_set_and_speech_at_the_same_time_are_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.eaf",
        TierOf("tx@A", [(0, None, "a"), (None, 1000, "b"), (3000, 4000, "c")]),
        TierOf("tx@B", [(900, 1500, "d"), (2000, 3000, "e")]),
    )
    found = gathered(tmp_path)
    assert len(found.utterances) == 5
    assert "utterances with a time that nobody set, spread evenly between those set: 2" in found.notes
    assert "utterances that overlap with speech on another tier: 2" in found.notes


def test_damaged_documents_lose_nothing(tmp_path: Path) -> None:
    data = eaf_bytes(
        TierOf("tx", [(0, 900, "R")]), TierOf("tx", [(1000, 1100, "S")]), media=[{"MEDIA_URL": "x.wav"}]
    )
    (tmp_path / "a.eaf").write_bytes(data.replace(b'"a2"', b'"a1"'))
    assert [one.id for one in gathered(tmp_path).utterances] == ["a.eaf:a1", "a.eaf:a1~2"]


def test_documents_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    put(tmp_path, "a.eaf", TEXT)
    (tmp_path / "b.eaf").write_bytes(eaf_bytes(TEXT)[:900])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.eaf").write_text("<html/>")
    with pytest.raises(CorpusError) as raised:
        gathered(tmp_path)
    message = str(raised.value)
    assert (
        message.startswith(f"2 documents cannot be read: {tmp_path}/b.eaf:")
        and f"{tmp_path}/c/d.eaf: this is no ELAN" in message
    )
    (tmp_path / "b.eaf").unlink()
    with pytest.raises(CorpusError, match=rf"^{tmp_path}/c/d\.eaf: this is no ELAN document"):
        gathered(tmp_path)


def test_tiers_in_another_language(tmp_path: Path) -> None:
    tiers = [
        TierOf(f"tx@{code}", [(0, 500, code)], attributes={"LANG_REF": code})
        for code in ("abz", "und", "eng", "FR")
    ]
    put(tmp_path, "a.eaf", *tiers)
    found = gathered(tmp_path)
    assert [one.transcript for one in found.utterances] == ["abz", "und"]
    assert found.skipped == {Skipped("other_language", "eng"): 1, Skipped("other_language", "FR"): 1}
    assert len(gathered(tmp_path, tiers="tx@*").utterances) == 4
    with pytest.raises(CorpusError, match=r"no utterance is in 'bam'; found: .*eng \(1\)"):
        gathered(put(tmp_path / "sub", "a.eaf", *tiers[2:]), "bam")


def test_no_tier_that_fits(tmp_path: Path) -> None:
    put(tmp_path, "a.eaf", TierOf("Trad", [(0, 500, "x")]), TierOf("tx"))
    with pytest.raises(
        CorpusError, match=r"the tiers are 'Trad' \(translation\); 'tx' \(empty\)\. Say which .*tiers='NAME'"
    ):
        gathered(tmp_path)
    with pytest.raises(
        OptionError, match=r"no tier has tiers='A_\*', participant='B'; the tiers are 'Trad', 'tx'"
    ):
        gathered(tmp_path, tiers="A_*", participant="B")
    with pytest.raises(OptionError, match="corpus option tier_type: give a name"):
        gathered(tmp_path, tier_type="")
    put(tmp_path, "b.eaf", TEXT)
    assert "documents without such a tier: 'a.eaf'" in gathered(tmp_path).notes


def test_missing_recordings_are_told_with_their_links(tmp_path: Path) -> None:
    source = tmp_path / "corpus"
    put(source, "a.eaf", TEXT, link="file:///C:/My/one.wav")
    put(source, "b.eaf", TEXT, link="file:///C:/My/two.wav")
    put(source, "c/c.eaf", TEXT, link=None)
    links = [
        "a.eaf (file:///C:/My/one.wav)",
        "b.eaf (file:///C:/My/two.wav)",
        "c/c.eaf (no recording has its name)",
    ]
    assert f"documents without their recording: 3: {', '.join(links)}" in gathered(source).notes
    with pytest.raises(CorpusError) as raised:
        prepare(source, tmp_path / "out", target_lang="abz")
    assert "6 x missing_audio" in str(raised.value) and all(one in str(raised.value) for one in links)


def test_a_corpus_is_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "corpus"
    letters = "abcdefghijkl"
    for number, speaker in enumerate(["Ann", "Ben", "Cat", "Dan"]):
        rows = [
            (1000 * place, 1000 * place + 900, f"word {letters[place]} {letters[number]}")
            for place in range(12)
        ]
        trad = TierOf(f"Trad@{speaker}", rows)
        put(source, f"s{number}.eaf", TierOf(f"Tx@{speaker}", rows), trad, link="file:///gone/old.wav")
        soundfile.write(source / f"s{number}.wav", np.tile(noise(12, number), 1), 16_000)
    put(source, "more.eaf", TierOf("Tx@Eve", [(0, 900, "left alone")]), link="file:///gone/more.wav")
    words = [
        "prepare",
        source,
        "--target-lang",
        "abz",
        "--out",
        tmp_path / "out",
        "--corpus-option",
        "tiers=tx@*",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    out = capsys.readouterr().out
    assert not stopped.value.code
    assert "as asked for (tiers='tx@*')" in out and "more.eaf (file:///gone/more.wav)" in out
    assert "left out: 1 x missing_audio" in out and "rows passed over: 48 x other_tier not asked for" in out


def real_folders() -> list[tuple[str, str, int]]:
    return [("abui-elan", "abz", 5), ("jeli", "bam", 1070)]


@pytest.mark.parametrize(("name", "lang", "count"), real_folders())
def test_real_documents_are_accounted_for(name: str, lang: str, count: int) -> None:
    root = real_annotations() / name
    found = gathered(root, lang)
    counted = Counter(
        one.tag
        for path in root.rglob("*.eaf")
        for one in ElementTree.parse(path).getroot().iter()
        if one.tag.endswith("_ANNOTATION")
    )
    assert len(found.utterances) == count
    assert len(found.utterances) + sum(found.skipped.values()) == sum(counted.values())
    assert list(gathered(root, lang).utterances) == list(found.utterances)


def test_real_transcripts_come_from_the_transcribers_tiers() -> None:
    root = real_annotations()
    found = gathered(root / "jeli", "bam")
    expected = {"TX", "Transcription", "tx", "Transcrip", "Tx@griots_r30_4.wav", "tranx", "transcri"}
    per_document = Counter(one.session for one in found.utterances)
    for path in sorted((root / "jeli").glob("*.eaf")):
        tiers = [
            one for one in ElementTree.parse(path).getroot().iter("TIER") if one.get("TIER_ID") in expected
        ]
        texts = [(each.text or "").strip() for one in tiers for each in one.iter("ANNOTATION_VALUE")]
        assert per_document[path.stem] == len([one for one in texts if one and one.casefold() != "xxxx"])
    links = [note for note in found.notes if note.startswith("documents without their recording: 10: ")]
    assert len(links) == 1 and links[0].count("file:///C:/") == 10


def test_real_recordings_are_found_though_every_link_is_stale(tmp_path: Path) -> None:
    root = real_annotations() / "abui-elan" / "transcribed"
    assert [one.recording for one in gathered(root).utterances] == [
        "abui_1.wav", "abui_2.wav", "abui_3.wav", "abui_4.wav", "abui_4.wav",
    ]  # fmt: skip
    prepared = prepare(root, tmp_path / "abz", target_lang="abz")
    assert prepared.layout == "elan" and sum(prepared.counts["utterances"].values()) == 5
    assert not prepared.counts["left_out"] and "one_speaker" in prepared.marks
    with pytest.raises(
        CorpusError, match=r"(?s)1070 x missing_audio.*intrvw_r5\.eaf \(file:///C:/Users/RobotsMali"
    ):
        prepare(real_annotations() / "jeli", tmp_path / "bam", target_lang="bam")
