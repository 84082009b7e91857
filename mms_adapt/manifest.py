"""The `Utterance`, and files of them: one JSON object a line.

In: a manifest's path. Out: utterances one by one, each checked; and the way back. Whatever is wrong with a
line is a `ManifestError` that names file and line. Only hashes of the ids are kept in memory, to find those
that come twice. It does not know whether recordings exist, what transcripts mean or how the file came to be.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from mms_adapt import files
from mms_adapt.errors import ManifestError
from mms_adapt.seen import Seen


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of a recording with one transcript.

    Attributes:
        id: A name, different for every utterance of a corpus.
        recording: The audio file, relative to the corpus's folder, with "/" between folders.
        start_s: Where it starts.
        end_s: Where it ends; None for the recording's end, until the recording has been looked at.
        transcript: What was written down, exactly as found.
        target_lang: The language's code.
        speaker: Who speaks; None where nobody says.
        session: Which sitting; those of one sitting stay in one part of a split.
        source_split: The part that the corpus itself puts it in.
        licence: What the speakers agreed to, in words.
        reference: The transcript after normalising; None before.
        audio_sha256: Hash of its sound as 16-bit samples at 16 kHz, mono; None before it was decoded.
    """

    id: str
    recording: str
    start_s: float
    end_s: float | None
    transcript: str
    target_lang: str
    speaker: str | None = None
    session: str | None = None
    source_split: str | None = None
    licence: str | None = None
    reference: str | None = None
    audio_sha256: str | None = None

    @property
    def duration_s(self) -> float:
        """Its length; known where `end_s` is, which is so in all prepared data.

        Raises:
            ManifestError: If it reaches to the recording's end and nobody has looked where that is.
        """
        if self.end_s is None:
            raise ManifestError(
                f"utterance {self.id}: its length is unknown before its recording is looked at; prepare does"
            )
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An utterance that is left out, and why.

    Attributes:
        utterance: The utterance.
        reason: As one word, such as "missing_audio".
        detail: What was found.
        what_to_do: What a person can do about it.
    """

    utterance: Utterance
    reason: str
    detail: str
    what_to_do: str


def evenly(utterances: Sequence[Utterance], minutes: float) -> list[Utterance]:
    """Return utterances up to some minutes, evenly taken, always the same ones."""
    share = sum(one.duration_s for one in utterances) / 60 / minutes
    count = len(utterances) if share <= 1 else max(1, int(len(utterances) / share))
    return [utterances[place * len(utterances) // count] for place in range(count)]


_NEEDED = ("id", "recording", "start_s", "end_s", "transcript", "target_lang")
_SPAN = {"start_s", "end_s"}
_LEFT_OUT = ("reason", "detail", "what_to_do")
_FIELDS = tuple(field.name for field in fields(Utterance))
_REPEATED = {"target_lang", "speaker", "session", "source_split", "licence"}  # one text for many lines
_HALF = re.compile(r"[\ud800-\udfff]")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # control characters, separators of lines


def read(path: str | PathLike[str]) -> Iterator[Utterance]:
    """Read a manifest line by line; empty lines are passed over.

    Args:
        path: A file in UTF-8, one JSON object a line.

    Yields:
        The utterances in the file's order.

    Raises:
        ManifestError: If the file is missing, or a line is not an utterance; it names the line.
    """
    seen = Seen()
    for number, line in _lines(Path(path)):
        try:
            utterance = _utterance(_object(line))
        except ValueError as error:
            raise ManifestError(f"{path}:{number}: {error}") from error
        if seen.add(utterance.id) and (first := _line_of(Path(path), utterance.id)) < number:
            raise ManifestError(
                f"{path}:{number}: the id {shown(utterance.id)} stands in line {first} already; "
                "give every utterance its own"
            )
        yield utterance


def write(path: str | PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write a manifest whole or not at all.

    Args:
        path: The file; replaced where it exists.
        utterances: What to write, in this order. Optional fields that are None are left out.
    """
    _write(Path(path), map(_record, utterances))


def read_quarantine(path: str | PathLike[str]) -> Iterator[Quarantined]:
    """Read what `write_quarantine` wrote.

    Raises:
        ManifestError: If the file is missing, or a line is something else.
    """
    for number, line in _lines(Path(path)):
        try:
            record = _object(line)
            reason, detail, what_to_do = (str(record.pop(name)) for name in _LEFT_OUT)
            yield Quarantined(_utterance(record), reason, detail, what_to_do)
        except (ValueError, KeyError) as error:
            raise ManifestError(f"{path}:{number}: {error}") from error


def write_quarantine(path: str | PathLike[str], quarantined: Iterable[Quarantined]) -> None:
    """Write utterances with the reasons why they are left out, whole or not at all."""
    _write(
        Path(path),
        ({name: getattr(one, name) for name in _LEFT_OUT} | _record(one.utterance) for one in quarantined),
    )


def complaint(utterance: Utterance) -> str:
    """Say what no utterance may have: a bad id, path or span, half characters; "" where all is well."""
    for name in ("id", "recording", "target_lang"):
        value = getattr(utterance, name)
        if not value.strip():
            return f"{name} is empty"
        if _UNSEEN.search(value):
            return f"{name} {shown(value)} holds a control character or a line break"
    for name in _FIELDS:
        value = getattr(utterance, name)
        if isinstance(value, str) and _HALF.search(value):
            return f"{name} {shown(value)} holds half a character (a lone surrogate)"
    recording = utterance.recording
    if "\\" in recording:
        return f"recording {shown(recording)}: write / between folders"
    if re.match(r"/|[A-Za-z]:", recording) or ".." in PurePosixPath(recording).parts:
        return f"recording {shown(recording)}: give a path inside the corpus's folder, relative to it"
    start_s, end_s = utterance.start_s, utterance.end_s
    if not (math.isfinite(start_s) and start_s >= 0):
        return f"start_s is {start_s}: give seconds from the recording's start"
    if end_s is not None and not (math.isfinite(end_s) and end_s > start_s):
        return f"end_s is {end_s} and start_s is {start_s}: the end must come after the start"
    return ""


def trimmed(utterance: Utterance) -> Utterance:
    """Return an utterance whose labels have no blanks around them, as `read` gives them.

    Id and recording keep theirs: files are called so.
    """
    labels = {name: getattr(utterance, name) for name in _REPEATED - {*_NEEDED}}
    changed: dict[str, Any] = {
        name: text.strip() or None for name, text in labels.items() if text and text != text.strip()
    }
    return replace(utterance, **changed) if changed else utterance


def shown(text: str, longest: int = 60) -> str:
    """Return a text from outside as it may stand in an error: quoted, escaped where unseen, not too long."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return repr(cut)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Return the lines that are not empty, with their numbers."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except OSError as error:
        raise ManifestError(f"{path}: this manifest cannot be read: {error.strerror}") from error


def _line_of(path: Path, name: str) -> int:
    """Return the number of the first line whose utterance has this id; there is one."""
    return next(number for number, line in _lines(path) if _utterance(_object(line)).id == name)


def _write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    lines = (f"{json.dumps(one, ensure_ascii=False, allow_nan=False)}\n" for one in records)
    files.write_pieces(path, (line.encode("utf-8") for line in lines))


def _record(utterance: Utterance) -> dict[str, Any]:
    values = {name: getattr(utterance, name) for name in _FIELDS}
    return {name: value for name, value in values.items() if value is not None or name in _NEEDED}


def _object(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line, or raise ValueError with what is wrong."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("this is not UTF-8; save the file in UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON at character {error.pos + 1}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"this is not a JSON object in braces: {shown(json.dumps(record))}")
    return record


def _utterance(record: dict[str, Any]) -> Utterance:
    """Return the utterance of an object, or raise ValueError with what is wrong."""
    _check_names(record)
    record = {"start_s": 0.0, "end_s": None, **record}
    utterance = Utterance(**{name: _value(name, record.get(name)) for name in _FIELDS})
    if wrong := complaint(utterance):
        raise ValueError(wrong)
    return utterance


def _check_names(record: dict[str, Any]) -> None:
    """Refuse what lacks a field, or has one that looks like a misspelt one; others are passed over."""
    whole = not record.keys() & _SPAN  # of a recording, where neither its start nor its end is told
    missing = [name for name in _NEEDED if name not in record and not (whole and name in _SPAN)]
    absent = [name for name in _FIELDS if name not in record]
    for name in sorted(record.keys() - set(_FIELDS)):
        if near := get_close_matches(name, absent, n=1, cutoff=0.8):
            raise ValueError(f"there is a field {shown(name)}; is {near[0]!r} meant?")
    if missing:
        needed = ", ".join(name for name in _NEEDED if name not in _SPAN)
        raise ValueError(
            f"{' and '.join(map(repr, missing))} missing; needed are {needed}, and of start_s and end_s "
            "both or none"
        )


def _value(name: str, value: Any) -> Any:
    """Return a field's value in its type."""
    if name in ("start_s", "end_s"):
        if value is None and name == "end_s":
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {shown(json.dumps(value))}: give a number of seconds")
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if value is None and name == "transcript":
        return ""
    if value is None and name not in _NEEDED:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(json.dumps(value))}: give text in quotation marks")
    if name in ("transcript", "reference"):
        return value
    if name in _REPEATED:
        value = value.strip() or (None if name not in _NEEDED else "")
    return sys.intern(value) if value and name in _REPEATED else value
