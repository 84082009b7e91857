"""Recordings with texts: pairs, speakers only if told, parts, what has no other half."""

from pathlib import Path
from typing import Any

import layouts
import pytest
from conftest import noise

from mms_adapt import corpora
from mms_adapt.corpora import Skipped, audio_text
from mms_adapt.errors import CorpusError, OptionError


def pair(root: Path, name: str, text: str = "x", suffix: str = ".txt") -> None:
    clip = layouts.Clip(name, noise(1.0, len(name)), "", "xho", None, None)
    path = root / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    clip.write(root / "new.wav").rename(path)
    path.with_suffix(suffix).write_text(text, encoding="utf-8")


def rows(root: Path, **options: str) -> list[tuple[Any, ...]]:
    found = corpora.gather(audio_text, root, "xho", options=options).utterances
    return [(one.id, one.recording, one.speaker, one.source_split) for one in found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "pairs"
    for name in ("ann/monday/1", "ann/tuesday/2", "ben/monday/3"):
        pair(root, name)
    return root


def test_folders_are_speakers_only_where_somebody_says_so(root: Path) -> None:
    assert corpora.find(root) == ("audio_text", audio_text)
    assert rows(root)[0] == ("ann/monday/1", "ann/monday/1.wav", None, None)
    assert [one[2] for one in rows(root)] == [None, None, None]
    assert [one[2] for one in rows(root, speaker="top")] == ["ann", "ann", "ben"]
    assert [one[2] for one in rows(root, speaker="folder")] == ["monday", "tuesday", "monday"]
    pair(root, "0")
    assert [one[2] for one in rows(root, speaker="top")] == [None, "ann", "ann", "ben"]
    with pytest.raises(OptionError, match="corpus option speaker='yes': give folder or top"):
        rows(root, speaker="yes")


def test_topmost_folders_may_be_parts(root: Path) -> None:
    for part, name in (("train", "ann"), ("test", "ben")):
        (root / part).mkdir()
        (root / name).rename(root / part / name)
    assert [(one[2], one[3]) for one in rows(root, speaker="top")] == [
        ("ben", "test"),
        ("ann", "train"),
        ("ann", "train"),
    ]
    assert [one.id for one in audio_text.read(root, "test", target_lang="xho")] == ["test/ben/monday/3"]
    pair(root, "extra/4")  # then they are just folders
    assert {one[3] for one in rows(root)} == {None}


def test_texts_are_as_found(tmp_path: Path) -> None:
    texts = ["one\n", "two\nlines\r\n\n", " spaced ", "\u202ertl\u202c", "", "\ufeffmark"]
    for number, text in enumerate(texts):
        pair(tmp_path, str(number), text, ".lab" if number % 2 else ".txt")
    (tmp_path / "6.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    (tmp_path / "6.TXT").write_bytes("wide ɔ".encode("utf-16"))
    found = corpora.gather(audio_text, tmp_path, "xho").utterances
    wanted = ["one", "two\nlines", " spaced ", "\u202ertl\u202c", "", "mark", "wide ɔ"]
    assert [one.transcript for one in found] == wanted


def test_halves_are_told(root: Path) -> None:
    (root / "ann" / "monday" / "1.wav").unlink()
    (root / "ben" / "monday" / "3.txt").unlink()
    (root / "README.md").write_text("x", encoding="utf-8")
    (root / ".hidden.txt").write_text("x", encoding="utf-8")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "4.txt").write_text("x", encoding="utf-8")
    (root / "circle").symlink_to(root)
    gathered = corpora.gather(audio_text, root, "xho")
    assert [one.recording for one in gathered.utterances] == ["ann/monday/1.wav", "ann/tuesday/2.wav"]
    assert gathered.skipped == {Skipped("no_transcript", ".wav"): 1, Skipped("linked_folder", "'circle'"): 1}


def test_rivals_are_told(root: Path) -> None:
    (root / "ann" / "monday" / "1.lab").write_text("y", encoding="utf-8")
    with pytest.raises(
        CorpusError, match=r"'ann/monday/1\.lab' and 'ann/monday/1\.txt' are two texts of one"
    ):
        rows(root)
    (root / "ann" / "monday" / "1.lab").unlink()
    (root / "ann" / "monday" / "1.mp3").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"1\.mp3' and 'ann/monday/1\.wav' are two recordings of one name"):
        rows(root)


def test_hostile_names(tmp_path: Path) -> None:
    names = ["good", "a\nb", "c\x1b[31m", "\u202eevil", "quo\"te's", "back\\slash", "dot.s", "\udcff"]
    for name in names:
        pair(tmp_path, name)
    gathered = corpora.gather(audio_text, tmp_path, "xho")
    assert {one.id for one in gathered.utterances} == {"good", "\u202eevil", "quo\"te's", "dot.s"}
    assert sorted(one.reason for one in gathered.skipped) == ["unusable_row"] * 4
    assert not any("\n" in one.detail or "\x1b" in one.detail for one in gathered.skipped)


def test_a_text_in_another_encoding_is_named(root: Path) -> None:
    (root / "ann" / "monday" / "1.txt").write_bytes(b"line\n\xe7a va")
    with pytest.raises(CorpusError, match=r"1\.txt:2: byte 1 is not UTF-8"):
        rows(root)


def test_no_pair_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"")
    assert not audio_text.recognise(tmp_path) and not audio_text.recognise(tmp_path / "a.wav")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.WAV").write_bytes(b"")
    assert not audio_text.recognise(tmp_path)
    (tmp_path / "deep" / "b.Lab").write_bytes(b"")
    assert audio_text.recognise(tmp_path)
