"""One edition of one adapter: verified once, ready to be computed with, and never changed.

In: an adapter folder and the backbone. Out: what is `Opened`, its `Edition` on some device, or a weighted sum
of several. A folder whose files are replaced gives another edition; who holds the old one keeps it whole. It
does not know where editions are kept or who asks for them.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from mms_adapt import passport
from mms_adapt.adapters import Weights
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import HEAD, AdapterFolder
from mms_adapt.errors import AdapterError, AdapterMismatchError, OptionError
from mms_adapt.tensor_file import Views
from mms_adapt.vocab import Vocab

HEAD_MULTIPLE = 64  # heads are padded to a multiple of so many tokens, so that few widths occur
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Blend:
    """What is asked for: one adapter at some strength, or several with weights.

    Attributes:
        parts: Language ("mdw"), or language and name in the registry ("mdw/north"), and its weight.

    Raises:
        OptionError: If there is no part, one comes twice, or a weight makes no sense.
    """

    parts: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        weights: list[Any] = [weight for _, weight in self.parts]
        if not weights:
            raise OptionError("an empty mix: name at least one adapter")
        if len({place for place, _ in self.parts}) < len(weights):
            raise OptionError(f"{self}: an adapter comes twice; add its weights up")
        wrong = [one for one in weights if not (isinstance(one, Real) and 0 <= float(one) < math.inf)]
        if wrong:
            raise OptionError(f"{list(self.parts)}: the weight {wrong[0]!r} makes no sense; give 0 or more")
        if len(weights) > 1 and not sum(weights) > 0:
            raise OptionError(f"{self}: all weights are 0, so no head would write; give one more than 0")

    @classmethod
    def of(cls, asked: "str | Blend", scale: float = 1.0) -> "Blend":
        """Return what a language, or a mix, asks for, its strength multiplied."""
        parts = asked.parts if isinstance(asked, Blend) else ((str(asked), 1.0),)
        return cls(tuple((place, weight * scale) for place, weight in parts))

    @property
    def plain(self) -> bool:
        """Whether it is one adapter as it was trained."""
        return len(self.parts) == 1 and self.parts[0][1] == 1.0

    def __str__(self) -> str:
        return " + ".join(place if weight == 1 else f"{weight:g} × {place}" for place, weight in self.parts)


@dataclass(frozen=True, eq=False)
class Edition:
    """An adapter, a head and a vocabulary that belong together.

    Attributes:
        adapter: Passport and vocabulary; its tensors are let go of.
        version: The language and the hash of weights and tokens, as results name it.
        kind: The module of its kind.
        weights: The adapter.
        head: `(hidden, width)`; the width is the vocabulary's size, padded to a multiple of 64.
        head_bias: `(1, width)`, minus infinity where padded.
        stamp: What the folder looked like when it was read.
    """

    adapter: AdapterFolder
    version: str
    kind: Any
    weights: Weights
    head: Tensor
    head_bias: Tensor
    stamp: Stamp = ()

    @property
    def vocab(self) -> Vocab:
        """What it can write."""
        return self.adapter.vocab

    @property
    def target_lang(self) -> str:
        """The language that it writes."""
        return self.adapter.passport.target_lang

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        heads = (self.head, self.head_bias)
        return self.weights.byte_count + sum(one.numel() * one.element_size() for one in heads)

    def emptied(self) -> "Edition":
        """Return it without its numbers, to be kept where they are not."""
        nothing = torch.empty(0)
        return replace(self, weights=Weights(()), head=nothing, head_bias=nothing)


@dataclass(frozen=True, eq=False)
class Opened:
    """An adapter in main memory as its file has it: what editions are made of, on any device.

    Attributes:
        adapter: Passport, vocabulary and tensors.
        backbone: The backbone that it is to stand beside.
        kind: The module of its kind.
        stamp: What the folder looked like when it was read.
    """

    adapter: AdapterFolder
    backbone: Backbone
    kind: Any
    stamp: Stamp

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        tensors = self.adapter.tensors
        held = [tensors.whole] if isinstance(tensors, Views) else tensors.values()
        return sum(one.numel() * one.element_size() for one in held)

    def on(self, device: torch.device, dtype: torch.dtype) -> Edition:
        """Return its edition on a device; it goes there as it is, and is reckoned there. The head is float32.

        Raises:
            AdapterMismatchError: If it does not fit the backbone.
        """
        written, held, backbone = self.adapter.passport, self.adapter.tensors, self.backbone
        if device.type != "cpu":
            held = held.to(device) if isinstance(held, Views) else {k: v.to(device) for k, v in held.items()}
        try:
            config = self.kind.Config(**written.kind_options)
            weights = self.kind.weights(held, config, backbone.hidden_size, backbone.layer_count)
        except (TypeError, OptionError, AdapterMismatchError) as error:
            raise AdapterMismatchError(
                f"{self.adapter.path} does not fit the backbone {backbone.name!r}: {error}"
            ) from error
        head, bias = self._head(held)
        version = self.adapter.version_on(backbone)
        adapter = replace(self.adapter, tensors={})
        return Edition(adapter, version, self.kind, weights.to(device, dtype), head, bias, self.stamp)

    def _head(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return head `(hidden, width)` and bias `(1, width)`, padded."""
        weight, bias = tensors[f"{HEAD}weight"].float(), tensors[f"{HEAD}bias"].float()
        if weight.ndim != 2 or bias.ndim != 1 or weight.shape[1] != self.backbone.hidden_size:
            raise AdapterMismatchError(
                f"{self.adapter.path}: its head is {tuple(weight.shape)}, and the backbone "
                f"{self.backbone.name!r} has {self.backbone.hidden_size} channels"
            )
        more = -len(bias) % HEAD_MULTIPLE
        bias = pad(bias, (0, more), value=-math.inf)[None]
        if weight.device.type != "cpu":
            return pad(weight.t(), (0, more)), bias
        head = np.zeros((weight.shape[1], bias.shape[1]), np.float32)  # as `_narrow` tells, not by torch
        head[:, : len(weight)] = weight.numpy().T
        return torch.from_numpy(head), bias


@contextmanager
def opening(
    folder: Path, target_lang: str, backbone: Backbone, *, allow_sibling: bool = False
) -> Iterator[Opened]:
    """Read an adapter folder, and give it while its files' hashes are still reckoned.

    They are checked when the block ends: nothing that it makes may be used before. What does not fit the
    backbone is found when its edition is made.

    Args:
        folder: The folder.
        target_lang: The language that is expected there.
        backbone: The backbone that it is to stand beside.
        allow_sibling: Go on where that is a sibling of its own.

    Raises:
        AdapterError: If it is not whole, or its kind cannot stand beside others.
        AdapterMismatchError: If it belongs to another backbone or language.
    """
    seen = stamp(folder)
    with AdapterFolder.opening(folder) as adapter:
        written = adapter.passport
        if written.target_lang != target_lang:
            raise AdapterMismatchError(
                f"{folder}: it holds an adapter for {written.target_lang!r} where one for {target_lang!r} is "
                "expected; move it to its own language's folder"
            )
        kind = adapter.check(backbone, allow_sibling=allow_sibling)
        if not hasattr(kind, "stack"):
            raise AdapterError(
                f"{folder}: adapters of the kind {written.kind!r} cannot stand beside others in one batch; "
                "use it alone, with --adapter"
            )
        yield Opened(adapter, backbone, kind, seen)


def blended(blend: Blend, editions: Sequence[Edition]) -> Edition:
    """Return the weighted sum of adapters as one edition.

    The vocabulary is that of the first. Where the others have the same tokens, the heads are added with the
    same weights, made to sum to 1, so that a slider ends at either adapter; else the first head writes.

    Args:
        blend: What was asked for.
        editions: That of each of its parts.

    Raises:
        OptionError: If the adapters are of different kinds.
    """
    first = editions[0]
    if len({one.adapter.passport.kind for one in editions}) > 1:
        held = ", ".join(f"{one.version} is {one.adapter.passport.kind}" for one in editions)
        raise OptionError(f"{blend}: only adapters of one kind can be mixed ({held})")
    weights = [weight for _, weight in blend.parts]
    told = " + ".join(f"{weight:g}*{one.version}" for weight, one in zip(weights, editions, strict=True))
    head, bias = first.head, first.head_bias
    if len(editions) > 1 and all(set(one.vocab.tokens) == set(first.vocab.tokens) for one in editions):
        shares = [weight / sum(weights) for weight in weights]
        heads = [_reordered(one, first.vocab) for one in editions]
        head = torch.stack([share * one[0] for share, one in zip(shares, heads, strict=True)]).sum(dim=0)
        bias = bias.clone()
        size = len(first.vocab)
        bias[:, :size] = sum(share * one[1][:, :size] for share, one in zip(shares, heads, strict=True))
    elif len(editions) > 1:
        told += f" head {first.version}"
    mixed = first.kind.mix([(weight, one.weights) for weight, one in zip(weights, editions, strict=True)])
    return replace(first, version=told, weights=mixed, head=head, head_bias=bias)


def _reordered(one: Edition, vocab: Vocab) -> tuple[Tensor, Tensor]:
    """Return head and bias with the tokens in another vocabulary's order; padding stays behind."""
    places = {token: place for place, token in enumerate(one.vocab.tokens)}
    order = [places[token] for token in vocab.tokens]
    order += range(len(order), one.head.shape[1])
    chosen = torch.tensor(order, device=one.head.device)
    return one.head.index_select(1, chosen), one.head_bias.index_select(1, chosen)


def stamp(folder: Path, *, whole: bool = False) -> Stamp:
    """Return what changes when an adapter folder is replaced: its passport's, or all files', place and time.

    The passport is written last, so as long as it stays, the edition that it vouches for is the newest one.

    Args:
        folder: The folder.
        whole: Whether all files count; they always do where there is no passport.
    """
    try:
        if not whole:
            return (_look(passport.FILE, os.stat(f"{folder}{os.sep}{passport.FILE}")),)
    except OSError:
        pass
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append(_look(entry.name, entry.stat()))
    except OSError:
        return ()  # it is being replaced, or gone
    return tuple(sorted(found))


def _look(name: str, found: os.stat_result) -> tuple[str, int, int, int]:
    return name, found.st_mtime_ns, found.st_size, found.st_ino
