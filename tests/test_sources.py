"""Sources that are no folder of recordings: archives and single files are found, prepared and found again."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import layouts
import pytest
from conftest import MakeCorpus

from mms_adapt import corpora
from mms_adapt.errors import CorpusError, OptionError, PreparedError
from mms_adapt.prepare import Prepared, prepare
from mms_adapt.splits import PARTS, SplitOptions

LETTERS = "abcdefghijklmnop"
UTTERANCES = [
    {"transcript": f"Word {letter}", "speaker": f"s{number % 4}", "seconds": 0.6}
    | {"source_split": ("train", "train", "dev", "test")[number % 4]}
    for number, letter in enumerate(LETTERS)
]


@pytest.fixture
def spans(make_corpus: MakeCorpus) -> Path:
    return make_corpus([dict(row) for row in UTTERANCES], "spans")


def zipped(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder.parent))
    shutil.rmtree(folder)
    return archive


def check(prepared: Prepared, layout: str, root: Path) -> Prepared:
    """Check that all can be read from where it is said to be."""
    assert (prepared.layout, prepared.root) == (layout, root.resolve())
    found = [one for part in PARTS for one in prepared.utterances(part)]
    assert sorted(one.transcript[-1] for one in found) == list(LETTERS)
    assert all((prepared.root / one.recording).is_file() for one in found)
    assert not list(prepared.quarantined())
    return prepared


def make(source: Path, out: Path, **options: Any) -> Prepared:
    return prepare(source, out, target_lang="xho", split=SplitOptions(mode="source"), **options)


def test_a_release_of_common_voice_as_downloaded(spans: Path, tmp_path: Path) -> None:
    folder = layouts.common_voice(spans)
    (tmp_path / "in").mkdir()
    archive = layouts.packed(tmp_path / "in" / "cv-corpus-1.0-xh.tar.gz", folder.parent, "cv-corpus-1.0")
    told: list[tuple[Any, ...]] = []
    made = make(archive, tmp_path / "out", progress=lambda *now: told.append(now))
    root = tmp_path / "in" / "cv-corpus-1.0-xh.extracted" / "cv-corpus-1.0" / "xh"
    check(made, "common_voice", root)
    assert made.corpus == "cv-corpus-1.0-xh" and told[0][0] == "extract"
    assert {part: len(made.utterances(part)) for part in PARTS} == {"train": 8, "dev": 4, "test": 4}
    shutil.move(tmp_path / "in", tmp_path / "moved" / "in")
    shutil.move(tmp_path / "out", tmp_path / "moved" / "out")
    again = Prepared.load(tmp_path / "moved" / "out")
    assert again.root == (tmp_path / "moved" / root.relative_to(tmp_path)).resolve()
    shutil.rmtree(tmp_path / "moved" / "in" / "cv-corpus-1.0-xh.extracted")
    with pytest.raises(PreparedError, match="its recordings are gone"):
        Prepared.load(tmp_path / "moved" / "out")
    redone = make(tmp_path / "moved" / "in" / archive.name, tmp_path / "moved" / "out", overwrite=True)
    check(redone, "common_voice", again.root)


def test_a_zip_of_tables(spans: Path, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "mine.zip", layouts.table(spans))
    made = check(make(archive, tmp_path / "out"), "table", tmp_path / "mine.extracted" / "table")
    assert made.corpus == "mine"


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv", "metadata.jsonl"])
def test_a_table_as_the_source(name: str, spans: Path, tmp_path: Path) -> None:
    root = layouts.table(spans)
    if name != "metadata.csv":
        (root / "metadata.csv").unlink()
        rows = layouts.records(spans, root)
        lines = [list(rows[0]), *([str(one) for one in row.values()] for row in rows)]
        if name == "metadata.tsv":
            layouts.tsv(root / name, lines)
        else:
            layouts.jsonl(root / name, rows)
    made = check(make(root / name, tmp_path / "out"), "table", root)
    assert made.corpus == "metadata"
    assert make(root, tmp_path / "other").split_sha256 == made.split_sha256


def test_a_manifest_as_the_source(spans: Path, tmp_path: Path) -> None:
    made = check(make(spans / "utterances.jsonl", tmp_path / "out"), "spans", spans)
    assert made.split_sha256 == make(spans, tmp_path / "other").split_sha256


def test_a_parquet_file_as_the_source(spans: Path, tmp_path: Path) -> None:
    from datasets import load_from_disk

    path = tmp_path / "in" / "speech.parquet"
    path.parent.mkdir()
    load_from_disk(str(layouts.saved(spans))).to_parquet(str(path))
    made = check(make(path, tmp_path / "out"), "datasets", tmp_path / "in" / "speech.recordings")
    assert made.corpus == "speech"


def test_fleurs_and_kaldi(spans: Path, tmp_path: Path) -> None:
    root = layouts.fleurs(spans)
    check(make(root, tmp_path / "fleurs-out"), "fleurs", root)
    root = layouts.kaldi(spans)
    check(make(root, tmp_path / "kaldi-out"), "kaldi", root)
    only = prepare(root / "train", tmp_path / "train-out", target_lang="xho")  # its recordings are beside it
    assert only.root == (root / "wav" / "train").resolve() and only.layout == "kaldi"


def test_a_ledger_elsewhere_is_told(spans: Path, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "in.zip", layouts.table(spans))
    ledger = tmp_path / "ledger.csv"
    ledger.write_text("speaker,consent\ns1,no\n", encoding="utf-8")
    with pytest.raises(
        CorpusError, match=r"ledger\.csv does not stand beside the recordings, which are in .*table"
    ):
        make(archive, tmp_path / "out")
    ledger.rename(tmp_path / "in.extracted" / "table" / "ledger.csv")
    made = make(archive, tmp_path / "out")
    assert {one.reason for one in made.quarantined()} == {"no_consent"}


def test_prepared_data_never_replaces_recordings(spans: Path, tmp_path: Path) -> None:
    root = layouts.table(spans)
    out = root / "wavs"
    with pytest.raises(PreparedError, match="exists and is not prepared data"):
        make(root / "metadata.csv", out, overwrite=True)
    (out / "prepared.json").write_text("{}", encoding="utf-8")
    away = tmp_path / "away" / "x.csv"
    away.parent.mkdir()
    rows = [f"{root}/wavs/u{number:03d}.wav,{LETTERS[number]}" for number in range(16)]
    away.write_text("\n".join(["audio,text", *rows]), encoding="utf-8")
    with pytest.raises(PreparedError, match="holds the recordings themselves"):
        prepare(away, out, target_lang="xho", overwrite=True)
    assert len(list(out.glob("*.wav"))) == 16


def test_what_is_no_corpus_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("who,when\nann,monday\n", encoding="utf-8")
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    with pytest.raises(
        CorpusError, match=r"song\.mp3 has no layout that is known; known are .*, table, .*say"
    ):
        corpora.find(tmp_path / "song.mp3")
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match=r"none is empty and has no layout"):
        corpora.find(tmp_path / "none")
    for place in (tmp_path / "notes.csv", tmp_path):
        with pytest.raises(
            CorpusError,
            match=r"notes\.csv: no column is the recording .* 'who', 'when'; say which .*--corpus table",
        ):
            corpora.find(place)
    with pytest.raises(CorpusError, match=r"notes\.csv: no column is the recording"):
        make(tmp_path, tmp_path / "out", corpus="table")
    (tmp_path / "notes.csv").write_bytes("audio,text\n".encode("utf-16-be"))
    with pytest.raises(CorpusError, match=r"notes\.csv: this looks like UTF-16 without its first mark"):
        corpora.find(tmp_path)
    (tmp_path / "notes.csv").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"notes\.csv: its first line is empty"):
        corpora.find(tmp_path)
    (tmp_path / "notes.csv").rename(tmp_path / "notes.xlsx")
    with pytest.raises(CorpusError, match=r"notes\.xlsx: this is a spreadsheet; save it as CSV"):
        corpora.find(tmp_path)
    with pytest.raises(CorpusError, match=r"gone\.tar\.gz: there is no such folder or file"):
        make(tmp_path / "gone.tar.gz", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/b/readme.txt", "nothing")
    with pytest.raises(CorpusError, match=r"x\.extracted/a/b \(readme\.txt\) has no layout that is known"):
        make(tmp_path / "x.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_in_a_folder_is_pointed_at(spans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    archive = zipped(folder / "mine.zip", layouts.table(spans))
    with pytest.raises(
        CorpusError, match=r"no layout that is known; if the corpus is in .*mine\.zip, give that"
    ):
        make(folder, tmp_path / "out")
    assert corpora.opened(archive) == folder / "mine.extracted" / "table"


def test_a_reader_of_ones_own_gets_what_an_archive_holds(
    spans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_readers").mkdir()
    (tmp_path / "own_readers" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "own_readers" / "one.py").write_text(
        "from mms_adapt.corpora.table import read\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    archive = zipped(tmp_path / "mine.zip", layouts.table(spans))  # beside metadata.csv there is only wavs/
    made = make(archive, tmp_path / "out", corpus="own_readers.one")
    check(made, "own_readers.one", tmp_path / "mine.extracted" / "table")


def test_an_archive_of_several_corpora_names_them(spans: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for name in ("one", "two"):
        shutil.copytree(spans, both / name)
    archive = zipped(tmp_path / "both.zip", both)
    with pytest.raises(
        CorpusError, match=r"both \(one, two\) has no layout that is known, but .*both/one does"
    ):
        make(archive, tmp_path / "out")
    check(make(tmp_path / "both.extracted" / "both" / "two", tmp_path / "out"), "spans",
          tmp_path / "both.extracted" / "both" / "two")  # fmt: skip


def test_two_layouts_in_one_folder_are_asked_for(spans: Path, tmp_path: Path) -> None:
    root = layouts.table(spans)
    shutil.copy(layouts.audio_text(spans) / "train" / "u000.flac", root / "u000.flac")
    (root / "u000.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OptionError, match="could be audio_text or table; say which"):
        make(root, tmp_path / "out")
    check(make(root, tmp_path / "out", corpus="table"), "table", root)
