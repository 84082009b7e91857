"""Which tiers of an annotation document hold the transcript.

In: what is known of a document's tiers, and what the user wants. Out: the chosen ones, and for each other one
why not. It does not know file formats, times or recordings.

Names of tiers differ by team and by speaker, so they are taken apart into words, and these are compared with
what teams of several languages call a transcript, a translation, a note. The choice is one for a document:

1. tiers that are called a transcript in their name or else in their type, one for each speaker;
2. else tiers whose name says nothing ("default", "ref", a speaker), which stand at the top and have times;
3. else tiers of words, to be joined to utterances.

Tiers called translation, gloss, note, sound and the like are never chosen without being asked for; nor is
what a machine wrote, in tiers called draft, asr or as this package calls them: nobody has checked it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from mms_adapt.errors import OptionError

TRANSCRIPT, PLAIN, WORDS, DRAFT = "transcript", "unnamed", "words", "a machine's draft"
# Kind of a tier by the words in its name, where * stands for any ending. The first kind that fits holds.
_KINDS = {
    DRAFT: "draft drafts asr",
    "translation": """transl* trad tradu* trd übers* uebers* перевод* ft fte ftf ftg ftr free libre lit
        literal* meaning subtitle*""",
    "gloss": "gl gls glos* gloz* ge gn gr gf mb morph* morf* ps pos lemma* lex lexical lexeme msa",
    "notes": """com comm comment* coment* commento* kommentar* cmt cmnt cmnts note notes notas nota nt notiz*
        remark* remarq* obs observ* annotator* todo meta* topic* theme* event* noise* music* silence*""",
    "sounds": """phon phone phones phons phonem* phonet* phono* fonet* fonem* ipa api seg segs segments
        syl syll* sill* silb* vowel* consonant* voyelle* pitch tone tones tonic* tobi breaks stress* intens*
        formant* vot mau""",
    "gesture": "gest* gaze* hand hands head face mimic* posture*",
    "numbers": "id ids idx segnum num number* nr",
    WORDS: "word* wd wds wrd* mot mots palabra* palavra* wort wortes woerter wörter token* слов*",
    TRANSCRIPT: """transc* transk* trasc* transz* tranx trx trs trn транскр* tx txt text* orth* ort utt uttr
        utter* phrase* sentence* satz* sätze frase* oraci* énoncé* enonce* speech fala habla предлож*""",
    "another language": """english french français francais spanish español espanol portug* german deutsch
        indonesian bahasa mandarin chinese russian русский arabic hindi""",
}
_RANKS = ["transc* transk* trasc* transz* tranx trx trs trn транскр*", "tx txt text*", "orth* ort"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a tier.

    Attributes:
        name: Its name.
        type: Its type, where the format has types.
        speaker: Who speaks.
        parent: The tier that it hangs on, by its place in the document; None for one at the top.
        aligned: Whether its annotations have their own times.
        texts: Its annotations.
        points: Whether it holds points in time, and not stretches.
        other_language: What it says its language is, where that is not the one that is wanted.
    """

    name: str
    type: str = ""
    speaker: str | None = None
    parent: int | None = None
    aligned: bool = True
    texts: tuple[str, ...] = ()
    points: bool = False
    other_language: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tiers a user wants; patterns with * and ?, several with commas, in capitals or not.

    Attributes:
        tiers: Patterns of names.
        tier_type: Patterns of types.
        participant: Patterns of speakers; alone, it narrows what is chosen by default.

    Raises:
        OptionError: If one is empty.
    """

    tiers: str | None = None
    tier_type: str | None = None
    participant: str | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.__slots__}
        empty = [name for name, value in given.items() if value is not None and not value.strip(", ")]
        if empty:
            raise OptionError(f"corpus option {', '.join(empty)}: give a name, or a pattern such as A_*")

    @property
    def asked(self) -> bool:
        """Whether tiers are named and not to be chosen by their names' sense."""
        return self.tiers is not None or self.tier_type is not None

    def __str__(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))


@dataclass(frozen=True, slots=True)
class Choice:
    """The tiers of one document.

    Attributes:
        chosen: Places of the chosen ones.
        joined: Whether they hold single words, which are to be joined.
        why: Of each other one, what it is or why not.
    """

    chosen: tuple[int, ...]
    joined: bool
    why: dict[int, str]


def choose(tiers: Sequence[Candidate], wanted: Wanted) -> Choice:
    """Choose the tiers that hold the transcript of a document.

    Args:
        tiers: All tiers of a document.
        wanted: What the user wants; overrules the names' sense.
    """
    asked = [place for place, one in enumerate(tiers) if _matches(one, wanted)]
    if wanted.asked:
        others = set(range(len(tiers))) - set(asked)
        return Choice(tuple(asked), False, dict.fromkeys(others, "not asked for"))
    kinds = [kind(one) for one in tiers]
    filled = [place for place in asked if any(map(str.strip, tiers[place].texts))]
    chosen: list[int] = []
    level = PLAIN
    for level in (TRANSCRIPT, PLAIN, WORDS):
        chosen = [place for place in filled if kinds[place] == level]
        if level == TRANSCRIPT:
            chosen = _one_a_speaker(tiers, chosen)
        else:
            chosen = [place for place in chosen if tiers[place].aligned]
            chosen = [place for place in chosen if level == WORDS or tiers[place].parent is None]
        if chosen:
            break
    why = {place: _why_not(one, kinds[place], place in asked) for place, one in enumerate(tiers)}
    return Choice(tuple(chosen), level == WORDS, {place: why[place] for place in why if place not in chosen})


def kind(tier: Candidate) -> str:
    """Tell what a tier holds by the words of its name, or else of its type.

    >>> kind(Candidate("Transcription")), kind(Candidate("ft@SL")), kind(Candidate("Wodjo"))
    ('transcript', 'translation', 'unnamed')
    """
    if tier.other_language:
        return "another language"
    if tier.points:
        return "points"
    found = next(filter(None, map(_kind_of, (tier.name, tier.type))), PLAIN)
    numbered = [bool(re.fullmatch(r"\S*\d\S*", one.strip())) for one in tier.texts if one.strip()]
    if found == PLAIN and "ref" in _words(tier.name) and sum(numbered) * 2 > len(numbered):
        return "numbers"  # "Story_012": the name of an annotation, not what was said
    return found


def transcribed(text: str) -> bool:
    """Tell whether anything is written down, and not only a sign that nothing is, such as xxx or ***."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return any(not re.fullmatch("x{3,}|y{3,}|w{3,}", one) for one in words)


def holed(text: str) -> bool:
    """Tell whether a transcript has a place that is not written down, xxx or ***."""
    return transcribed(text) and bool(re.search(r"\bxxx+\b|\*{3,}", text, re.IGNORECASE))


def _matches(tier: Candidate, wanted: Wanted) -> bool:
    given = (
        (tier.name, wanted.tiers),
        (tier.type, wanted.tier_type),
        (tier.speaker or "", wanted.participant),
    )
    return all(
        any(
            fnmatchcase(value.casefold(), one.strip().casefold())
            for one in patterns.split(",")
            if one.strip()
        )
        for value, patterns in given
        if patterns is not None
    )


def _one_a_speaker(tiers: Sequence[Candidate], fitting: Sequence[int]) -> list[int]:
    """Of tiers with the same speech, such as text and its children, or two spellings, keep one kind."""
    groups: dict[str | None, list[int]] = defaultdict(list)
    for place in fitting:
        groups[tiers[place].speaker].append(place)
    kept = []
    for places in groups.values():
        best = min(_rank(tiers[place]) for place in places)
        alike = [place for place in places if _rank(tiers[place]) == best]
        kept += [place for place in alike if not set(_above(tiers, place)[1:]) & set(alike)]
    return sorted(kept)


def _above(tiers: Sequence[Candidate], place: int) -> list[int]:
    """Return a tier and those that it hangs on, up to the top."""
    path = [place]
    while (parent := tiers[path[-1]].parent) is not None and parent not in path:
        path.append(parent)
    return path


def _why_not(tier: Candidate, found: str, asked: bool) -> str:
    if not any(map(str.strip, tier.texts)):
        return "empty"
    if not asked:
        return "another participant"
    return {TRANSCRIPT: "another transcript"}.get(found, found)


def _words(name: str) -> list[str]:
    """Take a name apart: before "@" and a speaker, between signs, and where small letters meet capitals.

    Two capitals alone are a speaker's initials, except TX.
    """
    before, _, after = name.partition("@")
    text = before if any(map(str.isalpha, before)) else after
    if re.fullmatch(r"\s*[A-Z]{2}\s*", name) and name.strip() != "TX":
        return []
    text = re.sub(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", " ", text)
    return [one.casefold() for one in re.findall(r"[^\W\d_]+", text)]


def _has(words: Sequence[str], patterns: str) -> bool:
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns.split())


@cache
def _kind_of(name: str) -> str:
    words = _words(name)
    if words[:2] == ["mms", "adapt"]:  # what transcribe calls its tiers
        return DRAFT
    if "mau" in words and "ort" in words:  # WebMAUS calls its tier of words ORT-MAU
        return WORDS
    return next((one for one, patterns in _KINDS.items() if _has(words, patterns)), "")


def _rank(tier: Candidate) -> int:
    words = _words(tier.name) if _kind_of(tier.name) else _words(tier.type)
    return next((number for number, patterns in enumerate(_RANKS) if _has(words, patterns)), len(_RANKS))
