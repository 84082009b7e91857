"""Every writer found: golden texts, right-to-left and markup intact, empty input, one recording or many."""

import json
import re
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from mms_adapt import plugins
from mms_adapt.decoders import Hypothesis, Token, Word
from mms_adapt.errors import OptionError

ARABIC, MARKUP = "مرحبا", '<b>&"x"</b>'
HYPOTHESIS = Hypothesis(
    text=f"ab {ARABIC} {MARKUP}",
    tokens=(Token("a", 0.02, 0.04, 0.9), Token("b", 0.1, 0.12, 0.8)),
    words=(Word("ab", 0.02, 0.12, 0.85), Word(ARABIC, 0.5, 1.25, 0.6), Word(MARKUP, 3661.5, 3662.0, 0.5)),
    confidence=0.123456,
    target_lang="xyz",
    adapter="xyz@1",
    recording="clip.wav",
    duration_s=3700.0,
)
GOLDEN = {
    "text": f"ab {ARABIC} {MARKUP}\n",
    "srt": (f"1\n00:00:00,020 --> 00:00:01,250\nab {ARABIC}\n\n2\n01:01:01,500 --> 01:01:02,000\n{MARKUP}\n"),
    "vtt": (
        f"WEBVTT\n\n00:00:00.020 --> 00:00:01.250\nab {ARABIC}\n\n"
        '01:01:01.500 --> 01:01:02.000\n&lt;b&gt;&amp;"x"&lt;/b&gt;\n'
    ),
    "ctm": (
        f"clip 1 0.02 0.10 ab 0.8500\nclip 1 0.50 0.75 {ARABIC} 0.6000\nclip 1 3661.50 0.50 {MARKUP} 0.5000\n"
    ),
    "tsv": (
        "recording\tstart_s\tend_s\tword\tconfidence\n"
        f"clip.wav\t0.020\t0.120\tab\t0.8500\nclip.wav\t0.500\t1.250\t{ARABIC}\t0.6000\n"
        f"clip.wav\t3661.500\t3662.000\t{MARKUP}\t0.5000\n"
    ),
    "json": None,
    "textgrid": None,
    "elan": None,
}


@pytest.mark.parametrize("name", plugins.names("writers"))
def test_every_writer_keeps_the_contract(name: str) -> None:
    assert name in GOLDEN, f"add what {name} writes of HYPOTHESIS to GOLDEN in {__file__}"
    writer = plugins.load("writers", name)
    assert writer.SUFFIX.startswith(".")
    written = writer.render([HYPOTHESIS])
    assert written == GOLDEN[name] or GOLDEN[name] is None
    assert ARABIC in written
    assert MARKUP in written or escape(MARKUP) in written or name == "textgrid" or name == "json"
    if writer.ONE_RECORDING:
        with pytest.raises(OptionError, match=r"one recording and 2 were given"):
            writer.render([HYPOTHESIS, HYPOTHESIS])
    else:
        assert writer.render([]) in ("", "[]\n", "recording\tstart_s\tend_s\tword\tconfidence\n")
    writer.render([Hypothesis("")])


def test_json_holds_everything() -> None:
    written = plugins.load("writers", "json").render([HYPOTHESIS])
    (record,) = json.loads(written)
    assert record["text"] == HYPOTHESIS.text
    assert record["confidence"] == 0.1235
    assert record["words"][2] == {"word": MARKUP, "start_s": 3661.5, "end_s": 3662.0, "confidence": 0.5}
    assert record["recording"] == "clip.wav"


def test_textgrid_covers_the_recording() -> None:
    written = plugins.load("writers", "textgrid").render([HYPOTHESIS])
    starts = [float(one) for one in re.findall(r"^ {12}xmin = (.*)", written, re.M)]
    ends = [float(one) for one in re.findall(r"^ {12}xmax = (.*)", written, re.M)]
    assert starts == [0.0, *ends[:-1]]
    assert ends[-1] == 3700.0
    assert '"<b>&""x""</b>"' in written
    assert "intervals: size = 1" in plugins.load("writers", "textgrid").render(
        [Hypothesis("", duration_s=2.0)]
    )


def test_names_cannot_break_a_line_of_ctm_or_tsv() -> None:
    odd = Hypothesis("a", words=(Word("a", 0.0, 1.0, 1.0),), recording="old tapes/side a\n2.tab\t.wav")
    assert plugins.load("writers", "ctm").render([odd]) == "side_a_2.tab_ 1 0.00 1.00 a 1.0000\n"
    lines = plugins.load("writers", "tsv").render([odd]).splitlines()
    assert [line.count("\t") for line in lines] == [4, 4]


def test_elan_opens_the_document_and_what_it_was_added_to(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed")
    elan = plugins.load("writers", "elan")
    path = tmp_path / "new.eaf"
    path.write_text(elan.render([HYPOTHESIS]), encoding="utf-8")
    found = pympi.Elan.Eaf(str(path))
    assert sorted(found.get_annotation_data_for_tier("mms-adapt")) == [
        (20, 1250, f"ab {ARABIC}"),
        (3661500, 3662000, MARKUP),
    ]
    assert [one[2] for one in sorted(found.get_annotation_data_for_tier("mms-adapt-confidence"))] == [
        "71",
        "50",
    ]
    assert found.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./clip.wav"
    again = elan.into(path.read_bytes(), HYPOTHESIS, tier="second")
    (tmp_path / "more.eaf").write_bytes(again)
    more = pympi.Elan.Eaf(str(tmp_path / "more.eaf"))
    assert set(more.get_tier_names()) == {
        "mms-adapt", "mms-adapt-confidence", "second", "second-confidence"
    }  # fmt: skip
    with pytest.raises(OptionError, match="'mms-adapt' already"):
        elan.into(path.read_bytes(), HYPOTHESIS)


def test_subtitles_break_at_pauses_and_lengths() -> None:
    words = [Word(f"word{number:03d}", number * 0.5, number * 0.5 + 0.4, 1.0) for number in range(60)]
    written = plugins.load("writers", "srt").render([Hypothesis("x", words=tuple(words))])
    lines = [block.split("\n")[2] for block in written.strip().split("\n\n")]
    assert " ".join(lines) == " ".join(one.word for one in words)
    assert max(map(len, lines)) <= 60
