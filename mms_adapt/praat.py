"""Praat's TextGrids: tiers of intervals and points, from the long and the short text form.

In: the bytes of a file. Out: a `TextGrid`. Both forms hold the same values in the same order; what stands
between them in the long form is there for people, and Praat passes over it, as is done here. It does not know
which tiers hold transcripts, nor recordings.

Praat writes ASCII, UTF-8 or UTF-16 with a mark at the start, and in its early years Latin-1.

Source: Praat's manual (Boersma and Weenink), "TextGrid file formats".
"""

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from mms_adapt.errors import CorpusError

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_BE: "utf-16-be", codecs.BOM_UTF16_LE: "utf-16-le"}
_VALUE = re.compile(
    r"""
    "(?P<text>(?:[^"]|"")*)"
    | (?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)
    | <(?P<flag>exists|absent)>
    | (?<!\S)!.*  # a comment, up to the line's end
    | (?P<open>")
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Label:
    """An interval or a point with its text.

    Attributes:
        start_s: Where it starts.
        end_s: Where it ends; the same for a point.
        text: Exactly as found; "" for an interval in which nothing is labelled.
    """

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier with its labels.

    Attributes:
        name: Its name; two tiers may share it.
        points: Whether it holds points and not intervals.
        labels: In the file's order.
    """

    name: str
    points: bool
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class TextGrid:
    """A TextGrid.

    Attributes:
        start_s: Where its time starts.
        end_s: Where its time ends, which is the recording's end.
        tiers: In the file's order.
        encoding: In which its bytes were written.
    """

    start_s: float
    end_s: float
    tiers: tuple[Tier, ...]
    encoding: str


def parse(data: bytes, name: str) -> TextGrid:
    """Read a TextGrid.

    Args:
        data: The file's bytes.
        name: The file, for errors.

    Raises:
        CorpusError: If it is no TextGrid in a text form, or ends before it should; it names the line.
    """
    if data.startswith(b"ooBinaryFile"):
        raise CorpusError(f"{name}: this is a binary file of Praat; save it there with Save as text file")
    text, encoding = _decoded(data, name)
    if not re.match(r'\s*(File type\s*=\s*)?"(ooTextFile|Praat chronological TextGrid)', text):
        raise CorpusError(f'{name}: this is no TextGrid: it does not begin with File type = "ooTextFile"')
    values = _Values(text, name)
    kind = values.text("the type of the file")
    if kind.startswith("ooTextFile"):
        kind = values.text("the class of the object")
    if kind != "TextGrid":
        raise CorpusError(
            f"{name}: this is a {kind}; open it in Praat and save each TextGrid with Save as text file"
        )
    start_s, end_s = values.number("the start"), values.number("the end")
    tiers = [_tier(values) for _ in range(values.count("the number of tiers") if values.flag() else 0)]
    values.end()
    return TextGrid(start_s, end_s, tuple(tiers), encoding)


def _decoded(data: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file, and the encoding it was in."""
    mark = next((one for one in _MARKS if data.startswith(one)), b"")
    encoding = _MARKS.get(mark, "")
    if not mark and b"\0" in data[:2]:  # UTF-16 whose mark was lost
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        return data.removeprefix(mark).decode(encoding or "utf-8"), encoding or "utf-8"
    except UnicodeDecodeError as error:
        if not encoding:
            return data.decode("latin-1"), "latin-1"
        raise CorpusError(
            f"{name}: it starts as {encoding.upper()}, and byte {error.start + len(mark)} is not: it is cut "
            "short or damaged; save it again from Praat"
        ) from error


def _tier(values: "_Values") -> Tier:
    kind = values.text("the class of a tier")
    if kind not in ("IntervalTier", "TextTier"):
        values.complain(f'a tier is a "{kind}"; known are "IntervalTier" and "TextTier"')
    points = kind == "TextTier"
    name = values.text("the name of a tier")
    values.number("the tier's start")
    values.number("the tier's end")
    labels = []
    for _ in range(values.count("the number of labels")):
        start_s = values.number("a time")
        end_s = start_s if points else values.number("an interval's end")
        labels.append(Label(start_s, end_s, values.text("a label's text")))
    return Tier(name, points, tuple(labels))


class _Values:
    """The texts, numbers and flags of a file, one after another."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name, self._place = text, name, 0
        self._found = self._scan()

    def _scan(self) -> Iterator[re.Match[str]]:
        for found in _VALUE.finditer(self._text):
            self._place = found.start()
            if found.lastgroup == "open":
                self.complain("a text in quotation marks that begins here has no end: the file is cut short")
            if found.lastgroup:
                yield found
        self._place = len(self._text)

    def complain(self, what: str) -> NoReturn:
        """Refuse the file at the present line."""
        line = self._text.count("\n", 0, self._place) + 1
        raise CorpusError(f"{self._name}:{line}: {what}; save it again from Praat, or repair that line")

    def _next(self, group: str, what: str) -> str:
        found = next(self._found, None)
        if found is None:
            self.complain(f"{what} should come here, and the file ends: it is cut short")
        if found.lastgroup != group:
            self.complain(f"{what} should come here, and there is {found[0][:40]!r}")
        return found[group]

    def text(self, what: str) -> str:
        """Return the next value, which must be a text."""
        return self._next("text", what).replace('""', '"')

    def number(self, what: str) -> float:
        """Return the next value, which must be a finite number."""
        value = float(self._next("number", what))
        if not math.isfinite(value):
            self.complain(f"{what} is no finite number")
        return value

    def count(self, what: str) -> int:
        """Return the next value, which must be how many there are of something."""
        value = self.number(what)
        if value < 0 or value != int(value):
            self.complain(f"{what} is {value:g}")
        return int(value)

    def flag(self) -> bool:
        """Tell whether the next value, which must be a flag, says that something exists."""
        return self._next("flag", "<exists>") == "exists"

    def end(self) -> None:
        """Refuse what comes behind the last tier, since a count before it must be wrong."""
        if (found := next(self._found, None)) is not None:
            self.complain(
                f"the tiers are complete, and {found[0][:40]!r} follows: a number before it is wrong"
            )
