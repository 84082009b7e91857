"""Every report format over ordinary, right-to-left and hostile texts; the page in a real browser."""

import html as html_module
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from chromium import dump

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
        line.count("|") - line.count("\\|") in (0, 6, 8) for line in text.splitlines() if line[:1] == "|"
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
    assert not elements.addresses
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


def test_a_browser_draws_the_page_and_runs_no_foreign_script(tmp_path: Path) -> None:
    shown = dump(html.render(report(ROWS)), tmp_path)
    assert "<title>Xyz (xyz), test set" in shown
    assert shown.count('<li class="card"') == len(ROWS)
    assert '<p class="line" dir="rtl">' in shown
    assert "said: " in shown
    assert "6 of 6" in shown


def test_a_browser_searches_sorts_and_filters(tmp_path: Path) -> None:
    script = """
      const names = () => Array.from(list.querySelectorAll(".name"), (one) => one.textContent).join();
      const pick = (id, value) => { by(id).value = value; by(id).dispatchEvent(new Event("change")); };
      const report = [];
      pick("order", "file"); report.push("file=" + names());
      pick("which", "right"); report.push("right=" + names());
      pick("which", "all"); search.value = "CAT a"; choose(); report.push("search=" + names());
      document.querySelector("table.sortable th button").click();
      report.push("speaker=" + document.querySelector("table.sortable tbody td").textContent);
      report.push("theme=" + (by("theme").click(), document.documentElement.dataset.theme));
      document.title = report.join(";");
    """
    shown = dump(html.render(report(ROWS[:4])), tmp_path, script)
    title = html_module.unescape(re.findall("<title>(.*?)</title>", shown)[0])
    found = dict(part.split("=") for part in title.split(";"))
    assert found["file"] == "u00000,u00001,u00002,u00003"
    assert found["right"] == "u00001"
    assert found["search"] == "u00000"
    assert found["speaker"] == "דוד"
    assert found["theme"] in ("dark", "light")


def test_a_browser_gets_the_players_that_were_asked_for(tmp_path: Path) -> None:
    clips = (Clip(1.0, 0.5, "data:audio/mpeg;base64,SUQz"), Clip(1.0, 0.5))
    shown = dump(html.render(report(ROWS[:2], clips=clips)), tmp_path)
    assert shown.count("<audio") == 1
    assert "with sound" in shown
