"""Find a module of an open-ended folder by its name: the whole extension mechanism.

In: the folder ("corpora", "adapters", "decoders", "writers", "reports") and a name. Out: the module. A bare
name is a module of that folder; a name with a dot is a stranger's own module. It does not know what the
modules hold: their callers do.

A name with a dot is to come from a user's call alone, never from a file that was read: importing a module
runs it, and opening an adapter must not.
"""

import re
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mms_adapt.errors import OptionError

_BARE = re.compile(r"[a-z][a-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def names(folder: str) -> list[str]:
    """Return the names of the modules in one of the package's folders, in alphabetical order."""
    return list(_names(folder))


@cache
def _names(folder: str) -> tuple[str, ...]:
    stems = (path.stem for path in (Path(__file__).parent / folder).glob("*.py"))
    return tuple(sorted(stem for stem in stems if not stem.startswith("_")))


def load(folder: str, name: str) -> ModuleType:
    """Return a module by its name.

    Args:
        folder: One of the package's open-ended folders.
        name: A module there, or the dotted name of a module of your own.

    Raises:
        OptionError: There is none of this name, or your own cannot be imported.
    """
    known = names(folder)
    if _BARE.fullmatch(name) and name in known:
        return import_module(f"mms_adapt.{folder}.{name}")
    if _DOTTED.fullmatch(name):
        try:
            return import_module(name)
        except ImportError as error:
            raise OptionError(f"{folder}: the module {name!r} cannot be imported: {error}") from error
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise OptionError(f"{folder}: there is no {name!r}{hint} (known: {', '.join(known)})")
