"""ELAN documents (.eaf), many in a folder and below it, with their recordings.

In: the folder, or one document. Out: an utterance for each annotation of the tiers that hold transcripts, in
the order of documents, tiers and annotations. `mms_adapt.tiers` tells which tiers these are, unless the
options `tiers`, `tier_type` and `participant` say it: patterns with * and ?, several with commas.

The speaker is the tier's PARTICIPANT or that of a tier above it, else what follows the "@" in its name, else
nobody: a tier's name alone may be a speaker's or not, and a wrong speaker would make a split promise what it
does not keep. The session is the document. Annotations that subdivide those of another tier, such as words,
have no times of their own; those of one parent are joined and have its times.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

from mms_adapt import eaf, language
from mms_adapt.corpora import Reading
from mms_adapt.corpora._annotations import Annotated, Span, folder_of, parsed, utterances
from mms_adapt.errors import CorpusError
from mms_adapt.media import Link, any_document
from mms_adapt.tiers import Candidate, Wanted

DESCRIPTION = (
    "ELAN documents (.eaf) in it or below it, and the recordings that they name or that share their name"
)
FILES = (".eaf",)
_SUFFIX = ".eaf"
_NO_LANGUAGE = {"und", "mul", "mis", "zxx"}


def recognise(root: Path) -> bool:
    """Tell whether there is an `.eaf` in a folder or below it, or whether this is one."""
    return any_document(Path(root), _SUFFIX)


def read(
    root: Path,
    split: str | None = None,
    *,
    target_lang: str,
    tiers: str | None = None,
    tier_type: str | None = None,
    participant: str | None = None,
) -> Reading:
    """Read the utterances of one language.

    Args:
        root: The folder, or one document.
        split: ELAN knows no parts, so any passes over all utterances.
        target_lang: The language; tiers that say they are in another one are passed over unless asked for.
        tiers: Patterns of names of tiers, instead of choosing by the sense of their names.
        tier_type: Patterns of linguistic types of tiers.
        participant: Patterns of speakers.

    Raises:
        CorpusError: If there is no document, or some cannot be read, or no tier looks like a transcript.
        OptionError: If an option is empty, or no tier fits it.
    """
    root, wanted = Path(root), Wanted(tiers, tier_type, participant)
    if not recognise(root):
        raise CorpusError(f"{root}: expected here are {DESCRIPTION}; there is no .eaf")
    documents = parsed(root, _SUFFIX, partial(_annotated, target_lang=target_lang))
    return Reading(
        utterances(documents, folder_of(root), wanted=wanted, target_lang=target_lang, split=split)
    )


def _annotated(data: bytes, place: PurePosixPath, *, target_lang: str) -> Annotated:
    document = eaf.parse(data, str(place))
    places = {tier.name: number for number, tier in reversed(list(enumerate(document.tiers)))}
    languages = [_other_language(tier.language, target_lang) for tier in document.tiers]
    return Annotated(
        place,
        [
            Candidate(
                tier.name,
                tier.type,
                _speaker(document.tiers, number, places),
                places.get(tier.parent or ""),
                tier.aligned,
                tuple(one.text for one in tier.annotations),
                other_language=other,
            )
            for number, (tier, other) in enumerate(zip(document.tiers, languages, strict=True))
        ],
        [list(_spans(tier.annotations)) for tier in document.tiers],
        languages,
        [Link(one.url, one.relative_url) for one in document.media],
        [one.origin_ms / 1000 for one in document.media],
        "; ".join(document.licences) or None,
    )


def _other_language(code: str | None, target_lang: str) -> str | None:
    """Return a tier's language where it cannot be the one that is wanted."""
    if code is None or code.casefold() in _NO_LANGUAGE or language.means(code, target_lang):
        return None
    return code


def _speaker(tiers: Sequence[eaf.Tier], number: int, places: dict[str, int]) -> str | None:
    path = [tiers[number]]
    while (parent := places.get(path[-1].parent or "")) is not None and tiers[parent] not in path:
        path.append(tiers[parent])
    named = (one.participant for one in path)
    suffixes = (one.name.partition("@")[2].strip() for one in path)
    return next(filter(None, (*named, *suffixes)), None)


def _spans(annotations: Sequence[eaf.Annotation]) -> Iterator[Span]:
    """Return annotations, with subdivisions of one parent joined in their order."""
    for _, group in groupby(annotations, key=lambda one: one.anchor):
        parts = list(group)
        start_s, end_s = (
            None if value is None else value / 1000 for value in (parts[0].start_ms, parts[0].end_ms)
        )
        text = parts[0].text if len(parts) == 1 else " ".join(one.text for one in parts if one.text.strip())
        yield Span(parts[0].id, start_s, end_s, text, any(one.estimated for one in parts))
