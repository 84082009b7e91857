"""Two scores of the same test set: is one better, and is the test set large enough to tell?

In: two files that `mms-adapt evaluate --json` wrote. Out: a `Comparison`. It does not know adapters, audio or
how texts are aligned.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import uncertainty
from mms_adapt.edits import Counts
from mms_adapt.errors import ScoringError
from mms_adapt.uncertainty import Difference

_NAMED = ("norm", "units", "split")  # what the signatures of comparable scores have in common


@dataclass(frozen=True, slots=True)
class UtteranceGap:
    """One utterance that the two write differently.

    Attributes:
        utterance_id: Its id.
        reference: What was said.
        first: What the first wrote.
        second: What the second wrote.
        errors: Word errors of the first and the second.
    """

    utterance_id: str
    reference: str
    first: str
    second: str
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
    marks: tuple[str, ...]
    signatures: tuple[str, str]

    def in_words(self) -> str:
        """Say whether the two can be told apart, by the widest unit there is, and what it would take."""
        one = self.wer_speaker_difference or self.wer_difference
        if one is None:
            return "One utterance alone tells nothing about the two."
        if one.p_value < 0.05 and (one.low > 0 or one.high < 0):
            better = "second" if one.rate < 0 else "first"
            return f"The {better} makes fewer word errors, and not by chance alone."
        if one.times_more is None:
            return "Both make equally many word errors here."
        more = f"about {one.times_more:.1f} times as much test speech"
        if self.speech_s:
            extra_min = (one.times_more - 1) * self.speech_s / 60
            more += f" ({extra_min:.0f} more minutes)"
        if one.times_more > 100:
            more = "more than a hundred times as much test speech"
        return f"This test set cannot tell the two apart. If the difference is real, {more} would show it."

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"


def compare(
    first: str | PathLike[str],
    second: str | PathLike[str],
    *,
    names: tuple[str, str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two scores of the same utterances.

    Args:
        first: A file that `evaluate` wrote as JSON.
        second: Another one.
        names: What to call them; their adapters, or the files where these are the same.
        resamples: Draws for intervals and p values.
        seed: Start of their random numbers.

    Raises:
        OptionError: If the number of draws makes no sense.
        ScoringError: If a file is no score, or the two are not of the same references.
    """
    paths = Path(first), Path(second)
    records = _read(paths[0]), _read(paths[1])
    rows = _rows(paths[0], records[0]), _rows(paths[1], records[1])
    _check_same(paths, records, rows)
    pairs = [(row, rows[1][name]) for name, row in rows[0].items()]
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
        marks=tuple(dict.fromkeys([*records[0]["marks"], *records[1]["marks"]])),
        signatures=(records[0]["signature"], records[1]["signature"]),
    )


def _read(path: Path) -> Mapping[str, Any]:
    """Read a score.

    Raises:
        ScoringError: If it is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
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
