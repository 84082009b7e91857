"""What speakers agreed to: licence and consent by speaker or by recording.

In: `ledger.csv` beside the recordings, and utterances. Out: utterances with their licence, those that nobody
may use, and a summary by speaker. It does not know parts of a split, audio or models.

The file has a line with the names of its columns, of which these count: `speaker` or `recording` (what a line
is about; both for one speaker in one recording), `licence` and `consent`. Consent is yes, no, or in words
what was agreed to; an empty field says nothing. Other columns are the owner's own and are left alone.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Quarantined, Utterance

FILE = "ledger.csv"
_REFUSED = {"no", "none", "refused", "withdrawn", "false", "0"}
_WHAT_TO_DO = {
    "no_consent": "nothing, unless the speaker has agreed since: then correct ledger.csv",
    "withdrawn": "nothing: the speaker has withdrawn",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a ledger.

    Attributes:
        speaker: Whom it is about; None for every speaker of the recording.
        recording: What it is about; None for every recording of the speaker.
        licence: What the speech may be used for, in words; None where it does not say.
        consent: What was agreed to; None where it does not say.
        line: Where it stands.
    """

    speaker: str | None
    recording: str | None
    licence: str | None
    consent: str | None
    line: int

    @property
    def refused(self) -> bool:
        """Whether the speech may not be used."""
        return (self.consent or "").casefold() in _REFUSED

    def about(self, utterance: Utterance) -> bool:
        """Tell whether it holds for an utterance."""
        return self.speaker in (None, utterance.speaker) and self.recording in (None, utterance.recording)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The lines of a ledger; a later one, and one about a recording, outweighs an earlier or wider one.

    Attributes:
        entries: The lines, from the weightiest to the lightest.
    """

    entries: tuple[Entry, ...] = ()

    def of(self, utterance: Utterance) -> tuple[str | None, str | None, bool]:
        """Return licence, consent, and whether an utterance may not be used: one refusal is enough."""
        found = [one for one in self.entries if one.about(utterance)]
        licence = next((one.licence for one in found if one.licence), utterance.licence)
        consent = next((one.consent for one in found if one.consent), None)
        return licence, consent, any(one.refused for one in found)


def read(folder: Path) -> Ledger:
    """Read the ledger of a corpus; an empty one where there is no file.

    Args:
        folder: The folder of the recordings.

    Raises:
        CorpusError: If the file cannot be read, or a line is about nobody; it names the line.
    """
    path = folder / FILE
    if not path.is_file():
        return Ledger()
    try:
        text = io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")
        reader = csv.reader(text, strict=True)
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: it cannot be read: {error}; write it as CSV in UTF-8") from error
    header = [name.casefold() for name in rows[0][1]] if rows else []
    if not {"speaker", "recording"} & set(header) or not {"licence", "license", "consent"} & set(header):
        raise CorpusError(
            f"{path}:1: the columns are {', '.join(header) or 'missing'}; needed are speaker or recording, "
            "and licence or consent"
        )
    entries = []
    for line, row in rows[1:]:
        if not any(row):
            continue
        if len(row) != len(header):
            raise CorpusError(f"{path}:{line}: {len(row)} fields, where the first line names {len(header)}")
        entries.append(_entry(path, line, dict(zip(header, row, strict=True))))
    entries.sort(key=lambda one: (None not in (one.speaker, one.recording), one.line), reverse=True)
    return Ledger(tuple(entries))


def _entry(path: Path, line: int, row: Mapping[str, str]) -> Entry:
    speaker, recording = row.get("speaker") or None, row.get("recording") or None
    if speaker is recording is None:
        raise CorpusError(f"{path}:{line}: neither a speaker nor a recording is named; say whom it is about")
    licence = row.get("licence") or row.get("license") or None
    return Entry(speaker, recording, licence, row.get("consent") or None, line)


def unused(ledger: Ledger, utterances: Iterable[Utterance]) -> list[Entry]:
    """Return the lines that are about none of the utterances, in the order of the file."""
    seen: set[tuple[str | None, str | None]] = {(one.speaker, one.recording) for one in utterances}
    seen |= {(speaker, None) for speaker, _ in seen} | {(None, recording) for _, recording in seen}
    unheard = [one for one in ledger.entries if (one.speaker, one.recording) not in seen]
    return sorted(unheard, key=lambda one: one.line)


def apply(
    utterances: Iterable[Utterance], ledger: Ledger, withdrawn: Iterable[str] = ()
) -> tuple[list[Utterance], list[Quarantined]]:
    """Give utterances their licence, and take those away that nobody may use.

    Args:
        utterances: What was found in a corpus.
        ledger: What its speakers agreed to.
        withdrawn: Pseudonyms of speakers who have withdrawn since.

    Returns:
        What may be used, and what may not.
    """
    gone, kept, refused = set(withdrawn), [], []
    for one in utterances:
        licence, consent, no = ledger.of(one)
        if one.speaker is not None and gone and pseudonym(one.speaker) in gone:
            found = "its speaker has withdrawn from this data"
            bare = replace(one, transcript="", speaker=None)  # what she said and who she is are not kept
            refused.append(Quarantined(bare, "withdrawn", found, _WHAT_TO_DO["withdrawn"]))
        elif no:
            found = f"consent of {one.speaker or one.recording}: {consent}"
            refused.append(Quarantined(one, "no_consent", found, _WHAT_TO_DO["no_consent"]))
        else:
            kept.append(one if licence == one.licence else replace(one, licence=licence))
    return kept, refused


@dataclass(frozen=True, slots=True)
class Share:
    """What of one speaker is in the data.

    Attributes:
        speaker: The label; None for utterances without one.
        pseudonym: What stands for her in adapters; None without a label.
        utterances: Of each part.
        minutes: Of each part.
        licences: Every licence that these utterances are under.
        consent: What she agreed to, where a ledger says.
    """

    speaker: str | None
    pseudonym: str | None
    utterances: Mapping[str, int]
    minutes: Mapping[str, float]
    licences: tuple[str, ...]
    consent: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def shares(parts: Mapping[str, Sequence[Utterance]], ledger: Ledger) -> list[Share]:
    """Summarise by speaker what is used, those with most speech first."""
    by_speaker: dict[str | None, dict[str, list[Utterance]]] = {}
    for name, part in parts.items():
        for one in part:
            by_speaker.setdefault(one.speaker, {each: [] for each in parts})[name].append(one)
    found = []
    for speaker, held in by_speaker.items():
        every = [one for part in held.values() for one in part]
        found.append(
            Share(
                speaker,
                None if speaker is None else pseudonym(speaker),
                {name: len(part) for name, part in held.items()},
                {name: round(sum(one.duration_s for one in part) / 60, 2) for name, part in held.items()},
                tuple(sorted({one.licence for one in every if one.licence})),
                tuple(sorted({consent for one in every if (consent := ledger.of(one)[1])})),
            )
        )
    return sorted(found, key=lambda one: (-sum(one.minutes.values()), one.speaker or ""))


def pseudonym(speaker: str) -> str:
    """Return what stands for a speaker in an adapter: not her label, but whoever knows the label finds it."""
    return hashlib.sha256(f"mms_adapt speaker {speaker}".encode()).hexdigest()[:16]
