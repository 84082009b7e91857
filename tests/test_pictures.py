"""Pictures: what they show stands in them, whole and escaped, and they say it in words."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import tiny

from mms_adapt import backbone, pictures, word_times
from mms_adapt.decoders import Word
from mms_adapt.errors import OptionError
from mms_adapt.learning_curve import Forecast, LearningCurve, Point
from mms_adapt.power_law import PowerLaw
from mms_adapt.scoring import score
from mms_adapt.transcribe import Transcriber
from mms_adapt.uncertainty import Interval

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script>'


def drawn(picture: pictures.Picture) -> ElementTree.Element:
    """Parse the drawing, which must be whole XML, and be what a notebook shows."""
    assert picture.svg in picture._repr_html_()
    return ElementTree.fromstring(picture.svg)


def texts(root: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def test_words_stand_at_their_times() -> None:
    samples = tiny.speech("ab cd")
    words = [Word("ab", 0.2, 0.6, 0.9), Word(HOSTILE, 0.8, 1.2, 0.1), Word("مرحبا", 1.2, 1.25, 0.5)]
    picture = pictures.speech(samples, {"said": words, "wrote": []})
    root = drawn(picture)
    boxes = [one for one in root.iter(f"{SVG}rect") if one.get("rx")]
    starts = [float(one.get("x", 0)) - 60 for one in boxes]
    assert starts[1] / starts[0] == pytest.approx(0.8 / 0.2, rel=0.01)
    assert [float(one.get("fill-opacity", 0)) for one in boxes] == pytest.approx([0.37, 0.09, 0.23], abs=0.01)
    assert {"ab", HOSTILE, "مرحبا", "said", "wrote", "0 s"} <= set(texts(root))
    assert f"said: ab {HOSTILE} مرحبا" in str(picture)
    assert next(root.iter(f"{SVG}image")).get("href", "").startswith("data:image/png;base64,")


def test_a_waveform_reaches_where_it_is_loud() -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8_000:8_100] = 0.5
    path = next(drawn(pictures.speech(samples, {})).iter(f"{SVG}path")).get("d", "")
    points = [tuple(map(float, one.strip("MZ").split())) for one in path.split("L")]
    highest = min(points, key=lambda point: point[1])
    assert highest[0] == pytest.approx(60 + 200 * 0.5, abs=2)
    with pytest.raises(OptionError, match="no sound"):
        pictures.speech(np.zeros(0, np.float32), {})


def test_confusions_show_what_was_taken_for_what() -> None:
    found = score(["aab <", "ab مر"], ["aac <", "b م"])
    picture = pictures.confusions(found)
    titles = [one.text for one in drawn(picture).iter(f"{SVG}title")]
    assert "b → c: 1 of 2" in titles and "a → nothing: 1 of 3" in titles
    assert "b → c (1)" in picture.says and "a → nothing (1)" in picture.says
    assert pictures.confusions(score(["ab"], ["ab"])).says == "No character was wrong"


def test_rates_have_their_intervals() -> None:
    interval = Interval(0.1, 0.4, 0.95, "x", "utterance", 9, 10, 0)
    picture = pictures.rates([("one <b>", 0.2, interval), ("two", 0.5, None)], title="CER")
    root = drawn(picture)
    bar = next(one for one in root.iter(f"{SVG}rect") if one.get("rx"))
    dots = [float(one.get("cx", 0)) for one in root.iter(f"{SVG}circle")]
    scale = (dots[1] - dots[0]) / 0.3
    assert float(bar.get("width", 0)) == pytest.approx(0.3 * scale, abs=0.2)
    assert float(bar.get("x", 0)) == pytest.approx(dots[0] - 0.1 * scale, abs=0.2)
    assert (
        picture.says == "CER: one <b> 20.0 % (10.0 to 40.0 %); two 50.0 % (no interval: too few to draw from)"
    )
    with pytest.raises(OptionError, match="at least one"):
        pictures.rates([])


def test_a_curve_says_whether_its_check_held(tmp_path: Path) -> None:
    wide = Interval(0.1, 0.4, 0.95, "x", "utterance", 9, 10, 0)
    points = tuple(Point(minutes, 1 / minutes, wide, 0.9, 1.0, tmp_path) for minutes in (2, 4, 8))
    law = PowerLaw(1.0, 1.0, 0.0, 0.1)
    for expected, held in ((0.2, "the check held"), (0.9, "do not believe it")):
        check = Forecast(8, expected, Interval(expected - 0.1, expected + 0.1, 0.95, "x", "y", 9, 10, 0))
        found = LearningCurve("mdw", points, law, (Forecast(38, 0.05, wide),), check, 9, ())
        picture = pictures.curve(found)
        assert held in str(picture) and "5.0 %" in str(picture)
        assert len(list(drawn(picture).iter(f"{SVG}circle"))) == 4
    picture.save(tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text(encoding="utf-8") == picture.svg


def test_words_are_found_where_they_are_said(tmp_path: Path) -> None:
    base = backbone.load(str(tiny.backbone(tmp_path / "base")))
    tiny.fitted(base, tmp_path / "mdw")
    transcriber = Transcriber.load(tmp_path / "mdw", backbone=str(tmp_path / "base"))
    samples, places = tiny.aligned("ab cad b", 3)
    found = word_times.find(transcriber, samples, "ab cad b")
    assert [one.word for one in found] == ["ab", "cad", "b"]
    letters = [(start / tiny.RATE_HZ, end / tiny.RATE_HZ) for letter, start, end in places if letter != " "]
    starts, ends = [one.start_s for one in found], [one.end_s for one in found]
    assert starts[1:] == pytest.approx([letters[2][0], letters[5][0]], abs=0.15)
    assert ends[1] == pytest.approx(letters[4][1], abs=0.15)
    assert letters[5][0] < ends[-1] <= len(samples) / tiny.RATE_HZ
    assert all(0 < one.confidence <= 1 for one in found)
