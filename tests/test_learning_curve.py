"""Learning curves: the power law against known ones, and real trainings of a tiny model on growing shares."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import mms_adapt
from mms_adapt.cli import app
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.learning_curve import LearningCurve, render
from mms_adapt.manifest import Utterance
from mms_adapt.power_law import fit, forecast
from mms_adapt.prepared import Prepared, first_minutes, with_less_training
from mms_adapt.training import TrainConfig


def test_a_power_law_is_found_again() -> None:
    minutes = np.array([2.0, 5, 10, 30, 60])
    law = fit(minutes, 0.8 * minutes**-0.4)
    assert (law.scale, law.exponent, law.floor) == pytest.approx((0.8, 0.4, 0.0), abs=1e-6)
    assert law(120) == pytest.approx(0.8 * 120**-0.4)
    with_floor = fit(minutes, 0.1 + 0.9 * minutes**-0.7)
    assert with_floor(240) == pytest.approx(0.1 + 0.9 * 240**-0.7, rel=0.05) and with_floor.floor > 0.05
    assert fit([5, 10], [0.2, 0.3]).exponent == 0.0


def test_two_amounts_are_needed() -> None:
    for wrong in ([5], [5, 5], [0, 5], [-1, 5]):
        with pytest.raises(OptionError, match="two or more different amounts"):
            fit(wrong, [0.3] * len(wrong))
    with pytest.raises(OptionError, match="nothing can be drawn"):
        forecast([5, 10], [[1], [1]], [5], 20)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    minutes, held = [5.0, 10, 20, 40], 0
    for seed in range(40):
        hard = generator.beta(8, 8, size=120) * 2
        errors = [
            generator.binomial(30, np.clip(0.9 * m**-0.35 * np.exp(generator.normal(0, 0.03)) * hard, 0, 1))
            for m in minutes
        ]
        rate, interval = forecast(minutes, errors, np.full(120, 30), 80, resamples=120, seed=seed)
        assert interval.low < rate < interval.high
        held += interval.low <= 0.9 * 80**-0.35 <= interval.high
    assert (
        held >= 34
    )  # of 40: an interval that holds in 19 of 20 cases falls below with a probability of 0.01


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    base = tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")
    return TrainConfig(
        backbone=str(base), device="cpu", steps=4, batch_seconds=20, learning_rate=1e-2, speed_factors=(1.0,)
    )


@pytest.fixture(scope="module")
def curve(
    prepared: Prepared, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LearningCurve, Path]:
    out = tmp_path_factory.mktemp("curve")
    amounts = (0.1, 0.2, 0.3)
    made = mms_adapt.learning_curve(prepared, out, minutes=amounts, more_minutes=(1, 5), config=config)
    return made, out


def test_shares_grow_and_the_test_set_stays(curve: tuple[LearningCurve, Path], prepared: Prepared) -> None:
    made, out = curve
    held = [
        {one.id for one in Prepared.load(out / f"{m:.1f}min" / "prepared").utterances("train")}
        for m in (0.1, 0.2, 0.3)
    ]
    assert held[0] < held[1] < held[2] < {one.id for one in prepared.utterances("train")}
    for folder in out.glob("*/prepared"):
        assert Prepared.load(folder).split_sha256["test"] == prepared.split_sha256["test"]
        assert Prepared.load(folder).root == prepared.root
    assert [round(one.minutes, 1) for one in made.points] == [0.1, 0.2, 0.3]
    assert made.utterances == len(prepared.utterances("test"))
    assert [one.minutes for one in made.forecasts] == pytest.approx(
        [made.points[-1].minutes + m for m in (1, 5)]
    )
    assert made.check is not None and made.check.minutes == made.points[-1].minutes
    assert made.check_held in (True, False)
    written = json.loads((out / "curve.json").read_text(encoding="utf-8"))
    assert written["points"][0]["cer"] == made.points[0].cer and written["check_held"] == made.check_held


def test_what_is_done_is_not_done_again(
    curve: tuple[LearningCurve, Path], prepared: Prepared, config: TrainConfig
) -> None:
    made, out = curve
    weights = {path: path.stat().st_mtime_ns for path in out.glob("*/adapter/*.safetensors")}
    assert len(weights) == 3
    again = mms_adapt.learning_curve(
        prepared, out, minutes=(0.3, 0.1, 0.2), more_minutes=(1, 5), config=config
    )
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert again.points == made.points and again.forecasts == made.forecasts


def test_amounts_that_are_nearly_the_same_do_not_share_a_folder(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    mms_adapt.learning_curve(prepared, tmp_path, minutes=(0.11, 0.14), config=replace(config, steps=1))
    assert {path.name for path in tmp_path.glob("*min")} == {"0.11min", "0.14min"}


def test_the_picture_is_whole(curve: tuple[LearningCurve, Path]) -> None:
    root = ElementTree.fromstring(render(curve[0]))
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 5
    assert all(
        0 <= float(one.get("cx", -1)) <= 640 and 0 <= float(one.get("cy", -1)) <= 360 for one in circles
    )


def test_bad_amounts_are_told_before_anything_is_trained(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    for amounts, kind, says in (
        ((0.1,), OptionError, "two or more different amounts"),
        ((0.1, float("nan")), OptionError, "two or more different amounts"),
        ((0.1, 99.0), SplitError, "minutes=99: there are only"),
        (None, SplitError, "too few for a curve"),
    ):
        with pytest.raises(kind, match=says):
            mms_adapt.learning_curve(prepared, tmp_path / "out", minutes=amounts, config=config)
    with pytest.raises(OptionError, match="more_minutes=-1"):
        mms_adapt.learning_curve(
            prepared, tmp_path / "out", minutes=(0.1, 0.2), more_minutes=(-1,), config=config
        )
    assert not (tmp_path / "out").exists()


def test_less_training_speech_replaces_other_data_only_where_it_is_prepared_data(
    prepared: Prepared, tmp_path: Path
) -> None:
    first = with_less_training(prepared, 0.1, tmp_path / "less")
    stamp = (tmp_path / "less" / "prepared.json").stat().st_mtime_ns
    assert with_less_training(prepared, 0.1, tmp_path / "less") == first
    assert (tmp_path / "less" / "prepared.json").stat().st_mtime_ns == stamp
    count = len(first.utterances("train"))
    more = with_less_training(prepared, 0.2, tmp_path / "less")
    assert len(more.utterances("train")) > count
    assert more.options["train_minutes"] == 0.2


def test_on_the_command_line(prepared: Prepared, config: TrainConfig, tmp_path: Path) -> None:
    words = ["learning-curve", str(prepared.folder), "--out", str(tmp_path / "out"), "--minutes", "0.1"]
    words += ["--minutes", "0.2", "--backbone", config.backbone, "--max-minutes", "0.02", "--quiet"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "30 more minutes of the same kind would bring about" in found.output
    assert (tmp_path / "out" / "curve.svg").is_file() and (tmp_path / "out" / "curve.json").is_file()


def test_all_of_the_speech_is_not_more_than_there_is() -> None:
    durations_s = [0.1 * number + 0.7 for number in range(1, 200)]
    for count in range(2, 200):  # sums whose sixtieth, times sixty, is a little more
        train = [
            Utterance(f"u{place}", "a.wav", 0.0, one, "a", "mdw")
            for place, one in enumerate(durations_s[:count])
        ]
        whole = sum(one.duration_s for one in train) / 60
        assert len(first_minutes(train, whole)) == count
    with pytest.raises(SplitError, match="only"):
        first_minutes(train, whole + 1e-4)
