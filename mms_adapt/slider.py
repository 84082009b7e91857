"""What a slider over an adapter's strength or over two adapters' shares gave, and its picture.

In: error rates at every place. Out: JSON, SVG. It does not know adapters or how they are measured.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mms_adapt.errors import OptionError
from mms_adapt.uncertainty import Difference, Interval

PLAIN = 1.0  # as trained; of two, the second alone


@dataclass(frozen=True, slots=True)
class Point:
    """One place of the slider on the dev set.

    Attributes:
        at: The strength, or the second adapter's share.
        cer: Character error rate.
        cer_interval: Its 95 % interval.
        wer: Word error rate.
        wer_interval: Its 95 % interval.
        loss: CTC loss a token.
    """

    at: float
    cer: float
    cer_interval: Interval | None
    wer: float
    wer_interval: Interval | None
    loss: float


@dataclass(frozen=True, slots=True)
class Tested:
    """One place of the slider on the test set.

    Attributes:
        at: The strength, or the second adapter's share.
        cer: Character error rate.
        cer_interval: Its 95 % interval.
        wer: Word error rate.
        wer_interval: Its 95 % interval.
        signature: How it was scored.
    """

    at: float
    cer: float
    cer_interval: Interval | None
    wer: float
    wer_interval: Interval | None
    signature: str


@dataclass(frozen=True, slots=True)
class Slide:
    """What a slider gave.

    Attributes:
        target_lang: The language.
        adapters: The adapter, or the two, each language@hash.
        part: Of a stack, the part whose strength was changed; None for all.
        method: How two were merged.
        points: The places in order; that of `PLAIN` is always among them.
        best: The place of the lowest character error rate on dev.
        utterances: Utterances of the dev set that were heard.
        speech_s: Seconds of them.
        dev_sha256: Hash of the dev set.
        tested: The best place and `PLAIN` on the test set, where that was asked for.
        gain: Character error rate at the best less that at `PLAIN`, on the test set.
        installed: The folder that the adapter at the best place was written to.
    """

    target_lang: str
    adapters: tuple[str, ...]
    part: int | None
    method: str
    points: tuple[Point, ...]
    best: float
    utterances: int
    speech_s: float
    dev_sha256: str
    tested: tuple[Tested, ...] = ()
    gain: Difference | None = None
    installed: Path | None = None

    def point(self, at: float) -> Point:
        """Return what was measured at a place."""
        return next(one for one in self.points if one.at == at)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Slide":
        """Return what `to_json` wrote.

        Raises:
            OptionError: If that is something else.
        """
        try:
            record = json.loads(text)
            for name, kind in (("points", Point), ("tested", Tested)):
                record[name] = tuple(kind(**_spans(one)) for one in record[name])
            gain, installed = record["gain"], record["installed"]
            record["gain"] = None if gain is None else Difference(**gain)
            record["installed"] = None if installed is None else Path(installed)
            return cls(**{**record, "adapters": tuple(record["adapters"])})
        except (ValueError, TypeError, KeyError) as error:
            raise OptionError(f"this is not what slide --json writes: {error}") from error


def _spans(record: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a place with its intervals."""
    return {
        name: Interval(**value) if name.endswith("_interval") and value is not None else value
        for name, value in record.items()
    }


def render(found: Slide) -> str:
    """Return the slider as a picture in SVG: error rates on dev at every place, with their intervals."""
    width, height, left, bottom = 640, 380, 60, 56
    points = found.points
    low, high = points[0].at, points[-1].at
    ends = [one for point in points for one in (point.cer_interval, point.wer_interval) if one]
    rates = [rate for point in points for rate in (point.cer, point.wer)]
    top = max(0.01, min(1.5, 1.05 * max([*rates, *(one.high for one in ends)])))

    def x(at: float) -> float:
        return round(left + (width - left - 20) * (at - low) / (high - low), 1)

    def y(rate: float) -> float:
        return round(height - bottom - (height - bottom - 20) * min(rate, top) / top, 1)

    what = "strength of the adapter" if len(found.adapters) == 1 else "share of the second adapter"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>Error rates of {found.target_lang} on the dev set '
        f'against the {what}; lowest CER at {found.best:g}</title><rect width="100%" height="100%" '
        'fill="#fff"/>',
        f'<path d="M{x(found.best)} 20V{height - bottom}" stroke="#c50" stroke-dasharray="4 3"/>',
        f'<path d="M{left} 20V{height - bottom}H{width - 20}" fill="none" stroke="#211d18"/>',
        f'<text x="{(left + width) / 2:.0f}" y="{height - 8}" text-anchor="middle">{what}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = low + share * (high - low)
        parts.append(
            f'<text x="{left - 6}" y="{y(share * top) + 4}" text-anchor="end">'
            f"{100 * share * top:.0f} %</text>"
            f'<text x="{x(at)}" y="{height - bottom + 18}" text-anchor="middle">{at:g}</text>'
        )
    for name, colour in (("CER", "#06c"), ("WER", "#777")):
        parts += _line([(x(one.at), *_rates(one, name)) for one in points], y, name, colour)
    return "\n".join([*parts, "</svg>", ""])


def _rates(point: Point, name: str) -> tuple[float, Interval | None]:
    return (point.cer, point.cer_interval) if name == "CER" else (point.wer, point.wer_interval)


def _line(
    marks: Sequence[tuple[float, float, Interval | None]],
    y: Callable[[float], float],
    name: str,
    colour: str,
) -> Iterator[str]:
    """Yield one error rate's line, points and intervals."""
    line = " ".join(f"{x},{y(rate)}" for x, rate, _ in marks)
    yield f'<polyline points="{line}" fill="none" stroke="{colour}"/>'
    for x, rate, interval in marks:
        if interval is not None:
            yield f'<path d="M{x} {y(interval.low)}V{y(interval.high)}" stroke="{colour}" opacity="0.5"/>'
        says = f"<title>{100 * rate:.1f} %</title>"
        yield f'<circle cx="{x}" cy="{y(rate)}" r="3.5" fill="{colour}">{says}</circle>'
    x, rate, _ = marks[-1]
    yield f'<text x="{x}" y="{y(rate) - 8}" text-anchor="end" fill="{colour}">{name}</text>'
