"""The device that a name stands for.

In: a name. Out: a torch device that this machine has. It does not know what is computed there.
"""

import torch

from mms_adapt.errors import OptionError


def choose_device(device: str) -> torch.device:
    """Return the device of this name; "auto" is a GPU where there is one.

    Raises:
        OptionError: If it is no device, or this machine has none such.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise OptionError(f"device={device!r}: give auto, cpu, cuda or cuda:1")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise OptionError(
            f"device={device!r}: torch sees {torch.cuda.device_count()} CUDA devices here; give cpu or auto"
        )
    return found
