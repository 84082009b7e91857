"""One adapter of several: weights, a method, and out comes an adapter with a passport that names its parents.

In: adapters of one kind and backbone. Out: an `AdapterFolder` that is not on the disk yet. It does not know
data or audio.

- `concatenate`: the weighted sum of what the adapters add, exactly; as wide as all of them together;
- `average`: the weighted mean of their numbers, as wide as one of them;
- `reduce`: as `concatenate`, then cut to `rank`, the loss stated: lora by singular values, what has a narrow
  middle by choosing channels, best with speech to choose and fit on;
- `ties`: for lora, by elected signs, cut to `rank`.

Heads are always the weighted mean, token by token, over the union of the vocabularies.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Protocol

from torch import Tensor

from mms_adapt import language
from mms_adapt.adapters import stacked
from mms_adapt.checkpoint import HEAD, AdapterFolder
from mms_adapt.composition import certificate, heads, low_rank, narrow, reducing, stacking
from mms_adapt.composition.reducing import Moments
from mms_adapt.errors import AdapterMismatchError, OptionError


class Calibration(Protocol):
    """Speech that can be heard through an adapter; `calibration.Speech` is such."""

    @property
    def told(self) -> Mapping[str, Any]:
        """What the passport tells of it."""

    def moments(self, adapter: AdapterFolder) -> tuple[Mapping[str, Moments], Mapping[str, Moments]]:
        """Return what every place's channels were, on speech to fit to, and on other speech."""


METHODS = ("concatenate", "average", "reduce", "ties")


def merge(
    adapters: Sequence[AdapterFolder | str | PathLike[str]],
    weights: Sequence[float] | None = None,
    *,
    method: str = "concatenate",
    rank: int | None = None,
    density: float = 0.2,
    target_lang: str | None = None,
    licence: str | None = None,
    calibration: Calibration | None = None,
) -> AdapterFolder:
    """Make one adapter of several.

    Args:
        adapters: Adapters, or their folders; one alone is made weaker or stronger.
        weights: What each counts; as much of each where not given. The heads' shares are these, made to sum
            to 1; with one adapter, its head stays as it is.
        method: One of `METHODS`.
        rank: The rank, or the channels inside, of what comes out, for `reduce` and `ties`; that of the first
            adapter where not given.
        density: The share of the numbers that `ties` keeps.
        target_lang: The language that it writes; that of the first where not given.
        licence: The licence that holds, where it cannot be told from the parents' own.
        calibration: Speech by which `reduce` chooses channels of attention and bottleneck adapters and fits
            what is left, such as a `calibration.Speech`; without it, their numbers alone decide.

    Returns:
        The adapter; `save` writes it.

    Raises:
        AdapterMismatchError: If they are of different kinds, backbones, normalisers or orthographies.
        LanguageError: If `target_lang` is no language's code.
        OptionError: If options make no sense, or licences do not go together.
    """
    parents = [one if isinstance(one, AdapterFolder) else AdapterFolder.load(one) for one in adapters]
    chosen = _checked(parents, weights, method)
    if target_lang is not None:
        language.parse(target_lang)
    certificate.agree(parents)  # told before anything is computed
    if calibration is not None and (method != "reduce" or parents[0].passport.kind not in narrow.KINDS):
        raise OptionError("calibration: it is for the method reduce and the kinds attention and bottleneck")
    options, tensors, details = _composed(parents, chosen, method, rank, density, calibration)
    shares = [one / sum(chosen) for one in chosen] if len(chosen) > 1 else [1.0]
    vocab, (weight, bias) = heads.merged(
        [one.vocab for one in parents],
        [(one.tensors[f"{HEAD}weight"].float(), one.tensors[f"{HEAD}bias"].float()) for one in parents],
        shares,
    )
    passport = certificate.of_merge(
        parents,
        chosen,
        method=method,
        kind_options=options,
        target_lang=target_lang,
        licence=licence,
        details=details,
    )
    return AdapterFolder(passport, vocab, {**tensors, f"{HEAD}weight": weight, f"{HEAD}bias": bias})


def _composed(
    parents: Sequence[AdapterFolder],
    weights: Sequence[float],
    method: str,
    rank: int | None = None,
    density: float = 1.0,
    calibration: Calibration | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Return options and tensors of what comes out, without head, and what the passport tells of the method.

    Raises:
        AdapterMismatchError: If the kind is none of the package's own, or places or widths differ.
    """
    kind = parents[0].passport.kind
    if kind in narrow.KINDS:
        if method == "reduce":
            return _reduced(parents, weights, rank, calibration)
        return *_narrow(parents, weights, method), {}
    if kind == "lora":
        return _low_rank(parents, weights, method, rank, density)
    if kind == "head_only":
        return {}, {}, {}
    if kind == "stacked" and len(parents) == 1:
        return *_stacked(parents[0], weights, range(len(stacking.parts_of(parents[0])))), {}
    hint = ": merge what they are made of, then stack" if kind == "stacked" else ""
    raise AdapterMismatchError(f"adapters of the kind {kind!r} cannot be merged{hint}")


def strength(adapter: AdapterFolder, weight: float, *, part: int | None = None) -> AdapterFolder:
    """Return an adapter made weaker or stronger, exactly; its head stays as it is.

    Args:
        adapter: The adapter.
        weight: What it adds is multiplied by this: 1 is as it was trained, 0 the backbone with its head.
        part: Of a stack, the one part that is meant, from 0; -1 for the last. All of them where not given.

    Raises:
        AdapterMismatchError: If the kind is none of the package's own.
        OptionError: If the weight is no number, or there is no such part.
    """
    found = merge([adapter], [weight])
    if part is None:
        return found
    count = len(stacking.parts_of(adapter))
    stacking.part(adapter, part)  # refuses what has no such part
    options, tensors = _stacked(adapter, [weight], [part % count])
    heads_only = {name: one for name, one in found.tensors.items() if name.startswith(HEAD)}
    told = {**found.passport.merge, "part": part % count}
    return replace(
        found,
        passport=replace(found.passport, kind_options=options, merge=told),
        tensors={**tensors, **heads_only},
    )


def _stacked(
    adapter: AdapterFolder, weights: Sequence[float], scaled: Collection[int]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return options and tensors of a stack with what some of its parts add multiplied."""
    parts: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for number, one in enumerate(stacking.parts_of(adapter)):
        options, own = dict(one["options"]), dict(stacking.tensors_of(adapter, number))
        if number in scaled:
            alone = stacking.part(adapter, number)
            options, own, _ = _composed([alone], weights, "concatenate")
        parts.append({"kind": one["kind"], "options": options})
        tensors |= stacked.named(own, number)
    return stacking.options_of(parts), tensors


def _checked(parents: Sequence[AdapterFolder], weights: Sequence[float] | None, method: str) -> list[float]:
    """Return the weights, after making sure that what is asked for makes sense."""
    if not parents:
        raise OptionError("nothing to merge: name at least one adapter")
    if method not in METHODS:
        raise OptionError(f"method={method!r}: give {', '.join(METHODS[:-1])} or {METHODS[-1]}")
    found = [1 / len(parents)] * len(parents) if weights is None else [float(one) for one in weights]
    if len(found) != len(parents):
        raise OptionError(f"{len(found)} weights for {len(parents)} adapters: give one for each")
    if not all(math.isfinite(one) for one in found):
        raise OptionError(f"weights {found}: give numbers")
    if len(parents) > 1 and not sum(found) > 1e-6:
        raise OptionError(f"weights {found}: together they must be above 0, or no head would write")
    versions = [one.version for one in parents]
    if len(set(versions)) < len(versions):
        raise OptionError(f"{versions}: an adapter comes twice; add its weights up")
    kinds = {one.passport.kind for one in parents}
    fitting = {"lora"} if method == "ties" else {"lora", *narrow.KINDS}
    if len(kinds) == 1 and method in ("reduce", "ties") and not kinds <= fitting:
        raise OptionError(
            f"method={method!r}: it is for the kind {' or '.join(sorted(fitting))}, and these are "
            f"{kinds.pop()}; give concatenate or average"
        )
    return found


def _layers(parents: Sequence[AdapterFolder]) -> int | str:
    """Return how many of the topmost layers any of them changes."""
    held = [one.passport.kind_options.get("layers", "all") for one in parents]
    return "all" if "all" in held else max(int(one) for one in held)


def _narrow(
    parents: Sequence[AdapterFolder], weights: Sequence[float], method: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Merge adapters with a narrow middle."""
    kind, options = parents[0].passport.kind, dict(parents[0].passport.kind_options)
    modes = {(one.passport.kind_options.get("mode"), *_sublayers(one)) for one in parents}
    if len(modes) > 1:
        told = " and ".join(sorted(str(one) for one in modes))
        raise AdapterMismatchError(f"bottlenecks at different places cannot be merged: {told}")
    parts = [
        (weight, narrow.read(kind, one.passport.kind_options, one.tensors))
        for weight, one in zip(weights, parents, strict=True)
    ]
    places = (narrow.concatenated if method == "concatenate" else narrow.averaged)(parts)
    every = [name.removesuffix("norm.weight") for name in parents[0].tensors if name.endswith(".norm.weight")]
    return narrow.write(kind, options, places, _layers(parents), every if kind == "attention" else ())


def _reduced(
    parents: Sequence[AdapterFolder],
    weights: Sequence[float],
    rank: int | None,
    calibration: Calibration | None,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Add adapters with a narrow middle up, and keep some of the channels; the third tells what was lost."""
    kind = parents[0].passport.kind
    options, tensors = _narrow(parents, weights, "concatenate")
    places = narrow.read(kind, options, tensors)
    wanted = rank if rank is not None else max(_widths(parents[0]))
    if wanted < 1:
        raise OptionError(f"rank={rank}: give at least 1")
    found = None
    details: dict[str, Any] = {"rank": wanted, "chosen_by": "numbers"}
    if calibration is None:
        found = reducing.reduced(places, wanted)
    else:
        first = parents[0]
        heads_only = {name: one for name, one in first.tensors.items() if name.startswith(HEAD)}
        passport = replace(first.passport, kind_options=options)
        whole = AdapterFolder(passport, first.vocab, {**tensors, **heads_only})
        fitted, held_out = calibration.moments(whole)
        found = reducing.reduced(places, wanted, fitted)
        details |= {
            "chosen_by": "speech",
            "speech": dict(calibration.told),
            "error": found.error,
            "error_by_place": dict(found.by_place),
            "error_elsewhere": reducing.told(places, found.places, held_out),
        }
    every = [name.removesuffix("norm.weight") for name in tensors if name.endswith(".norm.weight")]
    made = narrow.write(kind, options, found.places, options["layers"], every if kind == "attention" else ())
    return *made, details


def _widths(adapter: AdapterFolder) -> list[int]:
    """Return the channels inside of every place."""
    written = adapter.passport
    return [one.width for one in narrow.read(written.kind, written.kind_options, adapter.tensors).values()]


def _sublayers(adapter: AdapterFolder) -> list[str]:
    return sorted(adapter.passport.kind_options.get("sublayers", ()))


def _low_rank(
    parents: Sequence[AdapterFolder], weights: Sequence[float], method: str, rank: int | None, density: float
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Merge changes of matrices; the third is what the passport tells of the method."""
    parts = [
        (weight, low_rank.read(one.passport.kind_options, one.tensors))
        for weight, one in zip(weights, parents, strict=True)
    ]
    wanted = int(parents[0].passport.kind_options["rank"]) if rank is None else rank
    if wanted < 1:
        raise OptionError(f"rank={rank}: give at least 1")
    if method == "average":
        return *low_rank.write(low_rank.averaged(parts)), {}
    if method == "ties":
        changes, lost = low_rank.ties(parts, density=density, rank=wanted)
        return *low_rank.write(changes), {"rank": wanted, "density": density, "lost_share": lost}
    changes = low_rank.concatenated(parts)
    if method == "concatenate":
        return *low_rank.write(changes), {}
    changes, lost = low_rank.reduced(changes, wanted)
    return *low_rank.write(changes), {"rank": wanted, "lost_share": lost}
