"""The benchmark of kinds: every row can be made alone, on a tiny corpus with a tiny model."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import tiny

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    found = importlib.import_module("kinds")
    monkeypatch.setattr(found, "SETS", {code: (code, code.title(), "") for code in ("mdw", "wol")})
    monkeypatch.setattr(found, "MOST", {"mdw": 0.3, "wol": 0.3})
    monkeypatch.setattr(found, "MINUTES", (0.2,))
    monkeypatch.setattr(found, "MERGED", {"mdw": ("s1", "s2")})
    monkeypatch.setattr(found, "SHARES", (0.0, 0.5, 1.0))
    monkeypatch.setattr(found, "SLIDE", (0.0, 2.0, 3))
    monkeypatch.setattr(found, "WIDTHS", (5,))
    return found


@pytest.fixture
def work(kinds: Any, tmp_path: Path) -> Any:
    for seed, code in enumerate(("mdw", "wol")):
        folder = tiny.corpus(tmp_path / "corpora" / code, 40, seed=seed)
        lines = folder / "utterances.jsonl"
        lines.write_text(lines.read_text(encoding="utf-8").replace('"mdw"', f'"{code}"'), encoding="utf-8")
    options = (("steps", 2), ("batch_seconds", 4.0))
    base = str(tiny.backbone(tmp_path / "base"))
    return kinds.Work(tmp_path / "corpora", tmp_path / "work", "cpu", options, base)


@pytest.mark.slow
def test_rows_are_made_once_and_rendered(kinds: Any, work: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    names = ["kind/mdw/lora", "start/mdw/auto/0.2", "start/mdw/nearest/0.2", "merge/mdw/concatenate"]
    names += ["merge/mdw/joint", "merge/mdw/s1", "slide/mdw", "share/mdw", "stack/mdw/s1"]
    names += ["reduce/mdw/numbers/5", "reduce/mdw/speech/5", "sibling/mdw"]
    assert set(names) <= set(kinds.rows())
    kinds.run(names, work, out)
    found = {one["name"]: one for one in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    assert list(found) == names
    kinds.run(names, work, out)
    assert len(out.read_text(encoding="utf-8").splitlines()) == len(names)
    assert found["start/mdw/auto/0.2"]["start"].startswith("auto: wol (")
    assert found["start/mdw/nearest/0.2"]["start"].startswith("language:wol (")
    merged, alone = found["merge/mdw/concatenate"], found["merge/mdw/s1"]
    assert [one["at"] for one in merged["points"]] == [0.0, 0.5, 1.0]
    lowest = min(one["dev_cer"] for one in merged["points"])
    assert [one["dev_cer"] for one in merged["points"] if one["at"] == merged["best"]] == [lowest]
    assert merged["trained"] > alone["trained"] and len(merged["parents"]) == 2
    tables = kinds.kinds_tables.tables(list(found.values()), list(kinds.rows()))
    titles = ["Kinds", "Starts", "Merges", "Strength", "Shares", "One on another", "Reduced"]
    assert list(tables) == [*titles, "Moved to a sibling", "Machines"]
    assert [line.split(" | ")[1] for line in tables["Starts"].splitlines()[2:]] == [
        "nearest: Wolof",
        "auto: Wolof",
    ]
    assert found["sibling/mdw"]["marks"] and "backbone_sibling" in found["sibling/mdw"]["marks"]
    assert found["reduce/mdw/numbers/5"]["reduction"]["error"] is None
    assert 0 < found["reduce/mdw/speech/5"]["reduction"]["error"] < 1
    drawn = kinds.kinds_tables.draw(list(found.values()), tmp_path / "slides")
    assert [one.name for one in drawn] == ["slide-mdw.svg", "share-mdw.svg"]
    assert all(one.read_text(encoding="utf-8").startswith("<svg") for one in drawn)


def test_every_row_has_a_name_of_its_own_and_others_are_refused(
    kinds: Any, work: Any, tmp_path: Path
) -> None:
    assert "kind/wol/full" in kinds.rows() and "sibling/mdw" in kinds.rows()
    with pytest.raises(SystemExit, match="no such row"):
        kinds.run(["kind/xyz/lora"], work, tmp_path / "rows.jsonl")


def test_pages_hold_what_was_measured(kinds: Any) -> None:
    root = BENCHMARKS.parent
    importlib.reload(kinds)  # with the corpora of the tables
    tables = kinds.kinds_tables.tables(kinds.read(BENCHMARKS / "kinds.jsonl"), list(kinds.rows()))
    recipe = importlib.import_module("against_recipe")
    measured = recipe.read(BENCHMARKS / "against_recipe.jsonl")
    for name, held in (("adapter_kinds.md", tables), ("against_recipe.md", recipe.tables(measured))):
        page = (root / "docs" / name).read_text(encoding="utf-8")
        assert "<!-- table: " in page
        assert page == kinds.pages.filled(page, held), f"render --page docs/{name}"


def test_a_page_is_filled_between_its_marks(kinds: Any) -> None:
    page = "a\n<!-- table: One -->\nold\n<!-- end -->\nb\n"
    once = kinds.pages.filled(page, {"One": "| x |", "Two": ""})
    assert once == "a\n<!-- table: One -->\n\n| x |\n\n<!-- end -->\nb\n"
    assert kinds.pages.filled(once, {"One": "| x |"}) == once
    with pytest.raises(KeyError):
        kinds.pages.filled(page, {})
