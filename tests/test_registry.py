"""A registry finds, lists and takes adapters; hostile codes and links lead nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from mms_adapt import passport, registry
from mms_adapt.errors import AdapterError, LanguageError, RegistryError
from mms_adapt.passport import Passport


def put(folder: Path, code: str = "mdw") -> Path:
    """Write what looks like an adapter to one who reads no tensors."""
    folder.mkdir(parents=True)
    names = (f"adapter.{code}.safetensors", "vocab.json")
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    hashes = {name: passport.file_sha256(folder / name) for name in names}
    written = Passport(code, "attention", {}, licence="CC-BY-NC-4.0", backbone="b", files=hashes)
    (folder / passport.FILE).write_text(written.to_json(), encoding="utf-8")
    return folder


def test_an_adapter_is_found_directly_or_by_name(tmp_path: Path) -> None:
    direct = put(tmp_path / "mdw")
    assert registry.find(tmp_path, "mdw") == direct
    first = put(tmp_path / "wol" / "first", "wol")
    assert registry.find(tmp_path, "wol") == registry.find(tmp_path, "wol", "first") == first
    second = put(tmp_path / "wol" / "second", "wol")
    assert registry.find(tmp_path, "wol", "second") == second
    with pytest.raises(RegistryError, match="first, second"):
        registry.find(tmp_path, "wol")
    with pytest.raises(RegistryError, match="no adapter 'third'"):
        registry.find(tmp_path, "wol", "third")
    assert registry.names(tmp_path) == ["mdw", "wol/first", "wol/second"]
    assert registry.names(tmp_path / "nowhere") == []


def test_what_stock_code_writes_counts(tmp_path: Path) -> None:
    folder = put(tmp_path / "mdw")
    (folder / passport.FILE).unlink()
    assert registry.find(tmp_path, "mdw") == folder


@pytest.mark.parametrize("code", ["../../etc", "mdw/..", "x/../../evil", "", "..", "/", "mdw\n", "de"])
def test_hostile_codes_are_refused(tmp_path: Path, code: str) -> None:
    put(tmp_path / "registry" / "mdw")
    put(tmp_path / "evil")
    with pytest.raises(LanguageError):
        registry.find(tmp_path / "registry", code)


def test_links_out_of_the_registry_are_refused(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside")
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "mdw").symlink_to(outside)
    with pytest.raises(RegistryError, match="leads out"):
        registry.find(tmp_path / "registry", "mdw")
    (tmp_path / "registry" / "wol").mkdir()
    (tmp_path / "registry" / "wol" / "one").symlink_to(outside)
    with pytest.raises(RegistryError, match="leads out"):
        registry.find(tmp_path / "registry", "wol")


def test_the_nearest_languages_are_named(tmp_path: Path) -> None:
    put(tmp_path / "azj-script_latin", "azj-script_latin")
    put(tmp_path / "mdw")
    with pytest.raises(RegistryError, match="did you mean azj-script_latin"):
        registry.find(tmp_path, "azj-script_cyrillic")
    with pytest.raises(RegistryError, match="did you mean mdw"):
        registry.find(tmp_path, "mdy")
    with pytest.raises(RegistryError, match="it holds azj-script_latin, mdw"):
        registry.find(tmp_path, "zul")
    with pytest.raises(RegistryError, match="no such registry"):
        registry.find(tmp_path / "nowhere", "mdw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryError, match="mms-adapt train"):
        registry.find(tmp_path / "empty", "mdw")


def test_publishing_copies_whole_folders_and_tells_the_licence(tmp_path: Path) -> None:
    source = put(tmp_path / "trained")
    (source / "private.txt").write_text("not named in the passport", encoding="utf-8")
    found = registry.publish(source, tmp_path / "registry", "best")
    assert registry.find(tmp_path / "registry", "mdw") == found
    assert "CC-BY-NC-4.0" in (found / "README.md").read_text(encoding="utf-8")
    assert not (found / "private.txt").exists()
    with pytest.raises(RegistryError, match="there already"):
        registry.publish(source, tmp_path / "registry", "best")
    with pytest.raises(RegistryError, match="there already"):
        registry.publish(source, tmp_path / "registry")
    with pytest.raises(RegistryError, match="letters"):
        registry.publish(source, tmp_path / "registry", "../evil")
    (source / "vocab.json").write_text("changed", encoding="utf-8")
    with pytest.raises(AdapterError, match="hash differs"):
        registry.publish(source, tmp_path / "registry", "other")
    assert [one.name for one in (tmp_path / "registry" / "mdw").iterdir()] == ["best"]


def test_it_works_without_torch() -> None:
    code = "import sys; import mms_adapt.registry; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
