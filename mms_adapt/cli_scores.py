"""The commands about error rates: evaluate, compare, learning-curve.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
anything is measured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mms_adapt import terminal
from mms_adapt.cli_options import (
    AdaptersBackbone,
    AllowSibling,
    Backbone,
    Decoder,
    DecoderOptions,
    Device,
    Quantise,
    Quiet,
    decoder_pairs,
    given,
)

Report = Annotated[
    list[Path] | None,
    typer.Option(help="Write a report here; .html, .md, .json or .txt tells the format. Repeatable."),
]


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder.")],
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    json: Annotated[Path | None, typer.Option(help="Write the score here.")] = None,
    report: Report = None,
    decoder: Decoder = "auto",
    decoder_option: DecoderOptions = None,
    quantise: Quantise = "none",
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    allow_sibling: AllowSibling = False,
    note: Annotated[
        bool, typer.Option("--note", help="Write the score into the adapter's passport, to be verified.")
    ] = False,
    sound: Annotated[
        bool, typer.Option("--sound", help="Put players and spectrograms into an HTML report.")
    ] = False,
    sound_mb: Annotated[float, typer.Option(help="At most so much, the worst utterances first.")] = 24.0,
    show: Annotated[int, typer.Option(help="Print so many transcripts beside their references.")] = 3,
    quiet: Quiet = False,
) -> None:
    """Measure word and character error rate on speech that the adapter has not seen.

    Example: mms-adapt evaluate adapters/mdw prepared/mdw --split test --json score.json --report report.html
    """
    from mms_adapt.evaluate import EvaluateOptions
    from mms_adapt.evaluate import evaluate as run

    with terminal.progress(quiet=quiet) as progress:
        score = run(
            adapter,
            prepared,
            split=split,
            json=json,
            report=report,
            decoder=decoder,
            decoder_options=decoder_pairs(decoder_option),
            device=device,
            backbone=backbone,
            options=EvaluateOptions(
                embed_audio=sound,
                embed_audio_mb=sound_mb,
                allow_sibling=allow_sibling,
                note=note,
                quantise=quantise,
            ),
            progress=progress,
        )
    terminal.show_score(score, split=split, examples=show)
    if note:
        typer.echo(f"noted: {adapter / 'passport.json'}")
    _written(json, report)


def compare(
    first: Annotated[Path, typer.Argument(help="A score that evaluate --json wrote.")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same test set.")],
    json: Annotated[Path | None, typer.Option(help="Write the comparison here.")] = None,
    report: Report = None,
    resamples: Annotated[int, typer.Option(help="Draws for intervals and p values.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Start of their random numbers.")] = 0,
    show: Annotated[int, typer.Option(help="Print so many utterances that differ most.")] = 3,
) -> None:
    """Tell whether one adapter is better than another, or whether the test set is too small to say.

    Example: mms-adapt compare old/score.json new/score.json --report difference.html
    """
    from mms_adapt.compare import compare as run

    found = run(first, second, json=json, report=report, resamples=resamples, seed=seed)
    terminal.show_comparison(found, examples=show)
    _written(json, report)


def _written(json: Path | None, report: Sequence[Path] | None) -> None:
    for path in (*([json] if json else []), *(report or ())):
        typer.echo(f"written: {path}")


def learning_curve(
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the trainings, curve.json and curve.svg.")],
    minutes: Annotated[
        list[float] | None,
        typer.Option(help="Training speech of a point; may be repeated. Else 1/8, 1/4, 1/2 and all of it."),
    ] = None,
    more_minutes: Annotated[
        list[float] | None, typer.Option(help="So much more speech to foretell for; may be repeated.")
    ] = None,
    backbone: Backbone = None,
    device: Device = "auto",
    max_minutes: Annotated[float | None, typer.Option(help="At most so long for each training.")] = None,
    quiet: Quiet = False,
) -> None:
    """Tell what more training speech would bring: train on growing shares of it and draw the curve on.

    Example: mms-adapt learning-curve prepared/mdw --out curves/mdw --more-minutes 30 --more-minutes 60
    """
    from mms_adapt import files
    from mms_adapt.learning_curve import learning_curve as run
    from mms_adapt.learning_curve import render
    from mms_adapt.training import TrainConfig

    config = TrainConfig(device=device, **given(backbone=backbone, max_minutes=max_minutes))
    with terminal.progress(quiet=quiet) as progress:
        found = run(
            prepared,
            out,
            minutes=minutes or None,
            more_minutes=more_minutes or (30.0,),
            config=config,
            progress=progress,
        )
    files.write(out / "curve.svg", render(found))
    terminal.show_curve(found, out / "curve.svg")
