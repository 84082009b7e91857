"""Which adapter a new language starts from: one that is named, or the one that hears it best.

In: a registry of adapters, a backbone, prepared data. Out: a `Relative`, or None where the start is none of
another language. Nearness is measured on the training set alone, dev and test are not heard. It does not know
training.
"""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from mms_adapt import registry
from mms_adapt.backbone import Backbone, Start
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterError, AdapterMismatchError, RegistryError
from mms_adapt.prepared import Prepared
from mms_adapt.recipe import TrainConfig
from mms_adapt.start import Relative
from mms_adapt.trial import Trial

MINUTES = 3.0  # of training speech on which adapters are compared


@dataclass(frozen=True, slots=True)
class Ranked:
    """An adapter and how badly it hears the language.

    Attributes:
        adapter: The adapter.
        loss: Its CTC loss a token; lower is nearer.
    """

    adapter: AdapterFolder
    loss: float


def rank(
    prepared: Prepared | str | PathLike[str],
    backbone: Backbone,
    relatives: str | PathLike[str],
    *,
    kind: str = "attention",
    minutes: float = MINUTES,
    cache: str | PathLike[str] | None = None,
    allow_sibling: bool = False,
) -> list[Ranked]:
    """Return the adapters of a registry that fit, the nearest one first.

    Adapters of the language itself are left out, as are those of other kinds and backbones.

    Args:
        prepared: Data of the new language; some of its training set is heard.
        backbone: The backbone.
        relatives: The registry.
        kind: The kind that is to be trained.
        minutes: At most so much is heard.
        cache: Folder for features; `.cache` in the prepared folder where not given.
        allow_sibling: Let those of a sibling of the backbone take part.

    Raises:
        RegistryError: If there is no adapter that fits.
    """
    data, root = Prepared.of(prepared), Path(relatives)
    trial = Trial(data, backbone, split="train", minutes=minutes, cache=cache)
    found, reasons = [], []
    for name in registry.names(root):
        try:
            one = AdapterFolder.load(root / name)
            if one.passport.target_lang == data.target_lang:
                continue
            if one.passport.kind != kind:
                raise AdapterMismatchError(f"it is of the kind {one.passport.kind}")
            found.append(Ranked(one, trial.nearness(one, allow_sibling=allow_sibling)))
        except AdapterError as error:
            reasons.append(f"{name}: {error}")
    found = [one for one in found if math.isfinite(one.loss)]
    if not found:
        why = f" ({'; '.join(reasons[:3])})" if reasons else ""
        raise RegistryError(
            f"{root}: it holds no adapter of another language of the kind {kind} for {backbone.name!r}{why}; "
            "start with zero"
        )
    return sorted(found, key=lambda one: one.loss)


def chosen(prepared: Prepared, backbone: Backbone, config: TrainConfig) -> Relative | None:
    """Return the adapter that a training is to start from; None where none of the registry is asked for.

    Raises:
        RegistryError: If the registry has none that fits.
        AdapterMismatchError: If the one that is named is of another kind or backbone.
    """
    word, _, code = config.start.partition(":")
    if config.relatives is None or word not in ("auto", "language"):
        return None
    if word == "auto":
        ranked = rank(
            prepared,
            backbone,
            config.relatives,
            kind=config.adapter,
            cache=config.cache,
            allow_sibling=config.allow_sibling,
        )
        losses = ", ".join(f"{one.adapter.passport.target_lang} {one.loss:.2f}" for one in ranked[:5])
        return _relative(
            ranked[0].adapter, backbone, f"auto: {ranked[0].adapter.passport.target_lang}", f"losses {losses}"
        )
    if code not in {name.partition("/")[0] for name in registry.names(config.relatives)}:
        return None
    one = AdapterFolder.load(registry.find(config.relatives, code))
    if one.passport.kind != config.adapter:
        raise AdapterMismatchError(
            f"{one.path}: it is of the kind {one.passport.kind}, and {config.adapter} is to be trained"
        )
    one.attach(backbone, allow_sibling=config.allow_sibling)  # refuses an adapter of another backbone
    return _relative(one, backbone, config.start, "named")


def _relative(adapter: AdapterFolder, backbone: Backbone, name: str, how: str) -> Relative:
    sibling = ", of a sibling backbone" if adapter.relation(backbone) == "sibling" else ""
    told = f"{name} ({adapter.sha256[:12]}, {how}{sibling})"
    weights = Start(dict(adapter.tensors), adapter.vocab)
    return Relative(told, weights, adapter.passport.kind, adapter.passport.kind_options)
