"""What a person sees in the terminal: progress, summaries, complaints.

In: progress reports and the results of the commands. Out: results on standard output; a moving display, which
disappears when it is done, and errors on standard error. It does not know how a result was made. rich is
imported when something is shown.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import typer

from mms_adapt.errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from mms_adapt.compare import Comparison
    from mms_adapt.decoders import Candidate, Hypothesis
    from mms_adapt.language_model import LanguageModel
    from mms_adapt.learning_curve import LearningCurve
    from mms_adapt.scoring import Score
    from mms_adapt.training import TrainResult
    from mms_adapt.withdrawal import Withdrawal


_EVERY_S = 60.0  # between lines of progress where there is no terminal


def console(*, stderr: bool = False) -> "Console":
    """Return a console that colours only what is told to be coloured, and obeys no text from outside."""
    from rich.console import Console
    from rich.text import Text

    class _Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            """Render a text, what is unseen in it written out."""
            return super().render_str(visible(text), **options)

    return _Plain(stderr=stderr, highlight=False, soft_wrap=True)


def visible(text: str) -> str:
    r"""Return a text with what a terminal would obey, or would turn the line around, written out.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )


def complain(message: str) -> None:
    """Print an error in red on standard error."""
    from rich.text import Text

    console(stderr=True).print(Text.assemble(("error: ", "bold red"), (visible(message), "red")))


class Display:
    """A bar for each stage, on standard error where that is a terminal; else a line a stage, and a minute.

    Calling it reports progress: `display("decode", 17, 400, "5.2 min")`.
    """

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._stages: dict[str, TaskID] = {}
        self._said_s = time.monotonic()

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int | None = None, note: str = "") -> None:
        """Show that `done` of `total` steps of a stage are done."""
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, note=note)
            if not self._console.is_terminal:
                self._console.print(f"{stage} …")
        elif not self._console.is_terminal and time.monotonic() - self._said_s > _EVERY_S:
            self._said_s = time.monotonic()
            self._console.print(f"{stage} {done}{f'/{total}' if total else ''} {note}".rstrip())
        self._bars.update(self._stages[stage], completed=done, total=total, note=note)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Display | None]:
    """Show progress while the block runs, and end with exit code 130 where the user stops it."""
    try:
        if quiet:
            yield None
        else:
            with Display() as display:
                yield display
    except KeyboardInterrupt:
        complain("stopped; run the same command again to go on")
        raise typer.Exit(130) from None


def show_withdrawal(result: "Withdrawal", speaker: str, places: Sequence[Path]) -> None:
    """Print what was taken out, which adapters heard it, and what else there is to do."""
    out = console()
    counts = ", ".join(f"{count} from {part}" for part, count in result.utterances.items())
    out.print(f"taken out: utterances of {speaker}: {counts}", markup=False)
    if result.quarantined:
        out.print(f"taken out: {result.quarantined} that had been left out", markup=False)
    for one in result.adapters:
        how = "its passport names her" if one.surely else "it was made of this data"
        out.print(f"heard her: {one.folder} ({', '.join(one.parts)}; {how})", markup=False)
    for folder in result.unknown:
        out.print(f"does not tell what it heard: {folder}", markup=False)
    if not result.adapters:
        looked = ", ".join(map(str, places)) or "nowhere; name registries with --adapters"
        out.print(f"no adapter is known to have heard her (looked through: {looked})", markup=False)
    out.print("note: train anew what heard her; an adapter cannot forget one voice", markup=False)
    out.print(
        f"note: the recordings were not touched. For other data made of them, write into "
        f"{result.prepared.root / 'ledger.csv'} (columns speaker, consent): {speaker},no",
        markup=False,
    )


def show_comparison(found: "Comparison", *, examples: int) -> None:
    """Print two scores, their difference, what it means, and utterances that differ most."""
    from mms_adapt.reports import plain

    out = console()
    out.print(plain.render_comparison(found), markup=False)
    for gap in found.gaps[:examples]:
        out.print(gap.utterance_id, markup=False)
        said = ("said  ", gap.reference), ("first ", gap.first), ("second", gap.second)
        out.print("\n".join(f"  {who}  {what}" for who, what in said) + "\n", markup=False)


def show_curve(found: "LearningCurve", picture: Path) -> None:
    """Print the points of a learning curve, and what more speech would bring."""
    from mms_adapt.reports import explain, percent, span

    out = console()
    out.print("training speech      CER   95 % interval", markup=False)
    for one in found.points:
        out.print(f"{one.minutes:11.1f} min  {percent(one.cer):>7}   {span(one.cer_interval)}", markup=False)
    for each in found.forecasts:
        more = each.minutes - found.points[-1].minutes
        out.print(
            f"{more:.0f} more minutes of the same kind would bring about {percent(each.cer)} "
            f"({span(each.interval)})",
            markup=False,
        )
    if found.check is not None:
        held = "and it does" if found.check_held else "and it does not, so do not believe the forecast"
        out.print(
            f"check: by the other points, the last one should lie in {span(found.check.interval)}, {held}",
            markup=False,
        )
    for mark in found.marks:
        out.print(f"note: {mark}: {explain(mark)}", markup=False)
    out.print(f"written: {picture}", markup=False)


def show_language_model(made: "LanguageModel", path: Path) -> None:
    """Print what a language model was made of."""
    out = console()
    grams = ", ".join(
        f"{sum(len(gram) == n for gram in made.model.logs):,} {n}-grams"
        for n in range(1, made.model.order + 1)
    )
    out.print(f"{made.sentences:,} sentences, tokens are {made.unit}s: {grams}", markup=False)
    if made.held_out:
        out.print(f"left out: {made.held_out:,} sentences that dev or test hold, too", markup=False)
    if made.unwritable:
        out.print(
            f"left out: {made.unwritable:,} sentences with characters that the adapter cannot write",
            markup=False,
        )
    if made.dev_perplexity is not None:
        out.print(f"perplexity a {made.unit} on the dev set: {made.dev_perplexity:.1f}", markup=False)
    out.print(f"written: {path}", markup=False)


def show_trained(result: "TrainResult", prepared: Path) -> None:
    """Print what training reached, and what to do next."""
    from mms_adapt import passport
    from mms_adapt.reports import minutes, percent

    out = console()
    took = f"{result.steps} steps, {minutes(result.seconds_s)}"
    out.print(f"best dev CER {percent(result.best_dev_cer)} after {took}", markup=False)
    speech_s = 60 * passport.read(result.folder).minutes.get("train", 0.0)
    if result.ended == "limit" and result.heard_s < speech_s:
        heard = f"{minutes(result.heard_s)} of {minutes(speech_s)} of speech"
        out.print(f"note: it heard {heard} before its limit, and learnt little: give it more", markup=False)
    out.print(f"written: {result.folder}", markup=False)
    out.print(f"next: mms-adapt evaluate {result.folder} {prepared} --split test", markup=False)


def show_score(score: "Score", *, split: str, examples: int) -> None:
    """Print the headline, what to keep in mind, and some transcripts beside their references."""
    from rich.text import Text

    from mms_adapt.reports import explain, percent, spans

    out = console()
    figures = f"{score.utterances} utterances, {score.words} words, {score.characters} characters"
    out.print(f"{split} set: {figures}", markup=False)
    for name, rate, *intervals in (
        ("word error rate", score.wer, score.wer_interval, score.wer_speaker_interval),
        ("character error rate", score.cer, score.cer_interval, score.cer_speaker_interval),
    ):
        out.print(Text.assemble(f"  {name:21}", (percent(rate), "bold"), f"  ({spans(*intervals)})"))
    for mark in score.marks:
        out.print(f"note: {mark}: {explain(mark)}", markup=False)
    step = max(1, len(score.per_utterance) // max(1, examples))
    for one in score.per_utterance[::step][:examples]:
        out.print(f"  said   {one.reference}\n  wrote  {one.hypothesis}\n", markup=False)


def write_hypotheses(
    audio: Sequence[Path], hypotheses: "Sequence[Hypothesis]", writer: ModuleType, out: Path | None
) -> None:
    """Print hypotheses, or write one file a recording into `out`.

    Raises:
        OptionError: Two recordings would be written to the same file.
    """
    if out is None:
        one_each = getattr(writer, "ONE_RECORDING", False)
        for group in [[one] for one in hypotheses] if one_each else [list(hypotheses)]:
            typer.echo(writer.render(group), nl=False)
        return
    paths = [out / f"{path.stem}{writer.SUFFIX}" for path in audio]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise OptionError(f"--out {out}: two recordings would both become {twice.name}; rename one of them")
    out.mkdir(parents=True, exist_ok=True)
    for path, hypothesis in zip(paths, hypotheses, strict=True):
        path.write_text(writer.render([hypothesis]), encoding="utf-8")
        typer.echo(f"written: {path}")


def tell_languages(hypotheses: "Sequence[Hypothesis]") -> None:
    """Say on standard error which language was found out, how sure that is, and which would be next."""
    from mms_adapt import language
    from mms_adapt.serving import identify

    for one in hypotheses:
        told = [
            f"{language.name(each.place.partition('/')[0])} ({each.place}) {100 * each.probability:.0f} %"
            for each in one.candidates[:2]
        ]
        if told:
            name = f"{one.recording}: " if one.recording else ""
            told = [
                name + ", then ".join(told),
                *_witnesses(one.candidates[0], identify.elsewhere(one.candidates)),
            ]
            for line in told:
                console(stderr=True).print(line, highlight=False, markup=False)


def _witnesses(best: "Candidate", elsewhere: float | None) -> list[str]:
    """Return what the adapters and MMS-LID said each by itself of the most likely language."""
    if best.adapters is None or elsewhere is None:
        return []
    said = "it does not know this one" if best.lid is None else f"{100 * best.lid:.0f} %"
    told = [f"  adapters alone {100 * best.adapters:.0f} %; MMS-LID: {said}"]
    if elsewhere > 0.5:
        told.append(f"  MMS-LID gives {100 * elsewhere:.0f} % to languages that are no candidates here")
    return told


def check_add_to(document: Path, audio: Sequence[Path], out: Path | None) -> None:
    """Make sure that a document can be added to before anything is transcribed.

    Raises:
        OptionError: If there is not one recording, no other folder to write to, or no such document.
    """
    if len(audio) != 1:
        raise OptionError(f"--add-to takes one recording, and {len(audio)} are given; run it once for each")
    if out is None or (out / document.name).resolve() == document.resolve():
        raise OptionError(f"--add-to leaves {document} as it is: name another folder for the copy with --out")
    if not document.is_file():
        raise OptionError(f"--add-to {document}: there is no such ELAN document")


def write_into(document: Path, hypothesis: "Hypothesis", out: Path) -> None:
    """Write a copy of an ELAN document with what was recognised in two more tiers."""
    from mms_adapt import files
    from mms_adapt.writers import elan

    whole = elan.into(document.read_bytes(), hypothesis, name=str(document))
    files.write(out / document.name, whole)
    typer.echo(f"written: {out / document.name}")
