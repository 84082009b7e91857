"""What a person sees of stacks and sliders in the terminal.

In: their results. Out: text on standard output. It does not know how they were made.
"""

from typing import TYPE_CHECKING

from mms_adapt import terminal

if TYPE_CHECKING:
    from mms_adapt.checkpoint import AdapterFolder
    from mms_adapt.slider import Slide


def show_stack(made: "AdapterFolder") -> None:
    """Show what was put together."""
    console = terminal.console()
    parts = [str(one["adapter"]) for one in made.passport.merge["parents"]]
    console.print(f"{parts[1]} on {parts[0]}, written with the head of {made.passport.merge['head']}")
    console.print(f"written: {made.path}, an adapter of the kind {made.passport.kind}")


def show_slide(found: "Slide") -> None:
    """Show every place, and which is the best."""
    from mms_adapt.reports import in_points, percent, span

    console = terminal.console()
    name = "strength" if len(found.adapters) == 1 else "share of the second"
    heard = f"{found.utterances} utterances of dev, {found.speech_s / 60:.1f} min"
    console.print(f"{' and '.join(found.adapters)} on {heard}")
    console.print(f"{name:>19}   CER                          WER")
    for one in found.points:
        mark = "  <- lowest CER" if one.at == found.best else ""
        cer = f"{percent(one.cer)} ({span(one.cer_interval)})"
        console.print(f"{one.at:>19g}   {cer:<26}   {percent(one.wer)} ({span(one.wer_interval)}){mark}")
    for tested in found.tested:
        console.print(
            f"test at {tested.at:g}: CER {percent(tested.cer)} ({span(tested.cer_interval)}), "
            f"WER {percent(tested.wer)} ({span(tested.wer_interval)})"
        )
    if found.gain is not None:
        console.print(f"CER at {found.best:g} less that at 1, on test: {in_points(found.gain)}")
    elif not found.tested:
        console.print("The lowest of many is low by chance, too: --test tells what it is worth.")
    if found.installed is not None:
        console.print(f"installed: {found.installed}")
