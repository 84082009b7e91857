"""Gather the pre-training sets: labels, held-out marks and recordings, in folders of a size that travels.

In: a folder of corpora in the `utterances.jsonl` layout. Out: `labels.jsonl` (one example a line) and the
recordings in `part0`, `part1`, …. A held-out example shares its sentence with no training example; where a
set has many speakers, held-out speakers are unseen too.

It does not know: sound, the model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthesise_corpus import Synthesiser

from .labels import characters, phonemise

PRETRAINING_SETS = (
    "eng-librispeech-train-clean-5",
    "eng-speechocean762",
    "eng-cathy-arctic",
    "eng-ljspeech-part1",
    "deu-kerstin",
    "fas-commonvoice-subset",
    "cmn-syllables",
    "eng-asterisk-prompts",
    "fra-asterisk-prompts",
    "spa-asterisk-prompts",
    "rus-asterisk-prompts",
)
MANY_SPEAKERS = ("eng-librispeech-train-clean-5", "eng-speechocean762", "fas-commonvoice-subset")
"""Sets whose held-out part has speakers of its own; the others hold out sentences."""
HELD_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled span of a recording, in samples; an empty label sequence is not trained on."""

    set: str
    recording: str
    start: int
    end: int
    characters: tuple[str, ...]
    phones: tuple[str, ...]
    held: bool


def draw(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def held_speakers(rows: list[dict[str, Any]]) -> set[str]:
    """Return speakers drawn by their names who together have about `HELD_SHARE` of a set's time."""
    durations: dict[str, float] = defaultdict(float)
    for row in rows:
        durations[row["speaker"]] += row["end_s"] - row["start_s"]
    held, left_s = set(), 1.2 * HELD_SHARE * sum(durations.values())
    for speaker in sorted(durations, key=draw):
        if durations[speaker] <= left_s:
            held.add(speaker)
            left_s -= durations[speaker]
    return held


def read_set(root: Path, name: str, speaker: Synthesiser) -> Iterator[Example]:
    """Yield the labelled examples of one set, held-out ones marked.

    A figure in a transcript is no character that is said: such examples have phones alone, except in
    Mandarin, whose figures are tones.
    """
    with (root / name / "utterances.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    speakers = held_speakers(rows) if name in MANY_SPEAKERS else None
    sentences = ["".join(characters(row["transcript"])) for row in rows]
    held = [
        draw(sentence) < HELD_SHARE if speakers is None else row["speaker"] in speakers
        for row, sentence in zip(rows, sentences, strict=True)
    ]
    held_sentences = {sentence for sentence, one in zip(sentences, held, strict=True) if one}
    phones = phonemise([row["transcript"] for row in rows], rows[0]["target_lang"], speaker)
    for row, sentence, said, held_out in zip(rows, sentences, phones, held, strict=True):
        if not sentence or not said or (sentence in held_sentences and not held_out):
            continue
        figures = any(c.isdigit() for c in sentence) and row["target_lang"] != "cmn"
        yield Example(
            name,
            row["recording"],
            round(row["start_s"] * 16000),
            round(row["end_s"] * 16000),
            () if figures else tuple(sentence),
            tuple(said),
            held_out,
        )


def pack(corpora: Path, out: Path, *, part_bytes: int = 50 << 20) -> None:
    """Write `out/labels.jsonl` and the recordings in `out/part0`, `out/part1`, ….

    Args:
        corpora: Folder that holds the folders of `PRETRAINING_SETS`.
        out: New or empty folder.
        part_bytes: Largest size of one part.

    Raises:
        FileNotFoundError: A set's folder is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    speaker = Synthesiser()
    examples = [e for name in PRETRAINING_SETS for e in read_set(corpora, name, speaker)]
    recordings = [path for name in PRETRAINING_SETS for path in (corpora / name).glob("*.ogg")]
    part, filled = 0, 0
    for path in sorted(recordings, key=lambda p: -p.stat().st_size):
        if filled + path.stat().st_size > part_bytes:
            part, filled = part + 1, 0
        filled += path.stat().st_size
        (out / f"part{part}").mkdir(exist_ok=True)
        shutil.copy(path, out / f"part{part}" / path.name)
    with (out / "labels.jsonl").open("w", encoding="utf-8") as file:
        for e in examples:
            row = asdict(e) | {"characters": "".join(e.characters), "phones": " ".join(e.phones)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for e in examples:
        seconds[e.set][e.held] += (e.end - e.start) / 16000
    for name, (train_s, held_s) in seconds.items():
        print(f"{name:32s} train {train_s / 3600:6.2f} h   held out {held_s / 60:6.1f} min")


def read_labels(path: Path) -> list[Example]:
    """Read `labels.jsonl` as written by `pack`."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Example(**{**row, "characters": tuple(row["characters"]), "phones": tuple(row["phones"].split())})
        for row in rows
    ]
