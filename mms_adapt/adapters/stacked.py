"""Adapters one after the other: each hears what those before it have made of the hidden states.

In: a stock model. Out: the same model with several adapters at once, of kinds of this package, in a given
order. Where two change the same place of a layer, the later one takes what the earlier one gave: h + A(h)
becomes h + A(h) + B(h + A(h)), which is not the sum of the two. Each part's tensors keep the names and the
bytes that they have alone, behind `stacked.0.`, `stacked.1.` and so on. It does not know which part is
trained: all of them are, unless whoever asks freezes some.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from mms_adapt import plugins
from mms_adapt.adapters import Stack, Weights
from mms_adapt.adapters._beside import Beside
from mms_adapt.errors import AdapterMismatchError, OptionError

PREFIX = "stacked."
_OWNED = re.compile(r"stacked\.\d+\.")
_LAYERS = "wav2vec2.encoder.layers"
Along = Callable[[Tensor, Tensor], Tensor]  # what went into a place and what it gave, to what it gives now


@dataclass(frozen=True)
class Config:
    """What this kind lets one choose."""

    parts: tuple[Mapping[str, Any], ...] = ()
    """The adapters, the first applied one first: of each, "kind" and "options", fields of its `Config`."""

    def __post_init__(self) -> None:
        given: Any = self.parts
        if not isinstance(given, list | tuple) or len(given) < 2:
            raise OptionError(
                f"parts={given!r}: give two or more adapters, each a mapping of kind and options; mms-adapt "
                "train --on ADAPTER and mms-adapt stack make such"
            )
        object.__setattr__(self, "parts", tuple(_checked(one) for one in given))

    def loaded(self) -> list[tuple[ModuleType, Any]]:
        """Return module and `Config` of each part."""
        modules = [plugins.load("adapters", one["kind"]) for one in self.parts]
        return [(kind, kind.Config(**one["options"])) for kind, one in zip(modules, self.parts, strict=True)]


def _checked(part: Any) -> dict[str, Any]:
    """Return kind and options of a part as JSON holds them.

    Raises:
        OptionError: If the kind is none of the package's own, or does not know an option.
    """
    known = [one for one in plugins.names("adapters") if one != "stacked"]
    kind = part.get("kind") if isinstance(part, Mapping) else None
    if kind not in known or set(part) - {"kind", "options"}:
        raise OptionError(f"parts: {str(part)[:80]}: give kind, one of {', '.join(known)}, and options")
    try:
        config = plugins.load("adapters", kind).Config(**part.get("options", {}))
    except TypeError as error:
        raise OptionError(f"parts: {kind}: {error}") from error
    return {"kind": kind, "options": json.loads(json.dumps(asdict(config)))}


class Chain(Beside):
    """A place of a layer with several adapters' changes one after the other.

    Args:
        inner: The frozen module; what it gives may be the first of several things.
        changes: What each makes of what goes in and what came out so far.
    """

    def __init__(self, inner: nn.Module, changes: Sequence[Along]) -> None:
        super().__init__(inner)
        self._changes = tuple(changes)

    def forward(self, hidden: Tensor, *others: Any, **named: Any) -> Any:
        """Return what the place gives for hidden states `(batch, frames, hidden)`, and more."""
        found = self.inner(hidden, *others, **named)
        first = found[0] if isinstance(found, tuple) else found
        for change in self._changes:
            first = change(hidden, first)
        return (first, *found[1:]) if isinstance(found, tuple) else first


class Outputs(nn.Module):
    """What stands behind a whole layer, one after the other.

    Args:
        adapters: Modules that give what is to be added to what they read.
    """

    def __init__(self, adapters: Sequence[nn.Module]) -> None:
        super().__init__()
        self._adapters = tuple(adapters)  # their parameters have their names elsewhere

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what all of them together add to hidden states `(batch, frames, hidden)`."""
        total: Tensor = self._adapters[0](hidden)
        for one in self._adapters[1:]:
            total = total + one(hidden + total)
        return total


def attach(model: Any, config: Config) -> None:
    """Put adapters that are the identity, one after the other, into a bare model.

    Args:
        model: A stock Wav2Vec2ForCTC.
        config: The options.

    Raises:
        OptionError: If a part does not fit the model, or its kind cannot stand in a stack.
    """
    layers = model.wav2vec2.encoder.layers
    held = nn.Module()
    outputs: list[list[nn.Module]] = [[] for _ in layers]
    changes: list[dict[str, list[Along]]] = [{} for _ in layers]
    for number, (kind, chosen) in enumerate(config.loaded()):
        kind.attach(model, chosen)
        owned = {name: one for name, one in model.named_parameters() if kind.owns(name)}
        for layer, behind, inside in zip(layers, outputs, changes, strict=True):
            adapter = layer.adapter_layer
            if adapter is not None and getattr(adapter, "present", True):
                behind.append(adapter)
            layer.adapter_layer = None
            for place, one in _taken_out(layer):
                inside.setdefault(place, []).append(one.along)
        if [name for name, _ in model.named_parameters() if kind.owns(name)]:
            raise OptionError(f"parts: adapters of the kind {config.parts[number]['kind']} cannot be stacked")
        for name, parameter in owned.items():
            _hold(held, f"{number}.{name}", parameter)
    for layer, behind, inside in zip(layers, outputs, changes, strict=True):
        for place in sorted(inside, key=lambda one: -one.count(".")):  # before what is around it
            parent, _, last = place.rpartition(".")
            owner = layer.get_submodule(parent)
            setattr(owner, last, Chain(getattr(owner, last), inside[place]))
        layer.adapter_layer = Outputs(behind) if behind else None
    model.stacked = held


def _taken_out(layer: nn.Module) -> list[tuple[str, Any]]:
    """Put the frozen modules of a layer back, and return what stood beside them by place."""
    found = [
        (parent, f"{above}.{name}".lstrip("."), one)
        for above, parent in layer.named_modules()
        for name, one in parent.named_children()
        if isinstance(one, Beside)
    ]
    for parent, place, one in found:
        setattr(parent, place.rpartition(".")[2], one.inner)
    return [(place, one) for _, place, one in found]


def _hold(root: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Give a parameter a name of its own, away from where it is used."""
    *path, last = name.split(".")
    for step in path:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    root.register_parameter(last, parameter)


def owns(parameter_name: str) -> bool:
    """Tell whether a parameter of the model belongs to the adapter."""
    return _OWNED.match(parameter_name) is not None


def part(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the tensors of one part under the names that they have alone, without the head."""
    prefix = f"{PREFIX}{number}."
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def named(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return tensors of an adapter under the names that they have as a part; the head is left out."""
    return {f"{PREFIX}{number}.{name}": one for name, one in tensors.items() if name.startswith("wav2vec2.")}


def weights(tensors: Mapping[str, Tensor], config: Config, hidden_size: int, layer_count: int) -> Weights:
    """Check the tensors of all parts, and return them one behind the other.

    Args:
        tensors: By name, as in the adapter's file; the head is not looked at.
        config: The options of the adapter.
        hidden_size: Channels of the encoder.
        layer_count: Layers of the encoder.

    Returns:
        The tensors of the parts' own weights; its form tells which belong to which.

    Raises:
        AdapterMismatchError: If tensors are missing, have no place or another shape.
    """
    prefixes = tuple(f"{PREFIX}{number}." for number in range(len(config.parts)))
    strange = [name for name in tensors if not name.startswith((*prefixes, "lm_head."))]
    if strange:
        raise AdapterMismatchError(f"{strange[0]} has no place")
    found = []
    for number, (kind, chosen) in enumerate(config.loaded()):
        if not hasattr(kind, "stack"):
            raise AdapterMismatchError(f"{kind.__name__} cannot stand beside others in one batch")
        found.append(kind.weights(part(tensors, number), chosen, hidden_size, layer_count))
    return _joined([one["kind"] for one in config.parts], found)


def _joined(kinds: Iterable[str], parts: Sequence[Weights]) -> Weights:
    """Return the weights of parts as one; where one of them begins higher up, its tensors are zero."""
    forms = [json.dumps([kind, len(one.tensors), one.form]) for kind, one in zip(kinds, parts, strict=True)]
    tensors = tuple(tensor for one in parts for tensor in one.tensors)
    return Weights(tensors, min(one.first_layer for one in parts), tuple(forms))


def _apart(whole: Weights) -> list[tuple[str, Any, Weights]]:
    """Return kind, module and weights of each part."""
    found, start = [], 0
    for kind, count, form in map(json.loads, whole.form):
        one = replace(whole, tensors=whole.tensors[start : start + count], form=tuple(form))
        found.append((kind, plugins.load("adapters", kind), one))
        start += count
    return found


def mix(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return an adapter at some strength: what each of its parts adds is multiplied.

    Raises:
        OptionError: If there are several: the weighted sum of stacks is no stack.
    """
    if len(parts) > 1:
        raise OptionError("adapters of the kind stacked cannot be mixed; mix what they are of, then stack")
    ((factor, whole),) = parts
    found = _apart(whole)
    mixed = [module.mix([(factor, one)]) for _, module, one in found]
    return _joined([kind for kind, _, _ in found], mixed)


class StackedStack:
    """Adapters of this kind side by side.

    Args:
        adapters: Of one shape, so that they have the same parts.
    """

    def __init__(self, adapters: Sequence[Weights]) -> None:
        columns = list(zip(*map(_apart, adapters), strict=True))
        self._parts: list[Stack] = [column[0][1].stack([one for _, _, one in column]) for column in columns]
        self.places = frozenset().union(*(one.places for one in self._parts))

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return what a place gives with every row's own adapters, one after the other."""
        for one in self._parts:
            if place in one.places:
                found = one.add(place, layer, given, found, which)
        return found


def stack(adapters: Sequence[Weights]) -> StackedStack:
    """Put adapters of one shape side by side."""
    return StackedStack(adapters)
