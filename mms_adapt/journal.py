"""What a long command has done already, so that an interruption costs little.

In: keys and values that JSON can hold. Out: the value of a key that was noted, by this run or one before it.
It does not know what they mean.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO


class Journal:
    """A file of results, one line each, only ever appended to.

    A last line that an interruption cut off is passed over. It is the caller who makes a key of everything
    that a value depends on.
    """

    def __init__(self, path: Path) -> None:
        """Read what was noted.

        Args:
            path: The file; it is made when something is noted.
        """
        self.path = path
        self._file: TextIO | None = None
        self._known: dict[str, Any] = {}
        self._whole = True
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError:
            lines = []
        for line in lines:
            try:
                key, value = json.loads(line)
                self._known[str(key)] = value
            except (ValueError, TypeError):
                pass
            self._whole = line.endswith(b"\n")

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Any:
        """Return the value of a key; None where nothing was noted."""
        return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Note a value."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
            if not self._whole:
                self._file.write("\n")
        self._file.write(json.dumps([key, value]) + "\n")
        self._file.flush()
        self._known[key] = value

    def close(self) -> None:
        """Keep the file for another run."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Forget everything: the work is done."""
        self.close()
        with suppress(OSError):
            self.path.unlink()
        self._known = {}
