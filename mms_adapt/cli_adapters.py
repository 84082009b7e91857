"""The commands about adapters that are there: adapters list, show, verify, diff, merge, publish.

In: parsed words of the command line. Out: what the called function returned, in words or as JSON. It does not
know how anything is found, compared or made.
"""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from mms_adapt import terminal, terminal_adapters
from mms_adapt.cli_options import AdaptersBackbone, DecoderOptions, Device, Quiet, decoder_pairs, given
from mms_adapt.errors import OptionError

app = typer.Typer(
    name="adapters",
    help="Look into adapters, check, compare, merge and publish them.",
    epilog="Example: mms-adapt adapters list adapters",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Adapter = Annotated[Path, typer.Argument(help="Adapter folder.")]
Json = Annotated[Path | None, typer.Option(help="Write it here as JSON; - for standard output.")]
Backbones = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone", help="Another backbone to compare with, beside the adapters' own; repeatable."
    ),
]


@app.command(name="list")
def list_adapters(
    registry: Annotated[Path, typer.Argument(help="Folder of adapters by language.")] = Path("adapters"),
    target_lang: Annotated[str | None, typer.Option(help="Only this language's.")] = None,
    backbone: Backbones = None,
    json: Json = None,
) -> None:
    """List a registry, and what is wrong with broken adapters.

    Example: mms-adapt adapters list adapters --json adapters.json
    """
    from mms_adapt.audit import listing

    rows = listing.rows(registry, target_lang=target_lang, backbones=backbone or ())
    if not _as_json(rows, json):
        terminal_adapters.show_rows(rows, registry)


@app.command()
def show(adapter: Adapter, backbone: Backbones = None, json: Json = None) -> None:
    """Show what an adapter is: data, speakers, scores, licence.

    Speakers are shown by their pseudonyms; of a merge, its parents are shown.

    Example: mms-adapt adapters show adapters/mdw
    """
    from mms_adapt.audit import listing

    found = listing.show(adapter, backbones=backbone or ())
    if not _as_json(found, json):
        terminal_adapters.show_adapter(found)


@app.command()
def verify(
    adapter: Adapter,
    prepared: Annotated[
        Path | None, typer.Argument(help="Folder that prepare wrote: measure the reported score again.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Whose score: test or dev; test where the passport tells it.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far rates may lie apart; 0.0001 on the same kind of device, else 0.005."),
    ] = None,
    decoder_option: DecoderOptions = None,
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Check files, numbers and backbone; with data, the score.

    The reported score is measured again on the part that the passport names, with the same decoder. The exit
    code is 1 where something is wrong.

    Example: mms-adapt adapters verify adapters/mdw prepared/mdw
    """
    from mms_adapt.audit.verification import verify as run

    with terminal.progress(quiet=quiet) as progress:
        found = run(
            adapter,
            prepared,
            split=split,
            backbone=backbone,
            device=device,
            decoder_options=decoder_pairs(decoder_option),
            tolerance=tolerance,
            progress=progress,
        )
    if not _as_json(found, json, good=found.good):
        terminal_adapters.show_verification(found)
    if not found.good:
        raise typer.Exit(1)


@app.command()
def diff(
    first: Adapter,
    second: Annotated[Path, typer.Argument(help="Another one.")],
    json: Json = None,
) -> None:
    """Tell what two adapters differ in, or that they do not.

    Passport, tokens, numbers layer by layer, data and speakers are compared.

    Example: mms-adapt adapters diff adapters/mdw older/mdw
    """
    from mms_adapt.audit.difference import diff as run

    found = run(first, second)
    if not _as_json(found, json, same=found.same):
        terminal_adapters.show_difference(found)


@app.command()
def merge(
    adapters: Annotated[list[Path], typer.Argument(help="Adapter folders of one kind and backbone.")],
    out: Annotated[Path, typer.Option(help="Adapter folder to write.")],
    weights: Annotated[
        str | None, typer.Option(help="What each counts, such as 0.3,0.7; equally where not given.")
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(help="Folder that prepare wrote: find the weights of 2 or 3 adapters on its dev set."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="concatenate (exact), average, reduce (made narrower), or for lora ties.")
    ] = "concatenate",
    rank: Annotated[int | None, typer.Option(help="Rank, or channels, of what reduce and ties give.")] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Folder that prepare wrote: reduce is fitted to a minute of its training speech."),
    ] = None,
    density: Annotated[float | None, typer.Option(help="Share of the numbers that ties keeps.")] = None,
    dev_minutes: Annotated[float, typer.Option(help="At most so much of the dev set.")] = 10.0,
    target_lang: Annotated[
        str | None, typer.Option(help="The language it writes: the first adapter's, or that of --dev.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="The licence that holds, where the adapters' own do not tell.")
    ] = None,
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    quiet: Quiet = False,
) -> None:
    """Make one adapter of several, without training.

    Example: mms-adapt adapters merge dialects/mdw/north dialects/mdw/south --weights 0.3,0.7 --out merged/mdw
    """
    if out.exists():
        raise OptionError(f"--out {out}: it is there already; name a folder to be made")
    if weights is not None and dev is not None:
        raise OptionError("--weights and --dev: give the weights, or let them be found, not both")
    chosen = _numbers(weights)
    options = given(rank=rank, density=density, target_lang=target_lang, licence=licence)
    from mms_adapt import backbone as backbones
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.composition.calibration import Speech
    from mms_adapt.composition.merging import merge as run
    from mms_adapt.composition.weights import search

    parents = [AdapterFolder.load(one) for one in adapters]
    if dev is not None or calibrate is not None:
        base = backbones.load(backbone or parents[0].backbone_name, device=device)
    if calibrate is not None:
        options["calibration"] = Speech(calibrate, base)
    if dev is None:
        made = run(parents, chosen, method=method, **options)
        terminal_adapters.show_merge(made.save(out))
        return
    with terminal.progress(quiet=quiet) as progress:
        found = search(parents, dev, base, minutes=dev_minutes, method=method, progress=progress, **options)
    terminal_adapters.show_merge(found.adapter.save(out), found)


@app.command()
def publish(
    adapter: Adapter,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    repo_id: Annotated[str | None, typer.Option(help="OWNER/NAME on the hub, which the card names.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="The licence that holds, where backbone or recordings do not tell.")
    ] = None,
    mms_adapt_only: Annotated[
        bool, typer.Option("--mms-adapt-only", help="Publish a kind that only mms-adapt can open.")
    ] = False,
    push: Annotated[
        bool, typer.Option("--push", help="Upload it to --repo-id; else nothing is sent.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    backbone: AdaptersBackbone = None,
) -> None:
    """Write a folder with a model card, for a hub.

    Nothing is uploaded without --push. Names of speakers, and what licences forbid, are refused.

    Example: mms-adapt adapters publish adapters/mdw --licence CC-BY-NC-4.0 --out to_publish/mdw
    """
    from mms_adapt.publishing.folder import publish as run

    found = run(
        adapter,
        out,
        repo_id=repo_id,
        licence=licence,
        mms_adapt_only=mms_adapt_only,
        backbone=backbone,
        push=push,
        private=private,
    )
    terminal_adapters.show_published(found, repo_id)


def _numbers(words: str | None) -> list[float] | None:
    """Return weights, separated by commas.

    Raises:
        OptionError: If one is no number.
    """
    if words is None:
        return None
    try:
        return [float(one) for one in words.split(",")]
    except ValueError:
        raise OptionError(f"--weights {words!r}: write numbers with commas, such as 0.3,0.7") from None


def _as_json(value: Any, path: Path | None, **more: Any) -> bool:
    """Write a result as JSON where a file is named; tell whether nothing else is to be printed."""
    if path is None:
        return False
    from mms_adapt import files

    record = terminal_adapters.plain(value)
    text = json_module.dumps({**record, **more} if more else record, ensure_ascii=False, indent=1)
    if str(path) == "-":
        typer.echo(text)
        return True
    files.write(path, f"{text}\n")
    typer.echo(f"written: {path}")
    return False
