"""The commands that put adapters together: stack, slide.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
anything is computed.
"""

from pathlib import Path
from typing import Annotated

import typer

from mms_adapt import terminal, terminal_slide
from mms_adapt.cli_options import AdaptersBackbone, AllowSibling, Device, Quiet
from mms_adapt.errors import OptionError


def stack(
    first: Annotated[Path, typer.Argument(help="The adapter that is applied first.")],
    second: Annotated[Path, typer.Argument(help="The adapter that hears what the first one makes.")],
    out: Annotated[Path, typer.Option(help="Adapter folder to write; a new one.")],
    head: Annotated[str, typer.Option(help="Whose head and tokens write: first or last.")] = "first",
    plain: Annotated[
        bool, typer.Option("--plain", help="As one adapter of their kind, where that gives the same.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="The licence that holds, where the two do not tell.")
    ] = None,
) -> None:
    """Put one adapter on another, such as a channel's on a language's, as one adapter folder.

    Example: mms-adapt stack adapters/mdw adapters/telephone --out adapters/mdw-telephone
    """
    from mms_adapt.composition import stacking

    if out.exists():
        raise OptionError(f"{out}: it is there already; name a folder to be made with --out")
    made = stacking.stack(first, second, head=head, licence=licence)
    found = (stacking.plain(made) if plain else made).save(out)
    terminal_slide.show_stack(found)


def slide(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="ADAPTER [OTHER] PREPARED", help="One adapter or two, and prepared data."),
    ],
    first: Annotated[float, typer.Option("--from", help="Where the slider begins.")] = 0.0,
    last: Annotated[
        float | None, typer.Option("--to", help="Where it ends; else 2 for a strength, 1 for a share.")
    ] = None,
    steps: Annotated[int, typer.Option(help="How many places; 1 is always among them.")] = 9,
    part: Annotated[
        int | None, typer.Option(help="Of a stack, slide this part alone, from 0; -1 is the last.")
    ] = None,
    method: Annotated[str, typer.Option(help="How two are merged: concatenate or average.")] = "concatenate",
    test: Annotated[
        bool, typer.Option("--test", help="Then score the best place, and 1, on the test set.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result here.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write a picture here.")] = None,
    install: Annotated[
        Path | None, typer.Option(help="Write the adapter at the best place to this new folder.")
    ] = None,
    dev_minutes: Annotated[float, typer.Option(help="At most so much of the dev set is heard.")] = 10.0,
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    allow_sibling: AllowSibling = False,
    quiet: Quiet = False,
) -> None:
    """Measure an adapter at several strengths, or the shares of two, on dev; choose the best.

    Example: mms-adapt slide adapters/mdw prepared/mdw --from 0 --to 2 --steps 9 --svg slide.svg
    """
    from mms_adapt.slide import slide as run

    if not 2 <= len(paths) <= 3:
        raise OptionError(f"{len(paths)} folders: give ADAPTER PREPARED, or ADAPTER OTHER PREPARED")
    adapter, *others, prepared = paths
    with terminal.progress(quiet=quiet) as progress:
        found = run(
            adapter,
            prepared,
            other=others[0] if others else None,
            first=first,
            last=last,
            steps=steps,
            part=part,
            method=method,
            test=test,
            json=json,
            svg=svg,
            install=install,
            dev_minutes=dev_minutes,
            device=device,
            backbone=backbone,
            allow_sibling=allow_sibling,
            progress=progress,
        )
    terminal_slide.show_slide(found)
    for path in (one for one in (json, svg) if one):
        typer.echo(f"written: {path}")
