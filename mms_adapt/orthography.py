"""Graphemes: which characters of a writing system belong together.

In: words or texts. Out: their graphemes in order. It does not know vocabularies or languages.

Where nothing else is said, every code point of the composed text (NFC) is a grapheme of its own, as in the
published MMS adapters: "é" is one, since Unicode has it composed; "ɛ́" is two, the letter and its tone mark.
A grapheme of several code points is named: `Orthography(("ch", "ŋm", "ɛ́"))`.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mms_adapt.errors import OptionError


@dataclass(frozen=True, slots=True)
class Orthography:
    """The graphemes of more than one code point; all others are one code point each.

    Attributes:
        graphemes: Such as ("ch", "ng"), in any order. They are kept composed (NFC), sorted, each once.

    Raises:
        OptionError: If one is empty or holds white space or "|".
    """

    graphemes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: Iterable[str] = self.graphemes
        if isinstance(given, str):
            raise OptionError(f"graphemes={given!r}: give a tuple, such as ({given!r},)")
        wrong = [one for one in given if not one or "|" in one or any(map(str.isspace, one))]
        if wrong:
            raise OptionError(
                f"graphemes {', '.join(map(repr, wrong))}: a grapheme holds letters and marks only"
            )
        composed = {unicodedata.normalize("NFC", one) for one in given}
        object.__setattr__(self, "graphemes", tuple(sorted(one for one in composed if len(one) > 1)))

    def split(self, text: str) -> list[str]:
        """Return the graphemes of a word or text, always the longest that fits; spaces are items, too.

        >>> Orthography(("ch", "chw")).split("achwi cha")
        ['a', 'chw', 'i', ' ', 'ch', 'a']
        """
        return _pattern(self.graphemes).findall(unicodedata.normalize("NFC", text))


@lru_cache(maxsize=64)
def _pattern(graphemes: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(graphemes, key=lambda one: (-len(one), one))
    return re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)
