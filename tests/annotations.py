"""Annotation documents made on the spot: ELAN's and Praat's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import pytest

from mms_adapt import manifest

CONSTRAINTS = ("Time_Subdivision", "Symbolic_Subdivision", "Symbolic_Association", "Included_In")
Row = tuple[float | None, float | None, str]


@dataclass
class TierOf:
    """A tier to be written: rows of start and end in milliseconds, or parent's id, and text."""

    name: str
    rows: Sequence[Row | tuple[str, str]] = ()
    kind: str = "default-lt"
    parent: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def eaf_tree(*tiers: TierOf, media: Sequence[dict[str, str]] = (), licence: str = "") -> Element:
    """Return an ELAN document; annotations are called a1, a2 and so on, over all tiers.

    Types of the names of ELAN's constraints have that constraint; rows in a row that share a time, and all
    without one, share its slot.
    """
    root = Element(
        "ANNOTATION_DOCUMENT", AUTHOR="", DATE="2024-01-01T00:00:00+00:00", FORMAT="3.0", VERSION="3.0"
    )
    root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
    root.set("xsi:noNamespaceSchemaLocation", "http://www.mpi.nl/tools/elan/EAFv3.0.xsd")
    if licence:
        SubElement(root, "LICENSE", LICENSE_URL="").text = licence
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    for one in media:
        SubElement(header, "MEDIA_DESCRIPTOR", {"MIME_TYPE": "audio/x-wav", **one})
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = "99"
    order = SubElement(root, "TIME_ORDER")
    count = 0
    for tier in tiers:
        attributes = {"LINGUISTIC_TYPE_REF": tier.kind, "TIER_ID": tier.name, **tier.attributes}
        if tier.parent is not None:
            attributes["PARENT_REF"] = tier.parent
        written = SubElement(root, "TIER", attributes)
        last: tuple[float | None, str] | None = None
        for row in tier.rows:
            count += 1
            annotation = SubElement(written, "ANNOTATION")
            if len(row) == 2:
                inner = SubElement(
                    annotation, "REF_ANNOTATION", ANNOTATION_ID=f"a{count}", ANNOTATION_REF=row[0]
                )
            else:
                slots = []
                for value in row[:2]:
                    if last is None or last[0] != value or len(slots) == 1:
                        last = (value, f"ts{len(order) + 1}")
                        slot = SubElement(order, "TIME_SLOT", TIME_SLOT_ID=last[1])
                        if value is not None:
                            slot.set("TIME_VALUE", str(value))
                    slots.append(last[1])
                inner = SubElement(
                    annotation,
                    "ALIGNABLE_ANNOTATION",
                    ANNOTATION_ID=f"a{count}",
                    TIME_SLOT_REF1=slots[0],
                    TIME_SLOT_REF2=slots[1],
                )
            SubElement(inner, "ANNOTATION_VALUE").text = row[-1]
    for kind in dict.fromkeys(tier.kind for tier in tiers):
        attributes = {
            "LINGUISTIC_TYPE_ID": kind,
            "TIME_ALIGNABLE": str(not kind.startswith("Symbolic")).lower(),
        }
        if kind in CONSTRAINTS:
            attributes["CONSTRAINTS"] = kind
        SubElement(root, "LINGUISTIC_TYPE", attributes)
    for kind in CONSTRAINTS:
        SubElement(root, "CONSTRAINT", DESCRIPTION="", STEREOTYPE=kind)
    return root


def eaf_bytes(*tiers: TierOf, media: Sequence[dict[str, str]] = (), licence: str = "") -> bytes:
    """Return an ELAN document in UTF-8."""
    root = eaf_tree(*tiers, media=media, licence=licence)
    ElementTree.indent(root, "    ")
    written: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return written


def textgrid_text(
    *tiers: tuple[str, Sequence[tuple[float, float, str] | tuple[float, str]]], long: bool = True
) -> str:
    """Return a TextGrid; rows of start, end and text, or of a point's time and text."""
    end = max([row[-2] for _, rows in tiers for row in rows if not isinstance(row[-2], str)] or [1.0])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]

    def put(name: str, value: object, depth: int = 0) -> None:
        text = '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)
        lines.append(" " * 4 * depth + f"{name} = {text} " if long else text)

    put("xmin", 0)
    put("xmax", end)
    lines.append("tiers? <exists> " if long else "<exists>")
    put("size", len(tiers))
    lines += ["item []: "] if long else []
    for number, (name, rows) in enumerate(tiers, start=1):
        points = any(len(row) == 2 for row in rows)
        lines += [f"    item [{number}]:"] if long else []
        put("class", "TextTier" if points else "IntervalTier", 2)
        put("name", name, 2)
        put("xmin", 0, 2)
        put("xmax", end, 2)
        put("points: size" if points else "intervals: size", len(rows), 2)
        for count, row in enumerate(rows, start=1):
            lines += [f"        {'points' if points else 'intervals'} [{count}]:"] if long else []
            for what, value in zip(
                ("number", "mark") if points else ("xmin", "xmax", "text"), row, strict=True
            ):
                put(what, value, 3)
    return "\n".join(lines) + "\n"


def as_elan(folder: Path) -> Path:
    """Turn a folder of spans into one with an ELAN document, a tier for each speaker and language."""
    tiers: dict[tuple[str, str], list[Row]] = {}
    for one in manifest.read(folder / "utterances.jsonl"):
        rows = tiers.setdefault((one.speaker or "", one.target_lang), [])
        rows.append((round(one.start_s * 1000), round((one.end_s or 0) * 1000), one.transcript))
    written = [
        TierOf(f"text-{lang}@{speaker}", rows, attributes={"LANG_REF": lang})
        for (speaker, lang), rows in tiers.items()
    ]
    (folder / "session.eaf").write_bytes(eaf_bytes(*written, media=[{"MEDIA_URL": "file:///gone/all.wav"}]))
    (folder / "utterances.jsonl").unlink()
    return folder


def as_textgrid(folder: Path) -> Path:
    """Turn a folder of spans into one with a TextGrid, a tier for each speaker of the language xho."""
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for one in manifest.read(folder / "utterances.jsonl"):
        if one.target_lang == "xho":
            tiers.setdefault(f"text@{one.speaker}", []).append((one.start_s, one.end_s or 0, one.transcript))
    (folder / "all.TextGrid").write_text(textgrid_text(*tiers.items()), encoding="utf-8")
    (folder / "utterances.jsonl").unlink()
    return folder


def real_annotations() -> Path:
    """Return the folder of real annotation files, or skip the test."""
    folder = Path(__file__).parents[2] / "shared" / "annotations"
    if not folder.is_dir():
        pytest.skip("no real annotation files here")
    return folder
