"""A bottleneck at the sublayers themselves: behind one, or beside it.

In: a stock model. Out: the same model with a way down to few channels, ReLU, and a way up again, at the
attention block, the feed-forward block or both of each layer. A sequential one reads what the sublayer gives;
a parallel one reads what the sublayer reads. Either is added to what the sublayer gives. It does not know
where weights come from; it starts as the identity.

Source: Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, section 2.1 (sequential); He et
al. 2022, Towards a Unified View of Parameter-Efficient Transfer Learning, section 3.3 (parallel, scaled).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt.adapters import Weights, _narrow
from mms_adapt.adapters._beside import Beside, expect, random_matrix, topmost, wrong_layers
from mms_adapt.errors import OptionError

SUBLAYERS = ("attention", "feed_forward")
_OWNED = re.compile(r"wav2vec2\.encoder\.layers\.\d+\.(attention|feed_forward)\.bottleneck\.")


@dataclass(frozen=True)
class Config:
    """What this kind lets one choose."""

    reduction: float = 16.0
    """The encoder's channels by those inside."""
    width: int | None = None
    """Channels inside, where they are not to follow from `reduction`."""
    mode: str = "parallel"
    """"sequential", behind the sublayer, or "parallel", beside it."""
    sublayers: tuple[str, ...] = ("feed_forward",)
    """Where: "attention", "feed_forward" or both."""
    factor: float = 1.0
    """What the bottleneck gives is multiplied by this."""
    layers: int | str = "all"
    """How many of the topmost layers have one."""
    seed: int = 0
    """Start of the random numbers in the first matrix."""

    def __post_init__(self) -> None:
        places: Any = self.sublayers
        object.__setattr__(self, "sublayers", (places,) if isinstance(places, str) else tuple(places))
        wrong = wrong_layers(self.layers)
        if not self.reduction > 0:
            wrong.append(f"reduction={self.reduction}: give more than 0")
        if self.width is not None and self.width < 1:
            wrong.append(f"width={self.width}: give at least 1")
        if self.mode not in ("sequential", "parallel"):
            wrong.append(f"mode={self.mode!r}: give sequential or parallel")
        if not self.sublayers or set(self.sublayers) - set(SUBLAYERS):
            wrong.append(f"sublayers={places!r}: give attention, feed_forward or both")
        if wrong:
            raise OptionError("; ".join(wrong))

    def inside(self, hidden_size: int) -> int:
        """Return the channels inside."""
        return self.width or max(1, round(hidden_size / self.reduction))


class Bottleneck(nn.Module):
    """Norm, down, ReLU, up.

    Args:
        hidden_size: Channels of the encoder.
        width: Channels inside.
        factor: What comes out is multiplied by this.
    """

    def __init__(self, hidden_size: int, width: int, factor: float, device: torch.device) -> None:
        super().__init__()
        self.factor = factor
        self.norm = nn.LayerNorm(hidden_size, device=device, dtype=torch.float32)
        self.linear_1 = nn.Linear(hidden_size, width, device=device, dtype=torch.float32)
        self.linear_2 = nn.Linear(width, hidden_size, device=device, dtype=torch.float32)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        nn.init.ones_(self.norm.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what is added, from hidden states `(batch, frames, hidden)`."""
        narrow = torch.relu(self.linear_1(self.norm(hidden)))  # `(batch, frames, width)`
        wide: Tensor = self.linear_2(narrow)
        return wide * self.factor


class WithBottleneck(Beside):
    """A sublayer with a bottleneck.

    Args:
        inner: The sublayer; what it gives may be the first of several things.
        bottleneck: The bottleneck.
        sequential: Whether it reads what the sublayer gives.
    """

    def __init__(self, inner: nn.Module, bottleneck: Bottleneck, *, sequential: bool) -> None:
        super().__init__(inner)
        self.bottleneck, self.sequential = bottleneck, sequential

    def forward(self, hidden: Tensor, *others: Any, **named: Any) -> Any:
        """Return what the sublayer gives for hidden states `(batch, frames, hidden)`, and more."""
        found = self.inner(hidden, *others, **named)
        first = found[0] if isinstance(found, tuple) else found
        first = self.along(hidden, first)
        return (first, *found[1:]) if isinstance(found, tuple) else first

    def along(self, given: Tensor, found: Tensor) -> Tensor:
        """Return what the sublayer gave with what the bottleneck adds, `(batch, frames, hidden)`."""
        added: Tensor = self.bottleneck(found if self.sequential else given)
        return found + added


def attach(model: Any, config: Config) -> None:
    """Put bottlenecks that are the identity into a bare model.

    Args:
        model: A stock Wav2Vec2ForCTC.
        config: The options.

    Raises:
        OptionError: If more layers are asked for than the model has.
    """
    hidden_size, device = model.config.hidden_size, model.lm_head.weight.device
    width = config.inside(hidden_size)
    random = torch.Generator().manual_seed(config.seed)
    for _, layer in topmost(model, config.layers):
        for name in config.sublayers:
            made = Bottleneck(hidden_size, width, config.factor, device)
            with torch.no_grad():
                made.linear_1.weight.copy_(random_matrix(width, hidden_size, random))
            sequential = config.mode == "sequential"
            setattr(layer, name, WithBottleneck(getattr(layer, name), made, sequential=sequential))


def owns(parameter_name: str) -> bool:
    """Tell whether a parameter of the model belongs to the adapter."""
    return _OWNED.match(parameter_name) is not None


_NAME = "wav2vec2.encoder.layers.{}.{}.bottleneck.{}"


def weights(tensors: Mapping[str, Tensor], config: Config, hidden_size: int, layer_count: int) -> Weights:
    """Check the tensors of one adapter, and return them by layer, norm and factor taken into the matrices.

    Args:
        tensors: By name, as in the adapter's file; the head is not looked at.
        config: The options of the adapter.
        hidden_size: Channels of the encoder.
        layer_count: Layers of the encoder.

    Returns:
        What `_narrow.folded` tells, for each sublayer; its form is the mode and the sublayers.

    Raises:
        AdapterMismatchError: If tensors are missing, have no place or another shape.
    """
    layers = range(0 if config.layers == "all" else layer_count - int(config.layers), layer_count)
    shapes, places = _narrow.shapes(hidden_size, config.inside(hidden_size)), sorted(config.sublayers)
    expect(
        tensors,
        {_NAME.format(layer, place, part): shape
         for layer in layers for place in places for part, shape in shapes.items()},
    )  # fmt: skip
    found: list[Tensor] = []
    device = next(iter(tensors.values())).device
    none = [torch.zeros(shape, device=device) for shape in shapes.values()]
    for place in places:
        parts = [none] * layers.start
        for layer in layers:
            named = {part: tensors[_NAME.format(layer, place, part)].float() for part in shapes}
            parts.append(
                [one * config.factor if part.startswith("linear_2") else one for part, one in named.items()]
            )
        found += _narrow.folded(list(zip(*parts, strict=True)))
    return Weights(tuple(found), layers.start, (config.mode, *places))


def mix(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return the weighted sum of adapters' outputs as one adapter with their channels side by side.

    Raises:
        OptionError: If they are at other places.
    """
    forms = {one.form for _, one in parts}
    if len(forms) > 1:
        told = " and ".join(sorted(" ".join(form) for form in forms))
        raise OptionError(f"bottlenecks at different places cannot be mixed: {told}")
    found: list[Tensor] = []
    for first in range(0, len(parts[0][1].tensors), 3):
        tensors = [(factor, one.tensors[first : first + 3]) for factor, one in parts]
        found += _narrow.mixed([(factor, (down, bias, up)) for factor, (down, bias, up) in tensors])
    return Weights(tuple(found), min(one.first_layer for _, one in parts), parts[0][1].form)


class BottleneckStack:
    """Adapters of this kind side by side.

    Args:
        adapters: Of one shape.
    """

    def __init__(self, adapters: Sequence[Weights]) -> None:
        self.first_layer = min(one.first_layer for one in adapters)
        mode, *places = adapters[0].form
        self.places, self._sequential = frozenset(places), mode == "sequential"
        tensors = _narrow.stacked([one.tensors for one in adapters])
        self._tensors = {place: tensors[3 * at : 3 * at + 3] for at, place in enumerate(places)}

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return what a sublayer gives with every row's own bottleneck, `(batch, frames, hidden)`."""
        if layer < self.first_layer:
            return found
        tensors = [one[:, layer] for one in self._tensors[place]]
        return _narrow.gave(found if self._sequential else given, found, tensors, which)


def stack(adapters: Sequence[Weights]) -> BottleneckStack:
    """Put adapters of one shape side by side."""
    return BottleneckStack(adapters)
