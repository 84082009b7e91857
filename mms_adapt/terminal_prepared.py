"""What `prepare` made, and what to look at in it, in words for a terminal.

In: prepared data. Out: lines. It does not know how it was made.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mms_adapt import terminal

if TYPE_CHECKING:
    from mms_adapt.prepared import Prepared


def show_prepared(prepared: "Prepared") -> None:
    """Print what was prepared: minutes and speakers of each part, what was left out, what to keep in mind."""
    from mms_adapt.reports import explain, minutes

    out = terminal.console()
    out.print(f"layout {prepared.layout}: {prepared.root}", markup=False)
    for split in ("train", "dev", "test"):
        utterances = prepared.utterances(split)
        speakers = len({one.speaker for one in utterances if one.speaker is not None})
        voices = f", {speakers} speaker{'s' if speakers > 1 else ''}" if speakers else ""
        length = minutes(sum(one.duration_s for one in utterances))
        out.print(f"{split:6} {len(utterances):6} utterances, {length}{voices}", markup=False)
    reasons = Counter(one.reason for one in prepared.quarantined())
    for reason, count in sorted(reasons.items()):
        out.print(f"left out: {count} x {reason}", markup=False)
    for note in (*_counted(prepared.counts), *(f"{mark}: {explain(mark)}" for mark in prepared.marks)):
        out.print(f"note: {note}", markup=False)
    out.print(f"written: {prepared.folder}", markup=False)


def _counted(counts: Mapping[str, Any]) -> Iterator[str]:
    """Say what was counted while preparing and should be looked at."""
    yield from counts.get("notes", ())
    for one in counts.get("skipped", ()):
        yield f"rows passed over: {one['count']} x {one['reason']} {one['detail']}"
    if found := {kind: count for kind, count in counts.get("findings", {}).items() if kind != "digits"}:
        shown = ", ".join(f"{count} {kind}" for kind, count in found.items())
        yield f"worth a look: {shown}; findings.json holds the ids, and mms-adapt inspect shows them"
    if counts.get("with_digits"):
        yield f"{counts['with_digits']} utterances have figures in their transcripts: write them as words"
    if bracketed := counts.get("bracketed"):
        shown = _listed(bracketed)
        yield f"in brackets, and so left out of references; if it was spoken, take the brackets away: {shown}"
    if removed := counts.get("removed_characters"):
        yield f"characters that the normaliser took out, with their counts: {_listed(removed)}"
    for split, unseen in counts.get("unseen_characters", {}).items():
        if unseen:
            shown = _listed(unseen, len(unseen))
            yield f"characters in {split} that training never shows, with their counts: {shown}"


def _listed(counts: Mapping[str, int], most: int = 30) -> str:
    """Return the first of what was counted, and how many more there are."""
    from mms_adapt.prepared import RECORD

    shown = "  ".join(f"{one} {count}" for one, count in list(counts.items())[:most])
    return shown if len(counts) <= most else f"{shown}  and {len(counts) - most} more, in {RECORD}"
