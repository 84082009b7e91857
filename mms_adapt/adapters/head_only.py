"""No adapter at all: the head alone is trained, on what the frozen backbone hears.

In: a stock model. Out: the same model without the adapters of its checkpoint. It is the least that a language
needs, and shows what the layers that other kinds add are worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mms_adapt.adapters import Weights
from mms_adapt.adapters._beside import expect, topmost


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


def attach(model: Any, config: Config) -> None:
    """Take the checkpoint's own adapters out of a model.

    Args:
        model: A stock Wav2Vec2ForCTC.
        config: The options.
    """
    topmost(model, "all")


def owns(parameter_name: str) -> bool:
    """Tell whether a parameter of the model belongs to the adapter: none does."""
    return False


def weights(tensors: Mapping[str, Tensor], config: Config, hidden_size: int, layer_count: int) -> Weights:
    """Make sure that there is nothing but a head.

    Raises:
        AdapterMismatchError: If there is.
    """
    expect(tensors, {})
    return Weights((), layer_count)


def mix(parts: Sequence[tuple[float, Weights]]) -> Weights:
    """Return the sum of nothing; the heads are mixed by who asks."""
    return parts[0][1]


class NothingStack:
    """Rows that have a head of their own alone."""

    places: ClassVar[frozenset[str]] = frozenset()

    def add(self, place: str, layer: int, given: Tensor, found: Tensor, which: Tensor) -> Tensor:
        """Return what was found."""
        return found


def stack(adapters: Sequence[Weights]) -> NothingStack:
    """Put adapters side by side."""
    return NothingStack()
