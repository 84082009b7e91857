"""Quality: one utterance of every flaw, all of them found, and nothing falls between."""

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import MakeCorpus, noise

from mms_adapt import quality, text
from mms_adapt.corpora import spans
from mms_adapt.errors import OptionError
from mms_adapt.manifest import Utterance
from mms_adapt.orthography import Orthography
from mms_adapt.quality import WHAT_TO_DO, Findings, QualityOptions, inspect, sound_sha256

BASIC = text.get("basic", target_lang="xho")
FINE = Utterance("fine", "fine.wav", 0.0, 1.0, "Fine!", "xho")


def look(utterances: list[Utterance], root: Path, **options: Any) -> Findings:
    return inspect(utterances, root, normaliser=BASIC, options=QualityOptions(**options))


@pytest.fixture
def flawed(tmp_path: Path) -> list[Utterance]:
    """One utterance of every flaw, its id the reason, among some that are fine."""
    sound = noise(2.0)
    soundfile.write(tmp_path / "fine.wav", sound, 16_000)
    soundfile.write(tmp_path / "silent.wav", np.full(16_000, 0.25), 16_000)
    soundfile.write(tmp_path / "long.wav", noise(31.0), 16_000)
    sound[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 16_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no wave")
    half = (tmp_path / "fine.wav").read_bytes()
    (tmp_path / "half.wav").write_bytes(half[: len(half) // 2])
    return [
        FINE,
        replace(FINE, id="missing_audio", recording="gone.wav"),
        replace(FINE, id="undecodable", recording="broken.wav"),
        replace(FINE, id="truncated", recording="half.wav", end_s=None),
        replace(FINE, id="fine_too", start_s=1.0, end_s=None, transcript="to the end"),
        replace(FINE, id="not_finite", recording="nan.wav"),
        replace(FINE, id="span_outside", end_s=9.0),
        replace(FINE, id="silent", recording="silent.wav"),
        replace(FINE, id="empty_transcript", transcript="(laughs) ..."),
        replace(FINE, id="too_short", end_s=0.2, transcript="a"),
        replace(FINE, id="too_long", recording="long.wav", end_s=None),
        replace(FINE, id="ctc_impossible", transcript="a" * 26),
    ]


def test_every_flaw_is_found_and_nothing_falls_between(flawed: list[Utterance], tmp_path: Path) -> None:
    found = look(flawed, tmp_path)
    assert [(one.utterance.id, one.reason) for one in found.quarantined] == [
        (one.id, one.id) for one in flawed if not one.id.startswith("fine")
    ]
    assert [one.utterance for one in found.quarantined] == [one for one in flawed if "fine" not in one.id]
    assert [one.id for one in found.kept] == ["fine", "fine_too"]
    assert {one.reason for one in found.quarantined} == set(WHAT_TO_DO), "a reason without a test here"
    for one in found.quarantined:
        assert one.detail and one.what_to_do == WHAT_TO_DO[one.reason]


def test_what_is_kept_is_completed(flawed: list[Utterance], tmp_path: Path) -> None:
    whole = look(flawed, tmp_path).kept
    assert [(one.reference, one.start_s, one.end_s) for one in whole] == [
        ("fine", 0, 1),
        ("to the end", 1, 2),
    ]
    samples, _ = soundfile.read(tmp_path / "fine.wav", stop=16_000, dtype="int16")
    assert np.abs(samples).max() > 1000
    as_float = samples.astype(np.float32) / 32768
    assert whole[0].audio_sha256 == sound_sha256(as_float)
    assert len(whole[0].audio_sha256) == 64 and whole[0].audio_sha256 != whole[1].audio_sha256


def test_the_hash_is_of_16_bit_samples() -> None:
    samples = np.array([0.0, 0.5, -1.0, 1.5], np.float32)
    wanted = np.array([0, 16384, -32767, 32767], "<i2").tobytes()
    assert sound_sha256(samples) == hashlib.sha256(wanted).hexdigest()
    assert sound_sha256(samples + np.float32(1e-7)) == sound_sha256(samples)


@pytest.mark.parametrize(("letters", "reason"), [("ab" * 24, None), ("ab" * 24 + "b", "ctc_impossible")])
def test_ctc_needs_a_frame_for_each_label_and_repeat(
    tmp_path: Path, letters: str, reason: str | None
) -> None:
    """49 frames a second: 48 labels fit; a 49th that repeats its neighbour needs 50."""
    soundfile.write(tmp_path / "fine.wav", noise(1.0), 16_000)
    found = look([replace(FINE, transcript=letters)], tmp_path)
    assert [one.reason for one in found.quarantined] == ([reason] if reason else [])


def test_graphemes_of_two_letters_are_one_label(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fine.wav", noise(1.0), 16_000)
    one = replace(FINE, transcript="chk" * 20)
    assert look([one], tmp_path).quarantined
    divided = inspect([one], tmp_path, normaliser=BASIC, orthography=Orthography(("ch",)))
    assert not divided.quarantined


def test_the_order_given_is_kept_and_progress_told(make_corpus: MakeCorpus) -> None:
    root = make_corpus([{} for _ in range(230)], seconds=0.5)
    utterances = list(spans.read(root, target_lang="xho"))
    shuffled = [utterances[place] for place in np.random.default_rng(0).permutation(230)]
    told: list[tuple[Any, ...]] = []
    found = inspect(shuffled, root, normaliser=BASIC, progress=lambda *told_now: told.append(told_now))
    assert [one.id for one in found.kept] == [one.id for one in shuffled]
    assert sorted(found.kept, key=lambda one: one.id) == list(look(utterances, root).kept)
    assert [one[:3] for one in told] == [("check", done, 230) for done in (100, 200, 230)]
    assert told[-1][3] == "1.9 min"


def test_who_stops_does_not_wait_for_the_rest(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_corpus([{} for _ in range(12)], seconds=0.5)
    monkeypatch.setattr(quality, "_AT_A_TIME", 1)
    read: list[str] = []
    monkeypatch.setattr(quality, "sound_sha256", lambda samples: time.sleep(0.02) or read.append("") or "x")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect(list(spans.read(root, target_lang="xho")), root, normaliser=BASIC, progress=stop)
    assert len(read) < 8


def test_digits_and_same_sounds_are_counted_not_left_out(make_corpus: MakeCorpus) -> None:
    root = make_corpus([{"sound": 1}, {"sound": 1}, {"transcript": "room 7"}, {"transcript": "none"}])
    found = look(list(spans.read(root, target_lang="xho")), root)
    assert not found.quarantined
    assert found.with_digits == ("u000", "u001", "u002")
    assert found.same_sound == ("u000", "u001")


def test_options_bound_what_is_used(make_corpus: MakeCorpus) -> None:
    root = make_corpus([{"seconds": seconds} for seconds in (0.5, 1.0, 4.0)])
    utterances = list(spans.read(root, target_lang="xho"))
    found = look(utterances, root, min_utterance_s=0.75, max_utterance_s=3.0)
    assert [one.reason for one in found.quarantined] == ["too_short", "too_long"]
    assert [one.reason for one in look(utterances, root, silence_db=0.0).quarantined] == ["silent"] * 3


def test_what_was_left_out_can_be_let_in(make_corpus: MakeCorpus) -> None:
    lengths = [{"seconds": seconds} for seconds in (0.5, 1.0, 4.0)]
    root = make_corpus([*lengths, {"transcript": ""}, {"recording": "gone.wav"}])
    utterances = list(spans.read(root, target_lang="xho"))
    bounds = {"min_utterance_s": 0.75, "max_utterance_s": 3.0}
    found = look(utterances, root, **bounds, let_in=("u000", "u001", "u002"))
    assert [one.id for one in found.kept] == ["u000", "u001", "u002"]
    assert [one.duration_s for one in found.kept] == [0.5, 1.0, 4.0]
    assert not look(utterances[:3], root, silence_db=0.0, let_in=("u000", "u001", "u002")).quarantined
    for one, why in (("u003", "empty_transcript"), ("u004", "missing_audio"), ("u9", "no such utterance")):
        with pytest.raises(OptionError, match=f"'{one}' cannot be let in .*{why}"):
            look(utterances, root, let_in=(one,))


def test_all_bad_options_are_told_at_once() -> None:
    with pytest.raises(OptionError, match=r"min_utterance_s=0.*max_utterance_s=-1.*silence_db=3"):
        QualityOptions(min_utterance_s=0, max_utterance_s=-1, silence_db=3)
    with pytest.raises(OptionError, match="max_utterance_s=nan"):
        QualityOptions(max_utterance_s=float("nan"))


def test_an_empty_list_is_no_error(tmp_path: Path) -> None:
    assert look([], tmp_path) == Findings((), (), (), ())


def test_a_real_corpus_is_whole(real_corpora: Path) -> None:
    root = real_corpora / "aka-twi-commonvoice"
    rows = [json.loads(line) for line in (root / "utterances.jsonl").read_text("utf-8").splitlines()][:40]
    utterances = list(spans.read(root, target_lang="aka"))[:40]
    found = inspect(utterances, root, normaliser=text.get("basic", target_lang="aka"))
    assert len(found.kept) == len(rows) and not found.quarantined
