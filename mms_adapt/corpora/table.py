"""Tables with named columns: CSV, TSV or JSON lines, one utterance a row.

In: a table, or a folder with one, with several that are named by parts ("train.csv", "test.csv"), or with
`metadata.csv` in folders of parts, as Hugging Face's AudioFolder has it. Out: an utterance for every row.

Columns are known by their usual names (`_columns.NAMES`); options name the recording, the transcript and the
speaker where they are called otherwise. In CSV, quotes enclose cells as in RFC 4180, and the separator is the
one that makes sense of the first line; in TSV, and beside bars, quotes are characters. Recordings are looked
for beside the table, in usual folders of sound there, and where absolute paths say.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_adapt.corpora import Reading, Skipped, _lines, common_voice, sifted, spans
from mms_adapt.corpora._columns import Columns, is_part
from mms_adapt.corpora._places import Places
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance

DESCRIPTION = (
    "a table (.csv, .tsv, .jsonl) or a folder of tables, whose first line names columns for the recording "
    "(audio, path, file_name …) and the transcript (transcript, sentence, text …)"
)
FILES = (".csv", ".tsv", ".jsonl")
METADATA = "metadata"
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_SEPARATORS = ",;\t|"
_BESIDE = ("", "clips", "audio", "audios", "wav", "wavs", "recordings")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that was read.

    Attributes:
        path: The file.
        part: The part of the corpus's own division that it is.
        columns: What its columns hold.
        rows: The number of its line and the values of each row.
    """

    path: Path
    part: str | None
    columns: Columns
    rows: list[tuple[int, Mapping[str, Any]]]


def recognise(root: Path) -> bool:
    """Tell whether this is a table or a folder with one, by first lines alone."""
    root = Path(root)
    if root.is_file():
        return root.name != spans.MANIFEST and _is_table(root)
    return not (spans.recognise(root) or common_voice.recognise(root)) and bool(_tables(root))


def complaint(root: Path) -> str:
    """Say what is wrong with the first that looks like a table, or is a spreadsheet; "" where none does."""
    held = sorted(path for path in root.iterdir() if path.is_file()) if root.is_dir() else [root]
    for path in held:
        if _is_named(path) and path.name != spans.MANIFEST and not path.name.lower().endswith(".jsonl"):
            if not _lines.first_line(path).strip():
                return f"{path}: its first line is empty; names of columns are expected there"
            try:
                next(_lines.lines(path))
                Columns.of(_header(path))
            except CorpusError as error:
                return str(error)
            except ValueError as error:
                return f"{path}: {error}, and --corpus table"
    sheets = [path for path in held if path.suffix.lower() in _SHEETS]
    return f"{sheets[0]}: this is a spreadsheet; save it as CSV in UTF-8, and give that" if sheets else ""


def read(
    root: Path,
    split: str | None = None,
    *,
    target_lang: str,
    recording: str | None = None,
    transcript: str | None = None,
    speaker: str | None = None,
) -> Reading:
    """Read the rows of one language.

    Args:
        root: The table, or the folder of tables.
        split: Only this part.
        target_lang: The language; rows that say another one are counted and passed over.
        recording: The column of the recording.
        transcript: The column of the transcript.
        speaker: The column of the speaker.

    Raises:
        CorpusError: If there is no table, several do not say which parts they are, or one cannot be read.
        OptionError: If there is no column of that name.
    """
    root = Path(root)
    given = {"recording": recording, "transcript": transcript, "speaker": speaker}
    named = {what: name for what, name in given.items() if name is not None}
    files = [(root, None)] if root.is_file() else _tables(root, named.values())
    if not files:
        raise CorpusError(
            complaint(root) or f"{root}: expected here is {DESCRIPTION}; there is no such table"
        )
    if len(files) > 1 and (strange := [path for path, part in files if part is None]):
        others = ", ".join(path.name for path, _ in files)
        raise CorpusError(
            f"{root} has several tables ({others}), and {strange[0].name} is not named by a part such as "
            "train, dev or test; give the table that is meant instead of the folder"
        )
    tables = [_load(path, part, named) for path, part in files]
    places = Places(folder for one in tables for folder in _beside(one.path, root))
    for one in tables:
        for number, row in one.rows:
            if name := _valued(one, number, row):
                places.find(name)
    base = places.root(root if root.is_dir() else root.parent)
    return Reading(_rows(tables, places, base, split, target_lang), base)


def _tables(root: Path, named: Iterable[str] = ()) -> list[tuple[Path, str | None]]:
    """Return the tables of a folder with the parts that they are: of usual columns, or of those named."""
    if not root.is_dir():
        return []
    wanted = set(named)

    def here(folder: Path) -> list[Path]:
        found = sorted(path for path in folder.iterdir() if path.is_file() and _is_named(path))
        return [path for path in found if _is_table(path) or (wanted and wanted <= set(_header(path)))]

    if found := here(root):
        parts = [path.stem if is_part(path.stem) else None for path in found]
        return list(zip(found, parts if len(found) > 1 else [None], strict=True))
    inner = [one for one in sorted(root.glob("*/")) + sorted(root.glob("data/*/")) if is_part(one.name)]
    return [(path, one.name) for one in inner for path in here(one) if path.stem == METADATA]


def _is_named(path: Path) -> bool:
    return path.name.lower().endswith(FILES) and not path.name.startswith(".")


def _is_table(path: Path) -> bool:
    return _is_named(path) and Columns.fit(_header(path))


def _header(path: Path) -> list[str]:
    """Return the names of a table's columns, none where the first line is none of names."""
    line = _lines.first_line(path)
    if path.suffix.lower() == ".jsonl":
        try:
            first = json.loads(line)
        except (ValueError, RecursionError):
            return []
        return list(first) if isinstance(first, dict) else []
    separator = _separator(path, line)
    if _bare(path, separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _bare(path: Path, separator: str) -> bool:
    """Tell whether quotes are characters: in TSV, and beside bars, which texts full of quotes come with."""
    return path.suffix.lower() == ".tsv" or separator == "|"


def _separator(path: Path, header: str) -> str:
    """Return what stands between the cells: in CSV, what makes sense of the header."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    bare = header.replace('"', "")
    return next(
        (one for one in _SEPARATORS if Columns.fit(bare.split(one))), max(_SEPARATORS, key=header.count)
    )


def _load(path: Path, part: str | None, named: Mapping[str, str]) -> _Table:
    rows = list(_json(path) if path.suffix.lower() == ".jsonl" else _cells(path))
    found = dict.fromkeys(name for _, row in rows for name in row) if rows else _header(path)
    try:
        return _Table(path, part, Columns.of(found, **named), rows)
    except ValueError as error:
        raise CorpusError(f"{path}: {error}") from error


def _json(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines.lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}:{number}: this is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}:{number}: this is not a JSON object in braces")
        yield number, row


def _cells(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header: list[str] = []
    for number, cells in _split(path):
        if not any(map(str.strip, cells)):
            continue
        if not header:
            header = cells
            continue
        if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
            raise CorpusError(
                f"{path}:{number}: {len(cells)} cells, and the first line names {len(header)} columns; look "
                "for quotes or separators inside a cell"
            )
        yield number, dict(zip(header, cells, strict=False))


def _split(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Return the cells of each row with the line that it begins in."""
    separator = _separator(path, _lines.first_line(path))
    if _bare(path, separator):
        yield from ((number, line.split(separator)) for number, line in _lines.lines(path))
        return
    lines = (f"{line}\n" for _, line in _lines.lines(path))
    reader = csv.reader(lines, delimiter=separator, strict=True)
    began = 1
    try:
        for cells in reader:
            yield began, cells
            began = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}:{began}: {error}; look for a quote that is not closed") from error


def _beside(path: Path, root: Path) -> list[Path]:
    """Return the folders where the recordings of a table may be."""
    folders = dict.fromkeys([path.parent, root if root.is_dir() else root.parent])
    return [folder / name for folder in folders for name in _BESIDE if (folder / name).is_dir()]


def _valued(table: _Table, number: int, row: Mapping[str, Any]) -> str | None:
    try:
        return table.columns.recording(row)
    except ValueError as error:
        raise CorpusError(f"{table.path}:{number}: {error}") from error


def _rows(
    tables: list[_Table], places: Places, base: Path, split: str | None, target_lang: str
) -> Iterator[Utterance | Skipped]:
    seen: dict[str, str] = {}
    for table in tables:
        inside = table.part if len(tables) > 1 and table.part else ""
        for number, row in table.rows:
            place = f"{table.path}:{number}"
            try:
                if passed_over := table.columns.other_language(row, target_lang):
                    yield passed_over
                    continue
                if (name := table.columns.recording(row)) is None:
                    yield Skipped("no_recording", f"{table.path.name}:{number}")
                    continue
                one = table.columns.utterance(
                    row,
                    recording=places.recording(name, base),
                    target_lang=target_lang,
                    part=table.part,
                    inside=inside,
                )
            except ValueError as error:
                raise CorpusError(f"{place}: {error}") from error
            if first := seen.get(one.id):
                raise CorpusError(f"{place}: id {one.id!r} stands in {first} already; give every row its own")
            seen[one.id] = place
            yield sifted(one, split, f"{table.path.name}:{number}")
