"""Two scores of the same test set: is one better, and is the test set large enough to tell?

In: two files that `mms-adapt evaluate --json` wrote. Out: a `Comparison`, and files where asked. It does not
know adapters, audio or how texts are aligned.
"""

import json as json_module
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import files, reports, uncertainty
from mms_adapt.edits import Counts
from mms_adapt.errors import ScoringError
from mms_adapt.uncertainty import Difference

_NAMED = ("norm", "units", "split")  # what the signatures of comparable scores have in common
_LEVEL, _FAR = 0.05, 100.0
_SPEAKERS_TO_TELL = 6  # of fewer, even if all agree, it is chance more often than in 1 of 20 cases: 2 / 2**5


@dataclass(frozen=True, slots=True)
class UtteranceGap:
    """One utterance that the two write differently.

    Attributes:
        utterance_id: Its id.
        speaker: Who said it, where known.
        reference: What was said.
        first: What the first wrote.
        second: What the second wrote.
        errors: Word errors of the first and the second.
    """

    utterance_id: str
    speaker: str | None
    reference: str
    first: str
    second: str
    errors: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SpeakerGap:
    """One speaker's utterances together.

    Attributes:
        speaker: Who; None for those of whom nobody says who speaks.
        utterances: How many.
        words: Words in their references.
        errors: Word errors of the first and the second.
    """

    speaker: str | None
    utterances: int
    words: int
    errors: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two scores of the same utterances tell of each other.

    Attributes:
        names: What the two are called.
        utterances: How many they have in common, which is all.
        speech_s: Seconds of test speech; 0 where the scores do not say.
        wer: Word error rates of the first and the second.
        cer: Character error rates of the first and the second.
        wer_difference: The second's less the first's, drawn by utterance; None for fewer than two.
        cer_difference: The same of the character error rate.
        wer_speaker_difference: Drawn by speaker; None for fewer than two speakers.
        cer_speaker_difference: The same of the character error rate.
        better: Utterances on which the second makes fewer word errors.
        worse: Utterances on which it makes more.
        gaps: Those of the largest difference first.
        per_speaker: Each speaker in order of first appearance.
        marks: Those of either score.
        signatures: The two signatures.
    """

    names: tuple[str, str]
    utterances: int
    speech_s: float
    wer: tuple[float, float]
    cer: tuple[float, float]
    wer_difference: Difference | None
    cer_difference: Difference | None
    wer_speaker_difference: Difference | None
    cer_speaker_difference: Difference | None
    better: int
    worse: int
    gaps: tuple[UtteranceGap, ...]
    per_speaker: tuple[SpeakerGap, ...]
    marks: tuple[str, ...]
    signatures: tuple[str, str]

    def in_words(self) -> str:
        """Say whether the two can be told apart, for whom that holds, and what it would take."""
        one, scope = self.wer_difference, ""
        if self.wer_speaker_difference is not None:
            count = self.wer_speaker_difference.unit_count
            if count >= _SPEAKERS_TO_TELL:
                one = self.wer_speaker_difference
            else:
                scope = (
                    f" That holds for these {count} speakers; to say it of others, test with "
                    f"{_SPEAKERS_TO_TELL} or more."
                )
        if one is None:
            return "One utterance alone tells nothing about the two."
        if one.p_value < _LEVEL and (one.low > 0 or one.high < 0):
            better = "second" if one.rate < 0 else "first"
            return f"The {better} makes fewer word errors, and not by chance alone.{scope}"
        if one.times_more is None:
            return "Both make equally many word errors here."
        whose = ", from other speakers," if one.unit == "speaker" else ""
        return (
            "This test set cannot tell the two apart. If the difference is real, "
            f"{self._more(one.times_more)}{whose} would show it.{scope}"
        )

    def _more(self, times: float) -> str:
        """Say how much test speech it takes in all, and how many minutes that is more."""
        if times > _FAR:
            return "more than a hundred times as much test speech"
        more = f"about {times:.1f} times as much test speech"
        extra_min = (times - 1) * self.speech_s / 60
        return f"{more} ({math.ceil(extra_min)} more minutes)" if extra_min > 0 else more

    def to_json(self) -> str:
        """Return it as JSON."""
        return json_module.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"


def compare(
    first: str | PathLike[str],
    second: str | PathLike[str],
    *,
    names: tuple[str, str] | None = None,
    json: str | PathLike[str] | None = None,
    report: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two scores of the same utterances.

    Args:
        first: A file that `evaluate` wrote as JSON.
        second: Another one.
        names: What to call them; their adapters, or the files where these are the same.
        json: Write the comparison here, as JSON.
        report: Write a report here, or several; the ending chooses the format (.html, .md, .json, .txt).
        resamples: Draws for intervals and p values.
        seed: Start of their random numbers.

    Raises:
        OptionError: If the number of draws makes no sense, or a report's ending is of no known format.
        ScoringError: If a file is no score, or the two are not of the same references.
    """
    wanted = reports.formats(report, json=json)
    paths = Path(first), Path(second)
    records = _read(paths[0]), _read(paths[1])
    rows = _rows(paths[0], records[0]), _rows(paths[1], records[1])
    _check_same(paths, records, rows)
    pairs = [(row, rows[1][name]) for name, row in rows[0].items()]
    found = _compared(paths, records, pairs, names, resamples=resamples, seed=seed)
    for path, format in wanted:
        files.write(path, format.render_comparison(found).encode("utf-8", "replace"))
    return found


def _compared(
    paths: Sequence[Path],
    records: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    names: tuple[str, str] | None,
    *,
    resamples: int,
    seed: int,
) -> Comparison:
    """Put together what two scores of the same utterances tell."""
    speakers = [row.get("speaker") for row, _ in pairs]

    def differ(unit: str, *, by_speaker: bool) -> Difference | None:
        if by_speaker and len({one for one in speakers if one is not None}) < 2:
            return None
        return uncertainty.difference(
            [_counts(one[unit]).errors for one, _ in pairs],
            [_counts(other[unit]).errors for _, other in pairs],
            [_counts(one[unit]).length for one, _ in pairs],
            blocks=speakers if by_speaker else None,
            resamples=resamples,
            seed=seed,
        )

    gaps = [_gap(*pair) for pair in pairs]
    changes = [one.errors[1] - one.errors[0] for one in gaps]
    told = [one for one in gaps if one.errors[0] != one.errors[1]]
    return Comparison(
        names=names or _names(paths, records),
        utterances=len(pairs),
        speech_s=float(records[0].get("speech_s", 0.0)),
        wer=(records[0]["wer"], records[1]["wer"]),
        cer=(records[0]["cer"], records[1]["cer"]),
        wer_difference=differ("words", by_speaker=False),
        cer_difference=differ("characters", by_speaker=False),
        wer_speaker_difference=differ("words", by_speaker=True),
        cer_speaker_difference=differ("characters", by_speaker=True),
        better=sum(one < 0 for one in changes),
        worse=sum(one > 0 for one in changes),
        gaps=tuple(sorted(told, key=lambda one: -abs(one.errors[1] - one.errors[0]))),
        per_speaker=_by_speaker(gaps, [_counts(row["words"]).length for row, _ in pairs]),
        marks=tuple(dict.fromkeys([*records[0]["marks"], *records[1]["marks"]])),
        signatures=(records[0]["signature"], records[1]["signature"]),
    )


def _by_speaker(gaps: Sequence[UtteranceGap], words: Sequence[int]) -> tuple[SpeakerGap, ...]:
    """Sum up over each speaker."""
    sums: dict[str | None, list[int]] = {}
    for one, count in zip(gaps, words, strict=True):
        own = sums.setdefault(one.speaker, [0, 0, 0, 0])
        for place, value in enumerate((1, count, *one.errors)):
            own[place] += value
    return tuple(SpeakerGap(who, own[0], own[1], (own[2], own[3])) for who, own in sums.items())


def _read(path: Path) -> Mapping[str, Any]:
    """Read a score.

    Raises:
        ScoringError: If it is none.
    """
    try:
        record = json_module.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScoringError(f"{path}: there is no such file; mms-adapt evaluate --json writes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ScoringError(f"{path}: it cannot be read as JSON: {error}") from error
    needed = ("wer", "cer", "marks", "signature", "per_utterance")
    missing = [name for name in needed if not isinstance(record, dict) or name not in record]
    if missing:
        raise ScoringError(
            f"{path}: it is no score: {', '.join(missing)} missing; mms-adapt evaluate --json writes one"
        )
    found: Mapping[str, Any] = record
    return found


def _rows(path: Path, record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the utterances of a score by id."""
    try:
        rows = {str(row["utterance_id"]): row for row in record["per_utterance"]}
        for row in rows.values():
            _gap(row, row)
            _counts(row["characters"])
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ScoringError(f"{path}: its per_utterance is damaged ({error}); evaluate again") from error
    if len(rows) != len(record["per_utterance"]) or not rows:
        raise ScoringError(f"{path}: its per_utterance is empty, or an id comes twice; evaluate again")
    return rows


def _check_same(
    paths: tuple[Path, Path],
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Mapping[str, Any]]],
) -> None:
    """Make sure that both scored the same references in the same way."""
    for here, there in ((0, 1), (1, 0)):
        if only := [name for name in rows[here] if name not in rows[there]]:
            raise ScoringError(
                f"{paths[here]} has {len(only)} utterances that {paths[there]} has not, such as {only[0]}; "
                "only scores of the same test set can be compared"
            )
    other = [name for name, row in rows[0].items() if row["reference"] != rows[1][name]["reference"]]
    if other:
        raise ScoringError(
            f"the reference of {other[0]} is {rows[0][other[0]]['reference']!r} in {paths[0]} and "
            f"{rows[1][other[0]]['reference']!r} in {paths[1]} ({len(other)} such utterances); evaluate both "
            "on the same prepared data"
        )
    said = [dict(part.partition(":")[::2] for part in one["signature"].split("|")) for one in records]
    if apart := [name for name in _NAMED if said[0].get(name) != said[1].get(name)]:
        name = apart[0]
        raise ScoringError(
            f"{paths[0]} was made with {name} {said[0].get(name)}, {paths[1]} with {said[1].get(name)}; "
            "evaluate both on the same prepared data with the same version"
        )


def _gap(first: Mapping[str, Any], second: Mapping[str, Any]) -> UtteranceGap:
    return UtteranceGap(
        str(first["utterance_id"]),
        first.get("speaker"),
        str(first["reference"]),
        str(first["hypothesis"]),
        str(second["hypothesis"]),
        (_counts(first["words"]).errors, _counts(second["words"]).errors),
    )


def _counts(record: Mapping[str, Any]) -> Counts:
    return Counts(*(int(record[one.name]) for one in fields(Counts)))


def _names(paths: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    adapters = [str(one.get("adapter") or "") for one in records]
    if all(adapters) and adapters[0] != adapters[1]:
        return adapters[0], adapters[1]
    return str(paths[0]), str(paths[1])
