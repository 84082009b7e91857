"""The command about what to transcribe next: select.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
anything is chosen.
"""

from pathlib import Path
from typing import Annotated

import typer

from mms_adapt import terminal, terminal_selection
from mms_adapt.cli_options import AdaptersBackbone, AllowSibling, Device, Quiet, given


def select(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings, and folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder to write, for a person to correct.")],
    target_lang: Annotated[
        str | None, typer.Option(help="The language of the adapter in the registry.")
    ] = None,
    registry: Annotated[Path, typer.Option(help="Folder of adapters by language.")] = Path("adapters"),
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder, instead of a registry.")] = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder that prepare wrote: what is transcribed, and known, already.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How much speech to choose.")] = 20.0,
    strategy: Annotated[str, typer.Option(help="mixed, confidence, novelty or random.")] = "mixed",
    longest_s: Annotated[float | None, typer.Option(help="No stretch is longer, in seconds.")] = None,
    seed: Annotated[int, typer.Option(help="Another number, another random choice.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write what was chosen here.")] = None,
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    allow_sibling: AllowSibling = False,
    quiet: Quiet = False,
) -> None:
    """Choose the untranscribed speech that would teach most, and write it as ELAN documents to correct.

    Example: mms-adapt select recordings/ --target-lang mdw --minutes 20 --out to_correct
    """
    from mms_adapt.pauses import CutOptions
    from mms_adapt.selection import SelectOptions
    from mms_adapt.selection import select as run
    from mms_adapt.transcribe_options import TranscribeOptions

    options = SelectOptions(
        strategy=strategy,
        seed=seed,
        cutting=CutOptions(**given(longest_s=longest_s)),
        through=TranscribeOptions(device=device, allow_sibling=allow_sibling),
    )
    with terminal.progress(quiet=quiet) as progress:
        found = run(
            recordings,
            out,
            minutes=minutes,
            target_lang=target_lang,
            registry=registry,
            adapter=adapter,
            prepared=prepared,
            backbone=backbone,
            options=options,
            json=json,
            progress=progress,
        )
    terminal_selection.show_selection(found)
    if json is not None:
        typer.echo(f"written: {json}")
