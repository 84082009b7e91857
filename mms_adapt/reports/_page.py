"""What the pages of all reports share: the frame, the utterances that the script draws, pieces of HTML.

In: pieces of HTML and rows. Out: a self-contained page: it loads nothing, and runs no script but its own.
Every text from outside is escaped here or set as text by the script; the page's content policy allows its own
script by hash and nothing from the network. It does not know scores.
"""

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

from mms_adapt.edits import Edit
from mms_adapt.reports import explain

_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def document(title: str, *, eyebrow: str, heading: str, body: str, rows: Iterable[object]) -> Iterator[str]:
    """Yield the whole page, a row at a time.

    Args:
        title: What the browser's tab says.
        eyebrow: What stands above the heading.
        heading: What the page is about.
        body: HTML; whoever made it escaped what comes from outside.
        rows: The utterances, as `row` makes them.
    """
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; media-src data:; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    yield from (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n",
        '<a class="skip" href="#all">To the utterances</a>\n',
        f'<header class="top"><div><p class="eyebrow">{isolated(eyebrow)}</p>',
        f'<h1 dir="auto">{escape(heading)}</h1></div>',
        '<button id="theme" type="button" aria-label="Switch between light and dark">◐</button>',
        f"</header>\n<main>\n{body}</main>\n",
        '<script type="application/json" id="data">[',
    )
    for place, row in enumerate(rows):
        yield f"{',' if place else ''}\n{_json(row)}"
    yield f"\n]</script>\n<script>{script}</script>\n</body>\n</html>\n"


def _asset(name: str) -> str:
    return files("mms_adapt.reports").joinpath(name).read_text(encoding="utf-8")


def _json(row: object) -> str:
    """Return a row for the script; `<` is escaped so that no text can end the script element."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def steps(alignment: Sequence[Edit]) -> list[object]:
    """Return an alignment as the script reads it: a word that is right, or what was said and recognised."""
    return [
        edit.reference if edit.kind == "equal" else [edit.reference or None, edit.hypothesis or None]
        for edit in alignment
    ]


def utterances(
    heading: str, orders: Mapping[str, str], kinds: Mapping[str, str], *, lines: Sequence[str] = ()
) -> str:
    """Return the list of utterances with its tools; the script fills it.

    Args:
        heading: What stands above it.
        orders: Names and labels of the orders to choose from; the first one holds at the start.
        kinds: Names and labels of what can be shown.
        lines: Whose transcripts stand one below the other, where there are two.
    """
    names = "".join(f' data-line{place}="{escape(name)}"' for place, name in enumerate(lines))
    return (
        f'<h2 id="all">{escape(heading)}</h2>'
        '<ul class="key"><li class="sub">taken for another: said above, recognised below</li>'
        '<li class="del">missed</li><li class="ins">added</li></ul>'
        '<div class="tools" role="search"><label><span class="unseen">Search</span>'
        '<input id="search" type="search" placeholder="Search words, ids, speakers" dir="auto" '
        'autocomplete="off"></label>'
        f'<label><span class="unseen">Show</span><select id="which">{_options(kinds)}</select></label>'
        f'<label><span class="unseen">Order</span><select id="order">{_options(orders)}</select></label>'
        '<span class="soft" id="count" role="status" aria-live="polite"></span></div>'
        "<noscript><p>This page’s own script draws the utterances, and it is switched off.</p></noscript>"
        f'<ol class="utterances" id="utterances"{names}></ol>'
        '<button id="more" type="button" hidden>Show more</button>\n'
    )


def _options(choices: Mapping[str, str]) -> str:
    return "".join(f'<option value="{key}">{label}</option>' for key, label in choices.items())


def marks(names: Sequence[str]) -> str:
    """Return what one must know to believe the figures, each mark explained."""
    items = "".join(
        f"<li><b>{escape(mark.replace('_', ' ').capitalize())}.</b> {escape(explain(mark))}</li>"
        for mark in names
    )
    return f'<h2>Before you believe the figure</h2><ul class="marks">{items}</ul>\n' if items else ""


def sortable(heads: Sequence[tuple[str, bool]], rows: str) -> str:
    """Return a table whose columns can be sorted.

    Args:
        heads: The columns: name, and whether numbers stand in it.
        rows: The rows as HTML; a cell's `data-value` counts for the order where it has one.
    """
    head = "".join(
        f'<th scope="col"{" class=n" if number else ""}><button type="button">{escape(name)}</button></th>'
        for name, number in heads
    )
    return (
        f'<div class="card scroll" tabindex="0"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def footer(facts: Mapping[str, str], *, advice: str) -> str:
    """Return the end of the page: advice, facts that are known, the keys."""
    lines = "".join(f"<p>{escape(name)}: {isolated(value)}</p>" for name, value in facts.items() if value)
    return (
        f"<footer><p>{escape(advice)}</p>{lines}"
        '<p class="keys">Keys: <kbd>/</kbd> search, <kbd>j</kbd> <kbd>k</kbd> next and previous utterance, '
        "<kbd>p</kbd> play.</p></footer>\n"
    )


def isolated(text: str) -> str:
    """Return escaped text whose direction does not disturb what stands around it."""
    return f'<bdi dir="auto">{escape(text)}</bdi>'


def is_right_to_left(text: str) -> bool:
    """Tell by the first strong character, as Unicode's algorithm does."""
    for one in text:
        kind = unicodedata.bidirectional(one)
        if kind == "L":
            return False
        if kind in _RIGHT_TO_LEFT:
            return True
    return False
