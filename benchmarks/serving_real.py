"""What a bank of real adapters does with real speech: bit-equal mixed batches, A, B, A, and which language.

    python benchmarks/serving_real.py --registry adapters prepared/mdw prepared/wol ...

The registry holds an adapter of the language of every prepared folder; those that `mms-adapt tune` gave a
language model are told apart better. Utterances of the test sets are taken from all over, and for the
languages joined in their order up to the length that is asked for. It does not know how anything is computed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mms_adapt import audio
from mms_adapt.bank import Bank
from mms_adapt.prepared import Prepared

Waveform = NDArray[np.float32]


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("prepared", type=Path, nargs="+", help="folders that prepare wrote, one a language")
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=12, help="clips a language and length")
    parser.add_argument("--seconds", type=float, nargs="+", default=[4.0, 10.0, 20.0])
    parser.add_argument("--split", default="test", help="test or dev")
    options = parser.parse_args()
    data = [Prepared.of(folder) for folder in options.prepared]
    bank = Bank(options.registry)
    codes = [one.target_lang for one in data]
    first = [next(clips(one, options.split, 4.0, 1)) for one in data]
    bit_equal(bank, first, codes)
    for seconds in options.seconds:
        heard = [
            (one.target_lang, clip)
            for one in data
            for clip in clips(one, options.split, seconds, options.clips)
        ]
        told_apart(bank, heard, codes, seconds)
    return 0


def clips(data: Prepared, split: str, seconds: float, count: int) -> Iterator[Waveform]:
    """Yield clips of at most a length, made of consecutive utterances, from places spread over the split."""
    utterances = list(data.utterances(split))
    total_s = sum((one.end_s or 0.0) - one.start_s for one in utterances) or seconds * len(utterances)
    at_once = max(1, round(seconds / (total_s / len(utterances))))
    for place in np.linspace(0, max(0, len(utterances) - at_once), count).astype(int):
        parts = [
            samples for _, samples in audio.read_utterances(utterances[place : place + at_once], data.root)
        ]
        yield np.concatenate(parts)[: int(seconds * audio.SAMPLE_RATE_HZ)]


def emissions(bank: Bank, waves: list[Waveform], codes: list[str]) -> list[torch.Tensor]:
    """Return log-probabilities `(frames, vocab)` of each row."""
    voices = [bank.voice(code) for code in codes]
    features, counts = bank.engine.features(waves)
    found = bank.engine.emissions(features, counts, [one.edition for one in voices])
    return [row[:count, : len(one.vocab)] for row, count, one in zip(found, counts, voices, strict=True)]


def bit_equal(bank: Bank, waves: list[Waveform], codes: list[str]) -> None:
    """Compare a mixed batch with batches of one language and with one by one, and go A, B, A."""
    mixed = emissions(bank, waves, codes)
    single = [emissions(bank, waves, [code] * len(waves))[row] for row, code in enumerate(codes)]
    equal = sum(torch.equal(one, other) for one, other in zip(mixed, single, strict=True))
    alone = [emissions(bank, [wave], [code])[0] for wave, code in zip(waves, codes, strict=True)]
    apart = max(
        float((one - other).abs().max() / other.abs().max()) for one, other in zip(mixed, alone, strict=True)
    )
    a, b, again = (emissions(bank, waves[:1], [code])[0] for code in (codes[0], codes[1], codes[0]))
    print(f"{len(codes)} languages in one batch: {equal} rows bit-equal to those of one language")
    restored = torch.equal(a, again)
    print(f"one by one: {apart:.1e} of the largest log-probability apart; A, B, A restores A: {restored}")
    print(f"B differs from A: {a.shape != b.shape or not torch.equal(a, b)}")


def told_apart(bank: Bank, heard: list[tuple[str, Waveform]], codes: list[str], seconds: float) -> None:
    """Print how often the language is found out, and how often it would be by what the bank says."""
    right, sure, second = [], [], 0
    by_code: dict[str, list[bool]] = {code: [] for code in codes}
    for code, wave in heard:
        found = bank.identify(wave, codes, seconds=seconds)
        right.append(found[0].place == code)
        sure.append(found[0].probability)
        second += code in (found[0].place, found[1].place)
        by_code[code].append(right[-1])
    certain = [one for one, share in zip(right, sure, strict=True) if share >= 0.9]
    models = sum(bank.voice(code).spelling is not None for code in codes)
    each = ", ".join(f"{code} {100 * np.mean(found):.0f}" for code, found in by_code.items())
    print(
        f"{seconds:g} s, {models} of {len(codes)} with a language model, {len(right)} clips: "
        f"{100 * np.mean(right):.0f} % right, {100 * np.mean(sure):.0f} % said; first or second "
        f"{100 * second / len(right):.0f} %; of {len(certain)} said to be 90 % sure, "
        f"{100 * np.mean(certain) if certain else 0:.0f} % right ({each})",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
