"""One call that makes a folder of an adapter for others to open, and uploads it only where asked.

In: an adapter folder. Out: a folder in the layout of facebook/mms-1b-all, of PEFT, or of this package, with a
model card. What licences forbid, and names of speakers, are refused before anything is written.
"""

import shutil
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import backbone as backbone_module
from mms_adapt import files, licences, passport, peft_format, stock_export
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import OWN_BACKBONE, AdapterFolder
from mms_adapt.errors import AdapterError, OptionError
from mms_adapt.publishing import upload
from mms_adapt.publishing.anonymous import anonymous
from mms_adapt.publishing.card import NATIVE, PEFT, STOCK, Publication, card


@dataclass(frozen=True, slots=True)
class Published:
    """What was written.

    Attributes:
        folder: The folder.
        format: Who opens it: "stock" (transformers), "peft", or "mms_adapt" alone.
        licence: The licence under which it is published.
        address: Where it was uploaded to; None where it was not.
    """

    folder: Path
    format: str
    licence: str
    address: str | None = None


def publish(
    adapter: str | PathLike[str],
    out: str | PathLike[str],
    *,
    repo_id: str | None = None,
    licence: str | None = None,
    mms_adapt_only: bool = False,
    backbone: str | None = None,
    push: bool = False,
    private: bool = False,
    api: Any = None,
) -> Published:
    """Write a folder of an adapter for a model hub, and upload it where asked.

    An adapter of MMS's own kind becomes a model that stock transformers opens, the backbone's weights among
    its files; one of the kind lora is written in PEFT's format. Others are opened by this package alone.

    Args:
        adapter: The adapter's folder.
        out: The folder to write; it must not be there yet.
        repo_id: OWNER/NAME on the hub, which the card names.
        licence: The licence that holds, where nobody noted one of the backbone or the recordings.
        mms_adapt_only: Publish an adapter that only this package can open.
        backbone: The backbone, where it is not where the passport says; for MMS's own kind.
        push: Upload the folder to `repo_id`.
        private: Whether a new repository is private.
        api: As in `upload.push`.

    Raises:
        AdapterError: If the adapter is not whole, names speakers, is of a kind that nobody else opens, or the
            upload fails.
        AdapterMismatchError: If the backbone is another one.
        OptionError: If licences forbid it or cannot be told, `out` is there, or `repo_id` is missing or none.
    """
    folder, found = Path(out), AdapterFolder.load(adapter)
    if push and repo_id is None:
        raise OptionError("push needs a repository: name it with repo_id (--repo-id OWNER/NAME)")
    if repo_id is not None:
        upload.check_name(repo_id)
    if folder.exists():
        more = f"; to upload it as it is: hf upload {repo_id or 'OWNER/NAME'} {folder}" if push else ""
        raise OptionError(f"{folder}: it is there already; name a folder to be made{more}")
    format = _format(found, mms_adapt_only=mms_adapt_only)
    base = None
    if format == STOCK:
        base = backbone_module.load(backbone or found.backbone_name, device="cpu")
        stock_export.check(found, base)
    under = licences.for_publication(_held(found, base), licence)
    others = _others(found)
    given = _public(found, base, others)
    with files.new_folder(folder) as unfinished:
        _fill(unfinished, found, given, format, base, others)
        (unfinished / "README.md").write_text(
            _card(found, given, format, base, under, repo_id), encoding="utf-8"
        )
    address = upload.push(folder, repo_id, private=private, api=api) if push and repo_id else None
    return Published(folder, format, under, address)


def _format(found: AdapterFolder, *, mms_adapt_only: bool) -> str:
    """Return in which format an adapter is published."""
    if stock_export.is_stock(found):
        return STOCK
    if found.passport.kind == "lora":
        return PEFT
    if not mms_adapt_only:
        raise AdapterError(
            f"{found.path}: stock transformers cannot open adapters of the kind {found.passport.kind!r}, nor "
            "can PEFT; to publish it for mms_adapt alone, say --mms-adapt-only (mms_adapt_only=True)"
        )
    return NATIVE


def _held(found: AdapterFolder, base: Backbone | None) -> dict[str, str]:
    """Return the licences of what the adapter was made of; of several recordings, each."""
    written = found.passport
    recordings = [one.strip() for one in written.data_licence.split(";")]
    recordings = ["" if one == "unknown" else one for one in recordings]
    held = {"backbone": written.licence or (base.licence if base else None) or ""}
    for number, one in enumerate(recordings):
        held["recordings" if len(recordings) == 1 else f"recordings ({number + 1})"] = one
    return held


def _others(found: AdapterFolder) -> list[str]:
    """Return further files that belong to the adapter, such as a language model."""
    own = {found.passport.weights_file, "vocab.json"}
    return sorted(one for one in found.passport.files if one not in own and not _of_backbone(one))


def _of_backbone(name: str) -> bool:
    return name.startswith(f"{OWN_BACKBONE}/")


def _public(found: AdapterFolder, base: Backbone | None, others: list[str]) -> passport.Passport:
    """Return the passport as others may see it."""
    written = found.passport
    kept = {written.weights_file, "vocab.json", *others}
    hashes = {name: one for name, one in written.files.items() if name in kept}
    if not written.backbone and base is not None:
        written = replace(written, backbone=base.name)
    return anonymous(written, hashes)


def _fill(
    folder: Path,
    found: AdapterFolder,
    given: passport.Passport,
    format: str,
    base: Backbone | None,
    others: list[str],
) -> None:
    """Write everything but the card."""
    if base is not None:
        stock_export.fill(folder, found, base)
    if format == PEFT:
        for name, content in peft_format.contents(replace(found, passport=given)).items():
            files.write(folder / name, content)
    place = found.path or Path()
    # as they are, so that their hashes are the passport's and the adapter's version stays
    for name in (found.passport.weights_file, "vocab.json", *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(passport.inside(place, name), folder / name)
    if _with_passport(found):
        files.write(folder / passport.FILE, given.to_json())


def _with_passport(found: AdapterFolder) -> bool:
    """Tell whether a passport goes along: not of a model trained as a whole, whose files lie elsewhere."""
    return found.passport.verified and not any(map(_of_backbone, found.passport.files))


def _card(
    found: AdapterFolder,
    given: passport.Passport,
    format: str,
    base: Backbone | None,
    under: str,
    repo_id: str | None,
) -> str:
    width = int(found.passport.kind_options.get("size", 0)) if base is not None else 0
    how = Publication(
        format,
        under,
        repo_id or "FOLDER",
        sum(one.numel() for one in found.tensors.values()),
        len(found.vocab),
        width if base is not None and width != base.adapter_size else None,
        _with_passport(found),
        bool(_others(found)),
    )
    return card(given, how)
