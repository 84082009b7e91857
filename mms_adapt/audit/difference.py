"""What two adapters differ in: passport, tokens, numbers layer by layer, and whom they heard.

In: two adapter folders. Out: a `Difference`. It does not say which is better: that is what `compare` is for.

Numbers are compared place by place. Of the kind lora, the changes of matrices are, since other A and B may be
the same change. Of kinds with a narrow middle, the same function with its channels in another order counts as
a difference: adapters that were trained apart are far from each other by this measure whatever they do.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from mms_adapt.checkpoint import HEAD, AdapterFolder
from mms_adapt.composition import low_rank
from mms_adapt.passport import Passport

_LAYER = re.compile(r"wav2vec2\.encoder\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Change:
    """A field of the passport that differs.

    Attributes:
        field: Its name, nested ones with dots.
        first: The first adapter's value; None where it has none.
        second: The second one's.
    """

    field: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Apart:
    """How far the numbers of one place lie apart.

    Attributes:
        place: "layer 3", "head", or a tensor's name where it belongs to no layer.
        relative: Norm of the change over the norm of the first; infinite where the first is zero.
        cosine: Of the angle between both; None where one is zero.
        numbers: How many numbers were compared.
    """

    place: str
    relative: float
    cosine: float | None
    numbers: int


@dataclass(frozen=True, slots=True)
class Shared:
    """What two adapters heard of one part of their data.

    Attributes:
        part: "train" or "dev".
        speakers: Speakers in both.
        only_first: Speakers in the first alone.
        only_second: Speakers in the second alone.
        same_data: Whether the part has one hash in both; None where one of them does not tell.
    """

    part: str
    speakers: int
    only_first: int
    only_second: int
    same_data: bool | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What two adapters differ in.

    Attributes:
        first: Version of the first.
        second: Version of the second.
        passport: Fields that differ.
        tokens_first: Tokens that the first alone has.
        tokens_second: Tokens that the second alone has.
        reordered: Whether the same tokens have other ids.
        same_weights: Whether all tensors are equal, number for number.
        layers: How far they lie apart, place by place; empty where they cannot be compared.
        incomparable: Why not, or what of them not; "" where all was compared.
        heard: What both heard, by part.
        crossed: Speakers whom one learnt from and the other was chosen by (its dev set).
    """

    first: str
    second: str
    passport: tuple[Change, ...]
    tokens_first: tuple[str, ...]
    tokens_second: tuple[str, ...]
    reordered: bool
    same_weights: bool
    layers: tuple[Apart, ...]
    incomparable: str
    heard: tuple[Shared, ...]
    crossed: int

    @property
    def same_tokens(self) -> bool:
        """Whether both have the same tokens by the same ids."""
        return not (self.tokens_first or self.tokens_second or self.reordered)

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        return self.same_weights and self.same_tokens and not self.passport


def diff(
    first: AdapterFolder | str | PathLike[str], second: AdapterFolder | str | PathLike[str]
) -> Difference:
    """Return what two adapters differ in.

    Args:
        first: An adapter, or its folder.
        second: Another.

    Raises:
        AdapterError: If one of them is none, or is not whole.
    """
    one, other = (
        each if isinstance(each, AdapterFolder) else AdapterFolder.load(each) for each in (first, second)
    )
    tokens, others = one.vocab.tokens, other.vocab.tokens
    layers, incomparable = _layers(one, other)
    return Difference(
        one.version,
        other.version,
        tuple(_changes(one.passport, other.passport)),
        tuple(token for token in tokens if token not in set(others)),
        tuple(token for token in others if token not in set(tokens)),
        set(tokens) == set(others) and tokens != others,
        _equal(one.tensors, other.tensors),
        tuple(layers),
        incomparable,
        tuple(_heard(one.passport, other.passport)),
        _crossed(one.passport, other.passport),
    )


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _changes(one: Passport, other: Passport) -> Iterator[Change]:
    """Return the fields that differ, those inside of mappings by their own names."""
    first, second = (_flat(asdict(each)) for each in (one, other))
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield Change(name, first.get(name), second.get(name))


def _flat(record: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{before}{name}.")
        elif value not in ("", (), [], {}, None):
            found[f"{before}{name}"] = list(value) if isinstance(value, tuple) else value
    return found


def _layers(one: AdapterFolder, other: AdapterFolder) -> tuple[list[Apart], str]:
    """Return how far numbers lie apart, and what could not be compared."""
    kinds = one.passport.kind, other.passport.kind
    told = []
    places: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    if kinds[0] != kinds[1]:
        told.append(
            f"one is of the kind {kinds[0]} and the other {kinds[1]}, so their heads alone are compared"
        )
    else:
        first, second = (_numbers(each) for each in (one, other))
        for name in sorted(first.keys() & second.keys(), key=_order):
            if first[name].shape == second[name].shape:
                places[_place(name)].append((first[name], second[name]))
        away = sorted(
            {
                _place(name)
                for name in first.keys() | second.keys()
                if name not in first or name not in second or first[name].shape != second[name].shape
            },
            key=_order,
        )
        if away:
            told.append(f"of {', '.join(away)}, not all is in both with the same shape, and that is left out")
    shared = [token for token in one.vocab.tokens if token in set(other.vocab.tokens)]
    heads = [_head(each, shared) for each in (one, other)]
    if heads[0].shape == heads[1].shape:
        places["head"].append((heads[0], heads[1]))
        if len(shared) < max(len(one.vocab), len(other.vocab)):
            told.append("of the heads, the rows of tokens that both have are compared")
    return [_apart(place, pairs) for place, pairs in places.items()], "; ".join(told)


def _numbers(one: AdapterFolder) -> dict[str, Tensor]:
    """Return tensors without the head; of lora, the change of each matrix."""
    if one.passport.kind != "lora":
        return {name: tensor.double() for name, tensor in one.tensors.items() if not name.startswith(HEAD)}
    changes = low_rank.read(one.passport.kind_options, one.tensors)
    return {name: up @ down for name, (down, up) in changes.items()}


def _head(one: AdapterFolder, tokens: list[str]) -> Tensor:
    """Return rows and biases of tokens, `(tokens, hidden + 1)`."""
    rows = [one.vocab.tokens.index(token) for token in tokens]
    weight, bias = one.tensors[f"{HEAD}weight"], one.tensors[f"{HEAD}bias"]
    return torch.cat([weight[rows], bias[rows, None]], dim=1).double()


def _apart(place: str, pairs: list[tuple[Tensor, Tensor]]) -> Apart:
    first, second = (torch.cat([pair[at].flatten() for pair in pairs]) for at in (0, 1))
    norms = float(first.norm()), float(second.norm())
    moved = float((second - first).norm())
    relative = moved / norms[0] if norms[0] else (0.0 if not moved else math.inf)
    cosine = float(first @ second) / (norms[0] * norms[1]) if norms[0] and norms[1] else None
    return Apart(place, relative, cosine, first.numel())


def _place(name: str) -> str:
    layer = _LAYER.match(name)
    return f"layer {layer[1]}" if layer else name


def _order(name: str) -> tuple[int, str]:
    """Order names of tensors and of places by their layer, the tenth behind the ninth."""
    number = re.search(r"layers?[. ](\d+)", name)
    return int(number[1]) if number else -1, name


def _heard(one: Passport, other: Passport) -> Iterator[Shared]:
    """Return what both heard of each part that either tells of."""
    for part in ("train", "dev", "test"):
        first, second = (set(each.speakers_of(part)) for each in (one, other))
        hashes = one.split_sha256.get(part), other.split_sha256.get(part)
        if not (first or second or any(hashes)):
            continue
        same = hashes[0] == hashes[1] if all(hashes) else None
        yield Shared(part, len(first & second), len(first - second), len(second - first), same)


def _crossed(one: Passport, other: Passport) -> int:
    found = set(one.speakers_of("train")) & set(other.speakers_of("dev"))
    return len(found | (set(one.speakers_of("dev")) & set(other.speakers_of("train"))))
