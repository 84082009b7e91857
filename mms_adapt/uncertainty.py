"""How sure a rate is, or the difference of two: resampling of utterances or of blocks of them.

In: errors and reference lengths of each utterance, as counts. Out: an `Interval` or a `Difference` with the
method that made it. It does not know what was counted (words, characters) nor where the counts come from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mms_adapt.errors import OptionError

METHOD = "bootstrap-log-t"
_HIGHEST = 10.0  # ten errors a word; an interval that reaches there says nothing, and is cut off
_CELLS_AT_ONCE = 2_000_000  # drawn indices held at a time: 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a rate would lie for another test set of the same kind and size.

    Attributes:
        low: Lower end, a ratio.
        high: Upper end, a ratio.
        level: Share of such intervals that are to hold the true rate.
        method: How it was made.
        unit: What was drawn with replacement: "utterance" or "speaker".
        unit_count: How many of them there were.
        resamples: How often they were drawn.
        seed: Start of the random numbers.
    """

    low: float
    high: float
    level: float
    method: str
    unit: str
    unit_count: int
    resamples: int
    seed: int


def bootstrap(
    errors: ArrayLike,
    lengths: ArrayLike,
    *,
    blocks: Sequence[str | None] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Draw utterances, or whole blocks of them, with replacement and return the interval of the rate.

    The rate of a draw is the sum of its errors over the sum of its lengths, as in the corpus itself. A draw
    without a single reference word or character has no rate and is left out. How far the draws lie apart is
    the rate's standard error, and the interval so many of them as Student's t asks for, on a scale of
    logarithms: of few units, the quantiles of the draws themselves hold the true rate far too seldom, as
    `benchmarks/interval_coverage.py` shows. Where there is no error at all, the interval ends where a unit
    with an error would have been met by now.

    Args:
        errors: Errors of each utterance, `(utterances,)`.
        lengths: Reference words or characters of each utterance, `(utterances,)`.
        blocks: Speaker of each utterance; all utterances of a speaker are drawn together. None is a speaker
            too: utterances whose speaker nobody knows.
        resamples: Number of draws; 0 asks for no interval.
        seed: Start of the random numbers; the same seed draws the same utterances.
        level: Share of such intervals that are to hold the true rate.

    Returns:
        The interval, or None where fewer than two units leave nothing to draw from.

    Raises:
        OptionError: If the number of draws or the level makes no sense.

    Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
        ICASSP 2004, section 3; blocks as in Liu and Peng, "Statistical testing on ASR performance via
        blockwise bootstrap", Interspeech 2020, section 3; Student's t with the bootstrap's standard error as
        in Hesterberg, "What teachers should know about the bootstrap", 2015, section 5.
    """
    if resamples < 0 or not 0 < level < 1:
        raise OptionError(
            f"bootstrap={resamples}, level={level}: give 0 or more draws and a level between 0 and 1"
        )
    error_counts = np.asarray(errors, dtype=np.float64)
    length_counts = np.asarray(lengths, dtype=np.float64)
    if blocks is not None:
        error_counts, length_counts = _sum_by_block(error_counts, length_counts, blocks)
    unit_count = len(error_counts)
    if unit_count < 2 or resamples == 0 or not length_counts.sum() > 0:
        return None
    rates = _drawn_rates(error_counts, length_counts, resamples, seed)
    if not len(rates):
        return None
    low, high = _about(float(error_counts.sum() / length_counts.sum()), rates, unit_count, level)
    unit = "utterance" if blocks is None else "speaker"
    return Interval(low, high, level, METHOD, unit, unit_count, resamples, seed)


def _about(rate: float, drawn: NDArray[np.float64], unit_count: int, level: float) -> tuple[float, float]:
    """Return the interval about a rate from the draws `(resamples,)`.

    Of no error in so many units: Source: Hanley and Lippman-Hand, "If nothing goes wrong, is everything all
    right?", 1983.
    """
    if rate == 0:
        return 0.0, 1 - (1 - level) ** (1 / unit_count)
    steps = _times(level, unit_count) * _standard_error(drawn, unit_count) / rate
    return rate * math.exp(-steps), min(rate * math.exp(min(steps, 100.0)), max(_HIGHEST, rate))


def _standard_error(drawn: NDArray[np.float64], unit_count: int) -> float:
    """Return how far draws `(resamples,)` lie apart, for the unit that is spent on the mean."""
    return float(drawn.std()) * math.sqrt(unit_count / (unit_count - 1))


def _times(level: float, unit_count: int) -> float:
    """Return how many standard errors to each side hold so much of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(unit_count - 1, (1 + level) / 2))


@dataclass(frozen=True, slots=True)
class Difference:
    """How two systems differ on the same utterances.

    Attributes:
        rate: Rate of the second less that of the first; below zero, the second makes fewer errors.
        low: Lower end of its interval.
        high: Upper end of its interval.
        level: Share of such intervals that are to hold the true difference.
        better_share: Share of the draws in which the second makes fewer errors; ties count half.
        p_value: How often a difference at least as large comes about where both are equally good and it is
            chance which one gets which utterance.
        times_more: How many times this much test speech tells the two apart in four of five tries, where the
            difference is what it seems; 1 where less would do, None where they do not differ at all.
        unit: What was drawn: "utterance" or "speaker".
        unit_count: How many of them there were.
        resamples: How often they were drawn.
        seed: Start of the random numbers.
    """

    rate: float
    low: float
    high: float
    level: float
    better_share: float
    p_value: float
    times_more: float | None
    unit: str
    unit_count: int
    resamples: int
    seed: int


def difference(
    first_errors: ArrayLike,
    second_errors: ArrayLike,
    lengths: ArrayLike,
    *,
    blocks: Sequence[str | None] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference | None:
    """Compare two systems on the same utterances.

    For the interval both are drawn together, so that what is hard for both cancels; it is so many standard
    errors of the draws as Student's t asks for. The p value is that of approximate randomisation, two-sided:
    the two systems' errors change places by chance, unit by unit.

    Args:
        first_errors: Errors of the first on each utterance, `(utterances,)`.
        second_errors: Errors of the second on each utterance, `(utterances,)`.
        lengths: Reference words or characters of each utterance, `(utterances,)`.
        blocks: Speaker of each utterance, as in `bootstrap`.
        resamples: Number of draws, and of exchanges.
        seed: Start of the random numbers.
        level: Share of such intervals that are to hold the true difference.

    Returns:
        The difference, or None where fewer than two units leave nothing to draw from.

    Raises:
        OptionError: If the number of draws or the level makes no sense.

    Source: Bisani and Ney, ICASSP 2004, section 4, for interval and share; Noreen, Computer-intensive methods
        for testing hypotheses, 1989, and Riezler and Maxwell, ACL workshop on evaluation measures 2005, for
        the p value.
    """
    _check(resamples, level, seed)
    gaps = np.asarray(second_errors, dtype=np.float64) - np.asarray(first_errors, dtype=np.float64)
    total = np.asarray(lengths, dtype=np.float64)
    if blocks is not None:
        gaps, total = _sum_by_block(gaps, total, blocks)
    unit_count, whole = len(total), float(total.sum())
    if unit_count < 2 or whole <= 0:
        return None
    rate = float(gaps.sum()) / whole
    drawn = _drawn_rates(gaps, total, resamples, seed)
    error = _standard_error(drawn, unit_count)
    reach = _times(level, unit_count) * error
    return Difference(
        rate=rate,
        low=rate - reach,
        high=rate + reach,
        level=level,
        better_share=float((drawn < 0).mean() + 0.5 * (drawn == 0).mean()),
        p_value=_p_value(gaps, resamples, seed),
        times_more=_times_more(rate, error),
        unit="utterance" if blocks is None else "speaker",
        unit_count=unit_count,
        resamples=resamples,
        seed=seed,
    )


def _check(resamples: int, level: float, seed: int) -> None:
    if resamples < 1 or not 0 < level < 1 or seed < 0:
        raise OptionError(
            f"resamples={resamples}, level={level}, seed={seed}: give draws, a level between 0 and 1, and a "
            "seed of 0 or more"
        )


def _times_more(rate: float, error: float) -> float | None:
    """Return how much larger the test set must be for a power of 0.8 at a level of 0.05.

    The standard error falls with the root of the size: Source: Cohen, Statistical power analysis, 1988, 2.4.
    """
    if rate == 0:
        return None
    return max(1.0, ((1.960 + 0.842) * error / abs(rate)) ** 2)


def _p_value(gaps: NDArray[np.float64], resamples: int, seed: int) -> float:
    """Return how often gaps `(units,)` with signs by chance sum up to as much as with their own."""
    generator = np.random.default_rng(seed + 1)
    rows = max(1, _CELLS_AT_ONCE // len(gaps))
    as_large = 0
    for start in range(0, resamples, rows):
        signs = generator.integers(0, 2, size=(min(rows, resamples - start), len(gaps)), dtype=np.int8)
        as_large += int((np.abs((2.0 * signs - 1.0) @ gaps) >= abs(gaps.sum()) - 1e-9).sum())
    return (as_large + 1) / (resamples + 1)


def _sum_by_block(
    errors: NDArray[np.float64], lengths: NDArray[np.float64], blocks: Sequence[str | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return errors and lengths summed over each block, `(blocks,)`, in order of first appearance."""
    numbers: dict[str | None, int] = {}
    index = np.array([numbers.setdefault(block, len(numbers)) for block in blocks], dtype=np.intp)
    error_sums, length_sums = np.zeros(len(numbers)), np.zeros(len(numbers))
    np.add.at(error_sums, index, errors)
    np.add.at(length_sums, index, lengths)
    return error_sums, length_sums


def _drawn_rates(
    errors: NDArray[np.float64], lengths: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the rate of every draw that has one, `(resamples,)` at most."""
    generator = np.random.default_rng(seed)
    unit_count = len(errors)
    rows = max(1, _CELLS_AT_ONCE // unit_count)
    rates = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, unit_count, size=(min(rows, resamples - start), unit_count))
        error_sums, length_sums = errors[drawn].sum(axis=1), lengths[drawn].sum(axis=1)
        has_rate = length_sums > 0
        rates.append(error_sums[has_rate] / length_sums[has_rate])
    return np.concatenate(rates)
