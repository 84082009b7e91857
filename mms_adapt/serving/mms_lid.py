"""MMS-LID: which of the languages that a checkpoint knows is spoken, by the sound alone.

In: a checkpoint by name or folder, such as facebook/mms-lid-126, and samples. Out: a `Spoken`, the
probability of each of its languages. It does not know candidates or adapters. The model is opened when it is
first asked; it computes in float32 on every device, so one of a billion parameters takes 4 GB.
"""

from os import PathLike, fspath
from threading import Lock
from typing import Any

import torch

from mms_adapt import pretrained, stock
from mms_adapt.encoder import normalised
from mms_adapt.recordings import Waveform
from mms_adapt.serving.identify import Spoken


class MmsLid:
    """A checkpoint of MMS-LID. Any number of threads may ask.

    Args:
        name: A folder, or a name on the hub.
        device: Where it computes.
    """

    def __init__(self, name: str | PathLike[str], device: torch.device) -> None:
        self.name, self.device = fspath(name), device
        self._lock = Lock()
        self._opened: tuple[Any, tuple[str, ...], bool] | None = None

    def hear(self, samples: Waveform) -> Spoken:
        """Return how probable each of its languages is.

        Args:
            samples: Mono audio at 16 kHz that sounds, `(samples,)`.

        Raises:
            BackboneError: If the checkpoint is missing, damaged or of another architecture.
        """
        with self._lock:
            self._opened = self._opened or self._open()
        model, codes, normalises = self._opened
        with torch.inference_mode():
            row = torch.from_numpy(samples).to(self.device)
            row = normalised(row) if normalises else row.float()
            logits = model(row[None]).logits[0].float()  # `(codes,)`
        return Spoken(codes, tuple(logits.softmax(dim=-1).cpu().tolist()))

    def _open(self) -> tuple[Any, tuple[str, ...], bool]:
        source = pretrained.find_identifier(self.name)
        model = stock.build_identifier(source, dict(source.tensors())).to(self.device)
        labels = model.config.id2label
        return model, tuple(str(labels[number]) for number in range(len(labels))), source.do_normalize
