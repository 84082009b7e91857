"""The adapter folder: what is written is read, and whatever is wrong with a folder is one clear error."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from mms_adapt import backbone, checkpoint, contents, files, passport, stock_export
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterError, AdapterMismatchError, MmsAdaptError, OptionError
from mms_adapt.passport import Passport

VOCAB = tiny.build(["abc"])
LINEAR = "wav2vec2.encoder.layers.1.adapter_layer.linear_1.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("models") / "tiny"), device="cpu")


def adapter(base: Backbone, *, seed: int = 0, **fields: Any) -> AdapterFolder:
    base.bare()
    config = attention.Config(4)
    attention.attach(base.model, config)
    base.put_head(len(VOCAB))
    tensors = checkpoint.collect(checkpoint.owned(base.model, attention))
    random = torch.Generator().manual_seed(seed)
    tensors = {name: one + 0.3 * torch.randn(one.shape, generator=random) for name, one in tensors.items()}
    written = Passport(
        "mdw",
        "attention",
        asdict(config),
        backbone=base.name,
        backbone_fingerprint=base.fingerprint,
        **fields,
    )
    return AdapterFolder(written, VOCAB, tensors)


@pytest.fixture
def folder(base: Backbone, tmp_path: Path) -> Path:
    adapter(base, normaliser="basic-1", marks=("one_speaker",)).save(tmp_path / "mdw")
    return tmp_path / "mdw"


def test_what_is_written_is_read(base: Backbone, folder: Path) -> None:
    found = AdapterFolder.load(folder)
    assert (found.passport.normaliser, found.passport.marks) == ("basic-1", ("one_speaker",))
    assert found.passport.verified and found.vocab.tokens == VOCAB.tokens
    assert found.backbone_name == base.name
    assert all(torch.equal(one, found.tensors[name]) for name, one in adapter(base).tensors.items())
    assert sorted(one.name for one in folder.iterdir()) == [
        "adapter.mdw.safetensors",
        "passport.json",
        "vocab.json",
    ]
    assert found.sha256 == AdapterFolder.load(folder).sha256
    assert found.sha256 != adapter(base, seed=1).save(folder.parent / "other").sha256


def test_a_large_file_is_hashed_as_a_tree_and_a_plain_hash_still_opens(
    base: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plain = tmp_path / "mdw", adapter(base).save(tmp_path / "plain")
    monkeypatch.setattr(contents, "PIECE_BYTES", 1000)
    written = adapter(base).save(folder)
    weights = folder / "adapter.mdw.safetensors"
    told = written.passport.files[weights.name]
    assert told.startswith("tree2m:") and weights.stat().st_size > 5000
    assert not plain.passport.files[weights.name].startswith("tree2m:")
    for place in (folder, tmp_path / "plain"):
        found = AdapterFolder.load(place)
        assert all(torch.equal(one, found.tensors[name]) for name, one in plain.tensors.items())
    whole = bytearray(weights.read_bytes())
    for place in (900, 2500, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        weights.write_bytes(damaged)
        with pytest.raises(AdapterError, match=r"it is not the file that passport\.json means"):
            AdapterFolder.load(folder)


def test_every_field_of_the_passport_is_documented_and_survives() -> None:
    source = Path(passport.__file__).read_text(encoding="utf-8")
    for name in Passport.__dataclass_fields__:
        assert f"    {name}: " in source
        assert '"""' in source.split(f"    {name}: ", 1)[1].split("\n")[1], f"{name} has no docstring"


def test_saving_over_an_adapter_replaces_it(base: Backbone, folder: Path) -> None:
    first = AdapterFolder.load(folder)
    second = adapter(base, seed=9).save(folder)
    assert AdapterFolder.load(folder).sha256 == second.sha256 != first.sha256
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]


def test_a_crash_while_writing_leaves_the_old_or_nothing(
    base: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for survived in range(3):
        monkeypatch.setattr(files, "write", tiny.full_after(survived))
        with pytest.raises(OSError, match="full"):
            adapter(base).save(tmp_path / "new")
        assert not list(tmp_path.iterdir())


def test_attaching_switches_and_mismatches_are_told(base: Backbone, folder: Path, tmp_path: Path) -> None:
    AdapterFolder.load(folder).attach(base)
    assert base.model.lm_head.weight.shape == (len(VOCAB), 32)
    other = backbone.load(tiny.backbone(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(AdapterMismatchError) as error:
        AdapterFolder.load(folder).attach(other)
    assert base.fingerprint[:12] in str(error.value) and other.fingerprint[:12] in str(error.value)


def test_a_training_of_another_width_does_not_fit(base: Backbone, folder: Path) -> None:
    for changes, says in (({"size": 5}, "is .4, 32., not .5, 32."), ({"bred": 1}, "bred")):
        found = AdapterFolder.load(folder)
        found = replace(found, passport=replace(found.passport, kind_options=changes))
        with pytest.raises(AdapterMismatchError, match=says):
            found.attach(base)
    found = AdapterFolder.load(folder)
    found = replace(found, passport=replace(found.passport, kind_options={"size": 4, "layers": 1}))
    with pytest.raises(AdapterMismatchError, match="without an adapter"):
        found.attach(base)
    tensors = {name: one for name, one in found.tensors.items() if name != LINEAR}
    with pytest.raises(AdapterMismatchError, match=f"{LINEAR} is missing; stray has no place"):
        replace(AdapterFolder.load(folder), tensors={**tensors, "stray": torch.ones(1)}).attach(base)
    # after all this the backbone is bare, not half an adapter
    assert len(base.model.lm_head.weight) == len(tiny.ENGLISH)


def test_an_unknown_kind_or_a_strangers_module_is_never_imported(
    base: Backbone, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_kind").mkdir()
    (tmp_path / "evil_kind" / "__init__.py").write_text("")
    (tmp_path / "evil_kind" / "run.py").write_text("raise SystemExit('code from a file was run')")
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("evil_kind.run", "lora9"):
        found = AdapterFolder.load(folder)
        with pytest.raises(AdapterError, match=kind):
            replace(found, passport=replace(found.passport, kind=kind)).attach(base)


def edit_passport(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "passport.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), encoding="utf-8")

    return change


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Change the weights and the hash in the passport with them."""

    def rewrite(folder: Path) -> None:
        path = folder / "adapter.mdw.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        rehash(folder)

    return rewrite


def rehash(folder: Path) -> None:
    names = ("adapter.mdw.safetensors", "vocab.json")
    edit_passport(files={one: passport.file_sha256(folder / one) for one in names})(folder)


def truncate(folder: Path) -> None:
    path = folder / "adapter.mdw.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    rehash(folder)


def pickled(folder: Path) -> None:
    torch.save({}, folder / "adapter.mdw.safetensors")
    rehash(folder)


def only_a_pickle(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    torch.save({}, folder / "adapter.mdw.bin")


def link_outside(folder: Path) -> None:
    path = folder / "vocab.json"
    outside = folder.parent / "outside.json"
    path.rename(outside)
    path.symlink_to(outside)


def other_vocab(folder: Path) -> None:
    (folder / "vocab.json").write_text(tiny.build(["abcdef"]).to_json("mdw"), encoding="utf-8")
    rehash(folder)


def flip_one_bit(folder: Path) -> None:
    path = folder / "adapter.mdw.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: os.rename(folder, f"{folder}.gone"), "no such adapter folder"),
        (remove("adapter.mdw.safetensors"), "adapter.mdw.safetensors is missing"),
        (remove("vocab.json"), "vocab.json is missing"),
        (edit_weights(lambda one: one.update({LINEAR: one[LINEAR] * torch.nan})), "not finite"),
        (edit_weights(lambda one: one.update({LINEAR: one[LINEAR] / 0})), "not finite"),
        (edit_weights(lambda one: one.pop("lm_head.bias")), "the head has"),
        (flip_one_bit, "hash differs"),
        (truncate, "no whole safetensors"),
        (pickled, "pickles"),
        (only_a_pickle, "adapter.mdw.bin is a pickle"),
        (link_outside, "leads out of the folder"),
        (other_vocab, "vocab.json 11 tokens"),
        (edit_passport(target_lang="../../evil"), "../../evil"),
        (edit_passport(target_lang="xx"), "'xx'"),
        (edit_passport(target_lang=None), "target_lang is 'None'"),
        (edit_passport(files={}), "names no hash of adapter.mdw.safetensors and vocab.json"),
        (
            edit_passport(files={"adapter.mdw.safetensors": "", "vocab.json": "", "../x": ""}),
            "leads out|hash",
        ),
        (edit_passport(marks="one"), "marks is 'one'"),
        (edit_passport(format=99), "newer version"),
        (lambda folder: (folder / "passport.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "passport.json").write_text("[]"), "JSON object"),
        (lambda folder: (folder / "passport.json").write_text("{}"), "kind is missing"),
    ],
)
def test_a_bad_folder_is_one_clear_error(folder: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(folder)
    with pytest.raises(MmsAdaptError, match=says) as error:
        AdapterFolder.load(folder)
    assert type(error.value) is AdapterError and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["adapter.mdw.safetensors", "vocab.json"])
def test_a_change_of_any_byte_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    step = max(1, len(whole) // 150)
    for place in sorted({*range(0, len(whole), step), 7, 8, len(whole) - 1}):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        with pytest.raises(AdapterError, match="hash differs"):
            AdapterFolder.load(folder)
    for other in (whole + b" ", whole[:-1], b""):
        path.write_bytes(other)
        with pytest.raises(AdapterError, match="hash differs"):
            AdapterFolder.load(folder)
    path.write_bytes(whole)
    AdapterFolder.load(folder)


def test_hostile_paths_in_the_passport(folder: Path) -> None:
    for name in ("../outside", "/etc/passwd", "a/../../b", "..\\x", ""):
        with pytest.raises(AdapterError, match="leads out of the folder"):
            passport.inside(folder, name)
    assert passport.inside(folder, "backbone/config.json") == folder / "backbone" / "config.json"


def test_a_folder_without_passport_is_opened_as_unverified(base: Backbone, folder: Path) -> None:
    first = AdapterFolder.load(folder)
    (folder / "passport.json").unlink()
    found = AdapterFolder.load(folder)
    assert not found.passport.verified and found.passport.kind_options == {"size": 4}
    assert found.sha256 == first.sha256
    found.attach(base)
    with pytest.raises(AdapterError, match="--backbone"):
        _ = found.backbone_name


def test_exporting_needs_a_new_folder_and_the_right_backbone(
    base: Backbone, folder: Path, tmp_path: Path
) -> None:
    out = stock_export.export_stock(folder, base, tmp_path / "stock")
    assert "cc0-1.0" in (out / "README.md").read_text(encoding="utf-8")
    with pytest.raises(OptionError, match="there already"):
        stock_export.export_stock(folder, base, out)
    other = backbone.load(tiny.backbone(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(AdapterMismatchError):
        stock_export.export_stock(folder, other, tmp_path / "stock2")
