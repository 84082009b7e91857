"""The commands about language models: lm, tune.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
models are estimated or searched.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mms_adapt import terminal, terminal_tuning
from mms_adapt.cli_options import AdaptersBackbone, AllowSibling, Device, Quiet
from mms_adapt.errors import OptionError

if TYPE_CHECKING:
    from mms_adapt.ngram import NGram


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
        Path | None, typer.Option(help="ARPA file; models of the training transcripts where not given.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="ARPA file of words, to stand beside an --lm of graphemes.")
    ] = None,
    unit: Annotated[str, typer.Option(help="What is to be low: cer or wer.")] = "cer",
    dev_minutes: Annotated[float, typer.Option(help="At most so much of the dev set.")] = 6.0,
    beam_width: Annotated[int, typer.Option(help="Texts kept after each frame; tried are 16.")] = 64,
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
    from mms_adapt import language_model, part_length

    if lm is None and not install:
        raise OptionError("--no-install without --lm would leave no model to use: make one with mms-adapt lm")
    model, beside = _models(prepared, lm, words)
    through: dict[str, Any] = {"device": device, "backbone": backbone, "allow_sibling": allow_sibling}
    through["dev_minutes"] = dev_minutes
    with terminal.progress(quiet=quiet) as progress:
        found = language_model.tune(
            adapter,
            prepared,
            model,
            words=beside,
            unit=unit,
            beam_width=beam_width,
            progress=progress,
            **through,
        )
    length = None
    if parts:
        with terminal.progress(quiet=quiet) as progress:
            length = part_length.choose(adapter, prepared, progress=progress, **through)
    path = language_model.install(adapter, model, found, beside) if lm is None or install else lm
    options = language_model.options_of(
        found, path, path.with_name(language_model.WORDS_FILE) if install else words
    )
    terminal_tuning.show_tuned(found, options, installed=install)
    if length is not None:
        if install:
            part_length.install(adapter, length)
        terminal_tuning.show_parts(length, installed=install)


def _models(prepared: Path, lm: Path | None, words: Path | None) -> "tuple[NGram, NGram | None]":
    """Return the models of files, or of the training transcripts where no file is given."""
    from mms_adapt import language_model, ngram

    if words is not None and lm is None:
        raise OptionError("--words stands beside --lm, a model of graphemes: give that, too, or neither")
    if lm is None:
        return language_model.build_both(prepared)
    return ngram.read(lm), None if words is None else ngram.read(words)
