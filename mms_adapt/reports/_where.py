"""Where the errors are, as part of the page: by speaker, by length and the like, by grapheme and word.

In: a `Report`. Out: HTML.
"""

import unicodedata
from collections.abc import Sequence
from html import escape

from mms_adapt.breakdown import Breakdown, Group, Matrix, matrix
from mms_adapt.edits import Confusion
from mms_adapt.reports import Report, percent
from mms_adapt.reports._page import isolated, sortable

_CONFUSIONS = 15
_SEEN = 0.005  # a smaller share of a row shows no figure in the matrix


def page_part(report: Report) -> str:
    """Return the part of the page."""
    return _speakers(report) + _breakdowns(report.breakdowns) + _matrix(report) + _confusions(report)


def _speakers(report: Report) -> str:
    speakers = report.score.per_speaker
    highest = max((one.words.rate or 0.0 for one in speakers), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{isolated(one.speaker) if one.speaker is not None else '<i>unknown</i>'}</td>"
        f'<td class="n">{one.utterances:,}</td><td class="n">{one.words.length:,}</td>'
        f'<td class="whole" data-value="{one.words.rate or 0:.6f}"><span class="bar" style="width:'
        f'{4 * (one.words.rate or 0) / highest:.2f}rem"></span>{percent(one.words.rate)}</td>'
        f'<td class="n" data-value="{one.characters.rate or 0:.6f}">{percent(one.characters.rate)}</td></tr>'
        for one in speakers
    )
    heads = ("Speaker", False), ("Utterances", True), ("Words", True), ("WER", False), ("CER", True)
    return f"<h2>By speaker</h2>{sortable(heads, rows)}"


def _breakdowns(breakdowns: Sequence[Breakdown]) -> str:
    if not breakdowns:
        return ""
    cards = "".join(map(_breakdown, breakdowns))
    return f'<h2>Where the errors are</h2><div class="grid wide">{cards}</div>\n'


def _breakdown(one: Breakdown) -> str:
    highest = max((group.words.rate or 0.0 for group in one.groups), default=0.0) or 1.0
    whole = any(group.characters for group in one.groups)
    heads = ("", "Count", "WER", "CER") if whole else ("", "Words", "Wrong")
    head = "".join(
        f'<th scope="col"{" class=n" if place in (1, 3) else ""}>{name}</th>'
        for place, name in enumerate(heads)
    )
    rows = "".join(_group(group, highest) for group in one.groups)
    note = f'<p class="soft">{escape(one.note)}</p>' if one.note else ""
    return (
        f'<section class="card scroll"><h3>{escape(one.name)}</h3><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{note}</section>"
    )


def _group(one: Group, highest: float) -> str:
    count = one.utterances if one.characters else one.words.length
    cells = (
        f'<td class="whole">{escape(one.name)}</td><td class="n">{count:,}</td>'
        f'<td class="whole"><span class="bar" style="width:{2 * (one.words.rate or 0) / highest:.2f}rem">'
        f"</span>{percent(one.words.rate)}</td>"
    )
    if one.characters:
        cells += f'<td class="n">{percent(one.characters.rate)}</td>'
    return f"<tr>{cells}</tr>"


def _matrix(report: Report) -> str:
    """Return the confusion matrix as a table, the fuller a cell the darker."""
    found = matrix(report.score.per_utterance, report.score.character_confusions)
    if len(found.characters) < 2:
        return ""
    head = "".join(f'<th scope="col">{_glyph(one)}</th>' for one in found.characters)
    rows = "".join(
        f'<tr><th scope="row">{_glyph(one) if one else "added"}</th>{_cells(found, place)}</tr>'
        for place, one in enumerate(found.characters)
    )
    return (
        '<h2>Confusion matrix</h2><div class="card"><p class="soft">Rows: what was said, columns: what was '
        "recognised. Percent of the row; the characters with most errors. Point at a cell for its count.</p>"
        f'<div class="scroll" tabindex="0"><table class="matrix"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div>\n"
    )


def _cells(found: Matrix, row: int) -> str:
    cells = []
    for column, count in enumerate(found.counts[row]):
        share = found.share(row, column)
        kind = "right" if row == column and found.characters[row] else "wrong"
        said, heard = found.characters[row] or "nothing", found.characters[column] or "nothing"
        title = escape(f"{said} → {heard}: {count:,} of {found.totals[row]:,}")
        shown = f"{100 * share:.0f}" if share >= _SEEN else "·" if count else ""
        cells.append(f'<td class="{kind}" style="--share:{100 * share:.0f}%" title="{title}">{shown}</td>')
    return "".join(cells)


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
