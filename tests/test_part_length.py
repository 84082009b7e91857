"""How long parts of recordings are, chosen on dev: the best of what was tried, noted, used, never on test."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import mms_adapt
from mms_adapt import backbone, part_length, passport
from mms_adapt.cli import app
from mms_adapt.errors import AdapterError, OptionError, SplitError
from mms_adapt.manifest import Utterance
from mms_adapt.part_length import PartLength, choose, install
from mms_adapt.prepared import Prepared
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.fitted(backbone.load(tiny.backbone(folder / "base", seed=1), device="cpu"), folder / "mdw")
    return folder / "mdw"


@pytest.fixture
def adapter(fitted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fitted, tmp_path / "mdw"))


def options_of(adapter: Path, **asked: object) -> TranscribeOptions:
    return Transcriber.load(adapter, options=TranscribeOptions(device="cpu", **asked)).options  # type: ignore[arg-type]


def test_the_best_of_what_was_tried_on_dev_alone(
    prepared: Prepared, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, rates, real = [], [], Prepared.utterances

    def utterances(data: Prepared, split: str) -> list[Utterance]:
        looked.append(split)
        return list(real(data, split))

    class Trial(part_length._Trial):
        def whole(self, usual_s: float, longest_s: float) -> float:
            assert len(self.recording) > 2 * sum(map(len, self.waveforms))  # twice, once with pauses
            rates.append((super().whole(usual_s, longest_s), usual_s, longest_s))
            return rates[-1][0]

    monkeypatch.setattr(Prepared, "utterances", utterances)
    monkeypatch.setattr(part_length, "_Trial", Trial)
    told: list[tuple[object, ...]] = []
    found = choose(adapter, prepared, progress=lambda *words: told.append(words))
    assert looked == ["dev"]
    assert (found.dev_cer, found.usual_s, found.longest_s) == min(rates, key=lambda one: one[0])
    assert found.untold_cer == rates[0][0] >= found.dev_cer and found.single_cer >= 0
    assert found.tried == len(rates) == len(told) == 7 and found.utterances == len(real(prepared, "dev"))
    assert len({one[0] for one in rates}) > 1, "all lengths are equally good: the test shows nothing"


def test_what_is_chosen_is_used_where_nobody_says_otherwise(adapter: Path) -> None:
    untold = options_of(adapter)
    install(adapter, PartLength(3.0, 9.0, 0.1, 0.2, 0.1, 5, 7))
    own = options_of(adapter)
    assert (own.usual_s, own.longest_s) == (3.0, 9.0) != (untold.usual_s, untold.longest_s)
    assert passport.read(adapter).parts["untold_cer"] == 0.2
    for asked in ({"usual_s": 2.0}, {"window_s": 5.0}, {"cut": "overlap"}):
        without = replace(TranscribeOptions(device="cpu", **asked))  # type: ignore[arg-type]
        assert options_of(adapter, **asked).longest_s == without.longest_s
    whole = np.concatenate([tiny.speech(tiny.sentence(seed), seed) for seed in range(30)])
    texts = {
        parts: mms_adapt.transcribe(whole, adapter=adapter, device="cpu", **asked).text
        for parts, asked in (("own", {}), ("same", {"usual_s": 3.0, "window_s": 9.0}))
    }
    assert texts["own"] == texts["same"] and texts["own"]


@pytest.mark.parametrize(
    "parts",
    [
        {}, {"usual_s": 5}, {"usual_s": "5", "longest_s": 8}, {"usual_s": 8.0, "longest_s": 8.0},
        {"usual_s": 0.0, "longest_s": 8.0}, {"usual_s": 5.0, "longest_s": 1e6},
        {"usual_s": 5.0, "longest_s": None},
    ],
)  # fmt: skip
def test_what_makes_no_sense_in_a_passport_changes_nothing(parts: dict[str, object], adapter: Path) -> None:
    untold = options_of(adapter)
    record = json.loads((adapter / "passport.json").read_text(encoding="utf-8"))
    (adapter / "passport.json").write_text(json.dumps({**record, "parts": parts}), encoding="utf-8")
    assert options_of(adapter) == untold


def test_what_cannot_be_chosen_is_told(
    prepared: Prepared, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match=r"dev_minutes=.*: give more than 0"):
            choose(adapter, prepared, dev_minutes=minutes)
    monkeypatch.setattr(Prepared, "utterances", lambda data, split: ())
    with pytest.raises(SplitError, match="the dev set is empty, so no length can be chosen"):
        choose(adapter, prepared)
    (adapter / "passport.json").unlink()
    with pytest.raises(AdapterError, match=r"no passport\.json"):
        install(adapter, PartLength(3.0, 9.0, 0.1, 0.2, 0.1, 5, 7))


def test_on_the_command_line(prepared: Prepared, adapter: Path) -> None:
    words = ["tune", str(adapter), str(prepared.folder), "--quiet", "--dev-minutes", "0.3"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "7 lengths of parts tried" in found.output and "recordings so from now on" in found.output
    parts = passport.read(adapter).parts
    assert options_of(adapter).usual_s == parts["usual_s"] and parts["dev_cer"] <= parts["untold_cer"]
    assert passport.read(adapter).decoder["name"] == "beam"
