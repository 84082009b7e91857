"""Files that are read once and hashed meanwhile.

In: a path. Out: what the file holds, in memory that tensors can live in, and its hash, which is reckoned by
another thread from the first piece on. What is hashed is what is used, whoever writes into the file
meanwhile. It does not know what files are for.
"""

import hashlib
import os
from concurrent.futures import Executor, Future
from pathlib import Path
from queue import SimpleQueue

import numpy as np

_PIECE_BYTES = 1 << 20


def read(path: Path, aside: Executor) -> tuple[memoryview, "Future[str]"]:
    """Read a file once.

    Args:
        path: The file.
        aside: Where its hash is reckoned; Python's other threads run beside that.

    Returns:
        The content, and what will be its SHA-256.

    Raises:
        OSError: If it cannot be read.
    """
    arrived: SimpleQueue[tuple[int, bool]] = SimpleQueue()
    with path.open("rb", buffering=0) as file:
        content = np.empty(os.fstat(file.fileno()).st_size, np.uint8).data
        hashed = aside.submit(_sha256, content, arrived)
        reached = 0
        try:
            while more := file.readinto(content[reached : reached + _PIECE_BYTES]):
                reached += more
                arrived.put((reached, False))
        finally:
            arrived.put((reached, True))
    return content[:reached], hashed


def _sha256(content: memoryview, arrived: "SimpleQueue[tuple[int, bool]]") -> str:
    """Return the hash of a content as it arrives: at each step, of all that is there by then."""
    found, done, ended = hashlib.sha256(), 0, False
    while not ended:
        reached, ended = arrived.get()
        while not (ended or arrived.empty()):
            reached, ended = arrived.get()
        found.update(content[done:reached])
        done = reached
    return found.hexdigest()
