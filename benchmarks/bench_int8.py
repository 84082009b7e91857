"""What 8-bit numbers cost and bring on this processor: errors, their paired difference, and the speed.

    python benchmarks/bench_int8.py --prepared prepared/mdw --adapter adapters/mdw

One part of the data is evaluated with float32 and with int8, or, with --float8, with the 8-bit floats that
are meant for cards: here they are rounded as there, and multiplied in float32, so that only the errors tell
something; error rates have 95 % intervals, and their
difference is paired by utterance.

For the speed both models hear the same utterances in turn, several times,
and the best time of each counts. Last come single matrices of random numbers in the sizes of the backbone in
the package and of MMS-1B; with --int-mm the product of `torch._int_mm` alone, too, which is used where torch
has no oneDNN. Speeds are ratios within one run: above 1, int8 is quicker.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from mms_adapt import audio, quantise
from mms_adapt.backbone import Backbone
from mms_adapt.compare import compare
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.prepared import Prepared
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

SIZES = {"backbone in the package": (256, 1024), "MMS-1B": (1280, 5120)}
FRAMES, WAYS = 500, ("none", "int8")


def errors(adapter: Path, prepared: Path, split: str, coarse: str) -> None:
    """Print error rates of both, and how they differ."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{one}.json" for one in ("none", coarse)]
        for way, path in zip(("none", coarse), paths, strict=True):
            options = EvaluateOptions(quantise=way, allow_sibling=True)
            found = evaluate(adapter, prepared, split=split, device="cpu", json=path, options=options)
            inside = found.cer_interval
            between = f" ({100 * inside.low:.1f} to {100 * inside.high:.1f})" if inside else ""
            name = "float32" if way == "none" else way
            print(f"{name}: CER {100 * found.cer:.2f} %{between}, {found.utterances} utterances", flush=True)
        one = compare(*paths).cer_difference
    if one is not None:
        print(
            f"{coarse} less float32: {100 * one.rate:+.2f} points ({100 * one.low:+.2f} to "
            f"{100 * one.high:+.2f}), p = {one.p_value:.2g}"
        )


@contextmanager
def floats_for_cards() -> Iterator[None]:
    """Let a CPU round to 8-bit floats where a card would multiply them."""
    exact = Backbone.quantise

    def rounding(one: Backbone, how: str) -> None:
        if how != "fp8":
            exact(one, how)
            return
        one.packing = True
        for layer in one._frozen:
            assert layer is not None
            layer.quantise()

    Backbone.quantise = rounding  # type: ignore[method-assign]
    try:
        yield
    finally:
        Backbone.quantise = exact  # type: ignore[method-assign]


def speed(adapter: Path, prepared: Path, split: str, seconds: float, rounds: int) -> float:
    """Return how many times as fast int8 is, on the same utterances in turn."""
    data = Prepared.of(prepared)
    heard, held_s = [], 0.0
    for _, samples in audio.read_utterances(data.utterances(split), data.root):
        if held_s < seconds:
            heard.append(samples)
            held_s += len(samples) / audio.SAMPLE_RATE_HZ
    best = dict.fromkeys(WAYS, float("inf"))
    models = {
        way: Transcriber.load(
            adapter,
            options=TranscribeOptions(device="cpu", batch_seconds=30, quantise=way, allow_sibling=True),
        )
        for way in WAYS
    }
    for _ in range(rounds):
        for way, model in models.items():
            best[way] = min(best[way], timed(lambda one=model: one.emissions(heard)))  # type: ignore[misc]
    return best["none"] / best["int8"]


def timed(do: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def int_mm(linear: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the product of integers of a layer's shape, whatever it is given."""
    random = torch.Generator().manual_seed(0)
    hidden, weight = (
        torch.randint(-127, 128, (rows, linear.in_features), generator=random, dtype=torch.int8)
        for rows in (FRAMES, linear.out_features)
    )
    return lambda _: torch._int_mm(hidden, weight.t())


def matrix(
    inside: int, outside: int, rounds: int, other: Callable[..., Callable[[torch.Tensor], torch.Tensor]]
) -> float:
    """Return how many times as fast another layer multiplies `(frames, in)` by `(in, out)`."""
    linear = nn.Linear(inside, outside).requires_grad_(False)
    layers, hidden = (linear, other(linear)), torch.randn(1, FRAMES, inside)
    best = [float("inf")] * 2
    with torch.inference_mode():
        for _ in range(rounds):
            for number, layer in enumerate(layers):
                best[number] = min(best[number], timed(lambda one=layer: one(hidden)))  # type: ignore[misc]
    return best[0] / best[1]


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepared", type=Path, help="folder that prepare wrote")
    parser.add_argument("--adapter", type=Path, help="adapter folder")
    parser.add_argument("--split", default="test", help="test or dev")
    parser.add_argument("--seconds", type=float, default=40, help="speech for the speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--float8", action="store_true", help="the errors of 8-bit floats instead")
    parser.add_argument("--int-mm", action="store_true", help="torch._int_mm beside it")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bits = "8" if quantise.largest() > 100 else "7"
    how = "oneDNN" if quantise.has_onednn() else "torch._int_mm"
    print(f"{options.threads} threads; {how}, hidden states in {bits} bits")
    if options.prepared and options.adapter:
        given = options.adapter, options.prepared, options.split
        if options.float8:
            with floats_for_cards():
                errors(*given, "fp8")
            return
        errors(*given, "int8")
        print(f"whole model: {speed(*given, options.seconds, options.rounds):.2f} times as fast")
    ways: dict[str, Callable[..., Callable[[torch.Tensor], torch.Tensor]]] = {"int8": quantise.Int8Linear}
    if options.int_mm:
        ways["torch._int_mm"] = int_mm
    for way, other in ways.items():
        for name, (hidden, wide) in SIZES.items():
            sizes = (hidden, hidden), (hidden, wide), (wide, hidden)
            rounds = 1 if other is int_mm else 10 * options.rounds
            told = ", ".join(f"{matrix(*size, rounds, other):.2g}" for size in sizes)
            print(f"{way}, matrices of {name}, attention and the two of the feed-forward block: {told}")


if __name__ == "__main__":
    main()
