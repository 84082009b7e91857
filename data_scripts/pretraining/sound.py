"""All sound of pre-training as one array of int16 samples, real recordings and synthetic speech alike.

In: a packed folder. Out: `Sound`: the samples and the examples as spans of them, with label ids. Decoding
and synthesis are done once and kept in the folder.

It does not know: the model.
"""

from __future__ import annotations

import json
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from .pack import Example, read_labels
from .synthesis import synthesise

SYNTHETIC = "synthetic"
RARE = 20
"""A symbol seen fewer times than this in training is not learnt."""
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "|")
HELD_SYNTHETIC = 200


@dataclass(frozen=True, slots=True)
class Labelled:
    """One example: its set, where it lies in the samples, its label ids, and whether it is held out."""

    set: str
    start: int
    length: int
    characters: NDArray[np.int32]
    phones: NDArray[np.int32]
    held: bool


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples at 16 kHz `(samples,)`, the examples in them, and the tokens of both vocabularies."""

    samples: NDArray[np.int16]
    examples: list[Labelled]
    characters: tuple[str, ...]
    phones: tuple[str, ...]


def load(folder: Path, *, synthetic_count: int, workers: int, seed: int = 1) -> Sound:
    """Decode and synthesise everything, or read what an earlier call left.

    Args:
        folder: What `pack.pack` wrote (the parts may lie side by side or in one folder).
        synthetic_count: Synthetic sentences that are tried; 0 for none.
        workers: Threads that decode, processes that synthesise.
        seed: Start of the synthetic sentences' seeds.
    """
    kept = folder / f"sound-{synthetic_count}-{seed}"
    if (kept / "rest.pickle").exists():
        with (kept / "rest.pickle").open("rb") as file:  # our own file of a moment ago
            examples, characters, phones = pickle.load(file)
        return Sound(np.load(kept / "samples.npy"), examples, characters, phones)
    began = time.monotonic()
    spans = read_labels(folder / "labels.jsonl")
    samples, spans = _decode(folder, spans, workers)
    print(f"decoded {sum(map(len, samples)) / 57.6e6:.2f} h in {time.monotonic() - began:.0f} s", flush=True)
    if synthetic_count:
        spans += _synthetic(samples, synthetic_count, workers, seed)
        print(f"with synthesis {time.monotonic() - began:.0f} s", flush=True)
    sound = _number(np.concatenate(samples), spans)
    kept.mkdir(exist_ok=True)
    np.save(kept / "samples.npy", sound.samples)
    with (kept / "rest.pickle").open("wb") as file:
        pickle.dump((sound.examples, sound.characters, sound.phones), file)
    return sound


def _decode(
    folder: Path, spans: list[Example], workers: int
) -> tuple[list[NDArray[np.int16]], list[Example]]:
    """Return the recordings one behind the other, and the spans counted from the first sample of all."""
    paths = {path.name: path for path in sorted(folder.rglob("*.ogg"))}
    names = sorted({one.recording for one in spans})
    missing = [name for name in names if name not in paths]
    if missing:
        raise FileNotFoundError(f"{folder}: {len(missing)} recordings are missing, such as {missing[0]}")
    with ThreadPoolExecutor(workers) as pool:
        samples = list(pool.map(lambda name: soundfile.read(paths[name], dtype="int16")[0], names))
    starts = dict(zip(names, np.cumsum([0, *map(len, samples)])[:-1].tolist(), strict=True))
    moved = [
        replace(
            one, recording="", start=starts[one.recording] + one.start, end=starts[one.recording] + one.end
        )
        for one in spans
    ]
    return samples, moved


def _synthetic(samples: list[NDArray[np.int16]], count: int, workers: int, seed: int) -> list[Example]:
    """Append synthetic utterances to the samples and return their spans."""
    end = sum(map(len, samples))
    spans = []
    for number, one in enumerate(synthesise(count, seed=seed, workers=workers)):
        samples.append(one.samples)
        spans.append(
            Example(SYNTHETIC, "", end, end + len(one.samples), (), one.phones, number < HELD_SYNTHETIC)
        )
        end += len(one.samples)
    return spans


def _number(samples: NDArray[np.int16], spans: list[Example]) -> Sound:
    """Turn symbols into ids; leave out symbols too rare to be learnt, and say how many examples that hits."""
    characters, phones = (
        _tokens(Counter(s for e in spans if not e.held for s in getattr(e, field)))
        for field in ("characters", "phones")
    )
    character_ids, phone_ids = (
        {token: number for number, token in enumerate(tokens)} for tokens in (characters, phones)
    )
    examples, left = [], Counter[str]()
    for e in spans:
        spelled = [character_ids[c] for c in e.characters if c in character_ids]
        if len(spelled) < len(e.characters):
            left[e.set] += 1
            spelled = []
        said = [phone_ids[p] for p in e.phones if p in phone_ids]
        examples.append(
            Labelled(
                e.set,
                e.start,
                e.end - e.start,
                np.array(spelled, np.int32),
                np.array(said, np.int32),
                e.held,
            )
        )
    print("without characters, for a rare one:", json.dumps(left), flush=True)
    return Sound(samples, examples, characters, phones)


def _tokens(counts: Counter[str]) -> tuple[str, ...]:
    return (*SPECIALS, *sorted(s for s, count in counts.items() if count >= RARE and s not in SPECIALS))
