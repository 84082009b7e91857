"""Findings about what was written: scripts, look-alikes, rare characters, forms of Unicode, figures.

In: utterances with transcripts as found and references. Out: findings. It does not know the language: what is
usual in a corpus is taken for right, and what differs from it is shown.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mms_adapt.findings.kinds import Example, Finding, Heard, Thresholds, finding
from mms_adapt.findings.scripts import like, named, script
from mms_adapt.manifest import shown

Hits = Mapping[str, Sequence[Heard]]


def other_script(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find transcripts in another script than that of nearly all others."""
    scripts = [_main_script(Counter(_reference(one))) for one in heard]
    counts = Counter(one for one in scripts if one is not None)
    if not counts:
        return
    usual, count = counts.most_common(1)[0]
    found = [
        Example(one.utterance.id, f"{here.lower()}, not {usual.lower()}: {shown(_reference(one))}")
        for one, here in zip(heard, scripts, strict=True)
        if here is not None and here != usual
    ]
    if found and count >= thresholds.script_share * counts.total():
        yield finding("other_script", found, threshold=thresholds.script_share)


def look_alikes(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find characters that look like another one that is usual, and others of a foreign script in words."""
    counts = Counter(character for one in heard for character in _reference(one))
    main = _main_script(counts)
    taken: dict[str, list[Heard]] = defaultdict(list)
    foreign: dict[str, list[Heard]] = defaultdict(list)
    usual = {one: _usual(one, counts, main, thresholds.stray_share) for one in counts}
    suspects = {one for one in counts if usual[one] or script(one) not in (None, main)}
    for one in heard:
        if suspects.isdisjoint(_reference(one)) or _main_script(Counter(_reference(one))) not in (None, main):
            continue
        for word in _reference(one).split():
            strange = [each for each in dict.fromkeys(word) if script(each) not in (None, main)]
            inside = any(script(each) == main for each in word)
            if not inside and not all(usual[each] for each in strange):
                continue  # a whole word of another script
            for each in dict.fromkeys(word):
                if usual[each]:
                    taken[each].append(one)
                elif each in strange:
                    foreign[each].append(one)
    if taken:
        yield finding("look_alike", _shown_by_character(taken, usual), threshold=thresholds.stray_share)
    if foreign:
        yield finding("mixed_scripts", _shown_by_character(foreign))


def rare_characters(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find characters that stand in so few utterances that they are typing errors or cannot be learnt."""
    holders: dict[str, list[Heard]] = defaultdict(list)
    for one in heard:
        for character in dict.fromkeys(_reference(one).replace(" ", "")):
            if len(holders[character]) <= thresholds.rare_utterances:
                holders[character].append(one)
    rare = {one: found for one, found in holders.items() if len(found) <= thresholds.rare_utterances}
    if rare and len(heard) > thresholds.rare_utterances:
        yield finding("rare_character", _shown_by_character(rare), threshold=thresholds.rare_utterances)


def unicode_forms(heard: Sequence[Heard], _: Thresholds) -> Iterator[Finding]:
    """Find the rarer way of storing letters with marks, where both are used."""
    composed: list[Example] = []
    apart: list[Example] = []
    for one in heard:
        text = one.utterance.transcript
        if text.isascii():
            continue
        example = Example(one.utterance.id, shown(text))
        if not unicodedata.is_normalized("NFC", text):
            apart.append(example)
        elif not unicodedata.is_normalized("NFD", text):
            composed.append(example)
    rarer = composed if len(composed) < len(apart) else apart
    if composed and apart:
        yield finding("unicode_forms", rarer)


def digits(heard: Sequence[Heard], _: Thresholds) -> Iterator[Finding]:
    """Find figures."""
    found = [
        Example(one.utterance.id, shown(_reference(one)))
        for one in heard
        if any(map(str.isdigit, _reference(one)))
    ]
    if found:
        yield finding("digits", found)


def _reference(one: Heard) -> str:
    return one.utterance.reference or ""


def _main_script(counts: Mapping[str, int]) -> str | None:
    """Return the script of most letters."""
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        if (found := script(character)) is not None:
            scripts[found] += count
    return max(scripts, key=lambda one: (scripts[one], one)) if scripts else None


def _usual(character: str, counts: Mapping[str, int], main: str | None, share: float) -> str:
    """Return the character that another one is taken for here; "" where it is usual itself.

    A letter of a foreign script is taken for one of the corpus's own that is more frequent. One of the same
    script must be rare beside it: many languages write both a and ɑ.
    """
    others = [one for one in like(character) if one != character and one in counts]
    if not others:
        return ""
    found = max(others, key=lambda one: (script(one) == main, counts[one], one))
    if script(character) not in (None, main):
        return found if script(found) == main and counts[character] < counts[found] else ""
    return found if counts[character] <= share * counts[found] else ""


def _shown_by_character(hits: Hits, usual: Mapping[str, str] | None = None) -> list[Example]:
    """Return an example for each utterance: of every character one first, the rarest characters first."""
    queues = [
        [Example(one.utterance.id, _told(character, one, usual)) for one in found]
        for character, found in sorted(hits.items(), key=lambda item: (len(item[1]), item[0]))
    ]
    return [one for place in range(max(map(len, queues))) for one in _column(queues, place)]


def _column(queues: Sequence[Sequence[Example]], place: int) -> Iterator[Example]:
    yield from (queue[place] for queue in queues if place < len(queue))


def _told(character: str, one: Heard, usual: Mapping[str, str] | None) -> str:
    instead = f", where {named(usual[character])} is usual" if usual and usual.get(character) else ""
    return f"{named(character)}{instead}: {shown(_reference(one))}"
