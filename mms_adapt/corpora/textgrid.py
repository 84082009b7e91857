r"""Praat's TextGrids, long or short, many in a folder and below it, with recordings of the same names.

In: the folder, or one TextGrid. Out: an utterance for each interval of the tiers that hold transcripts, in
the order of files, tiers and intervals. `mms_adapt.tiers` tells which tiers these are, unless the option
`tiers` says it: patterns with * and ?, several with commas. Where only words are labelled, as forced aligners
do, they are joined to utterances.

The speaker is what follows the "@" in a tier's name, or what stands before " - " in it, as the Montreal
Forced Aligner writes; else nobody: a tier's name alone may be a speaker's or not, and a wrong speaker would
make a split promise what it does not keep. The session is the file.

A TextGrid does not name its recording: it is the one of the same name, or one beside it with which its name
begins. Praat's old backslash sequences (\ng for ŋ) are left as found, and counted.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mms_adapt import praat
from mms_adapt.corpora import Note, Reading, Skipped
from mms_adapt.corpora._annotations import Annotated, Span, folder_of, parsed, utterances
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance
from mms_adapt.media import any_document
from mms_adapt.tiers import Candidate, Wanted

DESCRIPTION = "Praat TextGrids (.TextGrid) in it or below it, and recordings of the same names"
FILES = (".textgrid",)
_SUFFIX = ".textgrid"
_SEQUENCE = re.compile(
    r"\\(?:[A-Za-z][\"'`^~/]|[Cc],|[A-Za-z:'`^~\"][^\W\d_])"
)  # letter and mark, or two letters


def recognise(root: Path) -> bool:
    """Tell whether there is a `.TextGrid` in a folder or below it, or whether this is one."""
    return any_document(Path(root), _SUFFIX)


def read(root: Path, split: str | None = None, *, target_lang: str, tiers: str | None = None) -> Reading:
    """Read the utterances of one language.

    Args:
        root: The folder, or one TextGrid.
        split: Praat knows no parts, so any passes over all utterances.
        target_lang: The language; a TextGrid does not say which it is in.
        tiers: Patterns of names of tiers, instead of choosing by the sense of their names.

    Raises:
        CorpusError: If there is no TextGrid, or some cannot be read, or no tier looks like a transcript.
        OptionError: If the option is empty, or no tier fits it.
    """
    root, wanted = Path(root), Wanted(tiers)
    if not recognise(root):
        raise CorpusError(f"{root}: expected here are {DESCRIPTION}; there is no .TextGrid")
    return Reading(_rows(root, wanted, target_lang, split))


def _rows(
    root: Path, wanted: Wanted, target_lang: str, split: str | None
) -> Iterator[Utterance | Skipped | Note]:
    latin: list[str] = []
    sequences: Counter[str] = Counter()

    def annotated(data: bytes, place: PurePosixPath) -> Annotated:
        grid = praat.parse(data, str(place))
        if grid.encoding == "latin-1":
            latin.append(str(place))
        return _annotated(grid, place)

    for row in utterances(
        parsed(root, _SUFFIX, annotated), folder_of(root), wanted=wanted, target_lang=target_lang, split=split
    ):
        if isinstance(row, Utterance):
            sequences.update(_SEQUENCE.findall(row.transcript))
        yield row
    if latin:
        yield Note(
            f"files that are not UTF-8 and were read as Latin-1; check their letters: {', '.join(latin)}"
        )
    if sequences:
        shown = "  ".join(f"{one} {count}" for one, count in sequences.most_common())
        yield Note(
            "Praat's backslash sequences, which tear words apart; make them letters with its Convert to "
            f"Unicode: {shown}"
        )


def _annotated(grid: praat.TextGrid, place: PurePosixPath) -> Annotated:
    return Annotated(
        place,
        [
            Candidate(
                tier.name,
                speaker=_speaker(tier.name),
                aligned=not tier.points,
                texts=tuple(label.text for label in tier.labels),
                points=tier.points,
            )
            for tier in grid.tiers
        ],
        [
            [
                Span(f"{number}.{count}", label.start_s, label.end_s, label.text)
                for count, label in enumerate(tier.labels, start=1)
            ]
            for number, tier in enumerate(grid.tiers, start=1)
        ],
        [None] * len(grid.tiers),
    )


def _speaker(name: str) -> str | None:
    return name.partition("@")[2].strip() or name.rpartition(" - ")[0].strip() or None
