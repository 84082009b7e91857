"""The report as Markdown: for a repository, an issue or a paper's appendix."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mms_adapt.edits import Counts, UtteranceScore
from mms_adapt.reports import Report, explain, in_points, in_words, minutes, percent, span
from mms_adapt.uncertainty import Interval

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".md"
_WORST = 20
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|\b_|_\b")


def render(report: Report) -> str:
    """Return headline, marks, tables by speaker and of the worst utterances, and the signature."""
    score = report.score

    def speakers(interval: Interval | None) -> str:
        return "one speaker, or nobody says" if interval is None else span(interval)

    blocks = [
        f"# {_text(report.title)}",
        _table(
            ("", "rate", "95 % interval", "with other speakers", "substituted", "deleted", "inserted", "of"),
            [
                (
                    "**WER**",
                    f"**{percent(score.wer)}**",
                    span(score.wer_interval),
                    speakers(score.wer_speaker_interval),
                    *_counts(score.word_counts),
                ),
                (
                    "**CER**",
                    f"**{percent(score.cer)}**",
                    span(score.cer_interval),
                    speakers(score.cer_speaker_interval),
                    *_counts(score.character_counts),
                ),
            ],
        ),
        f"{in_words(score)} {score.utterances} utterances ({minutes(report.speech_s)} of speech), "
        f"{percent(score.sentence_error)} of them with an error.",
    ]
    blocks += _marks(score.marks)
    if report.excluded:
        rows = [(_text(one.reason), one.count, _text(", ".join(one.examples))) for one in report.excluded]
        blocks += ["## Not scored", _table(("reason", "utterances", "such as"), rows)]
    blocks += ["## By speaker", _table(("speaker", "utterances", "words", "WER", "CER"), _speakers(report))]
    for one in report.breakdowns:
        groups = [
            (_text(group.name), group.utterances, group.words.length, percent(group.words.rate))
            for group in one.groups
        ]
        blocks += [f"## {one.name}", *filter(None, [one.note])]
        blocks.append(_table(("", "utterances", "words", "of them wrong"), groups))
    worst = sorted(score.per_utterance, key=lambda one: -one.words.errors)[:_WORST]
    blocks += [f"## The {len(worst)} utterances with most errors", "\n\n".join(map(_utterance, worst))]
    blocks += ["## Signature", _signatures(score.signature)]
    return "\n\n".join(blocks) + "\n"


def render_comparison(found: "Comparison") -> str:
    """Return both rates with their difference, the verdict, and the utterances that differ most."""
    rates = [
        (f"**{name}**", percent(first), percent(second), f"{100 * (second - first):+.1f} points")
        for name, (first, second) in (("WER", found.wer), ("CER", found.cer))
    ]
    differences = (
        ("WER", found.wer_difference),
        ("WER", found.wer_speaker_difference),
        ("CER", found.cer_difference),
        ("CER", found.cer_speaker_difference),
    )
    first, second = map(_text, found.names)
    blocks = [
        f"# {first} and {second}",
        _table(("", "first", "second", "difference"), rates),
        f"**{_text(found.in_words())}**",
        "\n".join(f"- {name} {in_points(one)}" for name, one in differences if one is not None),
        f"{found.utterances} utterances ({minutes(found.speech_s)} of speech): "
        f"{found.better} better with the second, {found.worse} worse.",
        *_marks(found.marks),
        "## By speaker",
        _table(
            ("speaker", "utterances", "words", "first WER", "second WER"),
            [
                (
                    _who(one.speaker),
                    one.utterances,
                    one.words,
                    *(_rate(each, one.words) for each in one.errors),
                )
                for one in found.per_speaker
            ],
        ),
    ]
    if gaps := found.gaps[:_WORST]:
        told = [
            f"- `{one.utterance_id.replace('`', chr(39))}` ({one.errors[0]} and {one.errors[1]} errors)\n"
            f"  - said {_text(one.reference)}\n  - first {_text(one.first)}\n  - second {_text(one.second)}"
            for one in gaps
        ]
        blocks += [f"## The {len(gaps)} utterances that differ most", "\n".join(told)]
    return "\n\n".join([*blocks, "## Signatures", _signatures(*found.signatures)]) + "\n"


def _marks(marks: Sequence[str]) -> list[str]:
    if not marks:
        return []
    return ["## What to know", "\n".join(f"- **{_text(one)}**: {explain(one)}" for one in marks)]


def _signatures(*signatures: str) -> str:
    return "\n".join(["```", *(one.replace("`", "'") for one in signatures), "```"])


def _who(speaker: str | None) -> str:
    return "*unknown*" if speaker is None else _text(speaker)


def _rate(errors: int, length: int) -> str:
    return percent(errors / length if length else None)


def _counts(counts: Counts) -> tuple[int, ...]:
    return counts.substitutions, counts.deletions, counts.insertions, counts.length


def _speakers(report: Report) -> list[tuple[object, ...]]:
    return [
        (
            _who(one.speaker),
            one.utterances,
            one.words.length,
            percent(one.words.rate),
            percent(one.characters.rate),
        )
        for one in report.score.per_speaker
    ]


def _utterance(one: UtteranceScore) -> str:
    steps = []
    for edit in one.alignment:
        said, heard = _text(edit.reference), _text(edit.hypothesis)
        if edit.kind == "equal":
            steps.append(said)
        else:
            steps.append(" ".join(filter(None, [said and f"~~{said}~~", heard and f"**{heard}**"])))
    return f"- `{one.utterance_id.replace('`', chr(39))}` ({percent(one.words.rate)}): {' '.join(steps)}"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _text(text: str) -> str:
    """Return text with Markdown's own characters escaped and line ends removed."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
