"""Files and folders that are whole or not there at all.

In: names and bytes. Out: files on the disk, not only in its cache. It does not know what they mean.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


def write(path: Path, content: bytes | str) -> None:
    """Write a file: a reader finds the old one or the new one, never a part. Its folder is made if needed."""
    write_pieces(path, [content.encode("utf-8") if isinstance(content, str) else content])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file piece by piece, as `write` does, so that it need not be in memory as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
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
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
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


def _sync(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
