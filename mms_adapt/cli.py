"""The command line: parse, call one function, print.

In: the words after `mms-adapt`. Out: what the called function returned, in words on standard output, progress
and errors on standard error, and an exit code: 0 done, 1 something is wrong with the input, 2 something is
wrong with the options, 130 stopped by the user. It does not know how anything is done: every command is one
call of a public function, whose module is imported only then.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mms_adapt import (
    cli_adapters,
    cli_data,
    cli_language_model,
    cli_scores,
    cli_selection,
    cli_slide,
    cli_train,
    terminal,
)
from mms_adapt._version import __version__
from mms_adapt.cli_options import (
    AdaptersBackbone,
    AdapterScale,
    AddTo,
    AllowSibling,
    Backbone,
    Checkpointing,
    Code,
    CorpusOption,
    Cut,
    Decoder,
    DecoderOptions,
    Device,
    Graphemes,
    HotWord,
    HotWords,
    Kind,
    KindOptions,
    Layers,
    Layout,
    Lean,
    LetIn,
    Lid,
    Mix,
    Normaliser,
    On,
    OnHead,
    Quantise,
    Quiet,
    Relatives,
    Restart,
    Settings,
    StartAt,
    decoding,
    given,
    kind_given,
    languages,
    pairs,
    weights,
)
from mms_adapt.errors import MmsAdaptError, OptionError, SiblingError

_ALLOW = "--allow-sibling"

app = typer.Typer(
    name="mms-adapt",
    help="Train speech recognition adapters for languages with little data, and measure and use them.",
    epilog="Start with: mms-adapt prepare RECORDINGS --target-lang CODE --out prepared/CODE",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the plain help comes in half the time
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mms-adapt {__version__}")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train speech recognition adapters for languages with little data, and measure and use them."""


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="Recordings and transcripts: a folder, table or archive.")],
    target_lang: Code,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    corpus: Layout = None,
    corpus_option: CorpusOption = None,
    normaliser: Normaliser = "basic",
    graphemes: Graphemes = None,
    split: Annotated[
        str, typer.Option(help="What train and test must not share: auto, speaker, sentence or source.")
    ] = "auto",
    dev_share: Annotated[float | None, typer.Option(help="Share of the speech for dev.")] = None,
    test_share: Annotated[float | None, typer.Option(help="Share of the speech for test.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another number, another split.")] = None,
    train_minutes: Annotated[float | None, typer.Option(help="Use this much of the training speech.")] = None,
    max_utterance_s: Annotated[float | None, typer.Option(help="Leave out longer utterances.")] = None,
    let_in: LetIn = None,
    licence: Annotated[
        str | None, typer.Option(help="What the source is under, where neither it nor ledger.csv says.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check recordings and transcripts and divide them into train, dev and test.

    Example: mms-adapt prepare recordings/mdw --target-lang mdw --out prepared/mdw
    """
    from mms_adapt import terminal_prepared
    from mms_adapt.orthography import Orthography
    from mms_adapt.prepare import prepare as run
    from mms_adapt.quality import QualityOptions
    from mms_adapt.splits import SplitOptions

    with terminal.progress(quiet=quiet) as progress:
        prepared = run(
            source,
            out,
            target_lang=target_lang,
            corpus=corpus,
            corpus_options=pairs(corpus_option),
            normaliser=normaliser,
            orthography=Orthography(tuple((graphemes or "").split())),
            split=SplitOptions(mode=split, **given(dev_share=dev_share, test_share=test_share, seed=seed)),
            quality=QualityOptions(**given(max_utterance_s=max_utterance_s), let_in=tuple(let_in or ())),
            train_minutes=train_minutes,
            licence=licence,
            overwrite=overwrite,
            progress=progress,
        )
    terminal_prepared.show_prepared(prepared)


@app.command()
def train(
    prepared: Annotated[Path, typer.Argument(help="Folder that prepare wrote.")],
    out: Annotated[Path, typer.Option(help="Adapter folder to write.")],
    backbone: Backbone = None,
    device: Device = "auto",
    epochs: Annotated[int | None, typer.Option(help="At most so many passes; else to suit the data.")] = None,
    steps: Annotated[int | None, typer.Option(help="At most so many steps.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Learn for at most so long, once the recordings are read.")
    ] = None,
    batch_seconds: Annotated[float | None, typer.Option(help="Speech in one batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    layers: Layers = None,
    kind: Kind = None,
    kind_option: KindOptions = None,
    start: StartAt = None,
    relatives: Relatives = None,
    head_start: Annotated[str | None, typer.Option(help="Where the head starts: shared or fresh.")] = None,
    on: On = None,
    on_head: OnHead = None,
    allow_sibling: AllowSibling = False,
    patience: Annotated[
        int | None, typer.Option(help="Evaluations in vain before it stops; else half of it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another number, another course.")] = None,
    full_finetune: Annotated[
        bool, typer.Option("--full-finetune", help="Train the whole backbone, as a yardstick.")
    ] = False,
    checkpointing: Checkpointing = False,
    lean: Lean = False,
    settings: Settings = None,
    restart: Restart = False,
    quiet: Quiet = False,
) -> None:
    """Train an adapter. Run the same command again to go on after an interruption.

    Example: mms-adapt train prepared/mdw --out adapters/mdw --max-minutes 20
    """
    from mms_adapt.training import train as run

    limits = given(epochs=epochs, steps=steps, max_minutes=max_minutes, patience=patience, seed=seed)
    begins = given(
        start=start, relatives=relatives, head_start=head_start, on=on and str(on), on_head=on_head
    )
    options = given(backbone=backbone, batch_seconds=batch_seconds, learning_rate=learning_rate)
    config = cli_train.config(
        {**limits, **begins, **options, **kind_given(kind, kind_option)},
        layers=layers,
        settings=settings,
        device=device,
        full_finetune=full_finetune,
        allow_sibling=allow_sibling,
        checkpointing=checkpointing,
        lean=lean,
    )
    with terminal.progress(quiet=quiet) as progress:
        result = run(prepared, out, config, progress=progress, resume=not restart)
    terminal.show_trained(result, prepared)


app.command(name="train-many")(cli_train.train_many)
app.command()(cli_scores.evaluate)


@app.command()
def transcribe(
    audio: Annotated[list[Path], typer.Argument(help="Recordings.")],
    target_lang: Annotated[
        str | None,
        typer.Option(help="The language, in the registry; auto, or several such as mdw,wol: find it out."),
    ] = None,
    registry: Annotated[Path, typer.Option(help="Folder of adapters by language.")] = Path("adapters"),
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder, instead of a registry.")] = None,
    format: Annotated[
        str, typer.Option(help="text, json, tsv, ctm, srt or vtt (subtitles), textgrid (Praat), elan.")
    ] = "text",
    out: Annotated[Path | None, typer.Option(help="Folder for one file a recording; else printed.")] = None,
    add_to: AddTo = None,
    decoder: Decoder = "auto",
    decoder_option: DecoderOptions = None,
    hot_word: HotWord = None,
    hot_words: HotWords = None,
    cut: Cut = "pauses",
    lid: Lid = None,
    quantise: Quantise = "none",
    device: Device = "auto",
    backbone: AdaptersBackbone = None,
    allow_sibling: AllowSibling = False,
    adapter_scale: AdapterScale = 1.0,
    mix: Mix = None,
    quiet: Quiet = False,
) -> None:
    """Write what is said in recordings of any length.

    Example: mms-adapt transcribe clip.wav --target-lang mdw --registry adapters
    """
    from mms_adapt import plugins
    from mms_adapt.transcribe import transcribe as run

    if target_lang is None and adapter is None and not mix:
        raise OptionError("which adapter? Give --target-lang CODE (with --registry) or --adapter FOLDER")
    writer = plugins.load("writers", format)
    if add_to is not None:
        terminal.check_add_to(add_to, audio, out)
    options: dict[str, Any] = {"device": device, "cut": cut, "lid": lid, "quantise": quantise}
    with terminal.progress(quiet=quiet) as progress:
        hypotheses = run(
            list(audio),
            target_lang=languages(target_lang),
            registry=registry,
            adapter=adapter,
            adapter_scale=adapter_scale,
            mix=weights(mix),
            decoder=decoder,
            decoder_options=decoding(decoder_option, hot_word, hot_words),
            **options,
            allow_sibling=allow_sibling,
            backbone=backbone,
            progress=progress,
        )
    terminal.tell_languages(hypotheses)
    if add_to is not None and out is not None:
        terminal.write_into(add_to, hypotheses[0], out)
    else:
        terminal.write_hypotheses(audio, hypotheses, writer, out)


for _command in (
    cli_scores.compare,
    cli_scores.learning_curve,
    cli_selection.select,
    cli_language_model.lm,
    cli_language_model.tune,
    cli_slide.stack,
    cli_slide.slide,
    cli_data.inspect,
    cli_data.withdraw,
):
    app.command()(_command)
app.add_typer(cli_adapters.app)


def _agreed(reason: str) -> bool:
    """Ask the person at the terminal whether to go on; where nobody is there, the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm(f"{terminal.visible(reason)}\nGo on all the same?", default=False, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: The words after the program's name; those of the process where not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # it was closed: what is said must not vanish without a word
        sys.stdout = open(os.devnull, encoding="utf-8")  # noqa: SIM115, it cannot be written into
    try:
        try:
            app(words, prog_name="mms-adapt")
        except SiblingError as error:
            if not _agreed(str(error)):
                raise
            app([*words, _ALLOW], prog_name="mms-adapt")
    except MmsAdaptError as error:
        terminal.complain(str(error))
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        terminal.complain("stopped; run the same command again to go on")
        sys.exit(130)
    except OSError as error:
        terminal.complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(1)
    sys.exit(0)
