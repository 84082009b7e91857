"""One adapter of several: weights, a method, and out comes an adapter with a passport that names its parents.

In: adapters of one kind and backbone. Out: an `AdapterFolder` that is not on the disk yet. It does not know
data or audio.

- `concatenate`: the weighted sum of what the adapters add, exactly; as wide as all of them together;
- `average`: the weighted mean of their numbers, as wide as one of them;
- `reduce`: as `concatenate`, for lora cut to `rank` by singular values, the loss stated;
- `ties`: for lora, by elected signs, cut to `rank`.

Heads are always the weighted mean, token by token, over the union of the vocabularies.
"""

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

from torch import Tensor

from mms_adapt import language
from mms_adapt.checkpoint import HEAD, AdapterFolder
from mms_adapt.composition import certificate, heads, low_rank, narrow
from mms_adapt.errors import AdapterMismatchError, OptionError

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
) -> AdapterFolder:
    """Make one adapter of several.

    Args:
        adapters: Adapters, or their folders; one alone is made weaker or stronger.
        weights: What each counts; as much of each where not given. The heads' shares are these, made to sum
            to 1; with one adapter, its head stays as it is.
        method: One of `METHODS`.
        rank: The rank of what comes out, for `reduce` and `ties`; that of the first adapter where not given.
        density: The share of the numbers that `ties` keeps.
        target_lang: The language that it writes; that of the first where not given.
        licence: The licence that holds, where it cannot be told from the parents' own.

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
    options, tensors, details = _composed(parents, chosen, method, rank, density)
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
    parents: Sequence[AdapterFolder], weights: Sequence[float], method: str, rank: int | None, density: float
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Return options and tensors of what comes out, without head, and what the passport tells of the method.

    Raises:
        AdapterMismatchError: If the kind is none of the package's own, or places or widths differ.
    """
    kind = parents[0].passport.kind
    if kind in narrow.KINDS:
        return *_narrow(parents, weights, method), {}
    if kind == "lora":
        return _low_rank(parents, weights, method, rank, density)
    if kind == "head_only":
        return {}, {}, {}
    raise AdapterMismatchError(f"adapters of the kind {kind!r} cannot be merged")


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
    if len(kinds) == 1 and method in ("reduce", "ties") and kinds != {"lora"}:
        raise OptionError(
            f"method={method!r}: it is for the kind lora, and these are {kinds.pop()}; give concatenate or "
            "average"
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
