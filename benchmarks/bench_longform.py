"""Long recordings made of a real test set: memory, errors beside single utterances, and ways to cut.

    python benchmarks/bench_longform.py --prepared prepared/mdw --adapter adapters/mdw

Recordings are made of the utterances of the test set, or of dev, in order, repeated where they do not fill
the time: with pauses of 0.3 to 1.5 s of faint noise between them, or one directly behind the other. Three
tables are printed:

1. the peak of memory and the time for recordings of growing length, each in a process of its own;
2. for every way to cut, the character error rate of the whole beside that of utterances transcribed one by
   one, both as one text with a space between utterances; the lengths that `mms-adapt tune` chose on dev stand
   beside those that are taken without a choice; "--choose" makes one and notes it in the adapter's folder;
3. with "--stock", the same of transformers' pipeline(chunk_length_s=30) with the same weights.

Times are ratios of the machine that runs it. It needs a trained adapter and its prepared data, and says so
where it is not given them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
WAYS: dict[str, dict[str, Any]] = {
    "cut at pauses, as tuned": {},
    "cut at pauses, untold": {"untold": True},
    "cut at pauses, 4 to 8 s": {"usual_s": 4.0, "window_s": 8.0},
    "cut at pauses, 10 to 15 s": {"usual_s": 10.0, "window_s": 15.0},
    "overlap, 10 s": {"cut": "overlap", "window_s": 10.0, "overlap_s": 3.0},
    "overlap, 30 s": {"cut": "overlap"},
    "cut at pauses, int8": {"quantise": "int8"},
}


def utterances(prepared: Path, split: str) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Return waveforms `(samples,)` and references of one part of the data."""
    from mms_adapt import Prepared, audio

    data = Prepared.load(prepared)
    part = data.utterances(split)
    return [samples for _, samples in audio.read_utterances(part, data.root)], [
        one.reference or "" for one in part
    ]


def write(path: Path, waveforms: list[NDArray[np.float32]], minutes: float, *, pauses: bool) -> list[int]:
    """Write a recording of at least so many minutes, and return which utterances it holds."""
    random, held, written = np.random.default_rng(0), [], 0
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        while written < minutes * 60 * RATE_HZ:
            number = len(held) % len(waveforms)
            parts = [waveforms[number]]
            if pauses:
                length = int(random.uniform(0.3, 1.5) * RATE_HZ)
                parts.append((5e-4 * random.standard_normal(length)).astype(np.float32))
            for one in parts:
                file.write(one)
                written += len(one)
            held.append(number)
    return held


def child(audio: Path, adapter: Path, options: dict[str, Any], out: Path) -> None:
    """Transcribe one recording in this process, and write text, seconds and megabytes."""
    from mms_adapt import passport
    from mms_adapt.transcribe import TranscribeOptions, Transcriber

    untold = options.pop("untold", False)
    chosen = TranscribeOptions(device="cpu", decoder="greedy", **options)
    if untold:
        chosen = chosen.fitted(passport.read(adapter).utterance_s)
    transcriber = Transcriber.load(adapter, options=chosen)
    transcriber.waveforms([np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)])
    loaded, start = _peak_mb(), time.perf_counter()
    text = " ".join(one.text for one in transcriber.stream(audio) if one.text)
    found = {"text": text, "seconds": time.perf_counter() - start, "mb": _peak_mb(), "loaded_mb": loaded}
    out.write_text(json.dumps(found), encoding="utf-8")


def _peak_mb() -> float:
    """Return the peak of this process alone: Linux counts its parent's in `ru_maxrss`, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(audio: Path, adapter: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a process of its own finds."""
    out = audio.with_suffix(".json")
    words = ["--child", str(audio), str(adapter), json.dumps(options), str(out)]
    subprocess.run([sys.executable, __file__, *words], check=True)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def cer(text: str, reference: str) -> float:
    """Return the character error rate of a whole recording's text."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.distance(text, reference)) / max(1, len(reference))


def singles(adapter: Path, waveforms: list[NDArray[np.float32]], quantise: str) -> tuple[list[str], float]:
    """Return the texts of utterances transcribed one by one, in batches, and the seconds that it took."""
    from mms_adapt.transcribe import TranscribeOptions, Transcriber

    chosen = TranscribeOptions(device="cpu", decoder="greedy", quantise=quantise)
    transcriber = Transcriber.load(adapter, options=chosen)
    start = time.perf_counter()
    return [one.text for one in transcriber.waveforms(waveforms)], time.perf_counter() - start


def stock(audio: Path, adapter: Path) -> dict[str, Any]:
    """Transcribe with transformers' pipeline in chunks of 30 s, from the same weights."""
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, pipeline

    from mms_adapt.transcribe import TranscribeOptions, Transcriber

    ours = Transcriber.load(adapter, options=TranscribeOptions(device="cpu", decoder="greedy"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({one: n for n, one in enumerate(ours.vocab.tokens)}), encoding="utf-8")
        tokenizer = Wav2Vec2CTCTokenizer(
            str(path), bos_token=None, eos_token=None, pad_token="<pad>", word_delimiter_token="|"
        )
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    recognise = pipeline(
        "automatic-speech-recognition",
        model=ours.backbone.model, tokenizer=tokenizer, feature_extractor=extractor, chunk_length_s=30,
    )  # fmt: skip
    samples, _ = soundfile.read(audio, dtype="float32")
    start = time.perf_counter()
    text = recognise({"raw": samples, "sampling_rate": RATE_HZ}, batch_size=4)["text"]
    return {"text": " ".join(text.split()), "seconds": time.perf_counter() - start}


def choice(adapter: Path, prepared: Path) -> str:
    """Choose lengths of parts on dev, note them in the adapter's folder, and tell them."""
    from mms_adapt import part_length

    found = part_length.choose(adapter, prepared, device="cpu")
    part_length.install(adapter, found)
    return (
        f"chosen on {found.utterances} dev utterances: {found.usual_s:.3g} to {found.longest_s:.3g} s, CER "
        f"{100 * found.dev_cer:.2f} %; untold {100 * found.untold_cer:.2f} %, one by one "
        f"{100 * found.single_cer:.2f} %"
    )


def report(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the tables as they are measured."""
    if arguments.choose:
        yield choice(arguments.adapter, arguments.prepared)
    waveforms, references = utterances(arguments.prepared, arguments.split)
    most = arguments.compare_minutes * 60
    step = max(1, int(sum(map(len, waveforms)) / RATE_HZ / most))
    chosen = list(range(0, len(waveforms), step))
    texts, exact_s = singles(arguments.adapter, [waveforms[one] for one in chosen], "none")
    coarse, coarse_s = singles(arguments.adapter, [waveforms[one] for one in chosen], "int8")
    reference = " ".join(references[one] for one in chosen)
    base = cer(" ".join(filter(None, texts)), reference)
    minutes = sum(len(waveforms[one]) for one in chosen) / RATE_HZ / 60
    yield f"{len(chosen)} utterances, {minutes:.1f} min; one by one: CER {100 * base:.2f} %"
    found = cer(" ".join(filter(None, coarse)), reference)
    yield (
        f"one by one, int8: CER {100 * found:.2f} %, {100 * (found / base - 1):+.1f} % relative, "
        f"{exact_s / coarse_s:.2f} times as fast"
    )
    with tempfile.TemporaryDirectory() as folder:
        for pauses in (True, False):
            path = Path(folder) / "compare.wav"
            held = write(path, [waveforms[one] for one in chosen], 0.98 * minutes, pauses=pauses)
            reference = " ".join(references[chosen[one]] for one in held)
            base = cer(" ".join(filter(None, (texts[one] for one in held))), reference)
            yield f"\n{'with' if pauses else 'without'} pauses, {len(held)} utterances, {100 * base:.2f} %:"
            first_s = 0.0
            for name in arguments.ways:
                one = measured(path, arguments.adapter, WAYS[name])
                first_s = first_s or one["seconds"]
                yield _line(name, cer(one["text"], reference), base, first_s / one["seconds"])
            if arguments.stock:
                one = stock(path, arguments.adapter)
                yield _line(
                    "transformers' pipeline", cer(one["text"], reference), base, first_s / one["seconds"]
                )
        if arguments.minutes:
            texts, _ = singles(arguments.adapter, waveforms, "none")
        for length in arguments.minutes:
            path = Path(folder) / "long.wav"
            held = write(path, waveforms, length, pauses=True)
            reference = " ".join(references[one] for one in held)
            base = cer(" ".join(filter(None, (texts[one] for one in held))), reference)
            one = measured(path, arguments.adapter, {})
            found = cer(one["text"], reference)
            yield (
                f"{length:g} min: peak {one['mb']:.0f} MB ({one['loaded_mb']:.0f} MB before); CER "
                f"{100 * found:.2f} %, one by one {100 * base:.2f} %, {100 * (found / base - 1):+.1f} % "
                "relative"
            )


def _line(name: str, found: float, base: float, speed: float) -> str:
    return (
        f"  {name:28} CER {100 * found:.2f} %, {100 * (found / base - 1):+5.1f} % relative, speed {speed:.2f}"
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepared", type=Path, help="folder that prepare wrote")
    parser.add_argument("--adapter", type=Path, help="adapter folder")
    parser.add_argument("--split", default="test", help="test, or dev to choose by")
    parser.add_argument("--minutes", type=float, nargs="*", default=[10, 30, 120], help="for the first table")
    parser.add_argument("--compare-minutes", type=float, default=10, help="for the other two")
    parser.add_argument("--stock", action="store_true", help="transformers' pipeline beside it")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument(
        "--ways", nargs="*", default=list(WAYS), choices=list(WAYS), help="for the second table"
    )
    parser.add_argument("--choose", action="store_true", help="choose lengths of parts on dev first")
    arguments = parser.parse_args()
    if arguments.child:
        audio, adapter, options, out = arguments.child
        child(Path(audio), Path(adapter), json.loads(options), Path(out))
    elif arguments.prepared and arguments.adapter:
        for line in report(arguments):
            print(line, flush=True)
    else:
        print("bench_longform: give --prepared and --adapter; nothing measured")


if __name__ == "__main__":
    main()
