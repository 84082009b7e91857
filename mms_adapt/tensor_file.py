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
from collections.abc import Mapping
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
    """

    def __init__(self, whole: Tensor, shapes: Mapping[str, list[int]]) -> None:
        parts = torch.split_with_sizes(whole, [math.prod(shape) for shape in shapes.values()])
        shaped = zip(shapes.items(), parts, strict=True)
        super().__init__((name, one if len(shape) == 1 else one.view(shape)) for (name, shape), one in shaped)
        self.whole, self.shapes = whole, shapes

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        # by numpy: torch divides such work among threads, which wait for each other beside other work
        numbers = self.whole.numpy()
        return not len(numbers) or bool(np.isfinite([numbers.min(), numbers.max()]).all())

    def to(self, device: torch.device) -> "Views":
        """Return them on another device, by one transfer."""
        return Views(self.whole.to(device), self.shapes)


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
    if not all(name.isascii() for name in header) or not all(map(_plain, header.values())):
        return None
    names = sorted(header, key=lambda name: header[name]["data_offsets"])
    reached = 0
    for name in names:
        first, stop = header[name]["data_offsets"]
        if first != reached or stop - first != 4 * math.prod(header[name]["shape"]):
            return None
        reached = stop
    if reached != len(content) - start:
        return None
    numbers = torch.frombuffer(content, dtype=torch.float32, offset=start)
    return Views(numbers, {name: header[name]["shape"] for name in names})


def _plain(entry: Any) -> bool:
    """Tell whether this is how the header tells of a tensor of float32."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS or entry["dtype"] != "F32":
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (type(shape) is type(offsets) is list and len(offsets) == 2):
        return False
    return all(type(one) is int and one >= 0 for one in shape + offsets)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names come once.

    Raises:
        ValueError: If one comes twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found
