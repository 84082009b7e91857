"""Adapters in the terminal: a registry as a table, one adapter, checks, differences, merges.

In: what `mms_adapt.audit`, `composition` and `publishing` return. Out: words and tables on standard output.
It does not know how they were found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mms_adapt.terminal import console, visible

if TYPE_CHECKING:
    from mms_adapt.audit.difference import Difference
    from mms_adapt.audit.listing import Row, Shown
    from mms_adapt.audit.verification import Verification
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.composition.weights import Found
    from mms_adapt.publishing.folder import Published

_WIDE = 240  # columns of a table that goes into a file
_COLOURS = {"ok": "green", "whole": "green", "wrong": "red", "not checked": "yellow"}
_MANY = 12


def plain(value: Any) -> Any:
    """Return dataclasses, paths and tuples as JSON holds them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None  # JSON has no such number
    return str(value) if isinstance(value, Path) else value


def show_rows(rows: "Sequence[Row]", registry: Path) -> None:
    """Print a registry as a table, and what is wrong with its adapters below it."""
    from mms_adapt.reports import explain, percent

    out = console()
    if not rows:
        out.print(
            f"{registry} holds no adapter; mms-adapt train PREPARED --out {registry}/CODE", markup=False
        )
        return
    heads = "adapter|language|kind|numbers|minutes|dev CER|test CER|backbone|licence|marks|state".split("|")
    body = [
        (
            one.name,
            one.language,
            one.kind,
            _count(one.numbers),
            "" if one.minutes is None else f"{one.minutes:.1f}",
            "" if one.dev_cer is None else percent(one.dev_cer),
            "" if one.test_cer is None else percent(one.test_cer),
            f"{one.backbone or '-'}: {one.backbone_state}" if one.kind else "",
            one.licence or "not known" if one.kind else "",
            ", ".join(one.marks),
            "whole" if one.state == "whole" else "see below",
        )
        for one in rows
    ]
    _print_table(heads, body, right=(3, 4, 5, 6))
    for one in rows:
        if one.state != "whole":
            out.print(f"{one.name}: {one.state}", markup=False)
    for mark in sorted({mark for one in rows for mark in one.marks}):
        out.print(f"note: {mark}: {explain(mark)}", markup=False)


def show_adapter(found: "Shown") -> None:
    """Print everything that is known about an adapter."""
    from mms_adapt.reports import explain, percent

    row, written = found.row, found.passport
    lines = [
        ("adapter", row.version or found.passport.version),
        ("language", f"{row.language} ({row.target_lang})"),
        ("kind", f"{written.kind}: {_pairs(written.kind_options)}"),
        ("numbers", _count(row.numbers)),
        (
            "backbone",
            f"{written.backbone or 'not noted'} {written.backbone_fingerprint[:12]}: {row.backbone_state}",
        ),
        (
            "licence",
            f"{written.licence or 'not known'}; of the recordings: {written.data_licence or 'not known'}",
        ),
        ("corpus", written.corpus or "not named"),
        ("normaliser", written.normaliser or "not known"),
        ("graphemes", " ".join(written.orthography) or "one character each"),
        ("tokens", f"{len(found.tokens)}: {' '.join(found.tokens)}"),
        ("start", f"{written.start or 'not noted'}; head: {written.head_start or 'not noted'}"),
    ]
    for part in ("train", "dev", "test"):
        if told := _part(written, part):
            lines.append((part, told))
    if written.left_out:
        lines.append(("left out", _pairs(written.left_out)))
    for name, value in written.metrics.items():
        is_rate = name.endswith("_cer") and isinstance(value, float)
        lines.append((name, percent(value) if is_rate else _short(value)))
    for part, one in found.scores.items():
        lines.append((f"{part} score", f"CER {percent(one.cer)}, WER {percent(one.wer)}; {one.signature}"))
    lines += [("parent", f"{weight:g} × {parent}") for parent, weight in written.parents.items()]
    lines += _merge(written.merge)
    if written.decoder:
        lines.append(("decoder", _pairs(written.decoder)))
    lines += [("versions", _pairs(written.versions)), ("files", row.state)]
    lines += [("mark", f"{mark}: {explain(mark)}") for mark in written.marks]
    out = console()
    for name, value in lines:
        out.print(f"{name:12} {value}", markup=False)


def _part(written: Any, part: str) -> str:
    """Say what an adapter heard of a part, its speakers by their pseudonyms."""
    told = []
    if part in written.utterances:
        told.append(f"{written.utterances[part]} utterances")
    if part in written.minutes:
        told.append(f"{written.minutes[part]} minutes")
    if part in written.split_sha256:
        told.append(f"hash {written.split_sha256[part][:12]}")
    if speakers := written.speakers_of(part):
        told.append(f"{len(speakers)} speakers: {_some(speakers)}")
    return ", ".join(told)


def _merge(merge: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say how an adapter was made of others."""
    lines = [
        ("merge", _pairs({name: one for name, one in merge.items() if name not in ("parents", "search")}))
    ]
    search = merge.get("search")
    if isinstance(search, Mapping):
        tried = search.get("tried")
        count = len(tried) if isinstance(tried, list) else 0
        told = f"{count} mixtures on {search.get('utterances')} utterances of dev "
        lines.append(("search", told + str(search.get("split_sha256", ""))[:12]))
    return lines if merge else []


def show_verification(found: "Verification") -> None:
    """Print each check, the reported score beside the one that was found, and the verdict."""
    from rich.text import Text

    out = console()
    out.print(f"{found.folder}: {found.version or 'no version'}", markup=False)
    for one in found.checks:
        state = (f"{one.state:12}", _COLOURS[one.state])
        out.print(Text.assemble("  ", state, f"{one.name}: {visible(one.detail)}"))
    if (score := found.score) is not None:
        rates = [("CER", score.reported_cer, score.found_cer), ("WER", score.reported_wer, score.found_wer)]
        out.print(
            f"score of the {score.split} set {score.split_sha256[:12]}, noted by {score.source}", markup=False
        )
        for name, reported, now in rates:
            before = "not told" if reported is None else f"{100 * reported:.3f} %"
            out.print(f"  {name}  reported {before:>10}   found {100 * now:.3f} %", markup=False)
        out.print(f"  compared: {score.compared}", markup=False)
        if score.signature:
            out.print(f"  signature: {score.signature}", markup=False)
        out.print("  the score is found again" if score.agrees else "  the score is NOT found again")
    out.print("nothing is wrong" if found.good else "something is wrong")


def show_difference(found: "Difference") -> None:
    """Print what two adapters differ in, or that they do not."""
    out = console()
    out.print(f"first {found.first}, second {found.second}", markup=False)
    if found.same:
        out.print("they are the same: weights, tokens and passport")
        return
    out.print("the weights are the same, number for number" if found.same_weights else "the weights differ")
    out.print("the tokens are the same" if found.same_tokens else "the tokens differ")
    for which, tokens in (("first", found.tokens_first), ("second", found.tokens_second)):
        if tokens:
            out.print(f"  in the {which} alone: {' '.join(tokens)}", markup=False)
    if found.reordered:
        out.print("  they are the same tokens in another order")
    if not found.same_weights and found.layers:
        body = [
            (
                one.place,
                f"{one.relative:.4f}",
                "-" if one.cosine is None else f"{one.cosine:.4f}",
                _count(one.numbers),
            )
            for one in found.layers
        ]
        _print_table(("place", "change / first", "cosine", "numbers"), body, right=(1, 2, 3))
    if found.incomparable:
        out.print(f"note: {found.incomparable}", markup=False)
    for each in found.heard:
        data = {True: "the same data", False: "other data", None: "data not told"}[each.same_data]
        told = f"{each.speakers} speakers in both, {each.only_first} in the first alone, "
        told += f"{each.only_second} in the second"
        out.print(f"{each.part}: {data}; {told}", markup=False)
    if found.crossed:
        out.print(
            f"note: {found.crossed} speakers were learnt from by one and are in the dev set of the other"
        )
    out.print("the passports are the same" if not found.passport else "the passports differ:")
    for one in found.passport:
        out.print(f"  {one.field}: {_short(one.first)} -> {_short(one.second)}", markup=False)


def show_merge(made: "AdapterFolder", found: "Found | None" = None) -> None:
    """Print what was made of several adapters, and all mixtures that were tried."""
    from mms_adapt.reports import percent

    out = console()
    if found is not None:
        out.print("dev CER of every mixture that was tried:")
        for one in sorted(found.tried, key=lambda each: each.weights, reverse=True):
            best = "  best" if one.weights == found.best.weights else ""
            told = ", ".join(f"{weight:g}" for weight in one.weights)
            out.print(f"  {told:24} {percent(one.cer):>8}{best}", markup=False)
    for parent, weight in made.passport.parents.items():
        out.print(f"{weight:g} × {parent}", markup=False)
    lost = made.passport.merge.get("lost_share")
    if lost is not None:
        out.print(f"the rank leaves out {100 * lost:.2f} % of the squared change", markup=False)
    out.print(f"licence: {made.passport.licence or 'not known'}", markup=False)
    out.print(f"written: {made.path} ({made.version})", markup=False)


def show_published(found: "Published", repo_id: str | None) -> None:
    """Print what was written and where it went, or how to send it."""
    opens = {"stock": "stock transformers", "peft": "PEFT", "mms_adapt": "mms-adapt alone"}[found.format]
    out = console()
    out.print(f"licence: {found.licence}", markup=False)
    out.print(f"written: {found.folder}, which {opens} opens", markup=False)
    if found.address:
        out.print(f"uploaded: {found.address}", markup=False)
        return
    out.print("nothing was uploaded. Read README.md; then:")
    out.print(f"  hf upload {repo_id or 'OWNER/NAME'} {found.folder}", markup=False)


def _print_table(heads: Iterable[str], body: Iterable[Sequence[str]], *, right: Sequence[int]) -> None:
    """Print a table whose cells obey nothing."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names, rows = list(heads), list(body)
    for place, head in enumerate(names):
        table.add_column(head, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell), style=_COLOURS.get(cell, "")) for cell in row))
    out = console()
    needed = out.measure(table, options=out.options.update(max_width=_WIDE)).maximum
    if not out.is_terminal:
        out.width = _WIDE
    elif needed > out.width:  # a page an adapter rather than a table of splinters
        for row in rows:
            for head, cell in zip(names, row, strict=True):
                out.print(f"{head:16} {cell}", markup=False)
            out.print()
        return
    out.print(table, soft_wrap=False)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _pairs(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in record.items())


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _some(labels: Sequence[Any]) -> str:
    more = f" and {len(labels) - _MANY} more" if len(labels) > _MANY else ""
    return " ".join(str(one) for one in labels[:_MANY]) + more
