"""Data sets of Hugging Face: what `save_to_disk` wrote, parquet files, or a name on the hub.

In: a folder that `save_to_disk` wrote, a .parquet file or a folder of them, or a name such as "org/name" or
"org/name:config", which is downloaded. Out: an utterance for every row. A part is a key of the data set or
what stands before the number in a file's name ("train-00000-of-00002.parquet").

Columns are known as in tables; the recording is the one column of sounds. Sounds inside the data set are
written once, undecoded, to a folder beside it whose name ends in ".recordings" (those of the hub to the
user's cache), so that they can be read by span; sounds that are files elsewhere are linked to from there.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_adapt.corpora import Reading, Skipped, sifted
from mms_adapt.corpora._columns import Columns, is_part
from mms_adapt.corpora._places import Places
from mms_adapt.errors import CorpusError, MmsAdaptError
from mms_adapt.manifest import Utterance

DESCRIPTION = (
    "a Hugging Face data set: a folder that save_to_disk wrote, parquet files, or (with --corpus datasets) a "
    "name on the hub such as org/name or org/name:config"
)
FILES = (".parquet",)
HUB = True
_SAVED = ("dataset_dict.json", "state.json")
_ROWS = 16  # read at a time; a sound may take a megabyte
_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_HEADS = {b"RIFF": ".wav", b"RF64": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"FORM": ".aiff"}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one part, or of a file of it.

    Attributes:
        part: Its name; None where nobody says.
        place: Where they are, for errors.
        names: The columns.
        sounds: Those that hold sounds.
        values: The rows; sounds are not decoded.
    """

    part: str | None
    place: str
    names: list[str]
    sounds: list[str]
    values: Iterable[Mapping[str, Any]]


def recognise(root: Path) -> bool:
    """Tell whether this is a parquet file, or a folder of them or from `save_to_disk`, by names alone."""
    root = Path(root)
    if root.is_file():
        return root.name.endswith(FILES)
    return any((root / name).is_file() for name in _SAVED) or bool(_parquet_files(root))


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
        root: The folder or file, or the name on the hub.
        split: Only this part.
        target_lang: The language; rows that say another one are counted and passed over.
        recording: The column of the recording.
        transcript: The column of the transcript.
        speaker: The column of the speaker.

    Raises:
        CorpusError: If there is no data set, or it cannot be read or downloaded.
        OptionError: If there is no column of that name.
    """
    root = Path(root)
    given = {"recording": recording, "transcript": transcript, "speaker": speaker}
    named = {what: name for what, name in given.items() if name is not None}
    on_hub = not root.exists() and bool(_NAME.fullmatch(root.as_posix()))
    if not (on_hub or recognise(root)):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is none of these")
    folder = _folder(root, on_hub=on_hub)
    try:
        parts = _hub(root.as_posix()) if on_hub else _saved(root) or _parquet(root)
    except (OSError, ValueError, RuntimeError) as error:  # the last: it would want to run a script
        raise CorpusError(f"{root}: this data set cannot be read: {error}") from error
    kept = _Kept(folder, root, on_hub=on_hub)
    return Reading(_rows(parts, kept, named, split, target_lang), folder)


def _folder(root: Path, *, on_hub: bool) -> Path:
    """Return the folder for sounds."""
    if on_hub:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "mms_adapt" / re.sub(r"[/:]", "--", root.as_posix())
    root = Path(os.path.abspath(root))
    return root.with_name(f"{root.stem if root.is_file() else root.name}.recordings")


def _parquet_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = sorted(path for glob in ("*", "*/*") for path in root.glob(f"{glob}.parquet") if path.is_file())
    return [path for path in found if not path.relative_to(root).as_posix().startswith(".")]


def _parquet(root: Path) -> Iterator[_Rows]:
    import pyarrow.parquet

    for path in _parquet_files(root):
        name = re.sub(r"-\d+-of-\d+.*", "", path.stem)
        inside = path.parent.name if path.parent not in (root, root.parent) else ""
        part = next((one for one in (name, inside) if is_part(one)), None)
        try:
            file = pyarrow.parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise CorpusError(f"{path}: this is no whole parquet file: {error}") from error
        rows = (row for batch in file.iter_batches(_ROWS) for row in batch.to_pylist())
        yield _Rows(part, str(path), file.schema_arrow.names, _sounds(file.schema_arrow), rows)


def _saved(root: Path) -> Iterator[_Rows] | None:
    """Return the parts that `save_to_disk` wrote, None where it did not."""
    if not any((root / name).is_file() for name in _SAVED):
        return None
    from datasets import DatasetDict, load_from_disk

    found = load_from_disk(str(root))
    parts = found if isinstance(found, DatasetDict) else {found.split and str(found.split): found}
    return (_undecoded(part, f"{root}", one) for part, one in parts.items())


def _hub(name: str) -> Iterator[_Rows]:
    from datasets import load_dataset

    path, _, config = name.partition(":")
    parts = load_dataset(path, config or None, streaming=True)
    return (_undecoded(part, name, one) for part, one in parts.items())


def _undecoded(part: str | None, place: str, found: Any) -> _Rows:
    """Return a part of a data set, its sounds as bytes and paths."""
    from datasets import Audio

    if found.features is None:  # streamed from a format that does not say them
        first: Mapping[str, Any] = next(iter(found), {})
        sounds = [name for name, value in first.items() if isinstance(value, dict) and "bytes" in value]
        return _Rows(part, place, list(first), sounds, found)
    for name, feature in list(found.features.items()):
        if isinstance(feature, Audio):
            found = found.cast_column(name, Audio(decode=False))
    return _Rows(part, place, list(found.features), _sounds(found.features.arrow_schema), found)


def _sounds(schema: Any) -> list[str]:
    """Return the columns of a schema of Arrow that hold sounds: bytes with a path."""
    import pyarrow

    return [
        one.name
        for one in schema
        if pyarrow.types.is_struct(one.type) and {"bytes", "path"} <= {each.name for each in one.type}
    ]


class _Kept:
    """Writes sounds to a folder, each once.

    Args:
        folder: The folder.
        root: The data set, beside which its files may be.
        on_hub: Whether its files may have to be downloaded.

    Attributes:
        on_hub: The same.
    """

    def __init__(self, folder: Path, root: Path, *, on_hub: bool) -> None:
        beside = root if root.is_dir() else root.parent
        self._folder, self._places, self.on_hub = folder, Places([beside]), on_hub

    def keep(self, sound: object, name: str) -> str | None:
        """Write or link a sound; return its path in the folder, None where there is nothing.

        Raises:
            OSError: If it cannot be written or downloaded.
        """
        data, path = sound if isinstance(sound, bytes) else None, sound if isinstance(sound, str) else None
        if isinstance(sound, dict):
            data, path = sound.get("bytes"), sound.get("path")
        if data is None and path and self.on_hub and "://" in path:
            import fsspec

            with fsspec.open(path, "rb") as file:
                data = file.read()
        if data is not None:
            return self._write(data, f"{name}{_suffix(data, path)}")
        if not path:
            return None
        found = self._places.find(path)
        if not found.is_file():
            return self._places.recording(path, self._folder)
        return self._link(found, f"{name}{found.suffix}")

    def _write(self, data: bytes, recording: str) -> str:
        target = self._folder / recording
        if not (target.is_file() and not target.is_symlink() and target.read_bytes() == data):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                unfinished.write_bytes(data)
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)
        return recording

    def _link(self, found: Path, recording: str) -> str:
        target = self._folder / recording
        if not (target.is_symlink() and Path(os.readlink(target)) == found):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(found)
        return recording


def _suffix(data: bytes, path: str | None) -> str:
    """Return the ending that suits a file's first bytes, else the one that its name had."""
    if data[4:8] == b"ftyp":
        return ".m4a"
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] >= 0xE0):
        return ".mp3"
    named = re.search(r"\.[A-Za-z0-9]{1,5}$", path or "")
    return _HEADS.get(data[:4], named[0].lower() if named else "")


def _rows(
    parts: Iterable[_Rows], kept: _Kept, named: Mapping[str, str], split: str | None, target_lang: str
) -> Iterator[Utterance | Skipped]:
    count: Counter[str] = Counter()
    seen: set[str] = set()
    for one in parts:
        sounds = {"recording": one.sounds[0]} if len(one.sounds) == 1 else {}
        folder = one.part or "all"
        place = one.place
        try:
            columns = Columns.of(one.names, **(sounds | dict(named)))
            for row in one.values:
                number, count[folder] = count[folder], count[folder] + 1
                place = f"{one.place}, row {number} of {folder}"
                if passed_over := columns.other_language(row, target_lang):
                    yield passed_over
                    continue
                part = columns.part(row) or one.part
                if split not in (None, part):
                    yield Skipped("other_split", part or "none")
                    continue
                name = f"{_plain(folder)}/{number:08d}"
                recording = kept.keep(row.get(columns.names["recording"]), name) or name
                utterance = columns.utterance(
                    row, recording=recording, target_lang=target_lang, part=one.part, inside=one.part or ""
                )
                if utterance.id in seen:
                    raise ValueError(f"id {utterance.id!r} comes twice; give every row its own")
                seen.add(utterance.id)
                yield sifted(utterance, split, place)
        except MmsAdaptError:
            raise
        except Exception as error:
            if isinstance(error, OSError | ValueError) or kept.on_hub:  # a network fails in many ways
                raise CorpusError(f"{place}: {error}") from error
            raise


def _plain(name: str) -> str:
    """Return a part's name as it may stand in a path."""
    return re.sub(r"[^\w.-]|^\.", "_", name)
