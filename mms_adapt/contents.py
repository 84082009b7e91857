"""Files that are read once and hashed by another thread while they are used.

In: a path. Out: what the file holds, in memory that tensors can live in, and its hash. What is hashed is what
is used, whoever writes into the file meanwhile. It does not know what files are for.
"""

import hashlib
import os
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np


def read(path: Path, aside: Executor) -> tuple[memoryview, "Future[str]"]:
    """Read a file once.

    Args:
        path: The file.
        aside: Where its hash is reckoned, beside Python's other threads. That takes one step: after each one
            a thread waits up to 5 ms for its turn.

    Returns:
        The content, and what will be its SHA-256.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        content = np.empty(os.fstat(file.fileno()).st_size, np.uint8).data
        reached = 0
        while more := file.readinto(content[reached:]):
            reached += more
    found = content[:reached]
    return found, aside.submit(_sha256, found)


def _sha256(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
