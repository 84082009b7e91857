"""The page that sets two scores of the same test set side by side.

In: a `Comparison`. Out: HTML. The two transcripts of an utterance stand one below the
other, each aligned with what was said.
"""

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from mms_adapt import edits
from mms_adapt.reports import percent
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
from mms_adapt.uncertainty import Difference

if TYPE_CHECKING:
    from mms_adapt.compare import Comparison

_ORDERS = {
    "gain": "gains of the second on top",
    "loss": "losses of the second on top",
    "file": "largest difference on top",
    "speaker": "by speaker",
}
_KINDS = {"all": "all that differ", "better": "fewer errors with the second", "worse": "more with the second"}


def page(found: "Comparison") -> str:
    """Return the whole page."""
    return "".join(
        document(
            f"{found.names[0]} and {found.names[1]}: {found.in_words().partition('.')[0]}",
            eyebrow="Two scores of the same test set",
            heading=f"{found.names[0]} and {found.names[1]}",
            body=(
                _headline(found)
                + marks(found.marks)
                + _speakers(found)
                + utterances("Utterances that differ", _ORDERS, _KINDS, lines=found.names)
                + _colophon(found)
            ),
            rows=_rows(found),
        )
    )


def _headline(found: "Comparison") -> str:
    equal = found.utterances - found.better - found.worse
    return (
        '<div class="grid heads">'
        + _figure("Word error rate", found.wer, found.wer_difference, found.wer_speaker_difference)
        + _figure("Character error rate", found.cer, found.cer_difference, found.cer_speaker_difference)
        + f'<section class="card"><h2>Utterances</h2><p class="big">{found.utterances:,}</p>'
        f"<p>{found.better:,} with fewer word errors by the second, {found.worse:,} with more</p>"
        f'<p class="soft">{equal:,} with as many</p></section></div>\n'
        f'<p class="lead">{escape(found.in_words())}</p>\n'
        f'<p class="soft">The first is {isolated(found.names[0])}, '
        f"the second {isolated(found.names[1])}.</p>\n"
    )


def _figure(
    name: str, rates: tuple[float, float], by_utterance: Difference | None, by_speaker: Difference | None
) -> str:
    """Return a card with both rates, and their difference with its intervals on a scale about zero."""
    known = [one for one in (by_speaker, by_utterance) if one is not None]
    top = max([0.01, *(abs(end) for one in known for end in (one.low, one.high, one.rate))])
    bands = "".join(
        f'<i{" class=wide" if one.unit == "speaker" else ""} style="left:{50 + 50 * one.low / top:.2f}%;'
        f'width:{50 * (one.high - one.low) / top:.2f}%"></i>'
        for one in known
    )
    words = "".join(
        f"<p{' class=soft' if one.unit == 'speaker' else ''}>{100 * one.rate:+.1f} points "
        f"({100 * one.low:+.1f} to {100 * one.high:+.1f}), p = {one.p_value:.4f}, "
        f"drawn by {one.unit} ({one.unit_count:,})</p>"
        for one in reversed(known)
    )
    change = rates[1] - rates[0]
    return (
        f'<section class="card"><h2>{name}</h2>'
        f'<p class="big two">{percent(rates[0])} → {percent(rates[1])}</p>'
        f'<div class="scale" aria-hidden="true">{bands}<b class="zero" style="left:50%"></b>'
        f'<b style="left:{50 + 50 * change / top:.2f}%"></b></div>'
        f'<div class="ends" aria-hidden="true"><span>−{100 * top:.1f}</span><span>0</span>'
        f"<span>+{100 * top:.1f}</span></div>{words}</section>"
    )


def _speakers(found: "Comparison") -> str:
    rows = "".join(
        f"<tr><td>{isolated(one.speaker) if one.speaker is not None else '<i>unknown</i>'}</td>"
        f'<td class="n">{one.utterances:,}</td><td class="n">{one.words:,}</td>'
        + "".join(
            f'<td class="n" data-value="{value:.6f}">{100 * value:{sign}.1f}</td>'
            for value, sign in _shares(one.errors, one.words)
        )
        + "</tr>"
        for one in found.per_speaker
    )
    heads = ("Utterances", True), ("Words", True), ("First %", True), ("Second %", True)
    table = sortable((("Speaker", False), *heads, ("Points", True)), rows)
    return f"<h2>Word error rate by speaker</h2>{table}"


def _shares(errors: tuple[int, int], words: int) -> list[tuple[float, str]]:
    first, second = (count / words if words else 0.0 for count in errors)
    return [(first, ""), (second, ""), (second - first, "+")]


def _rows(found: "Comparison") -> list[list[object]]:
    """Return the utterances that differ, both transcripts aligned with what was said."""
    said = [one.reference for one in found.gaps]
    names = [one.utterance_id for one in found.gaps]
    who = [one.speaker for one in found.gaps]
    both = [
        edits.align(said, heard, names, who, Counter())
        for heard in ([one.first for one in found.gaps], [one.second for one in found.gaps])
    ]
    return [_row(*pair) for pair in zip(*both, strict=True)]


def _row(first: edits.UtteranceScore, second: edits.UtteranceScore) -> list[object]:
    return [
        first.utterance_id,
        first.speaker,
        None,
        None,
        first.words.errors,
        first.words.length,
        first.characters.errors,
        first.characters.length,
        int(is_right_to_left(first.reference or first.hypothesis)),
        steps(first.alignment),
        None,
        None,
        [second.words.errors, second.characters.errors, steps(second.alignment)],
    ]


def _colophon(found: "Comparison") -> str:
    lines = "\n".join(map(escape, found.signatures))
    advice = "Quote both signatures with the figures."
    return f"<h2>Signatures</h2><pre>{lines}</pre>" + footer({}, advice=advice)
