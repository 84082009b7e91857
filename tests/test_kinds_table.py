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
    monkeypatch.setattr(found, "STRENGTHS", (0.0, 1.0))
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
    names += ["merge/mdw/joint", "merge/mdw/s1", "slide/mdw"]
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
    page = kinds.render(list(found.values()))
    assert all(f"## {title}" in page for title in ("Kinds", "Starts", "Merges", "Strength"))
    assert all(one["signature"] in page for one in found.values())


def test_every_row_has_a_name_of_its_own_and_others_are_refused(
    kinds: Any, work: Any, tmp_path: Path
) -> None:
    assert "kind/wol/full" in kinds.rows() and "sibling/mdw" in kinds.rows()
    with pytest.raises(SystemExit, match="no such row"):
        kinds.run(["kind/xyz/lora"], work, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit, match="needs --sibling"):
        kinds.run(["sibling/mdw"], work, tmp_path / "rows.jsonl")
