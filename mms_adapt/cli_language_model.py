"""The commands about language models: lm, tune.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
models are estimated or searched.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from mms_adapt import terminal, terminal_tuning
from mms_adapt.cli_options import AdaptersBackbone, AllowSibling, Device, Quiet
from mms_adapt.errors import OptionError


def lm(
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    out: Annotated[Path, typer.Option(help="ARPA file to write.")],
    text: Annotated[
        list[Path] | None, typer.Option(help="Further text, a sentence a line; may be repeated.")
    ] = None,
    unit: Annotated[str, typer.Option(help="grapheme, for little text, or word.")] = "grapheme",
    order: Annotated[
        int | None, typer.Option(help="Longest n-gram; 6 graphemes or 3 words where not given.")
    ] = None,
) -> None:
    """Make a language model from the training transcripts and other text.

    Example: mms-adapt lm prepared/mdw --text stories.txt --out mdw.arpa
    """
    from mms_adapt import files
    from mms_adapt.language_model import build

    made = build(prepared, unit=unit, order=order, texts=text or ())
    files.write(out, made.model.to_arpa())
    terminal.show_language_model(made, out)


def tune(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder.")],
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    lm: Annotated[
        Path | None, typer.Option(help="ARPA file; a model of the training transcripts where not given.")
    ] = None,
    unit: Annotated[str, typer.Option(help="What is to be low: cer or wer.")] = "cer",
    dev_minutes: Annotated[float, typer.Option(help="At most so much of the dev set.")] = 3.0,
    beam_width: Annotated[int, typer.Option(help="Texts kept after each frame.")] = 16,
    install: Annotated[
        bool, typer.Option(help="Put model and settings into the adapter's folder, to be used from now on.")
    ] = True,
    parts: Annotated[
        bool, typer.Option(help="Find, too, into what parts long recordings should be cut.")
    ] = True,
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    allow_sibling: AllowSibling = False,
    quiet: Quiet = False,
) -> None:
    """Give an adapter a language model, and find on the dev set how much it should count.

    It finds, too, into what parts long recordings should be cut for the adapter.

    Example: mms-adapt tune adapters/mdw prepared/mdw
    """
    from mms_adapt import language_model, ngram, part_length

    if lm is None and not install:
        raise OptionError("--no-install without --lm would leave no model to use: make one with mms-adapt lm")
    model = language_model.build(prepared).model if lm is None else ngram.read(lm)
    through: dict[str, Any] = {"device": device, "backbone": backbone, "allow_sibling": allow_sibling}
    through["dev_minutes"] = dev_minutes
    with terminal.progress(quiet=quiet) as progress:
        found = language_model.tune(
            adapter, prepared, model, unit=unit, beam_width=beam_width, progress=progress, **through
        )
    length = None
    if parts:
        with terminal.progress(quiet=quiet) as progress:
            length = part_length.choose(adapter, prepared, progress=progress, **through)
    path = language_model.install(adapter, model, found) if lm is None or install else lm
    terminal_tuning.show_tuned(found, language_model.options_of(found, path), installed=install)
    if length is not None:
        if install:
            part_length.install(adapter, length)
        terminal_tuning.show_parts(length, installed=install)
