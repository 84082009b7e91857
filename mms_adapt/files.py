"""Files and folders that are whole or not there at all.

In: names and bytes. Out: files on the disk, not only in its cache. It does not know what they mean.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_STREAM = re.compile(r"/(proc|dev/fd)/|/dev/std(out|err)$")
_being_filled: set[Path] = set()


def write(path: Path, content: bytes | str) -> None:
    """Write a file: a reader finds the old one or the new one, never a part. Its folder is made if needed.

    Where it is a link, what it leads to is written. A device, a pipe and what a process has open are written
    into as they are.
    """
    write_pieces(path, [content.encode("utf-8") if isinstance(content, str) else content])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file piece by piece, as `write` does, so that it need not be in memory as a whole."""
    if (path.exists() and not (path.is_file() or path.is_dir())) or _STREAM.match(os.path.abspath(path)):
        with path.open("wb") as stream:
            stream.writelines(pieces)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished_name(path)
    try:
        with unfinished.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync(path.parent)


def write_all(folder: Path, contents: Mapping[str, bytes | str]) -> None:
    """Write files into a folder; the last of them vouches for the others, and comes last.

    A folder that is not there yet appears whole. In one that is there, each file is replaced whole.
    """
    if folder.exists():
        for name, content in contents.items():
            write(folder / name, content)
        return
    with new_folder(folder) as unfinished:
        for name, content in contents.items():
            write(unfinished / name, content)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an unfinished folder to fill, which takes its name when the block ends without an error."""
    unfinished = _unfinished_name(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished.mkdir()
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(folder.parent)


@contextmanager
def unfinished_folder(folder: Path, names: Collection[str], record: str) -> Iterator[Path]:
    """Give an empty folder beside another to fill and rename; it is gone when the block ends.

    What killed processes left there is removed first, as `clear_leftovers` tells.
    """
    clear_leftovers(folder, names, record)
    place = folder.with_name(f".{folder.name}.{os.getpid()}").absolute()
    place.mkdir(parents=True)
    _being_filled.add(place)
    try:
        yield place
    finally:
        _being_filled.discard(place)
        shutil.rmtree(place, ignore_errors=True)


def clear_leftovers(folder: Path, names: Collection[str], record: str) -> None:
    """Remove what killed processes of this machine left beside a folder that they were writing.

    Unfinished folders (".NAME.PID") go where nothing stands in them but files of these names. What such a
    folder was replacing (".NAME.PID.replaced") goes where it holds the record and the folder itself is there.
    Whatever belongs to a process that lives stays, and so does all that cannot be removed.

    Args:
        folder: The folder that is about to be written.
        names: The files that are written into it.
        record: The file by which the folder is known.
    """
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.([1-9][0-9]{{0,9}})(\.replaced)?")
    for place in sorted(folder.parent.glob(".*")) if os.name == "posix" else ():
        match = pattern.fullmatch(place.name)
        if match is None or place.is_symlink() or not place.is_dir() or _is_used(place, int(match[1])):
            continue
        if match[2]:
            ours = folder.is_dir() and (place / record).is_file()
        else:
            ours = all(path.name in names or _unfinished(path, names, match[1]) for path in place.iterdir())
        if ours:
            shutil.rmtree(place, ignore_errors=True)


def _unfinished_name(path: Path) -> Path:
    """Return a name beside another for what becomes it; each call, of any thread or machine, has its own."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def _unfinished(path: Path, names: Collection[str], process: str) -> bool:
    """Tell whether a file is one of these names that a process was writing."""
    match = re.fullmatch(rf"\.(.+?)\.{process}(\.[0-9a-f]+)?", path.name)
    return match is not None and match[1] in names


def _is_used(place: Path, process: int) -> bool:
    """Tell whether a process may still write into a folder that is called after it."""
    if process == os.getpid():  # in containers, the one that was killed had the same number
        return place.absolute() in _being_filled
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in such a block for this folder, in this process or another.

    For a file that is read, changed and written again; who only reads need not wait. On a file system that
    knows no locks it does not wait.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_inside(place: Path, root: Path) -> bool:
    """Tell whether a place, links followed, is a folder or lies in it."""
    # `Path.resolve` takes three times as long, and a service asks this at each adapter that it opens
    outer = os.path.realpath(root)
    return os.path.join(os.path.realpath(place), "").startswith(os.path.join(outer, ""))


def _sync(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
