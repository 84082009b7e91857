"""A release of Common Voice in one language, as a folder or as the .tar.gz that is downloaded.

In: the folder with `validated.tsv` and `clips`. Out: an utterance for every validated clip, since the
official parts leave most clips out. `train.tsv`, `dev.tsv` and `test.tsv` say which part a clip is in, if
any. Without `validated.tsv`, the parts are all there is.

The speaker is `client_id`. A release says its language in its own way ("tw", "zh-TW"); a clip of one that
cannot be the language asked for is counted and passed over, and what is taken for it is told.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mms_adapt import language
from mms_adapt.corpora import Note, Reading, Skipped, _lines, sifted
from mms_adapt.corpora._places import stem
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance

DESCRIPTION = (
    "a Common Voice release of one language (or its .tar.gz): validated.tsv with client_id, path and "
    "sentence, train.tsv, dev.tsv, test.tsv, and the folder clips"
)
ALL = "validated.tsv"
PARTS = ("test", "dev", "train")  # a clip in two of them counts for the first
_NEEDED = {"client_id", "path", "sentence"}
_LOCALE = re.compile(r"common_voice_([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)_\d+")


def recognise(root: Path) -> bool:
    """Tell whether there are tables of Common Voice, with its clips or with all that was validated."""
    root = Path(root)
    if _is_table(root / ALL):
        return True
    return (root / "clips").is_dir() and any(_is_table(root / f"{part}.tsv") for part in PARTS)


def read(root: Path, split: str | None = None, *, target_lang: str) -> Reading:
    """Read the clips of one language.

    Args:
        root: The folder of the release's language.
        split: Only those in this official part; all that are validated where not given.
        target_lang: The language.

    Raises:
        CorpusError: If the folder has no such tables, or one cannot be read.
    """
    root = Path(root)
    if not recognise(root):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is no such table")
    return Reading(_rows(root, split, target_lang))


def _is_table(path: Path) -> bool:
    return set(_lines.first_line(path).split("\t")) >= _NEEDED


def _rows(root: Path, split: str | None, target_lang: str) -> Iterator[Utterance | Skipped | Note]:
    present = [part for part in PARTS if _is_table(root / f"{part}.tsv")]
    parts: dict[str, str] = {}
    for part in present:
        for _, row in _table(root / f"{part}.tsv"):
            if not isinstance(row, Skipped):
                parts.setdefault(row["path"], part)
    whole = _is_table(root / ALL)
    seen: set[str] = set()
    for name in [ALL] if whole else [f"{part}.tsv" for part in reversed(present)]:
        for place, row in _table(root / name):
            if isinstance(row, Skipped):
                yield row
            elif row["path"] in seen:
                yield Skipped("repeated_clip", place)
            else:
                seen.add(row["path"])
                locale = _locale(row)
                if locale and not (language.is_private(target_lang) or language.means(locale, target_lang)):
                    yield Skipped("other_language", locale)
                    continue
                if locale:
                    yield Note(f"the release's language is called {locale!r}; it is taken for {target_lang}")
                yield _clip(row, parts.get(row["path"]), split, target_lang, place)
    for path, part in parts.items():
        if path not in seen:
            yield Skipped("not_validated", part)


def _table(path: Path) -> Iterator[tuple[str, dict[str, str] | Skipped]]:
    """Return the rows of a table with their places; quotes in sentences are quotes."""
    rows = _lines.cells(path)
    _, header = next(rows)
    for number, cells in rows:
        place = f"{path.name}:{number}"
        if len(cells) != len(header):
            yield place, Skipped("ragged_row", f"{place}: {len(cells)} cells, the header has {len(header)}")
        else:
            yield place, dict(zip(header, cells, strict=True))


def _locale(row: dict[str, str]) -> str:
    """Return what a release calls the language of a clip, "" where it does not say."""
    found = _LOCALE.match(PurePosixPath(row["path"]).name)
    return row.get("locale", "").strip() or (found[1] if found else "")


def _clip(
    row: dict[str, str], part: str | None, split: str | None, target_lang: str, place: str
) -> Utterance | Skipped:
    name = row["path"].strip()
    if not name:
        return Skipped("no_recording", place)
    if not PurePosixPath(name).suffix:  # the first releases
        name = f"{name}.mp3"
    one = Utterance(
        stem(name),
        f"clips/{name}",
        0.0,
        None,
        row["sentence"],
        target_lang,
        speaker=row["client_id"].strip() or None,
        source_split=part,
    )
    return sifted(one, split, place)
