"""Findings about what comes twice: sounds, the same or nearly so, and sentences.

In: utterances with what was measured. Out: findings. Equal and nearly equal ones are found by sorting, so a
million utterances take no quadratic time. It does not know samples.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from mms_adapt.findings import prints, similar
from mms_adapt.findings.kinds import Example, Finding, Heard, Thresholds, finding
from mms_adapt.manifest import shown


def of_sound(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find sounds that come twice; with two different texts, at least one of these is wrong."""
    limit = thresholds.bits_differing
    exact, near, contrary = [], [], []
    for one, other in _same([one.utterance.audio_sha256 for one in heard]):
        here, there = heard[one], heard[other]
        if _sentence(here) == _sentence(there):
            exact.append(_twin(here, there, "the same samples"))
        else:
            contrary += _both(here, there)
    bits = prints.near([one.measurement.sound.fingerprint for one in heard], limit)
    for one, other, share in sorted(bits, key=lambda found: found[2]):
        here, there = heard[one], heard[other]
        if here.utterance.audio_sha256 == there.utterance.audio_sha256:
            continue
        if _sentence(here) == _sentence(there):
            near += [
                _twin(here, there, f"{share:.1%} of the bits differ"),
                _twin(there, here, f"{share:.1%} of the bits differ"),
            ]
        else:
            contrary += _both(here, there)
    if contrary:
        yield finding("two_transcripts", contrary, threshold=limit)
    if near:
        yield finding("near_same_sound", near, threshold=limit)
    if exact:
        yield finding("same_sound", exact)


def of_sentences(heard: Sequence[Heard], thresholds: Thresholds) -> Iterator[Finding]:
    """Find sentences that come twice, and those that are nearly the same as another one."""
    sentences = [_sentence(one) for one in heard]
    again = [
        _twin(heard[one], heard[other], shown(heard[one].utterance.reference or ""))
        for one, other in _same(sentences)
    ]
    first: dict[str, int] = {}
    for place, sentence in enumerate(sentences):
        first.setdefault(sentence, place)
    different = list(first)
    near = []
    pairs = similar.near(different, thresholds.similarity)
    for one, other, score in sorted(pairs, key=lambda found: (-found[2], found)):
        here, there = heard[first[different[one]]], heard[first[different[other]]]
        for mine, theirs in ((here, there), (there, here)):
            texts = f"{shown(mine.utterance.reference or '')}, {shown(theirs.utterance.reference or '')}"
            near.append(_twin(mine, theirs, f"{score:.0%}: {texts}"))
    if again:
        yield finding("same_sentence", again)
    if near:
        yield finding("near_same_sentence", near, threshold=thresholds.similarity)


def _same(labels: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield each place whose label comes twice, with another place that has it; largest groups first."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        if label is not None:
            groups[label].append(place)
    for places in sorted(groups.values(), key=lambda places: (-len(places), places)):
        if len(places) > 1:
            yield from zip(places, [*places[1:], places[0]], strict=True)


def _both(here: Heard, there: Heard) -> list[Example]:
    texts = f"{shown(here.utterance.reference or '')} and {shown(there.utterance.reference or '')}"
    return [_twin(here, there, texts), _twin(there, here, texts)]


def _twin(one: Heard, other: Heard, detail: str) -> Example:
    return Example(one.utterance.id, detail, other.utterance.id)


def _sentence(one: Heard) -> str:
    """Return what makes a sentence the same: its letters, marks and digits, whatever their case."""
    reference = unicodedata.normalize("NFC", (one.utterance.reference or "").casefold())
    letters = "".join(each if unicodedata.category(each)[0] in "LMN" else " " for each in reference)
    return " ".join(letters.split()) or reference
