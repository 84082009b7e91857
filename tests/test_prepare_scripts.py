"""The scripts for Common Voice and FLEURS, run as a user runs them, and the README that lists all scripts."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import layouts
import pytest
from conftest import MakeCorpus
from pretraining.card import SOURCES

from mms_adapt.prepare import Prepared

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "data_scripts"
PARTS = ("train", "train", "train", "dev", "test", "")


@pytest.fixture
def spans(make_corpus: MakeCorpus) -> Path:
    """Twenty-four utterances of six speakers, some of them in an official part."""
    rows = [
        {"transcript": f"Izwi {letter}.", "speaker": f"s{number % 6}", "source_split": PARTS[number % 6]}
        for number, letter in enumerate("abcdefghijklmnopqrstuvwx")
    ]
    return make_corpus(rows, "spans", seconds=0.6)


def run(script: str, *words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPTS / script), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_common_voice_as_downloaded(spans: Path, tmp_path: Path) -> None:
    folder = layouts.common_voice(spans)
    archive = layouts.packed(tmp_path / "cv-corpus-1.0-xh.tar.gz", folder.parent, "cv-corpus-1.0")
    ran = run(
        "prepare_common_voice.py", archive, "--target-lang", "xho", "--train-minutes", "0.1", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    made = Prepared.load(tmp_path / "prepared" / "xho")
    assert (made.layout, made.licence, made.counts["split_mode"]) == ("common_voice", "CC0-1.0", "speaker")
    assert sum(made.counts["utterances"].values()) + made.counts["train_unused"] == 24
    assert {one.licence for one in made.utterances("train")} == {"CC0-1.0"}
    assert made.options["train_minutes"] == 0.1 and "layout common_voice" in ran.stdout


def test_fleurs_keeps_its_parts(spans: Path, tmp_path: Path) -> None:
    ran = run(
        "prepare_fleurs.py", layouts.fleurs(spans), "--target-lang", "xho", "--out", "out", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    made = Prepared.load(tmp_path / "out")
    assert (made.layout, made.licence, made.counts["split_mode"]) == ("fleurs", "CC-BY-4.0", "source")
    assert made.counts["utterances"] == {"train": 16, "dev": 4, "test": 4}


@pytest.mark.parametrize("script", ["prepare_common_voice.py", "prepare_fleurs.py"])
def test_what_is_wrong_is_told_in_one_line(script: str, spans: Path, tmp_path: Path) -> None:
    ran = run(script, "nowhere", "--target-lang", "xho", cwd=tmp_path)
    assert ran.returncode == 1 and "error: nowhere: there is no such folder" in ran.stderr
    ran = run(script, spans, "--target-lang", "xho", cwd=tmp_path)
    assert ran.returncode == 1 and "expected here is" in ran.stderr
    ran = run(script, spans, "--target-lang", "xho", "--oberwrite", cwd=tmp_path)
    assert ran.returncode == 2 and "--oberwrite" in ran.stderr
    assert run(script, spans, cwd=tmp_path).returncode == 2
    assert not (tmp_path / "prepared" / "xho").exists()


@pytest.mark.parametrize("script", ["prepare_common_voice.py", "prepare_fleurs.py"])
def test_help_names_what_is_wanted(script: str, tmp_path: Path) -> None:
    said = run(script, "--help", cwd=tmp_path).stdout
    assert all(word in said for word in ("--target-lang", "--out", "--split", "mms-adapt prepare"))


def test_the_readme_lists_every_script_and_licence() -> None:
    readme = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in SCRIPTS.iterdir() if path.suffix in (".py", ".sh")}
    listed = set(re.findall(r"^\| \[`([\w.]+)`\]", readme, re.M))
    assert listed == names | {"pretraining"}
    rows = [line for line in readme.splitlines() if line.startswith("| ")]
    for _, source, licence in SOURCES.values():
        assert any(source in row and licence in row for row in rows), source
    for name, script in (("Common Voice", "prepare_common_voice"), ("FLEURS", "prepare_fleurs")):
        licence = importlib.import_module(script).LICENCE.replace("-1.0", " 1.0").replace("-", " ")
        assert any(row.startswith(f"| {name} |") and f"| {licence} |" in row for row in rows)
