"""An inspection in the terminal: a line for each finding.

In: an `Inspection`. Out: a table on standard output. It does not know how anything was found. rich is
imported when something is shown.
"""

from typing import TYPE_CHECKING

from mms_adapt.terminal import console, visible

if TYPE_CHECKING:
    from mms_adapt.inspection import Inspection

_SHOWN = 2


def show(inspection: "Inspection") -> None:
    """Print what is worth a look in a corpus: a line for each finding, and what to do about it."""
    from rich.table import Table
    from rich.text import Text

    from mms_adapt.reports import minutes

    out, colours = console(), {"error": "red", "warning": "yellow", "notice": "cyan"}
    out.print(f"layout {inspection.layout}: {inspection.root}", markup=False)
    usable = f"{len(inspection.utterances)} utterances can be used, {minutes(inspection.speech_s)}"
    out.print(f"{usable}; {len(inspection.quarantined)} cannot", markup=False)
    for reason, detail, count in inspection.passed_over:
        out.print(f"note: rows passed over: {count} x {reason} {detail}", markup=False)
    for note in inspection.notes:
        out.print(f"note: {note}", markup=False)
    if not inspection.findings:
        out.print("nothing to look at", markup=False)
        return
    table = Table("finding", "count", "what it is, what to do, and such as", box=None, pad_edge=False)
    for one in inspection.findings:
        table.add_row(
            Text(one.kind, colours.get(one.severity, "")),
            Text(str(one.count), justify="right"),
            Text.assemble(
                one.what,
                (f"\n→ {one.what_to_do}", "dim"),
                visible(f"\n{', '.join(one.utterance_ids[:_SHOWN])}"),
                overflow="fold",
            ),
        )
    out.print(table)
