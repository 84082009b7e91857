"""An inspection as one self-contained page for a browser: it loads nothing and runs no script.

In: an `Inspection` and clips. Out: HTML with style, sound and pictures inside. Every text from outside is
escaped and kept from disturbing the direction of what stands around it. It does not know recordings.
"""

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from mms_adapt.findings import Example, Finding
from mms_adapt.inspection.clips import EACH, Clip
from mms_adapt.inspection.histogram import histogram
from mms_adapt.reports import minutes

if TYPE_CHECKING:
    from mms_adapt.inspection import Inspection

SUFFIX = ".html"
_IDS, _SPEAKERS = 500, 50
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_SEVERITY = {"error": "cannot be used", "warning": "look at it", "notice": "good to know"}


def render(inspection: "Inspection", clips: Mapping[str, Clip] | None = None) -> str:
    """Return the whole page."""
    style = _style("mms_adapt.reports") + _style("mms_adapt.inspection")
    title = f"{inspection.corpus} ({inspection.target_lang})"
    transcripts = {one.id: one.transcript for one in inspection.utterances}
    transcripts |= {one.utterance.id: one.utterance.transcript for one in inspection.quarantined}
    found = "".join(_finding(one, transcripts, clips or {}) for one in inspection.findings)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            f"<title>{escape(title)}: findings</title>\n<style>\n{style}</style>\n</head>\n<body>\n",
            f'<header class="top"><div><p class="eyebrow">Layout {_isolated(inspection.layout)}</p>',
            f'<h1 dir="auto">{escape(title)}</h1></div></header>\n<main>\n',
            _headline(inspection),
            _contents(inspection.findings),
            _histograms(inspection),
            "<h2>Findings</h2>\n",
            found or '<p class="soft">Nothing to look at.</p>\n',
            _speakers(inspection),
            _rest(inspection),
            "</main>\n</body>\n</html>\n",
        )
    )


def _style(package: str) -> str:
    return files(package).joinpath("page.css").read_text(encoding="utf-8")


def _headline(inspection: "Inspection") -> str:
    voices = len({one.speaker for one in inspection.utterances} - {None})
    cards = (
        ("Can be used", f"{len(inspection.utterances):,}", f"utterances, {minutes(inspection.speech_s)}"),
        ("Cannot be used", f"{len(inspection.quarantined):,}", "utterances; why, stands below"),
        ("Speakers", f"{voices:,}" if voices else "–", "named" if voices else "nobody says who speaks"),
    )
    return (
        '<div class="grid heads">'
        + "".join(
            f'<section class="card"><h2>{name}</h2><p class="big">{figure}</p><p>{words}</p></section>'
            for name, figure, words in cards
        )
        + "</div>\n"
    )


def _contents(found: tuple[Finding, ...]) -> str:
    items = "".join(
        f'<li><a href="#{escape(one.kind)}">{escape(_label(one.kind))}</a> {one.count:,}</li>'
        for one in found
    )
    return f'<nav aria-label="Findings"><ul>{items}</ul></nav>\n' if items else ""


def _histograms(inspection: "Inspection") -> str:
    measured = inspection.measurements
    return (
        '<h2>What is usual here</h2><div class="grid">'
        + histogram("Duration", "s", [one.sound.duration_s for one in measured])
        + histogram(
            "Characters a second of speech",
            "a second",
            [one.characters_per_s for one in measured if one.character_count],
        )
        + histogram("Level of the vowels", "dB", [one.sound.level_db for one in measured])
        + "</div>\n"
    )


def _finding(one: Finding, transcripts: Mapping[str, str], clips: Mapping[str, Clip]) -> str:
    examples = "".join(
        _example(example, transcripts, clips if place < EACH else {})
        for place, example in enumerate(one.examples)
    )
    ids = ", ".join(map(_isolated, one.utterance_ids[:_IDS]))
    more = one.count - _IDS
    rest = f" and {more:,} more, in the JSON file" if more > 0 else ""
    return (
        f'<section class="card finding {one.severity}" id="{escape(one.kind)}">'
        f"<h3>{escape(_label(one.kind))} "
        f'<span class="severity">{_SEVERITY.get(one.severity, escape(one.severity))}</span>'
        f'<span class="count">{one.count:,} utterance{"s" if one.count != 1 else ""}</span></h3>'
        f"<p>{escape(one.what[:1].upper() + one.what[1:])}.</p>"
        f'<p class="soft">What to do: {_isolated(one.what_to_do)}.</p>'
        f'<ol class="examples">{examples}</ol>'
        f'<details><summary>All ids</summary><p class="ids">{ids}{rest}</p></details></section>\n'
    )


def _example(one: Example, transcripts: Mapping[str, str], clips: Mapping[str, Clip]) -> str:
    names = [one.utterance_id, *([one.other_id] if one.other_id else [])]
    said = "".join(
        f'<p class="name">{_isolated(name)}</p>'
        f'<p class="said" dir="auto">{escape(transcripts.get(name, ""))}</p>'
        for name in names
    )
    heard = "".join(_figure(name, clips[name]) for name in names if name in clips)
    return (
        f'<li>{said}<p class="soft">{_isolated(one.detail)}</p>'
        f"{f'<div class=heard>{heard}</div>' if heard else ''}</li>"
    )


def _figure(name: str, clip: Clip) -> str:
    shown = escape(name, quote=True)
    part = "" if clip.whole else f", the first {clip.shown_s:.0f} s"
    return (
        f'<figure><img src="{escape(clip.image_uri)}" alt="Spectrogram of {shown}, 0 to 8 kHz{part}">'
        f'<audio controls preload="none" src="{escape(clip.audio_uri)}" aria-label="Play {shown}"></audio>'
        f"<figcaption>{_isolated(name)}{part}</figcaption></figure>"
    )


def _speakers(inspection: "Inspection") -> str:
    own: dict[str | None, list[float]] = defaultdict(list)
    for one in inspection.utterances:
        own[one.speaker].append(one.duration_s)
    ordered = sorted(own.items(), key=lambda item: (-sum(item[1]), item[0] or ""))
    rows = "".join(
        f"<tr><td>{_isolated(name) if name is not None else '<i>unknown</i>'}</td>"
        f'<td class="n">{len(spoken):,}</td><td class="n">{minutes(sum(spoken))}</td></tr>'
        for name, spoken in ordered[:_SPEAKERS]
    )
    more = len(ordered) - _SPEAKERS
    rest = f'<p class="soft">And {more:,} more.</p>' if more > 0 else ""
    return (
        '<h2>Speakers</h2><div class="card scroll"><table><thead><tr><th scope="col">Speaker</th>'
        '<th scope="col" class="n">Utterances</th><th scope="col" class="n">Speech</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{rest}</div>\n"
    )


def _rest(inspection: "Inspection") -> str:
    """Return what the reader passed over and has to tell."""
    told = [f"{count:,} rows passed over: {why} {detail}" for why, detail, count in inspection.passed_over]
    items = "".join(f"<li>{_isolated(one.strip())}</li>" for one in (*told, *inspection.notes))
    return f"<h2>Told by the reader</h2><ul>{items}</ul>\n" if items else ""


def _label(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def _isolated(words: str) -> str:
    """Return escaped text whose direction does not disturb what stands around it."""
    return f'<bdi dir="auto">{escape(words)}</bdi>'
