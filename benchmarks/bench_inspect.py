"""How fast inspect looks recordings over: beside real time, beside decoding alone, and as a corpus grows.

    python benchmarks/bench_inspect.py [--corpus ../shared/corpora/mdw-mboshi --target-lang mdw]

Without a corpus, sound is made on the spot: syllables of noise, as WAV and as Ogg Opus. Times are the
processor's, of all threads, the median of several turns about; only their ratios are printed, since they say
less of the machine. It does not know how anything is found.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURNS, MADE_S, SENTENCES, SOUNDS = 5, 300, 20_000, 1_000


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, help="a folder with utterances.jsonl; else sound is made")
    parser.add_argument("--target-lang", default="qaa", help="its language")
    parser.add_argument("--most-minutes", type=float, default=10, help="of its speech")
    options = parser.parse_args()
    if options.corpus is not None:
        beside_decoding(options.corpus, options.target_lang, 60 * options.most_minutes)
    else:
        for format, subtype in (("WAV", "PCM_16"), ("OGG", "OPUS")):
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder), format, subtype)
                beside_decoding(Path(folder), options.target_lang, MADE_S, f"made sound, {subtype}")
    growth()
    return 0


def make(folder: Path, format: str, subtype: str) -> None:
    """Write a recording of noise that swells and falls like syllables, with utterances of five seconds."""
    import numpy as np
    import soundfile

    seconds = np.arange(MADE_S * 16_000) / 16_000
    noise = np.random.default_rng(0).normal(size=len(seconds)) * 0.05
    sound = noise * (1.05 + np.sin(2 * np.pi * 3.5 * seconds))
    name = f"all.{format.lower()}"
    soundfile.write(folder / name, sound.astype(np.float32), 16_000, format=format, subtype=subtype)
    with (folder / "utterances.jsonl").open("w", encoding="utf-8") as lines:
        for place in range(MADE_S // 5):
            span = {"start_s": 5 * place, "end_s": 5 * place + 5}
            row = {"id": f"u{place:04d}", "recording": name, "transcript": sentence(place)} | span
            lines.write(json.dumps(row | {"target_lang": "qaa"}) + "\n")


def beside_decoding(root: Path, target_lang: str, most_s: float, name: str = "") -> None:
    """Print how long inspecting takes beside decoding the same utterances, and beside real time."""
    from mms_adapt import audio, findings, text
    from mms_adapt.corpora import gather, spans
    from mms_adapt.quality import inspect

    chosen, speech_s = [], 0.0
    for one in gather(spans, root, target_lang).utterances:
        if speech_s < most_s:
            chosen.append(one)
            speech_s += one.duration_s
    rule = text.get("basic", target_lang=target_lang)

    def decode() -> None:
        for _ in audio.read_utterances(chosen, root):
            pass

    def check() -> None:
        found = inspect(chosen, root, normaliser=rule)
        findings.detect(found.kept, found.measurements)

    decode_s, check_s = turn_about(decode, check)
    print(
        f"{name or root.name}, {speech_s / 60:.0f} min: inspecting is {speech_s / check_s:.0f} times as fast "
        f"as real time,\n  and takes {check_s / decode_s:.1f} times as long as decoding alone",
        flush=True,
    )


def growth() -> None:
    """Print how the time to compare sentences and sounds grows with their number."""
    import numpy as np

    from mms_adapt.findings import prints, similar

    sentences = [sentence(place) for place in range(4 * SENTENCES)]
    few_s, many_s = turn_about(
        lambda: similar.near(sentences[:SENTENCES], 0.9), lambda: similar.near(sentences, 0.9), turns=1
    )
    print(f"{4 * SENTENCES:,} sentences take {many_s / few_s:.1f} times as long as {SENTENCES:,}", flush=True)
    draw = np.random.default_rng(0)
    sounds = [draw.integers(1, 1 << 16, 200, np.uint16) for _ in range(4 * SOUNDS)]
    few_s, many_s = turn_about(
        lambda: prints.near(sounds[:SOUNDS], 0.25), lambda: prints.near(sounds, 0.25), turns=3
    )
    print(f"{4 * SOUNDS:,} fingerprints take {many_s / few_s:.1f} times as long as {SOUNDS:,}", flush=True)


def sentence(number: int) -> str:
    """Return seven words of made syllables, different for every number."""
    import numpy as np

    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    chosen = np.random.default_rng(number).choice(syllables, 20)
    return " ".join("".join(chosen[place : place + 3]) for place in range(0, 20, 3))


def turn_about(*tasks: Callable[[], Any], turns: int = TURNS) -> list[float]:
    """Return the processor's median seconds of each task, done in turns so that a busy machine slows all."""
    times: list[list[float]] = [[] for _ in tasks]
    for task in tasks:
        task()
    for _ in range(turns):
        for taken, task in zip(times, tasks, strict=True):
            before = time.process_time()
            task()
            taken.append(time.process_time() - before)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    sys.exit(main())
