"""Codes of languages: ISO 639-3, with MMS's suffix for a script or dialect where needed.

In: what a user, a manifest or a folder calls a language. Out: the code, if it is one, and its English name.
The list of codes is the one in langcodes, read when it is first needed. It does not know which languages have
adapters.
"""

import re
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from mms_adapt.errors import LanguageError

_FORM = re.compile(r"([a-z]{3})(?:-(script|dialect)_([a-z0-9]+))?")
_PRIVATE = re.compile(r"q[a-t][a-z]")  # for languages that ISO 639-3 does not list (yet)
_NO_LANGUAGE = {"collection", "special", "private-use"}


class _Registry(NamedTuple):
    """Languages by code, their other codes, what is no single language, and macrolanguages by member."""

    names: dict[str, str]
    others: dict[str, str]
    groups: dict[str, str]
    wider: dict[str, str]


def parse(code: str) -> str:
    """Return a language's code after checking it.

    Args:
        code: Three letters of ISO 639-3 ("mdw"), or qaa to qtz for a language that has none; a script or
            dialect may follow as in MMS ("azj-script_latin").

    Raises:
        LanguageError: If it is none; the message names what may be meant.
    """
    text = str(code)
    form = _FORM.fullmatch(text)
    if form and (_PRIVATE.fullmatch(form[1]) or form[1] in _registry().names):
        return text
    shown = repr(text if len(text) <= 40 else f"{text[:40]}…")
    if form and form[1] in _registry().groups:
        raise LanguageError(
            f"{shown} is a group, {_registry().groups[form[1]]}; give the code of one language"
        )
    near = " or ".join(f"{one} ({_registry().names[one]})" for one in _nearest(text))
    hint = f"did you mean {near}?" if near else "look it up at iso639-3.sil.org, for instance mdw for Mboshi"
    what = "is not in the list of ISO 639-3" if form else "is no language code"
    raise LanguageError(
        f"{shown} {what}: three letters of ISO 639-3 are expected, or qaa to qtz for a language that has "
        f"none; {hint}"
    )


def name(code: str) -> str:
    """Return the English name of a language's code.

    >>> name("chr"), name("azj-script_latin")
    ('Cherokee', 'North Azerbaijani (latin script)')

    Raises:
        LanguageError: If it is no code.
    """
    language, _, suffix = parse(code).partition("-")
    english = _registry().names.get(language, "Language without a code")
    kind, _, which = suffix.partition("_")
    return f"{english} ({which} {kind})" if suffix else english


def is_private(code: str) -> bool:
    """Tell whether a code stands for a language that has none.

    >>> is_private("qab"), is_private("que")
    (True, False)
    """
    return bool(_PRIVATE.fullmatch(code.partition("-")[0]))


@cache
def means(tag: str, code: str) -> bool:
    """Tell whether what others call a language may be the one of a code.

    A macrolanguage of ISO 639-3 and one of its languages may mean the same; so may a code for a language that
    has none, and what is no language of ISO 639-3 either.

    >>> [means(tag, "twi") for tag in ("tw", "ak", "tw-GH", "Twi", "ee")]
    [True, True, True, True, False]

    Args:
        tag: A tag of BCP 47 ("zh-TW", "sn_zw"), another code or an English name.
        code: The language's code.

    Raises:
        LanguageError: If the code is none.
    """
    wanted = parse(code).partition("-")[0]
    names, others, groups, wider = _registry()
    word = tag.strip().casefold()
    first = re.split(r"[-_.@ ]", word)[0]
    found = others.get(first, first)
    if is_private(wanted):
        return found == wanted or not (found in names or found in groups)
    if word == names[wanted].partition(" (")[0].casefold():
        return True
    return found == wanted or wanted == wider.get(found) or found == wider.get(wanted)


@cache
def _registry() -> _Registry:
    from langcodes import Language
    from langcodes.data_dicts import LANGUAGE_ALPHA3_BIBLIOGRAPHIC
    from langcodes.registry_parser import parse_registry

    names: dict[str, str] = {}
    others: dict[str, str] = {}
    groups: dict[str, str] = {}
    wider: dict[str, str] = {}
    for item in parse_registry():  # type: ignore[no-untyped-call]
        subtag = item["Subtag"] if item["Type"] == "language" else ""
        if len(subtag) == 2:
            others[subtag] = Language.get(subtag, normalize=False).to_alpha3()
            subtag = others[subtag]
        if len(subtag) == 3:
            group = item.get("Scope") in _NO_LANGUAGE
            (groups if group else names).setdefault(subtag, item["Description"][0])
            if "Macrolanguage" in item:
                wider[subtag] = item["Macrolanguage"]
    for two, three in LANGUAGE_ALPHA3_BIBLIOGRAPHIC.items():  # "ger" beside "deu"
        if three not in names and two in others:
            others[three] = others[two]
    return _Registry(names, others, groups, {one: others.get(two, two) for one, two in wider.items()})


def _nearest(text: str) -> list[str]:
    """Return up to three codes that a text may mean: another code, a locale, a name, a slip of the finger."""
    names, others, *_ = _registry()
    word = text.strip().casefold()
    first = re.split(r"[-_.@ ]", word)[0]
    for one in (word, first):
        if one in others or one in names:
            return [others.get(one, one)]
    if not 2 <= len(word) <= 40:
        return []
    by_name = {english.casefold(): code for code, english in names.items()}
    if word in by_name:
        return [by_name[word]]
    by_name_too = get_close_matches(word, by_name, n=3, cutoff=0.75) if len(word) > 3 else []
    return [by_name[one] for one in by_name_too] or get_close_matches(word, names, n=3, cutoff=0.6)
