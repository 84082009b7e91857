"""Where the recordings are that a file of a corpus names.

In: names as written, relative to this or that folder, or absolute and perhaps of another machine. Out: paths,
and one folder that all of them lie in. It does not know what the file is.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mms_adapt.media import AUDIO, FILM, folded

AUDIO_SUFFIXES = frozenset(AUDIO + FILM)
_TRIED = (".wav", ".flac", ".mp3", ".ogg", ".opus")  # where a name has no ending


def stem(recording: str) -> str:
    """Return a recording's name without its ending, folders included.

    >>> stem("clips/a.b.mp3"), stem("."), stem("a.d/b")
    ('clips/a.b', '.', 'a.d/b')
    """
    return re.sub(r"(?<=[^/])\.[^./]+$", "", recording)


class Places:
    """Finds recordings by their names.

    Args:
        folders: Where relative names may start, the likeliest first.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        absolute = (Path(os.path.abspath(folder)) for folder in folders)
        self._folders: Sequence[Path] = tuple(dict.fromkeys(absolute))
        self._known: dict[str, Path] = {}
        self._parents: set[Path] = set()
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path:
        """Return the recording of a name; where there is none, the place where it should be."""
        if name not in self._known:
            tried = [path for one in self._meant(name) for path in self._tried(one)]
            found = next((path for path in tried if os.path.isfile(path)), None) or self._alike(tried)
            self._known[name] = Path(os.path.abspath(found or tried[0]))
            if found:
                self._parents.add(self._known[name].parent)
        return self._known[name]

    def root(self, preferred: Path) -> Path:
        """Return the folder preferred where all that was found lies in it, else one that holds them all."""
        preferred = Path(os.path.abspath(preferred))
        if all(parent.is_relative_to(preferred) for parent in self._parents):
            return preferred
        return Path(os.path.commonpath(self._parents))

    def recording(self, name: str, root: Path) -> str:
        """Return a recording relative to a root; one that is missing never leads out of it."""
        path = self.find(name)
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
        return path.as_posix().lstrip("/")

    def _alike(self, tried: Iterable[Path]) -> Path | None:
        """Return the first that is there, and but once, with other capitals or accents stored otherwise."""
        for path in tried:
            if path.parent not in self._listed:
                held: dict[str, list[str]] = {}
                for one in os.listdir(path.parent) if path.parent.is_dir() else ():
                    held.setdefault(folded(one), []).append(one)
                self._listed[path.parent] = held
            names = self._listed[path.parent].get(folded(path.name), [])
            if len(names) == 1 and (found := path.with_name(names[0])).is_file():
                return found
        return None

    def _meant(self, name: str) -> list[str]:
        """Return a name as it is, and as it is where a Windows machine wrote it."""
        return list(dict.fromkeys([name, name.replace("\\", "/")]))

    def _tried(self, name: str) -> list[Path]:
        """Return where a name may lead: of an absolute one, also its end, since corpora move."""
        tails = [name]
        if re.match(r"/|[A-Za-z]:/", name):
            parts = name.split("/")
            tails = ["/".join(parts[start:]) for start in range(1, len(parts)) if parts[start]]
        paths = [folder / tail for tail in tails for folder in self._folders]
        if name.startswith("/"):
            paths.insert(0, Path(name))
        if Path(name).suffix.lower() in AUDIO_SUFFIXES:
            return paths
        return paths + [path.with_name(f"{path.name}{suffix}") for path in paths for suffix in _TRIED]
