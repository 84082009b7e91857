"""Tables: names of columns, separators, quotes, spans, parts, recordings elsewhere; what is broken."""

import shutil
import unicodedata
from pathlib import Path
from typing import Any

import layouts
import pytest
from conftest import MakeCorpus, noise
from layouts import jsonl

from mms_adapt import corpora
from mms_adapt.corpora import Skipped, table
from mms_adapt.corpora._columns import NAMES, Columns, is_part, named
from mms_adapt.corpora._places import Places
from mms_adapt.errors import CorpusError, OptionError


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """A folder with wavs/a.wav and wavs/b.wav."""
    root = tmp_path / "corpus"
    for name in "ab":
        clip = layouts.Clip(name, noise(1.0, ord(name)), "", "xho", None, None)
        clip.write(root / "wavs" / f"{name}.wav")
    return root


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding, newline="")
    return path


def rows(root: Path, target_lang: str = "xho", **options: str) -> list[tuple[Any, ...]]:
    found = corpora.gather(table, root, target_lang, options=options).utterances
    return [(one.id, one.recording, one.transcript) for one in found]


WANTED = [("wavs/a", "wavs/a.wav", "one"), ("wavs/b", "wavs/b.wav", "two")]


@pytest.mark.parametrize("audio", NAMES["recording"].split())
@pytest.mark.parametrize("text", [name.upper() for name in NAMES["transcript"].split()])
def test_usual_names_of_columns(audio: str, text: str, wavs: Path) -> None:
    path = write(wavs / "x.csv", f"n,{text},{audio}\n1,one,wavs/a.wav\n2,two,wavs/b.wav\n")
    assert corpora.find(wavs) == corpora.find(path) == ("table", table)
    assert rows(wavs) == rows(path) == WANTED


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_write(separator: str, end: str, encoding: str, wavs: Path) -> None:
    lines = ["Audio|Text|Start|End", "wavs/a.wav|one|0,1|0,5", "wavs/b.wav|ɔ|0.25|", "|||", ""]
    if separator == ",":
        lines[1] = 'wavs/a.wav|one|"0,1"|"0,5"'
    write(
        wavs / "x.csv",
        end.join(lines).replace(",", "\0").replace("|", separator).replace("\0", ","),
        encoding,
    )
    assert corpora.find(wavs)[0] == "table"
    one, two = corpora.gather(table, wavs, "xho").utterances
    assert (one.id, one.start_s, one.end_s) == ("wavs/a-0000100-0000500", 0.1, 0.5)
    assert (two.id, two.start_s, two.end_s, two.transcript) == ("wavs/b-0000250-end", 0.25, None, "ɔ")


def test_quotes_enclose_in_csv_and_are_text_in_tsv(wavs: Path) -> None:
    write(wavs / "x.csv", 'audio,text\nwavs/a.wav,"he said ""no"",\nthen"\n"wavs/b.wav",it\'s 5" wide\n')
    assert [one[2] for one in rows(wavs)] == ['he said "no",\nthen', "it's 5\" wide"]
    (wavs / "x.csv").unlink()
    write(wavs / "x.tsv", 'audio\ttext\nwavs/a.wav\t"open\nwavs/b.wav\t"a ""b\n')
    assert [one[2] for one in rows(wavs)] == ['"open', '"a ""b']


def test_quotes_are_text_beside_bars_and_enclose_beside_tabs_in_csv(wavs: Path) -> None:
    write(wavs / "metadata.csv", 'audio|text|normalised\na|"Oh," he said,|x\nb|5" wide|y\n')
    assert rows(wavs) == [
        ("wavs/a", "wavs/a.wav", '"Oh," he said,'),
        ("wavs/b", "wavs/b.wav", '5" wide'),
    ]
    write(wavs / "metadata.csv", '"audio"\t"text"\na\t"one\ttwo"\n')
    assert [one[2] for one in rows(wavs)] == ["one\ttwo"]


def test_every_field_finds_its_place(wavs: Path) -> None:
    row = {"audio": "wavs/a.wav", "text": " one ", "client_id": 7, "session": "s1", "split": "dev", "id": 12}
    row |= {"license": "CC0", "lang": "xh", "start": 0.25, "duration": 0.5, "gender": "f"}
    jsonl(wavs / "x.jsonl", [row, {"audio": {"path": "wavs/b.wav", "bytes": None}, "text": None}])
    one, two = corpora.gather(table, wavs, "xho").utterances
    assert (one.id, one.recording, one.transcript, one.speaker) == ("12", "wavs/a.wav", " one ", "7")
    assert (one.session, one.source_split, one.licence) == ("s1", "dev", "CC0")
    assert (one.start_s, one.end_s, one.target_lang) == (0.25, 0.75, "xho")
    assert (two.id, two.recording, two.transcript, two.speaker) == ("wavs/b", "wavs/b.wav", "", None)
    assert [one.id for one in table.read(wavs, "dev", target_lang="xho")] == ["12"]


def test_a_duration_alone_is_that_of_the_file(wavs: Path) -> None:
    jsonl(wavs / "x.jsonl", [{"audio_filepath": "wavs/a.wav", "duration": 1.0, "text": "x"}])
    assert [one.end_s for one in table.read(wavs, target_lang="xho")] == [None]


def test_other_languages_and_empty_cells_are_counted(wavs: Path) -> None:
    lines = ["audio,text,language", "wavs/a.wav,x,xh", "wavs/a.wav,x,Zulu", "wavs/b.wav,x,Xhosa", ",x,xho"]
    write(wavs / "x.csv", "\n".join([*lines, "wavs/b.wav,x,zu"]))
    gathered = corpora.gather(table, wavs, "xho")
    assert [one.id for one in gathered.utterances] == ["wavs/a", "wavs/b"]
    assert gathered.skipped == {
        Skipped("other_language", "Zulu"): 1,
        Skipped("other_language", "zu"): 1,
        Skipped("no_recording", "x.csv:5"): 1,
    }


def test_tables_named_by_parts(wavs: Path) -> None:
    write(wavs / "train.csv", "id,audio,text\n1,wavs/a.wav,one\n")
    write(wavs / "test.tsv", "id\taudio\ttext\n1\twavs/b.wav\ttwo\n")
    write(wavs / "notes.csv", "who,when\nann,monday\n")
    found = corpora.gather(table, wavs, "xho").utterances
    assert [(one.id, one.source_split) for one in found] == [("test/1", "test"), ("train/1", "train")]
    write(wavs / "all.csv", "audio,text\nwavs/a.wav,one\n")
    with pytest.raises(
        CorpusError, match=r"several tables \(all\.csv, test\.tsv, train\.csv\), and all\.csv"
    ):
        table.read(wavs, target_lang="xho")
    assert rows(wavs / "all.csv") == WANTED[:1]


@pytest.mark.parametrize("inside", ["", "data"])
def test_an_audiofolder_of_hugging_face(inside: str, wavs: Path) -> None:
    for part, name in (("train", "a"), ("validation", "b")):
        folder = wavs / inside / part
        folder.mkdir(parents=True)
        shutil.move(wavs / "wavs" / f"{name}.wav", folder / f"{name}.wav")
        write(folder / "metadata.csv", f"file_name,transcription\n{name}.wav,{name}{name}\n")
    assert corpora.find(wavs) == ("table", table)
    gathered = corpora.gather(table, wavs, "xho")
    assert [(one.transcript, one.source_split) for one in gathered.utterances] == [
        ("aa", "train"),
        ("bb", "validation"),
    ]
    assert gathered.root == wavs
    assert all((wavs / one.recording).is_file() for one in gathered.utterances)


def test_recordings_are_looked_for_where_they_usually_are(wavs: Path) -> None:
    write(wavs / "x.csv", "path,sentence\na.wav,one\nb,two\n")
    assert rows(wavs) == WANTED
    write(wavs / "x.csv", "path,sentence\nC:\\Users\\me\\corpus\\wavs\\a.wav,one\nwavs\\b.wav,two\n")
    assert rows(wavs) == WANTED
    write(wavs / "x.csv", "path,sentence\n/home/me/corpus/wavs/a.wav,one\n./wavs/../wavs/b.wav,two\n")
    assert rows(wavs) == WANTED


def test_recordings_elsewhere(wavs: Path, tmp_path: Path) -> None:
    other = tmp_path / "tables" / "x.csv"
    other.parent.mkdir()
    write(other, f"path,sentence\n{wavs}/wavs/a.wav,one\n../corpus/wavs/b.wav,two\n../gone/c.wav,three\n")
    gathered = corpora.gather(table, other, "xho")
    assert gathered.root == wavs / "wavs"
    gone = (tmp_path / "gone" / "c.wav").as_posix().lstrip("/")
    assert [one.recording for one in gathered.utterances] == ["a.wav", "b.wav", gone]
    assert not (gathered.root / gone).exists()


def test_missing_recordings_keep_their_names(wavs: Path) -> None:
    write(wavs / "x.csv", "path,sentence\nwavs/a.wav,one\nwavs/gone.wav,two\n")
    assert [one[1] for one in rows(wavs)] == ["wavs/a.wav", "wavs/gone.wav"]


def test_recordings_are_found_whatever_their_capitals_and_accents(wavs: Path) -> None:
    (wavs / "wavs" / "a.wav").rename(wavs / "wavs" / unicodedata.normalize("NFD", "Tóne.WAV"))
    write(wavs / "x.csv", unicodedata.normalize("NFC", "path,sentence\nwavs/tóne.wav,one\nwavs/b.wav,two\n"))
    assert [unicodedata.normalize("NFC", one[1]) for one in rows(wavs)] == ["wavs/Tóne.WAV", "wavs/b.wav"]
    (wavs / "wavs" / unicodedata.normalize("NFD", "tóne.Wav")).write_bytes(b"")  # two that it may be are none
    assert [one[1] for one in rows(wavs)] == ["wavs/tóne.wav", "wavs/b.wav"]


def test_line_ends_of_old_macs_are_line_ends(wavs: Path) -> None:
    (wavs / "x.csv").write_bytes(b"\xef\xbb\xbfpath,sentence\rwavs/a.wav,one\rwavs/b.wav,two\r")
    assert rows(wavs) == WANTED


def test_columns_may_be_named(wavs: Path) -> None:
    path = write(wavs / "x.csv", "Datei,Satz,text,Wer\nwavs/a.wav,one,eins,ann\nwavs/b.wav,two,zwei,\n")
    with pytest.raises(CorpusError, match=r"x\.csv: no column is the recording by its name"):
        corpora.find(wavs)
    named = {"recording": "Datei", "transcript": "Satz", "speaker": "Wer"}
    assert rows(wavs, **named) == rows(path, **named) == WANTED
    found = corpora.gather(table, path, "xho", options=named).utterances
    assert [one.speaker for one in found] == ["ann", None]
    with pytest.raises(OptionError, match=r"corpus option speaker='Who': .*'Datei', 'Satz', 'text', 'Wer'"):
        rows(path, **{**named, "speaker": "Who"})
    with pytest.raises(CorpusError, match=r"x\.csv: no column is the recording by its name; .*'Datei'"):
        rows(path)


def test_two_columns_for_one_thing_are_told(wavs: Path) -> None:
    write(wavs / "x.csv", "path,sentence,text\nwavs/a.wav,one,eins\n")
    with pytest.raises(CorpusError, match=r"'sentence' and 'text' may be the transcript; .*transcript=NAME"):
        rows(wavs)
    assert rows(wavs, transcript="text") == [("wavs/a", "wavs/a.wav", "eins")]
    write(wavs / "x.csv", "path,audio,text\nnothing,wavs/a.wav,one\n")  # audio outweighs
    assert rows(wavs) == WANTED[:1]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("x.csv", "audio,text\nwavs/a.wav\n", r"x\.csv:2: 1 cells, and the first line names 2 columns"),
        ("x.csv", "audio,text\nwavs/a.wav,a,b\n", r"x\.csv:2: 3 cells"),
        ("x.csv", 'audio,text\nwavs/a.wav,x\nwavs/b.wav,"a\n\nb\n', r"x\.csv:3: .* quote that is not closed"),
        ("x.csv", 'audio,text\nwavs/a.wav,"a"b\n', r"x\.csv:2: .* quote"),
        ("x.csv", "audio,text,start\nwavs/a.wav,x,0:30\n", r"x\.csv:2: start is '0:30': give a number"),
        ("x.csv", "audio,text\nwavs/a.wav,x\nwavs/a.wav,y\n", r"x\.csv:3: id 'wavs/a' stands in .*x\.csv:2"),
        ("x.tsv", "audio\ttext\nwavs/a.wav\tx\ty\n", r"x\.tsv:2: 3 cells"),
        ("x.jsonl", '{"audio": "a", "text": "x"}\n{"audio"\n', r"x\.jsonl:2: this is not JSON"),
        ("x.jsonl", '{"audio": "a", "text": "x"}\n[1]\n', r"x\.jsonl:2: this is not a JSON object"),
        ("x.jsonl", '{"audio": "a", "text": 5}\n', r"x\.jsonl:1: text is '5': text is expected"),
        ("x.jsonl", '{"audio": ["a"], "text": "x"}\n', r"x\.jsonl:1: audio is .* text is expected"),
        ("x.jsonl", '{"audio": "a", "text": "x", "end": true}\n', r"x\.jsonl:1: end is 'True'"),
    ],
)
def test_a_broken_row_is_named(name: str, text: str, what: str, wavs: Path) -> None:
    write(wavs / name, text)
    assert corpora.find(wavs)[0] == "table"
    with pytest.raises(CorpusError, match=what):
        rows(wavs)


def test_another_encoding_is_told(wavs: Path) -> None:
    write(wavs / "x.csv", "audio,text\nwavs/a.wav,Çà\n", "latin-1")
    with pytest.raises(CorpusError, match=r"x\.csv:2: byte 12 is not UTF-8; save the file in UTF-8"):
        rows(wavs)
    (wavs / "x.csv").write_bytes("audio,text\nwavs/a.wav,x\n".encode("utf-16")[:-1])
    with pytest.raises(CorpusError, match=r"x\.csv: this is not utf-16-le to its end"):
        rows(wavs)


def test_hostile_names(wavs: Path) -> None:
    lines = [
        {"audio": "wavs/a.wav", "text": "x", "id": "\u202eevil\u202c \"'", "speaker": "<b>\u202e"},
        {"audio": "wavs/a\nb.wav", "text": "x", "id": "2"},
        {"audio": "wavs/a.wav", "text": "x", "id": "a\x1b[31m"},
        {"audio": "wavs/\ud800.wav", "text": "x", "id": "4"},
        {"audio": "wavs/a.wav", "text": "x", "id": "5", "start": 2, "end": 1},
        {"audio": "../" * 20 + "etc/passwd.wav", "text": "x", "id": "6"},
        {"audio": "x" * 5000, "text": "x", "id": "7"},
        {"audio": "nul\0.wav", "text": "x", "id": "8"},
    ]
    (wavs / "x.jsonl").write_text("\n".join(map(layouts.json.dumps, lines)), encoding="utf-8")
    gathered = corpora.gather(table, wavs, "xho")
    assert [one.id for one in gathered.utterances] == ["\u202eevil\u202c \"'", "6", "7"]
    assert gathered.utterances[1].recording == "etc/passwd.wav" and gathered.root == wavs
    assert sorted(one.detail.partition(": ")[0] for one in gathered.skipped) == [
        f"x.jsonl:{number}" for number in (2, 3, 4, 5, 8)
    ]


def test_an_empty_table_is_told(wavs: Path) -> None:
    write(wavs / "x.csv", "audio,text\n")
    with pytest.raises(CorpusError, match="there is no utterance in it"):
        rows(wavs)
    write(wavs / "x.csv", "")
    assert not table.recognise(wavs) and not table.recognise(wavs / "x.csv")


def test_tables_of_other_layouts_are_left_to_them(make_corpus: MakeCorpus) -> None:
    spans = make_corpus([{}, {}])
    assert not table.recognise(spans) and corpora.find(spans / "utterances.jsonl")[0] == "spans"
    assert not table.recognise(layouts.common_voice(spans))
    assert not table.recognise(layouts.fleurs(spans))


def test_a_table_of_common_voice_alone(make_corpus: MakeCorpus) -> None:
    root = layouts.common_voice(make_corpus([{"source_split": "train", "speaker": "ann"}, {}]))
    assert corpora.find(root / "train.tsv") == ("table", table)
    gathered = corpora.gather(table, root / "train.tsv", "xho")
    assert [(one.recording, one.speaker) for one in gathered.utterances] == [
        ("clips/common_voice_xh_000.mp3", "ann")
    ]


def test_names_of_parts() -> None:
    parts = [
        "train",
        "Train-clean-5",
        "dev",
        "valid",
        "validation",
        "val_1",
        "TEST",
        "test.other",
        "evaluation",
    ]
    assert all(map(is_part, parts))
    assert not any(map(is_part, ["", "trainer", "all", "latest", "devon", "audio", "metadata", "t"]))


def test_ids_of_rows_without() -> None:
    assert named("a/b.c.wav", None, None) == "a/b.c"
    assert named("a.wav", 0.0, 12.3456) == "a-0000000-0012346" and named("a.wav", None, 1.0).startswith("a-")
    assert named(".", None, None) == "." and named("a.d/b", None, None) == "a.d/b"


def test_columns_need_recordings_and_transcripts() -> None:
    assert Columns.fit(["Audio", " text "]) and not Columns.fit(["audio", "txt"]) and not Columns.fit([])


def test_a_place_is_found_once(wavs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places([wavs])
    found = places.find("wavs/a.wav")
    monkeypatch.setattr("os.path.isfile", lambda path: False)
    assert places.find("wavs/a.wav") == found and places.root(wavs.parent) == wavs.parent
