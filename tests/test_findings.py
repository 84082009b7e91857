"""Findings: every kind is found where it is and nowhere else; the same input gives the same findings."""

import json
import time
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_adapt import findings
from mms_adapt.errors import OptionError
from mms_adapt.findings import (
    Example,
    Finding,
    Thresholds,
    detect,
    left_out,
    prints,
    scripts,
    similar,
    to_json,
)
from mms_adapt.findings.kinds import KINDS, SEVERITIES
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.measure import Measurement, Sound
from mms_adapt.quality import WHAT_TO_DO

WORDS = "kanu melo tisa bori fenu gapi loda sumi reka wopa yuni jeta hami doku vesi".split()


def sentence(number: int) -> str:
    """A sentence of eight words unlike all others."""
    draw = np.random.default_rng(number)
    return " ".join(draw.choice(WORDS, 8))


def one(number: int, text: str | None = None, **fields: Any) -> tuple[Utterance, Measurement]:
    """An utterance without any flaw, but for the fields."""
    reference = sentence(number) if text is None else text
    letters = sum(not each.isspace() for each in reference)
    values = {
        "duration_s": max(0.3, letters / 14.0 * (1 + 0.05 * np.sin(number))),
        "peak_db": -3.0,
        "clipped_share": 0.0005,
        "level_db": -18.0,
        "noise_db": -60.0,
        "treble_db": -22.0,
        "fingerprint": np.random.default_rng(1000 + number).integers(1, 1 << 16, 150, np.uint16),
        "sample_rate_hz": 16_000,
        "channel_count": 1,
        "character_count": letters,
        "speaker": f"s{number % 8}",
        "audio_sha256": f"{number:064x}",
        "transcript": reference,
    } | fields
    values["spoken_s"] = values["duration_s"]
    sound = Sound(**{name: values[name] for name in Sound.__dataclass_fields__})
    utterance = Utterance(
        f"u{number:03d}",
        "all.wav",
        0.0,
        sound.duration_s,
        values["transcript"],
        "xho",
        speaker=values["speaker"],
        reference=reference,
        audio_sha256=values["audio_sha256"],
    )
    names = ("sample_rate_hz", "channel_count", "character_count")
    return utterance, Measurement(utterance.id, **{name: values[name] for name in names}, sound=sound)


def look(special: list[tuple[Utterance, Measurement]], **thresholds: Any) -> dict[str, Finding]:
    """Findings of forty flawless utterances and some others."""
    usual = [one(number) for number in range(40)]
    utterances, measurements = zip(*usual, *special, strict=True)
    return {each.kind: each for each in detect(utterances, measurements, Thresholds(**thresholds))}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert look([]) == {}
    assert detect([], []) == ()


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("clipped", {"clipped_share": 0.03}, "3.0% of the samples"),
        ("faint", {"level_db": -58.0, "noise_db": -90.0}, "-58 dB"),
        ("noisy", {"noise_db": -25.0}, "pauses at -25 dB"),
        ("low_rate", {"sample_rate_hz": 8000}, "8000 samples"),
        ("narrow_band", {"treble_db": -75.0}, "-75 dB above 4.4 kHz"),
        ("pace", {"duration_s": 14.0}, "usual"),
        ("pace", {"duration_s": 0.8}, "usual"),
    ],
)
def test_a_flaw_of_the_sound_is_found_alone(kind: str, fields: dict[str, Any], says: str) -> None:
    found = look([one(90, **fields)])
    assert list(found) == [kind]
    assert found[kind].utterance_ids == ("u090",) and found[kind].count == 1
    assert says in found[kind].examples[0].detail
    assert found[kind].severity in SEVERITIES and found[kind].threshold is not None
    assert found[kind].what_to_do and "{" not in found[kind].what


def test_a_low_rate_is_not_told_twice() -> None:
    assert list(look([one(90, sample_rate_hz=8000, treble_db=-90.0)])) == ["low_rate"]


def test_the_worst_come_first_and_all_ids_are_told() -> None:
    found = look([one(50 + n, clipped_share=0.01 + n / 1000) for n in range(9)])["clipped"]
    assert found.utterance_ids == tuple(f"u{58 - n:03d}" for n in range(9))
    assert [each.utterance_id for each in found.examples] == ["u058", "u057", "u056", "u055", "u054"]


def test_pace_knows_that_short_texts_and_slow_speakers_are_slower() -> None:
    short = [one(100 + n, f"{WORDS[n % 15]}{n}"[:4], duration_s=0.9, speaker=f"s{n % 8}") for n in range(60)]
    slow = [one(200 + n, speaker="slow") for n in range(40)]
    slow = [(u, replace(m, sound=replace(m.sound, spoken_s=m.sound.spoken_s * 1.9))) for u, m in slow]
    assert "pace" not in look([*short, *slow])
    assert look([*short, *slow, one(300, duration_s=9.0)])["pace"].utterance_ids == ("u300",)
    assert "pace" not in {each.kind for each in detect(*zip(*[one(n) for n in range(9)], strict=True))}


def test_equal_sounds_are_told_apart_by_their_texts() -> None:
    twins = [one(90, audio_sha256="ab"), one(91, sentence(90), audio_sha256="ab")]
    found = look(twins)
    assert set(found) == {"same_sound", "same_sentence"}
    assert found["same_sound"].utterance_ids == ("u090", "u091")
    assert [each.other_id for each in found["same_sound"].examples] == ["u091", "u090"]
    contrary = look([one(90, audio_sha256="ab"), one(91, audio_sha256="ab")])
    assert set(contrary) == {"two_transcripts"}
    assert contrary["two_transcripts"].severity == "warning"
    assert set(contrary["two_transcripts"].utterance_ids) == {"u090", "u091"}


def noisy(words: Any, share: float, seed: int = 0) -> Any:
    """Turn a share of a fingerprint's bits round."""
    bits = np.random.default_rng(seed).random((len(words), 16)) < share
    return words ^ np.packbits(bits, axis=1).view(np.uint16)[:, 0]


@pytest.mark.parametrize(("share", "start", "near"), [(0.08, 0, True), (0.05, 20, True), (0.45, 0, False)])
def test_nearly_equal_sounds_are_found(share: float, start: int, near: bool) -> None:
    first = one(90)
    words = first[1].sound.fingerprint
    found = look([first, one(91, sentence(90), fingerprint=noisy(words[start:], share))])
    assert ("near_same_sound" in found) == near
    if near:
        assert set(found["near_same_sound"].utterance_ids) == {"u090", "u091"}
        assert "two_transcripts" in look([first, one(91, fingerprint=noisy(words[start:], share))])


def test_fingerprints_overlap_or_are_not_alike() -> None:
    words = np.random.default_rng(5).integers(1, 1 << 16, 200, np.uint16)
    assert prints.differing(words, words, 0) == 0
    assert prints.differing(words[30:], words, 30) == 0 and prints.differing(words, words[30:], -30) == 0
    assert prints.differing(words[:150], words, 0) is None, "three quarters are too little"
    assert prints.differing(words[:10], words[:10], 0) is None
    silence = np.zeros(200, np.uint16)
    assert prints.near([silence, silence], 0.25) == [] and prints.near([], 0.25) == []
    assert prints.near([words[:35], words, words], 0.25) == [(1, 2, 0.0)]


def test_many_of_the_same_sound_take_no_quadratic_time() -> None:
    words = np.random.default_rng(6).integers(1, 1 << 16, 100, np.uint16)
    before = time.process_time()
    found = prints.near([words] * 3000, 0.25)
    assert len(found) < 3 * 3000 and {each for pair in found for each in pair[:2]} == set(range(3000))
    assert time.process_time() - before < 20


def test_sentences_again_and_nearly_again() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    found = look([one(90, text), one(91, text.upper() + "!"), one(92, text.replace("lazy", "lasy"))])
    assert found["same_sentence"].utterance_ids == ("u090", "u091")
    assert set(found["near_same_sentence"].utterance_ids) == {"u090", "u092"}
    assert found["near_same_sentence"].examples[0].other_id in ("u090", "u092")
    assert found["near_same_sentence"].examples[0].detail.startswith("98%")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcdef ", min_size=12, max_size=40), unique=True, max_size=20), st.data())
def test_what_is_similar_really_is(texts: list[str], data: st.DataObject) -> None:
    from rapidfuzz.distance import Levenshtein

    if texts and (changed := data.draw(st.sampled_from(texts))[:-1] + "é") not in texts:
        texts.append(changed)
    found = similar.near(texts, 0.9)
    assert found == sorted(found) and len({each[:2] for each in found}) == len(found)
    for first, second, score in found:
        assert first < second
        assert score == pytest.approx(Levenshtein.normalized_similarity(texts[first], texts[second]))
        assert score >= 0.9


def test_one_edit_in_a_sentence_is_found() -> None:
    texts = [sentence(n) for n in range(400)]
    changed = [f"{text[:20]}q{text[21:]}" for text in texts[:200]]
    found = {each[:2] for each in similar.near([*texts, *changed], 0.9)}
    assert sum((n, 400 + n) in found for n in range(200)) >= 198


@pytest.mark.slow
def test_a_hundred_thousand_sentences_take_seconds() -> None:
    texts = [sentence(n) for n in range(50_000)]
    times = []
    for count in (12_500, 50_000):
        before = time.process_time()
        similar.near(texts[:count], 0.9)
        times.append(time.process_time() - before)
    assert times[1] < 10 * times[0], "four times as many take about four times as long, not sixteen"


def test_a_cyrillic_letter_among_latin_ones_is_named() -> None:
    found = look([one(90, "kаnu melo")])  # the first vowel is Cyrillic
    detail = found["look_alike"].examples[0].detail
    assert "U+0430 CYRILLIC SMALL LETTER A, where a U+0061 LATIN SMALL LETTER A is usual" in detail
    assert found["look_alike"].utterance_ids == ("u090",) and "mixed_scripts" not in found
    whole = look([one(90, "kanu ра melo")])
    assert whole["look_alike"].utterance_ids == ("u090",), "a whole word of look-alikes"


def test_a_letter_of_another_script_without_a_look_alike_is_mixed() -> None:
    found = look([one(90, "kωnu mωlo")])
    assert set(look([one(90, "kωnа")])) == {"look_alike", "mixed_scripts", "rare_character"}
    assert "look_alike" not in found and found["mixed_scripts"].severity == "notice"
    assert "GREEK SMALL LETTER OMEGA" in found["mixed_scripts"].examples[0].detail


def test_a_rare_apostrophe_beside_a_usual_one() -> None:
    usual = [one(100 + n, f"{sentence(100 + n)} ka'a") for n in range(60)]
    found = look([*usual, one(190, "kaʼa melo tisa")])
    assert found["look_alike"].utterance_ids == ("u190",)
    both = [one(200 + n, f"{sentence(200 + n)} kaʼa") for n in range(30)]
    assert "look_alike" not in look([*usual, *both]), "two usual ones are two letters"


def test_two_letters_of_one_script_that_look_alike_are_both_right_where_both_are_usual() -> None:
    found = look([one(100 + n, f"{sentence(100 + n)} kɑlɑ") for n in range(40)])
    assert "look_alike" not in found


def test_a_transcript_in_another_script() -> None:
    found = look([one(90, "привет как дела")])
    assert found["other_script"].utterance_ids == ("u090",)
    assert "cyrillic, not latin" in found["other_script"].examples[0].detail
    assert not {"look_alike", "mixed_scripts"} & set(found)
    halves = [one(100 + n, "привет как дела" + "а" * n) for n in range(40)]
    assert "other_script" not in look(halves), "two scripts, half each, are the corpus's own"


def test_japanese_is_one_script() -> None:
    assert {scripts.script(each) for each in "東きカ"} == {"EAST ASIAN"}
    assert [scripts.script(each) for each in "a1ʼ̀ -"] == ["LATIN"] + [None] * 5


def test_every_look_alike_is_composed_and_has_a_partner() -> None:
    for group in scripts.LOOK_ALIKES:
        assert len(group) > 1 and len(set(group)) == len(group), group
        assert all(unicodedata.normalize("NFC", each) == each for each in group), group
        assert all(set(group) <= set(scripts.like(each)) for each in group)
    assert scripts.like("5") == ()


def test_rare_characters_are_those_of_few_utterances() -> None:
    found = look([one(90, "kanu xelo"), *[one(100 + n, f"{sentence(100 + n)} qa") for n in range(4)]])
    assert found["rare_character"].utterance_ids == ("u090",)
    assert "x U+0078 LATIN SMALL LETTER X" in found["rare_character"].examples[0].detail
    mark = look([one(90, "kanɔ́ xelo")])["rare_character"]
    assert any("◌\u0301 U+0301" in each.detail for each in mark.examples)


def test_two_forms_of_unicode_show_the_rarer_one() -> None:
    composed = [one(100 + n, f"{sentence(100 + n)} é", transcript=f"{sentence(100 + n)} é") for n in range(5)]
    apart = one(90, "kanu é", transcript=unicodedata.normalize("NFD", "kanu é"))
    assert look([*composed, apart])["unicode_forms"].utterance_ids == ("u090",)
    assert "unicode_forms" not in look(composed)
    stacked = one(91, "kanɔ́", transcript="kanɔ́")  # has no composed form: neither
    assert "unicode_forms" not in look([*composed, stacked])


def test_figures_of_any_script() -> None:
    found = look([one(90, "kanu 7"), one(91, "kanu ٣")])
    assert found["digits"].utterance_ids == ("u090", "u091")


def test_one_speaker_above_half_where_there_are_others() -> None:
    found = look([one(100 + n, speaker="loud") for n in range(60)])
    assert found["speaker_imbalance"].count == 60
    assert "loud:" in found["speaker_imbalance"].examples[0].detail
    alone = [one(n, speaker="a") for n in range(9)]
    assert "speaker_imbalance" not in {each.kind for each in detect(*zip(*alone, strict=True))}
    unknown = [one(n, speaker=None) for n in range(9)]
    assert "speaker_imbalance" not in {each.kind for each in detect(*zip(*unknown, strict=True))}


def test_what_is_left_out_becomes_findings_with_their_limits() -> None:
    utterance = one(1)[0]
    rows = [Quarantined(replace(utterance, id=f"a{n}"), "too_long", "31 s", "cut it") for n in range(7)]
    rows += [Quarantined(utterance, "my_reason", "odd", "ask")]
    long, mine = left_out(rows, {"too_long": 30.0})
    assert (long.kind, long.count, long.threshold, long.what) == ("too_long", 7, 30.0, "longer than 30 s")
    assert long.examples[0] == Example("a0", "31 s") and len(long.examples) == 5
    assert (mine.kind, mine.what, mine.what_to_do, mine.severity) == (
        "my_reason",
        "my reason",
        "ask",
        "error",
    )
    assert left_out([]) == () and left_out(rows[:1])[0].what == "too long"


def test_every_reason_of_quality_has_words() -> None:
    assert set(WHAT_TO_DO) <= set(KINDS)
    for name, kind in KINDS.items():
        assert kind.severity in SEVERITIES and kind.what
        assert bool(kind.what_to_do) == (kind.severity != "error"), name


def test_the_most_severe_come_first_and_json_holds_all() -> None:
    special = [one(90, clipped_share=0.03, level_db=-55.0, noise_db=-90.0), one(91, "kanu 7")]
    found = tuple(look(special).values())
    order = [SEVERITIES.index(each.severity) for each in found]
    assert order == sorted(order) and len(set(order)) > 1
    record = json.loads(to_json(found, corpus="x"))
    assert record["format"] == 1 and record["corpus"] == "x"
    assert [each["kind"] for each in record["findings"]] == [each.kind for each in found]
    assert record["findings"][0]["count"] == len(record["findings"][0]["utterance_ids"]) == 1
    assert to_json(found) == to_json(tuple(look(special).values()))


def test_thresholds_bound_what_is_found_and_are_checked() -> None:
    assert "clipped" not in look([one(90, clipped_share=0.03)], clipped_share=0.05)
    with pytest.raises(OptionError, match=r"clipped_share=2.*pace_factor=0.*similarity=nan"):
        Thresholds(clipped_share=2, pace_factor=0, similarity=float("nan"))


def test_what_was_not_measured_is_passed_over() -> None:
    utterance, measurement = one(1)
    assert findings.pair([utterance, replace(utterance, id="other")], [measurement])[0].utterance is utterance
