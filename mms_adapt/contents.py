"""Files that are read once and hashed by other threads while they are used.

In: a path. Out: what the file holds, in memory that tensors can live in, and its hash. What is hashed is what
is used, whoever writes into the file meanwhile. It does not know what files are for.

A large file's hash is that of a tree, so that several threads reckon it: SHA-256 of the SHA-256s of its
pieces of 2 MiB, told as `tree2m:` and hexadecimal digits. A smaller one's is its SHA-256, as `sha256sum`
prints it.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Protocol

import numpy as np

PIECE_BYTES = 2 << 20
TREE = "tree2m:"
_CHUNK_BYTES = 1 << 20


class Hash(Protocol):
    """A hash that is still reckoned."""

    def result(self) -> str:
        """Wait for it and return it."""
        ...


class _Tree:
    """The hash of a tree whose pieces are still hashed."""

    def __init__(self, pieces: "list[Future[bytes]]") -> None:
        self._pieces = pieces

    def result(self) -> str:
        """Wait for it and return it."""
        return _joined(one.result() for one in self._pieces)


def read(path: Path, aside: Executor, like: str = "") -> tuple[memoryview, Hash]:
    """Read a file once.

    Args:
        path: The file.
        aside: Where its hash is reckoned, beside Python's other threads: a plain one in one step, that of a
            tree in one a piece. After each step a thread waits up to 5 ms for its turn.
        like: A hash of the kind that is wanted.

    Returns:
        The content, and what will be its hash.

    Raises:
        OSError: If it cannot be read.
    """
    in_pieces = like.startswith(TREE)
    with path.open("rb", buffering=0) as file:
        content = np.empty(os.fstat(file.fileno()).st_size, np.uint8).data
        pieces: list[Future[bytes]] = []
        reached = hashed = 0
        while more := file.readinto(content[reached : hashed + PIECE_BYTES if in_pieces else None]):
            reached += more
            if in_pieces and reached == hashed + PIECE_BYTES:
                pieces.append(aside.submit(_digest, content[hashed:reached]))
                hashed = reached
    found = content[:reached]
    if not in_pieces:
        return found, aside.submit(_sha256, found)
    if hashed < reached:
        pieces.append(aside.submit(_digest, found[hashed:]))
    return found, _Tree(pieces)


def hash_of(content: bytes) -> str:
    """Return the hash of a file's content: of a tree where it is longer than a piece."""
    if len(content) <= PIECE_BYTES:
        return _sha256(content)
    return _joined(
        _digest(content[start : start + PIECE_BYTES]) for start in range(0, len(content), PIECE_BYTES)
    )


def short(told: str) -> str:
    """Return the beginning of a hash, by its kind and twelve digits."""
    kind, _, digits = told.rpartition(":")
    return f"{kind or 'sha256'} {digits[:12]}"


def file_hash(path: Path, like: str = "") -> str:
    """Return the hash of a file, of the kind of another one.

    Args:
        path: The file.
        like: A hash of that kind; the SHA-256 of the whole where not given.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        if like.startswith(TREE):
            return _joined(map(_digest, _pieces(file.read, PIECE_BYTES)))
        found = hashlib.sha256()
        for piece in _pieces(file.read, _CHUNK_BYTES):
            found.update(piece)
    return found.hexdigest()


def _pieces(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    while piece := read(size):
        yield piece


def _joined(digests: Iterable[bytes]) -> str:
    return TREE + hashlib.sha256(b"".join(digests)).hexdigest()


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()


def _sha256(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
