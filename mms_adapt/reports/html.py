"""The report as one self-contained page for a browser, and so the comparison of two scores.

In: a `Report`, or a `Comparison`. Out: HTML with style, script and data inside; `_page` makes the frame.
Utterances travel as JSON and are drawn fifty at a time, so ten thousand of them open at once.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from mms_adapt.edits import Confusion, Counts, UtteranceScore
from mms_adapt.reports import Clip, Report, in_words, minutes, percent, span
from mms_adapt.reports._page import (
    document,
    footer,
    is_right_to_left,
    isolated,
    marks,
    sortable,
    steps,
    utterances,
)
from mms_adapt.uncertainty import Interval

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".html"
_CONFUSIONS = 15


def render(report: Report) -> str:
    """Return the whole page."""
    made = " · ".join(filter(None, [report.adapter and f"adapter {report.adapter}", report.backbone]))
    parts = (_headline, _marks, _errors, _speakers, _confusions, _utterances, _colophon)
    return document(
        f"{report.title}: {percent(report.score.wer)} WER",
        eyebrow=made,
        heading=report.title,
        body="".join(part(report) for part in parts),
        rows=_rows(report),
    )


def render_comparison(found: "Comparison") -> str:
    """Return a page that sets two scores of the same test set side by side."""
    from mms_adapt.reports import _comparison

    return _comparison.page(found)


def _headline(report: Report) -> str:
    score = report.score
    share = 1 - score.sentence_error
    return (
        '<div class="grid heads">'
        + _figure("Word error rate", score.wer, score.wer_interval, score.wer_speaker_interval)
        + _figure("Character error rate", score.cer, score.cer_interval, score.cer_speaker_interval)
        + f'<section class="card"><h2>Without any error</h2>'
        f'<p class="big">{percent(share)}</p><p>of {score.utterances:,} utterances</p>'
        f'<p class="soft">{minutes(report.speech_s)} of speech, {score.words:,} words, '
        f"{score.characters:,} characters</p></section></div>\n"
        f'<p class="lead">{escape(in_words(score))}</p>\n'
    )


def _figure(name: str, rate: float, interval: Interval | None, by_speaker: Interval | None) -> str:
    """Return a card with the rate, its intervals in words and on a scale from 0 % to 100 % or more."""
    known = [one for one in (by_speaker, interval) if one is not None]
    top = max(1.0, rate, *(one.high for one in known)) if known else max(1.0, rate)
    bands = "".join(
        f'<i{" class=wide" if one.unit == "speaker" else ""} style="left:{100 * one.low / top:.2f}%;'
        f'width:{100 * (one.high - one.low) / top:.2f}%"></i>'
        for one in known
    )
    speakers = (
        f'<p class="soft">{span(by_speaker)} with other speakers ({by_speaker.unit_count} drawn whole)</p>'
        if by_speaker is not None
        else ""
    )
    words = f"95 % interval: {span(interval)}" if interval is not None else span(interval).capitalize()
    return (
        f'<section class="card"><h2>{name}</h2>'
        f'<p class="big">{percent(rate)}</p>'
        f'<div class="scale" aria-hidden="true">{bands}<b style="left:{100 * rate / top:.2f}%"></b></div>'
        f'<div class="ends" aria-hidden="true"><span>0</span><span>{100 * top:.0f} %</span></div>'
        f"<p>{words}</p>{speakers}</section>"
    )


def _marks(report: Report) -> str:
    known = marks(report.score.marks)
    rows = "".join(
        f'<tr><td>{isolated(one.reason.replace("_", " "))}</td><td class="n">{one.count:,}</td>'
        f"<td>{', '.join(map(isolated, one.examples))}</td><td>{isolated(one.what_to_do)}</td></tr>"
        for one in report.excluded
    )
    if not rows:
        return known + '<h2>Not scored</h2><p class="soft">Nothing was left out.</p>\n'
    return (
        f"{known}<h2>Not scored</h2><p>{report.excluded_count:,} utterances could not be used and "
        'are in no figure on this page.</p><div class="card scroll"><table><thead><tr><th>Reason</th>'
        '<th class="n">Utterances</th><th>Such as</th><th>What to do</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _errors(report: Report) -> str:
    return (
        '<h2>Kinds of errors</h2><div class="grid">'
        + _parts("Words", report.score.word_counts)
        + _parts("Characters", report.score.character_counts)
        + "</div>\n"
    )


def _parts(name: str, counts: Counts) -> str:
    kinds = (
        ("hit", "right", counts.hits),
        ("sub", "taken for another", counts.substitutions),
        ("del", "missed", counts.deletions),
        ("ins", "added", counts.insertions),
    )
    bars = "".join(f'<i class="{key}" style="flex:{count} 1 0"></i>' for key, _, count in kinds if count)
    keys = "".join(f'<li class="{key}">{count:,} {label}</li>' for key, label, count in kinds)
    return (
        f'<section class="card"><h3>{name}</h3><div class="parts" aria-hidden="true">{bars}</div>'
        f'<ul class="key">{keys}</ul></section>'
    )


def _speakers(report: Report) -> str:
    speakers = report.score.per_speaker
    highest = max((one.words.rate or 0.0 for one in speakers), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{isolated(one.speaker) if one.speaker is not None else '<i>unknown</i>'}</td>"
        f'<td class="n">{one.utterances:,}</td><td class="n">{one.words.length:,}</td>'
        f'<td data-value="{one.words.rate or 0:.6f}"><span class="bar" style="width:'
        f'{6 * (one.words.rate or 0) / highest:.2f}rem"></span>{percent(one.words.rate)}</td>'
        f'<td class="n" data-value="{one.characters.rate or 0:.6f}">{percent(one.characters.rate)}</td></tr>'
        for one in speakers
    )
    heads = ("Speaker", False), ("Utterances", True), ("Words", True), ("WER", False), ("CER", True)
    return f"<h2>By speaker</h2>{sortable(heads, rows)}"


def _confusions(report: Report) -> str:
    characters = report.score.character_confusions[:_CONFUSIONS]
    words = report.score.word_confusions(_CONFUSIONS)
    return (
        '<h2>Most frequent confusions</h2><div class="grid">'
        + _confusion_table("Characters", characters)
        + _confusion_table("Words", words)
        + "</div>\n"
    )


def _confusion_table(name: str, confusions: Sequence[Confusion]) -> str:
    rows = "".join(
        f'<tr><td>{_glyph(one.reference)}<span class="arrow" aria-label="recognised as">→</span>'
        f'{_glyph(one.hypothesis)}</td><td class="n">{one.count:,}</td></tr>'
        for one in confusions
    )
    empty = '<tr><td class="soft">none</td></tr>'
    return (
        f'<section class="card scroll"><h3>{name}: said → recognised</h3>'
        f"<table><tbody>{rows or empty}</tbody></table></section>"
    )


def _glyph(text: str) -> str:
    """Return a character or word so that it can be seen, its Unicode name for the pointer."""
    if not text:
        return '<span class="soft">nothing</span>'
    shown = "␣" if text == " " else f"◌{text}" if unicodedata.combining(text[0]) else text
    names = " + ".join(unicodedata.name(one, f"U+{ord(one):04X}") for one in text) if len(text) <= 2 else ""
    title = f' title="{escape(names)}"' if names else ""
    return f'<bdi class="glyph" dir="auto"{title}>{escape(shown)}</bdi>'


def _utterances(report: Report) -> str:
    choices = {
        "wer": "highest WER first",
        "errors": "most word errors first",
        "cer": "highest CER first",
        "best": "lowest WER first",
        "file": "as in the data",
        "long": "longest first",
        "unsure": "least confident first",
        "speaker": "by speaker",
    }
    kinds = {"all": "all utterances", "wrong": "with errors", "right": "without errors"}
    if any(clip.audio_uri for clip in report.clips):
        kinds["played"] = "with sound"
    return utterances("Every utterance", choices, kinds)


def _colophon(report: Report) -> str:
    facts = {
        "Data": report.source,
        "Licence of the data": report.licence,
        "Time to transcribe": minutes(report.elapsed_s) if report.elapsed_s else "",
    }
    return f"<h2>Signature</h2><pre>{escape(report.score.signature)}</pre>" + footer(
        facts, advice="Quote the signature with the figure: two figures compare only where it agrees."
    )


def _rows(report: Report) -> list[list[object]]:
    clips: Iterable[Clip | None] = report.clips or [None] * len(report.score.per_utterance)
    return [_row(one, clip) for one, clip in zip(report.score.per_utterance, clips, strict=True)]


def _row(one: UtteranceScore, clip: Clip | None) -> list[object]:
    return [
        one.utterance_id,
        one.speaker,
        None if clip is None else round(clip.duration_s, 2),
        None if clip is None else round(clip.confidence, 3),
        one.words.errors,
        one.words.length,
        one.characters.errors,
        one.characters.length,
        int(is_right_to_left(one.reference or one.hypothesis)),
        steps(one.alignment),
        None if clip is None else clip.audio_uri,
    ]
