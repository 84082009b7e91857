"""Where words begin and end, beside borders that are known.

    python benchmarks/bench_word_times.py --prepared prepared/mdw --adapter adapters/mdw

Utterances of a real set are joined, a few at a time, with 0.5 s of faint noise between them, so that the
borders of each are known. The first word of an utterance should start where its speech starts, and the last
one end where it ends. Utterances have silence at their ends, so these two places are found by loudness inside
each utterance alone, without any model: the first and last of three frames of 10 ms running that are louder,
in decibels, than half-way from its pauses (one frame in twenty stays below; at most 50 dB below the vowels)
to its loud vowels (one in ten exceeds). How far they move with four or six tenths of the way is printed, too:
no figure can be surer than that.

Words are placed in two ways: the known text is aligned with the whole (`mms_adapt.word_times`), or the whole
is transcribed, and a word counts to the utterance in which its middle lies. Differences are in milliseconds,
positive where the word is later; the encoder has a frame every 20 ms.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mms_adapt import audio, word_times
from mms_adapt.decoders import Word
from mms_adapt.prepared import Prepared
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

RATE_HZ = audio.SAMPLE_RATE_HZ
FRAME = RATE_HZ // 100
PAUSE_S = 0.5
SHARE, RANGE_DB, RUNNING = 0.5, 50.0, 3
Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Joined:
    """Utterances one behind the other.

    Attributes:
        samples: The sound, `(samples,)`.
        references: What is said in each.
        spans: First and last sample of each, in the whole.
    """

    samples: Waveform
    references: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def speech(samples: Waveform, share: float = SHARE) -> tuple[float, float]:
    """Return where speech starts and ends in one utterance, in seconds."""
    rows = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)  # `(frames, samples)`
    levels = 10 * np.log10(np.square(rows, dtype=np.float64).mean(axis=1) + 1e-12)
    pauses, vowels = np.quantile(levels, (0.05, 0.9))
    pauses = max(pauses, vowels - RANGE_DB)
    loud = levels > pauses + share * (vowels - pauses)
    running = np.flatnonzero(np.convolve(loud, np.ones(RUNNING), mode="valid") == RUNNING)
    if not len(running):
        return 0.0, len(samples) / RATE_HZ
    return running[0] * FRAME / RATE_HZ, (running[-1] + RUNNING) * FRAME / RATE_HZ


def joined(parts: Sequence[tuple[Waveform, str]], at_once: int) -> Iterator[Joined]:
    """Yield so many utterances at a time, with faint noise before, between and behind them."""
    random = np.random.default_rng(0)

    def pause() -> Waveform:
        return (5e-4 * random.standard_normal(int(PAUSE_S * RATE_HZ))).astype(np.float32)

    for first in range(0, len(parts), at_once):
        group = parts[first : first + at_once]
        pieces, spans, length = [pause()], [], int(PAUSE_S * RATE_HZ)
        for samples, _ in group:
            spans.append((length, length + len(samples)))
            pieces += [samples, pause()]
            length += len(samples) + int(PAUSE_S * RATE_HZ)
        yield Joined(np.concatenate(pieces), tuple(text for _, text in group), tuple(spans))


def aligned(transcriber: Transcriber, one: Joined) -> list[tuple[Word, ...]]:
    """Return the known words of each utterance where they are found in the whole."""
    words = word_times.find(transcriber, one.samples, " ".join(one.references))
    counts = np.cumsum([0, *(len(text.split()) for text in one.references)])
    return [words[first:last] for first, last in pairwise(counts)]


def transcribed(transcriber: Transcriber, one: Joined) -> list[tuple[Word, ...]]:
    """Return the words that are recognised in each utterance's span of the whole."""
    words = transcriber.recordings([one.samples])[0].words
    middles = [RATE_HZ * (word.start_s + word.end_s) / 2 for word in words]
    return [
        tuple(word for word, middle in zip(words, middles, strict=True) if start <= middle < stop)
        for start, stop in one.spans
    ]


def differences(
    one: Joined, words: Sequence[Sequence[Word]], parts: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """Yield how much later words start and end than speech, in seconds, for each utterance with words."""
    for (start, _), found, (begins_s, ends_s) in zip(one.spans, words, parts, strict=True):
        if found:
            at_s = start / RATE_HZ
            yield found[0].start_s - at_s - begins_s, found[-1].end_s - at_s - ends_s


def line(name: str, given: Sequence[tuple[float, float]]) -> str:
    """Return a line with both differences."""
    told = []
    for what, column in (("start", 0), ("end", 1)):
        ms = 1000 * np.array([one[column] for one in given])
        middle, most = np.quantile(np.abs(ms), (0.5, 0.95))
        told.append(f"{what} {middle:.0f} ms, 95 % within {most:.0f} ms (half are over {np.median(ms):+.0f})")
    return f"{name}, {len(given)} utterances: " + "; ".join(told)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepared", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder")
    parser.add_argument("--split", nargs="+", default=["test"], help="test, dev or both")
    parser.add_argument("--at-once", type=int, default=3, help="utterances in one recording")
    parser.add_argument("--most", type=int, default=60, help="so many utterances at most")
    options = parser.parse_args()
    data = Prepared.of(options.prepared)
    chosen = [one for split in options.split for one in data.utterances(split)][: options.most]
    parts = [(samples, one.reference or "") for one, samples in audio.read_utterances(chosen, data.root)]
    transcriber = Transcriber.load(
        options.adapter, options=TranscribeOptions(device="cpu", decoder="greedy", allow_sibling=True)
    )
    found: dict[str, list[tuple[float, float]]] = {"known text, aligned": [], "transcribed": []}
    ends = [speech(samples) for samples, _ in parts]
    for number, one in enumerate(joined(parts, options.at_once)):
        inside = ends[number * options.at_once :][: len(one.spans)]
        found["known text, aligned"] += differences(one, aligned(transcriber, one), inside)
        found["transcribed"] += differences(one, transcribed(transcriber, one), inside)
    for name, given in found.items():
        print(line(name, given), flush=True)
    for share in (0.4, 0.6):
        moved = [
            (start - before, end - behind)
            for (start, end), (before, behind) in zip(
                (speech(samples, share) for samples, _ in parts), ends, strict=True
            )
        ]
        print(line(f"speech by {share} of the range instead of {SHARE}", moved), flush=True)


if __name__ == "__main__":
    main()
