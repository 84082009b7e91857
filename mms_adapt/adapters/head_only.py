"""No adapter at all: the head alone is trained, on what the frozen backbone hears.

In: a stock model. Out: the same model without the adapters of its checkpoint. It is the least that a language
needs, and shows what the layers that other kinds add are worth.
"""

from dataclasses import dataclass
from typing import Any

from mms_adapt.adapters._beside import topmost


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
