"""What kinds share: a module put beside a frozen one, and the checks of options that several have.

In: a stock model's modules. Out: modules that take their place, under whose names the frozen parameters stay
what they were. It does not know a kind.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.tensor_file import Views


class Beside(nn.Module):
    """A frozen module with something beside it; the frozen one's parameters keep their names.

    Args:
        inner: The frozen module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = (inner,)  # in a tuple, so that it does not become a part with a name of its own
        for name, child in inner.named_children():
            self.add_module(name, child)
        for name, parameter in inner.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.train(inner.training)

    @property
    def inner(self) -> Any:
        """The frozen module."""
        return self._inner[0]

    def along(self, given: Tensor, found: Tensor) -> Tensor:
        """Return what the place gives, where the frozen module, or what else is there, gave `found` already.

        Args:
            given: What went into the place, `(batch, frames, channels)`.
            found: What came out, `(batch, frames, channels)`.
        """
        raise NotImplementedError


def topmost(model: Any, layers: int | str) -> list[tuple[int, Any]]:
    """Return number and module of the topmost layers, after taking out the adapters of the checkpoint.

    Args:
        model: A stock Wav2Vec2ForCTC.
        layers: "all", or how many.

    Raises:
        OptionError: If more layers are asked for than the model has.
    """
    held = list(enumerate(model.wav2vec2.encoder.layers))
    count = len(held) if layers == "all" else int(layers)
    if count > len(held):
        raise OptionError(f"adapter_layers={count}: the backbone has {len(held)} layers; give at most that")
    for _, layer in held:
        layer.adapter_layer = None
    return held[len(held) - count :]


def wrong_layers(layers: int | str) -> list[str]:
    """Return what is wrong with a number of layers."""
    if layers == "all" or (isinstance(layers, int) and not isinstance(layers, bool) and layers >= 1):
        return []
    return [f"adapter_layers={layers!r}: give all, or a number of layers"]


def random_matrix(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """Return numbers for the way down, `(rows, columns)`, drawn on the CPU so that no device changes them."""
    return torch.empty(rows, columns).normal_(0.0, columns**-0.5, generator=generator)


def expect(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Make sure that tensors have these names and shapes; the head is not looked at.

    Raises:
        AdapterMismatchError: If tensors are missing, have no place or another shape; some are named.
    """
    shapes = tensors.shapes if isinstance(tensors, Views) else {k: one.shape for k, one in tensors.items()}
    found = {name: shape for name, shape in shapes.items() if not name.startswith("lm_head.")}
    if found == expected:  # a shape is a tuple
        return
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [
        f"{name} has no place" for name in tensors if name not in expected and not name.startswith("lm_head.")
    ]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AdapterMismatchError("; ".join(wrong[:3]) + more)
