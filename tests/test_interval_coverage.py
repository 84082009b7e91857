"""The simulation of the intervals: its true rates are true, and its committed tables are of it."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = ROOT / "benchmarks" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("even", [True, False])
def test_true_rates_are_those_of_a_large_test_set(coverage: ModuleType, even: bool) -> None:
    for name, rate in coverage.RATES.items():
        world = coverage.World(*rate, even=True)
        truth = world.rate(rate[0], coverage.BETWEEN_SPEAKERS)
        assert round(100 * truth) == int(name.split()[0])
        one = world.draw(np.random.default_rng(0), 2000, 40_000)
        assert one.errors.sum() / one.lengths.sum() == pytest.approx(truth, rel=0.05)
        few = coverage.World(*rate, even=even).draw(np.random.default_rng(1), 3, 30_000)
        assert few.errors.sum() / few.lengths.sum() == pytest.approx(few.truth, rel=0.03)


def test_both_systems_are_equally_good_on_the_whole(coverage: ModuleType) -> None:
    one = coverage.World(*coverage.RATES["26 %"]).draw(np.random.default_rng(0), 2000, 40_000)
    first, second = (float(errors.sum()) for errors in one.of_two)
    assert first == pytest.approx(second, rel=0.02)


def test_a_row_counts_shares(coverage: ModuleType) -> None:
    row = coverage.count(coverage.World(*coverage.RATES["26 %"]), 5, 100, sets=60, resamples=100)
    assert 0.85 <= row.by_speaker <= 1 and 0.85 <= row.same_speakers <= 1
    assert row.any_speaker < row.same_speakers


def test_the_committed_tables_hold_every_kind() -> None:
    page = (ROOT / "docs" / "not_fooling_oneself.md").read_text(encoding="utf-8")
    tables = page.partition("<!-- coverage")[2].partition("<!-- end of coverage -->")[0]
    rows = [line.split("|")[1:-1] for line in tables.splitlines() if re.match(r"\| \d", line)]
    kinds = [tuple(cell.strip() for cell in row[:3]) for row in rows]
    assert len(kinds) == 28 and kinds[:14] == kinds[14:]
    for speakers in ("2", "5", "20"):
        assert {("26 %", speakers, utterances) for utterances in ("25", "100", "400")} <= set(kinds)
