"""Safetensors files: read, or taken from memory without a copy.

In: a file, or its content. Out: its tensors, which share the memory of a content where it is a plain file of
float32, as adapters are; anything else is read by the library of the format, or refused in its own words. It
does not know what the tensors are for.

A plain file has a header of JSON behind eight bytes that tell its length, and then numbers without a gap.
What is taken here is checked to the last byte: what the library refuses is never taken.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_HEADER_FROM, _LARGEST_HEADER = 8, 100_000_000  # as the format has it
_FIELDS = ("dtype", "shape", "data_offsets")
Shapes = Mapping[str, tuple[int, ...]]


class Views(Mapping[str, Tensor]):
    """Tensors by name that lie behind each other in one memory and fill it; each is made when asked for.

    Args:
        whole: The memory, `(numbers,)`.
        shapes: The shape of each, in their order.
    """

    def __init__(self, whole: Tensor, shapes: Shapes) -> None:
        self.whole, self.shapes = whole, shapes
        self._starts, reached = {}, 0
        for name, shape in shapes.items():
            self._starts[name] = reached
            reached += math.prod(shape)

    def __getitem__(self, name: str) -> Tensor:
        start, shape = self._starts[name], self.shapes[name]
        return self.whole[start : start + math.prod(shape)].view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        # by numpy: torch divides such work among threads, which wait for each other beside other work
        numbers = self.whole.numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            # one number that is none makes the sum none; a sum that grows too large is told apart
            return bool(np.isfinite(numbers.sum())) or bool(np.isfinite(numbers).all())

    def to(self, device: torch.device) -> "Views":
        """Return them on another device, by one transfer."""
        return Views(self.whole.to(device), self.shapes)

    def together(self, names: Sequence[Sequence[str]]) -> list[Tensor] | None:
        """Return the tensors of several layers side by side, by one copy of them all.

        Args:
            names: Those of each layer, part by part.

        Returns:
            Each part, `(layers, ...)`; None where the layers do not lie alike, right behind one another.
        """
        shapes = [self.shapes[name] for name in names[0]]
        sizes = [math.prod(shape) for shape in shapes]
        starts = [[self._starts[name] for name in each] for each in names]
        firsts = [min(each) for each in starts]
        size, begin = sum(sizes), min(firsts)
        inside = [start - firsts[0] for start in starts[0]]
        if not size or max(map(sum, zip(inside, sizes, strict=True))) != size:
            return None
        order = [(first - begin) // size for first in firsts]
        for first, place, each, called in zip(firsts, order, starts, names, strict=True):
            alike = first == begin + place * size and [start - first for start in each] == inside
            if not alike or [self.shapes[name] for name in called] != shapes:
                return None
        if sorted(order) != list(range(len(names))):
            return None
        layers = self.whole[begin : begin + size * len(names)].view(len(names), size)
        layers = layers.index_select(0, torch.tensor(order, device=layers.device))
        return [
            layers[:, start : start + part].view(len(names), *shape)
            for start, part, shape in zip(inside, sizes, shapes, strict=True)
        ]


def read(path: Path, error: type[Exception]) -> dict[str, Tensor]:
    """Return the tensors of a file.

    Args:
        path: The file.
        error: What to raise where it is not one, or is damaged.
    """
    from safetensors.torch import load_file

    with _refusing(path, error):
        return dict(load_file(path))


def parsed(path: Path, error: type[Exception], content: memoryview) -> Mapping[str, Tensor]:
    """Return the same from what was read of the file, so that what was checked is what is used.

    Args:
        path: The file.
        error: As for `read`.
        content: What was read; the tensors may live in it.
    """
    from safetensors.torch import load

    with _refusing(path, error):
        plain = views(content)
        return load(bytes(content)) if plain is None else plain


@contextmanager
def _refusing(path: Path, error: type[Exception]) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError) as reason:
        raise error(
            f"{path}: this is no whole safetensors file ({reason}); it is damaged, cut short or of another "
            "format (pickles such as .bin and .pt are not read); copy it again"
        ) from reason


def views(content: memoryview) -> Views | None:
    """Return the tensors of a plain file of float32 by name, or None.

    Args:
        content: A file of safetensors, writable and with nobody to write it: the tensors live in it.
    """
    start = _HEADER_FROM + int.from_bytes(content[:_HEADER_FROM], "little")
    if sys.byteorder != "little" or start - _HEADER_FROM > _LARGEST_HEADER or start % 4:
        return None
    if start >= len(content) or content[_HEADER_FROM] != ord("{"):
        return None
    shapes = _shapes(bytes(content[_HEADER_FROM:start]), len(content) - start)
    if shapes is None:
        return None
    return Views(torch.frombuffer(content, dtype=torch.float32, offset=start), shapes)


def _shapes(header: bytes, byte_count: int) -> Shapes | None:
    """Return what a plain header tells: shapes by name, as the numbers lie; None where it is not plain."""
    # without escapes, what comes twice is found by counting; "-0" is a size for Python, not for the library
    if b"\\" in header or b"-" in header or header.count(b'"__metadata__"') > 1:
        return None
    try:
        entries = json.loads(str(header, "ascii"))
    except (ValueError, RecursionError):
        return None
    told = entries.pop("__metadata__", {})
    if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
        return None
    if any(header.count(f'"{one}"'.encode()) != len(entries) for one in _FIELDS):
        return None
    found: list[tuple[int, int, str, tuple[int, ...]]] = []
    for name, entry in entries.items():
        one = _place(entry)
        if one is None:
            return None
        found.append((*one[:2], name, one[2]))
    found.sort()
    reached = 0
    for first, stop, _, shape in found:
        if first != reached or stop - first != 4 * math.prod(shape):
            return None
        reached = stop
    return {name: shape for _, _, name, shape in found} if reached == byte_count else None


def _place(entry: Any) -> tuple[int, int, tuple[int, ...]] | None:
    """Return where the numbers of a tensor of float32 begin and end, and its shape; None if it is none."""
    if type(entry) is not dict or len(entry) != len(_FIELDS):
        return None
    kind, shape, offsets = map(entry.get, _FIELDS)
    if kind != "F32" or type(shape) is not list or type(offsets) is not list or len(offsets) != 2:
        return None
    for one in (*shape, *offsets):
        if type(one) is not int:  # a number of a size is never below zero: there is no "-"
            return None
    return offsets[0], offsets[1], tuple(shape)
