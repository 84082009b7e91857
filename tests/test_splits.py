"""Splits: what no split may have, found by force on many drawn corpora; modes, marks, repeatability."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_adapt import disjoint, manifest, splits
from mms_adapt.corpora import spans
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.manifest import Utterance
from mms_adapt.reports import MARKS
from mms_adapt.splits import SplitOptions, Splits, assign, part_sha256


def said(number: int, reference: str | None = None, **fields: Any) -> Utterance:
    seconds = fields.pop("seconds", 3.0)
    reference = f"sentence {number}" if reference is None else reference
    start_s = 100.0 * number
    return Utterance(
        f"u{number:05d}", "r.wav", start_s, start_s + seconds, reference, "xho", reference=reference, **fields
    )


def parts(found: Splits) -> dict[str, tuple[Utterance, ...]]:
    return {"train": found.train, "dev": found.dev, "test": found.test}


def check(found: Splits, given_utterances: list[Utterance], *, sessions: bool = True) -> None:
    """Hold a split against what is promised."""
    everything = [*found.train, *found.dev, *found.test, *(one.utterance for one in found.left_out)]
    assert sorted(everything, key=lambda one: one.id) == sorted(given_utterances, key=lambda one: one.id)
    held = parts(found)
    for name, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        for key in (
            lambda one: "".join(filter(str.isalnum, one.reference.casefold())),
            lambda one: one.audio_sha256,
        ):
            shared = {key(one) for one in held[name]} & {key(one) for one in held[other]} - {None}
            assert not shared, (name, other, shared)
        if sessions and f"{other}_shares_sessions" not in found.marks and name == "train":
            assert not {one.session for one in held[name]} & {one.session for one in held[other]} - {None}
    if found.mode == "speaker":
        voices = {name: {one.speaker for one in part} - {None} for name, part in held.items()}
        assert not voices["test"] & (voices["train"] | voices["dev"])
        assert ("dev_shares_speakers" in found.marks) == bool(voices["dev"] & voices["train"])
    assert set(found.marks) <= set(MARKS), "every mark is explained"
    assert all(one.reason and one.what_to_do and one.detail for one in found.left_out)


def corpus(speakers: dict[str | None, int], **fields: Any) -> list[Utterance]:
    names = [name for name, count in speakers.items() for _ in range(count)]
    return [said(number, speaker=name, **fields) for number, name in enumerate(names)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_split_shares_what_it_may_not(data: st.DataObject) -> None:
    draw = random.Random(data.draw(st.integers(0, 10**6)))
    count = data.draw(st.integers(12, 120))
    sentences, voices = data.draw(st.integers(3, 200)), data.draw(st.integers(1, 12))
    utterances = [
        said(
            number,
            f"Sentence {draw.randrange(sentences)}{draw.choice(['', '.', '!'])}",
            speaker=draw.choice([*(f"s{draw.randrange(voices)}" for _ in range(5)), None]),
            session=draw.choice([None, None, None, f"day {draw.randrange(9)}"]) if voices > 6 else None,
            source_split=draw.choice(["train", "train", "train", "dev", "test"]),
            seconds=draw.uniform(0.5, 9),
            audio_sha256=f"sound {draw.randrange(4 * count)}",
        )
        for number in range(count)
    ]
    for mode in splits.MODES:
        try:
            found = assign(utterances, SplitOptions(mode=mode, seed=draw.randrange(100)))
        except SplitError:
            continue
        check(found, utterances, sessions=mode != "source")


def test_many_speakers_give_new_voices_to_test_and_dev() -> None:
    utterances = corpus({f"s{number:02d}": 20 for number in range(20)})
    found = assign(utterances)
    check(found, utterances)
    assert (found.mode, found.marks, found.left_out) == ("speaker", (), ())
    assert 50 <= len(found.test) <= 80 and 30 <= len(found.dev) <= 60
    assert len({one.speaker for one in found.test}) >= 3


def test_one_small_voice_is_the_test_and_dev_shares_speakers() -> None:
    utterances = corpus({"much": 700, "some": 250, "little": 80})
    found = assign(utterances)
    check(found, utterances)
    assert {one.speaker for one in found.test} == {"little"}
    assert found.marks == ("dev_shares_speakers",)


@pytest.mark.parametrize(
    ("speakers", "mode", "marks"),
    [
        ({"a": 100}, "sentence", ("one_speaker",)),
        ({"a": 50, "b": 50}, "sentence", ("test_shares_speakers",)),
        ({None: 100}, "sentence", ("unknown_speakers",)),
        ({None: 60, "a": 40}, "sentence", ("test_shares_speakers", "unknown_speakers")),
        ({None: 20, "a": 60, "b": 10, "c": 10}, "speaker", ("dev_shares_speakers", "unknown_speakers")),
    ],
)
def test_few_or_unknown_speakers_are_marked(
    speakers: dict[str | None, int], mode: str, marks: tuple[str, ...]
) -> None:
    utterances = corpus(speakers)
    found = assign(utterances)
    check(found, utterances)
    assert (found.mode, found.marks) == (mode, marks)
    assert 10 <= len(found.test) <= 20 and 8 <= len(found.dev) <= 12
    if mode == "speaker":
        assert None not in {one.speaker for one in found.test}, "an unknown voice proves nothing"


def test_shared_sentences_stay_where_they_cost_least() -> None:
    utterances = corpus({f"s{number:02d}": 40 for number in range(10)})
    greeting = [said(1000 + number, "Hello!", speaker=f"s{number:02d}") for number in range(10)]
    found = assign([*utterances, *greeting])
    check(found, [*utterances, *greeting])
    assert found.mode == "speaker"
    lost = [one for one in found.left_out if one.utterance.reference == "Hello!"]
    assert 1 <= len(lost) <= 4 and {one.reason for one in lost} <= {"sentence_in_train", "sentence_in_dev"}
    assert len(found.left_out) == len(lost)


def test_where_all_read_the_same_auto_divides_by_sentence_and_loses_nothing() -> None:
    rows = [(f"s{voice}", f"sentence {line}") for voice in range(10) for line in range(40)]
    utterances = [said(number, line, speaker=voice) for number, (voice, line) in enumerate(rows)]
    found = assign(utterances)
    check(found, utterances)
    assert (found.mode, found.marks, found.left_out) == ("sentence", ("test_shares_speakers",), ())
    forced = assign(utterances, SplitOptions(mode="speaker"))
    check(forced, utterances)
    reasons = Counter(one.reason for one in forced.left_out)
    assert forced.mode == "speaker" and reasons["sentence_in_test"] and reasons["sentence_in_train"]
    assert len(forced.test) >= 20 and len(forced.train) >= 120


def test_the_same_sound_under_two_names_is_one() -> None:
    utterances = corpus({"a": 60})
    twins = [replace(one, audio_sha256=f"sound {number // 2}") for number, one in enumerate(utterances)]
    found = assign(twins)
    check(found, twins)
    place = {one.id: name for name, part in parts(found).items() for one in part}
    assert all(place[twins[number].id] == place[twins[number + 1].id] for number in range(0, 60, 2))
    across = [*corpus({f"s{number}": 20 for number in range(10)})]
    copy = [replace(said(900 + n, f"copy {n}", speaker="s9"), audio_sha256=f"x{n}") for n in range(3)]
    across = [replace(one, audio_sha256=f"x{n}") if n < 3 else one for n, one in enumerate(across)]
    for seed in range(6):
        found = assign([*across, *copy], SplitOptions(mode="speaker", seed=seed))
        check(found, [*across, *copy])
        assert {one.reason.split("_")[0] for one in found.left_out} <= {"sound"}


def test_sessions_stay_whole_and_bind_their_speakers() -> None:
    utterances = [
        said(number, speaker=f"s{number % 12}", session=f"day {number % 12 // 2}") for number in range(240)
    ]
    found = assign(utterances)
    check(found, utterances)
    assert found.mode == "speaker" and not found.marks
    assert len({one.session for one in found.test}) == 1 and len({one.speaker for one in found.test}) == 2


def test_few_long_sessions_leave_something_to_learn_from() -> None:
    utterances = [said(number, speaker="a", session=f"day {number % 3}") for number in range(90)]
    found = assign(utterances)
    check(found, utterances)
    assert found.marks == ("one_speaker", "dev_shares_sessions")
    assert len(found.test) == 30 and len(found.dev) <= 10
    found = assign([replace(one, session="all") for one in utterances])  # one long document
    assert found.mode == "sentence" and found.marks == (
        "one_speaker",
        "test_shares_sessions",
        "dev_shares_sessions",
    )
    assert 10 <= len(found.test) <= 16 and 7 <= len(found.dev) <= 11


def test_the_corpus_own_division() -> None:
    named = ["train"] * 60 + ["validation"] * 10 + ["TEST"] * 20 + ["other", None]
    utterances = [said(number, source_split=name, speaker=f"s{number}") for number, name in enumerate(named)]
    utterances += [
        said(500, "sentence 85", source_split="train-clean"),
        said(501, "sentence 62", source_split="train"),
    ]
    utterances += [replace(said(502, source_split="dev"), audio_sha256="x")]
    utterances[75] = replace(utterances[75], audio_sha256="x")
    found = assign(utterances, SplitOptions(mode="source"))
    check(found, utterances)
    assert (len(found.train), len(found.dev), len(found.test)) == (60, 10, 20)
    assert {one.utterance.id: one.reason for one in found.left_out} == {
        "u00090": "no_source_split",
        "u00091": "no_source_split",
        "u00500": "sentence_in_test",
        "u00501": "sentence_in_dev",
        "u00502": "sound_in_test",
    }
    assert found.marks == ("source_split_leaked",)
    without = [one for one in utterances if one.source_split not in ("validation", "dev")]
    assert 5 <= len(assign(without, SplitOptions(mode="source")).dev) <= 12
    with pytest.raises(SplitError, match=r"lacks train or test; source_split is: train \(60\)"):
        assign(utterances[:60], SplitOptions(mode="source"))


def test_the_order_does_not_matter_and_the_seed_does() -> None:
    for utterances in (corpus({f"s{number}": 15 for number in range(30)}), corpus({"a": 200})):
        shuffled = random.Random(1).sample(utterances, len(utterances))
        found = assign(utterances)
        assert assign(shuffled) == found
        hashes = {part_sha256(assign(utterances, SplitOptions(seed=seed)).test) for seed in range(4)}
        assert len(hashes) == 4


def test_one_more_utterance_moves_few_others() -> None:
    utterances = corpus({"a": 300})
    before, after = assign(utterances), assign([*utterances, said(999, speaker="a")])
    assert len({one.id for one in before.test} & {one.id for one in after.test}) >= len(before.test) - 3


def test_the_hash_tells_what_is_in_a_part() -> None:
    one, two = said(1), said(2)
    assert part_sha256([one, two]) == part_sha256([two, one])
    changed = [replace(one, reference="x"), replace(one, end_s=999.0), replace(one, speaker="s")]
    assert len({part_sha256([each]) for each in [one, two, *changed]}) == 5
    assert part_sha256([replace(one, transcript="X!", licence="CC0", audio_sha256="y")]) == part_sha256([one])


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_to_divide(count: int) -> None:
    with pytest.raises(SplitError, match=f"{count} utterances .* too few to divide: nothing is left for"):
        assign([said(number) for number in range(count)])
    assert [len(part) for part in parts(assign([said(number) for number in range(3)])).values()] == [1, 1, 1]
    same = [said(number, "yes") for number in range(50)]
    with pytest.raises(SplitError, match="50 utterances of 1 sentences"):
        assign(same)


def test_speakers_that_cannot_be_kept_apart_are_named() -> None:
    with pytest.raises(SplitError, match=r"cannot be kept apart \(ann 5\.0 min\): divide by sentence"):
        assign(corpus({"ann": 100}), SplitOptions(mode="speaker"))


def test_bad_options_are_told_at_once() -> None:
    with pytest.raises(
        OptionError, match=r"'spkr' is unknown; did you mean 'speaker'\?.*dev_share=0: .*test_share=2"
    ):
        SplitOptions(mode="spkr", dev_share=0, test_share=2)
    with pytest.raises(OptionError, match="leave less than"):
        SplitOptions(dev_share=0.4, test_share=0.4)


def test_what_hangs_together() -> None:
    def connected(*kinds: list[int]) -> list[int]:
        return list(disjoint.connected(*map(np.array, kinds)))

    assert len(disjoint.connected(np.empty(0, int), np.empty(0, int))) == 0
    assert connected([-1, -1, 9, 9, 2, -1], [-1, -1, -1, 0, 1, 0]) == [0, 1, 2, 2, 3, 2]
    chain = random.Random(0).sample(range(5000), 5000)
    assert set(connected([one // 2 for one in chain], [(one + 1) // 2 for one in chain])) == {0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 12), st.integers(-1, 12)), min_size=1, max_size=40))
def test_what_hangs_together_is_what_a_walk_finds(labels: list[tuple[int, int]]) -> None:
    groups: list[set[int]] = []
    for place in range(len(labels)):
        met = [one for one in groups if any(
            labels[place][kind] == labels[each][kind] >= 0 for each in one for kind in (0, 1)
        )]  # fmt: skip
        groups = [one for one in groups if one not in met] + [set().union({place}, *met)]
    found = disjoint.connected(*map(np.array, zip(*labels, strict=True)))
    assert sorted(map(sorted, groups)) == [
        np.flatnonzero(found == number).tolist() for number in range(len(groups))
    ]


def test_a_plan_divides_what_comes_one_by_one(tmp_path: Path) -> None:
    rows = corpus({f"s{number}": 15 for number in range(30)})
    rows += [said(1000 + number, "Hello!", speaker=f"s{number}") for number in range(9)]
    random.Random(0).shuffle(rows)
    manifest.write(tmp_path / "all.jsonl", rows)
    for mode in ("auto", "sentence"):
        options = SplitOptions(mode=mode)
        planned, found = splits.plan(manifest.read(tmp_path / "all.jsonl"), options), assign(rows, options)
        assert (planned.mode, planned.marks) == (found.mode, found.marks)
        places = {one.id: place for one, place in zip(rows, planned, strict=True)}
        expected = {one.id: name for name, part in parts(found).items() for one in part}
        expected |= {one.utterance.id: one.reason for one in found.left_out}
        assert places == expected and (mode != "auto" or found.left_out)


def test_thousands_of_speakers_take_seconds() -> None:
    draw = random.Random(0)
    utterances = [
        said(number, f"line {draw.randrange(4000)}", speaker=f"s{draw.randrange(1000)}")
        for number in range(12_000)
    ]
    check(assign(utterances), utterances)


def test_real_corpora_have_honest_tests(real_corpora: Path) -> None:
    for name, code, mode in (("mdw-mboshi", "mdw", "speaker"), ("bom-berom", "bom", "sentence")):
        rows = spans.read(real_corpora / name, target_lang=code)
        utterances = [replace(one, reference=one.transcript.lower()) for one in rows]
        found = assign(utterances)
        check(found, utterances)
        assert found.mode == mode and len(found.left_out) < 30
