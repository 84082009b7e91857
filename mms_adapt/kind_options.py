"""Options of an adapter's kind as words: KEY=VALUE, read by the types that the kind's `Config` declares.

In: a kind and words. Out: values for its `Config`. It does not know what they mean.
"""

import types
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from mms_adapt import plugins
from mms_adapt.errors import OptionError

_FILLED = {"size", "layers", "seed"}  # from the backbone and from options of the training


def parse(kind: str, words: Mapping[str, str]) -> dict[str, Any]:
    """Return options with values of their types.

    Args:
        kind: A module of `mms_adapt.adapters`, or a dotted name of your own.
        words: Options by name, as they were written; several values are parted by commas.

    Raises:
        OptionError: If the kind does not know an option, or a value is of another type; all are told at once.
    """
    module = plugins.load("adapters", kind)
    hints, known = get_type_hints(module.Config), {one.name for one in fields(module.Config)}
    found, wrong = {}, []
    for name, word in words.items():
        if name not in known:
            choices = ", ".join(sorted(known - _FILLED)) or "none"
            wrong.append(f"--kind-option {name}: the kind {kind} does not know it; it knows {choices}")
            continue
        try:
            found[name] = _value(word, hints[name])
        except ValueError:
            wrong.append(f"--kind-option {name}={word}: give {_told(hints[name])}")
    if wrong:
        raise OptionError("; ".join(wrong))
    return found


def _value(word: str, hint: Any) -> Any:
    """Read a word as the first of the types that takes it."""
    for one in _alternatives(hint):
        if one is types.NoneType and word == "none":
            return None
        if getattr(one, "__origin__", one) is tuple:
            return tuple(part for part in word.split(",") if part)
        if one in (int, float):
            try:
                return one(word)
            except ValueError:
                continue
        if one is str:
            return word
    raise ValueError(word)


def _alternatives(hint: Any) -> Iterable[Any]:
    if isinstance(hint, types.UnionType):
        return get_args(hint)
    return (hint,)


def _told(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", types.NoneType: "none"}
    return " or ".join(names.get(one, str(one)) for one in _alternatives(hint))
