"""Adapters with a narrow middle (kinds attention and bottleneck) added up, exactly, or averaged.

In: the tensors of adapters of one kind. Out: those of one. Every such adapter has a norm of its own; its
scale and shift go into the way down, which leaves the bare norm, which all have in common. So two adapters
are one of double width whose ways down stand above each other, with the summed effect. It does not know heads
or passports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mms_adapt import plugins
from mms_adapt.adapters import _narrow
from mms_adapt.errors import AdapterMismatchError

KINDS = ("attention", "bottleneck")


@dataclass(frozen=True)
class Narrow:
    """What one place adds: up relu(down n + down_bias) + up_bias, n the normed input; in float64.

    Attributes:
        down: `(width, hidden)`.
        down_bias: `(width,)`.
        up: `(hidden, width)`.
        up_bias: `(hidden,)`.
    """

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor

    @property
    def width(self) -> int:
        """Channels inside."""
        return len(self.down)

    def times(self, factor: float) -> "Narrow":
        """Return it with what it adds multiplied."""
        return replace(self, up=factor * self.up, up_bias=factor * self.up_bias)

    def inside(self, normed: Tensor) -> Tensor:
        """Return what is inside `(frames, width)` for normed hidden states `(frames, hidden)`."""
        return torch.relu(normed @ self.down.T + self.down_bias)

    def __call__(self, normed: Tensor) -> Tensor:
        """Return what is added, `(frames, hidden)`, for normed hidden states of that shape."""
        return self.inside(normed) @ self.up.T + self.up_bias

    def to(self, device: torch.device) -> "Narrow":
        """Return it on a device."""
        return Narrow(*(one.to(device) for one in (self.down, self.down_bias, self.up, self.up_bias)))


Places = dict[str, Narrow]


def read(kind: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Places:
    """Return what each place adds, by the name before its parts; places where nothing is are left out."""
    config = plugins.load("adapters", kind).Config(**options)
    factor = float(getattr(config, "factor", 1.0))
    found: Places = {}
    for name in tensors:
        if not name.endswith(".norm.weight"):
            continue
        place = name.removesuffix("norm.weight")
        gain, shift, down, down_bias, up, up_bias = (tensors[place + one].double() for one in _narrow.PARTS)
        if kind == "attention" and not any(bool(one.any()) for one in (down, down_bias, up, up_bias)):
            continue  # the identity of a layer without an adapter
        found[place] = Narrow(down * gain, down @ shift + down_bias, factor * up, factor * up_bias)
    return found


def write(
    kind: str, options: Mapping[str, Any], places: Places, layers: int | str, every: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return options and tensors of an adapter that adds this.

    Args:
        kind: The kind.
        options: Those of one of the adapters that it was made of.
        places: What each place adds; narrower ones get channels of zeros.
        layers: What `layers` of the options is to be.
        every: Places that must be there though nothing is added, as MMS's files have them.
    """
    width = max(one.width for one in places.values())
    hidden = next(iter(places.values())).down.shape[1]
    tensors: dict[str, Tensor] = {}
    for place in sorted({*places, *every}):
        one = places.get(
            place, Narrow(*(torch.zeros(shape) for shape in ((0, hidden), (0,), (hidden, 0), (hidden,))))
        )
        more = width - one.width
        parts = (
            torch.ones(hidden),
            torch.zeros(hidden),
            torch.cat([one.down, one.down.new_zeros(more, hidden)]),
            torch.cat([one.down_bias, one.down_bias.new_zeros(more)]),
            torch.cat([one.up, one.up.new_zeros(hidden, more)], dim=1),
            one.up_bias,
        )
        for part, tensor in zip(_narrow.PARTS, parts, strict=True):
            tensors[place + part] = tensor.float().contiguous()
    if kind == "attention":
        return {**options, "size": width, "layers": layers, "seed": 0}, tensors
    return {**options, "width": width, "factor": 1.0, "layers": layers, "seed": 0}, tensors


def concatenated(parts: Sequence[tuple[float, Places]]) -> Places:
    """Return the weighted sum of what adapters add: exact, and as wide as all of them together."""
    found: Places = {}
    for place in sorted({place for _, one in parts for place in one}):
        held = [one[place].times(factor) for factor, one in parts if place in one]
        found[place] = Narrow(
            torch.cat([one.down for one in held]),
            torch.cat([one.down_bias for one in held]),
            torch.cat([one.up for one in held], dim=1),
            sum((one.up_bias for one in held[1:]), held[0].up_bias),
        )
    return found


def averaged(parts: Sequence[tuple[float, Places]]) -> Places:
    """Return adapters of one width with every number the weighted sum of theirs.

    The result is as wide as one of them. It makes sense for adapters that began with the same numbers and
    have not moved far apart; others are different numbers that do the same.

    Raises:
        AdapterMismatchError: If their widths or places differ.
    """
    first = parts[0][1]
    for _, one in parts:
        if one.keys() != first.keys() or any(one[place].width != first[place].width for place in first):
            raise AdapterMismatchError(
                "adapters of different widths or layers have no mean, number by number; give the method "
                "concatenate, or reduce"
            )
    return {
        place: Narrow(
            *(
                torch.stack([factor * getattr(one[place], name) for factor, one in parts]).sum(dim=0)
                for name in ("down", "down_bias", "up", "up_bias")
            )
        )
        for place in first
    }
