"""Measure kinds of adapters, starts, merges, strengths and moves, for docs/adapter_kinds.md.

    python benchmarks/kinds.py list
    python benchmarks/kinds.py run ROW... --work .cache/kinds --device cuda --out rows.jsonl
    python benchmarks/kinds.py render --page docs/adapter_kinds.md --pictures docs

A row is one line of the file, made by one process or by several of `run`, and is not made again where it is
there. A row that works on adapters of others trains those that are not in the work folder yet, so that every
row can be made alone; two processes that need the same one wait for each other. Nothing is tuned on a test
set: starts are chosen on training speech, weights and strengths on the dev set. The sibling is the backbone
after it was trained as a whole on Wolof, where `--sibling` names no other.

In: corpora in the layout of `utterances.jsonl`. Out: lines. It does not know how anything is trained, or
what a table looks like.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import kinds_tables
import pages
from results import SETS, machine

KINDS: dict[str, dict[str, Any]] = {
    "attention": {},
    "attention-32": {"adapter_options": {"size": 32}},
    "bottleneck-parallel": {"adapter": "bottleneck", "adapter_options": {"mode": "parallel"}},
    "bottleneck-sequential": {"adapter": "bottleneck", "adapter_options": {"mode": "sequential"}},
    "lora": {"adapter": "lora"},
    "lora-qv": {"adapter": "lora", "adapter_options": {"targets": ("q_proj", "v_proj")}},
    "head_only": {"adapter": "head_only"},
    "full": {"full_finetune": True},
}
STARTS = ("zero", "random", "nearest", "auto")
MINUTES = (2.0, 5.0, 10.0, 30.0, 60.0)
MOST = {
    "mdw": 60.0,
    "wol": 30.0,
    "chr": 30.0,
    "aka": 10.0,
    "bom": 10.0,
}  # minutes of training speech there are
MERGED = {"mdw": ("abiayi", "kouarata")}  # speakers of one corpus, an adapter each
METHODS = ("concatenate", "average")
WIDTHS = (8, 16, 24)  # channels that are left of two adapters' 32
SLIDE = (0.0, 2.0, 9)  # strengths: from, to, how many
LATER = "wol"  # the language on which the sibling is trained further, as a whole
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


@dataclass(frozen=True, slots=True)
class Work:
    """Where rows are made.

    Attributes:
        corpora: The folder that holds those of `SETS`.
        folder: Where prepared data and adapters go.
        device: Where it is computed.
        options: Further options of every training; the rows of the tables have none.
        backbone: The backbone.
        sibling: The same backbone after further training, or before it; `LATER` where it is empty.
        at_once: How many processes shared the card, for the record.
    """

    corpora: Path
    folder: Path
    device: str = "auto"
    options: tuple[tuple[str, Any], ...] = ()
    backbone: str = "embedded"
    sibling: str = ""
    at_once: int = 1


def rows() -> dict[str, Callable[[Work], dict[str, Any]]]:
    """Return every row by name, with what makes it."""
    found: dict[str, Callable[[Work], dict[str, Any]]] = {}
    for code in SETS:
        for kind in KINDS:
            found[f"kind/{code}/{kind}"] = lambda work, code=code, kind=kind: kind_row(work, code, kind)
        for start in STARTS:
            for minutes in MINUTES:
                if minutes <= MOST[code]:
                    found[f"start/{code}/{start}/{minutes:g}"] = (
                        lambda work, code=code, start=start, minutes=minutes: start_row(
                            work, code, start, minutes
                        )
                    )
        found[f"slide/{code}"] = lambda work, code=code: strength_row(work, code)
        found[f"sibling/{code}"] = lambda work, code=code: sibling_row(work, code)
    for code, speakers in MERGED.items():
        for name in (*speakers, "joint", *METHODS):
            found[f"merge/{code}/{name}"] = lambda work, code=code, name=name: merge_row(work, code, name)
        found[f"share/{code}"] = lambda work, code=code: share_row(work, code)
        for speaker in speakers:
            found[f"stack/{code}/{speaker}"] = lambda work, code=code, one=speaker: stack_row(work, code, one)
        for width in WIDTHS:
            for how in ("numbers", "speech"):
                found[f"reduce/{code}/{how}/{width}"] = lambda work, code=code, how=how, width=width: (
                    reduce_row(work, code, how, width)
                )
    return found


def prepared(work: Work, code: str, minutes: float | None = None, split: str = "auto") -> Any:
    """Return prepared data; less training speech leaves dev and test as they are."""
    import mms_adapt
    from mms_adapt.prepared import with_less_training
    from mms_adapt.splits import SplitOptions

    folder = work.folder / "prepared" / f"{code}-{split}"
    with alone(folder):
        if not (folder / "prepared.json").exists():
            source = work.corpora / SETS[code][0]
            mms_adapt.prepare(source, folder, target_lang=code, split=SplitOptions(mode=split))
        data = mms_adapt.Prepared.load(folder)
        if minutes is not None:
            data = with_less_training(data, minutes, folder.with_name(f"{code}-{split}-{minutes:g}"))
    return data


def trained(work: Work, name: str, data: Any, **options: Any) -> tuple[Path, float]:
    """Return an adapter's folder and the seconds of its training, which is done where it was not yet."""
    import mms_adapt

    folder = work.folder / "adapters" / name
    with alone(folder):
        given = {"backbone": work.backbone, "device": work.device, **dict(work.options), **options}
        mms_adapt.train(data, folder, mms_adapt.TrainConfig(**given))
    record = json.loads((folder / "passport.json").read_text(encoding="utf-8"))
    return folder, float(record["metrics"]["seconds_s"])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measured(work: Work, adapter: Path, data: Any, **options: Any) -> dict[str, Any]:
    """Return what an adapter makes of the test set."""
    import mms_adapt
    from mms_adapt.evaluate import EvaluateOptions

    allow, speaker = options.pop("allow_sibling", False), options.pop("speaker", None)
    score = mms_adapt.evaluate(
        adapter,
        data,
        decoder="greedy",
        device=work.device,
        options=EvaluateOptions(allow_sibling=allow),
        **options,
    )
    found: dict[str, Any] = {"cer": score.cer, "wer": score.wer}
    for name in ("cer", "wer"):
        one = getattr(score, f"{name}_interval")
        found[f"{name}_interval"] = [one.low, one.high] if one else None
    if speaker is not None:
        held = [one.characters for one in score.per_speaker if one.speaker == speaker]
        found["speaker_cer"] = held[0].errors / held[0].length if held and held[0].length else None
    return {
        **found,
        "utterances": score.utterances,
        "words": score.words,
        "marks": list(score.marks),
        "signature": score.signature,
    }


def kind_row(work: Work, code: str, kind: str) -> dict[str, Any]:
    """Train a kind with all that it has by default, and test it."""
    data = prepared(work, code, usual_minutes(code))
    folder, seconds_s = trained(work, f"{code}/{kind}", data, **KINDS[kind])
    return {**told(folder, data), "seconds": seconds_s, **measured(work, folder, data)}


def usual_minutes(code: str) -> float | None:
    """Return the training speech of the tables of kinds: an hour where there is more."""
    return 60.0 if MOST[code] >= 60 else None


def start_row(work: Work, code: str, start: str, minutes: float) -> dict[str, Any]:
    """Train some minutes of speech from a start, and test it."""
    registry = relatives(work, code) if start in ("nearest", "auto") else None
    options: dict[str, Any] = {"start": start, "seed": 0}
    if registry is not None:
        options["relatives"] = str(registry)
    data = prepared(work, code, minutes)
    if start == "nearest":
        options["start"] = f"language:{nearest(work, data, registry)}"
    folder, seconds_s = trained(work, f"{code}/{start}-{minutes:g}", data, **options)
    passport = json.loads((folder / "passport.json").read_text(encoding="utf-8"))
    return {
        **told(folder, data),
        "minutes": minutes,
        "start": passport["start"],
        "seconds": seconds_s,
        **measured(work, folder, data),
    }


def nearest(work: Work, data: Any, registry: Path | None) -> str:
    """Return the language that has most characters in common, nothing heard."""
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.registry import names

    own = set(data.vocab.tokens)
    shared = {}
    for name in names(registry or work.folder):
        tokens = set(AdapterFolder.load((registry or work.folder) / name).vocab.tokens)
        shared[name] = len(own & tokens) / len(own | tokens)
    return max(sorted(shared), key=lambda name: shared[name])


def relatives(work: Work, code: str) -> Path:
    """Return a registry of the other languages' adapters, trained where they were not yet."""
    registry = work.folder / "relatives" / f"for-{code}"
    for other in SETS:
        if other == code:
            continue
        folder, _ = trained(work, f"{other}/attention", prepared(work, other, usual_minutes(other)))
        registry.mkdir(parents=True, exist_ok=True)
        link = registry / other
        with alone(link):
            if not link.exists():
                shutil.copytree(folder, link, ignore=shutil.ignore_patterns(".*"))
    return registry


def of_speakers(work: Work, code: str) -> tuple[Any, dict[str, Any]]:
    """Return prepared data, and the same with the training speech of one speaker alone."""
    from mms_adapt.prepared import with_training

    data, parts = prepared(work, code, split="sentence"), {}
    for speaker in MERGED[code]:
        train = [one for one in data.utterances("train") if one.speaker == speaker]
        place = data.folder.with_name(f"{code}-of-{speaker}")
        with alone(place):
            parts[speaker] = with_training(data, train, place)
    return data, parts


def of_both(work: Work, code: str) -> tuple[Any, Path, float]:
    """Return the speech of all of these speakers, an adapter of it, and the seconds of its training."""
    from mms_adapt.prepared import with_training

    data = prepared(work, code, split="sentence")
    train = [one for one in data.utterances("train") if one.speaker in MERGED[code]]
    place = data.folder.with_name(f"{code}-of-both")
    with alone(place):
        both = with_training(data, train, place)
    return both, *trained(work, f"{code}/of-both", both)


def merge_row(work: Work, code: str, name: str) -> dict[str, Any]:
    """Test one speaker's adapter, one of all speakers' speech, or a merge of the speakers' own."""
    data, parts = of_speakers(work, code)
    if name in parts:
        folder, seconds_s = trained(work, f"{code}/of-{name}", parts[name])
        return {**told(folder, parts[name]), "seconds": seconds_s, **measured(work, folder, data)}
    if name == "joint":
        both, folder, seconds_s = of_both(work, code)
        return {**told(folder, both), "seconds": seconds_s, **measured(work, folder, data)}
    adapters = [trained(work, f"{code}/of-{one}", part)[0] for one, part in parts.items()]
    return merged(work, data, adapters, name)


def merged(work: Work, data: Any, adapters: list[Path], method: str) -> dict[str, Any]:
    """Merge two adapters at the share that is best on dev, and test that one."""
    from mms_adapt import backbone
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.composition.merging import merge
    from mms_adapt.trial import Trial

    base = backbone.load(work.backbone, device=work.device)
    trial = Trial(data, base)
    began_s = time.monotonic()
    held = [AdapterFolder.load(one) for one in adapters]
    points = []
    for share in SHARES:
        found = trial.measure(merge(held, [1 - share, share], method=method))
        points.append({"at": share, "dev_cer": found.cer, "dev_loss": found.loss})
    best = min(points, key=lambda one: (one["dev_cer"], one["dev_loss"]))["at"]
    out = work.folder / "merged" / f"{data.folder.name}-{method}"
    with alone(out):
        made = merge(held, [1 - best, best], method=method).save(out)
    return {
        **told(out, data),
        "parents": dict(made.passport.parents),
        "points": points,
        "best": best,
        "seconds": round(time.monotonic() - began_s, 1),
        **measured(work, out, data),
    }


def strength_row(work: Work, code: str) -> dict[str, Any]:
    """Measure an adapter at several strengths on dev, and test the best one beside the plain one."""
    data = prepared(work, code, usual_minutes(code))
    folder, _ = trained(work, f"{code}/attention", data)
    first, last, steps = SLIDE
    row = slid(work, f"{code}-strength", data, folder, first=first, last=last, steps=steps)
    return {**row, "plain": measured(work, folder, data)}


def share_row(work: Work, code: str) -> dict[str, Any]:
    """Slide from one speaker's adapter to another's on dev, and test the best share beside either end."""
    data, parts = of_speakers(work, code)
    first, second = (trained(work, f"{code}/of-{one}", part)[0] for one, part in parts.items())
    row = slid(work, f"{code}-share", data, first, other=second, steps=len(SHARES))
    ends = {"first": measured(work, first, data), "plain": measured(work, second, data)}
    return {**row, **ends}


def slid(work: Work, name: str, data: Any, adapter: Path, **options: Any) -> dict[str, Any]:
    """Return what a slider gave, and what its best place does on the test set."""
    import mms_adapt

    out = work.folder / "merged" / name
    with alone(out):
        shutil.rmtree(out, ignore_errors=True)
        found = mms_adapt.slide(
            adapter, data, install=out, device=work.device, backbone=work.backbone, **options
        )
    points = [{"at": one.at, "dev_cer": one.cer, "dev_loss": one.loss} for one in found.points]
    record = {**json.loads(found.to_json()), "installed": None}
    rates = measured(work, out, data)
    return {**told(out, data), "points": points, "best": found.best, "slide": record, **rates}


def reduce_row(work: Work, code: str, how: str, width: int) -> dict[str, Any]:
    """Add two speakers' adapters up, keep some channels by their numbers or by training speech, and test."""
    from mms_adapt import backbone
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.composition.calibration import Speech
    from mms_adapt.composition.merging import merge

    data, parts = of_speakers(work, code)
    held = [AdapterFolder.load(trained(work, f"{code}/of-{one}", part)[0]) for one, part in parts.items()]
    speech = Speech(data, backbone.load(work.backbone, device=work.device))
    calibration = speech if how == "speech" else None
    began_s = time.monotonic()
    out = work.folder / "merged" / f"{code}-reduce-{how}-{width}"
    made = merge(held, method="reduce", rank=width, calibration=calibration)
    seconds_s = round(time.monotonic() - began_s, 1)
    with alone(out):
        made.save(out)
    whole = work.folder / "merged" / f"{code}-whole"
    with alone(whole):
        merge(held).save(whole)
    kept = {name: made.passport.merge.get(name) for name in ("error", "error_elsewhere", "error_by_place")}
    return {
        **told(out, data),
        "seconds": seconds_s,
        "reduction": kept,
        "whole": measured(work, whole, data),
        **measured(work, out, data),
    }


def stack_row(work: Work, code: str, speaker: str) -> dict[str, Any]:
    """Train a speaker's adapter on the frozen one of all, and test both on that speaker's test speech."""
    data, parts = of_speakers(work, code)
    _, lower, _ = of_both(work, code)
    folder, seconds_s = trained(work, f"{code}/{speaker}-on-both", parts[speaker], on=str(lower))
    own = measured(work, lower, data, speaker=speaker)
    row = {**told(folder, parts[speaker]), "seconds": seconds_s, "lower": own}
    return {**row, **measured(work, folder, data, speaker=speaker)}


def later(work: Work) -> str:
    """Return the backbone after it was trained further as a whole, with a record of where it comes from."""
    from mms_adapt import backbone

    data = prepared(work, LATER, usual_minutes(LATER))
    folder, _ = trained(work, f"{LATER}/full", data, **KINDS["full"])
    record = folder.parent / "later" / "pretraining.json"
    with alone(record.parent):
        if not record.exists():
            shutil.copytree(folder / "backbone", record.parent, dirs_exist_ok=True)
            earlier = backbone.load(work.backbone, device="cpu").fingerprint
            record.write_text(json.dumps({"trainings": [{"fingerprint": earlier}]}), encoding="utf-8")
    return str(record.parent)


def sibling_row(work: Work, code: str) -> dict[str, Any]:
    """Test an adapter on its own backbone and on a sibling; it is not trained again."""
    data = prepared(work, code, usual_minutes(code))
    folder, _ = trained(work, f"{code}/attention", data)
    own = measured(work, folder, data)
    moved = measured(work, folder, data, backbone=work.sibling or later(work), allow_sibling=True)
    return {**told(folder, data), "own": own, **moved}


def told(folder: Path, data: Any) -> dict[str, Any]:
    """Return what a row tells of adapter and data."""
    import math

    from safetensors import safe_open

    passport = json.loads((folder / "passport.json").read_text(encoding="utf-8"))
    path = folder / f"adapter.{passport['target_lang']}.safetensors"
    frozen: tuple[str, ...] = ()
    if (folder / "backbone" / "model.safetensors").exists():
        path = folder / "backbone" / "model.safetensors"
        frozen = ("wav2vec2.feature_extractor.", "wav2vec2.masked_spec_embed")
    with safe_open(path, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return {
        "kind": passport["kind"],
        "trained": sum(
            math.prod(one) for name, one in shapes.items() if not name.startswith(frozen or ("-",))
        ),
        "train_s": round(sum(one.duration_s for one in data.utterances("train")), 1),
        "test_s": round(sum(one.duration_s for one in data.utterances("test")), 1),
        "split_mode": data.counts["split_mode"],
        "dev_cer": passport["metrics"].get("best_dev_cer"),
        "versions": passport["versions"],
        "machine": machine(),
    }


def run(names: list[str], work: Work, out: Path) -> None:
    """Make rows that are not in the file yet, and add each to it when it is done."""
    every = rows()
    if unknown := [name for name in names if name not in every]:
        raise SystemExit(f"{', '.join(unknown)}: there is no such row; see python benchmarks/kinds.py list")
    for name in names:
        if name in {one["name"] for one in read(out)}:
            continue
        print(f"== {name}", flush=True)
        made = {"name": name, "at_once": work.at_once, **every[name](work)}
        line = json.dumps(made, ensure_ascii=False, sort_keys=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    does = parser.add_subparsers(dest="does", required=True)
    does.add_parser("list", help="names of all rows")
    doing = does.add_parser("run", help="make rows")
    doing.add_argument("rows", nargs="+")
    doing.add_argument("--corpora", type=Path, default=Path(__file__).parents[2] / "shared" / "corpora")
    doing.add_argument("--work", type=Path, default=Path(".cache/kinds"))
    doing.add_argument("--out", type=Path, default=Path(__file__).with_name("kinds.jsonl"))
    doing.add_argument("--device", default="auto")
    doing.add_argument("--backbone", default="embedded")
    doing.add_argument("--sibling", default="", help="the backbone after further training, or before it")
    doing.add_argument("--at-once", type=int, default=1, help="processes that share the card, for the record")
    doing.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="option of every training"
    )
    shown = does.add_parser("render", help="print the tables")
    shown.add_argument("file", type=Path, nargs="?", default=Path(__file__).with_name("kinds.jsonl"))
    shown.add_argument("--page", type=Path, help="page to put the tables into, instead of printing them")
    shown.add_argument("--pictures", type=Path, help="folder to draw the sliders into")
    given = parser.parse_args()
    if given.does == "list":
        print("\n".join(rows()))
    elif given.does == "render":
        found = read(given.file)
        tables = kinds_tables.tables(found, list(rows()))
        if given.page:
            text = given.page.read_text(encoding="utf-8")
            given.page.write_text(pages.filled(text, tables), encoding="utf-8")
        else:
            print("\n".join(f"## {title}\n\n{lines}\n" for title, lines in tables.items()))
        for path in kinds_tables.draw(found, given.pictures) if given.pictures else ():
            print(path)
    else:
        pairs = (one.partition("=") for one in given.set)
        options = tuple((key, json.loads(value)) for key, _, value in pairs)
        where = given.corpora, given.work, given.device
        work = Work(*where, options, given.backbone, given.sibling, given.at_once)
        run(given.rows, work, given.out)


if __name__ == "__main__":
    main()
