"""One adapter on another: a language's and a speaker's or a channel's, applied one after the other.

In: adapters, or one that stays as it is and the options of a second that is to be trained on it. Out: an
adapter of the kind stacked, one folder like any other; its parts again; or, where that is exact, one adapter
of a plain kind. It does not know data or audio.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from os import PathLike
from typing import Any

from torch import Tensor

from mms_adapt import licences, plugins, start
from mms_adapt.adapters import stacked
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import HEAD, AdapterFolder, fill, owned
from mms_adapt.composition import certificate, low_rank, narrow
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.recipe import TrainConfig
from mms_adapt.start import Begun

HEADS = ("first", "last")


def stack(
    first: AdapterFolder | str | PathLike[str],
    second: AdapterFolder | str | PathLike[str],
    *,
    head: str = "first",
    licence: str | None = None,
) -> AdapterFolder:
    """Put one adapter on another; the second hears what the first makes of the hidden states.

    Args:
        first: The adapter that is applied first, or its folder.
        second: The one that is applied to what it gives, or its folder.
        head: Whose head and tokens write: "first" or "last".
        licence: The licence that holds, where it cannot be told from the two.

    Returns:
        The adapter, not on the disk yet; `save` writes it.

    Raises:
        AdapterMismatchError: If they are of different backbones, or of kinds that are not the package's own.
        OptionError: If `head` is neither, or the licences do not go together.
    """
    if head not in HEADS:
        raise OptionError(f"head={head!r}: give {' or '.join(HEADS)}")
    given = [one if isinstance(one, AdapterFolder) else AdapterFolder.load(one) for one in (first, second)]
    both = [one if one.passport.files else one.sealed() for one in given]
    certificate.agree(both, ("backbone_fingerprint",))
    parts = [part for one in both for part in parts_of(one)]
    writing = both[HEADS.index(head)]
    tensors = {name: one for name, one in writing.tensors.items() if name.startswith(HEAD)}
    number = 0
    for one in both:
        for place in range(len(parts_of(one))):
            tensors |= stacked.named(tensors_of(one, place), number)
            number += 1
    passport = certificate.of_stack(both, writing, options_of(parts), licence=licence)
    return AdapterFolder(passport, writing.vocab, tensors)


def parts_of(adapter: AdapterFolder) -> list[dict[str, Any]]:
    """Return kind and options of the adapters that one applies one after the other; itself if it is plain."""
    written = adapter.passport
    if written.kind == "stacked":
        return [dict(one) for one in stacked.Config(**written.kind_options).parts]
    return [{"kind": written.kind, "options": dict(written.kind_options)}]


def options_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options of a stack of such adapters.

    Raises:
        AdapterMismatchError: If one is of a kind that is not the package's own.
    """
    try:
        return asdict(stacked.Config(tuple(parts)))
    except OptionError as error:
        raise AdapterMismatchError(f"these adapters cannot be stacked: {error}") from error


def tensors_of(adapter: AdapterFolder, number: int) -> Mapping[str, Tensor]:
    """Return the tensors of one part as they are called where it stands alone; its own if it is plain."""
    if adapter.passport.kind == "stacked":
        return stacked.part(adapter.tensors, number)
    return {name: one for name, one in adapter.tensors.items() if not name.startswith(HEAD)}


def part(adapter: AdapterFolder, number: int) -> AdapterFolder:
    """Return one of the adapters that a stack applies, with the stack's head and tokens.

    Where the head is the first one's, as it is after a training on it, part 0 is that adapter to the bit.

    Args:
        adapter: An adapter of the kind stacked.
        number: Which, from 0; -1 for the last.

    Raises:
        OptionError: If it has no such part, or is no stack.
    """
    parts = parts_of(adapter)
    if adapter.passport.kind != "stacked" or not -len(parts) <= number < len(parts):
        raise OptionError(f"part {number} of {adapter.version}: it is a stack of {len(parts)}")
    one = parts[number]
    tensors = {name: tensor for name, tensor in adapter.tensors.items() if name.startswith(HEAD)}
    tensors |= tensors_of(adapter, number % len(parts))
    written = replace(adapter.passport, kind=one["kind"], kind_options=one["options"], parents={}, merge={})
    return AdapterFolder(written, adapter.vocab, tensors).sealed()


def plain(adapter: AdapterFolder) -> AdapterFolder:
    """Return a stack as one adapter of its parts' kind that gives the same, where there is such a one.

    There is where the parts read what the frozen model reads, so that their changes add up: lora, and
    parallel bottlenecks at the same sublayers. Behind a sublayer or a layer, the second reads what the first
    gave, and two narrow adapters in a row are no one narrow adapter.

    Args:
        adapter: An adapter of the kind stacked.

    Raises:
        AdapterMismatchError: If there is none.
    """
    parts = parts_of(adapter)
    kinds = {one["kind"] for one in parts}
    modes = {(one["options"].get("mode"), *sorted(one["options"].get("sublayers", ()))) for one in parts}
    tensors: dict[str, Tensor]
    if kinds == {"lora"}:
        changes = [low_rank.read(one["options"], tensors_of(adapter, at)) for at, one in enumerate(parts)]
        options, tensors = low_rank.write(low_rank.concatenated([(1.0, one) for one in changes]))
    elif kinds == {"bottleneck"} and len(modes) == 1 and next(iter(modes))[0] == "parallel":
        held = [
            narrow.read("bottleneck", one["options"], tensors_of(adapter, at)) for at, one in enumerate(parts)
        ]
        layers = [one["options"]["layers"] for one in parts]
        most = "all" if "all" in layers else max(layers)
        options, tensors = narrow.write(
            "bottleneck", parts[0]["options"], narrow.concatenated([(1.0, one) for one in held]), most
        )
    else:
        raise AdapterMismatchError(
            f"{adapter.version}: its parts ({', '.join(one['kind'] for one in parts)}) do not read what the "
            "frozen model reads, so that no plain adapter does the same; keep it stacked"
        )
    tensors |= {name: one for name, one in adapter.tensors.items() if name.startswith(HEAD)}
    written = replace(adapter.passport, kind=kinds.pop(), kind_options=options, files={})
    return AdapterFolder(written, adapter.vocab, tensors)


def licence(lower: AdapterFolder, own: str) -> str:
    """Return the licence that holds for an adapter that was trained on another one.

    Args:
        lower: The other one; where nobody noted its licence, the backbone's holds for it, too.
        own: The licence of the backbone's weights.

    Raises:
        OptionError: If the two do not go together, or nobody can tell.
    """
    return licences.strictest(one for one in (lower.passport.licence, own) if one)


def begin(backbone: Backbone, config: TrainConfig, lower: AdapterFolder) -> Begun:
    """Put an adapter into a backbone with a second one on it, of which the second alone is to be trained.

    Args:
        backbone: The backbone.
        config: The options; kind and options of the adapter are the second one's.
        lower: The adapter that stays as it is.

    Raises:
        AdapterMismatchError: If it was made for another backbone, or cannot be stacked.
        OptionError: If the kind does not know an option, nothing would be trained, or the licences do not go
            together.
    """
    lower.check(backbone, allow_sibling=config.allow_sibling)
    licence(lower, backbone.licence or "")  # told before the training, not behind it
    kind = plugins.load("adapters", config.adapter)
    chosen = start.kind_config(kind, config, backbone)
    parts = parts_of(lower)
    count = len(parts)
    options = options_of([*parts, {"kind": config.adapter, "options": asdict(chosen)}])
    backbone.bare()
    stacked.attach(backbone.model, stacked.Config(**options))
    backbone.put_head(len(lower.vocab))
    parameters = owned(backbone.model, stacked)
    last = f"{stacked.PREFIX}{count}."
    tensors = {name: one for name, one in lower.tensors.items() if name.startswith(HEAD)}
    for number in range(count):
        tensors |= stacked.named(tensors_of(lower, number), number)
    fill({name: one for name, one in parameters.items() if not name.startswith(last)}, tensors)
    upper = {name: one for name, one in parameters.items() if name.startswith(last)}
    if config.start == "random":
        start.fill_random(upper, config.seed)
    continued = config.on_head == "continued"
    for name, one in parameters.items():
        if not name.startswith(last):
            one.requires_grad_(continued and name.startswith(HEAD))
    if not any(one.requires_grad for one in parameters.values()):
        raise OptionError(
            f"adapter={config.adapter!r}: there is nothing in it to be trained on {lower.version}; give "
            'another kind, or on_head="continued"'
        )
    below = lower.version_on(backbone)
    told = f"{config.on_head}, of {below}"
    return Begun(stacked, options, parameters, f"{config.start} on {below}", told, lower)
