"""MMS's own kind: a narrow bottleneck behind the feed-forward block of every layer.

In: a stock model. Out: the same model with an adapter in each layer: layer norm, down to a few channels,
ReLU, up again, added to the residual. Names and shapes are those of the published MMS adapters. It does not
know where an adapter's weights come from; it starts as the identity.

Source: Pratap et al. 2023, Scaling Speech Technology to 1,000+ Languages, section 5.3; Houlsby et al. 2019.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mms_adapt.adapters import OUTPUT, Weights, _narrow
from mms_adapt.adapters._beside import expect
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.packed import Narrow

STOCK = True
_OWNED = re.compile(r"wav2vec2\.encoder\.layers\.\d+\.adapter_layer\.")


@dataclass(frozen=True)
class Config:
    """What this kind lets one choose."""

    size: int
    """Channels inside; stock transformers expects the backbone's own `adapter_attn_dim`."""
    layers: int | str = "all"
    """How many of the topmost layers have an adapter; in the others it is exactly the identity."""
    seed: int = 0
    """Start of the random numbers in the first matrix."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise OptionError(f"size={self.size}: give at least 1")
        if self.layers != "all" and (not isinstance(self.layers, int) or self.layers < 1):
            raise OptionError(f"adapter_layers={self.layers!r}: give all, or a number of layers")


class AttentionAdapter(nn.Module):
    """One layer's adapter.

    Args:
        hidden_size: Channels of the encoder.
        size: Channels inside.
        present: Whether it does anything; where not, it is the identity and costs nothing.
    """

    def __init__(self, hidden_size: int, size: int, *, present: bool, device: torch.device) -> None:
        super().__init__()
        self.present = present
        self.norm = nn.LayerNorm(hidden_size, device=device, dtype=torch.float32)
        self.linear_1 = nn.Linear(hidden_size, size, device=device, dtype=torch.float32)
        self.linear_2 = nn.Linear(size, hidden_size, device=device, dtype=torch.float32)
        for parameter in self.parameters():
            nn.init.zeros_(parameter).requires_grad_(present)
        nn.init.ones_(self.norm.weight)

    def forward(self, hidden: Tensor) -> Tensor | float:
        """Return what is added to hidden states `(batch, frames, hidden)`."""
        if not self.present:
            return 0.0
        narrow = torch.relu(self.linear_1(self.norm(hidden)))  # `(batch, frames, size)`
        wide: Tensor = self.linear_2(narrow)
        return wide


def attach(model: Any, config: Config) -> None:
    """Put an adapter that is the identity into every layer of a bare model.

    Args:
        model: A stock Wav2Vec2ForCTC.
        config: The options.

    Raises:
        OptionError: If more layers are asked for than the model has.
    """
    layers = model.wav2vec2.encoder.layers
    count = len(layers) if config.layers == "all" else int(config.layers)
    if count > len(layers):
        raise OptionError(f"adapter_layers={count}: the backbone has {len(layers)} layers; give at most that")
    random = torch.Generator().manual_seed(config.seed)
    hidden_size, device = model.config.hidden_size, model.lm_head.weight.device
    for number, layer in enumerate(layers):
        present = number >= len(layers) - count
        adapter = AttentionAdapter(hidden_size, config.size, present=present, device=device)
        first = torch.empty(config.size, hidden_size).normal_(0.0, hidden_size**-0.5, generator=random)
        if present:
            with torch.no_grad():
                adapter.linear_1.weight.copy_(first)
        layer.adapter_layer = adapter


def owns(parameter_name: str) -> bool:
    """Tell whether a parameter of the model belongs to the adapter."""
    return _OWNED.match(parameter_name) is not None


_NAME = "wav2vec2.encoder.layers.{}.adapter_layer.{}"


@cache
def _names(layer_count: int) -> list[list[str]]:
    """Return the names of the parts of each layer; a service asks for them at each adapter that it opens."""
    return [[_NAME.format(layer, part) for part in _narrow.PARTS] for layer in range(layer_count)]


def weights(tensors: Mapping[str, Tensor], config: Config, hidden_size: int, layer_count: int) -> Weights:
    """Check the tensors of one adapter, and return them by layer, the norm's factors taken into the way down.

    Args:
        tensors: By name, as in the adapter's file; the head is not looked at.
        config: The options of the adapter.
        hidden_size: Channels of the encoder.
        layer_count: Layers of the encoder.

    Returns:
        Down `(layers, size + 8, hidden)`, its bias `(layers, 1, size + 8)`, and up with its bias
        `(layers, size + 8, hidden)`; what is added to the size is zero but for one channel.

    Raises:
        AdapterMismatchError: If tensors are missing, have no place or another shape, or a layer that is to
            have no adapter has one.
    """
    shapes = _narrow.shapes(hidden_size, config.size)
    names = _names(layer_count)
    first = layer_count - (layer_count if config.layers == "all" else int(config.layers))
    if first < 0:
        raise AdapterMismatchError(f"adapter_layers={config.layers}: the backbone has {layer_count} layers")
    expect(tensors, dict(zip(chain(*names), [*shapes.values()] * layer_count, strict=True)))
    parts = _narrow.parted(tensors, names)
    if first:
        gain, *others = (_narrow.beside(one[:first]).flatten(1) for one in parts)
        there = torch.cat((gain != 1, *(one != 0 for one in others)), dim=1).any(dim=1).tolist()  # `(first,)`
        if any(there):
            layer = there.index(True)
            raise AdapterMismatchError(f"layer {layer} belongs to those without an adapter, but has one")
    return Weights(_narrow.folded(parts), first)


def mix(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return the weighted sum of adapters' outputs as one adapter with their channels side by side."""
    tensors = _narrow.mixed(
        [(factor, (one.tensors[0], one.tensors[1], one.tensors[2])) for factor, one in parts]
    )
    return Weights(tensors, min(one.first_layer for _, one in parts))


class AttentionStack:
    """Adapters of this kind side by side; two products a layer for rows of any languages.

    Args:
        adapters: Of one shape.
    """

    places: ClassVar[frozenset[str]] = frozenset({OUTPUT})

    def __init__(self, adapters: Sequence[Weights]) -> None:
        self.first_layer = min(one.first_layer for one in adapters)
        self._tensors = _narrow.stacked([one.tensors for one in adapters])

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return a layer's output with every row's own adapter added, `(batch, frames, hidden)`."""
        if layer < self.first_layer:
            return found
        return _narrow.gave(found, found, [one[:, layer] for one in self._tensors], which)

    def narrow(self, layer: int) -> Narrow | None:
        """Return a layer's adapters as `packed` takes them; None where none does anything."""
        if layer < self.first_layer:
            return None
        inward, inner, outward = (one[:, layer] for one in self._tensors)  # `(adapters, ...)`
        if len(inward) == 1:
            return Narrow(inward[0], inner[0, 0], outward[0])
        return Narrow(inward, inner[:, 0], outward)


def stack(adapters: Sequence[Weights]) -> AttentionStack:
    """Put adapters of one shape side by side."""
    return AttentionStack(adapters)
