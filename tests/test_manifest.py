"""Manifests: what is written is read again, and every kind of bad line is named with its place."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_adapt import manifest
from mms_adapt.errors import ManifestError
from mms_adapt.manifest import Quarantined, Utterance

ROW: dict[str, Any] = {
    "id": "u1",
    "recording": "a/b.wav",
    "start_s": 0.5,
    "end_s": 2,
    "transcript": "Ɛyɛ.",
    "target_lang": "aka",
}
ONE = Utterance("u1", "a/b.wav", 0.5, 2.0, "Ɛyɛ.", "aka")


def write_lines(path: Path, *lines: object) -> Path:
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_a_line_becomes_an_utterance(tmp_path: Path) -> None:
    full = ROW | {"id": "u2", "speaker": " Ama ", "session": "", "source_split": "train", "licence": "CC0"}
    found = list(manifest.read(write_lines(tmp_path / "m.jsonl", ROW, "", full | {"age": 40, "end_s": None})))
    assert found == [
        ONE,
        replace(ONE, id="u2", end_s=None, speaker="Ama", source_split="train", licence="CC0"),
    ]
    assert ONE.duration_s == 1.5
    with pytest.raises(ManifestError, match="u2: its length is unknown"):
        _ = found[1].duration_s


def test_without_start_and_end_it_is_the_whole_recording(tmp_path: Path) -> None:
    row = {name: value for name, value in ROW.items() if name not in ("start_s", "end_s")}
    assert list(manifest.read(write_lines(tmp_path / "m.jsonl", row))) == [
        replace(ONE, start_s=0.0, end_s=None)
    ]


def test_untranscribed_rows_are_empty_transcripts(tmp_path: Path) -> None:
    (found,) = manifest.read(write_lines(tmp_path / "m.jsonl", ROW | {"transcript": None}))
    assert found.transcript == ""


def test_a_byte_order_mark_and_line_ends_of_windows_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n\r\n")
    assert list(manifest.read(path)) == [ONE]


@given(
    st.lists(
        st.builds(
            Utterance,
            id=st.uuids().map(str),
            recording=st.just("r.wav"),
            start_s=st.floats(0, 1e5),
            end_s=st.floats(2e5, 1e6) | st.none(),
            transcript=st.text(st.characters(exclude_categories=["Cs"])),
            target_lang=st.just("aka"),
            speaker=st.none() | st.just("Ama"),
            reference=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, utterances: list[Utterance]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    manifest.write(path, utterances)
    assert list(manifest.read(path)) == utterances
    left_out = [Quarantined(one, "too_long", "31 s\n", "cut it") for one in utterances]
    manifest.write_quarantine(path, left_out)
    assert list(manifest.read_quarantine(path)) == left_out


BAD: list[tuple[object, str]] = [
    ("{", r"not JSON at character 2"),
    ("[1]", r"not a JSON object in braces"),
    ("[" * 100_000, r"not JSON"),
    ('{"id": ' + "1" * 5000 + "}", r"not JSON|id is"),
    ({name: value for name, value in ROW.items() if name != "end_s"}, r"'end_s' missing"),
    ({"id": "x"}, r"'recording' and 'transcript' and 'target_lang' missing"),
    ({name: value for name, value in ROW.items() if name != "start_s"}, r"'start_s' missing.* both or none"),
    (ROW | {"speeker": "Ama"}, r"there is a field 'speeker'; is 'speaker' meant\?"),
    ({**{n: v for n, v in ROW.items() if n != "start_s"}, "start": 0}, r"'start'; is 'start_s' meant\?"),
    (ROW | {"start_s": "0.5"}, r"start_s is '\"0\.5\"': give a number of seconds"),
    (ROW | {"start_s": True}, r"start_s is 'true'"),
    (ROW | {"start_s": None}, r"start_s is 'null'"),
    (ROW | {"start_s": -1}, r"start_s is -1\.0: give seconds from the recording's start"),
    (ROW | {"start_s": 3}, r"end_s is 2\.0 and start_s is 3\.0: the end must come after"),
    (ROW | {"end_s": 0.5}, r"the end must come after"),
    (json.dumps(ROW).replace("0.5", "NaN"), r"start_s is nan"),
    (json.dumps(ROW).replace("0.5", "1e999"), r"start_s is inf"),
    (ROW | {"end_s": 10**400}, r"end_s is inf"),
    (ROW | {"id": 7}, r"id is '7': give text in quotation marks"),
    (ROW | {"id": "  "}, r"id is empty"),
    (ROW | {"id": "a\nb"}, r"id 'a\\nb' holds a control character"),
    (ROW | {"id": "a\u2028b"}, r"control character or a line break"),
    (ROW | {"id": "\x1b[31m"}, r"id '\\x1b\[31m' holds a control"),
    (ROW | {"speaker": 3}, r"speaker is '3'"),
    (ROW | {"transcript": ["a"]}, r"transcript is"),
    ('{"transcript": "\\ud800", ' + json.dumps(ROW)[1:].replace('"transcript"', '"note"'), r"lone surrogate"),
    (ROW | {"recording": ""}, r"recording is empty"),
    (ROW | {"recording": "/etc/passwd"}, r"recording '/etc/passwd': give a path inside"),
    (ROW | {"recording": "a/../../b.wav"}, r"give a path inside"),
    (ROW | {"recording": ".."}, r"give a path inside"),
    (ROW | {"recording": "C:/a.wav"}, r"give a path inside"),
    (ROW | {"recording": "a\\b.wav"}, r"write / between folders"),
    (ROW | {"recording": "a\0.wav"}, r"control character"),
    (ROW | {"target_lang": None}, r"target_lang is 'null'"),
    (ROW, r"the id 'u1' stands in line 1 already"),
]


@pytest.mark.parametrize(("line", "says"), BAD, ids=[says[:40] for _, says in BAD])
def test_a_bad_line_is_named_with_its_place(tmp_path: Path, line: object, says: str) -> None:
    path = write_lines(tmp_path / "train.jsonl", ROW, "", line)
    with pytest.raises(ManifestError, match=says) as raised:
        list(manifest.read(path))
    message = str(raised.value)
    assert message.startswith(f"{path}:3: ")
    assert len(message) < 400 and message.isprintable()


def test_other_encodings_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for encoding in ("utf-16", "latin-1"):
        path.write_text(json.dumps(ROW | {"transcript": "é"}, ensure_ascii=False), encoding=encoding)
        with pytest.raises(ManifestError, match=r"m\.jsonl:1: this is not UTF-8"):
            list(manifest.read(path))
    with pytest.raises(ManifestError, match=r"gone\.jsonl: this manifest cannot be read"):
        list(manifest.read(tmp_path / "gone.jsonl"))
    with pytest.raises(ManifestError, match="cannot be read"):
        list(manifest.read(tmp_path))


def test_reading_is_lazy(tmp_path: Path) -> None:
    lines = manifest.read(write_lines(tmp_path / "m.jsonl", ROW, "{"))
    assert next(lines) == ONE
    with pytest.raises(ManifestError):
        next(lines)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    manifest.write(path, [ONE])

    def stop() -> Any:
        yield replace(ONE, id="u2")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manifest.write(path, stop())
    assert list(manifest.read(path)) == [ONE]
    assert os.listdir(tmp_path) == ["m.jsonl"]
