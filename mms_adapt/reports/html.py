"""The report as one self-contained page for a browser, and so the comparison of two scores.

In: a `Report`, or a `Comparison`. Out: HTML with style, script and data inside; `_page` makes the frame.
Utterances travel as JSON and are drawn fifty at a time, so ten thousand of them open at once.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

from mms_adapt.edits import Counts, UtteranceScore
from mms_adapt.reports import Clip, Report, _where, in_words, minutes, percent, span
from mms_adapt.reports._page import (
    document,
    footer,
    is_right_to_left,
    isolated,
    marks,
    steps,
    utterances,
)
from mms_adapt.uncertainty import Interval

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

SUFFIX = ".html"


def render(report: Report) -> str:
    """Return the whole page."""
    return "".join(pieces(report))


def pieces(report: Report) -> Iterator[str]:
    """Yield the whole page, an utterance at a time: with sound, it is larger than all else that is held."""
    made = " · ".join(filter(None, [report.adapter and f"adapter {report.adapter}", report.backbone]))
    parts = (_headline, _marks, _errors, _where.page_part, _utterances, _colophon)
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
    top = max(1.0, rate, *(min(one.high, 2 * max(1.0, rate)) for one in known)) if known else max(1.0, rate)
    bands = "".join(
        f'<i{" class=wide" if one.unit == "speaker" else ""} style="left:{100 * one.low / top:.2f}%;'
        f'width:{100 * (min(one.high, top) - one.low) / top:.2f}%"></i>'
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


def _rows(report: Report) -> Iterator[list[object]]:
    clips: Iterable[Clip | None] = report.clips or [None] * len(report.score.per_utterance)
    for one, clip in zip(report.score.per_utterance, clips, strict=True):
        yield _row(one, clip)


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
        None if clip is None else clip.image_uri,
    ]
