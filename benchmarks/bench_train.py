"""Training on one machine: the public recipe beside this package, in parts that are run by name.

    python benchmarks/bench_train.py --parts recipe all top12        (or --list)
    python benchmarks/bench_train.py --shape embedded --device cpu --parts recipe all
    python benchmarks/bench_train.py --shape tiny --device cpu       (every part, to test it)

Weights are random, of MMS-1B's shape, since speed and memory do not depend on them. Every part is a process
of its own, prints one line of JSON a measurement, which also goes to `--out`, and takes less than four
minutes; one that fails, or lacks a second card, says so in its line and the next one goes on. `all` and its
like run the step that `mms-adapt train` runs; `e2e` runs that command itself, on four hours of made sound.

The recipe is written from what the public example and Trainer document: fp32 weights, fp16 autocast with a
scaled loss, gradient checkpointing, batches of 32 x 5 s of waveform, the base frozen in training mode, the
adapters and the head trained, AdamW, gradients clipped at 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Record = dict[str, Any]
SHAPES: dict[str, Record] = {
    "mms-1b": {
        "hidden_size": 1280, "num_hidden_layers": 48, "intermediate_size": 5120, "num_attention_heads": 16,
        "adapter_attn_dim": 16, "vocab_size": 154,
    },
    "tiny": {
        "hidden_size": 32, "num_hidden_layers": 4, "intermediate_size": 64, "num_attention_heads": 2,
        "adapter_attn_dim": 4, "vocab_size": 40, "conv_dim": [16, 16, 16, 24, 24, 24, 24],
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    },
}  # fmt: skip
COMMON: Record = {
    "architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "do_stable_layer_norm": True,
    "feat_extract_norm": "layer", "conv_bias": True, "hidden_dropout": 0.0, "attention_dropout": 0.0,
    "activation_dropout": 0.0, "feat_proj_dropout": 0.0, "final_dropout": 0.0, "layerdrop": 0.0,
    "mask_time_prob": 0.05, "ctc_loss_reduction": "mean", "pad_token_id": 0,
}  # fmt: skip
# seconds of speech: a large batch, the recipe's clip and batch, a clip of ours, and languages
SIZES = {
    "mms-1b": (640.0, 5.0, 160.0, 10.0, 64),
    "tiny": (12.0, 1.0, 4.0, 1.0, 3),
    "embedded": (16.0, 4.0, 16.0, 4.0, 4),
}
EMBEDDED = Path(__file__).parents[1] / "mms_adapt" / "embedded" / "config.json"
LETTERS = "abcdefghijklmnopqrstuvwxyz'"


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=list(PARTS),
        default=[one for one in PARTS if one != "team_member"],
        metavar="PART",
    )
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    parser.add_argument("--shape", choices=SIZES, default="mms-1b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long each speed is measured")
    parser.add_argument("--hours", type=float, default=4.0, help="speech of e2e")
    parser.add_argument("--epochs", type=int, default=4, help="passes of e2e")
    parser.add_argument(
        "--work", type=Path, default=Path("bench_train"), help="for the model and corpus of e2e"
    )
    parser.add_argument("--out", type=Path, help="file that lines are added to")
    parser.add_argument("--limit", type=float, default=235.0, help="seconds a part may take")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        for name, part in PARTS.items():
            print(f"{name:14} {(part.__doc__ or '').splitlines()[0]}")
        return 0
    if options.inside:
        inside(options)
        return 0
    words = sys.argv[1:]
    for name in options.parts:
        began_s = time.monotonic()
        command = [sys.executable, __file__, *words, "--inside", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, check=False)
            lines, error = done.stdout.splitlines(), "" if done.returncode == 0 else done.stderr[-600:]
        except subprocess.TimeoutExpired as late:
            said = late.stdout or b""
            lines = (said.decode() if isinstance(said, bytes) else said).splitlines()
            error = f"not done after {options.limit:.0f} s"
        records = [json.loads(one) for one in lines if one.startswith('{"')]
        records += [{"part": name, "error": error}] if error else []
        for record in records:
            line = json.dumps({**record, "part_s": round(time.monotonic() - began_s, 1)})
            print(line, flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    return 0


def inside(options: argparse.Namespace) -> None:
    """Run one part and print its lines."""
    import torch
    import transformers

    cuda = options.device.startswith("cuda")
    machine = {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "shape": options.shape,
    }
    for found in PARTS[options.inside](options):
        print(json.dumps({"part": options.inside, **found, **machine}), flush=True)


# what is measured


def settings(options: argparse.Namespace) -> Record:
    """Return the model's settings."""
    if options.shape == "embedded":
        return {**json.loads(EMBEDDED.read_text(encoding="utf-8")), **COMMON, "vocab_size": 40}
    return {**COMMON, **SHAPES[options.shape]}


def timed(options: argparse.Namespace, step: Callable[[], object], audio_s: float) -> Record:
    """Measure a step again and again; return speed and the most memory that was in use."""
    import torch

    cuda = options.device.startswith("cuda")
    if cuda:
        gc.collect()  # recordings of what was measured before
        torch.cuda.empty_cache()

    def now() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.monotonic()

    began_s = now()
    step()
    first_s = now() - began_s
    for _ in range(2 if cuda else 1):  # at the third, layers are recorded
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began_s, count = now(), 0
    while count < 3 or time.monotonic() - began_s < options.seconds:
        step()
        count += 1
        if count % 4 == 0:
            now()  # so that what was only launched does not count
    took_s = now() - began_s
    peak = round((torch.cuda.max_memory_allocated() + recorded_bytes()) / 2**30, 2) if cuda else None
    return {
        "audio_s_a_second": round(count * audio_s / took_s, 2),
        "peak_gib": peak,
        "batch_s": audio_s,
        "step_ms": round(1000 * took_s / count, 2),
        "first_step_s": round(first_s, 2),
    }


def recorded_bytes() -> int:
    """Return what recordings use while they are played, which torch counts as free meanwhile."""
    import torch

    own = [one for one in torch.cuda.memory_snapshot() if tuple(one["segment_pool_id"]) != (0, 0)]
    return sum(one["total_size"] - one["allocated_size"] for one in own)


def random_tensors(options: argparse.Namespace) -> Record:
    """Return a model's weights by name: norms at one, biases at zero, the rest small and random."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    with torch.device("meta"):
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**settings(options)))
    torch.manual_seed(0)
    found = {}
    for name, one in model.state_dict().items():
        values = torch.randn(one.shape, device=options.device) * 0.02
        if name.endswith("bias"):
            values.zero_()
        elif "norm.weight" in name or "original0" in name:
            values.fill_(1.0)
        elif one.ndim == 3 and "feature_extractor" in name:
            values *= 50 * (2 / (one.shape[1] * one.shape[2])) ** 0.5
        found[name] = values
    return found


def labels(count: int, clip_s: float, vocab: int) -> Any:
    """Return ids, `(batch, tokens)`: twelve letters a second of speech."""
    import torch

    return torch.randint(5, vocab, (count, max(2, int(12 * clip_s))))


def ours(options: argparse.Namespace, *, languages: int = 1, **changes: Any) -> list[Any]:
    """Return trainings as `mms-adapt train` sets them up, one a language, with features made on the spot."""
    import torch

    from mms_adapt import stock
    from mms_adapt.backbone import Backbone
    from mms_adapt.parallel import Team
    from mms_adapt.pretrained import Pretrained
    from mms_adapt.recipe import TrainConfig
    from mms_adapt.recorded import Player
    from mms_adapt.room import Room
    from mms_adapt.start import begin
    from mms_adapt.task import Task, lowest
    from mms_adapt.vocab import build

    config = TrainConfig(device=options.device, epochs=1, **changes).suited(3600.0)
    device = torch.device(options.device)
    source = Pretrained("random", Path("nowhere"), settings(options), True, (), (), None)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = stock.build(source, random_tensors(options), dtype).to(device)
    backbone = Backbone(source, model, "0" * 64, device)
    backbone.checkpointing = config.checkpointing or config.lean
    backbone.quantise(config.quantise)
    if config.compile:
        backbone.compile()
    tasks = []
    for place in range(languages):
        vocab = build([LETTERS[: len(LETTERS) - place % 7]])
        begun = begin(backbone, config, vocab)
        if config.record and device.type == "cuda":
            backbone.player = Player()
        trained = {name: one for name, one in begun.parameters.items() if one.requires_grad}
        seconds = config.device_seconds
        tasks.append(
            Task(
                config,
                SimpleNamespace(vocab=vocab),  # type: ignore[arg-type]
                backbone,
                begun,
                trained,
                torch.optim.AdamW(trained.values(), lr=0.0, fused=True),
                torch.Generator(device).manual_seed(place),
                SimpleNamespace(),  # type: ignore[arg-type]
                SimpleNamespace(),  # type: ignore[arg-type]
                None,
                {},
                Room(None if seconds is None else int(seconds * 49)),
                Team(),
                lowest(trained, backbone.layer_count) if config.from_hidden else None,
            )
        )
    return tasks


def batch_for(task: Any, batch_s: float, clip_s: float, *, uneven: bool = False) -> Any:
    """Return a batch of features, or of hidden states, that lie on the device as the cache keeps them.

    Args:
        task: The training.
        batch_s: Speech in it.
        clip_s: Speech of a row.
        uneven: Rows differ by up to a tenth, as after bucketing.
    """
    import torch

    from mms_adapt.audio import frame_count
    from mms_adapt.batches import Batch

    count, frames = max(1, round(batch_s / clip_s)), frame_count(round(clip_s * 16_000))
    width = task.backbone.conv_dim if task.below is None else task.backbone.hidden_size
    counts = torch.full((count,), frames)
    if uneven:
        counts = counts - torch.arange(count) % max(1, frames // 10)
        counts[0] = frames
    ids = labels(count, clip_s / 3, len(task.data.vocab))
    features = torch.randn(count, frames, width, device=task.backbone.device).half()
    lengths = torch.full((count,), ids.shape[1])
    return Batch(features, counts, ids, lengths, tuple(map(str, range(count))))


def speed_of_ours(options: argparse.Namespace, what: str, *, uneven: bool = False, **changes: Any) -> Record:
    """Measure our step."""
    from mms_adapt.step import learn

    large_s, _, _, clip_s, _ = SIZES[options.shape]
    batch_s = changes.pop("batch_s", large_s)
    (task,) = ours(options, **changes)
    batch = batch_for(task, batch_s, clip_s, uneven=uneven)
    found = timed(options, lambda: learn(task, batch, 1e-3, first=False), batch.audio_s)
    return {"what": what, **found}


# the parts


def recipe(options: argparse.Namespace) -> Iterator[Record]:
    """The public recipe, with eager attention and with sdpa."""
    _, clip_s, batch_s, _, _ = SIZES[options.shape]
    for attention in ("eager", "sdpa"):
        yield {"what": f"recipe, {attention}", **speed_of_recipe(options, attention, clip_s, batch_s)}


def recipes_batch(options: argparse.Namespace) -> Iterator[Record]:
    """The public recipe in the batches of its page, 32 clips of 5 s, where `recipe` has smaller ones."""
    own = SIZES["mms-1b"][1:3]
    if SIZES[options.shape][1:3] == own:
        yield {"what": "recipe, batches of its page", "skipped": "the part recipe has these batches"}
        return
    for attention in ("eager", "sdpa"):
        what = f"recipe, {attention}, batches of its page"
        yield {"what": what, **speed_of_recipe(options, attention, *own)}


def speed_of_recipe(options: argparse.Namespace, attention: str, clip_s: float, batch_s: float) -> Record:
    """Measure the step of the public example."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(**settings(options))
    config._attn_implementation = attention
    config.mask_time_prob = 0.0
    with torch.device("meta"):
        model = Wav2Vec2ForCTC(config)
    model.load_state_dict(random_tensors(options), strict=False, assign=True)
    model.freeze_base_model()
    trained = [*model.lm_head.parameters(), *model._get_adapters().values()]
    for one in trained:
        one.requires_grad_(True)
    cuda = options.device.startswith("cuda")
    model.train().to(options.device)
    model.gradient_checkpointing_enable()
    optimiser = torch.optim.AdamW(trained, lr=1e-3, fused=cuda)
    scaler = torch.amp.GradScaler(enabled=cuda)
    count = round(batch_s / clip_s)
    waves = torch.randn(count, round(clip_s * 16_000), device=options.device)
    seen = torch.ones_like(waves, dtype=torch.long)
    targets = labels(count, clip_s / 3, config.vocab_size).to(options.device)

    def step() -> None:
        with torch.autocast(options.device.split(":")[0], dtype=torch.float16, enabled=cuda):
            loss = model(waves, attention_mask=seen, labels=targets).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        bool(torch.isnan(loss.detach()))  # as Trainer asks at every step

    return timed(options, step, count * clip_s)


def all_layers(options: argparse.Namespace) -> Iterator[Record]:
    """Ours with adapters in all layers, rows of one length and of several."""
    yield speed_of_ours(options, "all layers")
    yield speed_of_ours(options, "all layers, uneven rows", uneven=True)


def compiled(options: argparse.Namespace) -> Iterator[Record]:
    """Ours with compiled layers."""
    if options.device == "cpu":
        yield {"what": "compiled", "skipped": "compiling is for cards"}
        return
    yield speed_of_ours(options, "compiled", compile=True)
    yield speed_of_ours(options, "compiled, uneven rows", uneven=True, compile=True)


def top(options: argparse.Namespace) -> Iterator[Record]:
    """Ours in the topmost layers, from cached hidden states."""
    for layers in (24, 12, 6) if options.shape == "mms-1b" else (6, 3, 2, 1):
        yield speed_of_ours(options, f"top {layers}", adapter_layers=layers, from_hidden=True)


def float8(options: argparse.Namespace) -> Iterator[Record]:
    """Ours with the frozen matrices in 8-bit floats."""
    if options.device == "cpu" or options.shape != "mms-1b":
        yield {"what": "8-bit floats", "skipped": "for cards that have them, and MMS-1B's shape"}
        return
    yield speed_of_ours(options, "all layers, 8-bit floats", quantise="fp8")
    yield speed_of_ours(options, "all layers, 8-bit floats, uneven rows", uneven=True, quantise="fp8")
    for layers in (24, 12):
        changes = {"adapter_layers": layers, "from_hidden": True, "quantise": "fp8"}
        yield speed_of_ours(options, f"top {layers}, 8-bit floats", **changes)


def small(options: argparse.Namespace) -> Iterator[Record]:
    """Ours with small batches, which the launching of kernels bounds."""
    for share in (40, 8, 4):
        batch_s = SIZES[options.shape][0] / share
        yield speed_of_ours(options, f"batch of {batch_s:g} s", batch_s=max(1.0, batch_s))


def memory(options: argparse.Namespace) -> Iterator[Record]:
    """Peak memory and speed of ours with the recipe's batch: whole, in pieces, and with checkpointing."""
    _, _, batch_s, clip_s, _ = SIZES[options.shape]
    for what, changes in (
        ("whole", {}),
        ("pieces of 40 s", {"device_seconds": 4 * clip_s}),
        ("pieces of 20 s", {"device_seconds": 2 * clip_s}),
        ("checkpointing", {"checkpointing": True}),
        ("checkpointing, pieces of 40 s", {"checkpointing": True, "device_seconds": 4 * clip_s}),
    ):
        yield speed_of_ours(options, f"recipe's batch, {what}", batch_s=batch_s, **changes)


def many(options: argparse.Namespace) -> Iterator[Record]:
    """Many languages in one pass, beside one language with as much speech in a step."""
    import torch

    from mms_adapt.mixed import gradients
    from mms_adapt.room import Room
    from mms_adapt.stack import RowwiseAdamW, Stack

    large_s, _, _, clip_s, languages = SIZES[options.shape]
    each_s = max(clip_s, large_s / languages)
    one = speed_of_ours(options, "one language", batch_s=languages * each_s)
    yield one
    tasks = ours(options, languages=languages)
    stack = Stack(tasks[0].backbone, [task.trained for task in tasks])
    optimiser = RowwiseAdamW(stack, weight_decay=0.0, max_norm=1.0)
    batches = {place: batch_for(task, each_s, clip_s) for place, task in enumerate(tasks)}
    rates = torch.full((languages,), 1e-3, device=options.device)
    everyone = torch.ones(languages, dtype=torch.bool, device=options.device)
    room = Room()

    def step() -> None:
        losses = gradients(stack, tasks, batches, room)
        optimiser.step(rates, losses, everyone)

    found = timed(options, step, sum(batch.audio_s for batch in batches.values()))
    share = round(found["audio_s_a_second"] / one["audio_s_a_second"], 3)
    yield {"what": f"{languages} languages", "share_of_one": share, **found}


def team(options: argparse.Namespace) -> Iterator[Record]:
    """Two processes, one on each card, beside one."""
    import torch

    cards = torch.cuda.device_count() if options.device.startswith("cuda") else 2
    speeds = []
    for size in (1, 2):
        if cards < size:
            yield {"what": f"{size} cards", "skipped": f"this machine has {cards}"}
            return
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
        command += [__file__, "--inside", "team_member", "--shape", options.shape, "--device", options.device]
        command += ["--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        records = [json.loads(one) for one in done.stdout.splitlines() if one.startswith('{"')]
        records = [{**one, "part": "team"} for one in records]
        if not records:
            yield {"what": f"{size} cards", "error": done.stderr[-600:]}
            return
        speeds.append(records[0]["audio_s_a_second"])
        ratio = {"times_one": round(speeds[1] / speeds[0], 3)} if size == 2 else {}
        yield {**records[0], "what": f"{size} cards", **ratio}


def team_member(options: argparse.Namespace) -> Iterator[Record]:
    """One process of `team`; the batch grows with the team."""
    from mms_adapt import parallel
    from mms_adapt.step import learn

    here, device = parallel.join(options.device)
    options.device = device
    large_s, _, _, clip_s, _ = SIZES[options.shape]
    (task,) = ours(options)
    task = replace(task, team=here)
    batch = batch_for(task, here.size * large_s, clip_s)
    count = 3 if device == "cpu" else 25
    speed = timed_together(lambda: learn(task, batch, 1e-3, first=False), count, here, device)
    if here.leads:
        yield {"what": f"team of {here.size}", "audio_s_a_second": round(count * batch.audio_s / speed, 2)}


def timed_together(step: Callable[[], object], count: int, here: Any, device: str) -> float:
    """Return the seconds that so many steps of a team take."""
    import torch

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        here.wait()
        return time.monotonic()

    step()
    step()
    began_s = now()
    for _ in range(count):
        step()
    return now() - began_s


def profile(options: argparse.Namespace) -> Iterator[Record]:
    """Where the time of our step goes, kernel by kernel."""
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    from mms_adapt.step import learn

    large_s, _, _, clip_s, _ = SIZES[options.shape]
    (task,) = ours(options)
    batch = batch_for(task, large_s, clip_s, uneven=True)
    learn(task, batch, 1e-3, first=False)
    cuda = options.device.startswith("cuda")
    with watch(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        for _ in range(3):
            learn(task, batch, 1e-3, first=False)
        if cuda:
            torch.cuda.synchronize()

    def took(one: Any) -> float:
        return float(one.self_device_time_total if cuda else one.self_cpu_time_total)

    events = sorted(seen.key_averages(), key=took, reverse=True)
    total = sum(map(took, events))
    for one in events[:24]:
        yield {"what": one.key[:90], "share": round(took(one) / total, 4), "calls_a_step": one.count / 3}


def make(options: argparse.Namespace) -> Iterator[Record]:
    """Write the model and the corpus that e2e needs; nothing where they are there."""
    import numpy as np
    import soundfile
    from safetensors.torch import save_file

    import mms_adapt

    began_s, work = time.monotonic(), options.work
    if not (work / "model" / "model.safetensors").exists():
        (work / "model").mkdir(parents=True, exist_ok=True)
        (work / "model" / "config.json").write_text(json.dumps(settings(options)), encoding="utf-8")
        (work / "model" / "preprocessor_config.json").write_text('{"do_normalize": true}', encoding="utf-8")
        tensors = {name: one.cpu().contiguous() for name, one in random_tensors(options).items()}
        save_file(tensors, work / "model" / "unfinished")
        (work / "model" / "unfinished").rename(work / "model" / "model.safetensors")
    if not (work / "prepared" / "prepared.json").exists():
        (work / "corpus").mkdir(parents=True, exist_ok=True)
        random, lines, clip_s = np.random.default_rng(0), [], SIZES[options.shape][3]
        for number in range(max(20, round(1.1 * options.hours * 3600 / clip_s))):
            samples = random.normal(0, 0.05, round(clip_s * 16_000)).astype(np.float32)
            soundfile.write(work / "corpus" / f"{number}.wav", samples, 16_000)
            letters = random.choice(list(LETTERS[:26]), max(2, int(4 * clip_s)))
            words = ["".join(letters[at : at + 5]) for at in range(0, len(letters), 5)]
            line = {"id": f"u{number}", "recording": f"{number}.wav", "start_s": 0, "end_s": None}
            line |= {"transcript": " ".join(words), "target_lang": "mdw", "speaker": f"s{number % 20}"}
            lines.append(json.dumps(line))
        (work / "corpus" / "utterances.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        mms_adapt.prepare(work / "corpus", work / "prepared", target_lang="mdw")
    yield {"what": "made", "seconds": round(time.monotonic() - began_s, 1)}


def e2e(options: argparse.Namespace) -> Iterator[Record]:
    """From the command to the saved adapter: start-up, caching and training."""
    import shutil

    large = options.shape == "mms-1b"
    batches = ["160", "640"] if large else ["8"]
    runs = [(f"all layers, batches of {one} s", ["--batch-seconds", one]) for one in batches]
    layers = "top:12" if large else "top:1"
    runs.append((f"{layers}, batches of {batches[0]} s", ["--batch-seconds", batches[0], "--layers", layers]))
    for what, extra in runs:
        for name in ("adapter", "prepared/.cache"):
            shutil.rmtree(options.work / name, ignore_errors=True)
        command = [sys.executable, "-m", "mms_adapt", "train", str(options.work / "prepared")]
        command += ["--out", str(options.work / "adapter"), "--backbone", str(options.work / "model")]
        command += ["--device", options.device, "--epochs", str(options.epochs), "--quiet", *extra]
        command += ["--set", "dev_minutes=2", "--set", "speed_factors=[1.0]"]
        began_s = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        took_s = time.monotonic() - began_s
        if done.returncode:
            yield {"what": what, "error": done.stderr[-600:]}
            continue
        metrics = json.loads((options.work / "adapter" / "passport.json").read_text("utf-8"))["metrics"]
        lines = (options.work / "adapter" / "metrics.jsonl").read_text("utf-8").splitlines()
        speed = json.loads(lines[-1])["audio_s_a_second"]
        yield {
            "what": what,
            "seconds": round(took_s, 1),
            "heard_s": metrics["heard_s"],
            "loop_audio_s_a_second": speed,
        }


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "recipe": recipe,
    "recipes_batch": recipes_batch,
    "all": all_layers,
    "float8": float8,
    "compiled": compiled,
    "top": top,
    "small": small,
    "memory": memory,
    "many": many,
    "team": team,
    "team_member": team_member,
    "profile": profile,
    "make": make,
    "e2e": e2e,
}

if __name__ == "__main__":
    sys.exit(main())
