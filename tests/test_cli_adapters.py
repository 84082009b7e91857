"""The commands about adapters: what they print, what they write as JSON, and how they end."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from test_cli import Ran

import mms_adapt
from mms_adapt import backbone, passport
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.ledger import pseudonym
from mms_adapt.prepared import Prepared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def prepared(place: Path) -> Prepared:
    return mms_adapt.prepare(tiny.corpus(place / "corpus", 40), place / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def made(place: Path, prepared: Prepared) -> Path:
    base = backbone.load(tiny.backbone(place / "base"), device="cpu")
    good = tiny.fitted(base, place / "registry" / "mdw" / "north")
    told = replace(
        good.passport,
        split_sha256=prepared.split_sha256,
        licence="cc0-1.0",
        data_licence="cc-by-4.0",
        speakers={"train": [pseudonym("Anna")], "dev": []},
        marks=("one_speaker",),
    )
    good = replace(good, passport=told).save(good.path or Path())
    other = tiny.scribbled(base, place / "registry" / "mdw" / "south", seed=3)
    replace(other, passport=replace(told, kind_options=other.passport.kind_options)).save(
        other.path or Path()
    )
    return place / "registry"


@pytest.fixture
def registry(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "registry"))


def test_list(registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (registry / "wol").mkdir()
    (registry / "wol" / passport.FILE).write_text("[red]{", encoding="utf-8")
    ran = Ran(capsys, "adapters", "list", registry, "--json", tmp_path / "rows.json")
    assert ran.code == 0
    head = next(line for line in ran.out.splitlines() if "dev CER" in line)
    assert head.split()[:3] == ["adapter", "language", "kind"] and "licence" in head and "state" in head
    row = next(line for line in ran.out.splitlines() if "mdw/north" in line)
    assert "Mbosi" in row and "known" in row and "cc0-1.0" in row and row.rstrip().endswith("whole")
    assert "wol: " in ran.out and "cannot be read" in ran.out
    assert "note: one_speaker:" in ran.out
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in rows] == ["mdw/north", "mdw/south", "wol"]
    alone = Ran(capsys, "adapters", "list", registry, "--target-lang", "mdw", "--json", "-")
    assert [one["name"] for one in json.loads(alone.out)] == ["mdw/north", "mdw/south"]
    (tmp_path / "empty").mkdir()
    assert "holds no adapter" in Ran(capsys, "adapters", "list", tmp_path / "empty").out


def test_a_table_that_does_not_fit_is_written_adapter_by_adapter(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    ran = Ran(capsys, "adapters", "list", registry)
    assert ran.out.count("test CER") == 2 and "mdw/north" in ran.out


def test_show(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "adapters", "show", registry / "mdw" / "north")
    assert ran.code == 0
    for said in ("Mbosi (mdw)", "attention: ", "cc-by-4.0", "basic-1", f"1 speakers: {pseudonym('Anna')}"):
        assert said in ran.out
    assert "Anna" not in ran.out.replace(pseudonym("Anna"), "")
    record = json.loads(Ran(capsys, "adapters", "show", registry / "mdw" / "north", "--json", "-").out)
    assert record["passport"]["target_lang"] == "mdw" and record["row"]["state"] == "whole"


def test_verify_ends_with_one_where_something_is_wrong(
    registry: Path, prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = registry / "mdw" / "north"
    noted = Ran(capsys, "evaluate", adapter, prepared.folder, "--note", "--quiet", "--device", "cpu")
    assert noted.code == 0 and f"noted: {adapter / passport.FILE}" in noted.out
    ran = Ran(
        capsys, "adapters", "verify", adapter, prepared.folder, "--quiet", "--json", tmp_path / "v.json"
    )
    assert ran.code == 0, ran.out + ran.err
    assert "nothing is wrong" in ran.out and "reported" in ran.out and "found again" in ran.out
    record = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert record["good"] and record["score"]["found_cer"] == record["score"]["reported_cer"]
    whole = json.loads((adapter / passport.FILE).read_text(encoding="utf-8"))
    whole["scores"]["test"]["wer"] += 0.01
    (adapter / passport.FILE).write_text(json.dumps(whole), encoding="utf-8")
    ran = Ran(capsys, "adapters", "verify", adapter, prepared.folder, "--quiet")
    assert ran.code == 1 and "NOT found again" in ran.out and "something is wrong" in ran.out
    assert (
        Ran(capsys, "adapters", "verify", adapter, prepared.folder, "--tolerance", "0.1", "--quiet").code == 0
    )
    (adapter / "vocab.json").write_text("{}", encoding="utf-8")
    ran = Ran(capsys, "adapters", "verify", adapter, "--json", "-")
    assert ran.code == 1 and not json.loads(ran.out)["good"]


def test_diff(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    north, south = registry / "mdw" / "north", registry / "mdw" / "south"
    assert (
        "they are the same: weights, tokens and passport" in Ran(capsys, "adapters", "diff", north, north).out
    )
    ran = Ran(capsys, "adapters", "diff", north, south)
    assert ran.code == 0 and "the weights differ" in ran.out and "the tokens are the same" in ran.out
    assert (
        "layer 0" in ran.out and "head" in ran.out and "train: the same data; 1 speakers in both" in ran.out
    )
    record = json.loads(Ran(capsys, "adapters", "diff", north, south, "--json", "-").out)
    assert not record["same"] and record["layers"][0]["place"] == "layer 0"


def test_merge_with_weights(registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = registry / "mdw" / "north", registry / "mdw" / "south"
    ran = Ran(capsys, "adapters", "merge", *both, "--weights", "0.3,0.7", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    found = AdapterFolder.load(tmp_path / "out").passport
    assert sorted(found.parents.values()) == [0.3, 0.7] and found.merge["method"] == "concatenate"
    assert f"written: {tmp_path / 'out'}" in ran.out and "0.3 × mdw@" in ran.out
    again = Ran(capsys, "adapters", "merge", *both, "--weights", "0.3", "--out", tmp_path / "other")
    assert again.code == 2 and "1 weights for 2" in again.err
    wrong = Ran(capsys, "adapters", "merge", *both, "--target-lang", "de", "--out", tmp_path / "other")
    assert wrong.code == 1 and "deu" in wrong.err and not (tmp_path / "other").exists()


def test_merge_on_dev(
    registry: Path, prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = registry / "mdw" / "south", registry / "mdw" / "north"
    words = ["--dev", prepared.folder, "--out", tmp_path / "out", "--quiet", "--device", "cpu"]
    ran = Ran(capsys, "adapters", "merge", *both, *words)
    assert ran.code == 0, ran.err
    assert ran.out.count("  best") == 1
    found = AdapterFolder.load(tmp_path / "out").passport
    tried = found.merge["search"]["tried"]
    assert len(tried) >= 5 and {"weights", "cer", "wer", "loss"} == set(tried[0])
    shown = Ran(capsys, "adapters", "show", tmp_path / "out").out
    assert f"{len(tried)} mixtures on" in shown and "parent" in shown


def test_reduce_on_speech(
    registry: Path, prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adapters", "merge", registry / "mdw" / "south", registry / "mdw" / "north", "--device", "cpu"]
    rest = ["--method", "reduce", "--rank", "2", "--out", tmp_path / "out", "--quiet"]
    ran = Ran(capsys, *words, "--calibrate", prepared.folder, *rest)
    assert ran.code == 0, ran.err
    found = AdapterFolder.load(tmp_path / "out").passport
    assert found.kind_options["size"] == 2 and 0 <= found.merge["error"] < 1
    again = Ran(capsys, *words, "--calibrate", prepared.folder, "--out", tmp_path / "other")
    assert again.code == 2 and "it is for the method reduce" in again.err


def test_publish(registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = registry / "mdw" / "north"
    ran = Ran(capsys, "adapters", "publish", adapter, "--out", tmp_path / "out", "--repo-id", "team/mdw")
    assert ran.code == 0, ran.err
    assert "licence: cc-by-4.0" in ran.out and "stock transformers opens" in ran.out
    assert f"hf upload team/mdw {tmp_path / 'out'}" in ran.out
    assert Ran(capsys, "adapters", "verify", tmp_path / "out", "--backbone", tmp_path / "out").code == 0
    ran = Ran(capsys, "adapters", "publish", adapter, "--out", tmp_path / "other", "--licence", "cc0-1.0")
    assert ran.code == 2 and "allows more than cc-by-4.0" in ran.err


def test_push_without_a_network_is_one_error(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    class Offline:
        def create_repo(self, *_: object, **__: object) -> None:
            raise ConnectionError("offline mode is enabled")

    monkeypatch.setattr(huggingface_hub, "HfApi", Offline)
    words = ["--out", tmp_path / "out", "--repo-id", "team/mdw", "--push"]
    ran = Ran(capsys, "adapters", "publish", registry / "mdw" / "north", *words)
    assert ran.code == 1 and len(ran.errors) == 1
    assert "offline mode is enabled" in ran.err and "Traceback" not in ran.err


def test_what_is_written_in_a_passport_moves_no_terminal(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = registry / "mdw" / "north"
    passport.change(
        adapter, lambda one: replace(one, corpus="a\x1b[2Jb", licence="[bold]x\u202e", marks=("\x1bm",))
    )
    for words in (["list", registry], ["show", adapter], ["diff", adapter, registry / "mdw" / "south"]):
        ran = Ran(capsys, "adapters", *words)
        assert ran.code == 0 and not {"\x1b", "\u202e"} & set(ran.out)
    assert "[bold]x" in Ran(capsys, "adapters", "list", registry).out


@pytest.mark.parametrize(
    "fields",
    [
        {"marks": [1]},
        {"minutes": {"train": "x"}},
        {"files": {"vocab.json": 7}},
        {"parents": {"a": "b"}},
        {"speakers": {"train": 7}},
        {"metrics": {"best_dev_cer": "low"}},
        {"merge": {"search": {"tried": 3}, "method": [2]}},
        {"decoder": {"name": 5, "options": 6}},
        {"scores": {"test": 3}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_passport_of_nonsense_gives_words_and_no_traceback(
    registry: Path, fields: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    north, south = registry / "mdw" / "north", registry / "mdw" / "south"
    path = north / passport.FILE
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")
    assert Ran(capsys, "adapters", "list", registry).code == 0
    for words in (["show", north], ["verify", north], ["diff", north, south], ["diff", south, north]):
        ran = Ran(capsys, "adapters", *words)
        assert ran.code in {0, 1} and len(ran.errors) <= 1 and "Traceback" not in ran.err
    ran = Ran(capsys, "adapters", "publish", north, "--out", tmp_path / "out")
    assert ran.code in {0, 1} and "Traceback" not in ran.err


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    import subprocess

    code = (
        "import sys; import mms_adapt.cli_adapters, mms_adapt.terminal_adapters;"
        "assert not {'torch', 'numpy', 'rich', 'huggingface_hub'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
