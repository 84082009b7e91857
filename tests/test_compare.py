"""Comparing two scores: the difference against what is known of it, what is refused, what is said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from typer.testing import CliRunner

import mms_adapt
from mms_adapt.cli import app
from mms_adapt.compare import compare
from mms_adapt.errors import OptionError, ScoringError
from mms_adapt.reports import html, markdown
from mms_adapt.scoring import Conditions, score
from mms_adapt.uncertainty import difference

WORDS = "ama bela cidu dofe ena fuli gawo hine".split()


def texts(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=5)) for _ in range(count)]


def spoil(given: Sequence[str], share: float, seed: int) -> list[str]:
    """Return texts with a share of their words replaced."""
    generator = np.random.default_rng(seed)
    return [
        " ".join("wrong" if generator.random() < share else word for word in text.split()) for text in given
    ]


def write(path: Path, references: Sequence[str], hypotheses: Sequence[str], **fields: Any) -> Path:
    speakers = [f"s{number % 4}" for number in range(len(references))]
    made = score(
        references, hypotheses, speakers=speakers, bootstrap=0, conditions=Conditions(split_sha256="ab")
    )
    path.write_text(json.dumps(json.loads(made.to_json()) | fields), encoding="utf-8")
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Scores of two systems, the second clearly better."""
    references = texts(120, 0)
    return (
        write(tmp_path / "a.json", references, spoil(references, 0.3, 1), adapter="old", speech_s=600.0),
        write(tmp_path / "b.json", references, spoil(references, 0.15, 2), adapter="new", speech_s=600.0),
    )


def test_a_clear_difference_is_told(pair: tuple[Path, Path]) -> None:
    found = mms_adapt.compare(*pair)
    one = found.wer_difference
    assert one is not None and found.wer_speaker_difference is not None
    assert found.names == ("old", "new") and found.utterances == 120 and found.speech_s == 600.0
    assert one.rate == pytest.approx(found.wer[1] - found.wer[0]) and one.rate < -0.1
    assert one.low < one.rate < one.high < 0
    assert one.p_value < 0.001 and one.better_share > 0.999 and one.times_more == 1.0
    assert (one.unit_count, found.wer_speaker_difference.unit_count) == (120, 4)
    sizes = [gap.errors[1] - gap.errors[0] for gap in found.gaps]
    assert found.better == sum(size < 0 for size in sizes) > found.worse == sum(size > 0 for size in sizes)
    assert [abs(size) for size in sizes] == sorted(map(abs, sizes), reverse=True)


def test_exchanging_the_two_changes_the_sign_alone(pair: tuple[Path, Path]) -> None:
    there, back = compare(*pair).wer_difference, compare(*reversed(pair)).wer_difference
    assert there is not None and back is not None
    assert (there.rate, there.low, there.high) == pytest.approx((-back.rate, -back.high, -back.low))
    assert there.p_value == back.p_value and there.better_share == pytest.approx(1 - back.better_share)


def test_the_same_system_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    found = compare(pair[0], pair[0])
    one = found.wer_difference
    assert one is not None and found.names == (str(pair[0]), str(pair[0]))
    assert (one.rate, one.low, one.high, one.p_value, one.better_share) == (0, 0, 0, 1, 0.5)
    assert one.times_more is None and not found.gaps
    assert "equally many" in found.in_words() or "equally many word errors" in found.in_words()


def test_of_few_units_the_p_value_is_the_exact_one() -> None:
    # of the 16 ways to exchange four gaps of 1, two give a sum as far from zero
    found = difference([1, 1, 1, 1], [0, 0, 0, 0], [5, 5, 5, 5], resamples=20_000)
    assert found is not None and found.p_value == pytest.approx(2 / 16, abs=0.01)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    generator = np.random.default_rng(0)
    values = []
    for seed in range(200):
        first, second = generator.binomial(8, 0.3, size=(2, 60))
        found = difference(first, second, np.full(60, 8), resamples=400, seed=seed)
        assert found is not None
        values.append(found.p_value)
    # a true level of 0.05 gives 4 to 17 of 200 with a probability of 0.97
    assert 4 <= sum(value <= 0.05 for value in values) <= 17
    assert 0.4 < float(np.mean(values)) < 0.6


def test_test_speech_of_the_size_it_names_tells_the_two_apart() -> None:
    generator = np.random.default_rng(3)

    def systems(count: int) -> tuple[Any, Any, Any]:
        hard = generator.beta(2, 4, size=count)
        return (
            generator.binomial(8, hard),
            generator.binomial(8, np.clip(hard + 0.02, 0, 1)),
            np.full(count, 8),
        )

    small = [one for one in (difference(*systems(200), resamples=300) for _ in range(60)) if one]
    typical = float(np.std([one.rate for one in small]))
    needed = round(200 * ((1.96 + 0.842) * typical / 0.02) ** 2)
    large = [one for one in (difference(*systems(needed), resamples=300) for _ in range(60)) if one]
    assert 0.65 < np.mean([one.p_value < 0.05 for one in large]) <= 0.95
    expected = [one.times_more for one in small if one.times_more and 0.015 < one.rate < 0.025]
    assert expected and 0.5 < np.median(expected) * 200 / needed < 2


def test_blocks_widen_the_interval_where_speakers_differ() -> None:
    first = np.zeros(80)
    second = np.repeat([4.0, 0.0, 0.0, 4.0], 20)
    speakers = [f"s{number}" for number in np.repeat(range(4), 20)]
    by_utterance = difference(first, second, np.full(80, 5.0))
    by_speaker = difference(first, second, np.full(80, 5.0), blocks=speakers)
    assert by_utterance is not None and by_speaker is not None
    assert by_speaker.high - by_speaker.low > 2 * (by_utterance.high - by_utterance.low)
    assert by_utterance.p_value < 0.001 and by_speaker.p_value > 0.2


def test_the_share_of_draws_equals_kaldialigns() -> None:
    kaldialign = pytest.importorskip("kaldialign", reason="kaldialign is not installed")
    references = texts(80, 0)
    first, second = spoil(references, 0.25, 1), spoil(references, 0.22, 2)
    theirs = kaldialign.bootstrap_wer_ci(
        *([text.split() for text in given] for given in (references, first, second)), replications=10_000
    )
    counts = [
        [one.words.errors for one in score(references, given, bootstrap=0).per_utterance]
        for given in (first, second)
    ]
    ours = difference(counts[0], counts[1], np.full(80, 5))
    assert ours is not None
    assert ours.better_share == pytest.approx(theirs["p_s2_improv_over_s1"], abs=0.02)


def test_too_little_to_draw_from_gives_none() -> None:
    assert difference([1], [0], [5]) is None
    assert difference([1, 2], [0, 0], [0, 0]) is None
    with pytest.raises(OptionError, match="resamples=0"):
        difference([1, 2], [0, 0], [5, 5], resamples=0)
    with pytest.raises(OptionError, match="a seed of 0 or more"):
        difference([1, 2], [0, 0], [5, 5], seed=-1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record["per_utterance"].pop(), "has 1 utterances that .* has not, such as 119"),
        (lambda record: record["per_utterance"][3].update(reference="other"), "the reference of 3 is"),
        (lambda record: record.pop("signature"), "it is no score: signature missing"),
        (lambda record: record["per_utterance"][0].pop("words"), "per_utterance is damaged"),
        (lambda record: record["per_utterance"].append(record["per_utterance"][0]), "an id comes twice"),
        (lambda record: record.update(signature="norm:raw-1"), "was made with norm none, .* with raw-1"),
    ],
)
def test_what_cannot_be_compared_is_refused(pair: tuple[Path, Path], change: Any, says: str) -> None:
    record = json.loads(pair[1].read_text(encoding="utf-8"))
    change(record)
    pair[1].write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ScoringError, match=says):
        compare(*pair)


def test_files_that_are_no_scores_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="no such file; mms-adapt evaluate --json writes one"):
        compare(pair[0], tmp_path / "gone.json")
    for content in ("[1]", "{", "null"):
        (tmp_path / "odd.json").write_text(content, encoding="utf-8")
        with pytest.raises(ScoringError, match=r"odd\.json"):
            compare(pair[0], tmp_path / "odd.json")


def test_on_the_command_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "comparison.json"
    found = CliRunner().invoke(app, ["compare", *map(str, pair), "--json", str(out), "--resamples", "2000"])
    assert found.exit_code == 0, found.output
    assert "first   old" in found.output and "by speaker (4)" in found.output
    assert "The second makes fewer word errors" in found.output or "cannot tell the two apart" in found.output
    assert json.loads(out.read_text(encoding="utf-8"))["names"] == ["old", "new"]


def test_a_small_test_set_is_said_to_be_one(tmp_path: Path) -> None:
    references = texts(12, 0)
    first = write(tmp_path / "a.json", references, spoil(references, 0.30, 1), speech_s=60.0)
    second = write(tmp_path / "b.json", references, spoil(references, 0.25, 2), speech_s=60.0)
    assert "cannot tell the two apart" in compare(first, second).in_words()
    assert "test speech" in compare(first, second).in_words()
    minutes = compare(first, second)
    assert minutes.wer_difference is not None and minutes.wer_difference.times_more is not None
    assert minutes.wer_difference.times_more > 1.5 and "more minutes)" in minutes.in_words()


def test_agreement_of_few_speakers_does_not_make_a_test_set_too_small(tmp_path: Path) -> None:
    references = texts(400, 0)
    first = write(tmp_path / "a.json", references, spoil(references, 0.4, 1))
    second = write(tmp_path / "b.json", references, spoil(references, 0.1, 2))
    found = compare(first, second)
    by_speaker = found.wer_speaker_difference
    assert by_speaker is not None and by_speaker.unit_count == 4
    assert by_speaker.p_value > 0.05, "of the 16 ways to exchange four speakers, two give as much"
    assert "The second makes fewer word errors" in found.in_words()
    assert "for these 4 speakers" in found.in_words()


def test_speakers_are_summed_up(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    assert [one.speaker for one in found.per_speaker] == ["s0", "s1", "s2", "s3"]
    assert sum(one.utterances for one in found.per_speaker) == found.utterances
    words = sum(one.words for one in found.per_speaker)
    for place in (0, 1):
        errors = sum(one.errors[place] for one in found.per_speaker)
        assert errors / words == pytest.approx(found.wer[place])


def test_reports_of_every_format(pair: tuple[Path, Path], tmp_path: Path) -> None:
    paths = [tmp_path / f"both.{ending}" for ending in ("html", "md", "txt", "json")]
    found = compare(*pair, report=paths, json=tmp_path / "given")
    page, marked, plain, record = (path.read_text(encoding="utf-8") for path in paths)
    for text in (page, marked, plain):
        assert found.in_words() in text and found.signatures[0] in text
        assert all(f"{100 * rate:.1f} %" in text for rate in found.wer)
    assert record == (tmp_path / "given").read_text(encoding="utf-8") == found.to_json()
    with pytest.raises(OptionError, match="no format ends in"):
        compare(*pair, report=tmp_path / "both.doc")


HOSTILE = "</script><script>document.title='taken'</script> <img src=x onerror=alert(1)> | `"


def test_reports_show_hostile_texts_as_text(tmp_path: Path) -> None:
    references = [HOSTILE, "שלום עולם", "a b"]
    first = write(tmp_path / "a.json", references, ["a", "שלום", "a b"], adapter=HOSTILE)
    second = write(tmp_path / "b.json", references, ["b " * 50_000, "עולם", "a"], adapter="</style>")
    found = compare(first, second)
    page = html.render_comparison(found)
    assert page.count("<script") == 2 and page.count("</style>") == 1 and "<img" not in page
    assert "<script" not in markdown.render_comparison(found).replace("\\<script", "")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_hostile_texts_of_two_scores_as_text(width: int, tmp_path: Path) -> None:
    lines = [
        HOSTILE,
        "<b>x</b> &amp; \u202eleft\u202c",
        "ߒߞߏ ߛߓߍ",
        "𞤆𞤵𞤤𞤢𞤪",
        "ދިވެހި",
        "ᠮᠣᠩᠭᠣᠯ",
        "漢字 かな",
        "क्\u200dष",
        "é\u0301",
    ]
    lines += ["long" * 25_000]
    first = write(tmp_path / "a.json", lines, [f"{one} a" for one in lines], adapter=HOSTILE)
    second = write(tmp_path / "b.json", lines, ["b", *lines[1:-1], "b " * 5_000], adapter="</style>")
    with chromium.opened(html.render_comparison(compare(first, second)), tmp_path, width=width) as page:
        texts = page.run('Array.from(document.querySelectorAll("#utterances bdi"), (one) => one.textContent)')
        assert {word for line in lines[1:] for word in line.split()} <= set(texts)
        assert page.run('document.querySelectorAll("main script, main img, #utterances b").length') == 0
        assert page.run('document.querySelectorAll("p.line[dir=rtl]").length') == 2 * 3
        assert page.run("document.title") != "taken" and not page.asked
        assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_same_twice_makes_a_report(pair: tuple[Path, Path]) -> None:
    page = html.render_comparison(compare(pair[0], pair[0]))
    assert "equally many word errors" in page and ">nan" not in page


def test_a_browser_shows_both_transcripts(pair: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare(*pair)
    most = max(one.errors[0] - one.errors[1] for one in found.gaps)
    least = min(one.errors[0] - one.errors[1] for one in found.gaps)
    highest = 'document.querySelector("#utterances .rate").textContent'
    with chromium.opened(html.render_comparison(found), tmp_path) as page:
        assert page.run('document.querySelector("#utterances li").querySelectorAll(".line").length') == 2
        assert page.run('document.querySelector("#utterances .whose").textContent') == "old"
        assert gained(page.run(highest)) == most
        page.run('by("order").value = "loss"; by("which").value = "worse"; choose()')
        assert gained(page.run(highest)) == least
        assert page.run('by("count").textContent') == f"{found.worse} of {len(found.gaps)}"
        assert page.run("document.documentElement.scrollWidth <= innerWidth")


def gained(words: str) -> int:
    """Return the first number less the second of "4 → 1 word errors"."""
    first, _, second = words.split()[:3]
    return int(first) - int(second)
