"""Pictures for notebooks and documents, as SVG that needs nothing else: no plotting library, no network.

In: samples, words, scores, a learning curve. Out: a `Picture`. A notebook shows it; printed, it says in a
sentence what there is to see. It does not know models or files of audio.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mms_adapt import breakdown, files, slider
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError
from mms_adapt.inspection.spectrogram import png
from mms_adapt.learning_curve import render
from mms_adapt.reports import percent, span

if TYPE_CHECKING:
    from mms_adapt.decoders import Word
    from mms_adapt.learning_curve import LearningCurve
    from mms_adapt.recordings import Waveform
    from mms_adapt.scoring import Score
    from mms_adapt.slider import Slide
    from mms_adapt.uncertainty import Interval

_INK, _SOFT, _LINE, _ACCENT, _RIGHT, _WRONG = "#211d18", "#6a6258", "#d8cfc0", "#0f6b66", "#2f7a43", "#ad1a3d"
_SECOND = 150  # pixels a second of sound
_WAVE, _SPECTROGRAM, _ROW = 70, 110, 30
_SHOWN = 0.005  # a smaller share of a row shows no figure


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        svg: The drawing, whole.
        says: The same in a sentence or two.
    """

    svg: str
    says: str

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def __str__(self) -> str:
        return self.says

    def save(self, path: str | PathLike[str]) -> None:
        """Write the drawing to a file; its name should end in .svg."""
        files.write(Path(path), self.svg.encode("utf-8", "replace"))


def speech(samples: "Waveform", rows: "Mapping[str, Sequence[Word]]") -> Picture:
    """Return waveform and spectrogram of an utterance, and below them words at their times.

    Args:
        samples: Mono audio at 16 kHz, `(samples,)`.
        rows: Words by what they are, such as "said" and "wrote"; the less sure one is, the paler it is.

    Raises:
        OptionError: If there is no sound.
    """
    if not len(samples):
        raise OptionError("there is no sound in it to be drawn; give an utterance of some samples")
    duration_s = len(samples) / SAMPLE_RATE_HZ
    left = 60
    width, top = left + max(200.0, _SECOND * duration_s) + 10, _WAVE + _SPECTROGRAM + 12
    wide = width - left - 10
    image = base64.b64encode(png(samples)).decode("ascii")
    parts = [
        f'<path d="{_outline(samples, left, wide)}" fill="{_ACCENT}"/>',
        f'<image x="{left}" y="{_WAVE + 6}" width="{wide:.1f}" height="{_SPECTROGRAM}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{image}"/>',
        _text(left - 6, _WAVE + 16, "8 kHz", end=True),
        _text(left - 6, _WAVE + 6 + _SPECTROGRAM, "0", end=True),
    ]
    for place, (name, words) in enumerate(rows.items()):
        y = top + place * _ROW
        parts.append(_text(left - 6, y + 19, name, end=True))
        parts += [_word(one, left, y, wide / duration_s) for one in words]
    bottom = top + len(rows) * _ROW
    for second in range(int(duration_s) + 1):
        x = left + second * wide / duration_s
        parts.append(f'<path d="M{x:.1f} {bottom}v5" stroke="{_SOFT}"/>')
        parts.append(_text(x + 3, bottom + 13, f"{second} s"))
    told = "; ".join(f"{name}: {' '.join(one.word for one in words)}" for name, words in rows.items())
    says = f"{duration_s:.1f} s of sound" + (f". {told}" if told else "")
    return Picture(_drawing(width, bottom + 20, parts, says), says)


def _outline(samples: "Waveform", left: float, wide: float) -> str:
    """Return the path of the waveform: the highest and lowest sample of every pixel."""
    edges = np.linspace(0, len(samples), min(len(samples), int(wide)) + 1).astype(int)[:-1]
    highest = max(float(np.abs(samples).max()), 1e-4)
    middle, scale = _WAVE / 2, (_WAVE / 2 - 2) / highest
    x = left + wide * edges / len(samples)
    upper = middle - scale * np.maximum.reduceat(samples, edges)
    lower = middle - scale * np.minimum.reduceat(samples, edges)
    points = [*zip(x, upper, strict=True), *zip(x[::-1], lower[::-1] + 0.5, strict=True)]
    return "M" + "L".join(f"{one:.1f} {other:.1f}" for one, other in points) + "Z"


def _word(one: "Word", left: float, y: float, scale: float) -> str:
    """Return a word in a box as wide as its time."""
    x, width = left + scale * one.start_s, max(2.0, scale * (one.end_s - one.start_s))
    shown = escape(one.word)
    return (
        f"<g><title>{shown}: {one.start_s:.2f} to {one.end_s:.2f} s, confidence {one.confidence:.2f}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 5}" rx="4" fill="{_ACCENT}" '
        f'fill-opacity="{0.06 + 0.34 * max(0.0, min(1.0, one.confidence)):.2f}"/>'
        f'<text x="{x + width / 2:.1f}" y="{y + 17}" text-anchor="middle" font-size="13" '
        f'style="unicode-bidi:plaintext">{shown}</text></g>'
    )


def rates(rows: "Sequence[tuple[str, float, Interval | None]]", *, title: str = "Error rate") -> Picture:
    """Return error rates with their intervals, one below the other.

    Args:
        rows: Name, rate and interval of each.
        title: What the rates are.

    Raises:
        OptionError: If there are none.
    """
    if not rows:
        raise OptionError("there are no rates to be drawn; give at least one")
    top = max(min(2.0, one[2].high) if one[2] is not None else one[1] for one in rows)
    top = max(0.1, np.ceil(10 * max(top, *(rate for _, rate, _ in rows))) / 10)
    left = 30 + 7.2 * max(len(name) for name, *_ in rows)
    width, height = left + 470, 44 + 30 * len(rows)
    scale = 400 / top
    parts = [f'<text x="10" y="18" font-size="14" font-weight="600">{escape(title)}</text>']
    for share in np.linspace(0, top, 1 + min(10, round(10 * top))):
        x = left + scale * share
        parts.append(f'<path d="M{x:.1f} 28V{height - 18}" stroke="{_LINE}"/>')
        parts.append(_text(x, height - 4, f"{100 * share:.0f} %", middle=True))
    for place, (name, rate, interval) in enumerate(rows):
        y = 42 + 30 * place
        parts.append(f'<text x="10" y="{y + 4}" style="unicode-bidi:plaintext">{escape(name)}</text>')
        if interval is not None:
            low, high = (left + scale * min(end, top) for end in (interval.low, interval.high))
            parts.append(
                f'<rect x="{low:.1f}" y="{y - 5}" width="{high - low:.1f}" height="10" rx="5" '
                f'fill="{_ACCENT}" fill-opacity=".3"/>'
            )
        parts.append(
            f'<circle cx="{left + scale * rate:.1f}" cy="{y}" r="5" fill="{_ACCENT}"><title>{escape(name)}: '
            f"{percent(rate)} ({span(interval)})</title></circle>"
        )
    told = "; ".join(f"{name} {percent(rate)} ({span(interval)})" for name, rate, interval in rows)
    says = f"{title}: {told}"
    return Picture(_drawing(width, height, parts, says), says)


def confusions(score: "Score", *, limit: int = 15) -> Picture:
    """Return the confusion matrix of the graphemes with most errors.

    Args:
        score: A score.
        limit: So many graphemes at most.
    """
    found = breakdown.matrix(score.per_utterance, score.character_confusions, limit=limit)
    size, left, top = 30, 74, 56
    names = [one if one.strip() else "␣" if one else "" for one in found.characters]
    parts = [_text(left, 14, "recognised as"), _text(left - 8, top - 8, "said", end=True)]
    for place, name in enumerate(names):
        middle = left + size * place + size / 2
        y = top + size * place + 20
        parts.append(_glyph(middle, top - 10, name or "missed", middle=True, rotated=not name))
        parts.append(_glyph(left - 8, y, name or "added", middle=False))
        for column in range(len(names)):
            parts.append(_cell(found, place, column, left + size * column, top + size * place, size))
    worst = score.character_confusions[:5]
    told = ", ".join(
        f"{one.reference or 'nothing'} → {one.hypothesis or 'nothing'} ({one.count:,})" for one in worst
    )
    says = f"Most frequent errors of characters: {told}" if told else "No character was wrong"
    extent = left + size * len(names) + 20
    return Picture(_drawing(extent, top + size * len(names) + 10, parts, says), says)


def _cell(found: breakdown.Matrix, row: int, column: int, x: float, y: float, size: int) -> str:
    """Return a cell of the matrix: the share of its row, the more the darker."""
    share, count = found.share(row, column), found.counts[row][column]
    right = row == column and bool(found.characters[row])
    strength = 0.5 * share if right else min(0.7, 1.6 * share)
    shown = f"{100 * share:.0f}" if share >= _SHOWN else ""
    said, heard = found.characters[row] or "nothing", found.characters[column] or "nothing"
    return (
        f"<g><title>{escape(said)} → {escape(heard)}: {count:,} of {found.totals[row]:,}</title>"
        f'<rect x="{x}" y="{y}" width="{size - 1}" height="{size - 1}" fill="{_RIGHT if right else _WRONG}" '
        f'fill-opacity="{0.03 + strength:.2f}"/>'
        f"{_text(x + size / 2, y + size / 2 + 4, shown, middle=True)}</g>"
    )


def _glyph(x: float, y: float, text: str, *, middle: bool, rotated: bool = False) -> str:
    turn = f' transform="rotate(-60 {x} {y})"' if rotated else ""
    anchor = "start" if rotated else "middle" if middle else "end"
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="14"{turn}>{escape(text)}</text>'


def curve(found: "LearningCurve") -> Picture:
    """Return a learning curve: what was measured, and what more speech would bring."""
    last = found.points[-1]
    told = [f"{percent(last.cer)} with {last.minutes:.1f} minutes of training speech"]
    told += [f"{percent(one.cer)} ({span(one.interval)}) with {one.minutes:.1f}" for one in found.forecasts]
    held = {None: "", True: "; the check held", False: "; the check did not hold, do not believe it"}
    says = f"Character error rate: {', then '.join(told)}{held[found.check_held]}"
    return Picture(render(found), says)


def slide(found: "Slide") -> Picture:
    """Return a slider over an adapter's strength or over two adapters' shares: error rates on dev."""
    best, plain = found.point(found.best), found.point(1.0)
    what = "strength" if len(found.adapters) == 1 else "share of the second"
    says = (
        f"Character error rate on dev: {percent(best.cer)} ({span(best.cer_interval)}) at the {what} "
        f"{best.at:g}, the lowest, and {percent(plain.cer)} ({span(plain.cer_interval)}) at 1"
    )
    return Picture(slider.render(found), says)


def _text(x: float, y: float, text: str, *, end: bool = False, middle: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{_SOFT}"{anchor}>{escape(text)}</text>'


def _drawing(width: float, height: float, parts: Sequence[str], says: str) -> str:
    """Return the whole SVG, on white so that it can be read on any page."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">'
        f'<title>{escape(says)}</title><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )
