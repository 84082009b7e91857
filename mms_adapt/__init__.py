"""Speech recognition adapters for low-resource languages, on Meta's MMS.

The public names below are imported when they are first used: ``import mms_adapt`` loads neither torch
nor transformers.

    import mms_adapt

    prepared = mms_adapt.prepare("recordings", "prepared/mdw", target_lang="mdw")
    mms_adapt.train(prepared, "adapters/mdw")
    score = mms_adapt.evaluate("adapters/mdw", prepared, split="test")
    hypothesis = mms_adapt.transcribe("clip.wav", target_lang="mdw", registry="adapters")

The functions ``prepare``, ``evaluate``, ``compare``, ``learning_curve``, ``slide`` and ``transcribe`` live in
modules of the same name; as attributes of the package they are always the functions (write
``from mms_adapt.evaluate import ...`` for the modules).
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from mms_adapt._version import __version__

if TYPE_CHECKING:
    from mms_adapt.bank import Bank
    from mms_adapt.compare import compare
    from mms_adapt.decoders import Hypothesis
    from mms_adapt.errors import MmsAdaptError
    from mms_adapt.evaluate import evaluate
    from mms_adapt.inspection import inspect
    from mms_adapt.learning_curve import learning_curve
    from mms_adapt.manifest import Utterance
    from mms_adapt.prepare import prepare
    from mms_adapt.prepared import Prepared
    from mms_adapt.scoring import Score
    from mms_adapt.selection import select
    from mms_adapt.serving.edition import Blend
    from mms_adapt.slide import slide
    from mms_adapt.training import TrainConfig, train
    from mms_adapt.transcribe import transcribe, transcribe_stream
    from mms_adapt.withdrawal import withdraw

_HOMES = {
    "Bank": "mms_adapt.bank",
    "Blend": "mms_adapt.serving.edition",
    "Hypothesis": "mms_adapt.decoders",
    "MmsAdaptError": "mms_adapt.errors",
    "Prepared": "mms_adapt.prepared",
    "Score": "mms_adapt.scoring",
    "TrainConfig": "mms_adapt.training",
    "Utterance": "mms_adapt.manifest",
    "compare": "mms_adapt.compare",
    "evaluate": "mms_adapt.evaluate",
    "inspect": "mms_adapt.inspection",
    "learning_curve": "mms_adapt.learning_curve",
    "prepare": "mms_adapt.prepare",
    "select": "mms_adapt.selection",
    "slide": "mms_adapt.slide",
    "train": "mms_adapt.training",
    "transcribe": "mms_adapt.transcribe",
    "transcribe_stream": "mms_adapt.transcribe",
    "withdraw": "mms_adapt.withdrawal",
}

__all__ = [
    "Bank",
    "Blend",
    "Hypothesis",
    "MmsAdaptError",
    "Prepared",
    "Score",
    "TrainConfig",
    "Utterance",
    "__version__",
    "compare",
    "evaluate",
    "inspect",
    "learning_curve",
    "prepare",
    "select",
    "slide",
    "train",
    "transcribe",
    "transcribe_stream",
    "withdraw",
]


class _Package(ModuleType):
    """A package whose public functions are not hidden by the modules of the same name.

    Importing ``mms_adapt.evaluate`` makes the import system set that module as the package's attribute
    ``evaluate``, which would leave the caller with a module instead of the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__:
            return
        super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mms_adapt' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
