"""Every notebook runs from top to bottom without a network; faults that are planted are found."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import run_notebooks
import spoil_corpus
import synthesise_corpus
import tiny

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "01_first_adapter": ["max_minutes=0.05"],
    "02_is_my_data_good": ["count=110", "epochs=1"],
    "03_reading_the_errors": ["count=40", "epochs=1"],
    "04_many_languages": ["count=24", "epochs=1", "languages=('ita', 'tur')"],
    "05_elan_round_trip": ["count=32", "epochs=1", "session_utterances=8"],
}
SAYS = {
    "01_first_adapter": ["marks: ", "word error rate", "said: "],
    "02_is_my_data_good": ["clipped", "marks: ", "Character error rate: "],
    "03_reading_the_errors": ["WER: greedy", "said: ", "Most frequent errors of characters"],
    "04_many_languages": ["['ita', 'tur']", "Character error rate: Italian"],
    "05_elan_round_trip": ["utterances from ELAN", "second adapter"],
}
EMBEDDED = (
    "05_elan_round_trip"  # with the backbone of the package; the others with a tiny one, which is quick
)


def cells(path: Path) -> list[tuple[str, str]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in found]


def test_every_notebook_is_run_here() -> None:
    assert {path.stem for path in NOTEBOOKS} == SMALL.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
    values = [*SMALL[name], f"work={str(tmp_path)!r}"]
    if name != EMBEDDED:
        values.append(f"backbone={str(tiny.backbone(tmp_path / 'base'))!r}")
    if name == "01_first_adapter":  # instead of recordings that are fetched over the network
        values.append(f"source={str(synthesise_corpus.build(tmp_path / 'spoken', count=40).folder)!r}")
    options = [part for value in values for part in ("--set", value)]
    offline = {"HF_HUB_OFFLINE": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "data_scripts/run_notebooks.py", f"notebooks/{name}.ipynb", *options],
        cwd=ROOT, env={**os.environ, **offline}, capture_output=True, text=True, check=False,
        errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    for words in SAYS[name]:
        assert words in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda one: one.stem)
def test_one_line_changes_the_backbone_and_nothing_is_defined(path: Path) -> None:
    code = [text for kind, text in cells(path) if kind == "code"]
    assert len(re.findall(r'^backbone = "embedded"$', "\n".join(code), re.M)) == 1
    assert not re.search(r"^\s*(def|class|while|try)\b|lambda .*lambda", "\n".join(code), re.M)
    assert any('backbone = "facebook/mms-1b-all"' in text for kind, text in cells(path) if kind == "markdown")
    assert "pictures." in "\n".join(code)
    for text in code:
        compile(text, path.name, "exec")


def test_values_are_set_where_the_notebook_has_them(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    source = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["a, b = 1, 2\n", "c = 3"]}
    ends = {"cell_type": "code", "metadata": {}, "source": ["a + c + 10"]}
    path.write_text(json.dumps({"cells": [source, {"cell_type": "markdown", "source": ["x"]}, ends]}))
    script = run_notebooks.as_script(path, ["c=30", "a=5"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "45\n"
    with pytest.raises(ValueError, match=r"no 'd'; there are"):
        run_notebooks.as_script(path, ["d=1"])
    path.write_text(json.dumps({"cells": [ends]}))
    with pytest.raises(ValueError, match="nothing can be set"):
        run_notebooks.as_script(path, ["c=1"])


def test_an_error_in_a_notebook_is_an_error_of_the_runner(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": ["1 / 0"]}]}))
    command = [sys.executable, str(ROOT / "data_scripts" / "run_notebooks.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and f"failed: {path}" in done.stderr


def test_planted_faults_are_found(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
    from mms_adapt import inspect

    folder = synthesise_corpus.build(tmp_path / "corpus", count=60, target_lang="tur").folder
    planted = spoil_corpus.spoil(folder)
    assert planted.keys() == spoil_corpus.FAULTS.keys()
    found = {kind: set(one.utterance_ids) for one in inspect(folder, target_lang="tur").findings
             for kind in [one.kind]}  # fmt: skip
    for fault, kinds in {
        "the recording is missing": ("missing_audio",),
        "the recording is cut short": ("undecodable", "truncated"),
        "silence": ("silent",),
        "clipped": ("clipped",),
        "the text says three times as much": ("ctc_impossible", "pace"),
        "a Cyrillic letter that looks Latin": ("look_alike",),
        "another utterance once more, at half the volume": ("near_same_sound",),
    }.items():
        assert set(planted[fault]) <= set.union(*(found.get(kind, set()) for kind in kinds)), fault
    with pytest.raises(ValueError, match="are needed"):
        spoil_corpus.spoil(folder, each=10)
