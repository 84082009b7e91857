"""A registry: a folder of adapter folders by language code.

In: a registry and a code. Out: the adapter's folder. `REGISTRY/<target_lang>/` is an adapter folder itself,
or holds several by name. It does not know tensors; nothing here takes a model.
"""

import shutil
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

from mms_adapt import files, language, passport
from mms_adapt.errors import RegistryError


def find(registry: str | PathLike[str], target_lang: str, name: str | None = None) -> Path:
    """Return the folder of a language's adapter.

    Args:
        registry: The registry.
        target_lang: The language's code.
        name: Which of several; not needed where there is one.

    Raises:
        LanguageError: If this is no code.
        RegistryError: If there is none, or there are several and no name is given.
    """
    code, root = language.parse(target_lang), Path(registry)
    if not root.is_dir():
        raise RegistryError(
            f"{root}: there is no such registry; give the folder that adapters are in, such as adapters"
        )
    place = root / code
    if not place.is_dir():
        raise RegistryError(f"{root}: there is no adapter for {code}{_nearest(root, code)}")
    _stay_inside(root, place)
    if name is None and is_adapter(place):
        return place
    held = [one for one in sorted(place.iterdir()) if one.is_dir() and is_adapter(one)]
    wanted = [one for one in held if name in (None, one.name)]
    if len(wanted) == 1:
        _stay_inside(root, wanted[0])
        return wanted[0]
    known = ", ".join(one.name for one in held) or "nothing that is an adapter"
    if not wanted:
        raise RegistryError(f"{place}: there is no adapter{f' {name!r}' if name else ''}; it holds {known}")
    raise RegistryError(f"{place}: it holds several adapters, {known}; give the folder of one with --adapter")


def names(registry: str | PathLike[str]) -> list[str]:
    """Return what a registry holds: `mdw`, or `mdw/name` where a language has several."""
    root = Path(registry)
    found = []
    for place in sorted(root.iterdir()) if root.is_dir() else []:
        if place.is_dir() and is_adapter(place):
            found.append(place.name)
        elif place.is_dir():
            found += [f"{place.name}/{one.name}" for one in sorted(place.iterdir()) if is_adapter(one)]
    return found


def publish(adapter: str | PathLike[str], registry: str | PathLike[str], name: str | None = None) -> Path:
    """Copy an adapter folder into a registry, whole, with a card that tells its licence.

    Args:
        adapter: The adapter's folder; it has a passport.
        registry: The registry; it is made where it is not there.
        name: What to call it; needed where the language is to have several.

    Returns:
        The new folder.

    Raises:
        AdapterError: If the adapter is not whole.
        RegistryError: If the place is taken, or the name is none.
    """
    source = Path(adapter)
    written = passport.read(source)
    passport.check_files(source, written)
    place = Path(registry) / written.target_lang
    if name is not None and (not name.replace("-", "").replace("_", "").isalnum() or name.startswith("-")):
        raise RegistryError(f"name {name!r}: give letters, digits, - and _")
    if place.exists() and (name is None or is_adapter(place)):
        raise RegistryError(f"{place}: it is there already; remove it, or give the adapters names")
    folder = place if name is None else place / name
    if folder.exists():
        raise RegistryError(f"{folder}: it is there already; give another name")
    with files.new_folder(folder) as unfinished:
        for file in [*written.files, passport.FILE]:
            (unfinished / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(passport.inside(source, file), unfinished / file)
        (unfinished / "README.md").write_text(_card(written), encoding="utf-8")
    return folder


def _card(written: passport.Passport) -> str:
    licence = written.licence or "unknown"
    cer = written.metrics.get("best_dev_cer")
    score = f"{100 * cer:.1f} % of characters wrong on its dev set" if isinstance(cer, float) else "no score"
    return f"""---
license: {licence.lower()}
language: {written.target_lang}
---

An adapter for {language.name(written.target_lang)} ({written.target_lang}): {score}.

Licence of the weights: {licence}, that of the backbone {written.backbone}, from which they are derived.
Recordings: {written.corpus or "not named"}{f", {written.data_licence}" if written.data_licence else ""}.
"""


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds an adapter, whole or not."""
    return (folder / passport.FILE).is_file() or any(folder.glob("adapter.*.safetensors"))


def _stay_inside(root: Path, place: Path) -> None:
    if not files.is_inside(place, root):
        raise RegistryError(f"{place}: this link leads out of the registry; put the adapter into it")


def _nearest(root: Path, code: str) -> str:
    """Name what the registry has instead."""
    held = sorted(one.name for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    held = [one for one in held if one != code]  # it may be there again by now
    if not held:
        return "; it is empty: train one with mms-adapt train PREPARED --out " + str(root / code)
    near = [one for one in held if one.partition("-")[0] == code.partition("-")[0]]
    near += [one for one in get_close_matches(code, held, n=3, cutoff=0.5) if one not in near]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    more = ", …" if len(held) > 12 else ""
    return f"{hint} (it holds {', '.join(held[:12])}{more})"
