"""Which sounds are nearly the same, by their fingerprints, without comparing every two.

In: fingerprints `(words,)` of 16 bits. Out: pairs of places with the share of bits in which they differ. It
does not know utterances or files.

Two words a quarter of a second apart make a key of 32 bits. Where the same sound comes twice, some of its
keys are the same to the bit, at the same distance in time; pairs that have two such keys are compared as a
whole. Sorting the keys brings them together, so the time grows as that of sorting does. Of many hours a part
of the keys is drawn by their values: what is the same is then drawn on both sides.

Source: Haitsma and Kalker 2002, "A highly robust audio fingerprinting system", sections 4.3 and 4.4.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_APART = 12  # words between the two of a key
_NEIGHBOURS = 3  # with so many of the same key each is paired: no bucket takes quadratic time
_LEAST_KEYS = 2
_LEAST_WORDS = 40  # of sounds of 1.4 s: in shorter ones, two words of one speaker may be as alike
_MOST_KEYS = 20_000_000
_LEAST_OVERLAP = 0.8  # of the longer one
_ONES = np.array([bin(number).count("1") for number in range(1 << 16)], np.uint8)

Words = NDArray[np.uint16]
Integers = NDArray[np.int32]


def near(prints: Sequence[Words], most: float) -> list[tuple[int, int, float]]:
    """Return pairs of places with nearly the same sound, in order.

    Args:
        prints: Fingerprints, `(words,)` each.
        most: Share of bits that may differ.

    Returns:
        (first, second, share of bits that differ), `first < second`.
    """
    found = []
    for one, other, offset in _candidates(prints).tolist():
        share = differing(prints[one], prints[other], offset)
        if share is not None and share <= most:
            found.append((one, other, share))
    return sorted(found)


def differing(one: Words, other: Words, offset: int) -> float | None:
    """Return the share of bits in which two fingerprints differ, `other` starting `offset` words later.

    Returns:
        None where they hardly overlap.
    """
    start, stop = max(0, -offset), min(len(one), len(other) - offset)
    if stop - start < max(_LEAST_WORDS, _LEAST_OVERLAP * max(len(one), len(other))):
        return None
    here, there = one[start:stop], other[start + offset : stop + offset]
    heard = (here != 0) | (there != 0)  # digital silence has no bits
    if heard.sum() < _LEAST_WORDS:
        return None
    return float(_ONES[here ^ there][heard].sum() / (16 * heard.sum()))


def _candidates(prints: Sequence[Words]) -> Integers:
    """Return pairs that share keys at one distance in time, and that distance, `(pairs, 3)`."""
    owners, times, keys = _keys(prints)
    order = np.argsort(keys, kind="stable")
    owners, times, keys = owners[order], times[order], keys[order]
    matches = []
    for lag in range(1, _NEIGHBOURS + 1):
        same = (keys[lag:] == keys[:-lag]) & (owners[lag:] != owners[:-lag])
        # in a bucket, places stand in their order: the earlier one is the smaller one
        first, second = owners[:-lag][same], owners[lag:][same]
        matches.append(np.stack([first, second, times[lag:][same] - times[:-lag][same]], axis=1))
    together = np.concatenate(matches)
    pairs, counts = np.unique(together, axis=0, return_counts=True)
    pairs, counts = pairs[counts >= _LEAST_KEYS], counts[counts >= _LEAST_KEYS]
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for (one, other, offset), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        best[one, other] = max(best.get((one, other), (0, 0)), (count, offset))
    rows = [(one, other, offset) for (one, other), (_, offset) in best.items()]
    return np.array(rows, np.int32).reshape(-1, 3)


def _keys(prints: Sequence[Words]) -> tuple[Integers, Integers, NDArray[np.uint32]]:
    """Return the owner, the time and the value of each key."""
    long_enough = [(place, one) for place, one in enumerate(prints) if len(one) >= _LEAST_WORDS]
    one_in = 1 + sum(len(one) for _, one in long_enough) // _MOST_KEYS
    owners: list[Integers] = [np.zeros(0, np.int32)]
    times: list[Integers] = [np.zeros(0, np.int32)]
    keys: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
    for place, one in long_enough:
        first, second = one[:-_APART], one[_APART:]
        both = (first.astype(np.uint32) << np.uint32(16)) | second.astype(np.uint32)
        useful = np.flatnonzero((first != 0) & (second != 0) & (both % 8191 % one_in == 0))
        owners.append(np.full(len(useful), place, np.int32))
        times.append(useful.astype(np.int32))
        keys.append(both[useful])
    return np.concatenate(owners), np.concatenate(times), np.concatenate(keys)
