"""A passport that may be given away: pseudonyms instead of names, no paths of this machine.

In: a passport. Out: one without paths, or an error where it names a speaker. What the text of a corpus's name
or licence says is not looked at. It does not know files.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from mms_adapt.errors import AdapterError
from mms_adapt.passport import FILE, Passport

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")


def anonymous(written: Passport, files: Mapping[str, str]) -> Passport:
    """Return a passport as it may be published.

    Args:
        written: The passport.
        files: Hashes of the files that are published with it.

    Raises:
        AdapterError: If it names speakers otherwise than by pseudonyms.
    """
    for part, labels in written.speakers.items():
        held = labels if isinstance(labels, list | tuple) else [labels]
        named = [one for one in held if not (isinstance(one, str) and _PSEUDONYM.fullmatch(one))]
        if named:
            raise AdapterError(
                f"{FILE}: {len(named)} of the speakers of {part} are no pseudonyms, and names of people are "
                "not published; train the adapter with this version, which notes pseudonyms"
            )
    return replace(
        written,
        backbone=_place(written.backbone),
        options=_without_paths(written.options),
        run=_without_paths(written.run),
        files=dict(files),
    )


def _without_paths(value: Any) -> Any:
    """Return a value of JSON in which paths are the last name on them."""
    if isinstance(value, Mapping):
        return {name: _without_paths(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(one) for one in value]
    return _place(value) if isinstance(value, str) else value


def _place(text: str) -> str:
    """Return a text, or the last name of a path that it is."""
    if PurePath(text).is_absolute() or text.startswith(("~", "..")):
        return Path(text).expanduser().resolve().name
    return Path(text).resolve().name if "/" in text and Path(text).is_dir() else text
