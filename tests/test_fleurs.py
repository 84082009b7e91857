"""FLEURS: archives and folders, parts, raw transcripts; what is broken."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import layouts
import pytest
from conftest import MakeCorpus

from mms_adapt import corpora
from mms_adapt.corpora import Skipped, fleurs
from mms_adapt.errors import CorpusError

ROWS = [
    {"source_split": "train", "transcript": 'Uthe: "Hamba"\u202e!'},
    {"source_split": "train"},
    {"source_split": "dev"},
    {"source_split": "test"},
]


@pytest.fixture(params=[True, False], ids=["archives", "folders"])
def root(request: pytest.FixtureRequest, make_corpus: MakeCorpus) -> Path:
    return layouts.fleurs(make_corpus([dict(row) for row in ROWS]), archives=request.param)


def line(name: str, cells: int = 7) -> Sequence[object]:
    return (1, name, "Raw.", "raw", "r a w", 16_000, "MALE")[:cells]


def test_it_is_read_as_downloaded(root: Path) -> None:
    assert corpora.find(root) == ("fleurs", fleurs)
    found = corpora.gather(fleurs, root, "xho")
    assert [one.source_split for one in found.utterances] == ["train", "train", "dev", "test"]
    assert [one.id for one in found.utterances] == ["train/u000", "train/u001", "dev/u002", "test/u003"]
    assert found.utterances[0].transcript == 'Uthe: "Hamba"\u202e!' and not found.skipped
    assert {one.speaker for one in found.utterances} == {None}
    assert all((root / one.recording).is_file() for one in found.utterances)
    again = corpora.gather(fleurs, root, "xho")
    assert again == found


def test_only_the_part_that_is_wanted_is_extracted(make_corpus: MakeCorpus) -> None:
    root = layouts.fleurs(make_corpus([dict(row) for row in ROWS]))
    assert fleurs.recognise(root) and not list(root.rglob("*.extracted"))
    reading = fleurs.read(root, "test", target_lang="xho")
    assert [one.id for one in reading] == ["test/u003"]
    assert reading.skipped == {Skipped("other_split", "train"): 2, Skipped("other_split", "dev"): 1}
    assert [path.name for path in root.rglob("*.extracted")] == ["test.extracted"]


def test_another_language_is_refused_by_its_name(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"no utterance is in 'sna'; found: xh_za \(4\)"):
        corpora.gather(fleurs, root, "sna")
    assert len(corpora.gather(fleurs, root, "qaa").utterances) == 4
    renamed = root.rename(root.with_name("my_fleurs_copy"))  # nothing says the language: it is taken as told
    assert len(corpora.gather(fleurs, renamed, "sna").utterances) == 4


def test_missing_sounds_are_left_to_quarantine(root: Path) -> None:
    shutil.rmtree(root / "audio")
    found = corpora.gather(fleurs, root, "xho").utterances
    assert [one.recording for one in found][:2] == ["audio/train/u000.wav", "audio/train/u001.wav"]


def test_broken_rows_are_counted(root: Path) -> None:
    rows = [line("a.wav"), line("b.wav", 6), line("a.wav"), line(""), line("../../x.wav"), line("c\x00.wav")]
    layouts.tsv(root / "train.tsv", rows)
    reading = fleurs.read(root, "train", target_lang="xho")
    assert [one.id for one in reading] == ["train/a"]
    counted = sorted((one.reason, one.detail.partition(": ")[0]) for one in reading.skipped)
    assert counted == [
        ("other_split", "dev"),
        ("other_split", "test"),
        ("ragged_row", "train.tsv:2"),
        ("ragged_row", "train.tsv:4"),
        ("repeated_row", "train.tsv:3"),
        ("unusable_row", "train.tsv:5"),
        ("unusable_row", "train.tsv:6"),
    ]


def test_an_archive_cut_short_is_told(make_corpus: MakeCorpus) -> None:
    root = layouts.fleurs(make_corpus([dict(row) for row in ROWS]))
    archive = root / "audio" / "train.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(CorpusError, match=r"train\.tar\.gz is cut short.*download it again"):
        corpora.gather(fleurs, root, "xho")


@pytest.mark.parametrize(
    "first", ["", "id\tfile\traw\ttext\tchars\tsamples\tgender", "1\ta.wav\tx\tx\tx\t100\tblue", "1\ta.wav"]
)
def test_other_tables_are_none(first: str, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(f"{first}\n", encoding="utf-8")
    assert not fleurs.recognise(tmp_path)
