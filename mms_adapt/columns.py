"""A table of numbers, sorted by a text of each row, of which only the column that is asked for is in memory.

In: rows one by one. Out: columns as arrays, and the texts in their order. It does not know what they mean.

A short table stays in memory; a long one goes to a temporary file, which no other process sees and which is
gone with this one. SQLite keeps it, in `SQLITE_TMPDIR` or `TMPDIR` where these are set.
"""

import marshal
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mms_adapt.errors import SplitError

_AT_A_TIME = 2048  # rows that are stored together
_SETTINGS = ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", "cache_size = -2000")
_TABLES = (
    "CREATE TABLE given (number INTEGER PRIMARY KEY, text BLOB, row BLOB)",
    "CREATE TABLE pieces (name TEXT, start INTEGER, content BLOB, PRIMARY KEY (name, start))",
)
_TEXTS = ""  # what stands for a column's name with the texts


class Columns:
    """Columns by place, each `(places,)`; places are in the alphabetical order of the texts.

    Args:
        kinds: The type of each column by its name, as `struct` writes it: "i", "Q", "d".
        rows: A text of each row and its numbers. Equal texts keep the order given.

    Raises:
        SplitError: If there is no room for the temporary file.
    """

    def __init__(self, kinds: Mapping[str, str], rows: Iterable[tuple[str, tuple[float, ...]]]) -> None:
        self._kinds = {name: np.dtype(kind) for name, kind in kinds.items()}
        self._store = sqlite3.connect("", isolation_level=None)  # a private temporary file
        pack = struct.Struct("=" + "".join(kinds.values())).pack
        try:
            for setting in _SETTINGS:
                self._store.execute(f"PRAGMA {setting}")
            self._store.execute("BEGIN")
            for table in _TABLES:
                self._store.execute(table)
            packed = ((text.encode("utf-8", "surrogatepass"), pack(*numbers)) for text, numbers in rows)
            self._store.executemany("INSERT INTO given (text, row) VALUES (?, ?)", packed)
            self._count = self._sort()
        except sqlite3.Error as error:
            self.close()
            raise SplitError(
                f"what is divided does not fit into a temporary file ({error}): make room, or name another "
                "folder for it with the environment variable SQLITE_TMPDIR"
            ) from error
        except BaseException:
            self.close()
            raise

    def _sort(self) -> int:
        """Store texts and columns by places, and return how many there are."""
        row = np.dtype(list(self._kinds.items()))
        found = self._store.execute("SELECT text, row FROM given ORDER BY text, number")
        count = 0
        while rows := found.fetchmany(_AT_A_TIME):
            texts, packed = zip(*rows, strict=True)
            self._put(_TEXTS, count, marshal.dumps(texts))
            numbers = np.frombuffer(b"".join(packed), row)
            for name in self._kinds:
                self._put(name, count, numbers[name].tobytes())
            count += len(rows)
        self._store.execute("DROP TABLE given")
        return count

    def _put(self, name: str, start: int, content: bytes) -> None:
        self._store.execute("INSERT INTO pieces VALUES (?, ?, ?)", (name, start, content))

    def _pieces(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Return pieces of a column with their first places."""
        return self._store.execute("SELECT start, content FROM pieces WHERE name = ? ORDER BY start", (name,))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column `(places,)`, a new array each time."""
        kind = self._kinds[name]
        column = np.empty(self._count, kind)
        for start, content in self._pieces(name):
            column[start : start + len(content) // kind.itemsize] = np.frombuffer(content, kind)
        return column

    def __setitem__(self, name: str, column: NDArray[Any]) -> None:
        """Put another column in the place of one, or add one."""
        self._store.execute("DELETE FROM pieces WHERE name = ?", (name,))
        self._kinds[name] = column.dtype
        for start in range(0, self._count, _AT_A_TIME):
            self._put(name, start, column[start : start + _AT_A_TIME].tobytes())

    def texts(self) -> Iterator[str]:
        """Return the texts one by one in their order."""
        for _, content in self._pieces(_TEXTS):
            yield from (text.decode("utf-8", "surrogatepass") for text in marshal.loads(content))

    def close(self) -> None:
        """Give the temporary file back."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
