"""What the writers write, opened by readers that are not ours: times in order, no word lost or changed.

SubRip and WebVTT are read by two strict parsers of this file, written from the formats' descriptions and not
from the writers.
"""

import csv
import html
import io
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mms_adapt import plugins
from mms_adapt.decoders import Hypothesis, Word

ODD = ["مرحبا", "<b>bold</b>", 'she"said"', "a&b", "&amp;", "--", "ŋɔ̃", "1", "don't", "ա՛", "x" * 70, "10:00"]
SEEDS = range(12)


@dataclass(frozen=True)
class Cue:
    """One subtitle, times in milliseconds."""

    start_ms: int
    end_ms: int
    text: str


def spoken(seed: int) -> Hypothesis:
    """Return words at random times, pauses between some; every fourth goes on for more than an hour."""
    random = np.random.default_rng(seed)
    words, time_s = [], float(random.uniform(0, 3))
    for _ in range(int(random.integers(1, 120))):
        letters = "".join(random.choice(list("abcdeʼ"), random.integers(1, 9)))
        word = str(random.choice(ODD)) if random.random() < 0.2 else letters
        end_s = time_s + round(float(random.integers(1, 40))) * 0.02
        words.append(Word(word, time_s, end_s, float(random.random())))
        time_s = end_s + float(random.choice([0.0, 0.02, 0.3, 2.0, 400.0 if seed % 4 == 0 else 1.0]))
    text = " ".join(one.word for one in words)
    return Hypothesis(
        text, words=tuple(words), target_lang="mdw", adapter="mdw@1", confidence=0.5,
        recording=f"tapes/tape{seed}.wav", duration_s=time_s + 1,
    )  # fmt: skip


def written(name: str, *hypotheses: Hypothesis) -> str:
    return str(plugins.load("writers", name).render(list(hypotheses)))


def milliseconds(hours: str, minutes: str, seconds: str, thousandths: str) -> int:
    assert int(minutes) < 60 and int(seconds) < 60
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(thousandths)


SRT_TIMES = re.compile(r"(\d\d):(\d\d):(\d\d),(\d{3}) --> (\d\d):(\d\d):(\d\d),(\d{3})")
VTT_TIMES = re.compile(r"(\d{2,}):(\d\d):(\d\d)\.(\d{3}) --> (\d{2,}):(\d\d):(\d\d)\.(\d{3})")


def read_srt(text: str) -> list[Cue]:
    """Read SubRip: blocks behind blank lines, each of a number from 1, a line of times and lines of text."""
    found: list[Cue] = []
    for block in text.removesuffix("\n").split("\n\n") if text else []:
        number, times, *lines = block.split("\n")
        assert number == str(len(found) + 1)
        match = SRT_TIMES.fullmatch(times)
        assert match and lines and all(lines), block
        found.append(
            Cue(milliseconds(*match.groups()[:4]), milliseconds(*match.groups()[4:]), "\n".join(lines))
        )
    return found


def read_vtt(text: str) -> list[Cue]:
    """Read WebVTT: the signature, a blank line, cues behind blank lines; markup and bare & are refused."""
    signature, *blocks = text.removesuffix("\n").split("\n\n")
    assert signature.rstrip("\n") == "WEBVTT"
    found = []
    for block in blocks:
        times, *lines = block.split("\n")
        match = VTT_TIMES.fullmatch(times)
        assert match and lines and all(lines), block
        payload = "\n".join(lines)
        assert "-->" not in payload and "<" not in payload
        assert not re.search(r"&(?!(amp|lt|gt);)", payload)
        start_ms, end_ms = milliseconds(*match.groups()[:4]), milliseconds(*match.groups()[4:])
        found.append(Cue(start_ms, end_ms, html.unescape(payload)))
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "read"), [("srt", read_srt), ("vtt", read_vtt)])
def test_subtitles_hold_every_word_at_its_time(
    name: str, read: Callable[[str], list[Cue]], seed: int
) -> None:
    said = spoken(seed)
    cues = read(written(name, said))
    assert " ".join(one.text for one in cues) == said.text
    assert all(one.start_ms < one.end_ms for one in cues)
    assert all(one.end_ms <= after.start_ms for one, after in itertools.pairwise(cues))
    heard = iter(said.words)
    for one in cues:
        inside = [next(heard) for _ in one.text.split(" ")]
        assert one.start_ms == round(1000 * inside[0].start_s)
        assert one.end_ms >= round(1000 * inside[-1].end_s)


@pytest.mark.parametrize(
    ("read", "spoilt"),
    [
        (read_srt, "2\n00:00:00,000 --> 00:00:01,000\na\n"),
        (read_srt, "1\n00:00:00.000 --> 00:00:01.000\na\n"),
        (read_srt, "1\n00:00:00,000 --> 00:61:01,000\na\n"),
        (read_srt, "1\n00:00:00,000 --> 00:00:01,000\n"),
        (read_vtt, "00:00:00.000 --> 00:00:01.000\na\n"),
        (read_vtt, "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na <b> c\n"),
        (read_vtt, "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na & c\n"),
        (read_vtt, "WEBVTT\n\n00:00:00,000 --> 00:00:01,000\na\n"),
    ],
)
def test_the_parsers_here_are_strict(read: Callable[[str], list[Cue]], spoilt: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read(spoilt)


def test_nothing_said_gives_files_without_cues() -> None:
    assert read_srt(written("srt", Hypothesis(""))) == []
    assert read_vtt(written("vtt", Hypothesis(""))) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_praatio_reads_the_textgrid(tmp_path: Path, seed: int) -> None:
    textgrid = pytest.importorskip("praatio.textgrid", reason="praatio is not installed")
    said = spoken(seed)
    path = tmp_path / "said.TextGrid"
    path.write_text(written("textgrid", said), encoding="utf-8")
    found = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert found.tierNames == ("words",)
    assert found.maxTimestamp == pytest.approx(said.duration_s, abs=1e-5)
    intervals = found.getTier("words").entries
    assert [one.start for one in intervals] == pytest.approx([0.0, *(one.end for one in intervals[:-1])])
    words = [one for one in intervals if one.label]
    assert [one.label for one in words] == [one.word for one in said.words]
    assert [one.start for one in words] == pytest.approx([one.start_s for one in said.words], abs=1e-6)
    assert [one.end for one in words] == pytest.approx([one.end_s for one in said.words], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_pympi_reads_the_elan_document(tmp_path: Path, seed: int) -> None:
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed")
    said = spoken(seed)
    path = tmp_path / "said.eaf"
    path.write_text(written("elan", said), encoding="utf-8")
    found = pympi.Elan.Eaf(str(path))
    lines = sorted(one[:3] for one in found.get_annotation_data_for_tier("mms-adapt"))
    assert " ".join(text for _, _, text in lines) == said.text
    assert all(start < end for start, end, _ in lines)
    assert all(one[1] <= after[0] for one, after in itertools.pairwise(lines))
    assert lines[0][0] == round(1000 * said.words[0].start_s)
    assert lines[-1][1] >= round(1000 * said.words[-1].end_s)
    sure = [int(one[2]) for one in found.get_annotation_data_for_tier("mms-adapt-confidence")]
    assert len(sure) == len(lines) and all(0 <= one <= 100 for one in sure)
    assert Path(found.get_linked_files()[0]["RELATIVE_MEDIA_URL"]).name == Path(said.recording).name


def test_ctm_is_a_table_with_blanks_between_six_fields() -> None:
    said = [spoken(seed) for seed in SEEDS]
    rows = [line.split() for line in written("ctm", *said).splitlines()]
    expected = [(Path(one.recording).stem, each) for one in said for each in one.words]
    assert len(rows) == len(expected)
    for (recording, channel, start, length, word, sure), (name, each) in zip(rows, expected, strict=True):
        assert (recording, channel, word) == (name, "1", each.word)
        assert float(start) == pytest.approx(each.start_s, abs=0.006)
        assert float(start) + float(length) == pytest.approx(each.end_s, abs=0.011)
        assert float(length) > 0 and float(sure) == pytest.approx(each.confidence, abs=1e-4)


def test_tsv_is_a_table_for_the_csv_module() -> None:
    said = [spoken(seed) for seed in SEEDS]
    table = csv.DictReader(io.StringIO(written("tsv", *said)), dialect="excel-tab", quoting=csv.QUOTE_NONE)
    rows = list(table)
    expected = [(one.recording, each) for one in said for each in one.words]
    assert [(row["recording"], row["word"]) for row in rows] == [(name, one.word) for name, one in expected]
    assert [float(row["start_s"]) for row in rows] == pytest.approx(
        [one.start_s for _, one in expected], abs=6e-4
    )
    assert [float(row["end_s"]) for row in rows] == pytest.approx(
        [one.end_s for _, one in expected], abs=6e-4
    )


def test_json_gives_the_hypotheses_back() -> None:
    said = [spoken(seed) for seed in SEEDS]
    records = json.loads(written("json", *said))
    for record, one in zip(records, said, strict=True):
        words = tuple(Word(**each) for each in record["words"])
        assert [each.word for each in words] == [each.word for each in one.words]
        assert [each.start_s for each in words] == pytest.approx(
            [each.start_s for each in one.words], abs=1e-4
        )
        assert [each.end_s for each in words] == pytest.approx([each.end_s for each in one.words], abs=1e-4)
        plain = ("text", "target_lang", "adapter", "recording")
        assert {name: record[name] for name in plain} == {name: getattr(one, name) for name in plain}


def test_text_is_a_line_for_each_recording() -> None:
    said = [spoken(seed) for seed in SEEDS]
    assert written("text", *said).splitlines() == [one.text for one in said]
    assert written("text", *(replace(one, recording="") for one in said)) == written("text", *said)
