"""ELAN documents: times of all kinds of annotations, all kinds of damage, real files counted anew."""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
from annotations import TierOf, eaf_bytes, eaf_tree, real_annotations

from mms_adapt import eaf
from mms_adapt.errors import CorpusError


def times(tier: eaf.Tier) -> list[tuple[float | None, float | None, str]]:
    return [(one.start_ms, one.end_ms, one.text) for one in tier.annotations]


def test_a_document_is_read() -> None:
    document = eaf.parse(
        eaf_bytes(
            TierOf(
                "text@A",
                [(660, 2570, "hekaai <deina> & ong\nba"), (2570, 3000, "")],
                attributes={
                    "PARTICIPANT": " SL ",
                    "ANNOTATOR": "me",
                    "LANG_REF": "abz",
                    "DEFAULT_LOCALE": "en",
                },
            ),
            TierOf("empty"),
            media=[
                {"MEDIA_URL": "file:///a/b.wav", "RELATIVE_MEDIA_URL": "./b.wav", "TIME_ORIGIN": "250"},
                {"MEDIA_URL": "file:///a/b.mp4", "MIME_TYPE": "video/mp4"},
            ],
            licence="CC BY 4.0",
        ),
        "one.eaf",
    )
    assert document.media == (
        eaf.Media("file:///a/b.wav", "./b.wav", "audio/x-wav", 250.0),
        eaf.Media("file:///a/b.mp4", "", "video/mp4", 0.0),
    )
    assert document.licences == ("CC BY 4.0",)
    tier, empty = document.tiers
    assert (tier.name, tier.type, tier.constraint, tier.parent) == ("text@A", "default-lt", "", None)
    assert (tier.participant, tier.annotator, tier.language, tier.locale) == ("SL", "me", "abz", "en")
    assert times(tier) == [(660, 2570, "hekaai <deina> & ong\nba"), (2570, 3000, "")]
    assert [one.id for one in tier.annotations] == [one.anchor for one in tier.annotations] == ["a1", "a2"]
    assert tier.aligned and empty.annotations == () and empty.aligned


def test_children_have_the_times_of_their_parents() -> None:
    document = eaf.parse(
        eaf_bytes(
            TierOf("ref", [(0, 1000, "R1"), (2000, 2500, "R2")]),
            TierOf("tx", [("a1", "one two"), ("a2", "three")], "Symbolic_Association", "ref"),
            TierOf("wd", [("a3", "one"), ("a3", "two"), ("a4", "three")], "Symbolic_Subdivision", "tx"),
            TierOf("lost", [("a99", "gone"), ("a9", "its own parent")], "Symbolic_Association", "wd"),
        ),
        "one.eaf",
    )
    _, text, words, lost = document.tiers
    assert times(text) == [(0, 1000, "one two"), (2000, 2500, "three")]
    assert times(words) == [(0, 1000, "one"), (0, 1000, "two"), (2000, 2500, "three")]
    assert [one.anchor for one in words.annotations] == ["a1", "a1", "a2"]
    assert times(lost) == [(None, None, "gone"), (None, None, "its own parent")]
    assert [one.aligned for one in document.tiers] == [True, False, False, False]
    assert words.parent == "tx" and words.constraint == "Symbolic_Subdivision"


def test_subdivisions_come_in_the_order_of_their_chain() -> None:
    root = eaf_tree(
        TierOf("ref", [(0, 1000, "R")]),
        TierOf(
            "wd",
            [("a1", "three"), ("a1", "one"), ("a1", "two"), ("a1", "x"), ("a1", "y")],
            "Symbolic_Subdivision",
        ),
    )
    of = {one.get("ANNOTATION_ID"): one for one in root.iter("REF_ANNOTATION")}
    for name, previous in (
        ("a2", "a4"),
        ("a4", "a3"),
        ("a5", "a6"),
        ("a6", "a5"),
    ):  # the last two bite their tails
        of[name].set("PREVIOUS_ANNOTATION", previous)
    tier = eaf.parse(ElementTree.tostring(root), "one.eaf").tiers[1]
    assert [one.text for one in tier.annotations] == ["one", "two", "three", "x", "y"]


def test_times_that_nobody_set_lie_evenly_between_their_neighbours() -> None:
    document = eaf.parse(
        eaf_bytes(
            TierOf("ref", [(0, 900, "R"), (1000, None, "to nowhere")]),
            TierOf("wd", [(0, None, "a"), (None, None, "b"), (None, 900, "c")], "Time_Subdivision", "ref"),
        ),
        "one.eaf",
    )
    words = document.tiers[1].annotations
    assert times(document.tiers[1]) == [(0, 300, "a"), (300, 600, "b"), (600, 900, "c")]
    assert [one.estimated for one in words] == [True, True, True]
    assert [one.estimated for one in document.tiers[0].annotations] == [False, True]
    assert times(document.tiers[0])[1] == (1000, None, "to nowhere")


def test_slots_that_are_missing_leave_a_time_open() -> None:
    data = eaf_bytes(TierOf("ref", [(0, 900, "R"), (1000, 1100, "S")])).replace(b'REF2="ts2"', b'REF2="ts77"')
    assert times(eaf.parse(data, "one.eaf").tiers[0]) == [(0, None, "R"), (1000, 1100, "S")]


def test_tiers_and_annotations_of_the_same_name_are_all_kept() -> None:
    data = eaf_bytes(TierOf("tx", [(0, 900, "R")]), TierOf("tx", [(1000, 1100, "S")])).replace(
        b'"a2"', b'"a1"'
    )
    found = eaf.parse(data, "one.eaf").tiers
    assert [(one.name, times(one)) for one in found] == [("tx", [(0, 900, "R")]), ("tx", [(1000, 1100, "S")])]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    text = eaf_bytes(TierOf("tx", [(0, 900, "où ça")])).decode("utf-8")
    declared = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "iso-8859-1": "ISO-8859-1"}[encoding]
    data = text.replace("encoding='UTF-8'", f"encoding='{declared}'").encode(encoding)
    assert times(eaf.parse(data, "one.eaf").tiers[0]) == [(0, 900, "où ça")]


GOOD = eaf_bytes(TierOf("tx", [(0, 900, "R"), (1000, 1100, "S")]))
BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>"""
OUTSIDE = b"""<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ANNOTATION_DOCUMENT>&e;</ANNOTATION_DOCUMENT>"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"one\.eaf:1: this is no whole XML document \(no element found\)"),
        (GOOD[: len(GOOD) // 2], r"one\.eaf:\d+: this is no whole XML document"),
        (GOOD.replace(b"</TIER>", b""), r"one\.eaf:\d+: this is no whole XML document \(mismatched tag\)"),
        (GOOD.replace(b">R<", b">\xff<"), r"one\.eaf:\d+: this is no whole XML document \(not well-formed"),
        (GOOD.replace(b">R<", b">&r;<"), r"one\.eaf:\d+: this is no whole XML document \(undefined entity\)"),
        (GOOD.replace(b"UTF-8", b"UTF-99"), r"one\.eaf: its encoding cannot be read"),
        (BOMB, r"one\.eaf:2: it declares a document type"),
        (OUTSIDE, r"one\.eaf:2: it declares a document type"),
        (b"<TEI/>", "this is no ELAN document: its outermost element is <TEI>"),
        (GOOD.replace(b'"milliseconds"', b'"PAL-frames"'), "its times are in PAL-frames"),
        (GOOD.replace(b'VALUE="900"', b'VALUE="0:09"'), r"TIME_VALUE='0:09' of ts2 is no number"),
        (
            GOOD.replace(b'VALUE="900"', b'VALUE="' + b"9" * 400 + b'"'),
            r"TIME_VALUE='9+' of ts2 is no number",
        ),
        (
            GOOD.replace(b'VALUE="900"', b'VALUE="' + b"9" * 9000 + b'"'),
            r"TIME_VALUE='9+' of ts2 is no number",
        ),
    ],
)
def test_what_cannot_be_read_is_one_error_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        eaf.parse(data, "one.eaf")


def real_documents() -> list[Path]:
    return sorted(real_annotations().rglob("*.eaf"))


def test_real_documents_hold_what_a_plain_count_finds() -> None:
    paths = real_documents()
    assert len(paths) == 14
    for path in paths:
        found = {one.name: len(one.annotations) for one in eaf.parse(path.read_bytes(), path.name).tiers}
        root = ElementTree.parse(path).getroot()
        assert found == {
            one.get("TIER_ID"): sum(each.tag.endswith("_ANNOTATION") for each in one.iter())
            for one in root.iter("TIER")
        }


def test_real_documents_have_the_times_that_pympi_finds() -> None:
    pympi = pytest.importorskip("pympi")
    for path in real_documents():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = pympi.Elan.Eaf(str(path))
        for tier in eaf.parse(path.read_bytes(), path.name).tiers:
            assert sorted(times(tier)) == sorted(other.get_annotation_data_for_tier(tier.name))
