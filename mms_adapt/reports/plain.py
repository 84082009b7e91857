"""The report as plain text for a terminal or a log: the headline, what to know of it, the signature."""

from typing import TYPE_CHECKING

from mms_adapt.reports import Report, explain, in_points, in_words, minutes, percent, spans

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".txt"


def render(report: Report) -> str:
    """Return a report of some twenty lines."""
    score = report.score
    words, characters = score.word_counts, score.character_counts
    lines = [
        report.title,
        "",
        f"  WER  {percent(score.wer):>8}   ({spans(score.wer_interval, score.wer_speaker_interval)})",
        f"  CER  {percent(score.cer):>8}   ({spans(score.cer_interval, score.cer_speaker_interval)})",
        f"  utterances with an error  {percent(score.sentence_error)}",
        "",
        f"  {in_words(score)}",
        f"  {score.utterances} utterances, {minutes(report.speech_s)}, {score.words} words, "
        f"{score.characters} characters",
        f"  words: {_errors(words.substitutions, words.deletions, words.insertions)}",
        f"  characters: {_errors(characters.substitutions, characters.deletions, characters.insertions)}",
    ]
    lines += [f"  excluded: {one.count} x {one.reason}" for one in report.excluded]
    lines += ["", *(f"  {mark}: {explain(mark)}" for mark in score.marks)] if score.marks else []
    return "\n".join([*lines, "", f"  {score.signature}", ""])


def render_comparison(found: "Comparison") -> str:
    """Return both rates, their difference, what it means, and both signatures."""
    lines = [f"first   {found.names[0]}", f"second  {found.names[1]}", ""]
    for name, (first, second), *differences in (
        ("WER", found.wer, found.wer_difference, found.wer_speaker_difference),
        ("CER", found.cer, found.cer_difference, found.cer_speaker_difference),
    ):
        lines.append(f"{name}  {percent(first)} and {percent(second)}")
        lines += [f"     {in_points(one)}" for one in differences if one is not None]
    lines += ["", found.in_words()]
    lines.append(f"{found.utterances} utterances: {found.better} better with the second, {found.worse} worse")
    lines += [f"note: {mark}: {explain(mark)}" for mark in found.marks]
    return "\n".join([*lines, "", *found.signatures, ""])


def _errors(substitutions: int, deletions: int, insertions: int) -> str:
    return f"{substitutions} substituted, {deletions} deleted, {insertions} inserted"
