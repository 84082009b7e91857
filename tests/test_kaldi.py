"""Kaldi's data directories: paths that moved, commands that are never run, what does not fit together."""

import shutil
from pathlib import Path
from typing import Any

import layouts
import pytest
from conftest import MakeCorpus, noise
from layouts import kaldi_file

from mms_adapt import corpora
from mms_adapt.corpora import Skipped, kaldi
from mms_adapt.errors import CorpusError

ROWS: list[dict[str, Any]] = [
    {"speaker": "ann", "source_split": "train"},
    {"speaker": "ben", "source_split": "train"},
    {"speaker": "ben", "source_split": "test"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One data directory of two recordings, named relative to it."""
    folder = tmp_path / "recipe" / "data" / "all"
    for name in "ab":
        layouts.Clip(name, noise(1.0, ord(name)), "", "xho", None, None).write(folder / "wav" / f"{name}.wav")
    kaldi_file(folder / "wav.scp", [("a", "wav/a.wav"), ("b", "wav/b.wav")])
    kaldi_file(folder / "text", [("a", "one  two"), ("b", "three")])
    kaldi_file(folder / "utt2spk", [("a", "ann"), ("b", "b")])
    return folder


@pytest.mark.parametrize("segments", [True, False])
def test_a_folder_of_directories_gives_the_parts(segments: bool, make_corpus: MakeCorpus) -> None:
    root = layouts.kaldi(make_corpus([dict(row) for row in ROWS]), segments=segments)
    assert corpora.find(root) == ("kaldi", kaldi)
    found = corpora.gather(kaldi, root, "xho")
    assert [(one.id, one.source_split) for one in found.utterances] == [
        ("u002", "test"),
        ("u000", "train"),
        ("u001", "train"),
    ]
    assert [one.speaker for one in found.utterances] == ["ben", "ann", "ben"] and not found.skipped
    assert [(one.start_s, one.end_s) for one in found.utterances] == (
        [(0.0, 1.0), (0.0, 1.0), (1.0, 2.0)] if segments else [(0.0, None)] * 3
    )
    assert found.root == root and all((root / one.recording).is_file() for one in found.utterances)


def test_one_directory(data: Path) -> None:
    assert corpora.find(data) == ("kaldi", kaldi)
    one, two = corpora.gather(kaldi, data, "xho").utterances
    assert (one.transcript, one.recording, one.speaker) == ("one  two", "wav/a.wav", "ann")
    assert two.speaker is None and two.source_split is None  # its own name says that nobody knows
    (data / "utt2spk").unlink()
    assert {one.speaker for one in kaldi.read(data, target_lang="xho")} == {None}


def test_paths_from_the_recipe_and_from_elsewhere(data: Path, tmp_path: Path) -> None:
    recipe = data.parents[1]
    shutil.move(data / "wav" / "a.wav", recipe / "a.wav")
    away = tmp_path / "away" / "b b.wav"
    away.parent.mkdir()
    shutil.move(data / "wav" / "b.wav", away)
    kaldi_file(data / "wav.scp", [("a", "./a.wav"), ("b", away)])
    found = corpora.gather(kaldi, data, "xho")
    assert found.root == tmp_path
    assert [one.recording for one in found.utterances] == ["recipe/a.wav", "away/b b.wav"]


def test_absolute_paths_of_another_machine(data: Path) -> None:
    kaldi_file(data / "wav.scp", [("a", "/export/corpora/all/wav/a.wav"), ("b", "/export/gone/b.flac")])
    found = corpora.gather(kaldi, data, "xho")
    assert found.root == data
    assert [one.recording for one in found.utterances] == ["wav/a.wav", "export/gone/b.flac"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("sph2pipe -f wav a.sph |", "is a command, and commands are never run"),
        ("touch {ran} |", "is a command"),
        ("| tee x", "is a command"),
        ("-", "is a command"),
        ("", "the path of the recording is missing"),
        ("raw_mfcc.ark:1234", "is a place in an archive of Kaldi's"),
        ("wav.ark:12[0:5]", "is a place in an archive"),
    ],
)
def test_what_is_no_path_is_refused(path: str, what: str, data: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    kaldi_file(data / "wav.scp", [("a", "wav/a.wav"), ("b", path.format(ran=ran))])
    with pytest.raises(CorpusError, match=rf"wav\.scp:2: .*{what}"):
        kaldi.read(data, target_lang="xho")
    assert not ran.exists()


def test_what_does_not_fit_together_is_counted(data: Path) -> None:
    kaldi_file(data / "segments", [("a", "a", 0.1, 0.5), ("c", "a", 0.5, -1), ("d", "gone", 0, 1)])
    kaldi_file(data / "text", [("a", "x"), ("b", "y"), ("d", "z"), ("e", "")])
    found = corpora.gather(kaldi, data, "xho")
    assert [(one.id, one.recording, one.start_s, one.end_s) for one in found.utterances] == [
        ("a", "wav/a.wav", 0.1, 0.5),
        ("d", "gone", 0.0, 1.0),  # no such recording, as quarantine will say
    ]
    assert found.skipped == {Skipped("not_in_segments", "text"): 2, Skipped("no_transcript", "segments"): 1}


def test_a_segment_to_the_end(data: Path) -> None:
    kaldi_file(data / "segments", [("a", "a", 0.5, "-1"), ("b", "b", 0, "-1.00")])
    assert [one.end_s for one in kaldi.read(data, target_lang="xho")] == [None, None]


def test_spans_that_are_none_are_counted(data: Path) -> None:
    kaldi_file(data / "segments", [("a", "a", 0.5, 0.5), ("b", "b", "nan", 1)])
    with pytest.raises(
        CorpusError, match="no utterance in it; passed over: 1 x unusable_row text:1: end_s is"
    ):
        corpora.gather(kaldi, data, "xho")


def test_recordings_without_a_text_are_counted(data: Path) -> None:
    kaldi_file(data / "text", [("a", "x"), ("z", "no recording")])
    reading = kaldi.read(data, target_lang="xho")
    assert [one.recording for one in reading] == ["wav/a.wav", "z"]
    assert reading.skipped == {Skipped("no_transcript", "wav.scp"): 1}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("segments", "a a 0.1\n", r"segments:1: an utterance, its recording, its start and its end"),
        ("segments", "a a zero 1\n", r"segments:1: .* not 'a zero 1'"),
        ("text", "a x\nb y\na z\n", r"text:3: 'a' stands in line 1 already"),
        ("utt2spk", b"a \xff\n", r"utt2spk:1: byte 3 is not UTF-8"),
    ],
)
def test_a_broken_line_is_named(name: str, content: str | bytes, what: str, data: Path) -> None:
    (data / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=what):
        kaldi.read(data, target_lang="xho")


def test_hostile_names(data: Path) -> None:
    lines = ['a \u202eevil\u202c "quoted" it\'s', "b\x07 x", "\tb  y z"]
    (data / "text").write_text("\n".join(lines) + "\r\n\n", encoding="utf-8")
    reading = kaldi.read(data, target_lang="xho")
    assert [(one.id, one.transcript) for one in reading] == [
        ("a", '\u202eevil\u202c "quoted" it\'s'),
        ("b", "y z"),
    ]
    assert [one.reason for one in reading.skipped] == ["unusable_row"]


def test_one_utterance_in_two_directories_is_told(make_corpus: MakeCorpus) -> None:
    root = layouts.kaldi(make_corpus([dict(row) for row in ROWS]))
    shutil.copytree(root / "train", root / "train_hires")
    with pytest.raises(CorpusError, match="'u000' is in train and in train_hires"):
        kaldi.read(root, target_lang="xho")
