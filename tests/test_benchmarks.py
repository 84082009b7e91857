"""Benchmarks that need no corpus, at a small size."""

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_manifests_are_measured_in_every_size() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_manifest.py"), "--lines", "200", "400"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes = re.findall(r"^ +(\d+) lines: read +\d+ MB, [\d.]+; divide .*; vocabulary", printed, re.M)
    assert sizes == ["200", "400", "200", "400"]
    assert len(re.findall(r"a line more takes -?\d+ bytes at the peak", printed)) == 2
