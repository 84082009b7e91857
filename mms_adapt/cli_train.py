"""Commands and options that belong to training.

In: the words of a command. Out: the options of a training; or what training several languages reached, in
words. It does not know how anything is done.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mms_adapt import cli_options, terminal
from mms_adapt.cli_options import (
    Backbone,
    Checkpointing,
    Device,
    Layers,
    Lean,
    Quiet,
    Restart,
    Settings,
    given,
)

if TYPE_CHECKING:
    from mms_adapt.recipe import TrainConfig


def config(
    options: Mapping[str, Any], *, layers: str | None, settings: list[str] | None, **flags: Any
) -> "TrainConfig":
    """Return the options of a training.

    Args:
        options: Those that have a word of their own.
        layers: `--layers`.
        settings: `--set`.
        flags: Further options.

    Raises:
        OptionError: If one makes no sense.
    """
    from mms_adapt.recipe import TrainConfig

    others = cli_options.settings(settings, TrainConfig.__dataclass_fields__)
    return TrainConfig(**{**options, **flags, **cli_options.layers(layers), **others})


def train_many(
    prepared: Annotated[list[Path], typer.Argument(help="Folders that prepare wrote, a language each.")],
    out: Annotated[Path, typer.Option(help="Folder for an adapter folder a language.")],
    backbone: Backbone = None,
    device: Device = "auto",
    epochs: Annotated[int | None, typer.Option(help="At most so many passes; else to suit the data.")] = None,
    steps: Annotated[int | None, typer.Option(help="At most so many steps of each.")] = None,
    batch_seconds: Annotated[float | None, typer.Option(help="Speech of each language in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    layers: Layers = None,
    seed: Annotated[int | None, typer.Option(help="Another number, another course.")] = None,
    checkpointing: Checkpointing = False,
    lean: Lean = False,
    settings: Settings = None,
    restart: Restart = False,
    quiet: Quiet = False,
) -> None:
    """Train adapters for many languages in one pass, each as if it were alone.

    Example: mms-adapt train-many prepared/* --out adapters
    """
    from mms_adapt.many import train_many as run

    options = given(
        backbone=backbone,
        epochs=epochs,
        steps=steps,
        batch_seconds=batch_seconds,
        learning_rate=learning_rate,
        seed=seed,
    )
    chosen = config(
        options, layers=layers, settings=settings, device=device, checkpointing=checkpointing, lean=lean
    )
    with terminal.progress(quiet=quiet) as progress:
        results = run(prepared, out, chosen, progress=progress, resume=not restart)
    for result, folder in zip(results, prepared, strict=True):
        terminal.show_trained(result, folder)
