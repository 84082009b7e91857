"""Every report format over ordinary, right-to-left and hostile texts; the page in a real browser."""

import html as html_module
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import chromium
import numpy as np
import pytest

from mms_adapt import reports
from mms_adapt.breakdown import by_novelty, by_number
from mms_adapt.errors import OptionError
from mms_adapt.evaluate import picture, player
from mms_adapt.reports import MARKS, Clip, Exclusion, Report, explain, html, markdown, minutes, percent, plain
from mms_adapt.reports import json as json_report
from mms_adapt.scoring import Conditions, score

FORMATS = [html, markdown, plain, json_report]
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
ARABIC, HEBREW = "مرحبا بكم", "שלום עולם"


def report(rows: list[tuple[str, str, str | None]], **fields: object) -> Report:
    """Return a report of (reference, hypothesis, speaker) rows."""
    references, hypotheses, speakers = zip(*rows, strict=True)
    found = score(
        references,
        hypotheses,
        utterance_ids=[f"u{number:05d}" for number in range(len(rows))],
        speakers=speakers,
        conditions=Conditions(
            "basic-1", "test", "ab" * 32, "xyz@1", "tiny@2", "greedy", "", ("one_speaker",)
        ),
        bootstrap=100,
    )
    clips = tuple(Clip(1.5, 0.75) for _ in rows)
    return Report(found, "xyz", "Xyz", **{"speech_s": 90.0, "clips": clips, **fields})  # type: ignore[arg-type]


ROWS: list[tuple[str, str, str | None]] = [
    ("the cat sat", "a cat sat now", "ann"),
    ("yes", "yes", "ben"),
    (ARABIC, "مرحبا", None),
    (HEBREW, f"{HEBREW} הזה", "דוד"),
    ("", "uh", "ann"),
    (HOSTILE, f"{HOSTILE} `|`", HOSTILE),
]


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.__name__.rpartition(".")[2])
def test_every_format_holds_the_figures_and_repeats(format: ModuleType) -> None:
    one = report(ROWS, excluded=(Exclusion("too_long", 3, ("u9",), "cut it"),))
    text = format.render(one)
    assert text == format.render(one)
    assert format.SUFFIX.startswith(".")
    assert "too_long" in text or "too long" in text
    if format is not json_report:
        assert percent(one.score.wer) in text
        assert percent(one.score.cer) in text
        assert html_module.escape(explain("one_speaker")) in text or explain("one_speaker") in text
    assert one.score.signature in html_module.unescape(text)


def test_every_mark_of_scoring_is_explained() -> None:
    assert {"small_test", "empty_references", "one_test_speaker"} <= MARKS.keys()
    assert "my_mark" in explain("my_mark")


def test_durations_read_well() -> None:
    assert [minutes(one) for one in (0, 59.6, 61, 3600, 7290)] == [
        "0 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 01 min",
    ]


def test_json_holds_score_and_surroundings() -> None:
    one = report(ROWS, excluded=(Exclusion("too_long", 3, ("u9",), "cut it"),))
    record = json.loads(json_report.render(one))
    assert record["wer"] == one.score.wer
    assert record["excluded"] == [
        {"reason": "too_long", "count": 3, "examples": ["u9"], "what_to_do": "cut it"}
    ]
    assert record["excluded_count"] == 3
    assert record["per_utterance"][2]["reference"] == ARABIC
    assert record["per_utterance"][2]["duration_s"] == 1.5
    assert {"utterances", "words", "characters", "signature", "marks", "wer_interval"} <= record.keys()


def test_markdown_escapes_what_it_quotes() -> None:
    text = markdown.render(report(ROWS))
    assert "<script" not in text.replace("\\<script", "")
    assert all(
        line.count("|") - line.count("\\|") in (0, 6, 9) for line in text.splitlines() if line[:1] == "|"
    )
    assert ARABIC.split()[0] in text


class Elements(HTMLParser):
    """Count the elements of a page and gather the addresses in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]


def test_the_page_stands_alone_and_runs_only_its_own_script() -> None:
    page = html.render(report(ROWS))
    elements = Elements(page)
    assert elements.tags.count("script") == 2
    assert "img" not in elements.tags
    assert set(elements.addresses) == {"#all"}
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def rows_of(page: str) -> list[list[object]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    rows: list[list[object]] = json.loads(found[1])
    return rows


def test_the_page_carries_every_utterance_aligned() -> None:
    rows = rows_of(html.render(report(ROWS)))
    assert rows[0][9] == [["the", "a"], "cat", "sat", [None, "now"]]
    assert rows[2][9] == ["مرحبا", ["بكم", None]]
    assert [row[8] for row in rows] == [0, 0, 1, 1, 0, 0]
    assert rows[5][0] == "u00005"


def test_unpaired_surrogates_and_long_lines_can_be_written(tmp_path: Path) -> None:
    one = report([("a " * 50_000, "b " * 50_000, "ann"), ("\ud800 x", "x", "ann")])
    for format in FORMATS:
        (tmp_path / "report").write_text(format.render(one), encoding="utf-8", errors="replace")


def test_ten_thousand_utterances_make_a_small_page() -> None:
    page = html.render(
        report([(f"one two three {n}", f"one too three {n}", f"s{n % 9}") for n in range(10_000)])
    )
    assert len(rows_of(page)) == 10_000
    assert len(page) < 3_000_000


def names(page: chromium.Page) -> list[str]:
    found: list[str] = page.run(
        'Array.from(document.querySelectorAll("#utterances .name"), (one) => one.textContent)'
    )
    return found


def pick(page: chromium.Page, id: str, value: str) -> None:
    """Choose an option, or type a text, as a user does."""
    change = f'one.value = {json.dumps(value)}; for (const kind of ["input", "change"])'
    page.run(
        f'{{ const one = document.getElementById("{id}"); {change} one.dispatchEvent(new Event(kind)); }}'
    )


def test_a_browser_draws_the_page_and_runs_no_foreign_script(tmp_path: Path) -> None:
    with chromium.opened(html.render(report(ROWS)), tmp_path) as page:
        assert page.run("document.title").startswith("Xyz (xyz), test set")
        assert len(names(page)) == len(ROWS)
        assert page.run('document.querySelectorAll("p.line[dir=rtl]").length') == 2
        assert page.run('document.querySelector("#utterances .unseen").textContent') == "added: "
        assert page.run('document.getElementById("count").textContent') == "6 of 6"
        assert not page.asked


def test_a_browser_searches_sorts_and_filters(tmp_path: Path) -> None:
    with chromium.opened(html.render(report(ROWS[:4])), tmp_path) as page:
        pick(page, "order", "file")
        assert names(page) == ["u00000", "u00001", "u00002", "u00003"]
        pick(page, "which", "right")
        assert names(page) == ["u00001"]
        pick(page, "which", "all")
        page.press("/")
        for key in "CAT a":
            page.press(key)
        page.until('document.getElementById("count").textContent === "1 of 4"')
        assert names(page) == ["u00000"]
        first = 'document.querySelector("table.sortable tbody td").textContent'
        page.click("table.sortable th button")
        assert page.run(first) == "דוד"
        page.click("table.sortable th button")
        assert page.run(first) == "ann"
        page.click("#theme")
        assert page.run("document.documentElement.dataset.theme") in ("dark", "light")


def test_ten_thousand_utterances_are_searched_at_once(tmp_path: Path) -> None:
    many = report([(f"one two three {n}", f"one too three {n}", f"s{n % 9}") for n in range(10_000)])
    with chromium.opened(html.render(many), tmp_path) as page:
        assert page.run('document.querySelectorAll("#utterances > li").length') <= 150
        pick(page, "search", "three 777 s3")
        page.until('document.getElementById("count").textContent.endsWith(" of 10,000")')
        pick(page, "search", "u00777")
        page.until('document.getElementById("count").textContent === "1 of 10,000"')
        page.run(
            "globalThis.began = performance.now(); choose(); globalThis.took = performance.now() - began"
        )
        assert page.run("took") < 1000


def tone(seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    return (0.2 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def test_a_browser_plays_one_sound_at_a_time(tmp_path: Path) -> None:
    sound = (player(tone(2.0)), picture(tone(2.0)))
    clips = (Clip(2.0, 0.5, *sound), Clip(1.0, 0.9), Clip(2.0, 0.1, *sound))
    with chromium.opened(html.render(report(ROWS[:3], clips=clips)), tmp_path) as page:
        pick(page, "order", "file")
        pick(page, "which", "played")
        assert names(page) == ["u00000", "u00002"]
        page.run('globalThis.sounds = document.querySelectorAll("audio")')
        page.press("j")
        page.press("p")
        page.until("sounds[0].currentTime > 0.1 && !sounds[0].paused")
        assert page.run("sounds[0].duration") == pytest.approx(2.0, abs=0.15)
        page.press("j")
        page.press("p")
        page.until("sounds[1].currentTime > 0.1")
        assert page.run("sounds[0].paused") and not page.run("sounds[1].paused")
        page.until("sounds[1].ended")
        page.press("k")
        page.click("img.spectrogram", 0.5)
        page.until("sounds[0].ended || sounds[0].currentTime > 1.2")
        assert page.run('document.querySelector("img.spectrogram").naturalHeight') == 128
        assert not page.asked


def test_hostile_texts_are_shown_as_text(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        ("<b>bold</b> &amp; \u202eleft\u202c \u2066iso", "$(curl x) ${1} {{7*7}} %s", "<i>ben</i>"),
        ("क्\u200dष ज़ क़", "क्ष ज़", "हिन्दी"),
        ("a\u0301\u0301\u0301 " * 30, "\u0301 b", None),
        ("ߒߞߏ ߛߓߍ", "ߒߞߏ", "ߒ"),
        ("𞤆𞤵𞤤𞤢𞤪", "x 𞤆𞤵", None),
        ("ދިވެހި ބަސް", "ބަސް", None),
        ("ᠮᠣᠩᠭᠣᠯ 漢字 かな", "漢字", "ᠮ"),
        ("\u2067abc\u2069 \u200f12,3\u200e", "\u202dabc", None),
        ("long" * 25_000, "word " * 20_000, "ann"),
    ]
    with chromium.opened(html.render(report(rows, source=HOSTILE, licence=HOSTILE)), tmp_path) as page:
        assert (
            page.run('document.querySelectorAll("main b:not(.marks b):not(.scale b), main img").length') == 0
        )
        assert "taken" not in page.run("document.title")
        texts = page.run('Array.from(document.querySelectorAll("#utterances bdi"), (one) => one.textContent)')
        assert {"<b>bold</b>", "<i>ben</i>", "क्\u200dष", "ߒߞߏ", "ᠮᠣᠩᠭᠣᠯ", "long" * 25_000} <= set(texts)
        assert page.run('document.querySelectorAll("p.line[dir=rtl]").length') == 2 + 3
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert not page.asked


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(width: int, tmp_path: Path) -> None:
    rows = [(f"{one} {word}", word, "speaker" * 9) for one in range(9) for word in ("ba", "bé", "ŋmo")]
    content = html.render(report(rows, excluded=(Exclusion("too_long", 3, ("x" * 200,), "cut it"),)))
    with chromium.opened(content, tmp_path, width=width) as page:
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.run("innerWidth") == width


def test_the_keyboard_reaches_everything(tmp_path: Path) -> None:
    with chromium.opened(html.render(report(ROWS)), tmp_path) as page:
        page.press("Tab")
        assert page.run("document.activeElement.className") == "skip"
        assert page.run("document.activeElement.getBoundingClientRect().top >= 0")
        page.run("document.activeElement.click()")
        assert page.run('Math.abs(document.getElementById("all").getBoundingClientRect().top) < innerHeight')
        for key in "jjk":
            page.press(key)
        assert page.run('document.activeElement.querySelector(".name").textContent') == names(page)[0]
        hidden = (
            'Array.from(document.querySelectorAll(".scroll:has(.sortable, .matrix)"), (one) => one.tabIndex)'
        )
        assert set(page.run(hidden)) == {0}


def test_on_a_phone_a_long_name_leaves_room_for_its_rates(tmp_path: Path) -> None:
    rows: list[tuple[str, str, str | None]] = [("a b", "a c", "a very long name " * 8), ("a", "a", "b")]
    with chromium.opened(html.render(report(rows)), tmp_path, width=390) as page:
        right = 'document.querySelector(".sortable td:nth-child(2)").getBoundingClientRect().right'
        assert page.run(right) < page.run("innerWidth")


def test_large_formats_come_in_pieces_that_make_the_same(tmp_path: Path) -> None:
    one = report([(f"one two {number}", f"one too {number}", "ann") for number in range(1200)])
    for format in FORMATS:
        reports.write(tmp_path / "report", format, one)
        assert (tmp_path / "report").read_text(encoding="utf-8") == format.render(one)
    assert max(map(len, html.pieces(one))) < 40_000 and max(map(len, json_report.pieces(one))) < 40_000
    ids = [row["utterance_id"] for row in json.loads(json_report.render(one))["per_utterance"]]
    assert ids == [row.utterance_id for row in one.score.per_utterance]
    with pytest.raises(OptionError, match="2 clips for 1200"):
        json_report.render(report([("a", "a", None)] * 1200, clips=(Clip(1, 1),) * 2))


def test_breakdowns_and_matrix_are_shown() -> None:
    one = report(ROWS)
    groups = (by_number(one.score.per_utterance, range(len(ROWS)), name="Length <x>", unit="s"),)
    groups += (by_novelty(one.score.per_utterance, {"the"}),)
    found = report(ROWS, breakdowns=groups)
    page = html.render(found)
    assert "Length &lt;x&gt;" in page and "never heard in training" in page
    assert '<table class="matrix">' in page
    assert "never heard in training" in markdown.render(found)
    assert [len(one["groups"]) for one in json.loads(json_report.render(found))["breakdowns"]] == [1, 2]
