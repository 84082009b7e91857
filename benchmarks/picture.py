"""The picture of the README: character error rates with their intervals, of the rows in results.jsonl.

    python benchmarks/picture.py

In: what `benchmarks/results.py` measured. Out: `docs/results.svg`. It measures nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import results

from mms_adapt.pictures import rates
from mms_adapt.uncertainty import Interval

PICTURE = Path(__file__).parents[1] / "docs" / "results.svg"


def render() -> str:
    """Return the picture of the rows that were measured."""
    title = "Characters wrong, with 95 % interval: adapters on the package's own backbone"
    return rates(list(rows()), title=title).svg


def rows() -> Iterator[tuple[str, float, Interval]]:
    """Yield name, rate and interval of every adapter, with a language model where there is one."""
    found = {one["name"]: one for one in results.read()}
    for row in results.PLAN:
        one = found.get(row.name)
        if row.kind == "adapter" and one is not None:
            name = (
                f"{results.SETS[row.target_lang][1]}, {one['train_s'] / 60:.0f} min, by {one['split_mode']}"
            )
            best: Mapping[str, Any] = one.get("lm", one)
            low, high = best["cer_interval"]
            yield name, best["cer"], Interval(low, high, 0.95, "", "utterance", one["utterances"], 0, 0)


def main() -> int:
    """Run the script."""
    PICTURE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
