"""`utterances.jsonl` beside recordings; each utterance a span of one of them.

In: the folder. Out: its utterances in the file's order, those in other languages counted. The fields of a
line are those of `mms_adapt.manifest.Utterance`; docs/getting_started.md explains them.
"""

from collections.abc import Iterator
from pathlib import Path

from mms_adapt import manifest
from mms_adapt.corpora import Reading, Skipped
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance

DESCRIPTION = "utterances.jsonl, one utterance a line, and the recordings that it names beside or below it"
MANIFEST = "utterances.jsonl"
FILES = (MANIFEST,)


def recognise(root: Path) -> bool:
    """Tell whether there is an `utterances.jsonl`, or whether this is one."""
    return _manifest(Path(root)).is_file()


def read(root: Path, split: str | None = None, *, target_lang: str) -> Reading:
    """Read the utterances of one language.

    Args:
        root: The folder, or its `utterances.jsonl`.
        split: Only those with this `source_split`; all where not given.
        target_lang: The language.

    Raises:
        CorpusError: If the folder has no manifest, or a line of it cannot be read.
    """
    root = Path(root)
    if not recognise(root):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is no {MANIFEST}")
    return Reading(_rows(_manifest(root), split, target_lang))


def _manifest(root: Path) -> Path:
    return root if root.name == MANIFEST else root / MANIFEST


def _rows(path: Path, split: str | None, target_lang: str) -> Iterator[Utterance | Skipped]:
    for one in manifest.read(path):
        if one.target_lang != target_lang:
            yield Skipped("other_language", one.target_lang)
        elif split is not None and one.source_split != split:
            yield Skipped("other_split", one.source_split or "none")
        else:
            yield one
