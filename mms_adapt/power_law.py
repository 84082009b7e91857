"""How an error rate falls with the amount of training speech: a power law, and how far it can be trusted.

In: minutes, and the errors of every test utterance at each of them. Out: a `PowerLaw` and forecasts with
intervals. It does not know how anything was trained.

Source: Cortes et al., "Learning curves: asymptotic values and rate of convergence", NIPS 1993; Hestness et
al., "Deep learning scaling is predictable, empirically", 2017, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mms_adapt.errors import OptionError
from mms_adapt.uncertainty import Interval

METHOD = "power-law,percentile-bootstrap"
_POINTS_FOR_FLOOR = 5  # with fewer, a floor cannot be told from a slower fall
_FLOORS = np.linspace(0.0, 0.95, 39)  # tried, as shares of the lowest rate
_SMALLEST_SPREAD = 0.05  # of the logarithm: two trainings on the same speech differ by so much at least


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """`rate = floor + scale * minutes ** -exponent`.

    Attributes:
        scale: The rate at one minute, less the floor.
        exponent: How fast it falls; 0 where more speech brings nothing.
        floor: What no amount of speech removes; 0 where there are too few points to tell.
        spread: Standard deviation of the points about the curve, of the rate's logarithm.
    """

    scale: float
    exponent: float
    floor: float
    spread: float

    def __call__(self, minutes: float) -> float:
        """Return the rate at an amount of speech."""
        return self.floor + self.scale * float(minutes**-self.exponent)


def fit(minutes: ArrayLike, rates: ArrayLike) -> PowerLaw:
    """Fit the curve by least squares of the logarithm.

    Args:
        minutes: Training speech of each point, `(points,)`.
        rates: Error rate of each point, `(points,)`.

    Raises:
        OptionError: If there are fewer than two different amounts, or one is not above 0.
    """
    amounts, found = np.asarray(minutes, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    if amounts.shape != found.shape or len(set(amounts.tolist())) < 2 or not (amounts > 0).all():
        raise OptionError(f"minutes={amounts.tolist()}: give two or more different amounts above 0")
    found = np.maximum(found, 1e-4)
    floors = _FLOORS if len(amounts) >= _POINTS_FOR_FLOOR else _FLOORS[:1]
    best: tuple[float, float, float, float] | None = None
    for floor in floors * found.min():
        scale, exponent = _line(np.log(amounts), np.log(found - floor))
        gaps = np.log(found) - np.log(floor + scale * amounts**-exponent)
        error = float(gaps @ gaps)
        if best is None or error < best[0] - 1e-12:
            best = error, scale, exponent, float(floor)
    error, scale, exponent, floor = best or (0.0, 0.0, 0.0, 0.0)
    freedom = len(amounts) - (3 if len(floors) > 1 else 2)
    spread = float(np.sqrt(error / freedom)) if freedom > 0 else 0.0
    return PowerLaw(scale, exponent, floor, max(spread, _SMALLEST_SPREAD))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return scale and exponent of the straight line through logarithms; it never rises."""
    centred = x - x.mean()
    slope = min(0.0, float(centred @ y) / float(centred @ centred))
    return float(np.exp(y.mean() - slope * x.mean())), -slope


def forecast(
    minutes: Sequence[float],
    errors: ArrayLike,
    lengths: ArrayLike,
    at: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, Interval]:
    """Return the rate to expect at an amount of training speech, with an interval.

    The interval holds what the test set leaves open (its utterances are drawn with replacement, the same for
    all points), how the points lie about the curve, and how much one training differs from the next. It does
    not hold that the next recordings may be of another kind than those so far.

    Args:
        minutes: Training speech of each point.
        errors: Errors of each test utterance, `(points, utterances)`.
        lengths: Reference words or characters of each test utterance, `(utterances,)`.
        at: The amount of training speech that is asked about.
        resamples: Number of draws.
        seed: Start of the random numbers.
        level: Share of such intervals that are to hold the true rate.

    Raises:
        OptionError: If the points are too few, or there is nothing to draw from.
    """
    counts, totals = np.asarray(errors, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    if counts.shape != (len(minutes), len(totals)) or len(totals) < 2 or not totals.sum() > 0:
        raise OptionError(f"{counts.shape} errors and {totals.shape} lengths: nothing can be drawn from them")
    law = fit(minutes, counts.sum(axis=1) / totals.sum())
    generator = np.random.default_rng(seed)
    rates = np.empty(resamples)
    for draw in range(resamples):
        chosen = generator.integers(0, len(totals), size=len(totals))
        total = max(float(totals[chosen].sum()), 1.0)
        noise = generator.normal(0.0, law.spread, size=len(minutes) + 1)
        drawn = counts[:, chosen].sum(axis=1) / total * np.exp(noise[:-1])
        rates[draw] = fit(minutes, drawn)(at) * np.exp(noise[-1])
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    interval = Interval(float(low), float(high), level, METHOD, "utterance", len(totals), resamples, seed)
    return law(at), interval
