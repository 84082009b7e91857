"""A memory of bounded size: the least recently used goes out first, what is pinned stays.

In: values that know their bytes, by key. Out: those that are still there. Any number of threads may use it.
Who has taken a value keeps it, also when it goes out meanwhile. It does not know what the values are.
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar

from mms_adapt.errors import OptionError


class _Sized(Protocol):
    @property
    def byte_count(self) -> int:
        """Bytes that it takes."""
        ...


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=_Sized)


class Shelf(Generic[Key, Value]):
    """Values by key, the least recently used first.

    Args:
        name: What the budget is called where it is too small.
        byte_budget: At most so many bytes; any number where None.

    Raises:
        OptionError: If the budget is negative.
    """

    def __init__(self, name: str, byte_budget: int | None = None) -> None:
        if byte_budget is not None and byte_budget < 0:
            raise OptionError(f"{name}={byte_budget}: give a number of bytes, 0 or more")
        self.name, self.byte_budget = name, byte_budget
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._pinned: set[Key] = set()
        self._bytes = 0
        self._lock = Lock()

    @property
    def byte_count(self) -> int:
        """Bytes of what is held."""
        return self._bytes

    def get(self, key: Key) -> Value | None:
        """Return a value that is held, which becomes the most recently used; None where it is not."""
        with self._lock:
            value = self._held.get(key)
            if value is not None:
                self._held.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> bool:
        """Hold a value in place of the key's last one, and let go of what is too much.

        Returns:
            Whether it is held: not if it alone, beside what is pinned, is more than the budget.
        """
        with self._lock:
            self._drop(key)
            self._held[key] = value
            self._bytes += value.byte_count
            self._shrink(last=key)
            return key in self._held

    def pin(self, key: Key, value: Value) -> None:
        """Hold a value and keep it, and what will be put in its place, until it is unpinned.

        Raises:
            OptionError: If what is pinned would be more than the budget.
        """
        with self._lock:
            others = sum(self._held[one].byte_count for one in self._pinned - {key} if one in self._held)
            needed = others + value.byte_count
            if self.byte_budget is not None and needed > self.byte_budget:
                raise OptionError(
                    f"{self.name}={self.byte_budget}: with {key} pinned, {needed} bytes would be needed; "
                    "give more, or unpin another"
                )
            self._pinned.add(key)
            self._drop(key)
            self._held[key] = value
            self._bytes += value.byte_count
            self._shrink(last=key)

    def unpin(self, key: Key) -> None:
        """Let a key go when its turn comes."""
        with self._lock:
            self._pinned.discard(key)
            self._shrink()

    def remove(self, key: Key) -> None:
        """Let go of what is held under a key, pinned or not."""
        with self._lock:
            self._drop(key)

    def held(self) -> dict[Key, Value]:
        """Return all that is held, the least recently used first."""
        with self._lock:
            return dict(self._held)

    def pinned(self) -> frozenset[Key]:
        """Return the keys that stay."""
        with self._lock:
            return frozenset(self._pinned)

    def _drop(self, key: Key) -> None:
        value = self._held.pop(key, None)
        if value is not None:
            self._bytes -= value.byte_count

    def _shrink(self, last: Key | None = None) -> None:
        """Let go until the budget holds: the last one only if nothing else helps."""
        if self.byte_budget is None:
            return
        loose = [key for key in self._held if key not in self._pinned and key != last]
        if last is not None and last not in self._pinned:
            loose.append(last)
        for key in loose:
            if self._bytes <= self.byte_budget:
                break
            self._drop(key)
