"""Adapters: the layers that training changes, one module a kind.

Each module here exports

- `Config`, a frozen dataclass of the kind's own options, whose values JSON can hold;
- `attach(model, config)`, which puts the layers into a bare stock model, in float32 on the model's device, so
  that the model gives what it gave before (an adapter starts as the identity), and lets what is to be trained
  require gradients;
- `owns(parameter_name)`, which tells whether a parameter of the model belongs to the adapter. The head
  (`lm_head`) belongs to the training and to no kind.

and may export `STOCK = True` where its tensors are those that stock transformers looks for, and
`LEARNING_RATE`, the peak that suits it where that is not the usual one. The fields
`size`, `layers` and `seed` of a `Config` are filled from the backbone and the training's options. A kind adds
or replaces modules only; `Backbone.bare` takes them out again. Adding a kind is adding a module: `plugins`
finds it by its name. Adapters do not know data, files or training.

A kind whose adapters are to stand side by side, each row of a batch going through its own, also exports

- `weights(tensors, config, hidden_size, layer_count)`, which checks the tensors of one adapter and gives its
  `Weights`;
- `mix(parts)`, the `Weights` of a weighted sum of adapters' outputs, from pairs of a number and `Weights`;
- `stack(adapters)`, which puts `Weights` of one `shape` side by side as a `Stack`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

OUTPUT = ""  # the place of what a whole encoder layer gives


@dataclass(frozen=True)
class Weights:
    """One adapter, all its layers together. It never changes.

    Attributes:
        tensors: What the kind computes with, each `(layers, ...)`; which is which, the kind knows.
        first_layer: Below this layer the adapter is the identity.
        form: What else adapters must have in common to be put side by side, such as their places.
    """

    tensors: tuple[Tensor, ...]
    first_layer: int = 0
    form: tuple[str, ...] = ()

    @cached_property
    def shape(self) -> tuple[object, ...]:
        """What adapters must have in common to be put side by side."""
        return (self.form, *(tuple(one.shape) for one in self.tensors))

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        return sum(one.numel() * one.element_size() for one in self.tensors)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Weights":
        """Return it on another device, in another type."""
        return replace(self, tensors=tuple(one.to(device, dtype) for one in self.tensors))


class Stack(Protocol):
    """Adapters of one kind and shape side by side. It never changes, so any number of callers share it."""

    places: frozenset[str]
    """Where in an encoder layer it changes something: `OUTPUT`, or submodules such as `attention.q_proj`."""

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return what a place gives with every row's own adapter.

        Args:
            place: One of `places`.
            layer: The encoder layer.
            given: What went into the place, `(batch, frames, channels)`.
            found: What the frozen model makes of it, `(batch, frames, channels)`.
            which: The adapter of every row by its number in the stack, int64 `(batch,)`.
        """
        ...


class SideBySide(Protocol):
    """What a kind's module exports so that its adapters can stand side by side."""

    def mix(self, parts: Sequence[tuple[float, Weights]]) -> Weights:
        """Return a weighted sum of adapters."""
        ...

    def stack(self, adapters: Sequence[Weights]) -> Stack:
        """Put adapters of one shape side by side."""
        ...
