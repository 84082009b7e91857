"""From annotation documents to utterances, the same for every format that has tiers.

In: documents one by one, each as an `Annotated`: its tiers, spans and links. Out: utterances, rows that are
passed over, and notes on what was chosen. It does not know file formats.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mms_adapt.corpora import Note, Skipped
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.manifest import Utterance, complaint, shown
from mms_adapt.media import Found, Link, Shelf, documents
from mms_adapt.tiers import DRAFT, Candidate, Choice, Wanted, choose, holed, kind, transcribed

PAUSE_S = 0.2  # joins words to utterances up to a pause as long as this
_SILENCE = {"sil", "sp", "spn", "<eps>", "<sil>", "<p:>", "<unk>"}  # forced aligners' labels
_LISTED = 12
_HOLED = "transcripts with places that are not written down (xxx or ***)"
_ESTIMATED = "utterances with a time that nobody set, spread evenly between those set"
_OVERLAPPING = "utterances that overlap with speech on another tier"
_UNCHANGED = "transcripts that are word for word the machine's draft beside them, right or unread"
_UNCHECKED = "transcripts from a tier that is called a machine's draft, to be read by a person first"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text with its time in the document.

    Attributes:
        id: Its name in the document.
        start_s: Where it starts; None where nobody knows.
        end_s: Where it ends.
        text: Exactly as found.
        estimated: Whether a time lies evenly between others and was not set by a person.
    """

    id: str
    start_s: float | None
    end_s: float | None
    text: str
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Annotated:
    """A document.

    Attributes:
        place: Where it is in the folder.
        tiers: What is known of its tiers.
        spans: The annotations of each tier.
        languages: Of each tier, the language that it says it is in, where that is another one.
        links: What it says of its recordings.
        offsets_s: Of each link, where the document's zero is in it.
        licence: What it says of it.
    """

    place: PurePosixPath
    tiers: Sequence[Candidate]
    spans: Sequence[Sequence[Span]]
    languages: Sequence[str | None]
    links: Sequence[Link] = ()
    offsets_s: Sequence[float] = ()
    licence: str | None = None


@dataclass(slots=True)
class _Seen:
    """What was seen over all documents, for the notes at the end."""

    chosen: Counter[str] = field(default_factory=Counter)
    joined: set[str] = field(default_factory=set)
    others: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    without: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    foreign: bool = False


def parsed(
    root: Path, suffix: str, parse: Callable[[bytes, PurePosixPath], Annotated]
) -> Iterator[Annotated]:
    """Return the documents in a folder and below it, or the one that the root is.

    Args:
        root: The folder or document.
        suffix: Of the documents' names.
        parse: From the bytes of a document, and its place.

    Raises:
        CorpusError: When all are read, if some could not be; it names each.
    """
    folder = folder_of(root)
    broken: list[str] = []
    for place in documents(root, suffix):
        try:
            document = parse((folder / place).read_bytes(), place)
        except CorpusError as error:
            broken.append(f"{folder}/{error}")
        except OSError as error:
            broken.append(f"{folder / place}: this document cannot be read: {error.strerror}")
        else:
            yield document
    if broken:
        several = f"{len(broken)} documents cannot be read: " if len(broken) > 1 else ""
        raise CorpusError(several + "; ".join(broken))


def folder_of(root: Path) -> Path:
    """Return the folder itself, or the one that a document is in."""
    return root if root.is_dir() else root.parent


def utterances(
    annotated: Iterable[Annotated], root: Path, *, wanted: Wanted, target_lang: str, split: str | None
) -> Iterator[Utterance | Skipped | Note]:
    """Return the utterances of documents.

    Args:
        annotated: The documents, one by one.
        root: The folder that they are in.
        wanted: Which tiers the user wants.
        target_lang: The language.
        split: The part that is wanted; these corpora have none, so any passes over all.

    Raises:
        CorpusError: If no tier of any document holds transcripts, as far as can be told.
        OptionError: If no tier is as the user wants it.
    """
    shelf, seen = Shelf(root), _Seen()
    for document in annotated:
        choice = choose(document.tiers, wanted)
        found = shelf.find(document.place, document.links)
        _remember(document, choice, found, seen)
        for place, why in choice.why.items():
            other = document.languages[place]
            row = Skipped("other_language", other) if other else Skipped("other_tier", why)
            yield from [row] * len(document.spans[place])
        for one in _document(document, choice, found, target_lang, seen):
            yield Skipped("other_split", "none") if split is not None and isinstance(one, Utterance) else one
        seen.foreign |= any(document.languages)
    if seen.chosen:
        yield from map(Note, _notes(seen, wanted))
    elif not seen.foreign:
        _complain(root, wanted, seen)


def _document(
    document: Annotated, choice: Choice, found: Found, target_lang: str, seen: _Seen
) -> Iterator[Utterance | Skipped]:
    """Return the utterances of a document's chosen tiers, tier by tier."""
    offset_s = document.offsets_s[found.link or 0] if document.offsets_s else 0.0
    spoken: list[tuple[int, Span]] = []
    for place in choice.chosen:
        sound: list[Span | None] = []  # None where words must not be joined across
        for span in document.spans[place]:
            reason = _unusable(span, offset_s, words=choice.joined)
            if reason:
                yield reason
            if not reason or reason.reason not in ("empty_annotation", "silence"):
                sound.append(None if reason else span)
        whole = _joined(sound) if choice.joined else [span for span in sound if span]
        spoken += [(place, span) for span in whole]
    seen.counts[_OVERLAPPING] += _overlapping(spoken)
    ids: Counter[str] = Counter()
    drafts = {place for place, tier in enumerate(document.tiers) if kind(tier) == DRAFT}
    drafted = {_said(one) for place in drafts for one in document.spans[place]}
    for place, span in spoken:
        ids[span.id] += 1
        name = f"{document.place}:{span.id}" + (f"~{ids[span.id]}" if ids[span.id] > 1 else "")
        one = Utterance(
            id=name,
            recording=found.recording,
            start_s=round((span.start_s or 0.0) + offset_s, 6),
            end_s=round((span.end_s or 0.0) + offset_s, 6),
            transcript=span.text,
            target_lang=target_lang,
            speaker=document.tiers[place].speaker,
            session=str(document.place.with_suffix("")),
            licence=document.licence,
        )
        if wrong := complaint(one):
            yield Skipped("unusable_row", f"{shown(name)}: {wrong}")
            continue
        seen.counts[_ESTIMATED] += span.estimated
        seen.counts[_HOLED] += holed(span.text)
        seen.counts[_UNCHECKED] += place in drafts
        seen.counts[_UNCHANGED] += place not in drafts and _said(span) in drafted
        yield one


def _said(span: Span) -> tuple[float | None, float | None, str]:
    """Return what is the same for an annotation and its copy on another tier."""
    return span.start_s, span.end_s, " ".join(span.text.split())


def _unusable(span: Span, offset_s: float, *, words: bool) -> Skipped | None:
    """Say why a span is no utterance."""
    if not span.text.strip():
        return Skipped("empty_annotation")
    if words and span.text.strip().casefold() in _SILENCE:
        return Skipped("silence")
    if not transcribed(span.text):
        return Skipped("not_transcribed", shown(span.text.strip(), 20))
    if span.start_s is None or span.end_s is None:
        return Skipped("no_time")
    if span.end_s <= span.start_s:
        return Skipped("ends_before_it_starts" if span.end_s < span.start_s else "no_duration")
    return Skipped("before_the_recording") if span.start_s + offset_s < 0 else None


def _joined(words: Sequence[Span | None]) -> list[Span]:
    """Join words to utterances, up to a pause or a place that is not written down."""
    whole: list[Span] = []
    together = False
    for word in words:
        if word is None:
            together = False
            continue
        last = whole[-1] if whole else word
        if together and 0 <= (word.start_s or 0.0) - (last.end_s or 0.0) < PAUSE_S:
            text = f"{last.text.strip()} {word.text.strip()}"
            whole[-1] = replace(last, end_s=word.end_s, text=text, estimated=last.estimated or word.estimated)
        else:
            whole.append(word)
        together = True
    return whole


def _overlapping(spoken: Sequence[tuple[int, Span]]) -> int:
    """Count the utterances during which somebody speaks on another tier."""
    flagged: set[int] = set()
    active: list[tuple[float, int, int]] = []
    order = sorted(range(len(spoken)), key=lambda number: spoken[number][1].start_s or 0.0)
    for number in order:
        place, span = spoken[number]
        active = [one for one in active if one[0] > (span.start_s or 0.0)]
        others = [one[2] for one in active if one[1] != place]
        flagged.update([*others, number] if others else ())
        active.append((span.end_s or 0.0, place, number))
    return len(flagged)


def _remember(document: Annotated, choice: Choice, found: Found, seen: _Seen) -> None:
    for place in choice.chosen:
        seen.chosen[document.tiers[place].name] += sum(
            bool(span.text.strip()) for span in document.spans[place]
        )
        seen.joined.update([document.tiers[place].name] if choice.joined else [])
    for place, why in choice.why.items():
        seen.others[why][document.tiers[place].name] += 1
    if not choice.chosen:
        seen.without.append(str(document.place))
    elif not found.how:
        seen.missing.append(f"{document.place} ({found.why})")
    elif found.how != "link" and (document.links or found.how != "stem"):
        seen.guessed.append(f"{document.place} → {found.recording}")


def _complain(root: Path, wanted: Wanted, seen: _Seen) -> NoReturn:
    """Say that no tier was chosen, and which there are."""
    there = "; ".join(
        _listed(dict.fromkeys(names)) + ("" if why == "not asked for" else f" ({why})")
        for why, names in seen.others.items()
    )
    if str(wanted):
        raise OptionError(f"{root}: no tier has {wanted}; the tiers are {there or 'none at all'}")
    raise CorpusError(
        f"{root}: no tier can be told to hold transcripts; the tiers are {there or 'none at all'}. Say which "
        "with the corpus option tiers (--corpus-option tiers='NAME')"
    )


def _notes(seen: _Seen, wanted: Wanted) -> Iterator[str]:
    """Say what was chosen and what looks doubtful."""
    asked = (
        f"as asked for ({wanted})" if str(wanted) else "chosen by name; --corpus-option tiers='…' overrules"
    )
    yield f"transcripts are from the tiers {_listed(seen.chosen)}, {asked}"
    if seen.joined:
        names = _listed(dict.fromkeys(sorted(seen.joined)))
        yield f"single words, from the tiers {names}, are joined up to a pause of {PAUSE_S:g} s"
    kinds = {why: names for why, names in seen.others.items() if why not in ("empty", "not asked for")}
    if kinds:
        each = "; ".join(f"{why}: {_listed(dict.fromkeys(names))}" for why, names in sorted(kinds.items()))
        yield f"tiers passed over: {each}"
    if seen.without:
        yield f"documents without such a tier: {_listed(dict.fromkeys(seen.without))}"
    for what, count in sorted(seen.counts.items()):
        if count:
            yield f"{what}: {count}"
    if seen.guessed:
        first = _listed(dict.fromkeys(seen.guessed), 3)
        yield f"recordings found by their name and not by a link: {first}"
    if seen.missing:
        yield f"documents without their recording: {len(seen.missing)}: {', '.join(seen.missing)}"


def _listed(names: Mapping[str, int | None], longest: int = _LISTED) -> str:
    """List names, with their counts where they have any, up to a number."""
    some = [shown(name) if count is None else f"{shown(name)} ({count})" for name, count in names.items()]
    more = f" and {len(some) - longest} more" if len(some) > longest else ""
    return ", ".join(some[:longest]) + more
