"""The demo's corpora: which prompts are used, what is told of the rest, and the synthetic stand-in."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import prepare_asterisk
import pytest
import soundfile
import synthesise_corpus

LIST = """; a comment
activated: Attivato.
beep: un suono beep
dir-multi9: Premere 9 per ulteriori voci.
conf-full: La conferenza ? piena.
vm-login: Posta vocale. Casella di posta?
silence/1: (1 secondo di silenzio)
letters/O: O
letters/b: b
letters/at: a [@]
demo: componi 500
spy-sip: SIP
gone: mai registrato
"""
COPYRIGHT = """Files: *
License: CC-BY-SA-3.0

Files: it-*
Copyright: 2012 Carlo Flora
License: CC-BY-3.0

Files: debian/*
License: GPL-2
"""


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The tree of the two packages, with G.722 of one second of noise in every file."""
    root = tmp_path / "unpacked"
    documents = root / "usr/share/doc" / prepare_asterisk.TEXT_PACKAGE
    sounds = root / "usr/share/asterisk/sounds" / prepare_asterisk.SPEAKER
    documents.mkdir(parents=True)
    with gzip.open(documents / "core-sounds-it.txt.gz", "wt", encoding="utf-8-sig") as stream:
        stream.write(LIST)
    (documents / "copyright").write_text(COPYRIGHT, encoding="utf-8")
    names = [line.split(":")[0] for line in LIST.splitlines() if ":" in line]
    noise = np.random.default_rng(0).integers(0, 256, 8000, dtype=np.uint8).tobytes()
    for name in {*names, "digits/a"} - {"gone"}:
        path = sounds / f"{name.replace('/O', '/o')}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise)
    return root


def test_only_prompts_whose_text_is_what_is_said_are_used(unpacked: Path) -> None:
    found = list(prepare_asterisk.read_prompts(unpacked))
    used = {one.name: one.transcript for one in found if isinstance(one, prepare_asterisk.Prompt)}
    assert used == {
        "activated": "Attivato.",
        "dir-multi9": "Premere nove per ulteriori voci.",
        "letters/o": "O",
        "vm-login": "Posta vocale. Casella di posta?",
    }
    reasons = {one.name: one.reason for one in found if isinstance(one, prepare_asterisk.LeftOut)}
    assert reasons == {
        "beep": "tone_or_silence",
        "conf-full": "letter_lost",
        "demo": "number_in_figures",
        "digits/a": "no_transcript",
        "gone": "no_audio",
        "letters/at": "note_in_brackets",
        "letters/b": "letters_said_by_name",
        "silence/1": "tone_or_silence",
        "spy-sip": "letters_said_by_name",
    }


def test_the_corpus_is_in_the_layout_that_is_read(unpacked: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the demo extra is not installed")
    corpus = prepare_asterisk.write_corpus(unpacked, tmp_path / "corpus")
    rows = [json.loads(line) for line in (corpus.folder / "utterances.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == corpus.utterance_count == 4
    assert {row["licence"] for row in rows} == {"CC-BY-3.0"}
    for row in rows:
        information = soundfile.info(corpus.folder / row["recording"])
        assert (information.samplerate, information.channels) == (16000, 1)
        assert information.duration == row["end_s"] == pytest.approx(1.0, abs=0.01)
    assert (
        len((corpus.folder / "left_out.jsonl").read_text("utf-8").splitlines()) == len(corpus.left_out) == 9
    )
    assert "Carlo Flora" in (corpus.folder / "SOURCE.md").read_text("utf-8")


def test_without_apt_the_demo_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(prepare_asterisk.FetchError, match="no apt-get"):
        prepare_asterisk.build(tmp_path / "corpus", tmp_path / "downloads")


def test_a_broken_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in (prepare_asterisk.TEXT_PACKAGE, prepare_asterisk.AUDIO_PACKAGE):
        (tmp_path / f"{package}_1_all.deb").write_bytes(b"!<arch>\n")
    monkeypatch.setattr(prepare_asterisk.shutil, "which", lambda name: name)
    with pytest.raises(prepare_asterisk.FetchError, match="delete it and try again"):
        prepare_asterisk.build(tmp_path / "corpus", tmp_path)


def test_synthetic_speech_is_labelled_and_repeatable(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
    corpus = synthesise_corpus.build(tmp_path / "corpus", count=6, seed=3)
    rows = [json.loads(line) for line in (corpus.folder / "utterances.jsonl").read_text("utf-8").splitlines()]
    assert len({row["transcript"] for row in rows}) == 6
    assert len({row["speaker"] for row in rows}) == 4
    assert all(row["speaker"].startswith("espeak-ng") and "synthetic" in row["id"] for row in rows)
    assert "Synthetic speech" in (corpus.folder / "SOURCE.md").read_text("utf-8")
    samples, rate_hz = soundfile.read(corpus.folder / rows[0]["recording"])
    assert rate_hz == 16000 and np.abs(samples).max() > 0.1
    assert synthesise_corpus.sentences(6, 3) == [row["transcript"] for row in rows]


def test_the_same_seed_gives_the_same_sound_in_every_process(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
    script = Path(synthesise_corpus.__file__)
    for name in ("a", "b"):
        command = [sys.executable, str(script), "--count", "5", "--seed", "4", "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
        time.sleep(1.1 if name == "a" else 0)  # espeak-ng draws by the clock where nobody gives it a seed
    for path in sorted((tmp_path / "a" / "recordings").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / "recordings" / path.name).read_bytes()


def test_espeak_is_started_once_however_often_speech_is_made() -> None:
    pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
    one = synthesise_corpus.Synthesiser()
    starts = synthesise_corpus._espeak.cache_info().misses
    other = synthesise_corpus.Synthesiser()
    assert starts == synthesise_corpus._espeak.cache_info().misses == 1
    assert len(one.speak("il gatto", "it")) > 0 and len(other.speak("la luna", "it+f2")) > 0
    assert len(one.speak("il gatto", "it")) > 0  # its sound comes to it, not to the one made last
