"""A histogram as inline SVG, with a sentence that says the same.

In: numbers. Out: HTML. It does not know what they measure.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

_BINS, _WIDTH, _HEIGHT, _BELOW = 30, 360, 120, 18
_EDGE = 0.005  # of the numbers on each side stand in the outermost bars


def histogram(title: str, unit: str, values: Sequence[float]) -> str:
    """Return a figure with a histogram and, for those who do not see it, its median and range."""
    if not values:
        return f'<figure class="histogram card"><h3>{escape(title)}</h3><p class="soft">Nothing.</p></figure>'
    numbers = np.asarray(values, dtype=np.float64)
    low, first, middle, third, high = np.quantile(numbers, (_EDGE, 0.25, 0.5, 0.75, 1 - _EDGE))
    if high <= low:
        high = low + 1
    counts, edges = np.histogram(np.clip(numbers, low, high), bins=_BINS, range=(low, high))
    sentence = (
        f"Median {middle:.1f} {unit}; half of them from {first:.1f} to {third:.1f}, "
        f"all from {numbers.min():.1f} to {numbers.max():.1f}."
    )
    step = _WIDTH / _BINS
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{_HEIGHT - _tall(count, counts.max()):.1f}" width="{step - 1:.1f}" '
        f'height="{_tall(count, counts.max()):.1f}"><title>{edges[place]:.1f} to {edges[place + 1]:.1f} '
        f"{escape(unit)}: {count:,}</title></rect>"
        for place, count in enumerate(counts.tolist())
    )
    return (
        f'<figure class="histogram card"><h3>{escape(title)}</h3>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" aria-label="{escape(title)}: '
        f'{escape(sentence)}">{bars}<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{low:.1f}</text><text x="{_WIDTH}" y="{_HEIGHT + 14}" '
        f'text-anchor="end">{high:.1f} {escape(unit)}</text></svg>'
        f'<p class="soft">{escape(sentence)}</p></figure>'
    )


def _tall(count: int, most: int) -> float:
    """Return a bar's height; what is there at all can be seen."""
    return max(1.5, _HEIGHT * count / most) if count else 0.0
