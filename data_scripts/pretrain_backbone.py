"""Pre-train the small backbone that ships inside the package.

    python data_scripts/pretrain_backbone.py pack --corpora corpora --out packed
    python data_scripts/pretrain_backbone.py train packed --checkpoint out/backbone.pt --minutes 14
    python data_scripts/pretrain_backbone.py probe --checkpoint out/backbone.pt --targets corpora/mdw-mboshi
    python data_scripts/pretrain_backbone.py export --checkpoint out/backbone.pt --out mms_adapt/embedded

`pack` needs no GPU; `train` wants one, decodes and synthesises what it needs first, and goes on from its
checkpoint when it was interrupted. `export` writes a folder that stock transformers opens.

It does not know: mms_adapt.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pretraining import export, sound
from pretraining.loop import Options, Training
from pretraining.model import Pretraining, configuration


def _options(arguments: argparse.Namespace) -> Options:
    """Return the options, with those that were given as `--set name=value` changed."""
    options = Options(minutes=arguments.minutes)
    for pair in arguments.set:
        name, _, text = pair.partition("=")
        value: Any = json.loads(text)
        if name.startswith("weights."):
            options = replace(
                options, weights=replace(options.weights, **{name.removeprefix("weights."): value})
            )
        elif name.startswith("strength."):
            changed = replace(options.strength, **{name.removeprefix("strength."): value})
            options = replace(options, strength=changed)
        else:
            options = replace(options, **{name: value})
    return options


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(arguments: argparse.Namespace) -> int:
    """Train until the time is up or this call's share of it is."""
    began = time.monotonic()
    made = sound.load(arguments.folder, synthetic_count=arguments.synthetic, workers=os.cpu_count() or 1)
    hours = sum(one.length for one in made.examples) / 57.6e6
    print(
        f"{len(made.examples)} examples, {hours:.2f} h, {len(made.characters)} characters, "
        f"{len(made.phones)} phones; loaded in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    training = Training(made, _options(arguments), _device())
    if arguments.start is not None:
        training.begin_from(arguments.start)
    print(json.dumps(asdict(training.options)), flush=True)
    finished = training.run(
        arguments.checkpoint, stop_after_s=60 * arguments.stop_after, score_s=60 * arguments.score_every
    )
    print(training.scores())
    scores = [asdict(one) | {"cer": one.cer, "per": one.per} for one in training.found]
    record = {
        "scores": scores,
        "state": asdict(training.state),
        "options": asdict(training.options),
        "before": training.before,
    }
    arguments.checkpoint.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print("finished" if finished else "not finished: run the same command again to go on")
    return 0


def load_model(checkpoint: Path) -> tuple[Pretraining, dict[str, Any]]:
    """Return the model of a checkpoint and the checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = configuration(len(saved["characters"]), **saved["options"]["changes"])
    model = Pretraining(config, len(saved["phones"]), middle=saved["options"]["middle"])
    model.load_state_dict(saved["model"])
    return model, saved


def probe(arguments: argparse.Namespace) -> int:
    """Adapt to other languages for a moment and print the error rates."""
    from pretraining.probe import ProbeOptions, read_target
    from pretraining.probe import probe as run

    device = _device()
    model, saved = load_model(arguments.checkpoint)
    model.to(device)
    for folder, minutes in itertools.product(arguments.targets, arguments.minutes):
        target = read_target(folder, device)
        began = time.monotonic()
        options = ProbeOptions(
            steps=arguments.steps,
            learning_rate=arguments.learning_rate,
            hidden_share=arguments.hidden,
            dropout=arguments.dropout,
            full=arguments.full,
        )
        cer = run(model, tuple(saved["characters"]), target, minutes, options)
        took = time.monotonic() - began
        print(f"{target.name} {minutes:g} min: CER {100 * cer:.1f} % in {took:.0f} s", flush=True)
    return 0


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="gather recordings and labels")
    one.add_argument("--corpora", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one = commands.add_parser("train", help="train, or go on training")
    one.add_argument("folder", type=Path, help="what pack wrote")
    one.add_argument("--checkpoint", type=Path, required=True)
    one.add_argument(
        "--start", type=Path, help="finished checkpoint, or exported folder, whose weights are the start"
    )
    one.add_argument("--minutes", type=float, default=14.0, help="of the whole training")
    one.add_argument("--stop-after", type=float, default=1e9, metavar="MINUTES", help="of this call")
    one.add_argument("--score-every", type=float, default=1e9, metavar="MINUTES", help="on what is held out")
    one.add_argument("--synthetic", type=int, default=28000, help="synthetic sentences")
    one.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another option's value"
    )
    one = commands.add_parser("probe", help="adapt to other languages for a moment, to compare backbones")
    one.add_argument("--checkpoint", type=Path, required=True)
    one.add_argument("--targets", type=Path, nargs="+", required=True)
    one.add_argument("--minutes", type=float, nargs="+", default=[10.0, 60.0])
    one.add_argument("--steps", type=int, default=800)
    one.add_argument("--learning-rate", type=float, default=2e-3)
    one.add_argument("--hidden", type=float, default=0.1)
    one.add_argument("--dropout", type=float, default=0.0)
    one.add_argument("--full", action="store_true")
    one = commands.add_parser("export", help="write the folder that the package ships")
    one.add_argument("--checkpoint", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        from pretraining.pack import pack

        pack(arguments.corpora, arguments.out)
        return 0
    if arguments.command == "train":
        return train(arguments)
    if arguments.command == "probe":
        return probe(arguments)
    model, saved = load_model(arguments.checkpoint)
    record = json.loads(arguments.checkpoint.with_suffix(".json").read_text(encoding="utf-8"))
    export.export(model, saved, record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
