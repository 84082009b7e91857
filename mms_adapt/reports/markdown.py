"""The report as Markdown: for a repository, an issue or a paper's appendix."""

import re
from collections.abc import Iterable, Sequence

from mms_adapt.edits import Counts, UtteranceScore
from mms_adapt.reports import Report, explain, in_words, minutes, percent, span

SUFFIX = ".md"
_WORST = 20
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|\b_|_\b")


def render(report: Report) -> str:
    """Return headline, marks, tables by speaker and of the worst utterances, and the signature."""
    score = report.score
    blocks = [
        f"# {_text(report.title)}",
        _table(
            ("", "rate", "95 % interval", "substituted", "deleted", "inserted", "of"),
            [
                (
                    "**WER**",
                    f"**{percent(score.wer)}**",
                    span(score.wer_interval),
                    *_counts(score.word_counts),
                ),
                (
                    "**CER**",
                    f"**{percent(score.cer)}**",
                    span(score.cer_interval),
                    *_counts(score.character_counts),
                ),
            ],
        ),
        f"{in_words(score)} {score.utterances} utterances ({minutes(report.speech_s)} of speech), "
        f"{percent(score.sentence_error)} of them with an error.",
    ]
    if score.marks:
        blocks += ["## What to know", "\n".join(f"- **{_text(one)}**: {explain(one)}" for one in score.marks)]
    if report.excluded:
        rows = [(_text(one.reason), one.count, _text(", ".join(one.examples))) for one in report.excluded]
        blocks += ["## Not scored", _table(("reason", "utterances", "such as"), rows)]
    blocks += ["## By speaker", _table(("speaker", "utterances", "words", "WER", "CER"), _speakers(report))]
    worst = sorted(score.per_utterance, key=lambda one: -one.words.errors)[:_WORST]
    blocks += [f"## The {len(worst)} utterances with most errors", "\n\n".join(map(_utterance, worst))]
    blocks += ["## Signature", f"```\n{score.signature.replace('`', chr(39))}\n```"]
    return "\n\n".join(blocks) + "\n"


def _counts(counts: Counts) -> tuple[int, ...]:
    return counts.substitutions, counts.deletions, counts.insertions, counts.length


def _speakers(report: Report) -> list[tuple[object, ...]]:
    return [
        (
            _text(one.speaker) if one.speaker is not None else "*unknown*",
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
