"""The report as plain text for a terminal or a log: the headline, what to know of it, the signature."""

from mms_adapt.reports import Report, explain, in_words, minutes, percent, span

SUFFIX = ".txt"


def render(report: Report) -> str:
    """Return a report of some twenty lines."""
    score = report.score
    words, characters = score.word_counts, score.character_counts
    lines = [
        report.title,
        "",
        f"  WER  {percent(score.wer):>8}   ({span(score.wer_interval)})",
        f"  CER  {percent(score.cer):>8}   ({span(score.cer_interval)})",
        f"  utterances with an error  {percent(score.sentence_error)}",
        "",
        f"  {in_words(score)}",
        f"  {score.utterances} utterances, {minutes(report.speech_s)}, {score.words} words, "
        f"{score.characters} characters",
        f"  words: {_errors(words.substitutions, words.deletions, words.insertions)}",
        f"  characters: {_errors(characters.substitutions, characters.deletions, characters.insertions)}",
    ]
    if score.wer_speaker_interval is not None:
        interval = score.wer_speaker_interval
        lines.append(f"  drawn by speaker ({interval.unit_count}): WER {span(interval)}")
    lines += [f"  excluded: {one.count} x {one.reason}" for one in report.excluded]
    lines += ["", *(f"  {mark}: {explain(mark)}" for mark in score.marks)] if score.marks else []
    return "\n".join([*lines, "", f"  {score.signature}", ""])


def _errors(substitutions: int, deletions: int, insertions: int) -> str:
    return f"{substitutions} substituted, {deletions} deleted, {insertions} inserted"
