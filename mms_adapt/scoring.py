"""Word and character error rate with counts, alignment, interval and signature.

In: references and hypotheses as strings, one a line of the test set. Out: one `Score`, from a single
alignment by jiwer; every rate is a view of its counts. It does not know audio, models or files, and
normalises nothing but Unicode form (NFC) and white space: what else was done to the text stands in
`Conditions` and so in the signature.

`mms_adapt.edits` says what counts as a word and as a character. An utterance with an empty reference has no
words to get wrong: whatever the hypothesis says there counts as insertions, which raise the rate of the whole
set. A set with no reference word at all has no rate: that is an error, not a zero.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mms_adapt import uncertainty
from mms_adapt._version import __version__
from mms_adapt.edits import UNITS, Confusion, Counts, UtteranceScore, align, most_frequent
from mms_adapt.errors import ScoringError
from mms_adapt.uncertainty import Interval

SMALL_TEST_UTTERANCES, SMALL_TEST_WORDS = 100, 500


@dataclass(frozen=True, slots=True)
class SpeakerScore:
    """One speaker's utterances together."""

    speaker: str | None
    utterances: int
    words: Counts
    characters: Counts


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a score was made with, for its signature.

    Attributes:
        normaliser: Signature of the normaliser of the references, such as "basic-1".
        split: Name of the part scored, such as "test".
        split_sha256: Hash of that part.
        adapter: The adapter's name or hash.
        backbone: The backbone's name and fingerprint.
        decoder: Name of the decoder.
        decoder_options: Its options, as "name=value,name=value".
        marks: What one must know to believe the figure; `mms_adapt.reports` explains each.
    """

    normaliser: str = "none"
    split: str = "unnamed"
    split_sha256: str = ""
    adapter: str = "unnamed"
    backbone: str = "unnamed"
    decoder: str = "unnamed"
    decoder_options: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """Everything that one comparison of references and hypotheses tells.

    Attributes:
        wer: Word errors over reference words, a ratio; may exceed 1.
        cer: Character errors over reference characters, a ratio.
        sentence_error: Share of utterances with at least one word error.
        utterances: Utterances scored.
        words: Words in the references.
        characters: Characters in the references, spaces between words included.
        word_counts: Hits, substitutions, deletions and insertions of words.
        character_counts: The same of characters.
        wer_interval: 95 % interval, drawn by utterance; None for fewer than two.
        cer_interval: The same of the character error rate.
        wer_speaker_interval: 95 % interval, drawn by whole speakers; None for fewer than two.
        cer_speaker_interval: The same of the character error rate.
        empty_references: Utterances without a reference word: only insertions can be counted there.
        marks: Those of the conditions, and "one_test_speaker", "small_test",
            "empty_references" where they apply.
        signature: One line that says how the figures were made.
        per_utterance: Each utterance in the order given.
        per_speaker: Each speaker in order of first appearance.
        character_confusions: Substituted, deleted and inserted characters, most frequent first.
    """

    wer: float
    cer: float
    sentence_error: float
    utterances: int
    words: int
    characters: int
    word_counts: Counts
    character_counts: Counts
    wer_interval: Interval | None
    cer_interval: Interval | None
    wer_speaker_interval: Interval | None
    cer_speaker_interval: Interval | None
    empty_references: int
    marks: tuple[str, ...]
    signature: str
    per_utterance: tuple[UtteranceScore, ...] = field(repr=False)
    per_speaker: tuple[SpeakerScore, ...] = field(repr=False)
    character_confusions: tuple[Confusion, ...] = field(repr=False)

    def word_confusions(self, limit: int = 50) -> tuple[Confusion, ...]:
        """Return the most frequent word errors, ties in alphabetical order."""
        seen = Counter(
            (edit.reference, edit.hypothesis)
            for one in self.per_utterance
            for edit in one.alignment
            if edit.kind != "equal"
        )
        return most_frequent(seen)[:limit]

    def to_json(self) -> str:
        """Return the score as JSON, each utterance with its texts and counts (not its alignment)."""
        record: dict[str, Any] = {
            name: getattr(self, name)
            for name in "wer cer sentence_error utterances words characters empty_references".split()
        }
        for name in ("word_counts", "character_counts"):
            record[name] = asdict(getattr(self, name))
        for name in ("wer_interval", "cer_interval", "wer_speaker_interval", "cer_speaker_interval"):
            interval = getattr(self, name)
            record[name] = None if interval is None else asdict(interval)
        record |= {"signature": self.signature, "marks": list(self.marks)}
        record["per_speaker"] = [asdict(one) for one in self.per_speaker]
        record["per_utterance"] = [
            {
                "utterance_id": one.utterance_id,
                "speaker": one.speaker,
                "reference": one.reference,
                "hypothesis": one.hypothesis,
                "words": asdict(one.words),
                "characters": asdict(one.characters),
            }
            for one in self.per_utterance
        ]
        return json.dumps(record, ensure_ascii=False, indent=1)


def score(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    utterance_ids: Sequence[str] | None = None,
    speakers: Sequence[str | None] | None = None,
    conditions: Conditions | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Score:
    """Compare hypotheses with references.

    Args:
        references: What was said, normalised.
        hypotheses: What was recognised, in the same order.
        utterance_ids: Their names; numbers from 0 where not given.
        speakers: Who said each; needed for the table and the interval by speaker.
        conditions: What goes into the signature.
        bootstrap: Draws for the intervals; 0 for none.
        seed: Start of their random numbers.

    Raises:
        ScoringError: If the lists differ in length, an id comes twice, or no reference has a word.
    """
    ids = [str(number) for number in range(len(references))] if utterance_ids is None else list(utterance_ids)
    voices: list[str | None] = [None] * len(references) if speakers is None else list(speakers)
    _check(references, hypotheses, ids, voices)
    conditions = conditions or Conditions()
    confusions: Counter[tuple[str, str]] = Counter()
    scored = tuple(align(references, hypotheses, ids, voices, confusions))
    words = sum((one.words for one in scored), Counts())
    characters = sum((one.characters for one in scored), Counts())
    if not words.length:
        raise ScoringError(
            f"none of the {len(scored)} references holds a word, so there is no error rate: "
            "look at the transcripts, or at what the normaliser removes"
        )
    intervals = _Intervals(scored, bootstrap, seed)
    marks = _marks(conditions.marks, scored, words.length)
    return Score(
        wer=words.errors / words.length,
        cer=characters.errors / characters.length,
        sentence_error=sum(one.words.errors > 0 for one in scored) / len(scored),
        utterances=len(scored),
        words=words.length,
        characters=characters.length,
        word_counts=words,
        character_counts=characters,
        wer_interval=intervals.of("words"),
        cer_interval=intervals.of("characters"),
        wer_speaker_interval=intervals.of("words", by_speaker=True),
        cer_speaker_interval=intervals.of("characters", by_speaker=True),
        empty_references=_empty_count(scored),
        marks=marks,
        signature=_signature(conditions, marks, intervals),
        per_utterance=scored,
        per_speaker=_by_speaker(scored),
        character_confusions=most_frequent(confusions),
    )


class _Intervals:
    """The four intervals of one set of utterances, all from the same draws."""

    def __init__(self, scored: Sequence[UtteranceScore], resamples: int, seed: int) -> None:
        self.scored, self.resamples, self.seed = scored, resamples, seed
        self.speakers = [one.speaker for one in scored]
        self.has_speakers = len({speaker for speaker in self.speakers if speaker is not None}) > 1

    def of(self, unit: str, *, by_speaker: bool = False) -> Interval | None:
        """Return the interval for "words" or "characters"."""
        if by_speaker and not self.has_speakers:
            return None
        counts: list[Counts] = [getattr(one, unit) for one in self.scored]
        return uncertainty.bootstrap(
            [one.errors for one in counts],
            [one.length for one in counts],
            blocks=self.speakers if by_speaker else None,
            resamples=self.resamples,
            seed=self.seed,
        )

    @property
    def method(self) -> str:
        """What the signature says of them."""
        if not self.resamples or len(self.scored) < 2:
            return "none"
        units = "utterance+speaker" if self.has_speakers else "utterance"
        return f"{uncertainty.METHOD},{units},n={self.resamples},seed={self.seed},0.95"


def _check(
    references: Sequence[str], hypotheses: Sequence[str], ids: Sequence[str], speakers: Sequence[str | None]
) -> None:
    for name, given in (("hypotheses", hypotheses), ("utterance_ids", ids), ("speakers", speakers)):
        if len(given) != len(references):
            raise ScoringError(f"{len(references)} references but {len(given)} {name}: give one for each")
    if not references:
        raise ScoringError("there is nothing to score: the list of references is empty")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ScoringError(f"utterance id {twice[0]!r} comes more than once ({len(twice)} such ids)")


def _by_speaker(scored: Sequence[UtteranceScore]) -> tuple[SpeakerScore, ...]:
    groups: dict[str | None, list[UtteranceScore]] = {}
    for one in scored:
        groups.setdefault(one.speaker, []).append(one)
    return tuple(
        SpeakerScore(
            speaker,
            len(group),
            sum((one.words for one in group), Counts()),
            sum((one.characters for one in group), Counts()),
        )
        for speaker, group in groups.items()
    )


def _empty_count(scored: Sequence[UtteranceScore]) -> int:
    return sum(not one.words.length for one in scored)


def _marks(given: Sequence[str], scored: Sequence[UtteranceScore], word_count: int) -> tuple[str, ...]:
    """Return the marks given, and those that the scored utterances themselves call for."""
    marks = dict.fromkeys(given)
    speakers = {one.speaker for one in scored}
    if len(speakers) == 1 and None not in speakers and "one_speaker" not in marks:
        marks["one_test_speaker"] = None
    if len(scored) < SMALL_TEST_UTTERANCES or word_count < SMALL_TEST_WORDS:
        marks["small_test"] = None
    if _empty_count(scored):
        marks["empty_references"] = None
    return tuple(marks)


def _signature(conditions: Conditions, marks: Sequence[str], intervals: _Intervals) -> str:
    from importlib.metadata import version

    digest = f"@{conditions.split_sha256[:12]}" if conditions.split_sha256 else ""
    options = f"({conditions.decoder_options})" if conditions.decoder_options else ""
    parts = {
        "mms_adapt": __version__,
        "jiwer": version("jiwer"),
        "norm": conditions.normaliser,
        "units": UNITS,
        "split": conditions.split + digest,
        "adapter": conditions.adapter,
        "backbone": conditions.backbone,
        "decoder": conditions.decoder + options,
        "ci": intervals.method,
        "marks": "+".join(marks) or "none",
    }
    return "|".join(f"{name}:{value.replace('|', '/')}" for name, value in parts.items())
