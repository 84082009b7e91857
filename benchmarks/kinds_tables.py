"""The tables and pictures of docs/adapter_kinds.md, from the rows that benchmarks/kinds.py made.

In: rows. Out: tables in Markdown by title, pictures of sliders. It does not know how a row is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from results import SETS

Row = dict[str, Any]


def tables(found: Sequence[Row], order: Sequence[str]) -> dict[str, str]:
    """Return the tables of the rows that are there, by title.

    Args:
        found: Rows.
        order: Names of all rows there are, in the order in which they are to stand.
    """
    by_name = {one["name"]: one for one in found}
    held = [by_name[name] for name in order if name in by_name]
    made = {}
    for title, (prefix, lines) in _TABLES.items():
        if rows := [one for one in held if one["name"].startswith(prefix)]:
            made[title] = "\n".join(lines(rows))
    return {**made, "Machines": "\n".join(machines(held))}


def draw(found: Sequence[Row], folder: Path) -> list[Path]:
    """Write the pictures of the sliders that are there."""
    from mms_adapt import pictures
    from mms_adapt.slider import Slide

    written = []
    for one in found:
        if "slide" in one:
            written.append(folder / f"{one['name'].replace('/', '-')}.svg")
            pictures.slide(Slide.from_json(json.dumps(one["slide"]))).save(written[-1])
    return written


def machines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the machines of the rows, each with the versions of the libraries on it."""
    named = {
        (one["machine"], ", ".join(f"{name} {value}" for name, value in one["versions"].items()))
        for one in rows
    }
    for machine, versions in sorted(named):
        yield f"- {machine} ({versions})"


def columns(head: str, cells: Callable[[list[str], Row], list[str]]) -> Callable[[list[Row]], Iterator[str]]:
    """Return what makes a table of one line a row.

    Args:
        head: Its columns, between `|`.
        cells: Returns a row's cells, given the words of its name behind the first.
    """

    def lines(rows: list[Row]) -> Iterator[str]:
        yield f"| {head} |"
        yield "|" + "---|" * (head.count("|") + 1)
        for one in rows:
            yield f"| {' | '.join(cells(one['name'].split('/')[1:], one))} |"

    return lines


def curves(rows: list[Row]) -> Iterator[str]:
    """Yield the learning curves of the starts: a line for each, a column for each amount."""
    amounts = sorted({one["minutes"] for one in rows})
    yield f"| language | start | {' | '.join(f'{one:g} min' for one in amounts)} |"
    yield "|---|---|" + "---|" * len(amounts)
    by_curve: dict[tuple[str, str], dict[float, Row]] = {}
    for one in rows:
        _, code, start, _ = one["name"].split("/")
        by_curve.setdefault((code, start), {})[one["minutes"]] = one
    for (code, start), held in by_curve.items():
        cells = [rate(held[one], "cer") if one in held else "" for one in amounts]
        yield f"| {_language(code)} | {_begun(start, held.values())} | {' | '.join(cells)} |"


def _begun(start: str, rows: Iterable[Row]) -> str:
    """Return a start's name, with the languages that it began from."""
    begun = (one["start"].partition(" (")[0].partition(":")[2].strip() for one in rows)
    languages = dict.fromkeys(code for code in begun if code)
    return f"{start}: {', '.join(_language(one) for one in languages)}" if languages else start


def rate(one: Row, name: str) -> str:
    """Return a rate in percent with its interval, if it has one."""
    held = one.get(f"{name}_interval")
    span = f" ({100 * held[0]:.1f} to {100 * held[1]:.1f})" if held else ""
    return f"**{100 * one[name]:.1f}**{span}"


def _language(code: str) -> str:
    return SETS[code][1]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _places(row: Row) -> str:
    return ", ".join(f"{one['at']:g}: {100 * one['dev_cer']:.1f}" for one in row["points"])


_TABLES: dict[str, tuple[str, Callable[[list[Row]], Iterator[str]]]] = {
    "Kinds": ("kind/", columns(
        "language | kind | numbers trained | training speech | CER % (95 %) | WER % (95 %) | seconds | "
        "at once",
        lambda words, one: [
            _language(words[0]), f"`{words[1]}`", f"{one['trained']:,}", f"{one['train_s'] / 60:.0f} min",
            rate(one, "cer"), rate(one, "wer"), f"{one['seconds']:.0f}", str(one["at_once"]),
        ],
    )),
    "Starts": ("start/", curves),
    "Merges": ("merge/", columns(
        "language | adapter | share of the second | numbers | CER % (95 %) | WER % (95 %)",
        lambda words, one: [
            _language(words[0]), words[1], f"{one['best']:g}" if "best" in one else "", f"{one['trained']:,}",
            rate(one, "cer"), rate(one, "wer"),
        ],
    )),
    "Strength": ("slide/", columns(
        "language | best on dev | CER % on dev at each | CER % (95 %) there | CER % (95 %) at 1",
        lambda words, one: [
            _language(words[0]), f"{one['best']:g}", _places(one),
            rate(one, "cer"), rate(one["plain"], "cer"),
        ],
    )),
    "Shares": ("share/", columns(
        "language | best share of the second on dev | CER % on dev at each | CER % (95 %) of the first | "
        "at the best | of the second",
        lambda words, one: [
            _language(words[0]), f"{one['best']:g}", _places(one),
            rate(one["first"], "cer"), rate(one, "cer"), rate(one["plain"], "cer"),
        ],
    )),
    "One on another": ("stack/", columns(
        "language | speaker | numbers | seconds | CER % of the speaker before | with an own one on it | "
        "CER % (95 %) of all before | CER % (95 %) of all with it",
        lambda words, one: [
            _language(words[0]), words[1], f"{one['trained']:,}", f"{one['seconds']:.0f}",
            _percent(one["lower"]["speaker_cer"]), _percent(one["speaker_cer"]),
            rate(one["lower"], "cer"), rate(one, "cer"),
        ],
    )),
    "Reduced": ("reduce/", columns(
        "language | chosen by | channels | error % of what is added | on other speech | "
        "CER % (95 %) of all channels | CER % (95 %) reduced",
        lambda words, one: [
            _language(words[0]), words[1], words[2],
            _percent(one["reduction"]["error"]), _percent(one["reduction"]["error_elsewhere"]),
            rate(one["whole"], "cer"), rate(one, "cer"),
        ],
    )),
    "Moved to a sibling": ("sibling/", columns(
        "language | CER % (95 %) at home | CER % (95 %) moved | WER % (95 %) at home | WER % (95 %) moved",
        lambda words, one: [
            _language(words[0]), rate(one["own"], "cer"), rate(one, "cer"),
            rate(one["own"], "wer"), rate(one, "wer"),
        ],
    )),
}  # fmt: skip
