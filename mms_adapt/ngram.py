"""N-gram models of words or graphemes: estimated from text, written as ARPA, asked for probabilities.

In: sentences as sequences of tokens, or an ARPA file of any tool. Out: an `NGram`. It does not know audio,
emissions or where the text comes from.

Estimation is interpolated modified Kneser–Ney; nothing is pruned. Source: Chen and Goodman, "An empirical
study of smoothing techniques for language modeling", Harvard TR-10-98, section 3; Heafield et al., "Scalable
modified Kneser–Ney language model estimation", ACL 2013, for the adjusted counts.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt.errors import OptionError, TextError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
_FALLBACK = (0.5, 1.0, 1.5)  # discounts where there is too little text to estimate them
_LN10 = math.log(10)
_ABSENT = -99.0  # what ARPA files write for a probability of 0

Gram = tuple[str, ...]


class Model:
    """What gives each token of a sentence a probability, one after the other."""

    @property
    def start(self) -> Any:
        """The place before a sentence."""
        raise NotImplementedError

    def step(self, place: Any, token: str) -> tuple[float, Any]:
        """Return the natural logarithm of a token's probability at a place, and the place behind it."""
        raise NotImplementedError

    def sentence(self, tokens: Sequence[str]) -> float:
        """Return the natural logarithm of a whole sentence's probability, its end included."""
        place, total = self.start, 0.0
        for one in (*tokens, END):
            log, place = self.step(place, one)
            total += log
        return total

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Return the perplexity a token, sentence ends counted as tokens.

        Raises:
            TextError: If there is no sentence.
        """
        total, count = 0.0, 0
        for one in sentences:
            total += self.sentence(one)
            count += len(one) + 1
        if not count:
            raise TextError("there is no sentence, so there is no perplexity")
        return math.exp(-total / count)


@dataclass(frozen=True)
class NGram(Model):
    """An n-gram model with back-off.

    Attributes:
        order: Length of the longest n-gram.
        logs: Natural logarithm of each n-gram's probability, given what stands before its last token.
        backoffs: Natural logarithm of what is left for tokens that were not seen behind an n-gram.
    """

    order: int
    logs: Mapping[Gram, float]
    backoffs: Mapping[Gram, float]

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens that it knows, those of sentence borders and the unknown one left out."""
        return frozenset(gram[0] for gram in self.logs if len(gram) == 1) - {BEGIN, END, UNKNOWN}

    @property
    def start(self) -> Gram:
        """The context before a sentence."""
        return (BEGIN,)

    def step(self, context: Gram, token: str) -> tuple[float, Gram]:
        """Return the natural logarithm of a token's probability, and the context behind it."""
        return self.log(context, token), self.shortened((*context, token))

    def log(self, context: Gram, token: str) -> float:
        """Return the natural logarithm of a token's probability behind a context."""
        if (token,) not in self.logs:
            token = UNKNOWN
        left = 0.0
        context = self.shortened(context)
        while True:
            found = self.logs.get((*context, token))
            if found is not None:
                return left + found
            if not context:
                return left + _ABSENT * _LN10
            left += self.backoffs.get(context, 0.0)
            context = context[1:]

    def shortened(self, context: Gram) -> Gram:
        """Return the end of a context that can matter for what follows."""
        return context[len(context) - self.order + 1 :] if len(context) >= self.order else context

    def to_arpa(self) -> str:
        """Return the model in ARPA's format."""
        orders: dict[int, list[Gram]] = defaultdict(list)
        for gram in self.logs:
            orders[len(gram)].append(gram)
        lines = ["\\data\\", *(f"ngram {n}={len(orders[n])}" for n in range(1, self.order + 1))]
        for n in range(1, self.order + 1):
            lines += ["", f"\\{n}-grams:"]
            for gram in sorted(orders[n]):
                row = [f"{max(self.logs[gram] / _LN10, _ABSENT):.6f}", " ".join(gram)]
                if n < self.order and gram in self.backoffs:
                    row.append(f"{self.backoffs[gram] / _LN10:.6f}")
                lines.append("\t".join(row))
        return "\n".join([*lines, "", "\\end\\", ""])


def estimate(sentences: Iterable[Sequence[str]], order: int) -> NGram:
    """Estimate a model.

    Args:
        sentences: Each a sequence of tokens without white space in them; borders are added.
        order: Length of the longest n-gram.

    Raises:
        OptionError: If the order makes no sense.
        TextError: If there is no token, or one cannot be written to an ARPA file.
    """
    if not 1 <= order <= 12:
        raise OptionError(f"order={order}: give 1 to 12")
    counts: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
    for one in sentences:
        if wrong := [
            token for token in one if token in (BEGIN, END, UNKNOWN) or not token or token.split() != [token]
        ]:
            raise TextError(f"the token {wrong[0]!r} cannot stand in a language model")
        if not one:
            continue
        whole = (BEGIN, *one, END)
        for n in range(1, order + 1):
            counts[n].update(whole[start : start + n] for start in range(len(whole) - n + 1))
    if not counts[1]:
        raise TextError("there is no text to learn a language model from")
    logs: dict[Gram, float] = {}
    backoffs: dict[Gram, float] = {}
    lower: dict[Gram, float] = {}  # probabilities of the order below
    for n in range(1, order + 1):
        adjusted = _adjusted(counts, n, order)
        lower = _smoothed(adjusted, lower, backoffs)
        logs |= {gram: math.log(value) for gram, value in lower.items()}
    logs[(BEGIN,)] = _ABSENT * _LN10
    return NGram(order, logs, backoffs)


def _adjusted(counts: Sequence[Counter[Gram]], n: int, order: int) -> dict[Gram, int]:
    """Return counts of the highest order, and of others how many different tokens stand before a gram."""
    if n == order:
        found = dict(counts[n])
    else:
        before = Counter(gram[1:] for gram in counts[n + 1])
        found = {gram: counts[n][gram] if gram[0] == BEGIN else before[gram] for gram in counts[n]}
    found.pop((BEGIN,), None)
    return found


def _smoothed(
    adjusted: Mapping[Gram, int], lower: Mapping[Gram, float], backoffs: dict[Gram, float]
) -> dict[Gram, float]:
    """Return probabilities of one order, mixed with the one below, and note what is left for it."""
    discounts = _discounts(adjusted.values())
    totals: dict[Gram, int] = defaultdict(int)
    taken: dict[Gram, float] = defaultdict(float)
    for gram, count in adjusted.items():
        totals[gram[:-1]] += count
        taken[gram[:-1]] += discounts[min(count, 3) - 1]
    left = {context: taken[context] / total for context, total in totals.items()}
    if not lower:  # of single tokens: what is left goes to all alike, the unknown one included
        share = left[()] / (len(adjusted) + 1)
        found = {
            gram: (count - discounts[min(count, 3) - 1]) / totals[()] + share
            for gram, count in adjusted.items()
        }
        return {**found, (UNKNOWN,): share}
    backoffs |= {context: math.log(value) for context, value in left.items()}
    return {
        gram: (count - discounts[min(count, 3) - 1]) / totals[gram[:-1]] + left[gram[:-1]] * lower[gram[1:]]
        for gram, count in adjusted.items()
    }


def _discounts(counts: Iterable[int]) -> tuple[float, float, float]:
    """Return what is taken from counts of one, two, and three or more."""
    seen = Counter(min(count, 5) for count in counts)
    if not all(seen[count] for count in (1, 2, 3, 4)):
        return _FALLBACK
    share = seen[1] / (seen[1] + 2 * seen[2])
    one, two, three = (k - (k + 1) * share * seen[k + 1] / seen[k] for k in (1, 2, 3))
    if not (0 < one <= 1 and 0 < two <= 2 and 0 < three <= 3):
        return _FALLBACK
    return one, two, three


def read(path: str | PathLike[str]) -> NGram:
    """Read an ARPA file.

    Raises:
        TextError: If it is missing or is none; it names the line.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            return _parsed(path, enumerate(file, start=1))
    except FileNotFoundError:
        raise TextError(f"{path}: there is no such language model; mms-adapt lm makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path}: it cannot be read as an ARPA file in UTF-8: {error}") from error


def _parsed(path: Path, lines: Iterator[tuple[int, str]]) -> NGram:
    """Return the model of an ARPA file's lines."""
    promised: dict[int, int] = {}
    logs: dict[Gram, float] = {}
    backoffs: dict[Gram, float] = {}
    section, number, ended = -1, 0, False
    for number, line in lines:
        text = line.strip()
        if text == "\\data\\":
            section = 0
        elif text == "\\end\\":
            ended = True
            break
        elif section >= 0 and text.startswith("\\") and text.endswith("-grams:"):
            section = _number(path, number, text[1:-7])
        elif section == 0 and text.startswith("ngram "):
            order, _, count = text[6:].partition("=")
            promised[_number(path, number, order)] = _number(path, number, count)
        elif section > 0 and text:
            gram, log, backoff = _entry(path, number, text, section)
            logs[gram] = log
            if backoff is not None:
                backoffs[gram] = backoff
    found = Counter(map(len, logs))
    if not ended or not promised or any(found[order] != count for order, count in promised.items()):
        told = ", ".join(f"{found[order]} of {count} {order}-grams" for order, count in promised.items())
        raise TextError(f"{path}:{number}: this is no whole ARPA file ({told or 'no counts'}); make it again")
    return NGram(max(promised), logs, backoffs)


def _number(path: Path, line: int, text: str) -> int:
    if not text.strip().isdecimal():
        raise TextError(f"{path}:{line}: {text[:40]!r} is no number; make the ARPA file again")
    return int(text)


def _entry(path: Path, line: int, text: str, order: int) -> tuple[Gram, float, float | None]:
    """Return gram, logarithm and back-off of a line."""
    parts = text.split()
    try:
        log = float(parts[0]) * _LN10
        backoff = float(parts[order + 1]) * _LN10 if len(parts) > order + 1 else None
        fine = order + 1 <= len(parts) <= order + 2 and math.isfinite(log) and log <= 1e-6
    except (ValueError, IndexError):
        fine = False
    if not fine:
        raise TextError(f"{path}:{line}: {text[:60]!r} is no {order}-gram; make the ARPA file again")
    return tuple(parts[1 : order + 1]), log, backoff
