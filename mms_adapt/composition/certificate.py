"""The passport of an adapter that was made of others: parents with weights, method, licence, speakers, data.

In: the parents' passports. Out: one. What the parents tell differently is told of each; nothing is made up.
It does not know tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mms_adapt import licences
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterMismatchError
from mms_adapt.passport import Passport

_PARTS = ("train", "dev")


def of_merge(
    parents: Sequence[AdapterFolder],
    weights: Sequence[float],
    *,
    method: str,
    kind_options: Mapping[str, Any],
    target_lang: str | None = None,
    licence: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Passport:
    """Return the passport of a merge.

    Args:
        parents: The adapters that it was made of.
        weights: What each counts.
        method: How.
        kind_options: Options of the kind of what came out.
        target_lang: The language that it writes; that of the first parent where not given.
        licence: The licence that holds, where nobody else can tell.
        details: What else there is to tell of the method.

    Raises:
        AdapterMismatchError: If the parents are of different backbones, kinds or normalisers.
        OptionError: If their licences do not go together, or nobody can tell.
    """
    passports = [one.passport for one in parents]
    first = passports[0]
    agree(parents)
    return replace(
        _together(parents, weights, licence),
        target_lang=target_lang or first.target_lang,
        kind_options=kind_options,
        orthography=tuple(sorted({token for one in passports for token in one.orthography})),
        merge={
            "method": method,
            **(details or {}),
            "parents": [_told(one, weight) for one, weight in zip(parents, weights, strict=True)],
        },
        start="merge",
    )


def of_stack(
    parents: Sequence[AdapterFolder],
    writing: AdapterFolder,
    kind_options: Mapping[str, Any],
    *,
    licence: str | None = None,
) -> Passport:
    """Return the passport of adapters that are applied one after the other.

    Args:
        parents: The adapters, the first applied one first.
        writing: That of them whose head and tokens write.
        kind_options: Options of the kind stacked.
        licence: The licence that holds, where nobody else can tell.

    Raises:
        OptionError: If their licences do not go together, or nobody can tell.
    """
    written = writing.passport
    return replace(
        _together(parents, [1.0] * len(parents), licence),
        target_lang=written.target_lang,
        kind="stacked",
        kind_options=kind_options,
        normaliser=written.normaliser,
        orthography=written.orthography,
        merge={
            "method": "stack",
            "head": writing.version,
            "parents": [_told(one, 1.0) for one in parents],
        },
        start="stack",
        decoder={},
    )


def _together(parents: Sequence[AdapterFolder], weights: Sequence[float], licence: str | None) -> Passport:
    """Return what can be said of all parents: licence, data and speakers; the rest is the first one's."""
    passports = [one.passport for one in parents]
    first = passports[0]
    return Passport(
        first.target_lang,
        first.kind,
        first.kind_options,
        backbone=first.backbone,
        backbone_fingerprint=first.backbone_fingerprint,
        backbone_parents=first.backbone_parents,
        licence=licence if licence is not None else licences.strictest(one.licence for one in passports),
        data_licence=_joined([one.data_licence for one in passports]),
        corpus=_joined([one.corpus for one in passports]),
        normaliser=first.normaliser,
        split_sha256={
            part: value
            for part, value in first.split_sha256.items()
            if all(dict(one.split_sha256).get(part) == value for one in passports)
        },
        marks=tuple(sorted({mark for one in passports for mark in one.marks})),
        speakers={
            part: sorted({name for one in passports for name in dict(one.speakers).get(part, ())})
            for part in _PARTS
            if any(part in one.speakers for one in passports)
        },
        parents={one.version: weight for one, weight in zip(parents, weights, strict=True)},
        versions=dict(first.versions),
    )


_IN_COMMON = {
    "backbone_fingerprint": "backbones",
    "kind": "kinds",
    "normaliser": "normalisers of transcripts",
}


def agree(parents: Sequence[AdapterFolder], about: Sequence[str] = tuple(_IN_COMMON)) -> None:
    """Make sure that adapters have in common what one made of them cannot do without.

    Args:
        parents: The adapters.
        about: What of their passports must be the same.

    Raises:
        AdapterMismatchError: If they are of different backbones, kinds or normalisers.
    """
    for name in about:
        what = _IN_COMMON[name]
        held = [str(getattr(one.passport, name)) for one in parents]
        if len(set(held)) > 1:
            told = ", ".join(
                f"{one.version}: {value[:12]!r}" for one, value in zip(parents, held, strict=True)
            )
            raise AdapterMismatchError(f"adapters of different {what} do not go together ({told})")


def _told(parent: AdapterFolder, weight: float) -> dict[str, Any]:
    """Return what is to be known of a parent where it is no longer at hand."""
    names = ("target_lang", "corpus", "licence", "data_licence", "utterances", "minutes", "split_sha256")
    return {
        "adapter": parent.version,
        "sha256": parent.sha256,
        "weight": weight,
        **{name: getattr(parent.passport, name) for name in names},
    }


def _joined(texts: Sequence[str]) -> str:
    """Return different texts in one, an unknown one named as such."""
    if not any(texts):
        return ""
    return "; ".join(dict.fromkeys(one or "unknown" for one in texts))
