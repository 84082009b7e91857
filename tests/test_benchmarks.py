"""Benchmarks that need no corpus, at a small size, and pages that stand as their benchmark renders them."""

import importlib
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


def test_reports_are_measured_in_every_size() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_report.py"), "--utterances", "20", "60"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = re.findall(
        r"^(\w+): +(\d+) utterances: time an utterance x [\d.]+, under a minute; peak", printed, re.M
    )
    assert lines == [("texts", "20"), ("texts", "60"), ("sound", "20"), ("sound", "60")]


def test_the_picture_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    picture = importlib.import_module("picture")
    assert picture.PICTURE.read_text(encoding="utf-8") == picture.render(), "run benchmarks/picture.py"
    assert picture.PICTURE.stat().st_size < 100_000
    assert len(list(picture.rows())) >= 5
