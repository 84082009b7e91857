"""Where a training writes how it goes: a line of JSON at a time, and TensorBoard's own files where asked.

In: a line of measures. Out: files. It does not know training. TensorBoard's package is needed only for its
own files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms_adapt.errors import OptionError

FOLDER = "tensorboard"


class Board:
    """What measures are written to.

    Args:
        path: The file for lines of JSON.
        tensorboard: Whether to write TensorBoard's files beside it, too.

    Raises:
        OptionError: If its package is not there.
    """

    def __init__(self, path: Path, *, tensorboard: bool = False) -> None:
        self._path = path
        self._writer: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise OptionError(
                    "tensorboard=True: the package tensorboard is not installed: install it, or read "
                    f"{path.name}, which holds the same measures"
                ) from error
            self._writer = SummaryWriter(path.parent / FOLDER)

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line of measures; "step" says when."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._writer.add_scalar(name, value, line["step"])
            self._writer.flush()
