"""What a registry holds, a row an adapter, and what one adapter is.

In: a registry, or an adapter folder. Out: rows, broken adapters among them with what is wrong; or everything
that is known about one. Files are hashed, but their numbers are not looked at: `verification` does that.
It loads no model and asks no network.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from mms_adapt import files, language, noted, passport, pretrained, registry
from mms_adapt.errors import AdapterError, MmsAdaptError, RegistryError
from mms_adapt.noted import NotedScore
from mms_adapt.passport import Passport
from mms_adapt.vocab import Vocab

WHOLE = "whole"
_LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it


@dataclass(frozen=True, slots=True)
class Row:
    """One adapter of a registry. Unknown is "" or None.

    Attributes:
        name: Its place in the registry: "mdw", or "mdw/north".
        target_lang: The language that it writes.
        language: The language's English name.
        kind: The kind of adapter.
        version: Its language and hash.
        numbers: How many numbers its weights are, the head's among them.
        minutes: Minutes of speech that it learnt from.
        dev_cer: Character error rate on the dev set, a ratio: as noted, or else as training measured it.
        test_cer: The same on the test set, as `evaluate --note` noted it.
        backbone: The backbone's name.
        backbone_state: "known", a backbone at hand has its fingerprint; "sibling", one at hand was trained
            further from it or before it; "other", the backbone of its name has another fingerprint; "not
            here", there is none at hand to compare; "unknown", nobody noted its backbone.
        licence: Licence of its weights.
        data_licence: What its corpus says about its own use.
        marks: What to keep in mind about its split.
        state: "whole", or what is wrong with its files.
    """

    name: str
    target_lang: str = ""
    language: str = ""
    kind: str = ""
    version: str = ""
    numbers: int | None = None
    minutes: float | None = None
    dev_cer: float | None = None
    test_cer: float | None = None
    backbone: str = ""
    backbone_state: str = "unknown"
    licence: str = ""
    data_licence: str = ""
    marks: tuple[str, ...] = ()
    state: str = WHOLE


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that is known about one adapter.

    Attributes:
        row: The adapter as a registry lists it.
        passport: Its passport; of files without one, what the files tell.
        scores: The scores in it, by part of the data.
        tokens: What it can write, by id.
    """

    row: Row
    passport: Passport
    scores: dict[str, NotedScore]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _AtHand:
    """A backbone whose files are here."""

    fingerprint: str
    parents: tuple[str, ...]


class Backbones:
    """Backbones at hand, their fingerprints computed once and only where asked for.

    Args:
        names: Backbones that count for every adapter, beside the one that its passport names.

    Raises:
        BackboneError: If one of them is not there.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._known: dict[str, _AtHand | None] = {}
        self._given = [self._open(name) for name in names]

    def state(self, written: Passport, folder: Path) -> str:
        """Return what `Row.backbone_state` tells of an adapter."""
        if not written.verified:
            return "unknown"
        own = self._own(written, folder)
        held = [one for one in (own, *self._given) if one is not None]
        if any(one.fingerprint == written.backbone_fingerprint for one in held):
            return "known"
        line = {written.backbone_fingerprint, *written.backbone_parents}
        if any(line & {one.fingerprint, *one.parents} for one in held):
            return "sibling"
        return "other" if own is not None else "not here"

    def _own(self, written: Passport, folder: Path) -> _AtHand | None:
        """Return the backbone that a passport names, if it is on this machine; nothing is fetched."""
        inside = f"{written.backbone}/config.json" in written.files
        name = str(folder / written.backbone) if inside else written.backbone
        if name != "embedded" and not Path(name).is_dir():
            return None
        if name not in self._known:
            try:
                self._known[name] = self._open(name)
            except MmsAdaptError:
                self._known[name] = None
        return self._known[name]

    def _open(self, name: str) -> _AtHand:
        source = pretrained.find(name)
        return _AtHand(pretrained.fingerprint(source.tensors()), source.parents)


def rows(
    registry_folder: str | PathLike[str],
    *,
    target_lang: str | None = None,
    backbones: Sequence[str] = (),
) -> list[Row]:
    """Return what a registry holds, in the order of names; what is broken is there, too.

    Args:
        registry_folder: The registry; or one adapter folder, which gives one row.
        target_lang: Only this language's.
        backbones: Names or folders of backbones that adapters are compared with, beside their own.

    Raises:
        BackboneError: If a backbone is not there.
        LanguageError: If `target_lang` is no code.
        RegistryError: If there is no such folder, or it has no adapter for the language.
    """
    root = Path(registry_folder)
    if not root.is_dir():
        raise RegistryError(
            f"{root}: there is no such registry; give the folder that adapters are in (mms-adapt train "
            f"PREPARED --out {root}/CODE makes it)"
        )
    known = Backbones(backbones)
    if registry.is_adapter(root):
        return [look(root, root.name, known)]
    code = None if target_lang is None else language.parse(target_lang)
    places = [one for one in _places(root) if code in (None, one.partition("/")[0])]
    if code is not None and not places:
        registry.find(root, code)  # says what the registry has instead
    return [_checked(root, name, known) for name in places]


def look(folder: Path, name: str, known: Backbones) -> Row:
    """Return the row of one adapter folder, with what is wrong with it."""
    try:
        written = passport.read(folder) if (folder / passport.FILE).exists() else None
    except AdapterError as error:
        return Row(name, state=str(error))
    if written is None:
        return _without_passport(folder, name)
    state, numbers = WHOLE, None
    scores: dict[str, NotedScore] = {}
    try:
        scores = noted.read(written)
        passport.check_files(folder, written)
        numbers = number_count(folder / written.weights_file)
    except AdapterError as error:
        state = str(error)
    dev = scores["dev"].cer if "dev" in scores else _ratio(written.metrics.get("best_dev_cer"))
    return Row(
        name,
        written.target_lang,
        language.name(written.target_lang),
        written.kind,
        written.version,
        numbers,
        _ratio(written.minutes.get("train")),
        dev,
        scores["test"].cer if "test" in scores else None,
        written.backbone,
        known.state(written, folder),
        written.licence,
        written.data_licence,
        written.marks,
        state,
    )


def show(adapter: str | PathLike[str], *, backbones: Sequence[str] = ()) -> Shown:
    """Return everything that is known about one adapter.

    Args:
        adapter: The adapter's folder.
        backbones: As in `rows`.

    Raises:
        AdapterError: If it is none, or its passport or vocabulary cannot be read; a file whose hash differs
            is told in the row's state instead.
    """
    folder = Path(adapter)
    if not (folder / passport.FILE).exists():
        from mms_adapt.checkpoint import AdapterFolder

        written = AdapterFolder.load(folder).passport
    else:
        written = passport.read(folder)
    path = passport.inside(folder, "vocab.json")
    try:
        tokens = Vocab.from_json(path.read_text(encoding="utf-8"), written.target_lang).tokens
    except (OSError, ValueError, MmsAdaptError) as error:
        raise AdapterError(f"{path}: it cannot be read: {error}; copy the folder again") from error
    row = look(folder, folder.name, Backbones(backbones))
    return Shown(row, written, noted.read(written), tokens)


def number_count(path: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header alone.

    Raises:
        AdapterError: If it is no such file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _LONGEST_HEADER else None
        if not isinstance(header, dict):
            raise ValueError("it has no header")
        shapes = [one["shape"] for name, one in header.items() if name != "__metadata__"]
        return sum(_product(shape) for shape in shapes)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise AdapterError(f"{path}: this is no whole safetensors file; copy the folder again") from error


def _product(shape: Sequence[int]) -> int:
    found = 1
    for one in shape:
        found *= int(one)
    return found


def _checked(root: Path, name: str, known: Backbones) -> Row:
    """Return the row of a place in a registry, where not everything that lies there is an adapter of it."""
    folder = root / name
    if not files.is_inside(folder, root):
        return Row(name, state="this link leads out of the registry; put the adapter into it")
    if not registry.is_adapter(folder):
        ends = {one.name for one in folder.iterdir()} & {"metrics.jsonl", ".checkpoints"}
        more = "; a training that has not ended" if ends else ""
        return Row(name, state=f"no {passport.FILE} and no adapter.CODE.safetensors{more}")
    row = look(folder, name, known)
    code = name.partition("/")[0]
    if row.target_lang and row.target_lang != code and row.state == WHOLE:
        state = f"it writes {row.target_lang!r}, so it belongs under {row.target_lang}/"
        return replace(row, state=state)
    return row


def _places(root: Path) -> list[str]:
    """Return all places where an adapter is or should be."""
    found = []
    for place in sorted(root.iterdir()):
        if not place.is_dir() or place.name.startswith("."):
            continue
        inside = [one for one in sorted(place.iterdir()) if one.is_dir() and not one.name.startswith(".")]
        if registry.is_adapter(place) or not any(map(registry.is_adapter, inside)):
            found.append(place.name)
        else:
            found += [f"{place.name}/{one.name}" for one in inside]
    return found


def _without_passport(folder: Path, name: str) -> Row:
    """Return the row of the files that stock code writes; their names alone tell something."""
    weights = sorted(folder.glob("adapter.*.safetensors"))
    state, numbers, code = f"no {passport.FILE}: nothing can be verified", None, ""
    try:
        code = weights[0].name.removeprefix("adapter.").removesuffix(".safetensors")
        code = passport.check_code(weights[0], code)
        numbers = number_count(weights[0])
        if not (folder / "vocab.json").is_file():
            raise AdapterError(f"{folder}: vocab.json is missing; copy the folder again")
    except AdapterError as error:
        state = str(error)
    english = language.name(code) if numbers is not None else ""
    return Row(name, code, english, "attention", numbers=numbers, state=state)


def _ratio(value: object) -> float | None:
    """Return a number of a passport, if it is one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
