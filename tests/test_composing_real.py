"""Real speech of two speakers, in the package's backbone: one adapter on another, in sequence, reduced."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import mms_adapt
from mms_adapt import audio, backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import narrow, reducing, stacking
from mms_adapt.composition.calibration import Speech
from mms_adapt.composition.merging import merge
from mms_adapt.prepared import Prepared, with_training
from mms_adapt.splits import SplitOptions
from mms_adapt.training import TrainConfig
from mms_adapt.transcribe import TranscribeOptions, Transcriber
from mms_adapt.trial import Trial

SPEAKERS = {"abiayi": 14, "kouarata": 12}
THROUGH = TranscribeOptions(device="cpu")


def some_utterances(source: Path, folder: Path) -> Path:
    """Write short utterances of both speakers."""
    folder.mkdir()
    left, lines = dict(SPEAKERS), []
    for row in map(json.loads, (source / "utterances.jsonl").read_text(encoding="utf-8").splitlines()):
        if left.get(row["speaker"], 0) and row["end_s"] - row["start_s"] < 3.5:
            left[row["speaker"]] -= 1
            samples = audio.read(source / row["recording"], row["start_s"], row["end_s"])
            soundfile.write(folder / f"{row['id']}.wav", samples, audio.SAMPLE_RATE_HZ)
            lines.append(json.dumps({**row, "recording": f"{row['id']}.wav", "start_s": 0, "end_s": None}))
    (folder / "utterances.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(real_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    source = real_corpora / "mdw-mboshi"
    if not source.is_dir():
        pytest.skip("the corpus mdw-mboshi is not here")
    place = tmp_path_factory.mktemp("mboshi")
    found = some_utterances(source, place / "recordings")
    split = SplitOptions(mode="sentence")
    return mms_adapt.prepare(found, place / "prepared", target_lang="mdw", split=split)


@pytest.mark.slow
def test_a_speakers_adapter_stands_on_the_languages(data: Prepared, tmp_path: Path) -> None:
    config = TrainConfig(device="cpu", steps=5, batch_seconds=8, speed_factors=(1.0,), warmup=0.0)
    mms_adapt.train(data, tmp_path / "mdw" / "all", config)
    before = (tmp_path / "mdw" / "all" / "adapter.mdw.safetensors").read_bytes()
    own = [one for one in data.utterances("train") if one.speaker == "kouarata"]
    speaker = with_training(data, own, tmp_path / "speaker")
    mms_adapt.train(speaker, tmp_path / "mdw" / "one", replace(config, on=str(tmp_path / "mdw" / "all")))
    lower, made = (AdapterFolder.load(tmp_path / "mdw" / name) for name in ("all", "one"))
    assert (tmp_path / "mdw" / "all" / "adapter.mdw.safetensors").read_bytes() == before
    assert stacking.part(made, 0).version == lower.version
    assert made.passport.parents.keys() == {lower.version, stacking.part(made, 1).version}
    # it has learnt from the speaker: the loss on that training speech is lower than the first one's
    trial = Trial(speaker, backbone.load("embedded", device="cpu"), split="train")
    assert trial.score(made, bootstrap=0)[1] < trial.score(lower, bootstrap=0)[1]

    waves = [samples for _, samples in audio.read_utterances(own[:3], data.root)]
    bank = Bank(tmp_path, options=THROUGH)
    voices = [bank.voice(f"mdw/{name}") for name in ("one", "all", "one")]
    features, counts = bank.engine.features(waves)
    rows = bank.engine.emissions(features, counts, [one.edition for one in voices])
    for name, row, count, wave in zip(("one", "all", "one"), rows, counts, waves, strict=True):
        alone = Transcriber.load(tmp_path / "mdw" / name, options=THROUGH).emissions([wave])[0]
        found = row[:count, : alone.shape[1]].numpy()
        # they hear the same: probabilities differ by rounding alone, and the best token nowhere
        assert np.abs(np.exp(found) - np.exp(alone)).max() < 1e-4
        assert (found.argmax(axis=1) == alone.argmax(axis=1)).mean() > 0.99


@pytest.mark.slow
def test_on_speech_a_reduction_loses_less_than_by_numbers(data: Prepared, tmp_path: Path) -> None:
    base = backbone.load("embedded", device="cpu")
    config = TrainConfig(device="cpu", steps=3, batch_seconds=8, speed_factors=(1.0,), warmup=0.0)
    for seed, speaker in enumerate(SPEAKERS):
        own = [one for one in data.utterances("train") if one.speaker == speaker]
        mms_adapt.train(with_training(data, own, tmp_path / f"data-{speaker}"), tmp_path / speaker,
                        replace(config, seed=seed))  # fmt: skip
    both = [AdapterFolder.load(tmp_path / speaker) for speaker in SPEAKERS]
    speech = Speech(data, base, minutes=0.5)
    whole = merge(both)
    fitted, held_out = speech.moments(whole)
    places = narrow.read("attention", whole.passport.kind_options, whole.tensors)
    errors = []
    for width in (4, 16, 28):
        with_speech = reducing.reduced(places, width, fitted)
        by_numbers = reducing.reduced(places, width, fitted, fitted=False)
        assert with_speech.error is not None and by_numbers.error is not None
        assert with_speech.error <= by_numbers.error
        elsewhere = [reducing.told(places, one.places, held_out) for one in (with_speech, by_numbers)]
        errors.append((width, with_speech.error, by_numbers.error, *elsewhere))
    print(*errors, sep="\n")
    assert errors[0][1] > errors[1][1] > errors[2][1]
    assert errors[1][3] < errors[1][4]  # on speech that it was not fitted to, too
    made = merge(both, method="reduce", rank=16, calibration=speech)
    made.attach(base)
    assert torch.isfinite(Trial(data, base).score(made, bootstrap=0)[1] * torch.ones(1)).all()
