"""What more training speech would bring: train on growing shares of it, and draw the curve on.

In: prepared data, options of the training and a folder. Out: a `LearningCurve`. Each share is part of the
next; all are scored on the same test set. What is done already is not done again. It does not know how an
adapter is trained or scored.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

from mms_adapt import files, power_law
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.evaluate import evaluate
from mms_adapt.power_law import PowerLaw
from mms_adapt.prepared import Prepared, with_less_training
from mms_adapt.scoring import Score
from mms_adapt.training import TrainConfig, train
from mms_adapt.uncertainty import Interval

Progress = Callable[..., None]
FILE = "curve.json"
_SHARES = (0.125, 0.25, 0.5, 1.0)
_LEAST_MINUTES = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """One training.

    Attributes:
        minutes: Training speech.
        cer: Character error rate on the test set.
        cer_interval: Its 95 % interval.
        wer: Word error rate on the test set.
        train_s: Seconds that training took.
        adapter: The adapter's folder.
    """

    minutes: float
    cer: float
    cer_interval: Interval | None
    wer: float
    train_s: float
    adapter: Path


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect with more training speech of the same kind.

    Attributes:
        minutes: How much training speech in all.
        cer: The character error rate to expect.
        interval: Where it would lie in 95 of 100 such cases.
    """

    minutes: float
    cer: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How the character error rate fell, and will fall.

    Attributes:
        target_lang: The language.
        points: The trainings, from the least speech to the most.
        law: The curve through the points.
        forecasts: What more would bring.
        check: What the curve without the last point foretold for it; None with fewer than three points.
        utterances: Utterances of the test set.
        marks: What to keep in mind about the test set.
    """

    target_lang: str
    points: tuple[Point, ...]
    law: PowerLaw
    forecasts: tuple[Forecast, ...]
    check: Forecast | None
    utterances: int
    marks: tuple[str, ...]

    @property
    def check_held(self) -> bool | None:
        """Whether the last point lay where the others foretold it; None where nothing was foretold."""
        if self.check is None:
            return None
        return self.check.interval.low <= self.points[-1].cer <= self.check.interval.high

    def to_json(self) -> str:
        """Return it as JSON."""
        record = asdict(self) | {"check_held": self.check_held}
        return json.dumps(record, ensure_ascii=False, indent=1, default=str) + "\n"


def learning_curve(
    prepared: Prepared | str | PathLike[str],
    out: str | PathLike[str],
    *,
    minutes: Sequence[float] | None = None,
    more_minutes: Sequence[float] = (30.0,),
    config: TrainConfig | None = None,
    progress: Progress | None = None,
) -> LearningCurve:
    """Train on growing shares of the training speech, score each, and say what more would bring.

    Args:
        prepared: What `prepare` returned, or its folder.
        out: Folder for the trainings; the same call goes on after an interruption.
        minutes: How much speech; an eighth, a quarter, half and all of it where not given.
        more_minutes: How much more to foretell the error rate for.
        config: Options of every training.
        progress: Called with (stage, done, total, note).

    Raises:
        OptionError: If fewer than two amounts are given, or one makes no sense.
        SplitError: If there is less training speech than asked for.
    """
    data = Prepared.of(prepared)
    folder, config = Path(out), config or TrainConfig()
    whole = sum(one.duration_s for one in data.utterances("train")) / 60
    amounts = _amounts(minutes, whole)
    if wrong := [one for one in more_minutes if not 0 < one < 1e6]:
        raise OptionError(f"more_minutes={wrong[0]:g}: give minutes above 0")
    shared = replace(config, cache=config.cache or str(data.folder / ".cache"))
    points, scores = [], []
    for number, amount in enumerate(amounts):
        if progress:
            progress("curve", number, len(amounts), f"{amount:.1f} min of training speech")
        point, score = _one(data, amount, folder, shared, progress)
        points.append(point)
        scores.append(score)
    if progress:
        progress("curve", len(amounts), len(amounts))
    found = _drawn(data, points, scores, more_minutes)
    files.write(folder / FILE, found.to_json().encode("utf-8", "replace"))
    return found


def _amounts(minutes: Sequence[float] | None, whole: float) -> list[float]:
    """Return the amounts of training speech, from the least to the most."""
    if minutes is None:
        shares = [round(share * whole, 2) for share in _SHARES if share < 1]
        found = [one for one in shares if one >= _LEAST_MINUTES] + [whole]
        if len(found) < 2:
            raise SplitError(
                f"{whole:.1f} minutes of training speech are too few for a curve; give minutes of your own, "
                "or record more"
            )
        return found
    found = sorted(set(map(float, minutes)))
    if len(found) < 2 or not all(one > 0 for one in found):
        raise OptionError(f"minutes={list(minutes)}: give two or more different amounts above 0")
    if found[-1] > whole + 0.01:
        raise SplitError(f"minutes={found[-1]:g}: there are only {whole:.1f} minutes of training speech")
    return [min(one, whole) for one in found]


def _one(
    data: Prepared, minutes: float, folder: Path, config: TrainConfig, progress: Progress | None
) -> tuple[Point, Score]:
    """Train and score on some minutes."""
    place = folder / f"{minutes:g}min"
    less = with_less_training(data, minutes, place / "prepared")
    trained = train(less, place / "adapter", config, progress=progress)
    score = evaluate(
        place / "adapter",
        less,
        device=config.device,
        json=place / "score.json",
        progress=progress,
    )
    heard = sum(one.duration_s for one in less.utterances("train")) / 60
    point = Point(heard, score.cer, score.cer_interval, score.wer, trained.seconds_s, place / "adapter")
    return point, score


def _drawn(
    data: Prepared, points: Sequence[Point], scores: Sequence[Score], more_minutes: Sequence[float]
) -> LearningCurve:
    """Draw the curve through the points and on."""
    errors = [[one.characters.errors for one in score.per_utterance] for score in scores]
    lengths = [one.characters.length for one in scores[0].per_utterance]
    minutes = [point.minutes for point in points]

    def expect(count: int, at: float) -> Forecast:
        return Forecast(at, *power_law.forecast(minutes[:count], errors[:count], lengths, at))

    count = len(points)
    return LearningCurve(
        target_lang=data.target_lang,
        points=tuple(points),
        law=power_law.fit(minutes, [point.cer for point in points]),
        forecasts=tuple(expect(count, minutes[-1] + one) for one in more_minutes),
        check=expect(count - 1, minutes[-1]) if count > 2 else None,
        utterances=len(lengths),
        marks=tuple(scores[-1].marks),
    )


def render(curve: LearningCurve) -> str:
    """Return the curve as a picture in SVG: points with their intervals, the curve, and what it foretells."""
    width, height, left, bottom = 640, 360, 60, 40
    marks = [(one.minutes, one.cer, one.cer_interval, "#06c") for one in curve.points]
    marks += [(one.minutes, one.cer, one.interval, "#c50") for one in curve.forecasts]
    rightmost = 1.05 * max(minutes for minutes, *_ in marks)
    highest = max(max(rate, interval.high if interval else 0.0) for _, rate, interval, _ in marks)
    top = min(1.5, 1.1 * highest)

    def x(minutes: float) -> float:
        return round(left + (width - left - 20) * minutes / rightmost, 1)

    def y(rate: float) -> float:
        return round(height - bottom - (height - bottom - 20) * min(rate, top) / top, 1)

    first = min(one.minutes for one in curve.points)
    steps = [first + (rightmost - first) * step / 100 for step in range(101)]
    line = " ".join(f"{x(one)},{y(curve.law(one))}" for one in steps)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>Character error rate of {curve.target_lang} '
        "against minutes of training speech</title>",
        f'<polyline points="{line}" fill="none" stroke="#888" stroke-dasharray="4 3"/>',
        f'<path d="M{left} 20V{height - bottom}H{width - 20}" fill="none" stroke="currentColor"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<text x="{left - 6}" y="{y(share * top) + 4}" text-anchor="end">'
            f"{100 * share * top:.0f} %</text>"
            f'<text x="{x(share * rightmost)}" y="{height - bottom + 18}" text-anchor="middle">'
            f"{share * rightmost:.0f} min</text>"
        )
    for minutes, rate, interval, colour in marks:
        if interval is not None:
            parts.append(f'<path d="M{x(minutes)} {y(interval.low)}V{y(interval.high)}" stroke="{colour}"/>')
        parts.append(
            f'<circle cx="{x(minutes)}" cy="{y(rate)}" r="4" fill="{colour}">'
            f"<title>{minutes:.1f} min: {100 * rate:.1f} %</title></circle>"
        )
    return "\n".join([*parts, "</svg>", ""])
