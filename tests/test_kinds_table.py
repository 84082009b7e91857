"""The benchmark of kinds: every row can be made alone, on a tiny corpus with a tiny model."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from mms_adapt import backbone

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


def later(work: Any, folder: Path) -> str:
    """Write the backbone after further training, as its folder tells."""
    earlier = backbone.load(work.backbone, device="cpu").fingerprint
    tiny.backbone(folder, seed=1)
    record = {"trainings": [{"fingerprint": earlier}, {"state": {}}]}
    (folder / "pretraining.json").write_text(json.dumps(record), encoding="utf-8")
    return str(folder)


@pytest.mark.slow
def test_rows_are_made_once_and_rendered(kinds: Any, work: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    names = ["kind/mdw/lora", "start/mdw/auto/0.2", "start/mdw/nearest/0.2", "merge/mdw/concatenate"]
    names += ["merge/mdw/joint", "merge/mdw/s1", "slide/mdw", "share/mdw", "stack/mdw/s1"]
    names += ["reduce/mdw/numbers/5", "reduce/mdw/speech/5", "sibling/mdw"]
    work = replace(work, sibling=later(work, tmp_path / "later"))
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
    more = ("Shares", "One on another", "Reduced", "Moved to a sibling")
    assert all(f"## {title}" in page for title in more)
    assert found["sibling/mdw"]["marks"] and "backbone_sibling" in found["sibling/mdw"]["marks"]
    assert found["reduce/mdw/numbers/5"]["reduction"]["error"] is None
    assert 0 < found["reduce/mdw/speech/5"]["reduction"]["error"] < 1
    drawn = kinds.draw(list(found.values()), tmp_path / "slides")
    assert [one.name for one in drawn] == ["slide-mdw.svg", "share-mdw.svg"]
    assert all(one.read_text(encoding="utf-8").startswith("<svg") for one in drawn)
    assert all(one["signature"] in page for one in found.values())


def test_every_row_has_a_name_of_its_own_and_others_are_refused(
    kinds: Any, work: Any, tmp_path: Path
) -> None:
    assert "kind/wol/full" in kinds.rows() and "sibling/mdw" in kinds.rows()
    with pytest.raises(SystemExit, match="no such row"):
        kinds.run(["kind/xyz/lora"], work, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit, match="needs --sibling"):
        kinds.run(["sibling/mdw"], work, tmp_path / "rows.jsonl")
