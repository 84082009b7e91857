"""The tokens that an adapter can write, and the way from text to ids and back.

In: references of the training set. Out: a `Vocab`, whose order is the ids, and its `vocab.json` in the layout
of the published MMS adapters. It does not know audio, models or where references come from.

The special tokens stand first, since behind the letters the stock tokenizer moves their ids when it switches
languages. Tokenisation is the vocabulary's own: the stock tokenizer loses word boundaries beside graphemes of
more than one character.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from mms_adapt.errors import OptionError, VocabError
from mms_adapt.orthography import Orthography

BLANK, DELIMITER, UNKNOWN = "<pad>", "|", "<unk>"
SPECIALS = (BLANK, "<s>", "</s>", UNKNOWN, DELIMITER)
_OTHER_NAMES = {BLANK: "[PAD]", UNKNOWN: "[UNK]"}  # of many published vocabularies
_UNWRITTEN = frozenset({*SPECIALS, *_OTHER_NAMES.values()})


@dataclass(frozen=True)
class Vocab:
    """Tokens in the order of their ids.

    Attributes:
        tokens: Special tokens and graphemes; a token's place is its id.

    Raises:
        VocabError: If a token comes twice or is empty, or the blank or the word delimiter is missing.
    """

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.tokens)) < len(self.tokens) or "" in self.tokens:
            raise VocabError("a vocabulary's tokens must be different from each other and not empty")
        _ = self.blank_id, self.delimiter_id

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _letters(self) -> dict[str, int]:
        """The ids of what can stand in a text."""
        return {token: number for token, number in self._ids.items() if token not in _UNWRITTEN}

    @cached_property
    def orthography(self) -> Orthography:
        """How this vocabulary divides text: its own graphemes of more than one code point."""
        return Orthography(tuple(token for token in self._letters if len(token) > 1))

    def _special(self, name: str) -> int:
        for token in (name, _OTHER_NAMES.get(name, name)):
            if token in self._ids:
                return self._ids[token]
        raise VocabError(f"the vocabulary of {len(self.tokens)} tokens has no {name}")

    @cached_property
    def blank_id(self) -> int:
        """The token with which CTC says "nothing new here"."""
        return self._special(BLANK)

    @cached_property
    def delimiter_id(self) -> int:
        """The token between words."""
        return self._special(DELIMITER)

    @cached_property
    def unk_id(self) -> int:
        """The token for what the vocabulary does not hold."""
        return self._special(UNKNOWN)

    def encode(self, text: str, *, unknown: str = "error") -> list[int]:
        """Return the ids of a text, one delimiter between words and none at the ends.

        Args:
            text: A reference.
            unknown: What a character outside the vocabulary becomes: "error", or "unk" for `unk_id`.

        Raises:
            VocabError: If a character is outside and `unknown` is "error".
        """
        if unknown not in ("error", "unk"):
            raise OptionError(f"unknown={unknown!r}: give error or unk")
        if unknown == "error" and (outside := self.unknown(text)):
            raise VocabError(f"{text[:80]!r} holds what the vocabulary does not: {describe(outside)}")
        other = self.unk_id if unknown == "unk" else self.blank_id
        ids: list[int] = []
        for word in unicodedata.normalize("NFC", text).split():
            if ids:
                ids.append(self.delimiter_id)
            ids += (self._letters.get(one, other) for one in self.orthography.split(word))
        return ids

    def spell(self, text: str) -> list[str]:
        """Return the tokens of a text as `encode` orders them; what is outside becomes the unknown one."""
        return [self.tokens[one] for one in self.encode(text, unknown="unk")]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; special tokens fall away, repeats stay.

        Raises:
            VocabError: If an id is none of this vocabulary.
        """
        ids = list(ids)
        if ids and not 0 <= min(ids) <= max(ids) < len(self.tokens):
            raise VocabError(
                f"ids {min(ids)} to {max(ids)} do not fit a vocabulary of {len(self.tokens)} tokens"
            )
        spaced = (" " if one == self.delimiter_id else self.tokens[one] for one in ids)
        text = "".join(token for token in spaced if token not in _UNWRITTEN)
        return " ".join(unicodedata.normalize("NFC", text).split())

    def unknown(self, text: str) -> set[str]:
        """Return the graphemes of a text that the vocabulary does not hold."""
        words = unicodedata.normalize("NFC", text).split()
        return {one for word in words for one in self.orthography.split(word) if one not in self._letters}

    @staticmethod
    def min_frames(ids: Sequence[int] | Sequence[str]) -> int:
        """Return how many frames CTC needs for a label sequence: repeats need a blank between them."""
        return len(ids) + sum(left == right for left, right in pairwise(ids))

    def to_json(self, target_lang: str) -> str:
        """Return the vocabulary in the layout of MMS's `vocab.json`: ids by token by language."""
        return json.dumps({target_lang: self._ids}, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, target_lang: str) -> "Vocab":
        """Read a `vocab.json`, with languages as MMS has it or of one language alone.

        Args:
            text: The file's content.
            target_lang: Which language's tokens.

        Raises:
            VocabError: If it is no vocabulary, or holds other languages only.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise VocabError(f"vocab.json is not JSON: {error}") from error
        if not isinstance(record, dict) or not record:
            raise VocabError("vocab.json holds no tokens")
        if all(isinstance(value, dict) for value in record.values()):
            if target_lang not in record:
                held = ", ".join(sorted(record)[:8])
                raise VocabError(f"vocab.json does not hold {target_lang!r} but {held}")
            record = record[target_lang]
        numbers = list(record.values())
        if any(type(one) is not int for one in numbers) or sorted(numbers) != list(range(len(numbers))):
            raise VocabError(f"the ids of {len(numbers)} tokens must be 0 to {len(numbers) - 1}, each once")
        return cls(tuple(sorted(record, key=record.__getitem__)))


def build(references: Iterable[str], orthography: Orthography | None = None) -> Vocab:
    """Make the vocabulary of references: the special tokens, then all graphemes by code point.

    Args:
        references: Those of the training set, and no others.
        orthography: Its graphemes of more than one code point; none where not given.

    Raises:
        VocabError: If there is no letter at all, or a token of the vocabulary's own stands in a text.
    """
    divide = (orthography or Orthography()).split
    graphemes = {one for text in references for word in text.split() for one in divide(word)}
    if reserved := graphemes & _UNWRITTEN:
        raise VocabError(
            f"{' '.join(sorted(reserved))} stands in the references, but means something else in a "
            "vocabulary ('|' is the space); remove it, for instance with the normaliser basic"
        )
    if not graphemes:
        raise VocabError("none of the references holds a letter, so there is nothing to learn")
    return Vocab((*SPECIALS, *sorted(graphemes)))


def describe(graphemes: Iterable[str], most: int = 8) -> str:
    """Name characters so that look-alikes can be told apart: "ɛ" (U+025B LATIN SMALL LETTER OPEN E)."""
    names = []
    for one in sorted(graphemes):
        points = " + ".join(f"U+{ord(point):04X} {unicodedata.name(point, '?')}" for point in one)
        names.append(f"{one!r} ({points})")
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
