"""What the parts of a split themselves tell one to keep in mind, as one word each.

In: who speaks in train, dev and test, and in which sittings. Out: marks, which `mms_adapt.reports` explains.
It does not know how the parts came to be.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mms_adapt.manifest import Utterance


def of_parts(parts: Mapping[str, Sequence[Utterance]], *, leaked: bool) -> tuple[str, ...]:
    """Return the marks of parts, by the name of each.

    Args:
        parts: Train, dev and test.
        leaked: Whether the corpus's own division had something in two parts.
    """
    voices = {name: {one.speaker for one in part} for name, part in parts.items()}
    sessions = {name: {one.session for one in part} for name, part in parts.items()}
    return of(voices, sessions, leaked=leaked)


def of(voices: Mapping[str, set[Any]], sessions: Mapping[str, set[Any]], *, leaked: bool) -> tuple[str, ...]:
    """Return the marks that follow from speakers and sessions.

    Args:
        voices: Who speaks, by part; None among them where nobody says.
        sessions: Which sittings, by part.
        leaked: Whether the corpus's own division had something in two parts.
    """
    known = {name: found - {None} for name, found in voices.items()}
    everybody = voices["train"] | voices["dev"] | voices["test"]
    marks: list[str] = []
    if len(everybody) == 1 and None not in everybody:
        marks.append("one_speaker")
    elif known["test"] & known["train"]:
        marks.append("test_shares_speakers")
    elif known["dev"] & known["train"]:
        marks.append("dev_shares_speakers")
    if None in everybody:
        marks.append("unknown_speakers")
    marks += [
        f"{name}_shares_sessions" for name in ("test", "dev") if (sessions[name] & sessions["train"]) - {None}
    ]
    if leaked:
        marks.append("source_split_leaked")
    return tuple(marks)
