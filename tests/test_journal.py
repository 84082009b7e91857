"""The journal of a long command, and preparing that goes on where it was stopped."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import RATE_HZ, noise
from test_prepare import files, make

from mms_adapt import quality
from mms_adapt.audio import AudioFile
from mms_adapt.errors import CorpusError
from mms_adapt.journal import Journal


def test_what_was_noted_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "notes" / "j.jsonl"
    first = Journal(path)
    assert first.get("a") is None and not path.exists()
    first.put("a", [1, "ü\n", None])
    first.put("b", {"x": 1.5})
    first.close()
    again = Journal(path)
    assert len(again) == 2 and again.get("a") == [1, "ü\n", None] and again.get("b") == {"x": 1.5}
    again.remove()
    assert not path.exists() and again.get("a") is None
    again.remove()


def test_a_line_that_was_cut_off_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    notes = Journal(path)
    for key in "abc":
        notes.put(key, key * 3)
    notes.close()
    whole = path.read_bytes()
    for cut in range(1, len(whole) + 1):
        path.write_bytes(whole[:cut])
        notes = Journal(path)
        known = [key for key in "abc" if notes.get(key)]
        assert known == list("abc")[: len(known)]
        notes.put("d", "ddd")
        notes.close()
        again = Journal(path)
        assert [key for key in "abcd" if again.get(key)] == [*known, "d"]
    path.write_text('3\n["a"]\n\xff\n', encoding="latin-1")
    assert len(Journal(path)) == 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight recordings of five utterances each, one too short, one silent, one without a transcript."""
    folder, lines = tmp_path / "corpus", []
    folder.mkdir()
    for number in range(8):
        sound = np.concatenate([noise(0.6, 10 * number + part) for part in range(5)])
        if number == 3:
            sound[: round(0.6 * RATE_HZ)] = 0
        soundfile.write(folder / f"r{number}.wav", sound, RATE_HZ)
        for part in range(5):
            word = "".join(chr(97 + (7 * number + 3 * part + step) % 26) for step in range(4))
            lines.append({
                "id": f"r{number}-{part}", "recording": f"r{number}.wav", "start_s": 0.6 * part,
                "end_s": 0.6 * part + (0.1 if (number, part) == (1, 1) else 0.6),
                "transcript": "" if (number, part) == (2, 2) else f"a {word} {number}{part}",
                "target_lang": "xho", "speaker": f"s{number}",
            })  # fmt: skip
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "utterances.jsonl").write_text(text, encoding="utf-8")
    return folder


class Stopper:
    """A progress callback that stops the checking after some utterances."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, stage: str, done: int, total: int | None = None, note: str = "") -> None:
        if stage == "check" and done >= self.after:
            raise KeyboardInterrupt


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of every recording that is opened is added."""
    names: list[str] = []

    class Counted(AudioFile):
        def __init__(self, path: Any) -> None:
            names.append(Path(path).name)
            super().__init__(path)

    monkeypatch.setattr(quality, "AudioFile", Counted)
    return names


@pytest.mark.parametrize("after", [5, 20, 40])
def test_preparing_goes_on_where_it_was_stopped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = make(source, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "out", progress=Stopper(after))
    assert (tmp_path / ".out.checked.jsonl").is_file() and not (tmp_path / "out").exists()
    names = opened(monkeypatch)
    again = make(source, tmp_path / "out")
    assert len(names) <= 8 - after // 5
    assert files(again.folder) == files(whole.folder)
    assert not (tmp_path / ".out.checked.jsonl").exists()


def test_what_has_changed_since_is_checked_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "out", progress=Stopper(40))
    os.utime(source / "r5.wav", ns=(1, 1))
    manifest = source / "utterances.jsonl"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(" 60", " changed"), encoding="utf-8")
    names = opened(monkeypatch)
    again = make(source, tmp_path / "out")
    assert sorted(names) == ["r5.wav", "r6.wav"]
    references = {
        one.id: one.reference for part in ("train", "dev", "test") for one in again.utterances(part)
    }
    assert (references["r6-0"] or "").endswith("changed")
    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "raw", progress=Stopper(40))
    names.clear()
    make(source, tmp_path / "raw", normaliser="raw")
    assert len(names) == 8


def test_an_error_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    for path in source.glob("*.wav"):
        path.unlink()
    with pytest.raises(CorpusError, match="missing_audio"):
        make(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]
