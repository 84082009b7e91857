"""How fast many languages are served beside one backbone, against stock transformers in the same run.

    python benchmarks/bench_inference.py [--shape auto] [--batch 64] [--seconds 10] [--json FILE]

Models are random, since speed does not depend on their weights: `mms-1b` has MMS-1B's shape, `embedded` that
of the backbone in the package, and `tiny` shows that the script runs. Where not given, it is mms-1b on a GPU,
embedded on a CPU. Adapters are random too, each with 154 tokens, and all rows of a batch are of one length.

Ours and stock get the same audio, in main memory, and give the best token of every frame, in main memory.
Stock is Wav2Vec2ForCTC with sdpa, in bfloat16 on a GPU and float32 on a CPU, without a mask, since no row is
padded. Its tokenizer is not switched, which would take it longer. A figure is the median of several rounds,
ours and stock in turn; on a CPU, seconds are the
processor's, of all threads together. It does not know how anything is computed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mms_adapt import backbone as backbone_module
from mms_adapt import pretrained
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.device import choose_device
from mms_adapt.passport import Passport
from mms_adapt.serving import edition
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.vocab import Vocab, build

RATE_HZ, TOKENS, ALL_OF_MMS = 16_000, 154, 1_162
SHAPES: dict[str, dict[str, Any]] = {
    "mms-1b": {
        "hidden_size": 1280,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "intermediate_size": 5120,
        "adapter_attn_dim": 16,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "adapter_attn_dim": 16,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
}
Waves = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        device: Where.
        shape: Of what.
        one_ours: Audio-seconds a second, one language in the batch.
        one_stock: The same of stock.
        one_float8: The same of ours with 8-bit floats; 0 where the device has none.
        mixed_ours: Every row a language of its own.
        mixed_stock: The same of stock, which takes one row after the other and an adapter for each.
        mixed_share: Median over rounds of mixed speed by one language's speed, ours.
        resident_ms: Until a batch of another language can start, its adapter resident.
        disk_ms: The same, from disk, everything verified.
        stock_ms: Stock's `load_adapter`, which verifies nothing.
        open_ms: Until an adapter of MMS-1B's shape is in main memory, everything verified, by the clock.
        hash_ms: Reading and hashing the same file, which is the least that it takes.
        gib_of_all: Memory of all 1,162 languages of MMS, adapters and heads, beside the backbone.
        all_held: How many were really held while that was measured.
    """

    device: str
    shape: str
    one_ours: float
    one_stock: float
    one_float8: float
    mixed_ours: float
    mixed_stock: float
    mixed_share: float
    resident_ms: float
    disk_ms: float
    stock_ms: float
    open_ms: float
    hash_ms: float
    gib_of_all: float
    all_held: int


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=("auto", "mms-1b", "embedded", "tiny"), default="auto")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch", type=int, help="rows, and languages in a mixed batch; 64 on a GPU, else 8")
    parser.add_argument("--seconds", type=float, help="length of a row; 10 on a GPU, else 4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--held", type=int, default=ALL_OF_MMS, help="languages to hold at once")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument(
        "--warm", action="store_true", help="leave out how long fresh processes take to start"
    )
    parser.add_argument(
        "--profile", action="store_true", help="only ours: its speed, and where the time goes"
    )
    options = parser.parse_args()
    cold = {} if options.profile or options.warm else cold_starts(options.rounds)
    device = choose_device(options.device)
    on_gpu = device.type == "cuda"
    shape = options.shape if options.shape != "auto" else "mms-1b" if on_gpu else "embedded"
    batch, seconds = options.batch or (64 if on_gpu else 8), options.seconds or (10.0 if on_gpu else 4.0)
    with tempfile.TemporaryDirectory() as folder:
        if options.profile:
            profile(Path(folder), shape, device, batch, seconds, options.rounds)
            return 0
        found = measure(Path(folder), shape, device, batch, seconds, options.rounds, options.held)
    show(found, batch, seconds, cold)
    if options.json:
        options.json.write_text(
            json.dumps({**asdict(found), "cold_s": cold}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


def measure(
    folder: Path,
    shape: str,
    device: torch.device,
    batch: int,
    seconds: float,
    rounds: int,
    held: int,
) -> Figures:
    """Make a model and adapters in a folder, and measure ours and stock on them."""
    bank, codes, waves, vocab = made(folder, shape, device, batch, seconds)
    base, model, audio_s = bank.backbone, folder / "model", batch * seconds
    stock = load_stock(model, device)
    ways: dict[str, Callable[[], object]] = {
        "one_ours": lambda: ours(bank, waves, [codes[0]] * batch),
        "one_stock": lambda: plain(stock, waves),
        "mixed_ours": lambda: ours(bank, waves, codes),
    }
    for way in ways.values():
        way()
    times = {name: [] for name in ways}  # type: dict[str, list[float]]
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(timed(way))
    shares = [one / mixed for one, mixed in zip(times["one_ours"], times["mixed_ours"], strict=True)]
    speeds = {name: audio_s / statistics.median(found) for name, found in times.items()}
    mixed_stock = audio_s / timed(lambda: one_after_the_other(stock, waves, codes))
    resident = [1e3 * timed(lambda code=code: start(bank, code)) for code in codes]
    stock_ms = [
        1e3 * timed(lambda code=code: stock.load_adapter(code, local_files_only=True)) for code in codes
    ]
    disk = from_disk(folder / "adapters", bank, codes)
    open_ms, hash_ms = opened(folder / "one", vocab, rounds)
    gib, count = memory_of_all(bank, codes, held)
    float8 = 0.0
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9):
        base.quantise("fp8")
        ways["one_ours"]()
        float8 = audio_s / statistics.median(timed(ways["one_ours"]) for _ in range(rounds))
    return Figures(
        device=torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        shape=shape,
        mixed_stock=mixed_stock,
        mixed_share=statistics.median(shares),
        resident_ms=statistics.median(resident),
        disk_ms=statistics.median(disk),
        one_float8=float8,
        stock_ms=statistics.median(stock_ms),
        open_ms=open_ms,
        hash_ms=hash_ms,
        gib_of_all=gib,
        all_held=count,
        **speeds,
    )


def made(
    folder: Path, shape: str, device: torch.device, batch: int, seconds: float
) -> tuple[Bank, list[str], Waves, Vocab]:
    """Make a model and an adapter for each row; return a bank of them, their languages, and recordings."""
    vocab = build(["".join(chr(0x100 + number) for number in range(TOKENS - 5))])
    model, codes = write_model(folder / "model", shape, device, vocab), languages(batch)
    base = backbone_module.load(model, device=str(device))
    for seed, code in enumerate(codes):
        write_adapter(base, folder / "adapters" / code, code, vocab, seed)
        shutil.copy(folder / "adapters" / code / f"adapter.{code}.safetensors", model)
    bank = Bank(folder / "adapters", backbone=base, options=TranscribeOptions(device=str(device)))
    random = np.random.default_rng(0)
    waves = [0.1 * random.standard_normal(int(seconds * RATE_HZ)).astype(np.float32) for _ in range(batch)]
    return bank, codes, waves, vocab


def profile(folder: Path, shape: str, device: torch.device, batch: int, seconds: float, rounds: int) -> None:
    """Print how long batches of one language and of many take, round by round, and what takes longest."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    bank, codes, waves, _ = made(folder, shape, device, batch, seconds)
    cuda = device.type == "cuda"

    def show(what: str) -> None:
        for name, asked in (("one language", [codes[0]] * batch), (f"{batch} languages", codes)):
            ours(bank, waves, asked)
            taken = [1e3 * timed(lambda asked=asked: ours(bank, waves, asked)) for _ in range(rounds)]
            told = ", ".join(f"{one:.1f}" for one in taken)
            speed = 1e3 * batch * seconds / statistics.median(taken)
            print(f"{what}, {name}: {told} ms, {speed:,.0f} audio-s/s")
        with watch(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
            ours(bank, waves, codes)
        key = "self_device_time_total" if cuda else "self_cpu_time_total"
        for one in sorted(seen.key_averages(), key=lambda one: -getattr(one, key))[:16]:
            print(f"{getattr(one, key) / 1e3:10.2f} ms {one.count:5} {one.key[:90]}", flush=True)

    show("bfloat16" if cuda else "float32")
    if cuda and torch.cuda.get_device_capability(device) >= (8, 9):
        bank.backbone.quantise("fp8")
        show("8-bit floats")


def write_model(folder: Path, shape: str, device: torch.device, vocab: Vocab) -> Path:
    """Write the model as stock code does."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    folder.mkdir()
    settings: dict[str, Any] = {}
    if shape == "embedded":
        settings = json.loads((pretrained.EMBEDDED / "config.json").read_text(encoding="utf-8"))
    else:
        settings = {
            "do_stable_layer_norm": True,
            "feat_extract_norm": "layer",
            "conv_bias": True,
            **SHAPES[shape],
        }
    settings |= {"vocab_size": len(vocab), "pad_token_id": 0, "dtype": None}
    with device:
        made = Wav2Vec2ForCTC(Wav2Vec2Config(**settings)).to(torch.float32)
    made.save_pretrained(folder)
    processor = {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def languages(count: int) -> list[str]:
    """Return codes that stand for no language: qaa, qab, ..."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [f"q{first}{second}" for first in letters[:20] for second in letters][:count]


def write_adapter(base: Backbone, folder: Path, code: str, vocab: Vocab, seed: int) -> None:
    """Write an adapter of random weights that passes every check."""
    config, hidden = attention.Config(base.adapter_size), base.hidden_size
    shapes = {"norm.weight": (hidden,), "norm.bias": (hidden,), "linear_1.bias": (config.size,)}
    shapes |= {"linear_1.weight": (config.size, hidden), "linear_2.bias": (hidden,)}
    shapes["linear_2.weight"] = (hidden, config.size)
    random = torch.Generator().manual_seed(seed)
    tensors = {
        f"wav2vec2.encoder.layers.{layer}.adapter_layer.{name}": 0.02 * torch.randn(shape, generator=random)
        for layer in range(base.layer_count)
        for name, shape in shapes.items()
    }
    tensors["lm_head.weight"] = 0.02 * torch.randn(len(vocab), hidden, generator=random)
    tensors["lm_head.bias"] = torch.zeros(len(vocab))
    written = Passport(
        code, "attention", asdict(config), backbone=base.name, backbone_fingerprint=base.fingerprint
    )
    AdapterFolder(written, vocab, tensors).save(folder)


def load_stock(model: Path, device: torch.device) -> Any:
    """Return the stock model as its documentation loads it."""
    from transformers import Wav2Vec2ForCTC

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    found = Wav2Vec2ForCTC.from_pretrained(model, dtype=dtype, attn_implementation="sdpa")
    return found.to(device).eval()


def ours(bank: Bank, waves: Waves, codes: Sequence[str]) -> NDArray[np.int64]:
    """Return the best token of every frame, `(batch, frames)`, each row in its own language."""
    editions = [bank.voice(code).edition for code in codes]
    features, counts = bank.engine.features(waves)
    best: NDArray[np.int64] = bank.engine.emissions(features, counts, editions).argmax(dim=-1).cpu().numpy()
    return best


@torch.inference_mode()
def plain(stock: Any, waves: Waves) -> NDArray[np.int64]:
    """Return the best token of every frame, `(batch, frames)`, by the adapter that stock has loaded."""
    values = torch.from_numpy(np.stack([(one - one.mean()) / np.sqrt(one.var() + 1e-7) for one in waves]))
    best: NDArray[np.int64] = stock(values.to(stock.device, stock.dtype)).logits.argmax(dim=-1).cpu().numpy()
    return best


def one_after_the_other(stock: Any, waves: Waves, codes: Sequence[str]) -> None:
    """Do with stock what a mixed batch asks for."""
    for wave, code in zip(waves, codes, strict=True):
        stock.load_adapter(code, local_files_only=True)
        plain(stock, [wave])


def start(bank: Bank, code: str) -> None:
    """Do what comes before the model when another language is asked for."""
    bank.engine.adapt([bank.voice(code).edition])


def from_disk(registry: Path, bank: Bank, codes: Sequence[str]) -> list[float]:
    """Return milliseconds until each language can start, none of them resident."""
    empty = Bank(registry, backbone=bank.backbone, options=bank.options)
    return [1e3 * timed(lambda code=code: start(empty, code)) for code in codes]


def opened(folder: Path, vocab: Vocab, rounds: int) -> tuple[float, float]:
    """Return milliseconds to open an adapter of MMS-1B's shape, and to read and hash its file, in turn."""
    shape = SHAPES["mms-1b"]
    base: Any = SimpleNamespace(
        adapter_size=shape["adapter_attn_dim"], hidden_size=shape["hidden_size"],
        layer_count=shape["num_hidden_layers"], name="random", fingerprint="0" * 64,
    )  # fmt: skip
    write_adapter(base, folder, "qaa", vocab, 0)
    file, times = folder / "adapter.qaa.safetensors", ([], [])  # type: tuple[list[float], list[float]]

    def work_through() -> None:
        with edition.opening(folder, "qaa", base) as found:
            found.on(torch.device("cpu"), torch.float32)

    for _ in range(10 * rounds):
        for work, taken in zip(
            (work_through, lambda: hashlib.sha256(file.read_bytes()).digest()),
            times,
            strict=True,
        ):
            began_s = time.perf_counter()
            work()
            taken.append(1e3 * (time.perf_counter() - began_s))
    return statistics.median(times[0]), statistics.median(times[1])


def memory_of_all(bank: Bank, codes: Sequence[str], count: int) -> tuple[float, int]:
    """Hold so many languages, and return the GiB that all of MMS would take, and how many were held."""
    first = bank.voice(codes[0]).edition
    on_gpu = bank.backbone.device.type == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else 0
    held = []
    for _ in range(count):
        copies = tuple(one.clone() for one in first.weights.tensors)
        held.append((*copies, first.head.clone(), first.head_bias.clone()))
    if on_gpu:
        taken = torch.cuda.memory_allocated() - before
    else:
        taken = sum(one.untyped_storage().nbytes() for each in held for one in each)
    return taken / count * ALL_OF_MMS / 2**30, len(held)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes: with a GPU those of the clock, else the processor's."""
    if not torch.cuda.is_available():
        began_s = time.process_time()
        work()
        return time.process_time() - began_s
    torch.cuda.synchronize()
    began_s = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began_s


def ran(words: list[str]) -> float:
    """Return the seconds of the clock that a process of its own takes."""
    began_s = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def cold_starts(rounds: int) -> dict[str, float]:
    """Return the seconds that fresh processes take to show the help and to import; torch must stay out."""
    statements = {
        "mms-adapt --help": [sys.executable, "-m", "mms_adapt", "--help"],
        "import mms_adapt": [sys.executable, "-c", "import mms_adapt"],
        "import transformers": [
            sys.executable,
            "-c",
            "from transformers import Wav2Vec2ForCTC, AutoProcessor",
        ],
    }
    check = "import sys, mms_adapt.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
    return {name: statistics.median(ran(words) for _ in range(rounds)) for name, words in statements.items()}


def show(found: Figures, batch: int, seconds: float, cold: dict[str, float]) -> None:
    """Print the figures."""
    print(f"{found.shape} on {found.device}, batches of {batch} × {seconds:g} s")
    lines = [
        ("one language, audio-s/s", f"{found.one_stock:,.0f}", f"{found.one_ours:,.0f}"),
        ("  with 8-bit floats", "", f"{found.one_float8:,.0f}" if found.one_float8 else "none here"),
        (
            f"{batch} languages in every batch, audio-s/s",
            f"{found.mixed_stock:,.0f}",
            f"{found.mixed_ours:,.0f}",
        ),
        (
            "  as a share of one language",
            f"{found.mixed_stock / found.one_stock:.3f}",
            f"{found.mixed_share:.3f}",
        ),
        ("switch to a resident language, ms", f"{found.stock_ms:.2f}", f"{found.resident_ms:.3f}"),
        ("switch to one on disk, ms", f"{found.stock_ms:.2f} unverified", f"{found.disk_ms:.2f} verified"),
        (
            "  opening one of MMS-1B's shape, ms",
            f"{found.hash_ms:.2f} to hash it",
            f"{found.open_ms:.2f} verified",
        ),
        (
            f"{ALL_OF_MMS} languages resident, GiB",
            "1 language",
            f"{found.gib_of_all:.2f} ({found.all_held} held)",
        ),
    ]
    print(f"{'':44}{'stock':>18}{'ours':>22}")
    for name, theirs, mine in lines:
        print(f"{name:44}{theirs:>18}{mine:>22}")
    for name, taken in cold.items():
        share = taken / cold["import transformers"]
        print(f"start: {name:22}{taken:8.2f} s, {share:.3f} of importing transformers")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    raise SystemExit(main())
