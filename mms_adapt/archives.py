"""Archives as downloaded, extracted once into a folder beside them.

In: a .tar.gz, .tgz, .tar or .zip file from anywhere. Out: a folder of plain files and folders, which appears
whole or not at all and is found again the next time. An archive that would write elsewhere, holds links or
devices, or becomes far larger than it is, is refused as a whole. It does not know corpora.
"""

import gzip
import hashlib
import json
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import IO

from mms_adapt import files
from mms_adapt.errors import CorpusError

Progress = Callable[..., None]
SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
MARK = ".extracted.json"
_ENDS = 1 << 16  # bytes of both ends that tell archives apart: the checksums stand there
_CHUNK = 1 << 20
_HEADERS = 1 << 20  # what the headers of one member of a tar may take, with what is read ahead
_BLOCK = 512
_LOCKED = 1  # a flag of a zip's member
_AHEAD = tarfile.RECORDSIZE


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may become.

    Attributes:
        member_count: Files and folders.
        byte_count: Size of all files together.
        ratio: That size in multiples of the archive's own. Sound hardly shrinks, text to a tenth.
        small_byte_count: Up to this size the ratio does not matter; silence and tables shrink to nothing.
        free_byte_count: What must stay free on the disk.
    """

    member_count: int = 10_000_000
    byte_count: int = 500 << 30
    ratio: float = 100.0
    small_byte_count: int = 256 << 20
    free_byte_count: int = 256 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an archive: its name, whether it is a folder, and what its file holds."""

    name: str
    is_folder: bool
    content: IO[bytes] | None


def is_archive(path: Path) -> bool:
    """Tell whether this is a file whose name is an archive's."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def stem(name: str) -> str:
    """Return an archive's name without its ending.

    >>> stem("cv-corpus-17.0-tw.tar.gz")
    'cv-corpus-17.0-tw'
    """
    ending = next((one for one in SUFFIXES if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)] or name


def extract(
    archive: str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Path:
    """Extract an archive, or find what was extracted before.

    Args:
        archive: The file.
        folder: Where to; beside the archive, with its name and ".extracted", where not given.
        limits: What it may become.
        progress: Called with ("extract", done, total, note) now and then, in MB of the archive.

    Returns:
        The folder.

    Raises:
        CorpusError: If it is damaged, cut short or not to be trusted, or the folder cannot be written or
            holds something else.
    """
    archive = Path(archive)
    folder = Path(folder) if folder is not None else archive.with_name(f"{stem(archive.name)}.extracted")
    try:
        seal = _seal(archive)
        if folder.exists():
            _check_seal(folder, archive, seal)
            return folder
        with files.new_folder(folder) as unfinished:
            budget = _Budget(archive, unfinished, limits or Limits(), progress)
            for member in _members(archive, budget):
                _write(member, unfinished, budget)
            (unfinished / MARK).write_text(json.dumps(seal), encoding="utf-8")
        return folder
    except _DAMAGED as error:
        raise CorpusError(
            f"{archive} is cut short, damaged or no archive ({error}); download it again"
        ) from error
    except OSError as error:
        raise CorpusError(
            f"{archive} cannot be extracted into {folder}: {error.strerror or error}; extract it yourself to "
            "where you can write, and give that folder"
        ) from error


_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    UnicodeError,
    NotImplementedError,  # a zip's way to compress
)


class _Budget:
    """What may still be written, and how far the archive is read."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, progress: Progress | None) -> None:
        self.archive, self.limits, self.progress = archive, limits, progress
        self.size = archive.stat().st_size
        free = max(0, shutil.disk_usage(folder).free - limits.free_byte_count)
        bounds = [
            (limits.byte_count, f"more than {limits.byte_count:,} bytes"),
            (
                max(round(limits.ratio * self.size), limits.small_byte_count),
                f"more than {limits.ratio:g} times its own size, as no recordings do",
            ),
            (free, f"more than the {free:,} bytes that are free on this disk"),
        ]
        self.left, self._why = min(bounds)
        self.member_count = 0

    def member(self, place: int) -> None:
        """Take one member, at so many bytes of the archive."""
        self.member_count += 1
        if self.member_count > self.limits.member_count:
            raise self.refusal(f"it has more than {self.limits.member_count:,} members")
        if self.progress and self.member_count % 500 == 1:
            self.progress("extract", place >> 20, self.size >> 20, "MB")

    def take(self, byte_count: int) -> None:
        """Take bytes to be written or held."""
        self.left -= byte_count
        if self.left < 0:
            raise self.refusal(f"it becomes {self._why}")

    def refusal(self, why: str) -> CorpusError:
        """Return the error that says why this archive is not extracted."""
        return CorpusError(
            f"{self.archive} is not extracted: {why}; where you trust it, extract it yourself and give the "
            "folder"
        )


def _members(archive: Path, budget: _Budget) -> Iterator[_Member]:
    """Return the members one by one; each is to be read before the next."""
    if archive.name.lower().endswith(".zip"):
        return _zip_members(archive, budget)
    return _tar_members(archive, budget)


def _zip_members(archive: Path, budget: _Budget) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            budget.member(info.header_offset)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "neither a file nor a folder"
                raise budget.refusal(f"{info.filename!r} is {what}")
            if info.flag_bits & _LOCKED:
                raise budget.refusal(f"{info.filename!r} wants a password")
            if info.is_dir():
                yield _Member(info.filename, True, None)
                continue
            with packed.open(info) as content:
                yield _Member(info.filename, False, content)


class _Metered:
    """The stream inside a tar, which may be read only so far before somebody allows more.

    Attributes:
        left: How much may be read; a tar's headers are held in memory.
        count: How much was read.
        tail: The last of it.
    """

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream, self._budget = stream, budget
        self.left, self.count, self.tail = _HEADERS, 0, b""

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(size)
        self.left -= len(data)
        self.count += len(data)
        self.tail = (self.tail + data)[-2 * _AHEAD :]
        if self.left < 0:
            raise self._budget.refusal(f"the header of a member takes more than {_HEADERS:,} bytes")
        return data


def _tar_members(archive: Path, budget: _Budget) -> Iterator[_Member]:
    with archive.open("rb") as raw:
        packed = not archive.name.lower().endswith(".tar")
        plain: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
        stream = _Metered(plain, budget)
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
            while True:
                stream.left = _HEADERS
                member = tar.next()
                if member is None:
                    break
                tar.members.clear()  # or it holds them all: millions
                budget.member(raw.tell())
                if not (member.isreg() or member.isdir()) or member.issparse() or member.size < 0:
                    what = "a link" if member.islnk() or member.issym() else "neither a file nor a folder"
                    raise budget.refusal(f"{member.name!r} is {what}")
                stream.left = member.size + _HEADERS
                yield _Member(member.name, member.isdir(), tar.extractfile(member))
            _check_end(stream, plain, tar.offset)


def _check_end(stream: _Metered, plain: IO[bytes], offset: int) -> None:
    """Complain where a tar does not end with zeros, which its reader takes for an end all the same."""
    after = stream.tail[len(stream.tail) - (stream.count - offset) :] if stream.count > offset else b""
    if len(after) < _BLOCK or after.strip(b"\0"):
        raise tarfile.ReadError("it has no proper end")
    while rest := plain.read(_CHUNK):  # a gzip's checksum stands behind all of it
        if rest.strip(b"\0"):
            raise tarfile.ReadError("something follows its end")


def _write(member: _Member, folder: Path, budget: _Budget) -> None:
    """Write a member below a folder that holds nothing but what this module wrote."""
    name = member.name
    parts = PurePosixPath(name).parts
    outside = re.match(r"/|[A-Za-z]:", name) or ".." in parts
    if outside or "\\" in name or "\0" in name or not (parts or member.is_folder):
        raise budget.refusal(f"{name!r} is no path inside it")
    target = folder.joinpath(*parts)
    try:
        if member.is_folder or member.content is None:
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := member.content.read(_CHUNK):
                budget.take(len(chunk))
                file.write(chunk)
    except (FileExistsError, NotADirectoryError) as error:
        raise budget.refusal(f"{name!r} comes twice") from error


def _seal(archive: Path) -> dict[str, str | int]:
    """Return what tells an archive from others of its name, without reading it all."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        ends = file.read(_ENDS)
        file.seek(max(0, size - _ENDS))
        ends += file.read()
    return {"archive": archive.name, "byte_count": size, "ends_sha256": hashlib.sha256(ends).hexdigest()}


def _check_seal(folder: Path, archive: Path, seal: dict[str, str | int]) -> None:
    """Complain where a folder was not extracted from this very archive."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or {**found, "archive": ""} != {**seal, "archive": ""}:
        what = "from another state of this archive" if found else "by something else"
        raise CorpusError(
            f"{folder} was written {what}; remove it to have {archive.name} extracted, or give the folder as "
            "the source"
        )
