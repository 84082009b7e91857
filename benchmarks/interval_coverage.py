"""How often the 95 % intervals hold the true rate, and how often equal systems are told apart, by simulation.

    python benchmarks/interval_coverage.py [--write]

A population is made whose true rates are known: every speaker has an error rate, every utterance one about
its speaker's, every word is wrong by chance. Test sets are drawn from it, and for each it is counted whether
the intervals that `mms_adapt.scoring` prints hold the truth. "--write" puts the tables into
docs/not_fooling_oneself.md. It knows nothing of texts or audio.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mms_adapt import uncertainty

PAGE = Path(__file__).parents[1] / "docs" / "not_fooling_oneself.md"
START, END = "<!-- coverage: made by benchmarks/interval_coverage.py -->", "<!-- end of coverage -->"
UTTERANCES, SPEAKERS = (25, 100, 400), (2, 5, 20)
BETWEEN_SPEAKERS, BETWEEN_UTTERANCES, ADVANTAGE = 0.5, 0.6, 0.1  # standard deviations of the logit
WORDS = 8.0  # in an utterance, on average
RATES = {"4 %": (-3.5, 0.0), "26 %": (-1.2, 0.0), "102 %": (0.3, 0.45)}
USUAL = "26 %"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A population of speakers and utterances.

    Attributes:
        logit: The usual speaker's rate of wrong words.
        inserted: Words that are added beside, for every word said.
        even: Whether all speakers of a test set say equally much; else the second half as much as the
            first, the third a third, and so on.
    """

    logit: float
    inserted: float
    even: bool = True

    def draw(self, random: np.random.Generator, speakers: int, utterances: int) -> Sample:
        """Draw a test set, and what two systems that are equally good on the whole make of it."""
        shares = np.ones(speakers) if self.even else 1 / np.arange(1, speakers + 1)
        rest = random.choice(speakers, utterances - speakers, p=shares / shares.sum())
        who = np.concatenate([np.arange(speakers), rest])
        voices = random.normal(self.logit, BETWEEN_SPEAKERS, speakers)
        hard = random.normal(0, BETWEEN_UTTERANCES, utterances)
        lengths = 1 + random.poisson(WORDS - 1, utterances)
        lean = random.normal(0, ADVANTAGE, speakers)[who]
        usual = voices[who] + hard
        both = [self._errors(random, usual + one, lengths) for one in (lean, -lean)]
        plain = self._errors(random, usual, lengths)
        truth = float(np.average([self.rate(voice, 0.0) for voice in voices], weights=np.bincount(who)))
        return Sample(who, lengths, plain, (both[0], both[1]), truth)

    def _errors(self, random: np.random.Generator, logits: Floats, lengths: NDArray[np.int64]) -> Floats:
        wrong = random.binomial(lengths, _share(logits)) + random.poisson(self.inserted * lengths)
        return wrong.astype(np.float64)

    def rate(self, voice: float, between: float) -> float:
        """Return the true rate about a speaker, or, with `between`, of the whole population."""
        spread = np.hypot(between, BETWEEN_UTTERANCES)
        points, weights = np.polynomial.hermite_e.hermegauss(60)
        return float(np.average(_share(voice + spread * points), weights=weights)) + self.inserted


@dataclass(frozen=True)
class Sample:
    """A test set: who says how much, the errors of one system and of two others, and these speakers' rate."""

    who: NDArray[np.int64]
    lengths: NDArray[np.int64]
    errors: Floats
    of_two: tuple[Floats, Floats]
    truth: float


def _share(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


@dataclass(frozen=True)
class Row:
    """What was counted of one kind of test set, as shares."""

    speakers: int
    utterances: int
    same_speakers: float
    any_speaker: float
    by_speaker: float
    quantiles: float
    width: float
    alarms_utterance: float
    alarms_speaker: float


def count(world: World, speakers: int, utterances: int, *, sets: int, resamples: int) -> Row:
    """Draw test sets and count."""
    random = np.random.default_rng([speakers, utterances, round(1000 * world.logit) % 9973])
    truth = world.rate(world.logit, BETWEEN_SPEAKERS)
    held = np.zeros((sets, 7))
    for number in range(sets):
        one = world.draw(random, speakers, utterances)
        blocks = [str(who) for who in one.who]
        options = {"resamples": resamples, "seed": number}
        by_utterance = uncertainty.bootstrap(one.errors, one.lengths, **options)
        by_speaker = uncertainty.bootstrap(one.errors, one.lengths, blocks=blocks, **options)
        first, second = (
            uncertainty.difference(*one.of_two, one.lengths, blocks=drawn, **options)
            for drawn in (None, blocks)
        )
        if by_utterance is None or by_speaker is None or first is None or second is None:
            raise ValueError("a test set of two utterances or more has intervals")
        low, high = quantiles(one, random, resamples)
        held[number] = (
            by_utterance.low <= one.truth <= by_utterance.high,
            by_utterance.low <= truth <= by_utterance.high,
            by_speaker.low <= truth <= by_speaker.high,
            low <= truth <= high,
            by_speaker.high - by_speaker.low,
            first.p_value < 0.05,
            second.p_value < 0.05,
        )
    shares = held.mean(axis=0)
    shares[4] = np.median(held[:, 4])
    return Row(speakers, utterances, *map(float, shares))


def quantiles(one: Sample, random: np.random.Generator, resamples: int) -> tuple[float, float]:
    """Return what is usual elsewhere: the quantiles of draws of whole speakers."""
    errors, lengths = np.bincount(one.who, one.errors), np.bincount(one.who, one.lengths)
    drawn = random.integers(0, len(errors), (resamples, len(errors)))
    low, high = np.quantile(errors[drawn].sum(axis=1) / lengths[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(share: float) -> str:
    """Return a share as a whole percentage."""
    return f"{100 * share:.0f} %"


def points(width: float) -> str:
    """Return a width in percentage points."""
    return "over 200" if width > 2 else f"{100 * width:.0f}"


def shown(grid: Sequence[tuple[str, Row]], sets: int) -> str:
    """Return the tables, and what they are of."""
    first = table(
        (
            "true WER", "speakers", "utterances", "by utterance: these speakers", "by utterance: any speaker",
            "by speaker: any speaker", "width, points", "quantiles of speakers drawn",
        ),
        (
            (
                name, row.speakers, row.utterances, percent(row.same_speakers), percent(row.any_speaker),
                f"**{percent(row.by_speaker)}**", points(row.width), percent(row.quantiles),
            )
            for name, row in grid
        ),
    )  # fmt: skip
    second = table(
        ("true WER", "speakers", "utterances", "by utterance", "by speaker"),
        (
            (name, row.speakers, row.utterances, percent(row.alarms_utterance), percent(row.alarms_speaker))
            for name, row in grid
        ),
    )
    error = 100 * (0.05 * 0.95 / sets) ** 0.5
    return (
        f"Share of {sets:,} test sets whose interval holds the true rate: it should be 95 %, give or take "
        f'{2 * error:.0f}. The width is\nthe median. "Uneven": one speaker says most, the next half as '
        f"much, and so on.\n\n{first}\n\n"
        "Share of the test sets in which two systems that are equally good on the whole, but one better with "
        f"some speakers\nand one with others, differ with p < 0.05: it should be 5 % or less.\n\n{second}"
    )


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", type=int, default=1000, help="test sets of each kind")
    parser.add_argument("--resamples", type=int, default=500, help="draws for each interval")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args()
    kinds = [(USUAL, World(*RATES[USUAL]), size, who) for who in SPEAKERS for size in UTTERANCES]
    kinds += [(name, World(*rate), 100, 5) for name, rate in RATES.items() if name != USUAL]
    kinds += [(f"{USUAL}, uneven", World(*RATES[USUAL], even=False), 100, who) for who in SPEAKERS]
    grid = []
    for name, world, utterances, speakers in kinds:
        row = count(world, speakers, utterances, sets=options.sets, resamples=options.resamples)
        grid.append((name, row))
        print(name, row, flush=True)
    text = shown(grid, options.sets)
    print(f"\n{text}")
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.partition(START)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
