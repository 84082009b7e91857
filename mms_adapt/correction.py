"""A folder of ELAN documents for a person to transcribe in, with their recordings and a list.

In: stretches of recordings with what a machine made of them. Out: the folder, which appears whole or not at
all. It does not know how the stretches were chosen.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mms_adapt import files
from mms_adapt.decoders import Hypothesis
from mms_adapt.novelty import Worth
from mms_adapt.writers import elan

LIST = "selection.jsonl"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording that could be transcribed, or was chosen to be.

    Attributes:
        id: The recording's name and the place in it.
        recording: The audio file.
        start_s: Where it starts.
        end_s: Where it ends.
        draft: What the machine makes of it.
        confidence: How sure it is, 0 to 1.
        worth: What it would teach: as the first choice, or, where it was chosen, beside those before it.
        rank: Its number among those chosen, from 1; None where it was not.
    """

    id: str
    recording: str
    start_s: float
    end_s: float
    draft: str
    confidence: float
    worth: Worth
    rank: int | None


def write(folder: Path, stretches: Sequence[Stretch]) -> tuple[Path, ...]:
    """Write a document for each recording with chosen stretches, and the list of all stretches.

    Copies of the recordings come beside their documents, so that the folder can be given away as it is.

    Args:
        folder: Where to; it is not there yet, or empty.
        stretches: Chosen and not.

    Returns:
        The documents.
    """
    chosen: dict[str, list[Stretch]] = {}
    for one in sorted(stretches, key=lambda one: (one.recording, one.start_s)):
        if one.rank is not None:
            chosen.setdefault(one.recording, []).append(one)
    names = _names(chosen)
    if folder.is_dir():
        folder.rmdir()
    with files.new_folder(folder) as unfinished:
        for recording, some in chosen.items():
            beside = unfinished / f"{names[recording]}{Path(recording).suffix}"
            shutil.copy2(recording, beside)
            drafts = [
                (
                    one.start_s,
                    Hypothesis(one.draft, confidence=one.confidence, duration_s=one.end_s - one.start_s),
                )
                for one in some
            ]
            written = elan.for_correction(beside.name, drafts).encode("utf-8")
            (unfinished / f"{names[recording]}.eaf").write_bytes(written)
        lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in stretches)
        (unfinished / LIST).write_text("".join(lines), encoding="utf-8")
    return tuple(folder / f"{name}.eaf" for name in names.values())


def _names(recordings: Iterable[str]) -> Mapping[str, str]:
    """Return a name for each recording's document: its own, with a number where several share it."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for one in recordings:
        stem, number = Path(one).stem, 1
        name = stem
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        found[one] = name
    return found
