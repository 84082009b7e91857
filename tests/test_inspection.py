"""Inspecting a folder: what is told, written and shown; nothing is changed, left out or loaded."""

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import MakeCorpus, noise

import mms_adapt
from mms_adapt import terminal_findings, terminal_prepared
from mms_adapt.errors import CorpusError, LanguageError
from mms_adapt.findings import Thresholds
from mms_adapt.inspection import Inspection, clips, inspect, page
from mms_adapt.inspection.histogram import histogram
from mms_adapt.inspection.spectrogram import png
from mms_adapt.prepare import prepare

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>"
ARABIC = "مرحبا بكم"
LETTERS = "abcdefghijklmnopqrstuvw"


def rows(count: int = 40) -> list[dict[str, Any]]:
    return [
        {"transcript": f"word {LETTERS[n % 23]}{LETTERS[n // 23]} sola", "speaker": f"s{n % 4}"}
        for n in range(count)
    ]


@pytest.fixture
def source(make_corpus: MakeCorpus) -> Path:
    """Forty utterances without a flaw, and some with one each."""
    flawed = [
        {"id": "gone", "recording": "gone.wav"},
        {"id": "figure", "transcript": "word 7 sola"},
        {"id": "strange", "transcript": "wоrd rt sola"},
        {"id": "twin", "sound": 3, "transcript": "word dc sola"},
        {"id": HOSTILE, "transcript": ARABIC, "speaker": HOSTILE},
        {"id": "other", "target_lang": "zul"},
    ]
    return make_corpus([*rows(), *flawed])


def test_what_is_found_is_told_and_nothing_is_left_out(source: Path) -> None:
    before = {path: path.read_bytes() for path in source.iterdir()}
    found = mms_adapt.inspect(source, target_lang="xho")
    assert isinstance(found, Inspection) and found.layout == "spans" and found.corpus == source.name
    assert len(found.utterances) == 44 and [one.utterance.id for one in found.quarantined] == ["gone"]
    assert found.speech_s == pytest.approx(44, abs=0.1)
    assert found.passed_over == (("other_language", "zul", 1),)
    assert len(found.measurements) == 44
    kinds = {one.kind: one.utterance_ids for one in found.findings}
    assert kinds["missing_audio"] == ("gone",)
    assert kinds["digits"] == ("figure",)
    assert kinds["look_alike"] == ("strange",)
    assert set(kinds["two_transcripts"]) == {"u003", "twin"}
    assert kinds["other_script"] == (HOSTILE,)
    assert found.of("digits") is not None and found.of("clipped") is None
    assert [one.severity for one in found.findings] == sorted(
        (one.severity for one in found.findings), key=("error", "warning", "notice").index
    )
    assert before == {path: path.read_bytes() for path in source.iterdir()}


def test_thresholds_and_quality_are_passed_on(source: Path) -> None:
    found = inspect(source, target_lang="xho", thresholds=Thresholds(noise_db=100.0))
    noisy = found.of("noisy")
    assert noisy is not None and noisy.count == 44 and noisy.threshold == 100


def test_json_holds_all_ids_and_repeats(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "findings.json"
    found = inspect(source, target_lang="xho", json=out)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert out.read_text(encoding="utf-8") == found.to_json() == inspect(source, target_lang="xho").to_json()
    assert (record["utterances"], record["left_out"], record["layout"]) == (44, 1, "spans")
    assert record["passed_over"] == [{"reason": "other_language", "detail": "zul", "count": 1}]
    by_kind = {one["kind"]: one for one in record["findings"]}
    assert by_kind["missing_audio"]["utterance_ids"] == ["gone"] and by_kind["missing_audio"]["what_to_do"]
    assert by_kind["two_transcripts"]["threshold"] == 0.18
    assert by_kind["two_transcripts"]["examples"][0]["other_id"] in ("u003", "twin")


class Elements(HTMLParser):
    """Gather the elements, the addresses and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_what_is_not_its_own(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "findings.html"
    found = inspect(source, target_lang="xho", report=out)
    text = out.read_text(encoding="utf-8")
    elements = Elements(text)
    assert not elements.open, "every element is closed"
    assert not {"script", "link", "iframe", "form"} & set(elements.tags)
    assert all(one.startswith(("data:", "#")) for one in elements.addresses)
    assert HOSTILE not in text and "&lt;script&gt;" in text
    assert f'dir="auto">{ARABIC}' in text
    assert "default-src 'none'" in text and not re.search(r"https?://|@import|url\(", text)
    for one in found.findings:
        assert f'id="{one.kind}"' in text and f'href="#{one.kind}"' in text
    assert text.count("<svg") == 3 and text.count('role="img"') == 3
    assert text.count("<audio") == text.count('alt="Spectrogram of') > 4
    assert text.count("aria-label") >= text.count("<audio") + 4


def test_the_page_is_pure_and_does_without_clips(source: Path) -> None:
    found = inspect(source, target_lang="xho")
    assert page.render(found) == page.render(found)
    assert "<audio" not in page.render(found)


def test_clips_are_the_sound_itself_and_its_picture(source: Path) -> None:
    found = inspect(source, target_lang="xho")
    heard = clips.gather(found)
    assert "gone" not in heard and {"figure", "strange", "twin", "u003"} <= set(heard)
    clip = heard["twin"]
    assert clip.whole and clip.shown_s == 1.0
    kind, data = clip.audio_uri.split(",")
    assert kind == "data:audio/flac;base64"
    import io

    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert rate_hz == 16_000 and np.abs(samples - noise(1.0, 3)).max() < 1e-4
    assert clip.image_uri.startswith("data:image/png;base64,iVBORw0KGgo")


def test_long_clips_are_cut_and_all_clips_have_a_limit(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus([*rows(10), {"transcript": "word 7", "seconds": 12.0}])
    found = inspect(corpus, target_lang="xho")
    clip = clips.gather(found)["u010"]
    assert (clip.shown_s, clip.whole) == (8.0, False)
    assert "the first 8 s" in page.render(found, clips.gather(found))
    monkeypatch.setattr(clips, "_MOST_BYTES", 0)
    assert len(clips.gather(found)) == 1


def test_a_spectrogram_shows_the_tone_where_it_is() -> None:
    seconds = np.arange(16_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 2000 * seconds)).astype(np.float32)
    picture = png(tone)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(
        b"IEND" + struct.pack(">I", 0xAE426082)
    )
    width, height, depth, colour = struct.unpack_from(">IIBB", picture, 16)
    assert (width, height, depth, colour) == (49, 128, 8, 0)
    start = picture.index(b"IDAT")
    size = struct.unpack_from(">I", picture, start - 4)[0]
    lines = np.frombuffer(zlib.decompress(picture[start + 4 : start + 4 + size]), np.uint8)
    pixels = lines.reshape(height, width + 1)[:, 1:]
    assert 128 - 1 - pixels.mean(axis=1).argmin() in (31, 32), "2 kHz is a quarter of 8, dark from below"
    assert len(png(np.zeros(10, np.float32))) > 50


def test_a_histogram_says_in_words_what_it_draws() -> None:
    drawn = histogram("Duration & more", "s", [1.0, 2.0, 3.0, 40.0])
    assert "Median 2.5 s" in drawn and "all from 1.0 to 40.0" in drawn and "Duration &amp; more" in drawn
    assert sum(int(one) for one in re.findall(r": (\d+)</title>", drawn)) == 4
    assert "Nothing" in histogram("Level", "dB", []) and "Median 1.0" in histogram("Level", "dB", [1.0, 1.0])


def test_the_terminal_shows_every_finding(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal_findings.show(inspect(source, target_lang="xho"))
    out = capsys.readouterr().out
    assert out.startswith(f"layout spans: {source}\n44 utterances can be used, 44 s; 1 cannot")
    assert "rows passed over: 1 x other_language zul" in out
    for kind in ("missing_audio", "digits", "look_alike", "two_transcripts", "other_script"):
        assert kind in out


def test_nothing_to_look_at_is_said(make_corpus: MakeCorpus, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["kora", "mitu", "felo", "sand", "wepu", "bage", "hyti", "dorn"]
    texts = [f"{one} {other} {one}{other}" for one in names for other in names if one != other]
    corpus = make_corpus([{"transcript": text, "speaker": f"s{n % 4}"} for n, text in enumerate(texts)])
    found = inspect(corpus, target_lang="xho", thresholds=Thresholds(similarity=1.0, noise_db=0.0))
    assert found.findings == ()
    terminal_findings.show(found)
    assert "nothing to look at" in capsys.readouterr().out
    assert "Nothing to look at" in page.render(found)


def test_who_did_not_agree_is_neither_heard_nor_shown(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus([*rows(8), {"id": "refused", "speaker": "eve", "transcript": "secret words"}])
    (corpus / "ledger.csv").write_text("speaker,consent\neve,no\n", encoding="utf-8")
    found = inspect(corpus, target_lang="xho")
    refused = found.of("no_consent")
    assert refused is not None and refused.utterance_ids == ("refused",)
    assert "refused" not in {one.utterance_id for one in found.measurements} | set(clips.gather(found))


def test_bad_input_is_one_error(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        inspect(tmp_path / "nowhere", target_lang="xho")
    with pytest.raises(LanguageError):
        inspect(tmp_path, target_lang="xhosa")
    with pytest.raises(CorpusError, match="no utterance is in 'mdw'"):
        inspect(make_corpus(rows(3)), target_lang="mdw")


def test_a_corpus_of_nothing_usable_is_still_inspected(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus([{"recording": "gone.wav"}, {"transcript": "()"}])
    found = inspect(corpus, target_lang="xho")
    assert {one.kind for one in found.findings} == {"missing_audio", "empty_transcript"}
    assert page.render(found, clips.gather(found))


def test_prepare_saves_findings_and_tells_them_in_a_line(
    make_corpus: MakeCorpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = make_corpus([*rows(), {"id": "strange", "transcript": "wоrd rt sola"}, {"transcript": "word 7"}])
    prepared = prepare(corpus, tmp_path / "out", target_lang="xho")
    record = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    by_kind = {one["kind"]: one for one in record["findings"]}
    assert by_kind["look_alike"]["utterance_ids"] == ["strange"] and "digits" in by_kind
    terminal_prepared.show_prepared(prepared)
    lines = [line for line in capsys.readouterr().out.splitlines() if "worth a look" in line]
    assert len(lines) == 1 and "1 look_alike" in lines[0] and "digits" not in lines[0]
