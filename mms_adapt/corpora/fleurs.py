"""FLEURS in one language, as downloaded: tables without a header, and archives of audio.

In: the folder with `train.tsv`, `dev.tsv`, `test.tsv` and, below `audio`, a folder or a .tar.gz for each.
Out: an utterance for every row, its transcript the raw one. An archive is extracted once, beside itself.

Nobody says who speaks: only `gender` is known, so there are no speakers. Where the folder's name is FLEURS's
own for a language ("sn_zw") that cannot be the one asked for, all is counted and passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mms_adapt import archives, language
from mms_adapt.corpora import Reading, Skipped, _lines, sifted
from mms_adapt.corpora._places import stem
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance

DESCRIPTION = (
    "FLEURS in one language: train.tsv, dev.tsv, test.tsv without a header (id, file, raw transcription, "
    "transcription, characters, samples, gender), and audio/train.tar.gz or audio/train/ and so on"
)
PARTS = ("train", "dev", "test")
_GENDERS = {"MALE", "FEMALE", "OTHER"}
_CELLS = 7
_LOCALE = re.compile(r"[a-z]{2,3}(_[a-z]{4})?_[a-z]{2}")


def recognise(root: Path) -> bool:
    """Tell whether there is a table whose first line is a row of FLEURS."""
    return any(_is_table(Path(root) / f"{part}.tsv") for part in PARTS)


def read(root: Path, split: str | None = None, *, target_lang: str) -> Reading:
    """Read the utterances of one language.

    Args:
        root: The folder of the language.
        split: Only this part: train, dev or test.
        target_lang: The language.

    Raises:
        CorpusError: If the folder has no such tables, or one or an archive cannot be read.
    """
    root = Path(root)
    if not recognise(root):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is no such table")
    return Reading(_rows(root, split, target_lang))


def _is_table(path: Path) -> bool:
    cells = _lines.first_line(path).split("\t")
    return len(cells) == _CELLS and cells[5].strip().isdecimal() and cells[6].strip().upper() in _GENDERS


def _rows(root: Path, split: str | None, target_lang: str) -> Iterator[Utterance | Skipped]:
    locale = root.resolve().name
    said = _LOCALE.fullmatch(locale) is not None and not language.is_private(target_lang)
    other = said and not language.means(locale, target_lang)
    for part in PARTS:
        path = root / f"{part}.tsv"
        if not path.is_file():
            continue
        folder: str | None = None
        seen: set[str] = set()
        for number, cells in _lines.cells(path):
            place = f"{path.name}:{number}"
            if len(cells) != _CELLS or not cells[1].strip():
                yield Skipped("ragged_row", f"{place}: {len(cells)} cells; a row of FLEURS has {_CELLS}")
            elif other:
                yield Skipped("other_language", locale)
            elif split not in (None, part):
                yield Skipped("other_split", part)
            elif (name := cells[1].strip()) in seen:
                yield Skipped("repeated_row", place)
            else:
                seen.add(name)
                folder = folder or _audio(root, part)
                where = f"{folder}/{name}"
                one = Utterance(
                    f"{part}/{stem(name)}", where, 0.0, None, cells[2], target_lang, source_split=part
                )
                yield sifted(one, split, place)


def _audio(root: Path, part: str) -> str:
    """Return the folder of a part's recordings, relative to the root; its archive is extracted if need be."""
    places = [root / "audio" / part, root / part]
    if found := next((place for place in places if place.is_dir()), None):
        return found.relative_to(root).as_posix()
    packed = (place.with_name(f"{part}{suffix}") for place in places for suffix in archives.SUFFIXES)
    if archive := next((one for one in packed if one.is_file()), None):
        folder = archives.extract(archive)
        inner = folder / part
        return (inner if inner.is_dir() else folder).relative_to(root).as_posix()
    return f"audio/{part}"
