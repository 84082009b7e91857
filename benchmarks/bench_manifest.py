"""What a manifest of a million lines takes: to read and check it, to divide it, to make the vocabulary.

    python benchmarks/bench_manifest.py [--lines 1000 100000 1000000]

Manifests are made on the spot: sentences of made words in capitals and points, one in ten said before, and
speakers of whom few say much. No recording is there or decoded. Every figure comes from a process of its own.
Memory is the most that it held, the interpreter and its modules included. Time is the processor's, a line, as
a ratio to the second size. It does not know how anything is read or divided.

`one by one` is what can be done with a file alone: the lines are read twice and none is kept. `held` is what
prepare does: the utterances stay in memory, since their recordings are looked at.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES, WORDS, SENTENCES, LINES_A_SPEAKER = (1_000, 100_000, 1_000_000), 20_000, 1_000, 200
STEPS = ("read", "divide", "vocabulary")


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, nargs="+", default=SIZES, help="sizes of manifests")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        path, way = options.measure
        print(json.dumps((held if way == "held" else one_by_one)(Path(path))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for way in ("one by one", "held"):
            print(f"{way}:", flush=True)
            show([(size, measured(make(Path(folder), size), way)) for size in options.lines])
    return 0


def make(folder: Path, size: int) -> Path:
    """Write a manifest of so many lines, the same every time."""
    path = folder / f"{size}.jsonl"
    draw = random.Random(0)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiouɛɔ"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(WORDS)]
    said: list[str] = []
    with path.open("w", encoding="utf-8") as lines:
        for number in range(size):
            again = said and draw.random() < 0.1
            sentence = " ".join(draw.choices(words, k=draw.randint(3, 12))).capitalize() + "."
            if len(said) < SENTENCES:
                said.append(sentence)
            row = {
                "id": f"u{number:08d}",
                "recording": f"clips/{number:08d}.mp3",
                "start_s": 0.0,
                "end_s": round(draw.uniform(2, 10), 3),
                "transcript": draw.choice(said) if again else sentence,
                "target_lang": "qaa",
                "speaker": f"s{int(draw.paretovariate(0.6)) % max(10, size // LINES_A_SPEAKER):05d}",
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def measured(path: Path, way: str) -> dict[str, list[float]]:
    """Measure in a process of its own; its last line is what it found."""
    command = [sys.executable, __file__, "--measure", str(path), way]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def one_by_one(path: Path) -> dict[str, list[float]]:
    """Read, divide and make the vocabulary, holding no utterance."""
    from mms_adapt import manifest, splits, vocab

    taken = Taken()
    for _ in manifest.read(path):
        pass
    taken.note("read")
    planned = splits.plan(referenced(path))
    taken.note("divide")
    parts = zip(referenced(path), planned, strict=True)
    vocab.build(one.reference for one, part in parts if part == "train")
    taken.note("vocabulary")
    return taken.found


def held(path: Path) -> dict[str, list[float]]:
    """Do the same with all utterances in memory."""
    from mms_adapt import splits, vocab

    taken = Taken()
    utterances = list(referenced(path))
    taken.note("read")
    found = splits.assign(utterances)
    taken.note("divide")
    vocab.build(one.reference or "" for one in found.train)
    taken.note("vocabulary")
    return taken.found


def referenced(path: Path) -> Iterator[Any]:
    """Return the utterances of a manifest, each with its reference."""
    from dataclasses import replace

    from mms_adapt import manifest, text

    rule = text.get("basic", target_lang="qaa")
    return (replace(one, reference=rule(one.transcript)) for one in manifest.read(path))


class Taken:
    """Keeps the most memory held so far, in bytes, and the processor's seconds of each step."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}
        self.start_s = time.process_time()

    def note(self, step: str) -> None:
        """Keep what a step took that ends now."""
        now_s = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.found[step] = [peak, now_s - self.start_s]
        self.start_s = now_s


def show(rows: list[tuple[int, dict[str, list[float]]]]) -> None:
    """Print a line for each size, and what a line more costs."""
    yard_size, yard = rows[min(1, len(rows) - 1)]
    for size, found in rows:
        cells = []
        for step in STEPS:
            (peak, long_s), ratio = found[step], yard_size / size / yard[step][1]
            cells.append(f"{step} {peak / 1e6:4.0f} MB, {long_s * ratio:.2f}")
        print(f"  {size:9,} lines: {'; '.join(cells)}", flush=True)
    (first, least), (last, most) = rows[0], rows[-1]
    if last > first:
        grown = (most[STEPS[-1]][0] - least[STEPS[-1]][0]) / (last - first)
        print(f"  a line more takes {grown:.0f} bytes at the peak", flush=True)


if __name__ == "__main__":
    sys.exit(main())
