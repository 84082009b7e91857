"""Which texts are nearly the same, without comparing every two.

In: texts, all different. Out: pairs of places with their similarity. It does not know utterances.

Texts that have most of their sequences of three characters in common are likely to have the same smallest one
under a random order of all sequences. Two such smallest ones make a key; texts that share one of twelve keys,
and at least four of all 24 smallest ones, are compared. Sorting brings equal keys together, so the time grows
as that of sorting does.

Source: Broder 1997, "On the resemblance and containment of documents", section 4; in bands as in Leskovec,
Rajaraman and Ullman 2014, "Mining of Massive Datasets", section 3.4.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_BANDS, _ROWS = 12, 2
_LEAST_SHARED = 4  # texts that are nine tenths the same share about ten
_NEIGHBOURS = 3  # with so many of the same key each is compared: no bucket takes quadratic time
_AT_A_TIME = 20_000  # texts, so that memory does not grow with the corpus
_SEED = 97

Hashes = NDArray[np.uint64]


def near(texts: Sequence[str], least: float) -> list[tuple[int, int, float]]:
    """Return pairs of places with nearly the same text, in order.

    Args:
        texts: All different.
        least: Share of the longer text that must be the same: 1 less the edits between the two.

    Returns:
        (first, second, similarity), `first < second`.
    """
    from rapidfuzz.distance import Levenshtein

    shortest = int(np.ceil(1 / (1 - least))) if least < 1 else 1
    # in alphabetical order, so that the neighbours in a bucket are the likeliest ones
    places = sorted((one for one in range(len(texts)) if len(texts[one]) >= shortest), key=texts.__getitem__)
    lengths = np.array([len(texts[place]) for place in places])
    found = []
    for one, other in _candidates([texts[place] for place in places], lengths, least).tolist():
        first, second = sorted((places[one], places[other]))
        score = Levenshtein.normalized_similarity(texts[first], texts[second], score_cutoff=least)
        if score:
            found.append((first, second, score))
    return sorted(found)


def _candidates(texts: Sequence[str], lengths: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Return pairs of places that share a key and may be like enough by their lengths, `(pairs, 2)`."""
    if len(texts) < 2:
        return np.zeros((0, 2), np.int64)
    smallest = np.concatenate(list(_smallest(texts)), axis=1)
    pairs = []
    for band in range(_BANDS):
        keys = smallest[band * _ROWS].astype(np.uint64) << np.uint64(32) | smallest[band * _ROWS + 1]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for lag in range(1, min(_NEIGHBOURS, len(keys) - 1) + 1):
            same = keys[lag:] == keys[:-lag]
            first, second = order[:-lag][same], order[lag:][same]
            shorter = np.minimum(lengths[first], lengths[second])
            close = shorter >= least * np.maximum(lengths[first], lengths[second])
            first, second = first[close], second[close]
            shared = sum((one[first] == one[second]).astype(np.int8) for one in smallest)
            alike = np.asarray(shared) >= _LEAST_SHARED
            pairs.append(first[alike] * len(texts) + second[alike])
    codes = np.unique(np.concatenate(pairs))
    return np.stack(np.divmod(codes, len(texts)), axis=1)


def _smallest(texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
    """Yield the smallest sequences of some texts after the others, by their hashes, `(orders, texts)`."""
    draw = np.random.default_rng(_SEED)
    factors = draw.integers(1, 1 << 63, _BANDS * _ROWS, np.uint64) * 2 + 1
    for start in range(0, len(texts), _AT_A_TIME):
        sequences, starts = _sequences(texts[start : start + _AT_A_TIME])
        found = np.zeros((len(factors), len(starts)), np.uint32)
        for order, factor in enumerate(factors):
            mixed = sequences * factor
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0x9E3779B97F4A7C15)  # so that the upper half, which is kept, is mixed, too
            found[order] = np.minimum.reduceat(mixed, starts) >> np.uint64(32)
        yield found


def _sequences(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Return a hash for each three characters that follow each other, and where each text's begin."""
    joined = "".join(f" {text} " for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64)
    counts = np.array([len(text) + 2 for text in texts])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    hashes = (codes[:-2] * np.uint64(1 << 42)) ^ (codes[1:-1] * np.uint64(1 << 21)) ^ codes[2:]
    # the last two of each text reach into the next one
    kept = np.ones(len(hashes) + 2, bool)
    kept[starts + counts - 1] = kept[starts + counts - 2] = False
    return hashes[kept[:-2]], starts - 2 * np.arange(len(texts))
