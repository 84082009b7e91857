"""Where the recording of an annotation document is, when its link has long been stale.

In: a folder, a document's place in it and what the document says of its recordings. Out: the recording's
place in the folder, and how it was found. It does not decode audio, and knows neither tiers nor utterances.

Annotators move files between machines, so a link is tried as it stands, then from the document, then by its
file's name, and only then by the stem of its name or of the document's. A recording outside the folder is
never taken: a document from elsewhere shall not choose what is read on this machine.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

# Known by their names; whether they can be decoded is another matter, and told when they are. Lossless first:
# of recordings with one stem, the first of these is taken.
AUDIO = tuple(
    ".wav .wave .flac .aiff .aif .aifc .w64 .rf64 .caf .au .snd .sph "
    ".opus .ogg .oga .mp3 .m4a .aac .wma .amr".split()
)
FILM = (".mp4", ".mov", ".mkv", ".webm", ".3gp")


@dataclass(frozen=True, slots=True)
class Link:
    """What a document says of one of its recordings.

    Attributes:
        url: An address or path on some machine.
        relative_url: A path from the document; "" where not given.
    """

    url: str
    relative_url: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The file's name, where it is written with %20 and the like also as it stands; () where none is."""
        name = PurePosixPath(_path(self.url) or _path(self.relative_url)).name
        return tuple(dict.fromkeys([unquote(name), name])) if name else ()

    @property
    def is_sound(self) -> bool:
        """Whether its name is one of a sound file."""
        return any(PurePosixPath(name).suffix.lower() in AUDIO for name in self.names)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a document's recording is.

    Attributes:
        recording: Its place in the folder, or where it should be put if it is missing.
        how: "link", or what it was found by instead: "name", "stem" or "beginning" (of the document's name);
            "" where it is missing.
        link: Which of the document's links it is, counted from 0; None where it is none of them.
        why: Where it is missing: what was looked for, in words.
    """

    recording: str
    how: str
    link: int | None = None
    why: str = ""


def documents(root: Path, suffix: str) -> list[PurePosixPath]:
    """Return the places of all files with a suffix in a folder and below it, in alphabetical order.

    Hidden files and folders, among them what a Mac's archiver leaves, are passed over.

    Args:
        root: The folder; or one file, which is then the only one.
        suffix: In small letters, such as ".eaf".
    """
    if root.is_file():
        return [PurePosixPath(root.name)]
    return sorted(one for one in _files(root) if one.suffix.lower() == suffix)


def any_document(root: Path, suffix: str) -> bool:
    """Tell whether `documents` would return any, without looking further than the first."""
    if root.is_file():
        return root.suffix.lower() == suffix
    return any(one.suffix.lower() == suffix for one in _files(root))


class Shelf:
    """The recordings in a folder and below it, to be found for one document after another."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[PurePosixPath, PurePosixPath] = {}
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for one in sorted(_files(root)):
            self._by_name.setdefault(one.parent / folded(one.name), one)
            if one.suffix.lower() in AUDIO:
                self._by_stem[folded(one.stem)].append(one)

    def find(self, document: PurePosixPath, links: Sequence[Link]) -> Found:
        """Find the recording of a document.

        Args:
            document: Its place in the folder.
            links: What it says of its recordings; the first that leads to one is taken, sound before film.
        """
        sound = [place for place, link in enumerate(links) if link.is_sound]
        film = [place for place in range(len(links)) if place not in sound]
        outside: list[str] = []
        for place in sound:
            if found := self._linked(document, place, links[place], outside):
                return found
        unclear: list[PurePosixPath] = []
        for place in [*sound, *film]:
            for name in links[place].names:
                if found := self._nearest(document, PurePosixPath(name).stem, place, unclear):
                    return found
        if found := self._nearest(document, document.stem, None, unclear):
            return found
        for place in film:
            if found := self._linked(document, place, links[place], outside):
                return found
        if found := self._beginning(document):
            return found
        named = [links[place] for place in [*sound, *film] if links[place].names]
        expected = document.parent / (_clean(named[0].names[0]) if named else f"{document.stem}.wav")
        return Found(str(expected), "", None, _missing(named, outside, unclear))

    def _linked(self, document: PurePosixPath, place: int, link: Link, outside: list[str]) -> Found | None:
        """Follow a link as given, from the document, and by its file's name beside the document."""
        for text in dict.fromkeys([_path(link.url), _path(link.relative_url)]):
            for path in dict.fromkeys([text, unquote(text)]):
                start = "" if path.startswith("/") else os.path.join(self._root, document.parent)
                whole = os.path.normpath(os.path.join(start, path))
                if path and os.path.isfile(whole):
                    if inside := self._inside(whole):
                        return Found(inside, "link", place)
                    outside.append(whole)
        for name in link.names:
            if found := self._by_name.get(document.parent / folded(name)):
                return Found(str(found), "name", place)
        return None

    def _inside(self, path: str) -> str:
        """Return a path relative to the folder; "" where it is outside."""
        for root in dict.fromkeys([os.path.abspath(self._root), os.path.realpath(self._root)]):
            relative = os.path.relpath(os.path.abspath(path), root)
            if not relative.startswith(".."):
                return PurePosixPath(relative).as_posix()
        return ""

    def _nearest(
        self, document: PurePosixPath, stem: str, place: int | None, unclear: list[PurePosixPath]
    ) -> Found | None:
        """Find a recording by its stem, the one that shares most folders with the document."""
        ranked: dict[int, list[PurePosixPath]] = defaultdict(list)
        for one in self._by_stem.get(folded(stem), ()) if stem else ():
            shared = os.path.commonpath([document, one])
            ranked[len(PurePosixPath(shared).parts)].append(one)
        if not ranked:
            return None
        best = ranked[max(ranked)]
        beside = [one for one in best if one.parent == document.parent] or best
        if len({one.parent for one in beside}) > 1:
            unclear += beside
            return None
        return Found(str(min(beside, key=_preference)), "stem", place)

    def _beginning(self, document: PurePosixPath) -> Found | None:
        """Find a recording beside the document with which its name begins, such as a.wav for a_words."""
        name = folded(document.stem)
        for length in range(len(name) - 1, 0, -1):
            rest = name[length:]
            if rest[0].isalnum() or any(map(str.isdigit, rest)):  # story_1 is not about story.wav
                continue
            beside = [one for one in self._by_stem.get(name[:length], ()) if one.parent == document.parent]
            if beside:
                return Found(str(min(beside, key=_preference)), "beginning")
        return None


def _files(root: Path) -> Iterator[PurePosixPath]:
    """Return the places of all files that are not hidden."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(one for one in folders if not one.startswith((".", "__MACOSX")))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in sorted(names):
            if not name.startswith("."):
                yield inside / name


def folded(name: str) -> str:
    """Return a name as it is compared, whatever the file system made of its accents and capitals."""
    return unicodedata.normalize("NFC", name).casefold()


def _preference(path: PurePosixPath) -> tuple[int, str]:
    return AUDIO.index(path.suffix.lower()), str(path)


def _path(url: str) -> str:
    """Return the path in an address, with "/" between folders."""
    return re.sub(r"^file:(//(localhost)?)?(?=/)|^\w{2,}://[^/]*", "", url.strip()).replace("\\", "/")


def _clean(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029:]", "_", name)


def _missing(named: Iterable[Link], outside: Sequence[str], unclear: Sequence[PurePosixPath]) -> str:
    """Say what was looked for in vain."""
    links = " or ".join(one.url or one.relative_url for one in named)
    said = [links or "no recording has its name"]
    if outside:
        said.append(f"{outside[0]} is outside the folder that is read: give the folder above both")
    if unclear:
        said.append(f"could be {' or '.join(map(str, unclear))}: correct the link")
    return "; ".join(said)
