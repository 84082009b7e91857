"""Ctrl-C and SIGTERM, held back until there is a good moment.

In: a block of work. Out: what tells the block that somebody wants it to stop. It does not know the work.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C and SIGTERM until a step is done; a second Ctrl-C stops at once.

    Yields:
        What tells whether one has come.
    """
    come: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if come:
            raise KeyboardInterrupt
        come.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(come)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
