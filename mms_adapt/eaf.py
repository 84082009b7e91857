"""ELAN's annotation documents (.eaf): recordings, tiers, annotations with their times.

In: the bytes of a document. Out: a `Document`, with every annotation's time worked out: its own, its
parent's, or an estimate where ELAN stores none. It knows neither recordings nor which tiers hold transcripts.

A document type or entity declaration is refused before anything of it is expanded: ELAN writes none, and they
are how a small file fills the memory or reads another one.

Source: ELAN Annotation Format, schema version 3.0 (Max Planck Institute for Psycholinguistics, 2017).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mms_adapt.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Media:
    """A recording that a document names.

    Attributes:
        url: Where it was on the annotator's machine, mostly `file:///…`.
        relative_url: Where it was from the document; "" where not given.
        mime_type: Such as "audio/x-wav".
        origin_ms: Where the document's zero is in this recording.
    """

    url: str
    relative_url: str = ""
    mime_type: str = ""
    origin_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Annotation:
    """A piece of text on a tier.

    Attributes:
        id: Its name in the document.
        text: Exactly as found.
        start_ms: Where it starts in the document's time; None where that cannot be told.
        end_ms: Where it ends.
        anchor: The annotation whose times these are: itself, or its nearest ancestor with times.
        estimated: Whether a time is not stored but lies evenly between its neighbours', as ELAN shows it.
    """

    id: str
    text: str
    start_ms: float | None
    end_ms: float | None
    anchor: str
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier with its annotations.

    Attributes:
        name: Its TIER_ID; two tiers of a damaged document may share it.
        type: Its linguistic type.
        constraint: How it hangs on its parent, such as "Symbolic_Subdivision"; "" where it stands alone.
        parent: Name of the tier that it hangs on.
        participant: Who speaks.
        annotator: Who wrote it.
        language: Code of its content's language.
        locale: Code of its input method's language.
        aligned: Whether its annotations have their own times.
        annotations: In the document's order, subdivisions of one parent in that of their chain.
    """

    name: str
    type: str
    constraint: str
    parent: str | None
    participant: str | None
    annotator: str | None
    language: str | None
    locale: str | None
    aligned: bool
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """An annotation document.

    Attributes:
        media: The recordings that it names, in its order.
        licences: Texts or addresses of its licences.
        tiers: In its order.
    """

    media: tuple[Media, ...]
    licences: tuple[str, ...]
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class _Raw:
    """An annotation as it stands in the file."""

    id: str
    text: str
    slots: tuple[str, str] | None
    parent: str
    previous: str


def parse(data: bytes, name: str) -> Document:
    """Read a document.

    Args:
        data: Its bytes.
        name: Its file, for errors.

    Raises:
        CorpusError: If it is no ELAN document, or is cut short, or declares entities; it names the line.
    """
    root = _tree(data, name)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise CorpusError(f"{name}: this is no ELAN document: its outermost element is <{root.tag}>")
    units = next((one.get("TIME_UNITS", "") for one in root.iter("HEADER")), "")
    if units not in ("", "milliseconds"):
        raise CorpusError(f"{name}: its times are in {units}; open it in ELAN and save it, in milliseconds")
    slots = {one.get("TIME_SLOT_ID", ""): _number(one, "TIME_VALUE", name) for one in root.iter("TIME_SLOT")}
    elements = root.findall("TIER")
    timed = _times([[_raw(one) for one in tier.iterfind("ANNOTATION/*")] for tier in elements], slots)
    types = {one.get("LINGUISTIC_TYPE_ID"): one for one in root.iter("LINGUISTIC_TYPE")}
    licences = ((one.text or "").strip() or one.get("LICENSE_URL", "") for one in root.iter("LICENSE"))
    return Document(
        tuple(_media(one, name) for one in root.iter("MEDIA_DESCRIPTOR")),
        tuple(filter(None, licences)),
        tuple(
            _tier(one, types.get(one.get("LINGUISTIC_TYPE_REF")), annotations)
            for one, annotations in zip(elements, timed, strict=True)
        ),
    )


def parser(name: str) -> expat.XMLParserType:
    """Return a parser that refuses declarations of document types and entities.

    Args:
        name: The file, for errors.
    """
    made = expat.ParserCreate()
    made.buffer_text = True

    def refuse(*_: object) -> None:
        raise CorpusError(
            f"{name}:{made.CurrentLineNumber}: it declares a document type (<!DOCTYPE …>), which ELAN never "
            "writes and which can hide an attack; take the line out if you trust the file"
        )

    made.StartDoctypeDeclHandler = refuse
    made.EntityDeclHandler = refuse
    return made


def feed(made: expat.XMLParserType, data: bytes, name: str) -> None:
    """Parse a whole document.

    Raises:
        CorpusError: If it is no well-formed XML; it names the line.
    """
    try:
        made.Parse(data, True)
    except expat.ExpatError as error:
        what = expat.errors.messages[error.code]
        raise CorpusError(
            f"{name}:{error.lineno}: this is no whole XML document ({what}): it is cut short or damaged; "
            "take it from a backup, or repair that line"
        ) from error
    except (LookupError, ValueError) as error:
        raise CorpusError(f"{name}: its encoding cannot be read ({error}); save it in UTF-8") from error


def _tree(data: bytes, name: str) -> Element:
    builder, made = TreeBuilder(), parser(name)
    made.StartElementHandler = builder.start
    made.EndElementHandler = builder.end
    made.CharacterDataHandler = builder.data
    feed(made, data, name)
    return builder.close()


def _number(element: Element, attribute: str, name: str) -> float | None:
    """Return an attribute in milliseconds; None where it is not there."""
    value = element.get(attribute)
    if value is None or not value.strip():
        return None
    try:
        return float(int(value))
    except (ValueError, OverflowError):
        raise CorpusError(
            f"{name}: {attribute}={value[:40]!r} of {element.get('TIME_SLOT_ID', element.tag)} is no number "
            "of milliseconds; correct it there"
        ) from None


def _media(element: Element, name: str) -> Media:
    return Media(
        element.get("MEDIA_URL", ""),
        element.get("RELATIVE_MEDIA_URL", ""),
        element.get("MIME_TYPE", ""),
        _number(element, "TIME_ORIGIN", name) or 0.0,
    )


def _raw(element: Element) -> _Raw:
    aligned = element.tag == "ALIGNABLE_ANNOTATION"
    return _Raw(
        element.get("ANNOTATION_ID", ""),
        element.findtext("ANNOTATION_VALUE") or "",
        (element.get("TIME_SLOT_REF1", ""), element.get("TIME_SLOT_REF2", "")) if aligned else None,
        element.get("ANNOTATION_REF", ""),
        element.get("PREVIOUS_ANNOTATION", ""),
    )


def _tier(element: Element, kind: Element | None, annotations: Sequence[Annotation]) -> Tier:
    def given(attribute: str) -> str | None:
        return (element.get(attribute) or "").strip() or None

    constraint = "" if kind is None else kind.get("CONSTRAINTS", "")
    return Tier(
        name=element.get("TIER_ID", ""),
        type=element.get("LINGUISTIC_TYPE_REF", ""),
        constraint=constraint,
        parent=given("PARENT_REF"),
        participant=given("PARTICIPANT"),
        annotator=given("ANNOTATOR"),
        language=given("LANG_REF"),
        locale=given("DEFAULT_LOCALE"),
        aligned=element.find("ANNOTATION/REF_ANNOTATION") is None and not constraint.startswith("Symbolic"),
        annotations=tuple(annotations),
    )


def _times(rows: Sequence[Sequence[_Raw]], slots: Mapping[str, float | None]) -> list[list[Annotation]]:
    """Give every annotation of every tier its times."""
    aligned: list[dict[int, Annotation]] = []  # by place on the tier, since ids of damaged documents repeat
    anchors: dict[str, Annotation] = {}
    above: dict[str, str] = {}
    for row in rows:
        estimates = _estimates([one.slots for one in row if one.slots], slots)
        aligned.append({})
        for place, one in enumerate(row):
            if one.slots:
                made = aligned[-1][place] = _aligned(one, one.slots, slots, estimates)
                anchors.setdefault(one.id, made)
            else:
                above.setdefault(one.id, one.parent)

    def referring(one: _Raw) -> Annotation:
        parent, seen = one.parent, {one.id}
        while parent not in anchors and parent in above and parent not in seen:
            seen.add(parent)
            parent = above[parent]
        if parent in anchors:
            return replace(anchors[parent], id=one.id, text=one.text)
        return Annotation(one.id, one.text, None, None, one.id)

    return [
        [mine.get(place) or referring(row[place]) for place in _in_order(row)]
        for row, mine in zip(rows, aligned, strict=True)
    ]


def _aligned(
    one: _Raw, own: tuple[str, str], slots: Mapping[str, float | None], estimates: Mapping[str, float]
) -> Annotation:
    stored = [slots.get(slot) for slot in own]
    start_ms, end_ms = (
        estimates.get(slot) if value is None else value for slot, value in zip(own, stored, strict=True)
    )
    return Annotation(one.id, one.text, start_ms, end_ms, one.id, None in stored)


def _estimates(pairs: Sequence[tuple[str, str]], slots: Mapping[str, float | None]) -> dict[str, float]:
    """Spread the slots of a tier that have no time evenly between their neighbours on it."""
    wanted = {slot for pair in pairs for slot in pair if slot in slots and slots[slot] is None}
    if not wanted:
        return {}
    order = {slot: place for place, slot in enumerate(slots)}
    known = sorted(
        (pair for pair in pairs if pair[0] in order and pair[1] in order), key=lambda one: order[one[0]]
    )
    chain = list(dict.fromkeys(slot for pair in known for slot in pair))
    found: dict[str, float] = {}
    waiting: list[str] = []
    before: float | None = None
    for slot in chain:
        value = slots[slot]
        if value is None:
            waiting.append(slot)
            continue
        if before is not None and before <= value:
            step = (value - before) / (len(waiting) + 1)
            found |= {one: before + step * number for number, one in enumerate(waiting, start=1)}
        waiting, before = [], value
    return found


def _in_order(row: Sequence[_Raw]) -> Iterator[int]:
    """Return places on a tier in the order of its chains of subdivisions, which the file need not keep."""
    ids = {one.id for one in row}
    following: dict[str | None, list[int]] = defaultdict(list)
    for place, one in enumerate(row):
        following[one.previous if one.previous in ids else None].append(place)
    seen: set[int] = set()
    waiting = following.pop(None, [])[::-1]
    while waiting:
        place = waiting.pop()
        seen.add(place)
        yield place
        waiting += following.pop(row[place].id, [])[::-1]
    yield from (place for place in range(len(row)) if place not in seen)  # chains that bite their own tail
