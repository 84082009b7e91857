"""Real speech of two speakers, in the package's backbone: one adapter on another, in sequence, reduced."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mms_adapt
from mms_adapt import audio, backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import narrow, reducing, stacking
from mms_adapt.composition.calibration import Speech
from mms_adapt.composition.merging import merge
from mms_adapt.manifest import Utterance
from mms_adapt.prepared import Prepared, with_training
from mms_adapt.splits import SplitOptions
from mms_adapt.training import TrainConfig
from mms_adapt.transcribe import TranscribeOptions, Transcriber
from mms_adapt.trial import Trial

SPEAKERS = {"abiayi": 8, "kouarata": 7}
THROUGH = TranscribeOptions(device="cpu")


def some_utterances(source: Path, folder: Path) -> Path:
    """Write short utterances of both speakers."""
    folder.mkdir()
    left, lines = dict(SPEAKERS), []
    for row in map(json.loads, (source / "utterances.jsonl").read_text(encoding="utf-8").splitlines()):
        if left.get(row["speaker"], 0) and row["end_s"] - row["start_s"] < 2.6:
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


@pytest.fixture(scope="module")
def registry(data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of all speech, and one of a speaker on it; a few steps each."""
    place = tmp_path_factory.mktemp("adapters")
    config = TrainConfig(
        device="cpu", steps=3, batch_seconds=5, speed_factors=(1.0,), warmup=0.0, evaluate_steps=1000
    )
    mms_adapt.train(data, place / "mdw" / "all", config)
    before = (place / "mdw" / "all" / "adapter.mdw.safetensors").read_bytes()
    speaker = with_training(data, own_speech(data), data.folder.with_name("speaker"))
    mms_adapt.train(speaker, place / "mdw" / "one", replace(config, on=str(place / "mdw" / "all")))
    assert (place / "mdw" / "all" / "adapter.mdw.safetensors").read_bytes() == before
    return place


def own_speech(data: Prepared) -> list[Utterance]:
    return [one for one in data.utterances("train") if one.speaker == "kouarata"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_speakers_adapter_stands_on_the_languages(data: Prepared, registry: Path) -> None:
    lower, made = (AdapterFolder.load(registry / "mdw" / name) for name in ("all", "one"))
    assert stacking.part(made, 0).version == lower.version
    assert made.passport.parents.keys() == {lower.version, stacking.part(made, 1).version}
    # it has learnt from the speaker: the loss on that training speech is lower than the first one's
    speaker = Prepared.load(data.folder.with_name("speaker"))
    trial = Trial(speaker, backbone.load("embedded", device="cpu"), split="train", minutes=0.2)
    assert trial.score(made, bootstrap=0)[1] < trial.score(lower, bootstrap=0)[1]
    waves = [samples for _, samples in audio.read_utterances(own_speech(data)[:3], data.root)]
    bank = Bank(registry, options=THROUGH)
    voices = [bank.voice(f"mdw/{name}") for name in ("one", "all", "one")]
    features, counts = bank.engine.features(waves)
    rows = bank.engine.emissions(features, counts, [one.edition for one in voices])
    for name, row, count, wave in zip(("one", "all", "one"), rows, counts, waves, strict=True):
        alone = Transcriber.load(registry / "mdw" / name, options=THROUGH).emissions([wave])[0]
        found = row[:count, : alone.shape[1]].numpy()
        # they hear the same: probabilities differ by rounding alone
        assert np.abs(np.exp(found) - np.exp(alone)).max() < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_speech_a_reduction_loses_less_than_by_numbers(data: Prepared, registry: Path) -> None:
    base = backbone.load("embedded", device="cpu")
    stack = AdapterFolder.load(registry / "mdw" / "one")
    whole = merge([stacking.part(stack, 0), stacking.part(stack, 1)])
    fitted, held_out = Speech(data, base, minutes=0.25).moments(whole)
    places = narrow.read("attention", whole.passport.kind_options, whole.tensors)
    errors = []
    for width in (4, 16, 28):
        with_speech = reducing.reduced(places, width, fitted)
        by_numbers = reducing.reduced(places, width, fitted, fitted=False)
        assert with_speech.error is not None and by_numbers.error is not None
        assert with_speech.error <= by_numbers.error
        elsewhere = [reducing.told(places, one.places, held_out) for one in (with_speech, by_numbers)]
        errors.append((with_speech.error, by_numbers.error, *elsewhere))
        print(width, *(f"{one:.4f}" for one in errors[-1]))
    assert errors[0][0] > errors[1][0] > errors[2][0]
    assert errors[1][2] < errors[1][3]  # on speech that it was not fitted to, too
