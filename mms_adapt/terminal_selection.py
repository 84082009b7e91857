"""What was chosen to be transcribed, beside what chance would give, in the terminal.

In: a `Selection`. Out: a table on standard output, and what to do next. It does not know how it was chosen.
"""

from typing import TYPE_CHECKING

from mms_adapt.terminal import console

if TYPE_CHECKING:
    from mms_adapt.selection import Selection

_ROWS = (
    ("minutes", "minutes", ".1f"),
    ("stretches", "utterances", ".0f"),
    ("mean confidence of the drafts", "confidence", ".2f"),
    ("new graphemes in them", "graphemes", ".1f"),
    ("new trigrams of graphemes", "trigrams", ".0f"),
    ("distance to the nearest known sound", "sound", ".2f"),
    ("distance to the nearest one chosen", "apart", ".2f"),
)


def show_selection(found: "Selection") -> None:
    """Print what was chosen beside random choices, what was passed over, and what to do next."""
    from mms_adapt.reports import minutes

    out = console()
    total_s = sum(one.end_s - one.start_s for one in found.stretches)
    out.print(
        f"{len(found.stretches)} stretches, {minutes(total_s)}, drafted by {found.adapter}", markup=False
    )
    for why, seconds in found.passed_over.items():
        out.print(f"passed over: {minutes(seconds)}: {why}", markup=False)
    out.print(f"{'':36} {found.strategy:>10} {'by chance':>10}", markup=False)
    for name, field, form in _ROWS:
        values = [getattr(one, field) for one in (found.chosen, found.by_chance)]
        shown = ["-" if one is None else format(one, form) for one in values]
        out.print(f"{name:36} {shown[0]:>10} {shown[1]:>10}", markup=False)
    if found.strategy != "random":
        out.print(
            "note: where it was tried, this did not beat random choice; see docs/selecting.md", markup=False
        )
    for path in found.documents:
        out.print(f"written: {path}", markup=False)
    out.print(
        'next: write into the tier "text", with ELAN, what is said; leave empty what nobody understands'
    )
    prepare = f"mms-adapt prepare {found.folder} --target-lang {found.target_lang} --out prepared/more"
    out.print(f"then: {prepare}", markup=False)
