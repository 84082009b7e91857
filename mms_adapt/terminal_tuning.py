"""What `tune` found, in words for a terminal.

In: what was found. Out: lines. It does not know how it was found.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mms_adapt import terminal

if TYPE_CHECKING:
    from mms_adapt.language_model import Tuned
    from mms_adapt.part_length import PartLength


def show_tuned(found: "Tuned", options: Mapping[str, str | float], *, installed: bool) -> None:
    """Print what a language model brings on the dev set, and how to use it."""
    from mms_adapt.reports import percent

    out = terminal.console()
    out.print(f"dev, {found.utterances} utterances, {found.tried} settings tried", markup=False)
    out.print(
        f"  greedy          CER {percent(found.greedy_cer)}, WER {percent(found.greedy_wer)}", markup=False
    )
    out.print(f"  language model  CER {percent(found.dev_cer)}, WER {percent(found.dev_wer)}", markup=False)
    if installed:
        told = f"written: {options['lm']}, weight {options['lm_weight']}, bonus {options['bonus']}"
        if "words" in options:
            told += f"; {options['words']}, of which {percent(found.words_share)} of the words come"
        out.print(told, markup=False)
        out.print("evaluate and transcribe use it from now on; --decoder greedy does without", markup=False)
        return
    words = " ".join(f"--decoder-option {name}={value}" for name, value in options.items())
    out.print(f"give evaluate and transcribe: --decoder beam {words}", markup=False)


def show_parts(found: "PartLength", *, installed: bool) -> None:
    """Print into what parts long recordings should be cut, and what that brings on the dev set."""
    from mms_adapt.reports import percent

    out = terminal.console()
    out.print(f"a recording made of dev utterances, {found.tried} lengths of parts tried", markup=False)
    out.print(f"  one by one      CER {percent(found.single_cer)}", markup=False)
    out.print(f"  untold          CER {percent(found.untold_cer)}", markup=False)
    told = f"  {found.usual_s:.3g} to {found.longest_s:.3g} s"
    out.print(f"{told:18}CER {percent(found.dev_cer)}", markup=False)
    if installed:
        out.print("transcribe cuts long recordings so from now on", markup=False)
    else:
        out.print(f"in Python: usual_s={found.usual_s:.4g}, window_s={found.longest_s:.4g}", markup=False)
