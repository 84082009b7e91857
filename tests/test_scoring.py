"""Rates, counts, alignment, intervals and signatures, against jiwer and against values worked out by hand."""

import json
import math
import random
import unicodedata

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_adapt.edits import Counts, Edit
from mms_adapt.errors import OptionError, ScoringError
from mms_adapt.scoring import Conditions, score
from mms_adapt.uncertainty import bootstrap

SENTENCES = st.lists(st.text(alphabet="ab ɓé\u0301", max_size=12), min_size=1, max_size=6)


def test_counts_and_alignment_by_hand() -> None:
    found = score(["the cat sat here", "yes"], ["a cat sat here now", "yes"], bootstrap=0)
    assert found.word_counts == Counts(hits=4, substitutions=1, deletions=0, insertions=1)
    assert (found.words, found.utterances, found.wer) == (5, 2, 2 / 5)
    assert found.sentence_error == 0.5
    assert found.per_utterance[0].alignment == (
        Edit("substitute", "the", "a"),
        Edit("equal", "cat", "cat"),
        Edit("equal", "sat", "sat"),
        Edit("equal", "here", "here"),
        Edit("insert", "", "now"),
    )
    assert [(one.reference, one.hypothesis, one.count) for one in found.word_confusions()] == [
        ("", "now", 1),
        ("the", "a", 1),
    ]


@given(st.data())
def test_rates_equal_jiwer(data: st.DataObject) -> None:
    references = data.draw(SENTENCES)
    hypotheses = data.draw(st.lists(st.text(alphabet="ab ɓé", max_size=12), min_size=len(references),
                                    max_size=len(references)))  # fmt: skip
    said, heard = ([unicodedata.normalize("NFC", one) for one in texts] for texts in (references, hypotheses))
    if not "".join(said).split():
        with pytest.raises(ScoringError, match="none of the"):
            score(references, hypotheses)
        return
    found = score(references, hypotheses, bootstrap=0)
    single = [[" ".join(one.split()) for one in texts] for texts in (said, heard)]
    assert found.wer == jiwer.wer(said, heard)
    assert found.cer == jiwer.cer(*single)
    assert found.word_counts.errors == sum(one.words.errors for one in found.per_utterance)
    assert found.characters == sum(len(one) for one in single[0])
    for one in found.per_utterance:
        assert " ".join(edit.reference for edit in one.alignment if edit.reference) == one.reference
        assert " ".join(edit.hypothesis for edit in one.alignment if edit.hypothesis) == one.hypothesis
    assert found.character_counts.errors == sum(one.count for one in found.character_confusions)


def test_a_missed_word_boundary_is_one_character_error() -> None:
    found = score(["a cha"], ["acha"], bootstrap=0)
    assert found.characters == 5
    assert found.character_counts == Counts(hits=4, deletions=1)
    assert found.character_confusions[0].reference == " "


def test_composed_and_decomposed_letters_are_equal() -> None:
    assert score(["e\u0301ko"], ["éko"], bootstrap=0).cer == 0
    # a combining mark that has no composed form stays a code point of its own
    assert score(["ω\u0301"], ["ω"], bootstrap=0).characters == len(unicodedata.normalize("NFC", "ω\u0301"))
    assert score(["ɓ\u0301a"], ["ɓa"], bootstrap=0).character_counts == Counts(hits=2, deletions=1)


def test_an_empty_reference_counts_its_insertions() -> None:
    found = score(["one two", ""], ["one two", "three four"], bootstrap=0)
    assert found.wer == 2 / 2
    assert found.word_counts.insertions == 2
    assert found.empty_references == 1
    assert "empty_references" in found.marks
    assert found.per_utterance[1].words.rate is None
    assert score(["one two", ""], ["one two", ""], bootstrap=0).wer == 0


def test_an_empty_hypothesis_deletes_everything() -> None:
    assert score(["one two"], [""], bootstrap=0).word_counts == Counts(deletions=2)


def test_a_set_without_words_has_no_rate() -> None:
    with pytest.raises(ScoringError, match="none of the 2 references holds a word"):
        score(["", " \t"], ["a", ""])
    with pytest.raises(ScoringError, match="nothing to score"):
        score([], [])


def test_wrong_lists_are_named() -> None:
    with pytest.raises(ScoringError, match="2 references but 1 hypotheses"):
        score(["a", "b"], ["a"])
    with pytest.raises(ScoringError, match="2 references but 1 speakers"):
        score(["a", "b"], ["a", "b"], speakers=["x"])
    with pytest.raises(ScoringError, match="'u1' comes more than once"):
        score(["a", "b"], ["a", "b"], utterance_ids=["u1", "u1"])


def errorful(count: int, *, seed: int = 0) -> tuple[list[str], list[str], list[str]]:
    """Return references, hypotheses with about a third of the words wrong, and four speakers."""
    draw = random.Random(seed)
    references = [
        " ".join(draw.choices("ba be bi bo bu".split(), k=draw.randint(2, 9))) for _ in range(count)
    ]
    hypotheses = [
        " ".join("x" if draw.random() < 1 / 3 else one for one in text.split()) for text in references
    ]
    return references, hypotheses, [f"s{draw.randrange(4)}" for _ in range(count)]


def test_intervals_hold_the_rate_and_repeat() -> None:
    references, hypotheses, speakers = errorful(120)
    first = score(references, hypotheses, speakers=speakers, seed=3)
    again = score(references, hypotheses, speakers=speakers, seed=3)
    assert first == again
    assert first.wer_interval != score(references, hypotheses, seed=4).wer_interval
    for interval, unit in ((first.wer_interval, "utterance"), (first.wer_speaker_interval, "speaker")):
        assert interval is not None
        assert interval.low < first.wer < interval.high
        assert (interval.unit, interval.level, interval.resamples, interval.seed) == (unit, 0.95, 1000, 3)
    assert first.wer_speaker_interval is not None
    assert first.wer_speaker_interval.unit_count == 4
    assert sum(one.utterances for one in first.per_speaker) == 120
    assert sum((one.words for one in first.per_speaker), Counts()) == first.word_counts


def test_one_utterance_or_one_speaker_gives_no_interval() -> None:
    assert score(["a b"], ["a"]).wer_interval is None
    assert "ci:none" in score(["a b"], ["a"]).signature
    references, hypotheses, _ = errorful(20)
    assert score(references, hypotheses, speakers=["one"] * 20).wer_speaker_interval is None
    assert score(references, hypotheses).wer_speaker_interval is None


def test_bootstrap_by_hand() -> None:
    # two units: a draw is (a, a), (b, b) or both, with chances 1/4, 1/4 and 1/2: it varies by 0.2 / sqrt(2),
    # the mean of two such units by 0.2, and Student's t of one degree of freedom asks for 12.706 times that
    interval = bootstrap([3, 7], [10, 10], resamples=40_000)
    assert interval is not None
    reach = 12.706 * 0.2 / 0.5
    assert interval.low == pytest.approx(0.5 * math.exp(-reach), rel=0.1)
    assert interval.high == 10.0, "0.5 * exp(reach) says nothing any more"
    blocks = bootstrap([1, 2, 3, 4], [5] * 4, blocks=["a", "a", "b", "b"], resamples=40_000)
    assert blocks is not None
    assert (blocks.low, blocks.unit_count) == (pytest.approx(interval.low, rel=0.1), 2)
    many = bootstrap([3, 7] * 500, [10] * 1000, resamples=4000)
    assert many is not None
    assert (many.low, many.high) == pytest.approx((0.5 - 1.96 * 0.0063, 0.5 + 1.96 * 0.0063), abs=5e-4)
    # a draw of empty references alone has no rate and is left out
    sparse = bootstrap([1, 0, 0], [2, 0, 0], resamples=200)
    assert sparse is not None
    assert (sparse.low, sparse.high) == (0.5, 0.5)
    with pytest.raises(OptionError, match="bootstrap=-1"):
        bootstrap([1, 2], [3, 4], resamples=-1)


def test_no_error_at_all_is_no_certainty() -> None:
    interval = bootstrap([0] * 20, [5] * 20)
    assert interval is not None
    # were one utterance in seven wrong, twenty without an error would come about in one of twenty tries
    assert interval.low == 0 and interval.high == pytest.approx(0.139, abs=0.001)
    assert (1 - interval.high) ** 20 == pytest.approx(0.05)
    assert bootstrap([0, 0], [0, 0]) is None


def test_drawing_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, lengths = np.arange(50) % 7, np.arange(50) % 5 + 7
    whole = bootstrap(errors, lengths)
    monkeypatch.setattr("mms_adapt.uncertainty._CELLS_AT_ONCE", 120)
    assert bootstrap(errors, lengths) == whole


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of test sets from a known source, the interval holds the true rate about 95 times in 100."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        lengths = generator.integers(3, 12, size=100)
        errors = generator.binomial(lengths, generator.beta(2, 4, size=100))  # mean 1/3, and lumpy
        interval = bootstrap(errors, lengths, resamples=300)
        assert interval is not None
        held += interval.low <= 1 / 3 <= interval.high
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize("speakers", [2, 5])
def test_intervals_of_few_speakers_hold_what_they_say(speakers: int) -> None:
    generator = np.random.default_rng(6)
    held = 0
    blocks = [str(number % speakers) for number in range(60)]
    for _ in range(300):
        rates = generator.beta(4, 12, size=speakers)  # mean 1/4
        errors = generator.binomial(8, np.tile(rates, 60 // speakers))
        interval = bootstrap(errors, [8] * 60, blocks=blocks, resamples=300)
        assert interval is not None
        held += interval.low <= 1 / 4 <= interval.high
    assert 0.91 <= held / 300 <= 0.99


def test_signature_says_what_made_the_score() -> None:
    conditions = Conditions(
        normaliser="basic-1",
        split="test",
        split_sha256="0123456789abcdef",
        adapter="mdw@aa|bb",
        backbone="embedded@cc",
        decoder="beam",
        decoder_options="width=8",
        marks=("one_speaker",),
    )
    references, hypotheses, speakers = errorful(40)
    found = score(references, hypotheses, speakers=speakers, conditions=conditions, bootstrap=200, seed=7)
    parts = dict(part.split(":", 1) for part in found.signature.split("|"))
    assert parts["norm"] == "basic-1"
    assert parts["units"] == "word=space,char=nfc+space"
    assert parts["split"] == "test@0123456789ab"
    assert parts["adapter"] == "mdw@aa/bb"
    assert parts["decoder"] == "beam(width=8)"
    assert parts["ci"] == "bootstrap-log-t,utterance+speaker,n=200,seed=7,0.95"
    assert parts["marks"] == "one_speaker+small_test"
    assert parts["jiwer"] == jiwer_version()


def jiwer_version() -> str:
    from importlib.metadata import version

    return version("jiwer")


def test_json_holds_what_a_comparison_needs() -> None:
    references, hypotheses, speakers = errorful(30)
    found = score(references, hypotheses, speakers=speakers)
    record = json.loads(found.to_json())
    assert record["wer"] == found.wer
    assert record["cer"] == found.cer
    assert record["wer_interval"]["low"] < record["wer"]
    assert record["words"] == found.words
    assert record["marks"] == ["small_test"]
    assert len(record["per_utterance"]) == 30
    assert record["per_utterance"][0]["words"]["hits"] == found.per_utterance[0].words.hits


def test_a_very_long_line_is_scored() -> None:
    line = "ab " * 20_000
    assert score([line], [line.replace("b", "c", 5)], bootstrap=0).character_counts.substitutions == 5
