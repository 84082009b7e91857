"""A batch whose rows go through adapters and heads of their own, in one forward pass.

In: waveforms, and the edition of each row. Out: emissions. There is no active language: what a row goes
through comes with the call, and nothing is kept between calls but stacks of weights, which never change. So
any number of threads may call it. It does not know where editions come from or how emissions become text.

In padded batches the products of a row have the same shape whichever adapters the other rows have, so a row's
numbers do not depend on them; on a card in bfloat16, where frames lie side by side, they do by rounding.
Heads are padded to one width, where the padding's logits are minus infinity.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from mms_adapt.adapters import OUTPUT, Stack, Weights
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.backbone import Backbone
from mms_adapt.encoder_layer import Adapt
from mms_adapt.errors import BackboneError
from mms_adapt.packed import Narrow
from mms_adapt.recordings import Waveform
from mms_adapt.serving.edition import Edition

_STACKS = 4  # stacks kept for batches of the same adapters


class _Group(NamedTuple):
    """Rows whose adapters are of one kind and shape.

    Attributes:
        stack: These adapters.
        rows: The rows, `(rows,)`; None for all.
        which: The adapter of each of these, `(rows,)`.
        numbers: The same on the CPU; None where all rows have the same.
    """

    stack: Stack
    rows: Tensor | None
    which: Tensor
    numbers: tuple[int, ...] | None


class _Rows:
    """The adapters of the rows of one batch; what the encoder's layers ask at their places."""

    def __init__(self, groups: Sequence[_Group]) -> None:
        self._groups = groups
        self.inside = any(one.stack.places - {OUTPUT} for one in groups)

    def __call__(self, place: str, layer: int, given: Tensor, found: Tensor) -> Tensor:
        for stack, rows, which, _ in self._groups:
            if place not in stack.places:
                continue
            if rows is None:
                found = stack.add(place, layer, given, found, which)
                continue
            part = stack.add(place, layer, given.index_select(0, rows), found.index_select(0, rows), which)
            found = found.index_copy(0, rows, part.to(found.dtype))
        return found

    def narrow(self, layer_count: int) -> tuple[list[Narrow | None], Sequence[int] | None] | None:
        """See `encoder_layer.Adapt`."""
        stack, _, _, numbers = self._groups[0]
        narrow = getattr(stack, "narrow", None)
        if narrow is None or len(self._groups) > 1:
            return None
        return [narrow(layer) for layer in range(layer_count)], numbers


class Engine:
    """A backbone without adapters, and the way of mixed batches through it.

    Args:
        backbone: The backbone; from now on it is this engine's alone.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        backbone.strip()
        self._stacks: OrderedDict[tuple[int, ...], tuple[tuple[Weights, ...], Stack]] = OrderedDict()
        self._lock = Lock()

    def features(self, waveforms: Sequence[Waveform]) -> tuple[Tensor, list[int]]:
        """Return features `(batch, frames, conv_dim)` and frame counts of audio at 16 kHz."""
        return self.backbone.hear(waveforms)

    def emissions(self, features: Tensor, frame_counts: Sequence[int], editions: Sequence[Edition]) -> Tensor:
        """Return log-probabilities `(batch, frames, width)`, minus infinity behind a row's vocabulary.

        Args:
            features: What `features` gave, `(batch, frames, conv_dim)`.
            frame_counts: Real frames of each row.
            editions: What each row goes through.

        Raises:
            BackboneError: If the numbers of a row are not finite.
        """
        with torch.inference_mode():
            adapt = self.adapt(editions)
            hidden = self.backbone.encode(features, torch.tensor(frame_counts), adapt=adapt)
            found = self._logits(hidden, editions).log_softmax(dim=-1)
            frames = torch.arange(found.shape[1], device=found.device)
            real = frames < torch.tensor(frame_counts, device=found.device)[:, None]  # `(batch, frames)`
            good = (found.amax(dim=-1).isfinite() | ~real).all(dim=1).tolist()
        for one, count, fine in zip(editions, frame_counts, good, strict=True):
            if not fine:
                raise BackboneError(
                    f"the model gave numbers that are not finite for {count * 320 / SAMPLE_RATE_HZ:.1f} s of "
                    f"audio with {one.version}: the backbone or the adapter is broken, or its precision too "
                    "low; try float32"
                )
        return found

    def adapt(self, editions: Sequence[Edition]) -> Adapt:
        """Put the adapters of a batch's rows side by side, those of one kind and shape together."""
        device = self.backbone.device
        kinds: dict[Any, list[int]] = {}
        for row, one in enumerate(editions):
            kinds.setdefault((one.adapter.passport.kind, one.weights.shape), []).append(row)
        found = []
        for rows in kinds.values():
            distinct = {id(editions[row].weights): editions[row].weights for row in rows}
            places = {key: number for number, key in enumerate(distinct)}
            stack = self._stacked(editions[rows[0]].kind, tuple(distinct.values()))
            numbers = tuple(places[id(editions[row].weights)] for row in rows) if len(distinct) > 1 else None
            which = (
                torch.zeros(len(rows), dtype=torch.int64, device=device)  # nothing travels to a card
                if numbers is None
                else torch.tensor(numbers, device=device)
            )
            whole = len(rows) == len(editions)
            found.append(_Group(stack, None if whole else torch.tensor(rows, device=device), which, numbers))
        return _Rows(found)

    def _stacked(self, kind: Any, weights: tuple[Weights, ...]) -> Stack:
        """Return a stack, the same one as long as the same adapters are asked for in the same order."""
        key = tuple(map(id, weights))
        with self._lock:
            if key in self._stacks:
                self._stacks.move_to_end(key)
                return self._stacks[key][1]  # the weights beside it live, so the key is theirs
        stack: Stack = kind.stack(weights)
        with self._lock:
            self._stacks[key] = weights, stack
            while len(self._stacks) > _STACKS:
                self._stacks.popitem(last=False)
        return stack

    def _logits(self, hidden: Tensor, editions: Sequence[Edition]) -> Tensor:
        """Return logits `(batch, frames, width)` of hidden states, each row by its own head, in float32."""
        width = max(one.head.shape[1] for one in editions)
        distinct = {id(one): one for one in editions}
        numbers = {key: number for number, key in enumerate(distinct)}
        more = [width - one.head.shape[1] for one in distinct.values()]
        both = list(zip(distinct.values(), more, strict=True))
        heads = torch.stack([pad(one.head, (0, few)) for one, few in both])
        biases = torch.stack([pad(one.head_bias, (0, few), value=-math.inf) for one, few in both])
        which = torch.tensor([numbers[id(one)] for one in editions], device=hidden.device)
        return torch.baddbmm(biases[which], hidden.float(), heads[which])
