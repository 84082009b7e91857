"""Named, versioned rules from transcript to reference.

In: a transcript as found. Out: the reference, which an adapter learns to write and is scored against. A rule
never changes under its name: a better one gets a new number, so that "basic-1" in a score's signature says
exactly what was done. It does not know vocabularies, and leaves digits as they are.

raw-1: composed Unicode (NFC), single spaces. Nothing else.

basic-1, in this order:

1. Composed (NFC). What cannot be seen falls away: soft hyphens, marks of direction, byte order marks,
   zero-width spaces, variation selectors; the Armenian marks ՛ ՜ ՞, which stand inside words, too.
2. Comments in (...), [...] and <...> fall away, the wide forms of these brackets as well. A bracket without
   its partner is punctuation.
3. Lower case. Turkish and its neighbours that write ı beside i (see `_DOTLESS`) keep the two apart: I is ı
   there, İ is i. A sigma at a word's end is ς. Cherokee's syllabary becomes what Unicode calls its capitals,
   which is how it is written. Scripts without case are not touched.
4. ’ ‘ ‛ ′ ` ´ ＇ become ', and ‐ ‑ become -, ‧ becomes ·. The letters ʼ ʻ ʔ ꞌ are letters and stay.
5. Punctuation and symbols (Unicode's P and S) become a space. An apostrophe, a hyphen, a colon (length in
   Cherokee), a middle dot, Hebrew's ׳ ״ ־ and zero-width joiners (Persian, Indic scripts) stay where they
   stand between two letters, marks or digits. Tone letters (˥ ꜛ and others) and ꞉ ꞊ are letters for this.
6. Composed again, single spaces.

All combining marks, stacked ones too, all letters and all digits survive. What a language writes with
punctuation keys at a word's edge does not: glottal stops as ' there, clicks as !, tones as - or =. Such
transcripts need the letters (ʼ ꞌ ǃ ˗) or raw.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache

from mms_adapt.errors import TextError

_DOTLESS = {"tur", "aze", "azj", "azb", "crh", "gag", "ota", "tly"}
_UNSEEN = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff՛՜՞]")
_COMMENTS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>|（[^（）]*）|［[^［］]*］|【[^【】]*】")
_UNIFIED = str.maketrans({**dict.fromkeys("’‘‛′`´＇", "'"), **dict.fromkeys("‐‑", "-"), "‧": "·"})
_INSIDE_WORDS = frozenset("'-:·׳״־\u200c\u200d")
_LETTERLIKE = re.compile("[\u02b0-\u02ff\ua700-\ua721\ua789\ua78a\uab5b\uab6a\uab6b]")  # symbols to Unicode
_CHEROKEE = {0xAB70 + place: 0x13A0 + place for place in range(80)}
_CHEROKEE |= {0x13F8 + place: 0x13F0 + place for place in range(6)}


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A rule for one language: call it with a transcript.

    Attributes:
        signature: Name and version, such as "basic-1".
        target_lang: The language whose case rules hold.
    """

    signature: str
    target_lang: str
    _rule: Callable[[str, str], str] = field(repr=False)

    def __call__(self, transcript: str) -> str:
        """Return the reference; "" where nothing is left."""
        return self._rule(transcript, self.target_lang)


def get(name: str, *, target_lang: str) -> Normaliser:
    """Return a normaliser by its name, "basic", or its name and version, "basic-1".

    Args:
        name: Which one; a name alone means its newest version.
        target_lang: The language of the transcripts.

    Raises:
        TextError: If there is none of this name.
    """
    newest = {signature.rpartition("-")[0]: signature for signature in _RULES}
    signature = newest.get(name, name)
    if signature not in _RULES:
        near = get_close_matches(name, [*newest, *_RULES], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TextError(f"there is no normaliser {name!r}{hint} (known: {', '.join(newest)})")
    return Normaliser(signature, target_lang, _RULES[signature])


def comments(transcript: str, signature: str) -> list[str]:
    """Return what a normaliser takes for comments and leaves out, brackets included, the innermost first."""
    if not signature.startswith("basic-"):
        return []
    _, found = _uncommented(unicodedata.normalize("NFC", transcript))
    return [one for one in found if any(map(str.isalnum, one))]


def by_count(found: Mapping[str, int]) -> dict[str, int]:
    """Return counts, the highest first, and what is as many in the order of its characters."""
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _uncommented(text: str) -> tuple[str, list[str]]:
    """Return a text without its comments, and these: brackets within brackets from the inside out."""
    found: list[str] = []
    while here := _COMMENTS.findall(text):
        found += here
        text = _COMMENTS.sub(" ", text)
    return text, found


def _raw(text: str, _: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _basic(text: str, target_lang: str) -> str:
    text, _ = _uncommented(_UNSEEN.sub("", unicodedata.normalize("NFC", text)))
    if target_lang[:3] in _DOTLESS:
        text = text.replace("İ", "i").replace("I", "ı")
    # composed again, since what fell away may have stood between a letter and its mark
    text = unicodedata.normalize("NFC", text.lower().translate(_CHEROKEE).translate(_UNIFIED))
    kinds = [_kind(character) for character in text]
    around = zip(text, kinds, [" ", *kinds], [*kinds[1:], " "], strict=False)
    spoken = "".join(
        character if kind == "w" or (kind == "i" and left == right == "w") else " "
        for character, kind, left, right in around
    )
    return " ".join(spoken.split())


@cache
def _kind(character: str) -> str:
    """Return "w" for what makes words, "i" for what may stand inside them, " " for all else."""
    if character in _INSIDE_WORDS:
        return "i"
    category = unicodedata.category(character)
    if category[0] in "PSZ" or category in ("Cc", "Cf"):
        return "w" if category == "Sk" and _LETTERLIKE.match(character) else " "
    return "w"


_RULES: dict[str, Callable[[str, str], str]] = {"basic-1": _basic, "raw-1": _raw}
