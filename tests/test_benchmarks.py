"""Benchmarks that need no corpus, at a small size, and pages that stand as their benchmark renders them."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from annotations import textgrid_text

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_manifests_are_measured_in_every_size() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_manifest.py"), "--lines", "200", "400"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes = re.findall(r"^ +(\d+) lines: read +\d+ MB, [\d.]+; divide .*; vocabulary", printed, re.M)
    assert sizes == ["200", "400", "200", "400"]
    assert len(re.findall(r"a line more takes -?\d+ bytes at the peak", printed)) == 2


def trained(*words: str) -> list[dict[str, object]]:
    command = [sys.executable, str(BENCHMARKS / "bench_train.py"), "--shape", "tiny", "--device", "cpu"]
    done = subprocess.run([*command, "--seconds", "0.1", *words], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_training_is_measured_beside_the_public_recipe(tmp_path: Path) -> None:
    found = trained("--parts", "recipe", "many", "--out", str(tmp_path / "lines.jsonl"))
    assert [one["what"] for one in found] == ["recipe, eager", "recipe, sdpa", "one language", "3 languages"]
    assert all(float(str(one["audio_s_a_second"])) > 0 and one["device"] for one in found)
    assert 0.05 < float(str(found[-1]["share_of_one"])) < 20
    kept = (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in kept] == found


def test_a_part_that_takes_too_long_is_told_and_the_next_one_goes_on() -> None:
    found = trained("--parts", "all", "top", "--limit", "0.2")
    assert [(one["part"], one["error"]) for one in found] == [
        ("all", "not done after 0 s"),
        ("top", "not done after 0 s"),
    ]


def test_findings_in_real_corpora_are_those_that_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    inspect_tables = importlib.import_module("inspect_tables")
    assert inspect_tables.PAGE.read_text(encoding="utf-8") == inspect_tables.render()


def test_plain_counts_of_textgrids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    plain = importlib.import_module("inspect_tables").plain_textgrid
    for long in (True, False):
        text = textgrid_text(("a", [(0, 1, "x\ny"), (1, 2, "")]), ('"p"', [(1, "z")]), long=long)
        for data in (text.encode("utf-8"), text.encode("utf-16")):
            assert plain(data)[0] == [("a", 2), ('"p"', 1)]
