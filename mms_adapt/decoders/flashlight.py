"""Flashlight's beam search with KenLM, compiled: quicker than `beam`, and it needs a package more.

In: emissions, and a language model in an ARPA file. Out: hypotheses, as `beam` gives them. It needs
`flashlight-text` (the extra "beam"), which is imported when a decoder is built and not before.

A model of graphemes, which holds the word delimiter "|", or none, goes without a list of words. With a model
of words, only words of a list are found: those of the model, or of a file. Weights mean what they mean for
`beam`. There is no bonus for every grapheme, so weights that `mms-adapt tune` found for `beam` are not the
best ones here. Without a list of words, texts that differ in boundaries alone are not counted together.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt import ngram
from mms_adapt.decoders import _search
from mms_adapt.decoders._search import Search
from mms_adapt.errors import OptionError, TextError
from mms_adapt.ngram import NGram

if TYPE_CHECKING:
    from mms_adapt.vocab import Vocab

_LN10 = math.log(10)  # KenLM's logarithms are to the base of 10
_LEAST = -1e9
_FAR = 50.0  # a text that is so much less likely than the best is dropped


@dataclass(frozen=True)
class Options:
    """How wide the search is, and what the language model counts.

    Attributes:
        lm: An ARPA file, or a model. One of graphemes holds the word delimiter "|"; any other is of words.
        lm_weight: Power of the language model's probability.
        word_score: Added to the logarithm for every word; with a model of words.
        beam_width: Texts that are kept after each frame.
        token_floor: Tokens whose log-probability in a frame is lower are not tried there.
        lexicon: A file of a word a line: what can be found with a model of words. All of its own where not
            given; words that the adapter cannot write are left out.
    """

    lm: NGram | str | PathLike[str] | None = None
    lm_weight: float = 0.5
    word_score: float = 0.5
    beam_width: int = 50
    token_floor: float = -8.0
    lexicon: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.lm_weight <= 20:
            wrong.append(f"lm_weight={self.lm_weight}: give 0 to 20")
        if not -20 <= self.word_score <= 20:
            wrong.append(f"word_score={self.word_score}: give -20 to 20")
        if not 1 <= self.beam_width <= 10_000:
            wrong.append(f"beam_width={self.beam_width}: give 1 to 10000")
        if not self.token_floor < 0:
            wrong.append(f"token_floor={self.token_floor}: give a log-probability below 0")
        if self.lexicon is not None and self.lm is None:
            wrong.append(f"lexicon={str(self.lexicon)!r}: it needs a language model of words; give lm")
        if wrong:
            raise OptionError("; ".join(wrong))


def build(vocab: "Vocab", **options: Any) -> "Flashlight":
    """Return the decoder for a vocabulary.

    Args:
        vocab: The adapter's vocabulary.
        options: Fields of `Options`; numbers may be words of a command line.

    Raises:
        OptionError: If flashlight-text is not installed, or an option is unknown or makes no sense.
        TextError: If the language model or the list of words cannot be read.
    """
    kinds: dict[str, Callable[[Any], Any]] = {
        "lm": _search.as_given,
        "lm_weight": float,
        "word_score": float,
        "beam_width": int,
        "token_floor": float,
        "lexicon": _search.as_given,
    }
    return Flashlight(vocab, Options(**_search.values("flashlight", kinds, options)))


def _library() -> tuple[Any, Any, Any]:
    """Return flashlight's modules of decoders, of KenLM and of dictionaries."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except (ImportError, OSError) as error:
        raise OptionError(
            f"the decoder 'flashlight' needs flashlight-text, which does not load ({error}): install it with "
            "pip install 'mms-adapt[beam]', or take the decoder 'beam', which needs nothing more"
        ) from error
    return decoder, kenlm, dictionary


class Flashlight(Search):
    """Flashlight's search over one vocabulary."""

    def __init__(self, vocab: "Vocab", options: Options) -> None:
        super().__init__(vocab)
        self.options = options
        self.words: list[str] = []
        self._library = _library()
        self._lock = Lock()  # a search keeps its state inside
        if options.lm is None:
            self._search = self._free(self._library[0].ZeroLM())
            return
        with _arpa(options.lm) as path:
            tokens = _unigrams(path)
            if self.tokens[self.delimiter_id] in tokens:
                if options.lexicon is not None:
                    raise OptionError(
                        f"lexicon={str(options.lexicon)!r}: the language model is one of graphemes, which "
                        "knows no words; leave the list out, or give a model of words"
                    )
                self._search = self._free(self._kenlm(path, self.tokens))
            else:
                self.words = _writable(tokens if options.lexicon is None else _listed(options.lexicon), vocab)
                if not self.words:
                    raise TextError(f"{options.lexicon or path}: the adapter can write none of its words")
                self._search = self._of_words(vocab, self._kenlm(path, self.words))

    def search(self, logs: NDArray[np.float64]) -> list[int]:
        """Return the tokens of the best text, from log-probabilities `(frames, vocab)`."""
        given = np.where(logs < self.options.token_floor, _LEAST, logs)
        given[:, self.blank_id] = logs[:, self.blank_id]
        # a word ends with a boundary, so there is one behind the last; without words it is a blank, so that
        # what ends in a token and what ends in a blank are one text
        last = np.full((1, given.shape[1]), _LEAST)
        last[0, self.delimiter_id if self.words else self.blank_id] = 0.0
        given = np.concatenate([given, last])
        given = np.ascontiguousarray(given, np.float32)
        with self._lock:
            found = self._search.decode(given.ctypes.data, *given.shape)
        return self._collapsed(found[0].tokens) if found else []

    def _collapsed(self, path: Sequence[int]) -> list[int]:
        """Return the text of a path: repeats collapsed, no blanks, one boundary between words."""
        pairs = zip(path, [self.blank_id, *path], strict=False)  # each token with the one before
        return self.bounded(one for one, last in pairs if one not in (last, self.blank_id) and one >= 0)

    def _kenlm(self, path: Path, entries: Sequence[str]) -> Any:
        known = self._library[2].Dictionary()
        for place, entry in enumerate(entries):
            known.add_entry(entry, place)
        try:
            return self._library[1].KenLM(str(path), known)
        except RuntimeError as error:
            raise TextError(f"{path}: KenLM cannot read this language model: {error}") from error

    def _free(self, lm: Any) -> Any:
        """Return a search without a list of words."""
        decoder, chosen = self._library[0], self.options
        options = decoder.LexiconFreeDecoderOptions(
            beam_size=chosen.beam_width, beam_size_token=len(self.tokens), beam_threshold=_FAR,
            lm_weight=chosen.lm_weight * _LN10, sil_score=0.0, log_add=True,
            criterion_type=decoder.CriterionType.CTC,
        )  # fmt: skip
        return decoder.LexiconFreeDecoder(options, lm, self.delimiter_id, self.blank_id, [])

    def _of_words(self, vocab: "Vocab", lm: Any) -> Any:
        """Return a search of the words of the list."""
        decoder, chosen = self._library[0], self.options
        trie, start = decoder.Trie(len(self.tokens), self.delimiter_id), lm.start(False)
        for place, word in enumerate(self.words):
            _, score = lm.score(start, place)
            trie.insert([*vocab.encode(word), self.delimiter_id], place, score)
        trie.smear(decoder.SmearingMode.MAX)
        options = decoder.LexiconDecoderOptions(
            beam_size=chosen.beam_width, beam_size_token=len(self.tokens), beam_threshold=_FAR,
            lm_weight=chosen.lm_weight * _LN10, word_score=chosen.word_score, unk_score=-math.inf,
            sil_score=0.0, log_add=True, criterion_type=decoder.CriterionType.CTC,
        )  # fmt: skip
        return decoder.LexiconDecoder(
            options, trie, lm, self.delimiter_id, self.blank_id, len(self.words), [], False
        )


@contextmanager
def _arpa(lm: NGram | str | PathLike[str]) -> Iterator[Path]:
    """Give a model as a file."""
    if not isinstance(lm, NGram):
        yield Path(lm)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lm.arpa"
        path.write_text(lm.to_arpa(), encoding="utf-8")
        yield path


def _unigrams(path: Path) -> list[str]:
    """Return the tokens of an ARPA file, without what stands for borders and the unknown."""
    found: list[str] = []
    inside = False
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("\\"):
                    if inside:
                        break
                    inside = line.strip() == "\\1-grams:"
                elif inside and len(parts := line.split()) > 1:
                    found.append(parts[1])
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path}: it cannot be read as an ARPA file: {error}") from error
    if not found:
        raise TextError(f"{path}: this is no ARPA file: it has no \\1-grams; mms-adapt lm makes one")
    return [one for one in found if one not in (ngram.BEGIN, ngram.END, "<unk>")]


def _listed(path: str | PathLike[str]) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"lexicon: {path} cannot be read as text in UTF-8: {error}") from error


def _writable(words: Sequence[str], vocab: "Vocab") -> list[str]:
    """Return the words that an adapter can write, each once."""
    delimiter = vocab.tokens[vocab.delimiter_id]
    return [one for one in dict.fromkeys(words) if delimiter not in one and not vocab.unknown(one)]
