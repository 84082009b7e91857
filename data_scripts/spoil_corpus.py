"""Plant faults in a corpus that has none, to see that they are found.

In: a folder with `utterances.jsonl` and recordings. Out: the same folder, spoilt: files that are missing,
cut short, silent or clipped, a transcript of another utterance, a letter of another script, a copy.

    python data_scripts/spoil_corpus.py demo/corpus

It does not know: mms_adapt.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Row = dict[str, Any]
EACH = 3  # utterances that get the same fault


def spoil(folder: Path, *, each: int = EACH) -> dict[str, list[str]]:
    """Plant every fault in some utterances.

    Args:
        folder: Where `utterances.jsonl` is; it and recordings are overwritten.
        each: How many utterances get each fault.

    Returns:
        The ids of the utterances by fault.

    Raises:
        ValueError: The corpus is too small to stay mostly sound.
    """
    path = folder / "utterances.jsonl"
    rows: list[Row] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if len(rows) < 2 * each * len(FAULTS):
        raise ValueError(f"{path} holds {len(rows)} utterances; {2 * each * len(FAULTS)} are needed")
    planted: dict[str, list[str]] = {}
    step = len(rows) // (each * len(FAULTS))
    for place, name in enumerate(list(FAULTS) * each):
        row = rows[place * step]
        FAULTS[name](folder, row, rows[place * step + 1])
        planted.setdefault(name, []).append(row["id"])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return planted


def _changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Row, Row], None]:
    def apply(folder: Path, row: Row, _: Row) -> None:
        samples, rate_hz = soundfile.read(folder / row["recording"], dtype="float32")
        soundfile.write(folder / row["recording"], change(samples), rate_hz)

    return apply


def _missing(folder: Path, row: Row, _: Row) -> None:
    (folder / row["recording"]).unlink()


def _truncated(folder: Path, row: Row, _: Row) -> None:
    whole = (folder / row["recording"]).read_bytes()
    (folder / row["recording"]).write_bytes(whole[: len(whole) // 2])


def _wrong_text(_: Path, row: Row, other: Row) -> None:
    row["transcript"] = other["transcript"] * 3


def _other_letter(_: Path, row: Row, __: Row) -> None:
    row["transcript"] = row["transcript"].replace("a", "\N{CYRILLIC SMALL LETTER A}", 1)


def _copied(folder: Path, row: Row, other: Row) -> None:
    samples, rate_hz = soundfile.read(folder / other["recording"], dtype="float32")
    soundfile.write(folder / row["recording"], 0.5 * samples, rate_hz)
    row |= {"transcript": other["transcript"], "end_s": other["end_s"]}


FAULTS: dict[str, Callable[[Path, Row, Row], None]] = {
    "the recording is missing": _missing,
    "the recording is cut short": _truncated,
    "silence": _changed(np.zeros_like),
    "clipped": _changed(lambda samples: np.clip(8 * samples, -0.9, 0.9)),
    "the text says three times as much": _wrong_text,
    "a Cyrillic letter that looks Latin": _other_letter,
    "another utterance once more, at half the volume": _copied,
}


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the corpus, which is changed")
    for name, ids in spoil(parser.parse_args().folder).items():
        print(f"{name}: {', '.join(ids)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
