"""Train and test adapters on five real languages, and write docs/results.md from what came out.

    python benchmarks/results.py run --corpora ../shared/corpora --work .cache/results
    python benchmarks/results.py decode --work .cache/results
    python benchmarks/results.py render

`run` takes hours on a CPU. It does one row after the other, keeps each in benchmarks/results.jsonl, and goes
on where it was stopped. Every row is what the three commands `prepare`, `train` and `evaluate` give with
their defaults, in one process; nothing is tuned on a test set. `decode` adds what a language model of the
training transcripts brings, by what `tune` and `evaluate` do.

In: corpora in the layout of `utterances.jsonl`. Out: one line a row, and the page. It does not know how
anything is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / "benchmarks" / "results.jsonl", ROOT / "docs" / "results.md"
SETS = {
    "mdw": ("mdw-mboshi", "Mboshi (Bantu)", "Godard et al. 2018, its training part"),
    "wol": ("wol-alffa-subset", "Wolof", "ALFFA, Gauthier and Besacier, a subset"),
    "chr": ("chr-cherokee-phrases", "Cherokee (romanised)", "CherokeeLanguage/cherokee-audio-data"),
    "aka": ("aka-twi-commonvoice", "Twi", "Common Voice, 271 clips"),
    "bom": ("bom-berom", "Berom", "mandeebot/Berom_Speech_Dataset"),
}
# options of the kind "longer", by minutes of training speech: of what was tried, the best on the dev set
LONGER: dict[float | None, dict[str, Any]] = {
    60: {"epochs": 40},
    None: {"epochs": 21, "mask_time_share": 0.08},
}
KINDS = {
    "adapter": "adapter and head",
    "longer": "adapter and head, three times as many passes",
    "random": "adapter and head, on random weights",
    "full": "everything but the convolutions",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        target_lang: A key of `SETS`.
        minutes: Training speech; None for all of it.
        split: What prepare was asked for.
        kind: A key of `KINDS`.
    """

    target_lang: str
    minutes: float | None = None
    split: str = "auto"
    kind: str = "adapter"

    @property
    def name(self) -> str:
        """The row's name on the command line and of its folders."""
        amount = "all" if self.minutes is None else f"{self.minutes:g}"
        return f"{self.target_lang}-{amount}-{self.split}-{self.kind}"


PLAN = (
    Row("mdw", 10),
    Row("mdw", 60),
    Row("mdw"),
    Row("wol"),
    Row("chr"),
    Row("aka"),
    Row("bom"),
    Row("mdw", 10, "sentence"),
    Row("mdw", 60, "sentence"),
    Row("mdw", None, "sentence"),
    Row("mdw", 60, "sentence", "longer"),
    Row("mdw", None, "sentence", "longer"),
    Row("mdw", 10, kind="random"),
    Row("mdw", 10, kind="full"),
)


def run(corpora: Path, work: Path, only: list[str]) -> None:
    """Do every row of the plan that is not there yet.

    Args:
        corpora: The folder that holds those of `SETS`.
        work: Where prepared data and adapters go.
        only: Names of rows; all where empty.
    """
    done = {one["name"] for one in read()}
    for row in PLAN:
        if row.name not in done and (not only or row.name in only):
            print(f"== {row.name}", flush=True)
            found = do(row, corpora, work)
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")


def do(row: Row, corpora: Path, work: Path) -> dict[str, Any]:
    """Prepare, train and evaluate one row, and return its line."""
    import mms_adapt
    from mms_adapt import terminal
    from mms_adapt.splits import SplitOptions

    folder = work / "prepared" / row.name.rpartition("-")[0]
    with terminal.progress() as progress:
        if not (folder / "prepared.json").exists():
            mms_adapt.prepare(
                corpora / SETS[row.target_lang][0],
                folder,
                target_lang=row.target_lang,
                split=SplitOptions(mode=row.split),
                train_minutes=row.minutes,
                progress=progress,
            )
        prepared = mms_adapt.Prepared.load(folder)
        options: dict[str, Any] = {"full_finetune": row.kind == "full"}
        if row.kind == "longer":
            options |= LONGER[row.minutes]
        if row.kind == "random":
            options["backbone"] = str(random_backbone(work / "random"))
        adapter = work / "adapters" / row.name
        before_s = time.process_time()
        trained = mms_adapt.train(prepared, adapter, mms_adapt.TrainConfig(**options), progress=progress)
        processor_s = time.process_time() - before_s
        score = mms_adapt.evaluate(
            adapter, prepared, decoder="greedy", report=work / f"{row.name}.html", progress=progress
        )
    passport = json.loads((adapter / "passport.json").read_text(encoding="utf-8"))
    return {
        "name": row.name,
        "train_s": round(sum(one.duration_s for one in prepared.utterances("train")), 1),
        "test_s": round(sum(one.duration_s for one in prepared.utterances("test")), 1),
        "speakers": prepared.counts["speakers"],
        "split_mode": prepared.counts["split_mode"],
        "seconds": trained.seconds_s,
        "processor_s": round(processor_s, 1),
        "heard_s": trained.heard_s,
        "dev_cer": trained.best_dev_cer,
        "trained": trained_parameters(adapter, row.kind),
        "wer": score.wer,
        "wer_interval": [score.wer_interval.low, score.wer_interval.high] if score.wer_interval else None,
        "cer": score.cer,
        "cer_interval": [score.cer_interval.low, score.cer_interval.high] if score.cer_interval else None,
        "utterances": score.utterances,
        "words": score.words,
        "marks": list(score.marks),
        "signature": score.signature,
        "versions": passport["versions"],
        "machine": machine(),
    }


def decode(work: Path, only: list[str]) -> None:
    """Add to every row of adapters what a language model brings, where that is not there yet.

    Args:
        work: Where prepared data and adapters are.
        only: Names of rows that are done, again where they were done before; all others where empty.
    """
    import mms_adapt
    from mms_adapt import language_model, terminal

    rows = read()
    names = {row.name for row in PLAN if row.kind in ("adapter", "longer")}
    if unknown := sorted(set(only) - {one["name"] for one in rows if one["name"] in names}):
        raise SystemExit(f"no adapter of these rows was evaluated yet: {', '.join(unknown)}")
    for one in rows:
        if one["name"] not in names or (one["name"] not in only if only else "lm" in one):
            continue
        print(f"== {one['name']}, language model", flush=True)
        prepared = mms_adapt.Prepared.load(work / "prepared" / one["name"].rpartition("-")[0])
        adapter = work / "adapters" / one["name"]
        arpa, words_arpa = work / f"{one['name']}.arpa", work / f"{one['name']}.words.arpa"
        made, words = language_model.build(prepared), language_model.build(prepared, unit="word")
        arpa.write_text(made.model.to_arpa(), encoding="utf-8")
        words_arpa.write_text(words.model.to_arpa(), encoding="utf-8")
        with terminal.progress() as progress:
            tuned = language_model.tune(adapter, prepared, made.model, words=words.model, progress=progress)
            options = language_model.options_of(tuned, arpa, words_arpa)
            score = mms_adapt.evaluate(
                adapter, prepared, decoder="beam", decoder_options=options, progress=progress
            )
        one["lm"] = {
            "sentences": made.sentences,
            "lm_weight": tuned.lm_weight,
            "words_share": tuned.words_share,
            "bonus": tuned.bonus,
            "beam_width": tuned.beam_width,
            "wer": score.wer,
            "wer_interval": [score.wer_interval.low, score.wer_interval.high] if score.wer_interval else None,
            "cer": score.cer,
            "cer_interval": [score.cer_interval.low, score.cer_interval.high] if score.cer_interval else None,
            "signature": score.signature,
        }
        ROWS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def machine() -> str:
    """Return what computes here: the GPU, or cores of a processor."""
    import torch

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} of {os.cpu_count()} cores of {processor()}"


def processor() -> str:
    """Return the name of this machine's processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def random_backbone(folder: Path) -> Path:
    """Write a backbone of the embedded one's shape with random weights, and return its folder."""
    import shutil

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    embedded = ROOT / "mms_adapt" / "embedded"
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        Wav2Vec2ForCTC(Wav2Vec2Config.from_pretrained(embedded)).save_pretrained(folder)
        for name in ("preprocessor_config.json", "vocab.json"):
            shutil.copy(embedded / name, folder / name)
    return folder


def trained_parameters(adapter: Path, kind: str) -> int:
    """Return how many numbers training changed."""
    from safetensors import safe_open

    (path,) = adapter.glob("adapter.*.safetensors")
    if kind == "full":
        path = adapter / "backbone" / "model.safetensors"
    with safe_open(path, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    import math

    frozen = ("wav2vec2.feature_extractor.", "wav2vec2.masked_spec_embed")
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.startswith(frozen))


def read() -> list[dict[str, Any]]:
    """Return the rows that were done."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def render() -> str:
    """Return the page."""
    found = {one["name"]: one for one in read()}
    rows = [(row, found[row.name]) for row in PLAN if row.name in found]
    return _PAGE.format(
        main="\n".join(table([pair for pair in rows if pair[0].kind == "adapter"])),
        others="\n".join(table([pair for pair in rows if pair[0].kind != "adapter"])),
        splits="\n".join(splits(rows)),
        dev="\n".join(dev(rows)),
        decoded="\n".join(decoded([pair for pair in rows if "lm" in pair[1]])),
        signatures="\n".join(f"{one['name']}\n  {one['signature']}" for one in signed(rows)),
        machines="\n".join(machines(rows)),
    )


def table(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of a table of results."""
    yield (
        "| language | what is trained | numbers trained | training speech "
        "| test split | CER % (95 %) | WER % (95 %) | seconds of training |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row, one in rows:
        yield (
            f"| {SETS[row.target_lang][1]} | {KINDS[row.kind]} | {one['trained']:,} | "
            f"{one['train_s'] / 60:.0f} min | by {one['split_mode']} | "
            f"{rate(one, 'cer')} | {rate(one, 'wer')} | {seconds(one)} |"
        )


def seconds(one: dict[str, Any]) -> str:
    """Return how long a training took, and where: on a CPU the processor's seconds, where they were taken."""
    if place(one) == "CPU" and "processor_s" in one:
        return f"{one['processor_s']:.0f} of one core"
    return f"{one['seconds']:.0f} on {place(one)}"


def place(one: dict[str, Any]) -> str:
    """Return in a word where a row was trained."""
    return "GPU" if one["machine"].startswith("one ") else "CPU"


def machines(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[str]:
    """Yield the machines of the rows, each with the versions of the libraries on it."""
    named = {
        (place(one), one["machine"], ", ".join(f"{name} {value}" for name, value in one["versions"].items()))
        for _, one in rows
    }
    for kind, machine, versions in sorted(named):
        yield f"- {kind}: {machine} ({versions})"


def decoded(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of the table of language models."""
    yield (
        "| language | training speech | test split | sentences | from words | weight, bonus | beam "
        "| CER % (95 %) | WER % (95 %) | before |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row, one in rows:
        lm = one["lm"]
        share = f"{100 * lm['words_share']:.0f} %" if "words_share" in lm else "–"
        more = f", {LONGER[row.minutes]['epochs']} passes" if row.kind == "longer" else ""
        yield (
            f"| {SETS[row.target_lang][1]} | {one['train_s'] / 60:.0f} min{more} | by {one['split_mode']} | "
            f"{lm['sentences']:,} | {share} | "
            f"{lm['lm_weight']:g}, {lm['bonus']:g} | {lm.get('beam_width', 16)} | "
            f"{rate(lm, 'cer')} | {rate(lm, 'wer')} | "
            f"CER {100 * one['cer']:.1f}, WER {100 * one['wer']:.1f} |"
        )


def signed(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield names and signatures of all scores."""
    for _, one in rows:
        yield one
        if "lm" in one:
            yield {"name": f"{one['name']}, language model", "signature": one["lm"]["signature"]}


def rate(one: dict[str, Any], name: str) -> str:
    """Return a rate in percent with its interval."""
    low, high = one[f"{name}_interval"]
    return f"**{100 * one[name]:.1f}** ({100 * low:.1f} to {100 * high:.1f})"


def dev(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of the table of dev sets."""
    yield "| language | training speech | CER % on dev | CER % on test |"
    yield "|---|---|---|---|"
    for row, one in rows:
        if row.kind == "adapter":
            yield (
                f"| {SETS[row.target_lang][1]} | {one['train_s'] / 60:.0f} min | "
                f"{100 * one['dev_cer']:.1f} | {100 * one['cer']:.1f} |"
            )


def splits(rows: list[tuple[Row, dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of the table of splits."""
    yield "| rows | test speech | utterances | words | speakers: train, dev, test | marks |"
    yield "|---|---|---|---|---|---|"
    seen = set()
    for row, one in rows:
        key = (row.target_lang, one["split_mode"])
        if key not in seen:
            seen.add(key)
            speakers = ", ".join(str(one["speakers"][part]) for part in ("train", "dev", "test"))
            marks = ", ".join(one["marks"]) or "none"
            yield (
                f"| {SETS[row.target_lang][1]}, by {one['split_mode']} | {one['test_s'] / 60:.1f} min | "
                f"{one['utterances']} | {one['words']} | {speakers} | {marks} |"
            )


_PAGE = """# Results

Five languages that the backbone in the package has never heard, with that backbone and the defaults of
`mms-adapt prepare`, `train` and `evaluate`. `python benchmarks/results.py run` made every row, and
`python benchmarks/results.py render` this page.

{main}

WER is high where CER is not: one wrong letter or tone mark makes a word wrong. The adapter's size is MMS's
own, 16 channels a layer. Greedy decoding, no language model.

Seconds of training are those of `mms-adapt train`, start-up and caching included: those that one core worked,
or those of the clock, "on CPU" while other work kept the rest of the machine busy:

{machines}

Trained on a GPU before, the rows of Twi, Wolof, Cherokee and an hour of Mboshi, by speaker and by sentence,
gave CERs of 51.0, 35.2, 32.1, 45.0 and 35.6 %, random weights 98.6 and full fine-tuning 50.9 %: by so much
does another machine's rounding move a training. Twi, trained on a CPU again, gave 51.3 %, 45.9 % with a
language model and a beam of 16: ten evaluations in vain on its 20 dev utterances ended it at two thirds, and
made us let trainings go on for longer.

## With a language model of the training transcripts

{decoded}

`mms-adapt tune`: a model of six graphemes and one of three words from the transcripts of the training speech
alone, how much they count found on the dev set, and beam search. No other text was used. "From words" is the
share of words that come from the model of words; "beam" how many texts the search keeps after each frame.
Rows with a dash are of an earlier `tune`, which had none and moved weight and bonus apart on three minutes of
the dev set, where now they move together on six. CER and WER were 30.2 and 72.1 % then with an hour of Mboshi
by sentence, 23.7 and 59.5 % with all of it, and 38.8 and 79.3 % with an hour by speaker, where words became
no better. Characters count, and words a tenth; where most characters are wrong, words can get worse.

Rows with a beam of 16 are of when that was the default, but for an hour by sentence, trained again to the
same digits, where `tune` found 64 no better. On eight minutes of Mboshi's dev set, by sentence, 21 passes
over 182 minutes, CER and WER were 20.1 and 48.6 % with 16, 19.4 and 47.0 % with 32, 18.8 and 46.7 %
with 64, in 15, 28 and 61 s, other work beside it; on the whole test set 22.2 and 52.6 % with 16, 21.3 and
50.6 with 64. With an hour and 40 passes these are 28.0 and 65.1, 27.4 and 63.9.

## Beside it

{others}

"Random weights" is the same architecture without any pre-training: it shows what the pre-training is worth.
More passes are `--epochs 40` for an hour and `--epochs 21 --set mask_time_share=0.08` for all of it, each the
best on dev of [those that were tried](training.md#how-many-passes), on a GPU beside seven others. For a
person who was never heard they were no help.

## How the test sets were made

No sentence and no sound of the test set was in training or in the dev set, by which the best step was chosen.
"By speaker" means that the test speakers were not heard in training either; `mms-adapt prepare` chooses that
where a corpus has the speakers for it. For Mboshi it leaves one speaker, of ten minutes, for the test; on the
dev set, whose speakers were heard in training, error rates are lower:

{dev}

The Cherokee ids may be fewer people than ids.

{splits}

[How the marks are to be read](getting_started.md#3-prepare) stands in getting started.

## The corpora

None of them is part of this repository: Mboshi (besacier/mboshi-french-parallel-corpus, Godard et al. 2018,
its training part), Wolof (ALFFA, Gauthier and Besacier, a subset), Cherokee
(CherokeeLanguage/cherokee-audio-data, CC BY-NC 4.0), Twi (Common Voice, CC0), Berom
(mandeebot/Berom_Speech_Dataset).

## Signatures

```
{signatures}
```
"""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="do the rows that are not there yet")
    one.add_argument("--corpora", type=Path, required=True)
    one.add_argument("--work", type=Path, default=Path(".cache/results"))
    one.add_argument("--only", nargs="*", default=[], metavar="ROW", help="; ".join(row.name for row in PLAN))
    two = commands.add_parser("decode", help="add what a language model brings")
    two.add_argument("--work", type=Path, default=Path(".cache/results"))
    two.add_argument("--only", nargs="*", default=[], metavar="ROW", help="rows to do, again where need be")
    commands.add_parser("render", help="write docs/results.md")
    options = parser.parse_args()
    if options.command == "run":
        run(options.corpora, options.work, options.only)
    elif options.command == "decode":
        decode(options.work, options.only)
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
