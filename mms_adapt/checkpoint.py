"""The adapter folder: read from disk after checking, put into a backbone, written.

In: a folder, or a backbone with a trained adapter in it. Out: an `AdapterFolder`, which never changes; a
folder that appears whole or not at all. Only safetensors and JSON are read,
and nothing that was read is run. It does not know training.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt import contents, files, passport, plugins, tensor_file
from mms_adapt.backbone import Backbone
from mms_adapt.errors import AdapterError, AdapterMismatchError, OptionError, SiblingError, VocabError
from mms_adapt.passport import Passport
from mms_adapt.tensor_file import Views
from mms_adapt.vocab import Vocab

HEAD = "lm_head."
_THREADS = min(2, os.cpu_count() or 1)  # that hash an adapter's file; more of them wait for Python
OWN_BACKBONE = "backbone"  # the folder inside, where the whole model was trained


@dataclass(frozen=True)
class AdapterFolder:
    """An adapter with its vocabulary and passport.

    Attributes:
        passport: Where it comes from.
        vocab: What it can write.
        tensors: Weights of adapter and head by name.
        path: The folder that it was read from or written to.
    """

    passport: Passport
    vocab: Vocab
    tensors: Mapping[str, Tensor]
    path: Path | None = None

    @property
    def sha256(self) -> str:
        """Hash of what decides what it writes: weights and tokens."""
        return self.passport.sha256

    @property
    def version(self) -> str:
        """Its language and hash; "unverified" where nobody noted its backbone."""
        return self.passport.version

    def version_on(self, backbone: Backbone) -> str:
        """Return its version as results name it: with "sibling" where a backbone is not quite its own."""
        return f"{self.version} sibling" if self.relation(backbone) == "sibling" else self.version

    @property
    def backbone_name(self) -> str:
        """Name or folder of the backbone that it belongs to.

        Raises:
            AdapterError: If nobody noted it.
        """
        name = self.passport.backbone
        if not name:
            raise AdapterError(
                f"{self.path}: it has no passport, so its backbone is not known: name the one that it was "
                "trained on with --backbone"
            )
        own = f"{OWN_BACKBONE}/config.json" in self.passport.files
        return str(self.path / OWN_BACKBONE) if own and self.path else name

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "AdapterFolder":
        """Open an adapter folder, or the two files that stock code writes for an adapter.

        The latter have no passport: what it would tell stays unknown, and `passport.verified` is False.

        Raises:
            AdapterError: If it is missing, not whole, damaged, or holds what an adapter has no need of.
        """
        with cls.opening(path) as found:
            return found

    @classmethod
    @contextmanager
    def opening(cls, path: str | PathLike[str]) -> "Iterator[AdapterFolder]":
        """Give what `load` gives while the files' hashes are still reckoned.

        They are checked when the block ends, and whether all numbers are finite: nothing that it makes may be
        used before.

        Raises:
            AdapterError: As `load` does; where a hash differs, that rather than what went wrong in the block.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise AdapterError(
                f"{folder}: there is no such adapter folder; mms-adapt train PREPARED --out {folder} makes it"
            )
        known = (folder / passport.FILE).exists()
        found = passport.read(folder) if known else _without_passport(folder)
        with ThreadPoolExecutor(_THREADS) as aside:
            both = {
                name: _content(folder, name, aside, found.files.get(name, ""))
                for name in (found.weights_file, "vocab.json")
            }
            hashes = {name: one for name, (_, one) in both.items()}
            with passport.checking(folder, found, hashes) if known else nullcontext():
                opened = cls._parsed(folder, found, {name: one for name, (one, _) in both.items()})
                finite = aside.submit(_check_finite, folder / found.weights_file, opened.tensors)
                if not known:
                    files_of = {name: one.result() for name, one in hashes.items()}
                    options = {"size": _size(folder / found.weights_file, opened.tensors)}
                    opened = replace(opened, passport=replace(found, files=files_of, kind_options=options))
                yield opened
                finite.result()

    @classmethod
    def _parsed(cls, folder: Path, found: Passport, held: Mapping[str, memoryview]) -> "AdapterFolder":
        """Return an adapter from what was read of its files."""
        weights = folder / found.weights_file
        tensors = tensor_file.parsed(weights, AdapterError, held[found.weights_file])
        vocab = _read_vocab(folder / "vocab.json", bytes(held["vocab.json"]), found.target_lang)
        _check_head(weights, tensors, vocab)
        return cls(found, vocab, tensors, folder)

    def save(self, path: str | PathLike[str], *, others: Mapping[str, str] | None = None) -> "AdapterFolder":
        """Write the folder; one that was not there appears whole.

        Args:
            path: The folder.
            others: Hashes of further files that are in it already.

        Returns:
            The adapter as it now is on the disk.
        """
        folder, held = Path(path), self._contents()
        written = replace(self.passport, files={**(others or {}), **_hashes(held)}, format=passport.FORMAT)
        files.write_all(folder, {**held, passport.FILE: written.to_json()})
        return replace(self, passport=written, path=folder)

    def sealed(self) -> "AdapterFolder":
        """Return it with the hashes that its files will have, so that its version is known."""
        return replace(self, passport=replace(self.passport, files=_hashes(self._contents())), path=None)

    def _contents(self) -> dict[str, bytes | str]:
        return {
            self.passport.weights_file: pack(self.tensors),
            "vocab.json": self.vocab.to_json(self.passport.target_lang),
        }

    def relation(self, backbone: Backbone) -> str:
        """Return what a backbone is to the one that it was trained on.

        "same"; "sibling", the same backbone after further training or before it, or both from one parent, as
        their records tell; "other"; or "unknown", where nobody noted its backbone.
        """
        written = self.passport
        if not written.verified:
            return "unknown"
        if written.backbone_fingerprint == backbone.fingerprint:
            return "same"
        own = {written.backbone_fingerprint, *written.backbone_parents}
        return "sibling" if own & {backbone.fingerprint, *backbone.source.parents} else "other"

    def check(self, backbone: Backbone, *, kind: str | None = None, allow_sibling: bool = False) -> Any:
        """Return the module of its kind, after making sure that it was made for a backbone.

        Args:
            backbone: The backbone that it was trained on.
            kind: The dotted name of your own module, as in `attach`.
            allow_sibling: As in `attach`.

        Raises:
            AdapterMismatchError: If it was made for another backbone; a SiblingError where that is a sibling.
            AdapterError: If its kind is not known.
        """
        written = self.passport
        relation = self.relation(backbone)
        if relation == "other" or (relation == "sibling" and not allow_sibling):
            hint, kind_of_error = "give the backbone that it was trained on", AdapterMismatchError
            if relation == "sibling":
                kind_of_error = SiblingError
                hint = (
                    "they are siblings, one trained further, and it mostly makes more errors there. Say "
                    "--allow-sibling (allow_sibling=True) to go on and measure it, or train it again"
                )
            raise kind_of_error(
                f"{self.path or written.target_lang} was trained on the backbone {written.backbone!r} with "
                f"fingerprint {written.backbone_fingerprint[:12]}, and {backbone.name!r} has "
                f"{backbone.fingerprint[:12]}: {hint}"
            )
        if (kind or written.kind) not in {*plugins.names("adapters"), kind}:
            known = ", ".join(plugins.names("adapters"))
            raise AdapterError(f"{self.path}: its kind {written.kind!r} is none of {known}")
        return plugins.load("adapters", kind or written.kind)

    def attach(self, backbone: Backbone, *, kind: str | None = None, allow_sibling: bool = False) -> None:
        """Put the adapter into a backbone, in place of what was in it.

        Args:
            backbone: The backbone that it was trained on.
            kind: The dotted name of your own module, where the adapter is of a kind that is not in the
                package; what the passport says is never imported from elsewhere.
            allow_sibling: Go on where the backbone is a sibling of its own; it is then less exact.

        Raises:
            AdapterMismatchError: If it was made for another backbone; the backbone stays bare.
            AdapterError: If its kind is not known.
        """
        module = self.check(backbone, kind=kind, allow_sibling=allow_sibling)
        backbone.bare()
        try:
            module.attach(backbone.model, module.Config(**self.passport.kind_options))
            backbone.put_head(len(self.vocab))
            fill(owned(backbone.model, module), self.tensors)
        except (TypeError, OptionError, AdapterMismatchError) as error:
            backbone.bare()
            what = self.path or self.passport.target_lang
            raise AdapterMismatchError(
                f"{what} does not fit the backbone {backbone.name!r}: {error}"
            ) from error
        backbone.model.requires_grad_(False)


def owned(model: nn.Module, kind: Any) -> dict[str, nn.Parameter]:
    """Return the parameters of adapter and head by name."""
    return {name: one for name, one in model.named_parameters() if kind.owns(name) or name.startswith(HEAD)}


def fill(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into parameters.

    Raises:
        AdapterMismatchError: If names or shapes differ, or what is fixed is not what it must be; all
            differences are told at once.
    """
    wrong = [f"{name} is missing" for name in parameters if name not in tensors]
    wrong += [f"{name} has no place" for name in tensors if name not in parameters]
    for name, parameter in parameters.items():
        if name not in tensors:
            continue
        there, here = tuple(tensors[name].shape), tuple(parameter.shape)
        if there != here:
            wrong.append(f"{name} is {there}, not {here}")
            continue
        fixed = not (parameter.requires_grad or name.startswith(HEAD))
        if fixed and not torch.equal(tensors[name].to(parameter), parameter):
            wrong.append(f"{name} belongs to a layer without an adapter, but is not the identity's")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AdapterMismatchError("; ".join(wrong[:3]) + more)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def collect(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return copies of parameters on the CPU."""
    return {name: one.detach().cpu().clone().contiguous() for name, one in parameters.items()}


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a safetensors file."""
    from safetensors.torch import save

    return bytes(save(dict(tensors), metadata={"format": "pt", **(metadata or {})}))


def _without_passport(folder: Path) -> Passport:
    """Say what is known of the files that stock code writes."""
    found = sorted(folder.glob("adapter.*.safetensors"))
    pickled = [one.name for one in folder.iterdir() if one.suffix in (".bin", ".pt", ".pth", ".ckpt")]
    if len(found) != 1:
        held = f"{len(found)} of adapter.CODE.safetensors" if found else f"no {passport.FILE} and no adapter"
        hint = f" ({pickled[0]} is a pickle, which is never read)" if pickled else ""
        raise AdapterError(f"{folder}: it holds {held}{hint}, so this is no adapter folder")
    code = found[0].name.removeprefix("adapter.").removesuffix(".safetensors")
    return Passport(passport.check_code(found[0], code), "attention", {})


def _content(folder: Path, name: str, aside: Executor, like: str) -> tuple[memoryview, contents.Hash]:
    """Read a file once, its hash reckoned aside."""
    try:
        return contents.read(passport.inside(folder, name), aside, like)
    except FileNotFoundError:
        raise AdapterError(f"{folder}: {name} is missing; copy the folder again") from None
    except OSError as error:
        raise AdapterError(f"{folder / name}: it cannot be read: {error}; copy the folder again") from error


def _read_vocab(path: Path, content: bytes, target_lang: str) -> Vocab:
    try:
        return Vocab.from_json(content.decode("utf-8"), target_lang)
    except (ValueError, VocabError) as error:
        raise AdapterError(f"{path}: {error}") from error


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse numbers that are none."""
    plain = isinstance(tensors, Views) and tensors.finite
    for name, one in () if plain else tensors.items():
        if not (one.is_floating_point() and bool(torch.isfinite(one).all())):
            raise AdapterError(
                f"{path}: {name} holds numbers that are not finite (NaN or infinity): train it again"
            )


def _check_head(path: Path, tensors: Mapping[str, Tensor], vocab: Vocab) -> None:
    """Refuse a head that does not fit the tokens."""
    rows = {name: len(tensors[name]) for name in (f"{HEAD}weight", f"{HEAD}bias") if name in tensors}
    if len(rows) < 2 or set(rows.values()) != {len(vocab)}:
        raise AdapterError(f"{path}: the head has {rows or 'no'} rows, and vocab.json {len(vocab)} tokens")


def _size(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Return the channels inside the adapters of a file without passport."""
    sizes = {len(one) for name, one in tensors.items() if name.endswith(".adapter_layer.linear_1.weight")}
    if len(sizes) != 1:
        raise AdapterError(f"{path}: it holds no adapter of MMS's kind")
    return sizes.pop()


def _hashes(held: Mapping[str, bytes | str]) -> dict[str, str]:
    return {name: contents.hash_of(_bytes(one)) for name, one in held.items()}


def _bytes(content: bytes | str) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content
