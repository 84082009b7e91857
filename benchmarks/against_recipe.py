"""Adapters trained by the public recipe and by this package on the same real speech, and what they give.

    python benchmarks/against_recipe.py list
    python benchmarks/against_recipe.py run ROW... --corpora ../shared/corpora --out rows.jsonl
    python benchmarks/against_recipe.py render --page docs/against_recipe.md

A row is LANGUAGE/WAY. All ways of a language get the same prepared data, the same backbone and the same test
set, and are scored by the same scorer, greedily.

`recipe` is the published example for MMS (`run_speech_recognition_ctc_adapter.py` with the options of its
page): stock transformers from the waveform, 32 utterances a batch in groups of like length, gradient
checkpointing, AdamW at 0.001 with 100 steps of warm-up and down in a line, 4 passes, SpecAugment on 5 % of
the frames, fp16 autocast on a GPU, the adapter that the checkpoint holds as a start, a fresh head, a
vocabulary of the characters of training and test texts, no check whether CTC can write an utterance, the last
step kept. `recipe-long` is the same with as many passes as ours makes. `ours` is `mms-adapt train` with its
defaults, `ours-top:6` and `ours-top:3` train the topmost layers alone, from hidden states computed once.

In: corpora in the layout of `utterances.jsonl`. Out: lines, and a table.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pages
from kinds import alone
from results import SETS, machine, rate

MINUTES: dict[str, float | None] = {"mdw": 60.0, "wol": None, "chr": None, "aka": None, "bom": None}
WAYS = ("recipe", "recipe-long", "ours", "ours-top:6", "ours-top:3")
BATCH, EPOCHS, RATE, WARMUP_STEPS, LONGEST_S = 32, 4, 1e-3, 100, 20.0
Row = dict[str, Any]


def prepared(corpora: Path, work: Path, code: str) -> Any:
    """Return prepared data, made once."""
    import mms_adapt

    folder = work / "prepared" / code
    with alone(folder):
        if not (folder / "prepared.json").exists():
            mms_adapt.prepare(corpora / SETS[code][0], folder, target_lang=code, train_minutes=MINUTES[code])
    return mms_adapt.Prepared.load(folder)


def ours(data: Any, way: str, device: str, passes: int | None) -> Row:
    """Train with this package and transcribe the test set."""
    import mms_adapt

    options: Row = {"device": device, "epochs": passes}
    if ":" in way:
        options |= {"adapter_layers": int(way.rpartition(":")[2]), "from_hidden": True}
    with tempfile.TemporaryDirectory() as folder:
        began = clock()
        config = mms_adapt.TrainConfig(**options, cache=str(Path(folder) / "cache"))
        trained = mms_adapt.train(data, Path(folder) / "a", config)
        took = taken(began)
        found = mms_adapt.evaluate(Path(folder) / "a", data, decoder="greedy", device=device)
    return {**took, "heard_s": trained.heard_s, **scored(found)}


def recipe(data: Any, way: str, device: str, passes: int | None) -> Row:
    """Train as the public example does and transcribe the test set."""
    import torch

    epochs = passes or (EPOCHS if way == "recipe" else suited(data))
    began = clock()
    torch.manual_seed(42)
    train = list(heard(data, "train"))
    texts = [text for text, _ in [*train, *heard(data, "test")]]
    vocab = {one: place for place, one in enumerate(sorted(set("".join(texts)) - {" "}))}
    vocab |= {one: len(vocab) + place for place, one in enumerate(("|", "[UNK]", "[PAD]"))}
    train = [(text, wave) for text, wave in train if 0 < len(wave) < LONGEST_S * 16_000]
    model = stock_model(len(vocab), vocab["[PAD]"], device)
    heard_s = learn(model, train, vocab, device, epochs)
    took = taken(began)
    return {**took, "heard_s": heard_s, "passes": epochs, **scored(judged(model, data, vocab, device))}


def suited(data: Any) -> int:
    """Return how many passes ours makes over so much speech."""
    import mms_adapt

    speech_s = sum(one.duration_s for one in data.utterances("train"))
    return int(mms_adapt.TrainConfig().suited(speech_s).epochs or 1)


def heard(data: Any, split: str) -> Iterator[tuple[str, Any]]:
    """Return references and samples of a part, in the manifest's order."""
    from mms_adapt import audio

    for one, samples in audio.read_utterances(data.utterances(split), data.root):
        yield one.reference or "", samples


def stock_model(vocab_size: int, pad: int, device: str) -> Any:
    """Return the embedded backbone as the example loads and freezes it."""
    from transformers import Wav2Vec2ForCTC

    import mms_adapt

    embedded = Path(mms_adapt.__file__).parent / "embedded"
    model = Wav2Vec2ForCTC.from_pretrained(
        embedded,
        dtype="float32",
        feat_proj_dropout=0.0, attention_dropout=0.0, hidden_dropout=0.0, final_dropout=0.0,
        activation_dropout=0.0, mask_time_prob=0.05, mask_time_length=10, mask_feature_prob=0.0,
        layerdrop=0.0, ctc_loss_reduction="mean", pad_token_id=pad, vocab_size=vocab_size,
        ignore_mismatched_sizes=True,
    )  # fmt: skip
    model.init_adapter_layers()
    model.freeze_base_model()
    for one in model._get_adapters().values():
        one.requires_grad = True
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable()
    else:  # as transformers named it before
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.to(device)


def padded(waves: list[Any]) -> tuple[Any, Any]:
    """Return normalised waveforms `(batch, samples)` and where they are real."""
    from transformers import Wav2Vec2FeatureExtractor

    made = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)(
        waves, sampling_rate=16_000, padding=True, return_tensors="pt"
    )
    return made["input_values"], made["attention_mask"]


def learn(model: Any, train: list[tuple[str, Any]], vocab: dict[str, int], device: str, epochs: int) -> float:
    """Make the example's steps; return the seconds of speech that went through."""
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    trained = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    steps = epochs * math.ceil(len(train) / BATCH)

    def share(step: int) -> float:
        if step < WARMUP_STEPS:
            return step / WARMUP_STEPS
        return max(0.0, (steps - step) / max(1, steps - WARMUP_STEPS))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    cuda = device.startswith("cuda")
    scaler = torch.amp.GradScaler(enabled=cuda)
    model.train()
    heard_s = 0.0
    for _ in range(epochs):
        order = list(LengthGroupedSampler(BATCH, lengths=[len(wave) for _, wave in train]))
        for start in range(0, len(order), BATCH):
            rows = [train[place] for place in order[start : start + BATCH]]
            samples, real = padded([wave for _, wave in rows])
            ids = [torch.tensor([vocab[one] for one in text.replace(" ", "|")]) for text, _ in rows]
            targets = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
            with torch.autocast(device.split(":", maxsplit=1)[0], dtype=torch.float16, enabled=cuda):
                loss = model(
                    samples.to(device), attention_mask=real.to(device), labels=targets.to(device)
                ).loss
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            scaler.step(optimiser)
            scaler.update()
            schedule.step()
            optimiser.zero_grad()
            heard_s += sum(len(wave) for _, wave in rows) / 16_000
    return heard_s


def judged(model: Any, data: Any, vocab: dict[str, int], device: str) -> Any:
    """Transcribe the test set with stock transformers, and score it."""
    import torch

    from mms_adapt import scoring, text

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        from transformers import Wav2Vec2CTCTokenizer

        tokenizer = Wav2Vec2CTCTokenizer(
            str(path), unk_token="[UNK]", pad_token="[PAD]", word_delimiter_token="|"
        )
    model.eval()
    normalise = text.get(data.normaliser, target_lang=data.target_lang)
    utterances, found = data.utterances("test"), []
    with torch.inference_mode():
        for _, wave in heard(data, "test"):
            samples, real = padded([wave])
            ids = model(samples.to(device), attention_mask=real.to(device)).logits.argmax(-1)
            found.append(normalise(tokenizer.batch_decode(ids)[0]))
    return scoring.score(
        [one.reference or "" for one in utterances],
        found,
        speakers=[one.speaker for one in utterances],
        bootstrap=1000,
    )


def clock() -> tuple[float, float]:
    """Return the wall's and the processor's seconds, and begin to watch the card's memory."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return time.monotonic(), time.process_time()


def taken(began: tuple[float, float]) -> Row:
    """Return what was taken since then."""
    import torch

    cuda = torch.cuda.is_available()
    peak = (
        torch.cuda.max_memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {
        "seconds": round(time.monotonic() - began[0], 1),
        "processor_s": round(time.process_time() - began[1], 1),
        "peak_gib": round(peak / 2**30, 2),
    }


def scored(found: Any) -> Row:
    """Return rates with their intervals."""
    rates: Row = {"cer": found.cer, "wer": found.wer}
    for name in ("cer", "wer"):
        one = getattr(found, f"{name}_interval")
        rates[f"{name}_interval"] = None if one is None else [one.low, one.high]
    return rates


def tables(lines: list[Row]) -> dict[str, str]:
    """Return the table of the rows that are there, and the machines that made them."""
    ranks = {f"{code}/{way}": rank for rank, (code, way) in enumerate((c, w) for c in MINUTES for w in WAYS)}
    held = sorted(lines, key=lambda line: ranks[line["row"]])
    return {
        "Ways": "\n".join(render(held)),
        "Machines": "\n".join(f"- {one}" for one in sorted({line["machine"] for line in held})),
    }


def render(lines: list[Row]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield (
        "| language | training speech | way | passes | CER % (95 %) | WER % (95 %) | seconds "
        "| speech a second | GiB | at once |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for one in lines:
        code, _, way = one["row"].partition("/")
        seconds = one["seconds"] if one["machine"].startswith("one ") else one["processor_s"]
        cells = [SETS[code][1], f"{one['train_s'] / 60:.0f} min", f"`{way}`"]
        cells += [f"{one['heard_s'] / one['train_s']:.0f}", rate(one, "cer"), rate(one, "wer")]
        cells += [f"{seconds:.0f}", f"{one['heard_s'] / seconds:.0f}", f"{one['peak_gib']}"]
        yield f"| {' | '.join([*cells, str(one['at_once'])])} |"


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the rows")
    one = commands.add_parser("run", help="make rows")
    one.add_argument("rows", nargs="+", metavar="ROW")
    one.add_argument("--corpora", type=Path, required=True)
    one.add_argument("--work", type=Path, default=Path(".cache/recipe"))
    one.add_argument("--device", default="cpu")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--at-once", type=int, default=1, help="processes that share the card, for the record")
    one.add_argument("--passes", type=int, help="so many passes instead, to try it")
    shown = commands.add_parser("render", help="print the table")
    shown.add_argument("out", type=Path, nargs="?", default=Path(__file__).with_suffix(".jsonl"))
    shown.add_argument("--page", type=Path, help="page to put the table into, instead of printing it")
    options = parser.parse_args()
    names = [f"{code}/{way}" for code in MINUTES for way in WAYS]
    if options.command == "list":
        print("\n".join(names))
        return 0
    done = read(options.out)
    if options.command == "render":
        if options.page:
            text = options.page.read_text(encoding="utf-8")
            options.page.write_text(pages.filled(text, tables(done)), encoding="utf-8")
        else:
            print(tables(done)["Ways"])
        return 0
    if wrong := [name for name in options.rows if name not in names]:
        parser.error(f"no such row: {', '.join(wrong)}; list names them")
    for name in options.rows:
        if name in {line["row"] for line in done}:
            continue
        code, _, way = name.partition("/")
        data = prepared(options.corpora, options.work, code)
        made = (ours if way.startswith("ours") else recipe)(data, way, options.device, options.passes)
        speech_s = sum(one.duration_s for one in data.utterances("train"))
        line = {"row": name, "train_s": round(speech_s, 1), **made, "machine": machine()}
        line["at_once"] = options.at_once
        print(json.dumps(line), flush=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return 0


def read(path: Path) -> list[Row]:
    """Return the rows that were made."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
