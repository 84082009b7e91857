"""The commands about data beside `prepare`: inspect, withdraw.

In: parsed words of the command line. Out: what the called function returned, in words. It does not know how
data is read or written.
"""

from pathlib import Path
from typing import Annotated

import typer

from mms_adapt import terminal, terminal_findings
from mms_adapt.cli_options import Code, CorpusOption, Graphemes, Layout, Normaliser, Quiet, pairs


def inspect(
    source: Annotated[Path, typer.Argument(help="Recordings and transcripts: a folder, table or archive.")],
    target_lang: Code,
    corpus: Layout = None,
    corpus_option: CorpusOption = None,
    normaliser: Normaliser = "basic",
    graphemes: Graphemes = None,
    json: Annotated[Path | None, typer.Option(help="Write the findings here, with all ids.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page for a browser here, with sound.")] = None,
    quiet: Quiet = False,
) -> None:
    """Tell what is worth a look in recordings and transcripts. Nothing is changed or left out.

    Example: mms-adapt inspect recordings/mdw --target-lang mdw --report findings.html
    """
    from mms_adapt.inspection import inspect as run
    from mms_adapt.orthography import Orthography

    with terminal.progress(quiet=quiet) as progress:
        found = run(
            source,
            target_lang=target_lang,
            corpus=corpus,
            corpus_options=pairs(corpus_option),
            normaliser=normaliser,
            orthography=Orthography(tuple((graphemes or "").split())),
            json=json,
            report=report,
            progress=progress,
        )
    terminal_findings.show(found)
    for path in filter(None, (json, report)):
        typer.echo(f"written: {path}")


def withdraw(
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    speaker: Annotated[str, typer.Option(help="Her label, as it stands in the corpus.")],
    adapters: Annotated[
        list[Path] | None, typer.Option(help="Registry or adapter folder to look through; may be repeated.")
    ] = None,
) -> None:
    """Take a speaker out of prepared data, and list the adapters that heard her.

    Example: mms-adapt withdraw prepared/mdw --speaker AB --adapters adapters
    """
    from mms_adapt.withdrawal import withdraw as run

    places = adapters or [one for one in (Path("adapters"),) if one.is_dir()]
    terminal.show_withdrawal(run(prepared, speaker=speaker, adapters=places), speaker, places)
