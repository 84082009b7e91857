"""Take a speaker out of prepared data, and find the adapters that heard her.

In: a prepared folder, a speaker, and the registries where adapters are. Out: the folder without her
utterances and features, and the adapters that were trained, chosen or tested with them. It does not change
adapters: what becomes of them is for people to decide. It does not touch the recordings themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

from mms_adapt import ledger, passport, registry
from mms_adapt.errors import AdapterError, OptionError, PreparedError
from mms_adapt.prepared import Prepared, without_speaker


@dataclass(frozen=True, slots=True)
class Heard:
    """An adapter that heard a speaker.

    Attributes:
        folder: The adapter's folder.
        parts: In which parts of its data she was: "train", "dev", "test".
        surely: Whether its passport names her; otherwise it does not tell its speakers, and was made of this
            very data.
    """

    folder: Path
    parts: tuple[str, ...]
    surely: bool


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was taken out.

    Attributes:
        prepared: The data without the speaker.
        utterances: How many were taken from each part.
        quarantined: How many were taken from what had been left out.
        adapters: Those that heard her.
        unknown: Adapter folders that do not tell what they heard.
    """

    prepared: Prepared
    utterances: dict[str, int]
    quarantined: int
    adapters: tuple[Heard, ...]
    unknown: tuple[Path, ...]


def withdraw(
    prepared: str | PathLike[str],
    *,
    speaker: str,
    adapters: Iterable[str | PathLike[str]] = (),
) -> Withdrawal:
    """Take a speaker out of prepared data.

    Her utterances, their transcripts and their cached features go; vocabulary, hashes and counts are made
    anew. The folder remembers her by a pseudonym, so that preparing it again leaves her out, too. The
    division of the others stays as it was.

    Args:
        prepared: Folder that `prepare` wrote.
        speaker: Her label, as it stands in the corpus.
        adapters: Registries or adapter folders to look through.

    Raises:
        OptionError: If nobody in the data has this label.
        PreparedError: If the folder cannot be used, or nothing would be left to train on.
    """
    data = Prepared.load(prepared)
    label = ledger.pseudonym(speaker)
    parts = {part: data.utterances(part) for part in data.split_sha256}
    counts = {part: sum(one.speaker == speaker for one in held) for part, held in parts.items()}
    quarantined = sum(one.utterance.speaker == speaker for one in data.quarantined())
    if not any(counts.values()) and not quarantined:
        if label in data.withdrawn:
            raise OptionError(f"{data.folder}: {speaker!r} has been withdrawn already")
        known = sorted({one.speaker for held in parts.values() for one in held if one.speaker})
        near = get_close_matches(speaker, known, n=3) or known[:10]
        raise OptionError(
            f"{data.folder}: no utterance is by {speaker!r}; its speakers are "
            f"{', '.join(near) or 'not named'}{', …' if len(known) > len(near) else ''}"
        )
    heard, unknown = _heard(adapters, label, data, counts)
    if counts["train"] == len(parts["train"]):
        raise PreparedError(
            f"{data.folder}: every training utterance is by {speaker!r}, so nothing would be left; remove "
            "the folder, and write no for her consent into ledger.csv beside the recordings"
        )
    return Withdrawal(without_speaker(data, speaker), counts, quarantined, heard, unknown)


def _heard(
    places: Iterable[str | PathLike[str]], label: str, data: Prepared, counts: dict[str, int]
) -> tuple[tuple[Heard, ...], tuple[Path, ...]]:
    """Look through adapters: those that heard a speaker, and those that do not tell."""
    heard, unknown = [], []
    for folder in dict.fromkeys(one for place in places for one in _folders(Path(place))):
        try:
            found = passport.read(folder)
        except AdapterError:
            unknown.append(folder)
            continue
        named = tuple(part for part, labels in found.speakers.items() if label in labels)
        same = tuple(
            part for part, sha256 in data.split_sha256.items()
            if counts[part] and found.split_sha256.get(part) == sha256
        )  # fmt: skip
        if named or same:
            heard.append(Heard(folder, named or same, bool(named)))
        elif not found.speakers and not found.split_sha256:
            unknown.append(folder)
    return tuple(heard), tuple(unknown)


def _folders(place: Path) -> list[Path]:
    """Return the adapter folders at a place: itself, or those of a registry."""
    if not place.is_dir():
        raise OptionError(f"{place}: there is no such folder of adapters")
    if (place / passport.FILE).is_file():
        return [place]
    return [place / name for name in registry.names(place)]
