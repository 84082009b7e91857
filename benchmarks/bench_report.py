"""What a report of ten thousand utterances takes: score, breakdowns, sound, and its files written.

    python benchmarks/bench_report.py [--utterances 1000 10000] [--write]

Transcripts are made on the spot: sentences of made words by twenty speakers, recognised with errors of
known kinds, one in five without. HTML, JSON and Markdown are written. With sound, every utterance is two
seconds of noise, decoded from a file as `evaluate` does, and as many as a report holds by default get a
player and a spectrogram. Every figure comes from a process of its own. Memory is the most that it held, the
interpreter and its modules included, and what it held beyond them. Time is the processor's, of all threads;
only ratios are printed, since they say less of the machine, and whether it was under a minute. `--write`
keeps the figures in `report.jsonl`.

It does not know what a report looks like. Transcribing is no part of it.
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
from pathlib import Path
from typing import Any

SIZES, WORDS, SPEAKERS, EACH_S, LIMIT_S = (1_000, 10_000), 5_000, 20, 2.0, 60.0
ROWS = Path(__file__).with_name("report.jsonl")
WAYS = ("texts", "sound")


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--utterances", type=int, nargs="+", default=SIZES, help="sizes of test sets")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {ROWS.name}")
    parser.add_argument("--measure", nargs=2, metavar=("COUNT", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        count, way = options.measure
        print(json.dumps(measure(int(count), sound=way == "sound")))
        return 0
    rows = [measured(count, way) for way in WAYS for count in options.utterances]
    for way in WAYS:
        show([row for row in rows if row["way"] == way])
    if options.write:
        kept = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        ROWS.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return 0


def measured(count: int, way: str) -> dict[str, Any]:
    """Return what a report of so many utterances takes, in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(count), way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {"way": way, "utterances": count, **found}


def show(rows: list[dict[str, Any]]) -> None:
    """Print a line for each size, and how time and memory grow."""
    first = rows[0]
    for row in rows:
        each = row["seconds"] / row["utterances"] / (first["seconds"] / first["utterances"])
        row["time_per_utterance"] = round(each, 2)
        row["under_a_minute"] = row["seconds"] < LIMIT_S
        print(
            f"{row['way']}: {row['utterances']:6} utterances: time an utterance x {each:.2f}, "
            f"{'under' if row['under_a_minute'] else 'OVER'} a minute; peak {row['peak_mb']:.0f} MB, "
            f"of it for the report {row['own_mb']:.0f} MB; written {row['written_mb']:.1f} MB"
        )


def measure(count: int, *, sound: bool) -> dict[str, Any]:
    """Score and report so many utterances, and return time, memory and what was written."""
    from mms_adapt import breakdown, reports
    from mms_adapt.reports import Report
    from mms_adapt.scoring import score

    said, heard, speakers = texts(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = record(folder / "all.wav", count) if sound else None
        score(said[:10], heard[:10])  # modules are loaded before the clock starts
        before_mb, began_s = peak_mb(), time.process_time()
        found = score(said, heard, speakers=speakers)
        clips, levels_db = hear(recording, found) if recording else ((), [0.0] * count)
        groups = (
            breakdown.by_number(found.per_utterance, levels_db, name="Loudness", unit="dB"),
            breakdown.by_novelty(found.per_utterance, set(" ".join(said[::2]).split())),
        )
        made = Report(found, "mdw", speech_s=EACH_S * count, clips=clips, breakdowns=groups)
        wanted = reports.formats([folder / f"report{ending}" for ending in (".html", ".json", ".md")])
        for path, format in wanted:
            reports.write(path, format, made)
        seconds = time.process_time() - began_s
        written = sum(path.stat().st_size for path, _ in wanted)
    peak = peak_mb()
    return {
        "seconds": seconds,
        "peak_mb": round(peak, 1),
        "own_mb": round(peak - before_mb, 1),
        "written_mb": round(written / 1e6, 2),
        "wer": round(found.wer, 4),
    }


def texts(count: int) -> tuple[list[str], list[str], list[str]]:
    """Return references, hypotheses and speakers, the same every time."""
    draw = random.Random(0)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiouɛɔ"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(WORDS)]
    said, heard = [], []
    for number in range(count):
        sentence = draw.choices(words, k=draw.randint(3, 12))
        said.append(" ".join(sentence))
        heard.append(said[-1] if number % 5 == 0 else " ".join(misheard(sentence, words, draw)))
    return said, heard, [f"speaker {number % SPEAKERS}" for number in range(count)]


def misheard(sentence: list[str], words: list[str], draw: random.Random) -> list[str]:
    """Return a sentence with words missed, added, and taken for others by a letter or wholly."""
    found = []
    for word in sentence:
        kind = draw.random()
        if kind < 0.2:
            place = draw.randrange(len(word))
            found.append(word[:place] + draw.choice("aeioubdg") + word[place + 1 :])
        elif kind < 0.25:
            found.append(draw.choice(words))
        elif kind < 0.3:
            found += [word, draw.choice(words)]
        elif kind > 0.35:
            found.append(word)
    return found


def record(path: Path, count: int) -> Path:
    """Write noise of so many utterances as one recording, some seconds at a time."""
    import numpy as np
    import soundfile

    from mms_adapt.audio import SAMPLE_RATE_HZ

    random_numbers = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1) as file:
        for _ in range(count):
            file.write(0.1 * random_numbers.normal(size=int(EACH_S * SAMPLE_RATE_HZ)))
    return path


def hear(recording: Path, found: Any) -> tuple[tuple[Any, ...], list[float]]:
    """Decode every utterance; return clips, with players up to a report's bound, and levels."""
    from mms_adapt import audio
    from mms_adapt.evaluate import EvaluateOptions, picture, player
    from mms_adapt.manifest import Utterance
    from mms_adapt.measure import measure as look_at
    from mms_adapt.reports import Clip

    left_bytes = EvaluateOptions().embed_audio_mb * 1e6
    utterances = [
        Utterance(one.utterance_id, recording.name, EACH_S * place, EACH_S * (place + 1), "", "mdw")
        for place, one in enumerate(found.per_utterance)
    ]
    clips, levels_db = [], []
    for _, samples in audio.read_utterances(utterances, recording.parent):
        levels_db.append(look_at(samples).level_db)
        uris = (player(samples), picture(samples)) if left_bytes > 0 else (None, None)
        left_bytes -= sum(len(one or "") for one in uris)
        clips.append(Clip(EACH_S, 0.5, *uris))
    return tuple(clips), levels_db


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
