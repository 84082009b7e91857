"""Low-rank changes of the frozen matrices themselves.

In: a stock model. Out: the same model in which chosen matrices W give `W x + alpha / rank * B A x`. A starts
at random and B at zero, so that it starts as the identity. Names and scaling are PEFT's. It does not know
where weights come from.

Source: Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models, section 4.1.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt.adapters import Weights
from mms_adapt.adapters._beside import Beside, topmost, wrong_layers
from mms_adapt.errors import AdapterMismatchError, OptionError

LEARNING_RATE = 2e-3
ALL = ("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense")
_OWNED = re.compile(r"wav2vec2\.encoder\.layers\.\d+\.[\w.]+\.lora_[AB]\.weight")
_LAYER = "wav2vec2.encoder.layers."


@dataclass(frozen=True)
class Config:
    """What this kind lets one choose."""

    rank: int = 8
    """Rank of every change."""
    alpha: float | None = None
    """The change is multiplied by alpha / rank; None for alpha = 2 rank."""
    targets: tuple[str, ...] = ALL
    """Which matrices of a layer: the last part of a name, a whole name, or a regular expression for it."""
    layers: int | str = "all"
    """How many of the topmost layers are changed."""
    seed: int = 0
    """Start of the random numbers in A."""

    def __post_init__(self) -> None:
        given: Any = self.targets
        object.__setattr__(self, "targets", (given,) if isinstance(given, str) else tuple(given))
        wrong = wrong_layers(self.layers)
        if self.rank < 1:
            wrong.append(f"rank={self.rank}: give at least 1")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            wrong.append(f"alpha={self.alpha}: give more than 0")
        if not self.targets:
            wrong.append("targets is empty: name matrices, such as q_proj,v_proj")
        for one in self.targets:
            try:
                re.compile(one)
            except re.error as error:
                wrong.append(f"targets: {one!r} is no name and no regular expression: {error}")
        if wrong:
            raise OptionError("; ".join(wrong))

    @property
    def scaling(self) -> float:
        """What B A is multiplied by."""
        return 2.0 if self.alpha is None else self.alpha / self.rank


class LoraLinear(Beside):
    """A frozen matrix with a low-rank change.

    Args:
        inner: The frozen nn.Linear.
        config: Rank and scaling.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inner: nn.Linear, config: Config) -> None:
        super().__init__(inner)
        self.scaling = config.scaling
        options: dict[str, Any] = {"bias": False, "device": inner.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Linear(inner.in_features, config.rank, **options)
        self.lora_B = nn.Linear(config.rank, inner.out_features, **options)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return `(batch, frames, out)` from `(batch, frames, in)`."""
        return self.along(hidden, self.inner(hidden))

    def along(self, given: Tensor, found: Tensor) -> Tensor:
        """Return what the matrix gave with the change added, `(batch, frames, out)`."""
        added: Tensor = self.lora_B(self.lora_A(given)) * self.scaling
        return found + added

    def merged(self) -> nn.Linear:
        """Return one matrix that does the same, in the type of the frozen one."""
        made = nn.Linear(self.weight.shape[1], self.weight.shape[0], device="meta")
        change = self.lora_B.weight.double() @ self.lora_A.weight.double() * self.scaling
        whole = (self.weight.double() + change).to(self.weight.dtype)
        made.weight = nn.Parameter(whole, requires_grad=False)
        made.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=False)
        return made


def attach(model: Any, config: Config) -> None:
    """Put changes that are the identity to the matrices of a bare model.

    Args:
        model: A stock Wav2Vec2ForCTC.
        config: The options.

    Raises:
        OptionError: If more layers are asked for than the model has, or no matrix has such a name.
    """
    random = torch.Generator().manual_seed(config.seed)
    found = [
        (layer, name)
        for number, layer in topmost(model, config.layers)
        for name, one in layer.named_modules()
        if isinstance(one, nn.Linear) and _wanted(f"{_LAYER}{number}.{name}", config.targets)
    ]
    if not found:
        raise OptionError(
            f"targets={','.join(config.targets)}: no matrix of the encoder's layers has such a name; "
            f"they have {', '.join(ALL)}"
        )
    for layer, name in found:
        parent, _, last = name.rpartition(".")
        place = layer.get_submodule(parent)
        made = LoraLinear(getattr(place, last), config)
        first = made.lora_A.weight
        with torch.no_grad():  # as nn.Linear and PEFT start, uniform within 1 / sqrt(in)
            bound = first.shape[1] ** -0.5
            first.copy_(torch.empty(first.shape).uniform_(-bound, bound, generator=random))
        setattr(place, last, made)


def owns(parameter_name: str) -> bool:
    """Tell whether a parameter of the model belongs to the adapter."""
    return _OWNED.fullmatch(parameter_name) is not None


def merge(model: Any) -> None:
    """Put one matrix in the place of every matrix with a change: nothing is left to be computed beside.

    `Backbone.bare` brings the matrices of the checkpoint back.

    Args:
        model: A model with adapters of this kind in it.
    """
    for parent, name, one in list(_changed(model)):
        setattr(parent, name, one.merged())


def _changed(model: Any) -> Iterator[tuple[nn.Module, str, LoraLinear]]:
    for parent in model.modules():
        for name, one in parent.named_children():
            if isinstance(one, LoraLinear):
                yield parent, name, one


def _wanted(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == one or name.endswith(f".{one}") or re.fullmatch(one, name) for one in targets)


_TENSOR = re.compile(r"wav2vec2\.encoder\.layers\.(\d+)\.([\w.]+)\.lora_([AB])\.weight")


def weights(tensors: Mapping[str, Tensor], config: Config, hidden_size: int, layer_count: int) -> Weights:
    """Check the tensors of one adapter, and return them by place, the scaling taken into B.

    Args:
        tensors: By name, as in the adapter's file; the head is not looked at.
        config: The options of the adapter.
        hidden_size: Channels of the encoder.
        layer_count: Layers of the encoder.

    Returns:
        A `(layers, rank, in)` and B `(layers, out, rank)` of each place, zero where a layer has none; its
        form is the places.

    Raises:
        AdapterMismatchError: If a tensor has no place or another shape, or its other half is missing.
    """
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    wrong = []
    for name, one in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is not None and int(match[1]) < layer_count:
            found.setdefault(match[2], {}).setdefault(int(match[1]), {})[match[3]] = one
        elif not name.startswith("lm_head."):
            wrong.append(f"{name} has no place")
    for place, layers in found.items():
        for layer, both in layers.items():
            down, up = both.get("A"), both.get("B")
            if down is None or up is None or len(down) != config.rank or up.shape[1] != config.rank:
                wrong.append(f"layer {layer}: {place} is no pair of A and B of rank {config.rank}")
    if wrong:
        raise AdapterMismatchError("; ".join(wrong[:3]))
    made: list[Tensor] = []
    places = tuple(sorted(found))
    for place in places:
        some = next(iter(found[place].values()))
        downs, ups = (
            torch.zeros(layer_count, *one.shape, device=one.device) for one in (some["A"], some["B"])
        )
        for layer, both in found[place].items():
            downs[layer], ups[layer] = both["A"], both["B"].float() * config.scaling
        made += [downs, ups]
    lowest = min((layer for layers in found.values() for layer in layers), default=layer_count)
    return Weights(tuple(made), lowest, places)


def mix(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return the weighted sum of changes as one of the summed rank; what one lacks stays as it is there."""
    places = tuple(sorted({place for _, one in parts for place in one.form}))
    found: list[Tensor] = []
    for place in places:
        pairs = [
            (one.tensors[2 * at], factor * one.tensors[2 * at + 1])
            for factor, one in parts
            if place in one.form
            for at in [one.form.index(place)]
        ]
        downs, ups = zip(*pairs, strict=True)
        found += [torch.cat(downs, dim=1), torch.cat(ups, dim=2)]
    return Weights(tuple(found), min(one.first_layer for _, one in parts), places)


class LoraStack:
    """Adapters of this kind side by side.

    Args:
        adapters: Of one shape.
    """

    def __init__(self, adapters: Sequence[Weights]) -> None:
        self.places, self.first_layer = frozenset(adapters[0].form), min(one.first_layer for one in adapters)
        tensors = [torch.stack(same) for same in zip(*(one.tensors for one in adapters), strict=True)]
        self._tensors = {
            place: (tensors[2 * at], tensors[2 * at + 1]) for at, place in enumerate(adapters[0].form)
        }

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return what a matrix gives with every row's own change, `(batch, frames, out)`."""
        if layer < self.first_layer:
            return found
        down, up = (one[:, layer].index_select(0, which) for one in self._tensors[place])
        with torch.autocast(found.device.type, enabled=False):
            low = torch.bmm(given.to(down.dtype), down.transpose(1, 2))  # `(batch, frames, rank)`
            return torch.baddbmm(found.to(down.dtype), low, up.transpose(1, 2))


def stack(adapters: Sequence[Weights]) -> LoraStack:
    """Put adapters of one shape side by side."""
    return LoraStack(adapters)
