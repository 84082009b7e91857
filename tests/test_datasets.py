"""Data sets of Hugging Face: saved folders, parquet, the hub's way; sounds kept once, undecoded."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layouts
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import MakeCorpus, noise

from mms_adapt import audio, corpora
from mms_adapt.corpora import Skipped, datasets
from mms_adapt.errors import CorpusError, OptionError

SOUND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def sounds(tmp_path: Path) -> list[dict[str, Any]]:
    """Sounds as Hugging Face holds them: WAV, FLAC, MP3 and Ogg."""
    made = []
    for number, suffix in enumerate(("wav", "flac", "mp3", "ogg")):
        clip = layouts.Clip("", noise(1.0, number), "", "xho", None, None)
        made.append(layouts.sound(clip.write(tmp_path / "loose" / f"{number}.{suffix}")))
    return made


def parquet(path: Path, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    types = {"audio": SOUND, "extra": SOUND}
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    pyarrow.parquet.write_table(pa.table(arrays), path)
    return path


def gather(root: Path, target_lang: str = "xho", **options: str) -> corpora.Gathered:
    return corpora.gather(datasets, root, target_lang, options=options)


def test_a_parquet_file(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    path = parquet(tmp_path / "a" / "data.parquet", audio=sounds, text=list("wxyz"), speaker_id=[1, 2, 1, 2])
    assert corpora.find(path) == corpora.find(path.parent) == ("datasets", datasets)
    found = gather(path)
    assert found.root == tmp_path / "a" / "data.recordings"
    assert [(one.id, one.recording, one.speaker, one.transcript) for one in found.utterances] == [
        ("all/00000000", "all/00000000.wav", "1", "w"),
        ("all/00000001", "all/00000001.flac", "2", "x"),
        ("all/00000002", "all/00000002.mp3", "1", "y"),
        ("all/00000003", "all/00000003.ogg", "2", "z"),
    ]
    for one, sound in zip(found.utterances, sounds, strict=True):
        assert (found.root / one.recording).read_bytes() == sound["bytes"]
        assert len(audio.read(found.root / one.recording, 0.25, 0.5)) == 4000


def test_sounds_are_written_once(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    path = parquet(tmp_path / "data.parquet", audio=sounds, text=list("wxyz"))
    folder = gather(path).root / "all"
    before = {one: one.stat().st_mtime_ns for one in folder.iterdir()}
    (folder / "00000001.flac").write_bytes(b"damaged since")
    (folder / "00000002.mp3").unlink()
    gather(path)
    assert (folder / "00000001.flac").read_bytes() == sounds[1]["bytes"]
    assert (folder / "00000002.mp3").read_bytes() == sounds[2]["bytes"]
    assert sorted(folder.iterdir()) == sorted(before)
    for name in ("00000000.wav", "00000003.ogg"):
        assert (folder / name).stat().st_mtime_ns == before[folder / name]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-00000-of-00001.parquet", "test-00000-of-00001-abc.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("train.parquet", "test.parquet"),
    ],
)
def test_files_of_parts(train: str, test: str, sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    root = tmp_path / "set"
    parquet(root / train, audio=sounds[:2], text=["a", "b"], id=["1", "2"])
    parquet(root / test, audio=sounds[2:3], text=["c"], id=["1"])
    assert corpora.find(root) == ("datasets", datasets)
    assert {one.id: one.source_split for one in gather(root).utterances} == {
        "train/1": "train",
        "train/2": "train",
        "test/1": "test",
    }
    reading = datasets.read(root, "test", target_lang="xho")
    assert [one.transcript for one in reading] == ["c"]
    assert reading.skipped == {Skipped("other_split", "train"): 2}


def test_several_files_of_one_part_are_numbered_through(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / "set" / f"train-0000{number}-of-00002.parquet"
        parquet(path, audio=sounds[2 * number :][:2], text=["a", "b"])
    assert [one.id[-1] for one in gather(tmp_path / "set").utterances] == ["0", "1", "2", "3"]


def test_a_saved_folder(make_corpus: MakeCorpus) -> None:
    from datasets import DatasetDict, load_from_disk

    rows = [{"speaker": "ann", "transcript": "one"}, {"transcript": "two", "source_split": "dev"}]
    root = layouts.saved(make_corpus(rows))
    one, two = gather(root).utterances
    assert (one.transcript, one.speaker, one.source_split) == ("one", "ann", None)
    assert (two.transcript, two.speaker, two.source_split) == ("two", None, "dev")
    parts = root.with_name("parts")
    DatasetDict(
        {"train": load_from_disk(str(root)), "test": load_from_disk(str(root)).select([0])}
    ).save_to_disk(str(parts))
    assert corpora.find(parts) == ("datasets", datasets)
    found = gather(parts)
    assert [(one.id, one.source_split) for one in found.utterances] == [
        ("train/00000000", "train"),
        ("train/00000001", "dev"),  # a row's own word counts
        ("test/00000000", "test"),
    ]
    assert found.root == parts.with_name("parts.recordings")


def test_a_saved_folder_loads_no_torch(make_corpus: MakeCorpus) -> None:
    root = layouts.saved(make_corpus([{}]))
    path = parquet(root.with_name("x.parquet"), audio=[None], text=["x"])
    code = (
        "import sys; from pathlib import Path; from mms_adapt.corpora import datasets\n"
        f"for root in {str(path)!r}, {str(root)!r}:\n"
        "    print(len(list(datasets.read(Path(root), target_lang='xho'))), 'datasets' in sys.modules)\n"
        "print(sorted({'torch', 'transformers', 'librosa'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["1 False", "1 True", "[]"]


def test_sounds_that_are_files_elsewhere_are_linked(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    loose = tmp_path / "loose" / "0.wav"
    rows = [{"bytes": None, "path": str(loose)}, {"bytes": None, "path": "loose/1.flac"}]
    rows += [{"bytes": None, "path": "/gone/2.wav"}, None, {"bytes": None, "path": "https://127.0.0.1/3.wav"}]
    path = parquet(tmp_path / "data.parquet", audio=rows, text=list("abcde"))
    for _ in range(2):
        found = gather(path)
        assert [one.recording for one in found.utterances] == [
            "all/00000000.wav",
            "all/00000001.flac",
            "gone/2.wav",
            "all/00000003",
            (tmp_path / "https:/127.0.0.1/3.wav").as_posix().lstrip("/"),  # nothing is fetched
        ]
        there = [(found.root / one.recording).is_file() for one in found.utterances]
        assert there == [True, True, False, False, False]
    assert (found.root / "all" / "00000000.wav").resolve() == loose


def test_paths_as_text(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    path = parquet(tmp_path / "data.parquet", file_name=["loose/0.wav", "loose/3.ogg"], text=["a", "b"])
    found = gather(path)
    assert all((found.root / one.recording).is_file() for one in found.utterances)


def test_languages_are_told_apart_before_anything_is_written(
    sounds: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = parquet(tmp_path / "data.parquet", audio=sounds[:2], text=["a", "b"], language=["zu", "Xhosa"])
    found = gather(path)
    assert found.skipped == {Skipped("other_language", "zu"): 1}
    assert [one.recording for one in found.utterances] == ["all/00000001.flac"]
    assert [one.name for one in (found.root / "all").iterdir()] == ["00000001.flac"]
    with pytest.raises(CorpusError, match=r"no utterance is in 'mdw'; found: zu \(1\), Xhosa \(1\)"):
        gather(path, "mdw")


def test_columns_may_be_named(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    columns = {"audio": sounds[:1], "extra": sounds[1:2], "raw_text": ["A"], "who": ["ann"]}
    path = parquet(tmp_path / "data.parquet", **columns)
    named = {"recording": "extra", "transcript": "raw_text", "speaker": "who"}
    (one,) = gather(path, **named).utterances
    assert (one.recording, one.transcript, one.speaker) == ("all/00000000.flac", "A", "ann")
    with pytest.raises(CorpusError, match="no column is the transcript by its name"):
        gather(path)
    with pytest.raises(OptionError, match="corpus option transcript='x': there is no such column"):
        gather(path, transcript="x")


def test_what_cannot_be_read_is_told(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "set" / "train.parquet"
    parquet(path, audio=sounds, text=list("wxyz"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorpusError, match=r"train\.parquet: this is no whole parquet file"):
        gather(path)
    parquet(path, audio=sounds[:2], text=["a", "b"], id=["1", "1"])
    with pytest.raises(CorpusError, match=r"row 1 of train: id 'train/1' comes twice"):
        gather(path)
    parquet(path, audio=sounds[:2], text=[["a"], ["b"]])
    with pytest.raises(CorpusError, match=r"row 0 of train: text is .* text is expected"):
        gather(path)
    parquet(path, audio=[], text=pa.array([], pa.string()))
    with pytest.raises(CorpusError, match="there is no utterance in it"):
        gather(path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}', encoding="utf-8")
    with pytest.raises(CorpusError, match="saved: this data set cannot be read"):
        gather(tmp_path / "saved")


def test_hostile_rows(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [{"bytes": sounds[0]["bytes"], "path": "../../x.wav"}, {"bytes": b"no sound", "path": "x.tar.gz"}]
    rows += [{"bytes": b"", "path": None}, sounds[0], {"bytes": None, "path": "../../etc/a\nb"}]
    names = ["\u202eevil", "x", "y", "a\nb", "z"]
    path = parquet(tmp_path / "data.parquet", audio=rows, text=['"'] * 5, id=names)
    found = gather(path)
    assert [(one.id, one.recording) for one in found.utterances] == [
        ("\u202eevil", "all/00000000.wav"),
        ("x", "all/00000001.gz"),
        ("y", "all/00000002"),
    ]
    assert [one.reason for one in found.skipped] == ["unusable_row"] * 2
    assert not (tmp_path / "x.wav").exists() and not (tmp_path.parent / "x.wav").exists()


def test_a_place_that_cannot_be_written_is_told(sounds: list[dict[str, Any]], tmp_path: Path) -> None:
    path = parquet(tmp_path / "data.parquet", audio=sounds[:1], text=["a"])
    (tmp_path / "data.recordings").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"data\.parquet, row 0 of all: .*data\.recordings"):
        gather(path)


def test_a_name_on_the_hub_is_loaded_by_its_name(
    sounds: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets as library

    local = tmp_path / "snapshot"
    parquet(local / "xh" / "train-00000-of-00001.parquet", audio=sounds[:2], text=["a", "b"])
    elsewhere = {"bytes": None, "path": f"file://{tmp_path}/loose/3.ogg"}
    parquet(local / "xh" / "test-00000-of-00001.parquet", audio=[elsewhere], text=["c"])
    (local / "README.md").write_text(
        "---\nconfigs:\n- config_name: xh\n  data_files:\n  - split: train\n    path: xh/train-*\n"
        "  - split: test\n    path: xh/test-*\n---\n",
        encoding="utf-8",
    )
    load, asked = library.load_dataset, []

    def stand_in(path: str, name: str | None, **options: Any) -> Any:
        asked.append((path, name, options))
        return load(str(local), name, **options)

    monkeypatch.setattr(library, "load_dataset", stand_in)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert corpora.find(Path("org/speech:xh"), "datasets") == ("datasets", datasets)
    found = gather(Path("org/speech:xh"))
    assert asked == [("org/speech", "xh", {"streaming": True})]
    assert found.root == tmp_path / "cache" / "mms_adapt" / "org--speech--xh"
    assert [(one.source_split, one.recording) for one in found.utterances] == [
        ("train", "train/00000000.wav"),
        ("train", "train/00000001.flac"),
        ("test", "test/00000000.ogg"),
    ]
    assert (found.root / "test/00000000.ogg").read_bytes() == sounds[3]["bytes"]


def test_a_stream_may_say_no_types_and_may_break(
    sounds: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets as library

    def rows(breaks: bool) -> Iterator[dict[str, Any]]:
        yield {"audio": sounds[0], "text": "a", "n": 1}
        if breaks:
            raise ConnectionResetError("the network is gone")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for breaks in (False, True):
        stream = library.IterableDataset.from_generator(rows, gen_kwargs={"breaks": breaks})
        assert stream.features is None
        monkeypatch.setattr(library, "load_dataset", lambda *_, stream=stream, **__: {"train": stream})
        if breaks:
            with pytest.raises(CorpusError, match=r"org/speech, row 0 of train: the network is gone"):
                gather(Path("org/speech"))
        else:
            assert [one.recording for one in gather(Path("org/speech")).utterances] == ["train/00000000.wav"]


def test_the_hub_is_asked_only_where_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets as library

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match=r"no such folder or file .*say corpus datasets"):
        corpora.find(Path("org/speech"))
    with pytest.raises(CorpusError, match="no such folder or file"):
        corpora.find(Path("org/speech"), "table")
    with pytest.raises(CorpusError, match=r"org/speech: this data set cannot be read: .*Hub"):
        gather(Path("org/speech"))
    with pytest.raises(CorpusError, match="expected here is"):
        gather(Path("a/b/c"))
