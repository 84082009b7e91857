"""Readers of corpora, one module a layout of files.

Each module here exports

- `DESCRIPTION`: one line that says which files make this layout, shown where a folder is none;
- `recognise(root) -> bool`: whether a folder has this layout, judged from names and first lines alone;
- `read(root, split=None, *, target_lang) -> Iterator[Utterance]`: its utterances, in the same order every
  time. `split` wants one part of the corpus's own division only (`source_split`). Further keyword arguments
  are the layout's own options, given as `corpus_options` (`--corpus-option KEY=VALUE`); each is text.

and, where there is need,

- `FILES`: endings of the names of single files that it reads, too; `root` may then be such a file;
- `HUB = True`: `root` may be a name elsewhere, of which there is no file or folder.

Ids are unique and the same every time, transcripts exactly as found, recordings relative to the root or to
the folder that the `Reading` names. What cannot be read at all is a `CorpusError` that says where. A row that
is passed over on purpose, such as one in another language, is counted: `read` returns a `Reading` of
utterances and `Skipped` rows, and of `Note`s, which tell a person what was chosen. A row with missing or
broken audio is yielded like any other; `mms_adapt.quality` sorts those. Adding a layout is adding a module;
`mms_adapt.plugins` finds it by its name. Readers do not decode audio and do not normalise.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mms_adapt import archives, manifest, plugins
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.manifest import Utterance
from mms_adapt.seen import Seen

_MOST_KINDS = 50  # of rows passed over for one reason that are told apart


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row of a corpus that is passed over.

    Attributes:
        reason: As one word, such as "other_language".
        detail: What makes the difference, such as the language; rows are counted by both.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know of how a corpus was read, such as which tiers hold the transcripts.

    Attributes:
        text: One sentence, as it will be shown.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that a reader gave.

    Attributes:
        utterances: In the reader's order.
        skipped: How many rows of each kind were passed over.
        notes: What a person should know.
        root: The folder that the recordings are relative to.
    """

    utterances: tuple[Utterance, ...]
    skipped: Counter[Skipped]
    notes: tuple[str, ...]
    root: Path


class Reading(Iterator[Utterance]):
    """Utterances one by one, with a count of the rows that were passed over so far.

    Attributes:
        skipped: How many rows of each kind.
        notes: What a person should know, each once.
        root: The folder that the recordings are relative to; None for the one that was read.
    """

    def __init__(self, rows: Iterable[Utterance | Skipped | Note], root: Path | None = None) -> None:
        self._rows, self.root = iter(rows), root
        self._kinds: Counter[str] = Counter()
        self.skipped: Counter[Skipped] = Counter()
        self.notes: list[str] = []

    def __next__(self) -> Utterance:
        while True:
            row = next(self._rows)
            if isinstance(row, Utterance):
                return row
            if isinstance(row, Skipped):
                self._skip(row)
            elif row.text not in self.notes:
                self.notes.append(row.text)

    def _skip(self, row: Skipped) -> None:
        """Count a row; where very many differ, such as by their lines, the later ones count together."""
        if row not in self.skipped:
            self._kinds[row.reason] += 1
        if self._kinds[row.reason] > _MOST_KINDS and row not in self.skipped:
            row = Skipped(row.reason, "and others")
        self.skipped[row] += 1


def sifted(utterance: Utterance, split: str | None, place: str) -> Utterance | Skipped:
    """Return an utterance, or why it is passed over: it is of another part, or cannot be one at all.

    Args:
        utterance: What a reader made of a row.
        split: The part that is wanted; all where not given.
        place: Where the row stands, such as "validated.tsv:17".
    """
    if split is not None and utterance.source_split != split:
        return Skipped("other_split", utterance.source_split or "none")
    if wrong := manifest.complaint(utterance):
        return Skipped("unusable_row", f"{place}: {wrong}")
    return utterance


def opened(source: Path, name: str | None = None, *, progress: Callable[..., None] | None = None) -> Path:
    """Return what readers read: what is inside an archive, which is extracted once; else the source itself.

    Args:
        source: A folder, a file or an archive.
        name: The layout, where it is known.
        progress: Called with ("extract", done, total, note) now and then.

    Raises:
        CorpusError: If an archive cannot be extracted.
        OptionError: If there is no such layout.
    """
    if not archives.is_archive(source):
        return source
    modules = [plugins.load("corpora", one) for one in ([name] if name else plugins.names("corpora"))]
    folder = archives.extract(source, progress=progress)
    blind = not any(hasattr(module, "recognise") for module in modules)
    while not any(_fits(module, folder) for module in modules):
        inner = _folders(folder)
        if len(inner) != 1 or (blind and any(path.is_file() for path in folder.glob("[!.]*"))):
            break
        folder = inner[0]
    return folder


def find(root: Path, name: str | None = None) -> tuple[str, ModuleType]:
    """Return the layout of a folder or file and the module that reads it.

    Args:
        root: The folder or file; archives are `opened` first.
        name: The layout, or the dotted name of a module of your own; found out where not given.

    Raises:
        CorpusError: If there is no such folder, or no layout fits.
        OptionError: If there is no such module, or several layouts fit.
    """
    module = plugins.load("corpora", name) if name is not None else None
    if not (root.exists() or getattr(module, "HUB", False)):
        hub = ""
        if module is None and re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", str(root)):
            hub = "; if this is a data set on the Hugging Face hub, say corpus datasets (--corpus datasets)"
        raise CorpusError(f"{root}: there is no such folder or file of recordings and transcripts{hub}")
    if name is not None and module is not None:
        if not callable(getattr(module, "read", None)):
            raise OptionError(f"corpus {name!r}: this module has no read(root, split=None, *, target_lang)")
        return name, module
    modules = {one: plugins.load("corpora", one) for one in plugins.names("corpora")}
    fitting = [one for one, module in modules.items() if _fits(module, root)]
    if len(fitting) > 1:
        raise OptionError(f"{root} could be {' or '.join(fitting)}; say which with corpus (--corpus NAME)")
    if fitting:
        return fitting[0], modules[fitting[0]]
    below = [path for path in _folders(root) if any(_fits(module, path) for module in modules.values())]
    hint = f", but {below[0]} does" if below else ""
    if packed := [] if below or not root.is_dir() else sorted(filter(archives.is_archive, root.iterdir())):
        hint = f"; if the corpus is in {packed[0]}, give that"
    if not hint:
        complaints = (getattr(one, "complaint", lambda _: "")(root) for one in modules.values())
        if wrong := next(filter(None, complaints), ""):
            raise CorpusError(wrong)
    raise CorpusError(
        f"{root} {_shown(root)}has no layout that is known{hint}; known are {', '.join(modules)} "
        "(docs/corpora.md; spans is a file utterances.jsonl): say --corpus NAME to hear what one lacks"
    )


def _shown(root: Path) -> str:
    """Say what a folder holds, in brackets."""
    if not root.is_dir():
        return ""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    return f"({', '.join(names[:6])}{', …' if len(names) > 6 else ''}) " if names else "is empty and "


def _fits(module: ModuleType, root: Path) -> bool:
    """Tell whether a folder or file has a module's layout."""
    if not hasattr(module, "recognise"):
        return False
    if root.is_file() and not root.name.lower().endswith(tuple(getattr(module, "FILES", ()))):
        return False
    return bool(module.recognise(root))


def _folders(root: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, nor made by a Mac's archiver."""
    if not root.is_dir():
        return []
    names = sorted(path for path in root.iterdir() if path.is_dir())
    return [path for path in names if not path.name.startswith((".", "__MACOSX"))]


def check_options(layout: str, module: ModuleType, options: Mapping[str, str]) -> None:
    """Refuse options that a layout does not know: its own are the keyword arguments of its `read`.

    Raises:
        OptionError: If there is one; it names those that the layout knows.
    """
    parameters = inspect.signature(module.read).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    known.remove("target_lang")
    if unknown := sorted(options.keys() - set(known)):
        are = f"its options are {', '.join(known)}" if known else "it has none"
        raise OptionError(
            f"corpus option {', '.join(map(repr, unknown))}: layout {layout} has no such; {are}"
        )


def gather(
    module: ModuleType,
    root: Path,
    target_lang: str,
    *,
    options: Mapping[str, str] | None = None,
    progress: Callable[..., None] | None = None,
) -> Gathered:
    """Read and check all utterances of one language.

    Args:
        module: The reader.
        root: The folder.
        target_lang: The language.
        options: Those of the layout, checked by `check_options`.
        progress: Called with ("read", done) now and then.

    Returns:
        The utterances, how many rows of each kind were passed over, and what a person should know.

    Raises:
        CorpusError: If there are none, or a reader gives what no utterance may be.
        OptionError: If a value of an option makes no sense.
    """
    reading = module.read(root, target_lang=target_lang, **(options or {}))
    rows: list[Utterance] = []
    seen = Seen()
    for one in reading:
        again = seen.add(one.id) and any(one.id == row.id for row in rows)
        if wrong := manifest.complaint(one) or ("the id comes twice" if again else ""):
            raise CorpusError(f"{root}: utterance {manifest.shown(one.id)}: {wrong}")
        rows.append(manifest.trimmed(one))
        if progress and len(rows) % 500 == 0:
            progress("read", len(rows))
    skipped = Counter[Skipped](getattr(reading, "skipped", {}))
    if not rows:
        others = {one.detail: count for one, count in skipped.items() if one.reason == "other_language"}
        shown = ", ".join(f"{name} ({count})" for name, count in Counter(others).most_common(8))
        what = (
            f"no utterance is in {target_lang!r}; found: {shown}" if others else "there is no utterance in it"
        )
        if skipped and not others:
            kinds = ", ".join(f"{count} x {one.reason} {one.detail}" for one, count in skipped.most_common(3))
            what += f"; passed over: {kinds}"
        raise CorpusError(f"{root}: {what}")
    place = getattr(reading, "root", None) or (root if root.is_dir() else root.parent)
    return Gathered(tuple(rows), skipped, tuple(getattr(reading, "notes", ())), place)
