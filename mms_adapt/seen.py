"""Which texts came before, in about 14 bytes each.

In: texts one by one. Out: whether each may have come before. It does not know what they are.
"""

from array import array

_TABLES, _SMALLEST, _FULL, _GROWTH = 128, 16, 0.7, 1.5
_BITS = (1 << 64) - 1


class Seen:
    """Hashes of texts, in tables that grow one at a time, so that growing takes no memory of its own.

    Two texts may have one hash: of a million, with a chance of one in thirty million. So whoever finds one
    that may have come before looks whether it did.
    """

    def __init__(self) -> None:
        self._tables = [array("Q", bytes(8 * _SMALLEST)) for _ in range(_TABLES)]
        self._counts = [0] * _TABLES

    def add(self, text: str) -> bool:
        """Note a text, and tell whether it may have come before."""
        number = hash(text) & _BITS or 1  # 0 is an empty place
        which = number % _TABLES
        table = self._tables[which]
        place = _place(table, number)
        if table[place]:
            return True
        table[place] = number
        self._counts[which] += 1
        if self._counts[which] > _FULL * len(table):
            self._tables[which] = _larger(table)
        return False


def _place(table: "array[int]", number: int) -> int:
    """Return where a number stands in a table, or the empty place where it belongs."""
    place = number // _TABLES % len(table)
    while (held := table[place]) and held != number:
        place = place + 1 if place + 1 < len(table) else 0
    return place


def _larger(table: "array[int]") -> "array[int]":
    grown = array("Q", bytes(8 * int(len(table) * _GROWTH)))
    for number in filter(None, table):
        grown[_place(grown, number)] = number
    return grown
