"""Which script a character belongs to, and which characters look like which.

In: characters. Out: names of scripts, such as "LATIN", and groups of look-alikes. It does not know texts.

A letter's script is the first word of its name in Unicode. The groups were put together by eye: letters that
one takes for each other in most fonts, or that lie under the same finger on another keyboard.
"""

import unicodedata
from functools import cache

# Japanese and Korean mix these within a text, and in Japanese within a word
_TOGETHER = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "HALFWIDTH"}
_NO_SCRIPT = {"MODIFIER", "FEMININE", "MASCULINE", "FULLWIDTH", "COMBINING", "MICRO", "MATHEMATICAL"}

LOOK_ALIKES = (
    "aаɑα", "eе", "oоοօ", "pрρ", "cсϲ", "yуүʏ", "xхχꭓ", "iіιɩ", "jјϳ", "sѕ", "hһ", "dԁ", "qԛ", "wԝ",
    "kкκ", "uυս", "vνѵ", "gɡց",
    "AАΑ", "BВΒ", "EЕΕ", "HНΗ", "IІΙӀ", "JЈ", "KКΚ", "MМΜ", "NΝ", "OОΟ", "PРΡ", "CСϹ", "SЅ", "TТΤ", "XХΧ",
    "YΥҮУ", "ZΖ",
    "ɛεԑє", "ɔↄᴐכ", "əәǝ", "ɣγ", "ɸφ", "ꞵβß", "ꞷω", "ŋηƞ", "ʋυ", "ʒӡ", "ʃſ", "θɵѳ", "đð", "ӕæ", "ӏl",
    "ăǎ", "ĕě", "ĭǐ", "ŏǒ", "ŭǔ", "ğǧ", "şș", "ţț", "ʔɂ",
    "'ʼʻʹˈꞌʾʿ׳", ":ː꞉", "·ꞏ",
    "يیى", "كک", "هہەھ", "ةۃ",
)  # fmt: skip

_GROUPS: dict[str, tuple[str, ...]] = {}
for _group in LOOK_ALIKES:
    for _one in _group:
        _GROUPS[_one] = tuple(dict.fromkeys((*_GROUPS.get(_one, ()), *_group)))


@cache
def script(character: str) -> str | None:
    """Return a letter's script; None of marks, digits, punctuation and letters of many scripts.

    >>> [script(one) for one in "aаα1ʼ"]
    ['LATIN', 'CYRILLIC', 'GREEK', None, None]
    """
    if unicodedata.category(character)[0] != "L":
        return None
    first = unicodedata.name(character, "UNNAMED").split()[0]
    if first.startswith("CJK") or first in _TOGETHER:
        return "EAST ASIAN"
    return None if first in _NO_SCRIPT else first


def like(character: str) -> tuple[str, ...]:
    """Return the characters that look like one, itself among them; none where there is no such."""
    return _GROUPS.get(character, ())


@cache
def named(character: str) -> str:
    """Return a character with its code and name in Unicode: they look alike otherwise."""
    shown = f"◌{character}" if unicodedata.combining(character) else character
    return f"{shown} U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"
