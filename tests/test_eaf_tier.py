"""A tier added to a document: everything else stays, byte for byte, and other programs read it."""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
from annotations import TierOf, eaf_bytes, real_annotations
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_adapt import eaf
from mms_adapt.eaf_tier import TierSpan, add_tier
from mms_adapt.errors import CorpusError, OptionError

TEXT = TierOf("Text", [(660, 2570, "où"), (2570, 3000, "va")], attributes={"PARTICIPANT": "SL"})
PLAIN = eaf_bytes(TEXT, media=[{"MEDIA_URL": "x.wav"}])
SPANS = [TierSpan(2.6, 4.0, 'ŋa "<&>" ]]>\nna\r'), TierSpan(0.1, 2.5999, " two ")]


def only_added(old: bytes, new: bytes) -> bool:
    """Whether the old bytes all stand in the new ones, in their order."""
    rest = iter(new)
    return all(byte in rest for byte in old)


def checked(old: bytes, new: bytes, tier_id: str, spans: list[TierSpan]) -> eaf.Document:
    """Read a document to which a tier was added, and make sure that all else says what it said."""
    before, after = eaf.parse(old, "old.eaf"), eaf.parse(new, "new.eaf")
    assert (after.media, after.licences, after.tiers[:-1]) == (before.media, before.licences, before.tiers)
    ordered = sorted(spans, key=lambda one: one.start_s)
    assert after.tiers[-1].name == tier_id and after.tiers[-1].aligned
    assert [(one.start_ms, one.end_ms, one.text) for one in after.tiers[-1].annotations] == [
        (round(one.start_s * 1000), round(one.end_s * 1000), one.text) for one in ordered
    ]
    root = ElementTree.fromstring(new)
    ids = [
        one.get(name) for name in ("TIME_SLOT_ID", "ANNOTATION_ID") for one in root.iter() if one.get(name)
    ]
    assert len(ids) == len(set(ids))
    slots = [float(one.get("TIME_VALUE", "nan")) for one in root.iter("TIME_SLOT") if one.get("TIME_VALUE")]
    was = [
        one.get("TIME_VALUE")
        for one in ElementTree.fromstring(old).iter("TIME_SLOT")
        if one.get("TIME_VALUE")
    ]
    if list(map(float, was)) == sorted(map(float, was)):
        assert slots == sorted(slots)
    parts = ["LICENSE", "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE"]
    order = [parts.index(one.tag) for one in root if one.tag in parts]
    assert order == sorted(order)
    kinds = {one.get("LINGUISTIC_TYPE_ID"): one for one in root.iter("LINGUISTIC_TYPE")}
    kind = kinds[after.tiers[-1].type]
    assert kind.get("TIME_ALIGNABLE") == "true" and kind.get("CONSTRAINTS") is None
    return after


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", ""])
def test_all_else_stays_as_it_is(encoding: str, line_end: str) -> None:
    text = PLAIN.decode().replace("encoding='UTF-8'", f"encoding='{encoding.removesuffix('-sig')}'")
    if not line_end:
        text = "".join(map(str.strip, text.splitlines()))
    old = text.replace("\n", line_end).encode(encoding)
    new = add_tier(old, "asr <1>", SPANS, participant="SL & co")
    assert only_added(old, new)
    added = checked(old, new, "asr <1>", SPANS).tiers[-1]
    assert (added.participant, added.type) == ("SL & co", "default-lt")
    assert [one.id for one in added.annotations] == ["mms1", "mms2"]


def test_it_looks_as_elan_writes_it() -> None:
    new = add_tier(PLAIN, "asr", [TierSpan(1, 2, "x")]).decode()
    assert (
        '    </TIER>\n    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="asr">\n        <ANNOTATION>\n'
        '            <ALIGNABLE_ANNOTATION ANNOTATION_ID="mms1" TIME_SLOT_REF1="ts4" TIME_SLOT_REF2="ts5">\n'
        "                <ANNOTATION_VALUE>x</ANNOTATION_VALUE>\n            </ALIGNABLE_ANNOTATION>\n"
        "        </ANNOTATION>\n    </TIER>\n    <LINGUISTIC_TYPE "
    ) in new
    assert (
        '"660" />\n        <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="1000"/>\n'
        '        <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="2000"/>\n        <TIME_SLOT '
    ) in new
    lines = iter(new.splitlines())
    assert all(one in lines for one in PLAIN.decode().splitlines())


@pytest.mark.parametrize(
    "old",
    [
        eaf_bytes(),
        eaf_bytes().replace(b"<TIME_ORDER />", b"<TIME_ORDER></TIME_ORDER>"),
        eaf_bytes().replace(b"<TIME_ORDER />", b""),
        PLAIN.replace(b"TIME_ORDER>", b"X>").replace(b"<X>", b"<!--").replace(b"</X>", b"-->"),
        eaf_bytes(TierOf("wd", [("a9", "x")], "Symbolic_Subdivision")),
        eaf_bytes(TierOf("default-lt", [(0, 900, "x")], "Included_In")).replace(
            b'"Included_In" TIME', b'"default-lt" TIME'
        ),
        eaf_bytes(TierOf("tx", [(0, None, "a"), (None, 900, "b"), (4000, 3000, "back")])),
        eaf_bytes(TEXT)
        .replace(b'"a1"', b'"mms1"')
        .replace(b'"ts2"', b'"slot"')
        .replace(b'"ts1"', b'"ts0099"')
        .replace(b'"ts3"', b'"ts' + b"9" * 9000 + b'"'),
        eaf_bytes(TEXT).split(b"<LINGUISTIC_TYPE")[0].rstrip() + b"\n</ANNOTATION_DOCUMENT>\n",
        b"<ANNOTATION_DOCUMENT></ANNOTATION_DOCUMENT>",
        b"<ANNOTATION_DOCUMENT><HEADER/><TIME_ORDER  /></ANNOTATION_DOCUMENT>",
    ],
)
def test_unusual_documents(old: bytes) -> None:
    spans = [TierSpan(0.5, 1, "a"), TierSpan(1, 3.5, "b")]
    new = add_tier(old, "asr", spans)
    checked(old, new, "asr", spans)
    assert only_added(old, new) or only_added(old.replace(b"<TIME_ORDER />", b"<TIME_ORDER >"), new)
    again = add_tier(new, "asr 2", spans)
    checked(new, again, "asr 2", spans)
    assert only_added(new, again)


def test_a_tier_may_be_empty() -> None:
    new = add_tier(PLAIN, "asr", [])
    checked(PLAIN, new, "asr", [])
    assert only_added(PLAIN, new)


@pytest.mark.parametrize(
    ("tier_id", "spans", "message"),
    [
        ("Text", [], "has a tier 'Text' already"),
        (" ", [], "name is empty"),
        ("asr", [TierSpan(0, 1, "a"), TierSpan(0.5, 2, "b")], r"starts at 0\.5 s, before another one ends"),
        ("asr", [TierSpan(1, 1.0004, "a")], r"is from 1 to 1\.0004 s"),
        ("asr", [TierSpan(-1, 1, "a")], "is from -1 to 1 s"),
        ("asr", [TierSpan(float("nan"), 1, "a")], "is from nan"),
        ("asr", [TierSpan(0, float("inf"), "a")], "to inf s"),
        ("asr", [TierSpan(0, 1, "a\x0b")], "which no XML document may"),
        ("as\x00r", [], "which no XML document may"),
        ("asr", [TierSpan(0, 1, "\ud800")], "which no XML document may"),
    ],
)
def test_what_cannot_be_added(tier_id: str, spans: list[TierSpan], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        add_tier(PLAIN, tier_id, spans, name="x.eaf")


@pytest.mark.parametrize("old", [b"", PLAIN[:700], b"<html/>", b"<ANNOTATION_DOCUMENT/>"])
def test_documents_that_cannot_be_added_to(old: bytes) -> None:
    with pytest.raises(CorpusError, match=r"x\.eaf"):
        add_tier(old, "asr", SPANS, name="x.eaf")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.text(max_size=4)), max_size=6),
    st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1).filter(str.strip),
)
def test_any_spans_come_back(lengths: list[tuple[int, int, str]], tier_id: str) -> None:
    spans, reached = [], 0
    for gap, length, text in lengths:
        clean = "".join(one for one in text if one.isprintable())
        spans.append(TierSpan((reached + gap) / 10, (reached + gap + length) / 10, clean))
        reached += gap + length
    new = add_tier(PLAIN, tier_id + "+", spans[::-1])
    checked(PLAIN, new, tier_id + "+", spans)
    assert only_added(PLAIN, new)


def test_real_documents_open_in_pympi(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi")
    for path in sorted(real_annotations().rglob("*.eaf")):
        old = path.read_bytes()
        new = add_tier(old, "mms", SPANS, participant="SL", name=path.name)
        assert only_added(old, new)
        checked(old, new, "mms", SPANS)
        (tmp_path / path.name).write_bytes(new)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened, original = pympi.Elan.Eaf(str(tmp_path / path.name)), pympi.Elan.Eaf(str(path))
        assert list(opened.get_tier_names()) == [*original.get_tier_names(), "mms"]
        assert sorted(opened.get_annotation_data_for_tier("mms"))[1] == (2600, 4000, SPANS[0].text)
        for name in original.get_tier_names():
            assert opened.get_annotation_data_for_tier(name) == original.get_annotation_data_for_tier(name)
