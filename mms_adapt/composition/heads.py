"""Heads of several adapters as one: the union of their tokens, each row the weighted mean of its rows.

In: vocabularies and heads. Out: one of each. Rows are matched by their token, never by their number; the
blank and the space are matched by what they do. A head's rows mean something only beside each other, since
the same vector added to all of them changes no probability; so they are first moved until those tokens that
all have are zero on the whole, which leaves each adapter's own emissions as they were. It does not know what
else an adapter has.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mms_adapt.errors import AdapterMismatchError
from mms_adapt.vocab import SPECIALS, Vocab

Head = tuple[Tensor, Tensor]


def united(vocabs: Sequence[Vocab]) -> Vocab:
    """Return the tokens that any of them has: special ones first, then by code point.

    One vocabulary alone, or several of the same tokens, give the first in its own order.

    Raises:
        AdapterMismatchError: If a grapheme of several characters in one is written as several in another: the
            same text would be two different sequences of tokens.
    """
    first = vocabs[0]
    if all(set(_named(one)) == set(_named(first)) for one in vocabs):
        return first
    for one in vocabs:
        for other in vocabs:
            long = set(one.orthography.graphemes) - set(other.orthography.graphemes)
            split = sorted(token for token in long if set(token) <= set(other.tokens))
            if split:
                raise AdapterMismatchError(
                    f"the vocabularies do not go together: {split[0]!r} is one grapheme in one of them and "
                    f"{len(split[0])} in another, so they spell the same word differently; train them with "
                    "the same --graphemes"
                )
    graphemes = {token for one in vocabs for token in _named(one)} - set(SPECIALS)
    return Vocab((*SPECIALS, *sorted(graphemes)))


def merged(vocabs: Sequence[Vocab], heads: Sequence[Head], shares: Sequence[float]) -> tuple[Vocab, Head]:
    """Return the union of vocabularies and the weighted mean of heads over it.

    Args:
        vocabs: The vocabularies.
        heads: Weight `(vocab, hidden)` and bias `(vocab,)` of each.
        shares: What each head counts; they sum to 1. A token that some lack is the mean of the others'.

    Raises:
        AdapterMismatchError: If the vocabularies do not go together.
    """
    vocab = united(vocabs)
    if len(heads) == 1:
        return vocab, heads[0]
    names = [_named(one) for one in vocabs]
    wanted = _named(vocab)
    common = [token for token in wanted if all(token in one for one in names)]
    hidden = heads[0][0].shape[1]
    total = torch.zeros(len(vocab), hidden + 1, dtype=torch.double)
    counted = torch.zeros(len(vocab), 1, dtype=torch.double)
    plain = torch.zeros_like(total)
    having = torch.zeros_like(counted)
    for places, (weight, bias), share in zip(names, heads, shares, strict=True):
        rows = torch.cat([weight, bias[:, None]], dim=1).double()  # `(vocab, hidden + 1)`
        rows = rows - rows[[places[token] for token in common]].mean(dim=0)
        here = [at for at, token in enumerate(wanted) if token in places]
        found = rows[[places[wanted_token] for wanted_token in wanted if wanted_token in places]]
        total[here] += share * found
        counted[here] += share
        plain[here] += found
        having[here] += 1
    # a token that only adapters of weight 0 have keeps their own rows
    nothing = (counted.abs() < 1e-9)[:, 0]
    mean = torch.where(
        nothing[:, None], plain / having.clamp(min=1), total / counted.where(counted != 0, 1.0)
    )
    return vocab, (mean[:, :-1].float().contiguous(), mean[:, -1].float().contiguous())


def _named(vocab: Vocab) -> dict[str, int]:
    """Return ids by token; blank, unknown and space by the names that this package writes."""
    names = {token: place for place, token in enumerate(vocab.tokens)}
    for theirs, ours in (("[PAD]", "<pad>"), ("[UNK]", "<unk>")):
        if theirs in names and ours not in names:
            names[ours] = names.pop(theirs)
    return names
