"""What the channels inside adapters with a narrow middle are while some speech is heard.

In: prepared data, a backbone, an adapter. Out: moments of the channels of every place, of the utterances that
a reduction is fitted to and of those that tell its error. Training or dev speech is heard, never test speech.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import narrow
from mms_adapt.composition.narrow import Narrow
from mms_adapt.composition.reducing import Moments
from mms_adapt.prepared import Prepared
from mms_adapt.trial import Trial

_HELD_OUT = 4  # one utterance of so many tells the error


class Speech:
    """Some minutes of prepared speech, to be heard through adapters.

    Args:
        prepared: The data.
        backbone: The backbone of the adapters; what is in it is lost.
        split: "train", or "dev".
        minutes: At most so much, evenly taken.
        cache: Folder for features; `.cache` in the prepared folder where not given.

    Raises:
        OptionError: If the part is neither of the two.
        SplitError: If it holds no word.
    """

    def __init__(
        self,
        prepared: Prepared | str | PathLike[str],
        backbone: Backbone,
        *,
        split: str = "train",
        minutes: float = 1.0,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        self._trial = Trial(prepared, backbone, split=split, minutes=minutes, cache=cache)

    @property
    def told(self) -> dict[str, Any]:
        """What the passport of a reduction tells of the speech."""
        trial = self._trial
        return {
            "split": trial.split,
            "split_sha256": trial.data.split_sha256[trial.split],
            "utterances": trial.utterances,
            "minutes": round(trial.speech_s / 60, 2),
        }

    def moments(self, adapter: AdapterFolder) -> tuple[dict[str, Moments], dict[str, Moments]]:
        """Return the moments of every place's channels: of most utterances, and of every fourth alone.

        Args:
            adapter: An adapter of the kind attention or bottleneck.

        Raises:
            AdapterMismatchError: If it is of another backbone.
        """
        written, trial = adapter.passport, self._trial
        adapter.attach(trial.backbone)
        places = narrow.read(written.kind, written.kind_options, adapter.tensors)
        sums = [
            {name: _Sums(one.to(trial.backbone.device)) for name, one in places.items()} for _ in range(2)
        ]
        now = dict(sums[0])
        for name in places:
            module = trial.backbone.model.get_submodule(name.rstrip("."))
            module.forward = _listening(module.forward, now, name)
        rare = trial.utterances >= _HELD_OUT
        try:
            for number in range(trial.utterances):
                now.update(sums[int(rare and number % _HELD_OUT == _HELD_OUT - 1)])
                trial.hear(number)
        finally:
            trial.backbone.bare()
        fitted, told = ({name: one.moments() for name, one in half.items()} for half in sums)
        return fitted, told if rare else fitted


def _listening(forward: Callable[..., Any], now: "Mapping[str, _Sums]", name: str) -> Callable[..., Any]:
    """Return a module's forward that also counts what goes in."""

    def heard(hidden: Tensor) -> Any:
        now[name].add(hidden)
        return forward(hidden)

    return heard


class _Sums:
    """Sums over frames of one place's channels and of their products."""

    def __init__(self, place: Narrow) -> None:
        self._place, self._frames = place, 0
        self._first = place.down.new_zeros(place.width)
        self._second = place.down.new_zeros(place.width, place.width)

    def add(self, hidden: Tensor) -> None:
        """Count the frames of hidden states `(batch, frames, hidden)`."""
        with torch.autocast(hidden.device.type, enabled=False):
            flat = hidden.reshape(-1, hidden.shape[-1]).double()
            inside = self._place.inside(layer_norm(flat, flat.shape[-1:]))  # `(frames, width)`
        self._frames += len(inside)
        self._first += inside.sum(dim=0)
        self._second += inside.T @ inside

    def moments(self) -> Moments:
        """Return mean and covariance."""
        count = max(self._frames, 1)
        mean = self._first / count
        covariance = self._second / count - torch.outer(mean, mean)
        return Moments(self._frames, mean.cpu(), covariance.cpu())
