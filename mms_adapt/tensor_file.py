"""The tensors of a safetensors file that is in memory already, without copying them.

In: the content of a file. Out: tensors that share its memory, where it is a plain file of float32, as
adapters are; None where it is anything else, which the library of the format then reads, or refuses in its
own words. It does not know what the tensors are for.

A plain file has a header of JSON behind eight bytes that tell its length, and then numbers without a gap.
What is taken here is checked to the last byte: what the library refuses is never taken.
"""

import json
import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_HEADER_FROM, _LARGEST_HEADER = 8, 100_000_000  # as the format has it
_FIELDS = {"dtype", "shape", "data_offsets"}


class Views(dict[str, Tensor]):
    """Tensors by name that lie behind each other in one memory and fill it.

    Args:
        whole: The memory, `(numbers,)`.
        shapes: The shape of each, in their order.
        sizes: How many numbers each of them has.
    """

    def __init__(self, whole: Tensor, shapes: Mapping[str, list[int]], sizes: list[int]) -> None:
        super().__init__(zip(shapes, torch.split_with_sizes(whole, sizes), strict=True))
        for name, shape in shapes.items():
            if len(shape) != 1:
                self[name] = self[name].view(shape)
        self.whole, self.shapes, self._sizes = whole, shapes, sizes

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
        return Views(self.whole.to(device), self.shapes, self._sizes)


def views(content: memoryview) -> Views | None:
    """Return the tensors of a plain file of float32 by name, or None.

    Args:
        content: A file of safetensors, writable and with nobody to write it: the tensors live in it.
    """
    start = _HEADER_FROM + int.from_bytes(content[:_HEADER_FROM], "little")
    if sys.byteorder != "little" or start - _HEADER_FROM > _LARGEST_HEADER or start % 4:
        return None
    try:
        header = json.loads(str(content[_HEADER_FROM:start], "ascii"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or start >= len(content) or content[_HEADER_FROM] != ord("{"):
        return None
    told = header.pop("__metadata__", {})
    if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
        return None
    if not all(map(str.isascii, header)) or not _plain(header.values()):
        return None
    shapes: dict[str, list[int]] = {}
    sizes: list[int] = []
    reached = 0
    for name, entry in sorted(header.items(), key=lambda one: one[1]["data_offsets"]):
        (first, stop), shape = entry["data_offsets"], entry["shape"]
        size = math.prod(shape)
        if first != reached or stop - first != 4 * size:
            return None
        reached, shapes[name] = stop, shape
        sizes.append(size)
    if reached != len(content) - start:
        return None
    numbers = torch.frombuffer(content, dtype=torch.float32, offset=start)
    return Views(numbers, shapes, sizes)


def _plain(entries: Collection[Any]) -> bool:
    """Tell whether this is how a header tells of tensors of float32."""
    for entry in entries:
        if type(entry) is not dict or entry.keys() != _FIELDS or entry["dtype"] != "F32":
            return False
        shape, offsets = entry["shape"], entry["data_offsets"]
        if type(shape) is not list or type(offsets) is not list or len(offsets) != 2:
            return False
    numbers = [one for entry in entries for one in (*entry["shape"], *entry["data_offsets"])]
    return set(map(type, numbers)) <= {int} and min(numbers, default=0) >= 0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names come once.

    Raises:
        ValueError: If one comes twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found
