"""TextGrids: both forms, all encodings, what breaks them; real files beside praatio."""

import pytest
from annotations import real_annotations, textgrid_text

from mms_adapt import praat
from mms_adapt.errors import CorpusError
from mms_adapt.praat import Label, Tier

TIERS = (
    ("text@A", [(0, 0.5, ""), (0.5, 1.25, 'où "ça"\nva')]),
    ("tones", [(0.75, "H*")]),
    ("text@A", [(0, 1.25, "1 <exists> ! 2")]),
)
READ = (
    Tier("text@A", False, (Label(0, 0.5, ""), Label(0.5, 1.25, 'où "ça"\nva'))),
    Tier("tones", True, (Label(0.75, 0.75, "H*"),)),
    Tier("text@A", False, (Label(0, 1.25, "1 <exists> ! 2"),)),
)


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_forms_and_encodings(long: bool, encoding: str, line_end: str) -> None:
    text = textgrid_text(*TIERS, long=long).replace("\n", line_end)
    found = praat.parse(text.encode(encoding), "one.TextGrid")
    labels = [
        [Label(one.start_s, one.end_s, one.text.replace(line_end, "\n")) for one in tier.labels]
        for tier in found.tiers
    ]
    assert labels == [list(tier.labels) for tier in READ]
    assert [(one.name, one.points) for one in found.tiers] == [(one.name, one.points) for one in READ]
    assert (found.start_s, found.end_s) == (0, 1.25)
    expected = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding)
    assert found.encoding == expected


def test_what_stands_between_the_values_does_not_matter() -> None:
    text = (
        textgrid_text(*TIERS)
        .replace("item [2]:", "item[2]")
        .replace("size = 3", "size = 3 ! three tiers, 4 5")
    )
    text = text.replace('class = "TextTier"', 'class = ! "not this"\n"TextTier"').replace(
        "xmax = 1.25 ", "xmax = 1.25e0"
    )
    assert praat.parse(text.encode(), "one.TextGrid").tiers == READ
    short = textgrid_text(*TIERS, long=False).replace("ooTextFile", "ooTextFile short")
    assert praat.parse(short.encode(), "one.TextGrid").tiers == READ


def test_no_tiers() -> None:
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<absent>\n'
    assert praat.parse(text.encode(), "one.TextGrid").tiers == ()


LONG, SHORT = textgrid_text(*TIERS), textgrid_text(*TIERS, long=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no TextGrid"),
        ("utterance\tspeaker\n", "this is no TextGrid"),
        (LONG.replace('"TextGrid"', '"PitchTier"'), "this is a PitchTier; open it in Praat"),
        ('"Praat chronological TextGrid text file"\n0 1 ! Time domain.\n', "this is a Praat chronological"),
        (
            LONG[: LONG.index("text = ")],
            r"one\.TextGrid:\d+: a label's text should come here, and the file ends",
        ),
        (SHORT[: SHORT.index("va")], r"one\.TextGrid:\d+: a text in quotation marks .* has no end"),
        (
            LONG.replace("size = 2", "size = 3"),
            r"an interval's end should come here|a time should come here, and",
        ),
        (
            LONG.replace("size = 3", "size = 2"),
            r"one\.TextGrid:\d+: the tiers are complete, and '\"IntervalTier",
        ),
        (LONG.replace("size = 3", "size = -3"), r"one\.TextGrid:7: the number of tiers is -3"),
        (LONG.replace("xmax = 0.5", "xmax = half"), r"one\.TextGrid:\d+: an interval's end should come here"),
        (LONG.replace("xmax = 0.5", "xmax = 1e999"), "an interval's end is no finite number"),
        (LONG.replace("TextTier", "Manner"), 'a tier is a "Manner"'),
        (LONG.replace('"H*"', '"H"*"'), r"one\.TextGrid:\d+: "),
    ],
)
def test_what_cannot_be_read_is_one_error_with_the_place(text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        praat.parse(text.encode(), "one.TextGrid")


def test_other_bytes() -> None:
    with pytest.raises(CorpusError, match="this is a binary file of Praat"):
        praat.parse(b"ooBinaryFile\x08TextGrid\0\0", "one.TextGrid")
    with pytest.raises(CorpusError, match=r"it starts as UTF-16-LE, and byte \d+ is not"):
        praat.parse(LONG.encode("utf-16")[:-1], "one.TextGrid")


def test_real_files_hold_what_praatio_finds() -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    paths = sorted(real_annotations().rglob("*.TextGrid"))
    assert len(paths) == 11
    for path in paths:
        found = praat.parse(path.read_bytes(), path.name)
        other = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert [one.name for one in found.tiers] == list(other.tierNames)
        for tier in found.tiers:
            entries = other.getTier(tier.name).entries
            assert [(one.start_s, one.text.strip()) for one in tier.labels] == [
                (one[0], one[-1].strip()) for one in entries
            ]
