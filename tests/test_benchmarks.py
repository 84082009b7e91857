"""Benchmarks that need no corpus, at a small size, and pages that stand as their benchmark renders them."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from annotations import textgrid_text

from mms_adapt.decoders import Word

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_manifests_are_measured_in_every_size() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_manifest.py"), "--lines", "200", "400"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes = re.findall(r"^ +(\d+) lines: read +\d+ MB, [\d.]+; divide .*; vocabulary", printed, re.M)
    assert sizes == ["200", "400", "200", "400"]
    assert len(re.findall(r"a line more takes -?\d+ bytes at the peak", printed)) == 2


def test_inference_is_measured_beside_stock(tmp_path: Path) -> None:
    words = [
        "--shape",
        "tiny",
        "--batch",
        "3",
        "--seconds",
        "0.5",
        "--rounds",
        "1",
        "--held",
        "5",
        "--device",
        "cpu",
    ]
    command = [
        sys.executable,
        str(BENCHMARKS / "bench_inference.py"),
        *words,
        "--json",
        str(tmp_path / "found.json"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "tiny on CPU" in done.stdout and "(5 held)" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    # 2 layers of 24 × (2 × 32 + 1) numbers, and a head of 33 × 192
    assert found["gib_of_all"] == pytest.approx(1162 * 4 * (2 * 24 * 65 + 33 * 192) / 2**30)
    assert min(found[name] for name in ("one_ours", "mixed_ours", "one_stock", "mixed_stock", "disk_ms")) > 0


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


def test_the_page_about_selecting_holds_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    selection = importlib.import_module("selection")
    before, _, rest = selection.PAGE.read_text(encoding="utf-8").partition(selection.START)
    assert before and rest.startswith(selection.render() + selection.END)


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


def test_gradients_are_compared_with_stock_in_every_way() -> None:
    command = [sys.executable, str(BENCHMARKS / "gradients.py"), "--shape", "tiny"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0].startswith("stock, float32: loss ") and lines[0].endswith("26 tensors with gradients")
    found = {
        line.partition(":")[0]: re.findall(r"off by (?:at most )?([\d.e+-]+)", line) for line in lines[1:]
    }
    assert len(found) == 5
    for name, (loss, most) in found.items():
        bounds = (1e-3, 0.1) if "bfloat16" in name else (1e-5, 1e-4)
        assert float(loss) < bounds[0] and float(most) < bounds[1], name


def test_ours_and_the_public_recipe_on_the_same_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("against_recipe")
    monkeypatch.setattr(script, "MINUTES", {"mdw": 0.3})
    monkeypatch.setattr(script, "SETS", {"mdw": ("mdw", "Mboshi", "")})
    tiny.corpus(tmp_path / "mdw", 40)
    out, names = tmp_path / "rows.jsonl", ["mdw/ours-top:3", "mdw/recipe"]
    rest = ["--corpora", str(tmp_path), "--work", str(tmp_path / "work"), "--out", str(out), "--passes", "1"]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["against_recipe.py", "run", *names, *rest])
        assert script.main() == 0
    rows = script.read(out)
    assert [one["row"] for one in rows] == names and rows[0]["train_s"] == rows[1]["train_s"]
    assert all(one["cer"] > 0 and one["heard_s"] > 5 and one["processor_s"] > 0 for one in rows)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["against_recipe.py", "render", str(out)])
    assert script.main() == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in table[2:]] == ["`recipe`", "`ours-top:3`"]


def test_words_are_compared_with_where_speech_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    bench = importlib.import_module("bench_word_times")
    random = np.random.default_rng(0)
    sound = (1e-4 * random.standard_normal(16_000)).astype(np.float32)
    sound[4_800:12_800] += (0.1 * random.standard_normal(8_000)).astype(np.float32)
    sound[100:200] += 0.1  # a click is no speech
    assert bench.speech(sound) == pytest.approx((0.3, 0.8), abs=0.02)
    (one,) = bench.joined([(sound, "a b"), (sound, "c")], 3)
    assert one.references == ("a b", "c") and one.spans == ((8_000, 24_000), (32_000, 48_000))
    assert np.array_equal(one.samples[32_000:48_000], sound) and len(one.samples) == 56_000
    words = [[Word("a", 0.85, 1.0, 1.0), Word("b", 1.1, 1.25, 1.0)], []]
    found = list(bench.differences(one, words, [(0.3, 0.8), (0.3, 0.8)]))
    assert np.allclose(found, [(0.05, -0.05)])
    assert "start 50 ms" in bench.line("x", found) and "half are over -50" in bench.line("x", found)


def test_integers_are_timed_without_a_corpus() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_int8.py"), "--rounds", "1"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert len(re.findall(r"^int8, matrices of .*: [\d.]+, [\d.]+, [\d.]+$", printed, re.M)) == 2
