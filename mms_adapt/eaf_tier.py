"""A tier added to an ELAN document, whose other bytes stay as they are.

In: a document's bytes, the tier's name and what is said when. Out: the document's bytes with the tier. An
annotator's document is never written anew: what ELAN or another program put there, in whatever order and with
whatever white space, stays byte for byte, save that an empty `<TIME_ORDER/>` is opened. It does not know
files, nor where the text comes from.

New time slots stand in the order of time among the others, as ELAN has them. New annotations are called mms1,
mms2 and so on: ELAN counts its own ("a17") in a property of the header, which thus stays true.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from xml.sax.saxutils import escape, quoteattr

from mms_adapt import eaf
from mms_adapt.errors import CorpusError, OptionError

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMES = ("TIME_SLOT_ID", "ANNOTATION_ID", "TIME_SLOT_REF1", "TIME_SLOT_REF2")  # some lead nowhere
_BEFORE_TYPES = ("LICENSE", "HEADER", "TIME_ORDER", "TIER")


@dataclass(frozen=True, slots=True)
class TierSpan:
    """A stretch of the document's time with its text.

    Attributes:
        start_s: Where it starts.
        end_s: Where it ends.
        text: What its annotation says.
    """

    start_s: float
    end_s: float
    text: str


@dataclass(slots=True)
class _Places:
    """Where things stand in a document, in bytes."""

    slots: list[tuple[int, float | None]] = field(default_factory=list)
    order: tuple[int, int] | None = None  # where <TIME_ORDER starts, and </TIME_ORDER> or what follows "/>"
    first_tier: int | None = None
    behind: int = 0  # the element behind the last tier, or the document's end tag
    last: bool = False  # whether that is the end tag
    ids: set[str] = field(default_factory=set)
    tiers: set[str] = field(default_factory=set)
    types: list[dict[str, str]] = field(default_factory=list)
    encoding: str = "utf-8"


def add_tier(
    document: bytes,
    tier_id: str,
    spans: Iterable[TierSpan],
    *,
    participant: str | None = None,
    name: str = "document",
) -> bytes:
    """Return a document with one more tier at the end of its tiers.

    Args:
        document: The document's bytes.
        tier_id: The new tier's name.
        spans: Its annotations, in any order; times are rounded to milliseconds.
        participant: Who speaks.
        name: The document's file, for errors.

    Raises:
        CorpusError: If it is no ELAN document, or is damaged.
        OptionError: If there is a tier of this name, spans overlap or end before they start, or a text holds
            characters that no XML may.
    """
    eaf.parse(document, name)
    places = _places(document, name)
    ordered = _checked(tier_id, participant, spans, places, name)
    numbers = [int(one[2:]) for one in places.ids if re.fullmatch(r"ts[0-9]{1,15}", one)]
    first = max(numbers, default=0) + 1
    slots = [
        (f"ts{first + place}", value) for place, value in enumerate(ms for one in ordered for ms in one[:2])
    ]
    writer = _Writer(document, places)
    writer.slots(slots)
    writer.tier(tier_id, participant, [one[2] for one in ordered], [slot for slot, _ in slots])
    return writer.whole()


def _checked(
    tier_id: str, participant: str | None, spans: Iterable[TierSpan], places: _Places, name: str
) -> list[tuple[int, int, str]]:
    """Return spans in milliseconds, in the order of time."""
    if tier_id in places.tiers:
        raise OptionError(f"{name} has a tier {tier_id!r} already; give the new one another name")
    if not tier_id.strip():
        raise OptionError("the new tier's name is empty")
    given = sorted(spans, key=lambda one: one.start_s)
    for text in (tier_id, participant or "", *(one.text for one in given)):
        if found := _NO_XML.search(text):
            raise OptionError(f"{text[:60]!r} holds {found[0]!r}, which no XML document may; take it out")
    rounded: list[tuple[int, int, str]] = []
    for one in given:
        known = math.isfinite(one.start_s) and math.isfinite(one.end_s)
        start_ms, end_ms = (round(one.start_s * 1000), round(one.end_s * 1000)) if known else (0, 0)
        if not 0 <= start_ms < end_ms:
            raise OptionError(
                f"a span of tier {tier_id!r} is from {one.start_s} to {one.end_s} s: give seconds from the "
                "document's start, the end at least a millisecond later"
            )
        if rounded and start_ms < rounded[-1][1]:
            raise OptionError(
                f"a span of tier {tier_id!r} starts at {one.start_s} s, before another one ends; spans of "
                "one tier must not overlap"
            )
        rounded.append((start_ms, end_ms, one.text))
    return rounded


def _places(document: bytes, name: str) -> _Places:
    """Look where things stand."""
    places, made, depth = _Places(), eaf.parser(name), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if tag == "TIME_SLOT":
            value = attributes.get("TIME_VALUE", "").strip()
            places.slots.append((made.CurrentByteIndex, float(value) if value else None))
        elif tag == "TIME_ORDER":
            places.order = (made.CurrentByteIndex, 0)
        elif tag == "TIER":
            places.first_tier = made.CurrentByteIndex if places.first_tier is None else places.first_tier
            places.tiers.add(attributes.get("TIER_ID", ""))
        elif tag == "LINGUISTIC_TYPE":
            places.types.append(attributes)
        places.ids.update(attributes.get(one, "") for one in _NAMES)
        if depth == 2 and tag not in _BEFORE_TYPES and not places.behind:
            places.behind = made.CurrentByteIndex

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        if tag == "TIME_ORDER" and places.order:
            places.order = (places.order[0], made.CurrentByteIndex)
        elif not depth and not places.behind:
            places.behind, places.last = made.CurrentByteIndex, True

    def declared(version: str, encoding: str | None, standalone: int) -> None:
        places.encoding = encoding or "utf-8"

    made.StartElementHandler, made.EndElementHandler, made.XmlDeclHandler = start, end, declared
    eaf.feed(made, document, name)
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if document.startswith(mark):
            places.encoding = encoding
    if places.last and not document[places.behind :].decode(places.encoding, "ignore").startswith("</"):
        raise CorpusError(f"{name}: this document is empty; open it in ELAN and save it")
    return places


class _Writer:
    """Gathers what is put into a document, and where."""

    def __init__(self, document: bytes, places: _Places) -> None:
        self._document, self._places = document, places
        self._put: list[tuple[int, int, str]] = []  # from byte, to byte, what comes there instead
        first = places.order[0] if places.order else places.first_tier or places.behind
        self._line = self._space(first)  # a line's end and an indent, as between the document's parts

    def slots(self, slots: Sequence[tuple[str, int]]) -> None:
        """Put time slots among the others, in the order of time."""
        places = self._places
        lines = [(1, f'<TIME_SLOT TIME_SLOT_ID="{slot}" TIME_VALUE="{value}"/>') for slot, value in slots]
        if not lines:
            return
        if places.order is None:  # the format wants one
            where = places.behind if places.first_tier is None else places.first_tier
            self._before(where, [(0, "<TIME_ORDER>"), *lines, (0, "</TIME_ORDER>")])
            return
        start, stop = places.order
        if self._is_empty_tag(start, stop):
            block = self._block([*lines, (0, "</TIME_ORDER>")])
            self._put.append((stop - len("/>".encode(places.encoding)), stop, f">{block}"))
            return
        reached = 0
        for line, (_, value) in zip(lines, slots, strict=True):
            while reached < len(places.slots) and (places.slots[reached][1] or 0) <= value:
                reached += 1
            if reached < len(places.slots):
                self._before(places.slots[reached][0], [line])
            else:
                self._before_end(stop, [line])

    def tier(self, tier_id: str, participant: str | None, texts: Sequence[str], slots: Sequence[str]) -> None:
        """Put a tier behind the others, and a type for it where there is none that fits."""
        kind, declared = self._type()
        spoken = f" PARTICIPANT={quoteattr(participant)}" if participant else ""
        lines = [(0, f"<TIER LINGUISTIC_TYPE_REF={quoteattr(kind)}{spoken} TIER_ID={quoteattr(tier_id)}>")]
        names = (f"mms{number}" for number in count(1))
        free = (one for one in names if one not in self._places.ids)
        for place, text in enumerate(texts):
            times = f'TIME_SLOT_REF1="{slots[2 * place]}" TIME_SLOT_REF2="{slots[2 * place + 1]}"'
            written = escape(text, {"\r": "&#13;"})
            lines += [
                (1, "<ANNOTATION>"),
                (2, f'<ALIGNABLE_ANNOTATION ANNOTATION_ID="{next(free)}" {times}>'),
                (3, f"<ANNOTATION_VALUE>{written}</ANNOTATION_VALUE>"),
                (2, "</ALIGNABLE_ANNOTATION>"),
                (1, "</ANNOTATION>"),
            ]
        lines += [(0, "</TIER>"), *declared]
        put = self._before_end if self._places.last else self._before
        put(self._places.behind, lines)

    def whole(self) -> bytes:
        """Return the document with all that was put into it."""
        parts, reached = [], 0
        for start, stop, text in sorted(self._put, key=lambda one: one[0]):
            parts += [self._document[reached:start], text.encode(self._places.encoding, "xmlcharrefreplace")]
            reached = stop
        return b"".join([*parts, self._document[reached:]])

    def _type(self) -> tuple[str, list[tuple[int, str]]]:
        """Return a type of tiers that stand alone and have times, and how it is declared where it is new."""
        for one in self._places.types:
            if one.get("TIME_ALIGNABLE") == "true" and not one.get("CONSTRAINTS"):
                return one.get("LINGUISTIC_TYPE_ID", ""), []
        known = {one.get("LINGUISTIC_TYPE_ID") for one in self._places.types}
        names = chain(["default-lt"], (f"default-lt-{number}" for number in count(2)))
        name = next(one for one in names if one not in known)
        declared = (
            f'LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="{name}" TIME_ALIGNABLE="true"'
        )
        return name, [(0, f"<{declared}/>")]

    def _before(self, place: int, lines: Sequence[tuple[int, str]]) -> None:
        """Put lines before an element, which is pushed to a line of its own again."""
        block = self._block(lines)
        space = self._space(place)
        self._put.append((place, place, block.removeprefix(self._deeper(lines[0][0])) + space))

    def _before_end(self, place: int, lines: Sequence[tuple[int, str]]) -> None:
        """Put lines before an end tag, behind what stands before it."""
        place -= len(self._space(place).encode(self._places.encoding))
        self._put.append((place, place, self._block(lines)))

    def _block(self, lines: Sequence[tuple[int, str]]) -> str:
        return "".join(self._deeper(depth) + text for depth, text in lines)

    def _deeper(self, depth: int) -> str:
        """Return the white space before an element so many levels below the document's parts."""
        return self._line + self._line.lstrip("\r\n") * depth

    def _space(self, place: int) -> str:
        """Return the line's end and the indent that stand before a place, "" where no line ends there."""
        before = self._document[max(0, place - 400) : place].decode(self._places.encoding, "ignore")
        found = re.search(r"\r?\n[ \t]*$", before)
        return found[0] if found else ""

    def _is_empty_tag(self, start: int, stop: int) -> bool:
        tag = self._document[start:stop].decode(self._places.encoding)
        return tag.endswith("/>") and tag.count("<") == 1
